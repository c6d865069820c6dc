//! The tables: which there are, and what is in them.
//!
//! `Tables` holds all of one write transaction open; the writer makes one per batch. Reads open what they need.

use redb::{Table, TableDefinition, TableError, WriteTransaction};

use super::keys::{DeliveryKey, DueKey, EndKey, EventKey, MessageKey, ParkedKey, TemplateKey};

/// Message → its record, for as long as it is kept.
pub(super) const MESSAGES: TableDefinition<'_, &MessageKey, &[u8]> = TableDefinition::new("messages");
/// Message → its body; gone when the last delivery is final. So its first key is the oldest message that waits.
pub(super) const BODIES: TableDefinition<'_, &MessageKey, &[u8]> = TableDefinition::new("bodies");
/// Message → how many of its deliveries are not final; only for those with more than one.
pub(super) const UNSETTLED: TableDefinition<'_, &MessageKey, u32> = TableDefinition::new("unsettled");
/// Delivery → its record.
pub(super) const DELIVERIES: TableDefinition<'_, &DeliveryKey, &[u8]> = TableDefinition::new("deliveries");
/// The line of each class, by due time. A leased one keeps its place.
pub(super) const DUE: TableDefinition<'_, &DueKey, ()> = TableDefinition::new("due");
/// Those who wait under a lane, by class and expiry. A leased one keeps its place.
pub(super) const PARKED: TableDefinition<'_, &ParkedKey, ()> = TableDefinition::new("parked");
/// The same, over all lanes, by expiry → number of the lane.
pub(super) const PARKED_ENDS: TableDefinition<'_, &EndKey, u32> = TableDefinition::new("parked_ends");
/// Number of a lane → its names; only for lanes with somebody parked.
pub(super) const LANES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("lanes");
/// Delivery → INTENT without OUTCOME.
pub(super) const INTENTS: TableDefinition<'_, &DeliveryKey, &[u8]> = TableDefinition::new("intents");
/// Message and place → event.
pub(super) const EVENTS: TableDefinition<'_, &EventKey, &[u8]> = TableDefinition::new("events");
/// Tenant and idempotency key → the answer of the first call.
pub(super) const ANSWERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("answers");
/// The same by the time at which they are forgotten.
pub(super) const ANSWER_ENDS: TableDefinition<'_, &[u8], ()> = TableDefinition::new("answer_ends");
/// Tenant and address in lower case → entry of the suppression list.
pub(super) const SUPPRESSIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("suppressions");
/// Tenant → its record.
pub(super) const TENANTS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("tenants");
/// Hash of a key → its record.
pub(super) const KEYS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("keys");
/// Tenant and name → domain.
pub(super) const DOMAINS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("domains");
/// Template and version → its record.
pub(super) const TEMPLATES: TableDefinition<'_, &TemplateKey, &[u8]> = TableDefinition::new("templates");
/// Tenant and alias → template and newest version.
pub(super) const ALIASES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("aliases");
/// Lane, as in the keys of notes → what its INTENTs were charged.
pub(super) const CHARGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("charges");
/// Kind and key → note.
pub(super) const NOTES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("notes");
/// Name → what the store knows about itself: see the names below.
pub(super) const ABOUT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("about");

/// Which layout the tables have, as a big-endian u32.
pub(super) const ABOUT_LAYOUT: &str = "layout";
/// How many times the store was opened, as a big-endian u64.
pub(super) const ABOUT_EPOCH: &str = "epoch";
/// The counters: `records::Ledger`.
pub(super) const ABOUT_LEDGER: &str = "ledger";

/// That the store is being moved, or was.
pub(super) const ABOUT_MARK: &str = "mark";

/// The layout that this program reads and writes.
pub(super) const LAYOUT: u32 = 1;

/// All tables of one write transaction.
pub(super) struct Tables<'t> {
    pub(super) messages: Table<'t, &'static MessageKey, &'static [u8]>,
    pub(super) bodies: Table<'t, &'static MessageKey, &'static [u8]>,
    pub(super) unsettled: Table<'t, &'static MessageKey, u32>,
    pub(super) deliveries: Table<'t, &'static DeliveryKey, &'static [u8]>,
    pub(super) due: Table<'t, &'static DueKey, ()>,
    pub(super) parked: Table<'t, &'static ParkedKey, ()>,
    pub(super) parked_ends: Table<'t, &'static EndKey, u32>,
    pub(super) lanes: Table<'t, u32, &'static [u8]>,
    pub(super) intents: Table<'t, &'static DeliveryKey, &'static [u8]>,
    pub(super) events: Table<'t, &'static EventKey, &'static [u8]>,
    pub(super) answers: Table<'t, &'static [u8], &'static [u8]>,
    pub(super) answer_ends: Table<'t, &'static [u8], ()>,
    pub(super) suppressions: Table<'t, &'static [u8], &'static [u8]>,
    pub(super) tenants: Table<'t, u32, &'static [u8]>,
    pub(super) keys: Table<'t, &'static [u8; 32], &'static [u8]>,
    pub(super) domains: Table<'t, &'static [u8], &'static [u8]>,
    pub(super) templates: Table<'t, &'static TemplateKey, &'static [u8]>,
    pub(super) aliases: Table<'t, &'static [u8], &'static [u8]>,
    pub(super) charges: Table<'t, &'static [u8], &'static [u8]>,
    pub(super) notes: Table<'t, &'static [u8], &'static [u8]>,
    pub(super) about: Table<'t, &'static str, &'static [u8]>,
}

impl<'t> Tables<'t> {
    /// Opens all tables; creates those that are missing.
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            messages: transaction.open_table(MESSAGES)?,
            bodies: transaction.open_table(BODIES)?,
            unsettled: transaction.open_table(UNSETTLED)?,
            deliveries: transaction.open_table(DELIVERIES)?,
            due: transaction.open_table(DUE)?,
            parked: transaction.open_table(PARKED)?,
            parked_ends: transaction.open_table(PARKED_ENDS)?,
            lanes: transaction.open_table(LANES)?,
            intents: transaction.open_table(INTENTS)?,
            events: transaction.open_table(EVENTS)?,
            answers: transaction.open_table(ANSWERS)?,
            answer_ends: transaction.open_table(ANSWER_ENDS)?,
            suppressions: transaction.open_table(SUPPRESSIONS)?,
            tenants: transaction.open_table(TENANTS)?,
            keys: transaction.open_table(KEYS)?,
            domains: transaction.open_table(DOMAINS)?,
            templates: transaction.open_table(TEMPLATES)?,
            aliases: transaction.open_table(ALIASES)?,
            charges: transaction.open_table(CHARGES)?,
            notes: transaction.open_table(NOTES)?,
            about: transaction.open_table(ABOUT)?,
        })
    }
}
