//! Each behaviour of a simulated provider, proved over a real socket by a client that knows no SMTP library.
//!
//! `cfg(test)` tells clippy that helpers are tests too.

#[cfg(test)]
mod behaviours;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod client;
#[cfg(test)]
mod conversation;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod scripts;
#[cfg(test)]
mod tls;
