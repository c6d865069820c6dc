//! A message sent through the API reaches real mail servers: Debian's Postfix and Exim, started on loopback by each test.
//!
//! `bed` runs an engine whose mail goes to one peer; `peer` is what both servers have in common; `postfix` and `exim` start
//! them. Needs `tests/tools/setup.sh` to have run: without it these tests fail and say so.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop at the first surprise, like tests"
)]

mod bed;
mod content;
mod copies;
mod exim;
mod manners;
mod many;
mod peer;
mod postfix;
mod refusals;
