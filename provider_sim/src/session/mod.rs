//! One conversation: what a receiver says to each command, as its behaviour and its script have it.
//!
//! | file | what |
//! |---|---|
//! | `conversation` | from banner to QUIT: commands in, answers out |
//! | `content` | what follows DATA, and the answer to its dot |
//! | `auth` | AUTH PLAIN and LOGIN |
//! | `seat` | the connection's place at its receiver |
//! | `guest` | what a scenario says, and when |
//! | `perform` | the usual answer, or what the script has in its place |
//!
//! The order is fixed: decide, enter into the ledger, answer. Answers are collected and leave before the next read.

mod auth;
mod content;
mod conversation;
mod guest;
mod perform;
mod seat;

pub(crate) use conversation::serve;
pub(crate) use seat::Seat;
