//! The durable change that an Attempt, or the lack of one, leads to.
//!
//! Takes the Delivery, the Attempt with its Verdict, settings, `now` and a seed; gives one [`Settlement`]. All moves
//! between states are made here and nowhere else.
//!
//! Failure semantics. A retry that would come after the end is not made: the Delivery expires now, with what was said last.
//! An ambiguous attempt is resent or held by class; it is counted once, whether we saw the reply get lost or found the open
//! INTENT after a crash. What is our own fault (a panic, an INTENT that could not be recorded) never bounces: it waits a
//! little, and the third panic puts the Delivery aside. Hard bounces suppress the address, in the same step, only when the
//! Verdict says so. A domain whose hosts have no address for a day is given up.

use std::time::Duration;

use super::retry::{RetrySettings, Wait};
use super::seed::Seeded;
use crate::domain::{
    Attempt, AttemptOutcome, BounceClass, Delivery, DnsFailure, EventKind, Failure, Fence, LastReply, Next,
    OnAmbiguous, Settlement, Stage, State, SuppressionReason, Timestamp, Verdict, Why,
};
use crate::sabotage::{self, Bug};

/// Bytes of a reply's text that are kept.
const REPLY_BYTES_MAX: usize = 512;
/// A code that may have arrived is sent again within this.
const CODE_RESEND_MAX: Duration = Duration::from_secs(5);

/// How attempts are settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlementSettings {
    /// Times between attempts.
    pub retry: RetrySettings,
    /// What to do with ambiguous mail, by [`crate::domain::Class::index`].
    pub on_ambiguous: [OnAmbiguous; 3],
    /// For how long ambiguous mail is held for evidence.
    pub hold: Duration,
    /// After so many panics a Delivery is put aside.
    pub panics_max: u32,
    /// Wait after a fault of ours.
    pub fault_wait: Duration,
    /// A domain whose hosts have no address is given up after this.
    pub no_address_max: Duration,
}

impl Default for SettlementSettings {
    fn default() -> Self {
        Self {
            retry: RetrySettings::default(),
            on_ambiguous: [OnAmbiguous::Resend, OnAmbiguous::Resend, OnAmbiguous::Hold],
            hold: Duration::from_secs(24 * 3600),
            panics_max: 3,
            fault_wait: Duration::from_secs(5),
            no_address_max: Duration::from_secs(24 * 3600),
        }
    }
}

/// What to do with a leased Delivery before any attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Waiting {
    /// Try it.
    Attempt,
    /// Nothing to try: this is what becomes of it.
    Settle(Settlement),
}

/// Looks at a Delivery as it comes out of the queue. `open_intent` is the host of an INTENT that has no OUTCOME.
#[must_use]
pub fn waiting(
    delivery: &Delivery,
    fence: Fence,
    open_intent: Option<&str>,
    settings: &SettlementSettings,
    now: Timestamp,
) -> Waiting {
    if let Some(host) = open_intent {
        let seed = u64::from(delivery.attempts);
        return Waiting::Settle(ambiguous(delivery, fence, host, None, settings, now, seed));
    }
    if delivery.state == State::Held {
        return Waiting::Settle(Settlement {
            events: vec![EventKind::Unknown],
            ..change(delivery, fence, now, Next::Final(State::Unknown))
        });
    }
    if now >= delivery.expires_at && !sabotage::is(Bug::IntentAfterExpiry) {
        return Waiting::Settle(expired(delivery, fence, now));
    }
    Waiting::Attempt
}

/// What an Attempt with this Verdict leads to.
#[must_use]
pub fn settle(
    delivery: &Delivery,
    attempt: &Attempt,
    verdict: Verdict,
    settings: &SettlementSettings,
    now: Timestamp,
    seed: u64,
) -> Settlement {
    debug_assert!(!delivery.state.is_final(), "an attempt of a Delivery that has ended");
    let reply = last_reply(attempt);
    let source = attempt.lane.as_ref().map(|lane| lane.source.clone());
    let settled = match verdict {
        Verdict::Delivered => delivered(delivery, attempt, reply.clone(), now),
        Verdict::Retry { .. } if given_up(delivery, attempt, settings, now) => {
            bounced(delivery, attempt, BounceClass::BadDomain, false, &reply, now)
        }
        Verdict::Retry { cause, after, counts } => {
            let attempts = delivery.attempts + u32::from(counts);
            let wait = Wait {
                class: delivery.class,
                attempts,
                reason: cause.class,
                counts,
                named: after,
            };
            retry(delivery, attempt.fence, wait, reply.clone(), settings, now, seed)
        }
        Verdict::Bounce { cause, suppress } => bounced(delivery, attempt, cause.class, suppress, &reply, now),
        Verdict::Ambiguous { .. } => ambiguous(
            delivery,
            attempt.fence,
            &attempt.host,
            Some(reply.clone()),
            settings,
            now,
            seed,
        ),
    };
    Settlement {
        source,
        reply: Some(reply),
        ..settled
    }
}

