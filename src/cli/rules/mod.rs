//! `posthaste rules`: looks at rules before an engine uses them.
//!
//! Takes files of rules, the operator's, another directory's or those that are built in; gives what is wrong with them, or
//! what they would have made of recorded replies. Needs no running engine and changes nothing.

mod lint;
mod recorded;
mod replay;

pub(super) use lint::run as lint;
pub(super) use replay::{Replay, run as replay};
