//! The words of Posthaste as plain data: what every other room passes around.
//!
//! Takes nothing, gives types. Never does I/O, reads a clock, decides or serialises: decisions are in `policy/`, stored
//! records in `store/`, API shapes in `api/`. One word per thing; ARCHITECTURE.md has the table.

mod attempt;
mod class;
mod delivery;
mod destination;
mod event;
mod ids;
mod message;
mod node;
mod note;
mod phase_times;
mod place;
mod settlement;
mod shelf;
mod submission;
mod suppression;
mod tenant;
mod time;
mod verdict;
mod why;

pub use attempt::{Attempt, AttemptOutcome, DnsFailure, EnhancedCode, Failure, Reply, Stage};
pub use class::{Class, OnAmbiguous, Stream};
pub use delivery::{Delivery, LastReply, State};
pub use destination::{Credentials, Destination, Host, LaneLimits, TlsPolicy};
pub use event::{Event, EventKind};
pub use ids::{DeliveryId, Fence, Lane, MessageId, NodeId, ProviderId, SourceId, TemplateId, TenantId};
pub use message::{Attachment, Body, Content, Disposition, Mailbox, Message, Recipient, Role, Variables};
pub use node::{Board, Node, Presence, SourceClaim};
pub use note::{
    NOTE_KEY_BYTES_MAX, NOTE_VALUE_BYTES_MAX, NOTES_PER_CALL_MAX, Note, NoteKind, NoteOutOfBounds, lane_note_key,
    lane_of_note_key,
};
pub use phase_times::PhaseTimes;
pub use place::Place;
pub use settlement::{Next, Settlement};
pub use shelf::Shelf;
pub use submission::{Problem, Submission, SubmittedContent};
pub use suppression::{Suppression, SuppressionReason};
pub use tenant::{ApiKey, DkimAlgorithm, DkimKey, DomainStatus, KeyScope, SendingDomain, Template, Tenant};
pub use time::Timestamp;
pub use verdict::{Blame, BounceClass, Cause, LaneAction, Verdict};
pub use why::Why;