/// Its time ran out.
#[must_use]
pub fn expired(delivery: &Delivery, fence: Fence, now: Timestamp) -> Settlement {
    let events = vec![EventKind::Expired { why: delivery.why }];
    Settlement {
        events,
        ..change(delivery, fence, now, Next::Final(State::Expired))
    }
}

/// The address went onto the suppression list before the dot left.
#[must_use]
pub fn suppressed(delivery: &Delivery, fence: Fence, now: Timestamp) -> Settlement {
    Settlement {
        events: vec![EventKind::Suppressed],
        ..change(delivery, fence, now, Next::Final(State::Suppressed))
    }
}

/// The INTENT could not be recorded, so nothing was sent: a little later again, without an event.
#[must_use]
pub fn unrecorded(delivery: &Delivery, fence: Fence, settings: &SettlementSettings, now: Timestamp) -> Settlement {
    let next = Next::Wait {
        state: delivery.state,
        due_at: now.plus(settings.fault_wait),
        why: Why::StoreUnavailable,
    };
    change(delivery, fence, now, next)
}

/// The warm-up of its lane has had its share, so nothing was sent: again when there is more room, without an event.
#[must_use]
pub fn over_cap(delivery: &Delivery, fence: Fence, until: Timestamp, now: Timestamp) -> Settlement {
    let next = Next::Wait {
        state: delivery.state,
        due_at: until,
        why: Why::WarmupCap,
    };
    change(delivery, fence, now, next)
}

/// A session panicked over it. With its INTENT recorded it is ambiguous, and counted as a panic besides; else it comes a
/// little later again. The third panic puts it aside.
#[must_use]
pub fn panicked_after_intent(
    delivery: &Delivery,
    fence: Fence,
    host: &str,
    settings: &SettlementSettings,
    now: Timestamp,
    seed: u64,
) -> Settlement {
    let ambiguous = ambiguous(delivery, fence, host, None, settings, now, seed);
    if delivery.panics + 1 < settings.panics_max {
        return Settlement { panics: 1, ..ambiguous };
    }
    let aside = panicked(delivery, fence, settings, now);
    let events = ambiguous.events.into_iter().take(1).chain(aside.events).collect();
    Settlement {
        attempts: 1,
        ambiguous: 1,
        events,
        ..aside
    }
}

/// A session panicked over it before its INTENT: a little later again; the third time it is put aside.
#[must_use]
pub fn panicked(delivery: &Delivery, fence: Fence, settings: &SettlementSettings, now: Timestamp) -> Settlement {
    if delivery.panics + 1 >= settings.panics_max {
        let next = Next::Wait {
            state: State::Quarantined,
            due_at: Timestamp::NEVER,
            why: Why::Quarantined,
        };
        return Settlement {
            panics: 1,
            events: vec![EventKind::Quarantined],
            ..change(delivery, fence, now, next)
        };
    }
    let next = Next::Wait {
        state: State::Deferred,
        due_at: now.plus(settings.fault_wait),
        why: Why::Deferred(BounceClass::Internal),
    };
    Settlement {
        panics: 1,
        ..change(delivery, fence, now, next)
    }
}

fn delivered(delivery: &Delivery, attempt: &Attempt, reply: LastReply, now: Timestamp) -> Settlement {
    let event = EventKind::Delivered {
        reply,
        address: attempt.address,
        tls: attempt.tls,
        attempts: delivery.attempts + 1,
    };
    Settlement {
        attempts: 1,
        events: vec![event],
        ..change(delivery, attempt.fence, now, Next::Final(State::Delivered))
    }
}

fn retry(
    delivery: &Delivery,
    fence: Fence,
    wait: Wait,
    reply: LastReply,
    settings: &SettlementSettings,
    now: Timestamp,
    seed: u64,
) -> Settlement {
    let why = Why::Deferred(wait.reason);
    let counted = u32::from(wait.counts);
    match settings.retry.next(wait, delivery.expires_at, now, seed) {
        None => {
            let events = vec![EventKind::Expired { why: Some(why) }];
            Settlement {
                attempts: counted,
                events,
                ..change(delivery, fence, now, Next::Final(State::Expired))
            }
        }
        Some(due_at) => {
            let next = Next::Wait {
                state: State::Deferred,
                due_at,
                why,
            };
            let events = vec![EventKind::Deferred {
                why,
                until: due_at,
                reply: Some(reply),
            }];
            Settlement {
                attempts: counted,
                events,
                ..change(delivery, fence, now, next)
            }
        }
    }
}

