//! Simulated mailbox providers: SMTP receivers that behave well, badly and in between, and that count what they hold.
//!
//! | file | what |
//! |---|---|
//! | `receiver` | the server: [`Receiver::builder`], an address, counters, transcripts, shutdown and kill |
//! | `ledger` | what was received: copies per (recipient, Message-ID), duplicates, waiting for a condition, a file |
//! | `behaviour`, `gate` | limits, greylisting, unknown users: as data, and enforced |
//! | `script` | a receiver for fault tests: what it does wrong, at which stage, on which connection |
//! | `scenario`, `speaks` | a receiver as a file: hidden limits over time, and in whose words it answers |
//! | `model`, `hidden` | that receiver on virtual time, and behind a socket |
//! | `profiles` | five providers for the demo: [`Behaviour::google_like`] and its siblings |
//! | `odd` | replies that are odd but settled: a conformance table for clients |
//! | `proxy` | faults below SMTP: cuts, black holes, delays, single bytes |
//! | `transcript` | what was said on a connection, and what the client did wrong |
//! | `session`, `command`, `dot`, `reply`, `wire` | the conversation itself |
//! | `tls` | test certificates: self-signed, by a test authority, expired |
//!
//! Never imports Posthaste, above all not its SMTP: the two sides must not share a mistake. Meant for loopback: it
//! accepts mail for anybody and believes every client.

mod behaviour;
mod clock;
mod command;
mod counters;
mod dot;
mod gate;
mod hidden;
mod ledger;
pub mod model;
mod odd;
mod profiles;
mod proxy;
mod receiver;
mod reply;
mod scenario;
mod script;
mod session;
mod speaks;
mod tls;
mod transcript;
mod wire;

pub use behaviour::{Behaviour, Greylist, OnLost, Rate, RateAt, Replies, Share};
pub use counters::{Counters, Reason};
pub use dot::Oddities;
pub use ledger::{JournalLine, Keep, Ledger, Received, TimedOut, Totals};
pub use odd::{OddReply, odd_replies};
pub use profiles::PROFILES;
pub use proxy::{Cut, Fault, Faults, Proxy};
pub use receiver::{Bounds, Capabilities, Login, Receiver, ReceiverBuilder};
pub use scenario::{
    BadAnswer, BadBackends, Bucket, Distribution, GreylistShare, Limits, PenaltyBox, Reputation, Scenario,
    ScenarioError, Service, Step, Tarpit,
};
pub use script::{Act, Gate, Script, Stage};
pub use speaks::Speaks;
pub use tls::{TestAuthority, TlsError, TlsIdentity};
pub use transcript::{AuthAttempt, Ended, Transcript, Violation};
