//! Each behaviour of a simulated provider, proved over a real socket by a client that knows no SMTP library.

// The attribute tells clippy that the helpers are tests.
#[cfg(test)]
mod client;
mod conversation;
mod scripts;