fn bounced(
    delivery: &Delivery,
    attempt: &Attempt,
    class: BounceClass,
    suppress: bool,
    reply: &LastReply,
    now: Timestamp,
) -> Settlement {
    Settlement {
        attempts: u32::from(attempt.stage >= Stage::MailFrom),
        bounce: Some(class),
        suppress: suppress.then_some(SuppressionReason::HardBounce),
        events: vec![EventKind::Bounced {
            class,
            reply: Some(reply.clone()),
        }],
        ..change(delivery, attempt.fence, now, Next::Final(State::Bounced))
    }
}

fn ambiguous(
    delivery: &Delivery,
    fence: Fence,
    host: &str,
    reply: Option<LastReply>,
    settings: &SettlementSettings,
    now: Timestamp,
    seed: u64,
) -> Settlement {
    let (state, due_at, why) = match settings.on_ambiguous[delivery.class.index()] {
        OnAmbiguous::Hold if !sabotage::is(Bug::HeldIsResent) => {
            (State::Held, now.plus(settings.hold), Why::HeldAmbiguous)
        }
        OnAmbiguous::Hold | OnAmbiguous::Resend => (
            State::Deferred,
            resend_at(delivery, settings, now, seed),
            Why::ResendAmbiguous,
        ),
    };
    let mut events = vec![EventKind::Ambiguous {
        next: why,
        until: due_at,
        host: host.to_owned(),
    }];
    let next = if state == State::Deferred && due_at >= delivery.expires_at {
        events.push(EventKind::Expired { why: Some(why) });
        Next::Final(State::Expired)
    } else {
        Next::Wait { state, due_at, why }
    };
    Settlement {
        attempts: 1,
        ambiguous: 1,
        reply,
        events,
        ..change(delivery, fence, now, next)
    }
}

fn resend_at(delivery: &Delivery, settings: &SettlementSettings, now: Timestamp, seed: u64) -> Timestamp {
    if delivery.class == crate::domain::Class::Critical {
        let millis = u64::try_from(CODE_RESEND_MAX.as_millis()).unwrap_or(u64::MAX);
        return now.plus(Duration::from_millis(Seeded::new(seed).below(millis)));
    }
    let wait = Wait {
        class: delivery.class,
        attempts: delivery.attempts + 1,
        reason: BounceClass::Network,
        counts: true,
        named: None,
    };
    settings
        .retry
        .next(wait, Timestamp::NEVER, now, seed)
        .unwrap_or(Timestamp::NEVER)
}

/// Hosts without an address and CNAMEs without an end are temporary for a day, counted from acceptance.
fn given_up(delivery: &Delivery, attempt: &Attempt, settings: &SettlementSettings, now: Timestamp) -> bool {
    let nowhere = matches!(
        attempt.outcome,
        AttemptOutcome::Failed(Failure::Dns(DnsFailure::NoAddress | DnsFailure::CnameLoop))
    );
    // The first such failure never ends it: the mail may have been scheduled long ago.
    nowhere && delivery.last_reply.is_some() && now.since(delivery.created_at) > settings.no_address_max
}

fn change(delivery: &Delivery, fence: Fence, at: Timestamp, next: Next) -> Settlement {
    Settlement {
        delivery: delivery.id,
        fence,
        at,
        next,
        attempts: 0,
        ambiguous: 0,
        panics: 0,
        source: None,
        reply: None,
        bounce: None,
        suppress: None,
        events: Vec::new(),
    }
}

fn last_reply(attempt: &Attempt) -> LastReply {
    let (code, enhanced, text) = match &attempt.outcome {
        AttemptOutcome::Accepted(reply) | AttemptOutcome::Refused(reply) => {
            (reply.code, reply.enhanced, reply.text.clone())
        }
        AttemptOutcome::Failed(failure) => (0, None, failure.to_string()),
    };
    LastReply {
        at: attempt.ended_at,
        host: attempt.host.clone(),
        code,
        enhanced,
        text: cut(text),
    }
}

fn cut(mut text: String) -> String {
    if text.len() > REPLY_BYTES_MAX {
        let end = (0..=REPLY_BYTES_MAX)
            .rev()
            .find(|&end| text.is_char_boundary(end))
            .unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests;
