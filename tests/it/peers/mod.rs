//! A message sent through the API reaches real mail servers: Debian's Postfix and Exim, started on loopback by each test.
//!
//! `bed` runs an engine whose mail goes to one peer; `peer` is what both servers have in common; `postfix` and `exim` start
//! them. Needs `tests/tools/setup.sh` to have run: without it these tests fail and say so.

mod bed;
mod content;
mod exim;
mod many;
mod peer;
mod postfix;
mod refusals;
