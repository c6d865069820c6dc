//! The seam through which a whole store moves into another one: everything it holds, page by page.
//!
//! Takes and gives domain types, so that backends need not know each other's records. A store is moved while no engine works
//! on it; leases do not move, for nobody holds one. What every implementation promises is in `tests/it/migration.rs`; the move
//! itself is in `migration`.

use std::sync::Arc;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{ApiKey, Body, Delivery, Event, Lane, Message, Note, SendingDomain, Suppression, Template, Tenant};
use crate::queue::{IdempotencyKey, OpenIntent, Spent, StoredResponse};

/// Something that a store holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Archived {
    /// A tenant.
    Tenant(Tenant),
    /// An API key.
    Key(ApiKey),
    /// A domain with its DKIM keys, unsealed: they are sealed again with the key of the store that they come into.
    Domain(SendingDomain),
    /// One version of a template.
    Template(Arc<Template>),
    /// An entry of the suppression list.
    Suppression(Suppression),
    /// The answer to an idempotency key.
    Answer(IdempotencyKey, StoredResponse),
    /// Something that the engine has learnt.
    Note(Note),
    /// What INTENTs of a lane were charged.
    Charged(Lane, Spent),
    /// A Message with all that belongs to it.
    Message(Box<ArchivedMessage>),
}

/// A Message with its content, deliveries and events.
#[derive(Debug, Clone, PartialEq)]
pub struct ArchivedMessage {
    /// The Message.
    pub message: Arc<Message>,
    /// Its content; gone when everything is settled.
    pub body: Option<Arc<Body>>,
    /// In the order of its recipients.
    pub deliveries: Vec<ArchivedDelivery>,
    /// Oldest first. Their places in the order of all events stay the same in a store that has one order.
    pub events: Vec<Event>,
}

/// A Delivery and where it waits.
#[derive(Debug, Clone, PartialEq)]
pub struct ArchivedDelivery {
    /// The Delivery.
    pub delivery: Delivery,
    /// Under which lane it is parked.
    pub parked: Option<Lane>,
    /// Its INTENT without OUTCOME: it may have been sent.
    pub open_intent: Option<OpenIntent>,
}

/// How far an export came. Only the store that gave it can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub Vec<u8>);

/// A part of an export.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// What is in it.
    pub items: Vec<Archived>,
    /// Where the next one begins; none when this is the last.
    pub next: Option<Cursor>,
}

/// What a store knows about its own move. No engine may work on a store that has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// Another store is moving in.
    Arriving {
        /// Which: as its operator wrote it.
        from: String,
        /// Up to where it is here; none at the beginning.
        after: Option<Cursor>,
    },
    /// Everything has moved to another store, and goes out from there.
    Moved {
        /// Which.
        to: String,
    },
}

/// Bytes of content after which a page is full, whatever it may hold.
pub const PAGE_BYTES_MAX: usize = 8 << 20;

/// A store that can move.
#[async_trait]
pub trait Archive: Send + Sync + std::fmt::Debug {
    /// Up to `max` items after `after`, from the beginning if there is none. Always in the same order.
    async fn export(&self, after: Option<&Cursor>, max: usize) -> Result<Page, StoreError>;

    /// Takes items in, and then `mark`: after a crash in between they are taken in again, and what is there already stays as
    /// it is.
    async fn import(&self, items: Vec<Archived>, mark: &Mark) -> Result<(), StoreError>;

    /// The mark, if there is one.
    async fn mark(&self) -> Result<Option<Mark>, StoreError>;

    /// Sets or, with none, takes away the mark.
    async fn set_mark(&self, mark: Option<&Mark>) -> Result<(), StoreError>;
}

/// Bytes of an item that count towards a full page: its content.
pub(super) fn weight(item: &Archived) -> usize {
    let Archived::Message(archived) = item else {
        return 0;
    };
    let Some(body) = &archived.body else { return 0 };
    let attachments = body.attachments.iter().map(|attachment| attachment.content.len());
    let text = match &body.content {
        crate::domain::Content::Inline { html, text, .. } => {
            html.as_ref().map_or(0, String::len) + text.as_ref().map_or(0, String::len)
        }
        _ => 0,
    };
    attachments.sum::<usize>() + text
}
