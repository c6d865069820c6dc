//! What goes in and out of a queue.

use std::sync::Arc;

use thiserror::Error;

use crate::domain::{Body, Delivery, DeliveryId, Event, Fence, Lane, Message, MessageId, TenantId, Timestamp, Why};

/// Why the queue could not do what was asked. Never means "there is no such thing".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueueError {
    /// No room left on the disk. Nothing was stored; it works again when there is space.
    #[error("the disk is full")]
    Full,
    /// The backend does not answer or is shutting down. Whether the step was done is not known.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// A stored record could not be read. It was left as it is.
    #[error("a stored record is damaged: {0}")]
    Damaged(String),
}

/// Everything that one API call makes durable.
#[derive(Debug)]
pub struct Accept {
    /// Messages with their bodies.
    pub messages: Vec<(Arc<Message>, Arc<Body>)>,
    /// Their deliveries, in the states that admission gave them.
    pub deliveries: Vec<Delivery>,
    /// The first events.
    pub events: Vec<Event>,
    /// Key and answer, if the call had an `Idempotency-Key`.
    pub idempotency: Option<(IdempotencyKey, StoredResponse)>,
    /// The time of the call.
    pub at: Timestamp,
}

/// An idempotency key in its scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// Whose.
    pub tenant: TenantId,
    /// As sent, 1 to 256 visible ASCII characters.
    pub key: String,
}

impl IdempotencyKey {
    /// The byte that chooses the partition of a call with this key: the ids of its messages must have it
    /// ([`MessageId::in_partition`]), so that key and messages are stored in one step.
    #[must_use]
    pub fn partition_byte(&self) -> u8 {
        let mut hash = crc32fast::Hasher::new();
        hash.update(&self.tenant.0.to_be_bytes());
        hash.update(self.key.as_bytes());
        hash.finalize().to_be_bytes()[3]
    }
}

/// The answer that a repeated call gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResponse {
    /// SHA-256 of method, path and body of the first call.
    pub request_hash: [u8; 32],
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: Vec<u8>,
    /// Forgotten after this.
    pub expires_at: Timestamp,
}

/// What became of an ACCEPT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// Durable.
    New,
    /// This call was made before: nothing was stored; this was its answer.
    Replay(StoredResponse),
    /// The key was used before with another request: nothing was stored.
    KeyMismatch,
}

/// A Delivery with its lease.
#[derive(Debug, Clone)]
pub struct Leased {
    /// The Delivery as stored.
    pub delivery: Delivery,
    /// The token to settle with.
    pub fence: Fence,
    /// The lease ends here unless renewed.
    pub until: Timestamp,
    /// INTENT of an earlier holder that has no OUTCOME.
    pub open_intent: Option<OpenIntent>,
}

impl Leased {
    /// What names this lease.
    #[must_use]
    pub fn lease(&self) -> LeaseRef {
        LeaseRef {
            delivery: self.delivery.id,
            fence: self.fence,
        }
    }
}

/// Names a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseRef {
    /// Of which Delivery.
    pub delivery: DeliveryId,
    /// Which lease of it.
    pub fence: Fence,
}

/// An INTENT without an OUTCOME.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIntent {
    /// Number of the Attempt.
    pub attempt: u32,
    /// When it was recorded.
    pub at: Timestamp,
    /// Through which lane.
    pub lane: Lane,
    /// At which host.
    pub host: String,
}

/// Fewer than this in one lease are the oldest, all of them.
const LEASE_WITH_NEWEST: usize = 64;

/// How many of a lease of at most `max` are those who became due last, where more are due than it takes. Whoever is due
/// then is soon seen, however many stand before it: a million mails of one tenant that fall due together would else hold
/// up everybody's fresh mail for as long as it takes to bring them all to their lanes, where tenants share.
#[must_use]
pub fn newest_of(max: usize) -> usize {
    match max {
        ..LEASE_WITH_NEWEST => 0,
        _ => max / 4,
    }
}

/// A Delivery to be parked.
#[derive(Debug, Clone)]
pub struct Parking {
    /// Its lease, which ends.
    pub lease: LeaseRef,
    /// Under which lane.
    pub lane: Lane,
    /// Shown while it waits.
    pub why: Why,
    /// When the lane is looked at next, where that is known; shown while it waits.
    pub until: Option<Timestamp>,
}

/// A Delivery to be given back.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its lease, which ends.
    pub lease: LeaseRef,
    /// Due again then.
    pub due_at: Timestamp,
    /// Shown while it waits.
    pub why: Why,
}

/// What an INTENT takes from the warm-up budget of its lane, in the same step as it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// The UTC day of the charge, in days since 1970.
    pub day: u32,
    /// Of that day's mail this much may be out when it is recorded; more is refused.
    pub cap: u64,
}

/// What of a lane's warm-up budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spent {
    /// On which UTC day, in days since 1970.
    pub day: u32,
    /// How many INTENTs were charged on it.
    pub used: u64,
}

impl Spent {
    /// What is used up when one charge for `day` is taken back; none when there is none of that day.
    #[must_use]
    pub fn less_one_of(self, day: u32) -> Option<Self> {
        let used = self.used.checked_sub(1).filter(|_| self.day == day)?;
        Some(Self { used, ..self })
    }
}

impl Charge {
    /// What is used up after this charge; none when the cap forbids it. Days never come back: a clock that jumps back
    /// charges the last day that there was, so that it does not open a new budget.
    #[must_use]
    pub fn on(self, known: Option<Spent>) -> Option<Spent> {
        let last = known.filter(|known| known.day >= self.day);
        let spent = last.unwrap_or(Spent { day: self.day, used: 0 });
        (spent.used < self.cap).then_some(Spent {
            used: spent.used + 1,
            ..spent
        })
    }
}

/// The record that must be durable before the dot.
#[derive(Debug, Clone)]
pub struct Intent {
    /// Under which lease.
    pub lease: LeaseRef,
    /// Number of the Attempt, from 1.
    pub attempt: u32,
    /// Through which lane.
    pub lane: Lane,
    /// At which host.
    pub host: String,
    /// Now; expiry is checked against it.
    pub at: Timestamp,
    /// What it costs, for a lane that is being warmed up.
    pub charge: Option<Charge>,
}

/// Whether the dot may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentAnswer {
    /// Durable: send it.
    Recorded,
    /// Do not send it.
    Refused(IntentRefusal),
}

/// Why a dot must not go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentRefusal {
    /// The lease is no longer ours, or the Delivery is final. Drop it.
    Stale,
    /// Its time ran out. Settle it as expired.
    Expired,
    /// The address was put on the suppression list meanwhile. Settle it as suppressed.
    Suppressed,
    /// The lane has had its share for now: the cap of the charge is reached. Nothing was charged.
    WarmupCap,
}

/// What became of a Settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleAnswer {
    /// Durable.
    Settled,
    /// The lease was not ours any more, or the Delivery is final: nothing changed.
    Stale,
}

/// How much waits in the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Depth {
    /// Deliveries by state, in the order of [`crate::domain::State::ALL`]. Final states count since the store was made.
    pub by_state: [u64; 11],
    /// Waiting deliveries by class, in the order of [`crate::domain::Class::ALL`].
    pub waiting_by_class: [u64; 3],
    /// Acceptance time of the oldest waiting Message.
    pub oldest: Option<Timestamp>,
    /// Under a lease at the moment.
    pub leased: u64,
    /// Parked under a lane.
    pub parked: u64,
    /// Messages accepted since the store was made.
    pub messages: u64,
}

/// Ids of the messages in an [`Accept`].
impl Accept {
    /// Ids in order.
    pub fn ids(&self) -> impl Iterator<Item = MessageId> + '_ {
        self.messages.iter().map(|(message, _)| message.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_counts_up_to_its_cap_and_a_clock_that_jumps_back_opens_no_new_budget() {
        let check = |known: Option<(u32, u64)>, charge: (u32, u64), expect: Option<(u32, u64)>| {
            let spent = |(day, used)| Spent { day, used };
            let (day, cap) = charge;
            assert_eq!(
                Charge { day, cap }.on(known.map(spent)),
                expect.map(spent),
                "{charge:?} on {known:?}"
            );
        };
        check(None, (10, 0), None);
        check(None, (10, 1), Some((10, 1)));
        check(Some((10, 4)), (10, 5), Some((10, 5)));
        check(Some((10, 5)), (10, 5), None);
        check(Some((10, 5)), (10, 2), None);
        check(Some((10, 5)), (11, 5), Some((11, 1)));
        check(Some((10, 4)), (9, 5), Some((10, 5)));
        check(Some((10, 5)), (9, 5), None);
    }

    #[test]
    fn a_charge_is_taken_back_from_its_own_day_alone_and_never_below_none() {
        let check = |known: (u32, u64), day, expect: Option<u64>| {
            let (of, used) = known;
            let less = Spent { day: of, used }.less_one_of(day);
            assert_eq!(less, expect.map(|used| Spent { day: of, used }), "{day} of {known:?}");
        };
        check((10, 5), 10, Some(4));
        check((10, 1), 10, Some(0));
        check((10, 0), 10, None);
        check((10, 5), 9, None);
        check((10, 5), 11, None);
    }
}
