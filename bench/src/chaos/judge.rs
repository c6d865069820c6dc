//! The count: what the callers know, what the receivers hold and what the API tells are held against each other.
//!
//! Takes the three accounts, gives a [`Tally`]. Pure. A copy is a line in a receiver's synced file; two copies are of one
//! Delivery when recipient and Message-ID are the same.

use std::collections::{HashMap, HashSet};

use posthaste::domain::Class;
use provider_sim::JournalLine;
use serde::Serialize;

use super::account::{CallAsked, Outcome};
use super::mail::place_of;

/// Examples that are kept for the reader.
const EXAMPLES_MAX: usize = 20;
/// A copy may be this much earlier than its time: the two sides read different clocks.
const CLOCK_SLACK_MS: u64 = 100;

/// How a Delivery ended, as the API tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) address: String,
    /// With angle brackets.
    pub(crate) message_id: String,
    pub(crate) state: String,
    /// Attempts whose reply was lost, as its record counts them.
    pub(crate) ambiguous: u64,
    /// Events that tell its end.
    pub(crate) ends_told: u64,
    /// Events that tell a lost reply.
    pub(crate) ambiguous_told: u64,
}

/// The deliveries of each id that was asked for; `None` for an id that the API does not know.
pub(crate) type Ends = HashMap<String, Option<Vec<End>>>;

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    /// Deliveries that were answered with 202.
    pub(crate) accepted: u64,
    /// Copies that receivers hold.
    pub(crate) copies: u64,
    /// Accepted deliveries that have come to an end.
    pub(crate) verdicts: u64,
    /// Accepted, but nobody has it: called delivered without a copy, unknown to the API, or neither ended nor waiting.
    pub(crate) lost: u64,
    /// Copies beyond the first.
    pub(crate) duplicates: u64,
    /// Copies beyond the first that no ambiguous attempt explains.
    pub(crate) unknown_duplicates: u64,
    /// Copies of what nobody asked for, or of what was refused.
    pub(crate) phantoms: u64,
    /// Attempts whose reply was lost.
    pub(crate) ambiguous: u64,
    /// Copies beyond the first of mail that is held when in doubt.
    pub(crate) hold_duplicates: u64,
    /// Accepted and still waiting when the run was over.
    pub(crate) unsettled: u64,
    /// Called undelivered without doubt, but somebody holds a copy.
    pub(crate) contradicted: u64,
    /// Deliveries whose events do not tell what their record says.
    pub(crate) untold: u64,
    /// Copies that came before their time.
    pub(crate) early: u64,
    /// The deliveries of the engine's answer by state, of accepted ones.
    pub(crate) states: std::collections::BTreeMap<String, u64>,
    #[serde(skip)]
    pub(crate) examples: Vec<String>,
}

impl Tally {
    /// Everything that must not be, by name, where there is some of it.
    pub(crate) fn wrong(&self) -> Vec<(&'static str, u64)> {
        let all = [
            ("lost", self.lost),
            ("unknown_duplicates", self.unknown_duplicates),
            ("phantoms", self.phantoms),
            ("hold_duplicates", self.hold_duplicates),
            ("unsettled", self.unsettled),
            ("contradicted", self.contradicted),
            ("untold", self.untold),
            ("early", self.early),
        ];
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text());
        }
    }
}

/// Ids of calls that were never answered, as the copies of their mail tell them: what else the API has to be asked for.
pub(crate) fn ids_of_unanswered(calls: &[CallAsked], copies: &[JournalLine]) -> HashSet<String> {
    let unanswered = |copy: &&JournalLine| {
        place_of(&copy.recipient)
            .and_then(|(call, ..)| calls.get(call))
            .is_some_and(|call| call.outcome == Outcome::Unanswered)
    };
    let ids = copies
        .iter()
        .filter(unanswered)
        .filter_map(|copy| id_of(copy.message_id.as_deref()?));
    ids.collect()
}

/// The mail's id in a Message-ID, written as the API does.
fn id_of(message_id: &str) -> Option<String> {
    let hex = message_id.strip_prefix('<')?.split('.').next()?;
    (hex.len() == 32 && hex.is_ascii()).then(|| {
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        parts.join("-")
    })
}

/// Counts. `waiting` is how much the engine says is still in its queue.
pub(crate) fn judge(calls: &[CallAsked], copies: &[JournalLine], ends: &Ends, waiting: u64) -> Tally {
    let mut tally = Tally {
        copies: copies.len() as u64,
        ..Tally::default()
    };
    let mut held: HashMap<(&str, &str), u64> = HashMap::new();
    for copy in copies {
        let message_id = copy.message_id.as_deref().unwrap_or("");
        *held.entry((copy.recipient.as_str(), message_id)).or_default() += 1;
        look_at_copy(&mut tally, calls, copy, ends);
    }
    for call in calls {
        let Outcome::Accepted(ids) = &call.outcome else {
            continue;
        };
        for (mail, id) in call.mails.iter().zip(ids) {
            let known = ends.get(id).and_then(Option::as_ref);
            for address in &mail.recipients {
                tally.accepted += 1;
                match known.and_then(|ends| ends.iter().find(|end| end.address == *address)) {
                    None => {
                        tally.lost += 1;
                        tally.example(|| format!("lost: the API does not know {id} for {address}"));
                    }
                    Some(end) => look_at_accepted(&mut tally, end, id, &held, waiting),
                }
            }
        }
    }
    for (id, end) in ends
        .iter()
        .flat_map(|(id, ends)| ends.iter().flatten().map(move |end| (id, end)))
    {
        look_at_copies_of(&mut tally, calls, end, id, &held);
    }
    tally
}

/// Whether anybody may hold this copy at all, and already.
fn look_at_copy(tally: &mut Tally, calls: &[CallAsked], copy: &JournalLine, ends: &Ends) {
    let place = place_of(&copy.recipient);
    let call = place.and_then(|(call, mail, _)| Some((calls.get(call)?, mail)));
    let id = copy.message_id.as_deref().and_then(id_of);
    let Some((call, index)) = call else {
        tally.phantoms += 1;
        tally.example(|| format!("phantom: nobody wrote to {}", copy.recipient));
        return;
    };
    let expected = match (&call.outcome, &id) {
        (Outcome::Accepted(ids), Some(id)) => ids.get(index) == Some(id),
        // In flight when something broke: it may have been stored. But then the API knows it.
        (Outcome::Unanswered, Some(id)) => ends.get(id).is_some_and(Option::is_some),
        _ => false,
    };
    if !expected {
        tally.phantoms += 1;
        tally.example(|| {
            format!(
                "phantom: {} holds {:?}; {:?}",
                copy.recipient, copy.message_id, call.outcome
            )
        });
    }
    let due = call.mails.get(index).map_or(0, |mail| mail.not_before_ms);
    if copy.at_ms + CLOCK_SLACK_MS < due {
        tally.early += 1;
        tally.example(|| {
            format!(
                "early: {} got it {} ms before its time",
                copy.recipient,
                due - copy.at_ms
            )
        });
    }
}

fn copies_of(end: &End, held: &HashMap<(&str, &str), u64>) -> u64 {
    let key = (end.address.as_str(), end.message_id.as_str());
    held.get(&key).copied().unwrap_or(0)
}

fn is_final(state: &str) -> bool {
    !matches!(state, "scheduled" | "queued" | "deferred" | "held" | "quarantined")
}

fn look_at_accepted(tally: &mut Tally, end: &End, id: &str, held: &HashMap<(&str, &str), u64>, waiting: u64) {
    *tally.states.entry(end.state.clone()).or_default() += 1;
    let copies = copies_of(end, held);
    if !is_final(&end.state) {
        tally.unsettled += 1;
        // A queue that is empty will never bring it out again.
        tally.lost += u64::from(waiting == 0);
        tally.example(|| format!("unsettled: {} of {id} is {}", end.address, end.state));
        return;
    }
    tally.verdicts += 1;
    if end.state == "delivered" && copies == 0 {
        tally.lost += 1;
        tally.example(|| format!("lost: {} of {id} is called delivered and nobody has it", end.address));
    }
}

/// What holds for every Delivery that the API knows, whether its call was answered or not.
fn look_at_copies_of(tally: &mut Tally, calls: &[CallAsked], end: &End, id: &str, held: &HashMap<(&str, &str), u64>) {
    let copies = copies_of(end, held);
    tally.ambiguous += end.ambiguous;
    let more = copies.saturating_sub(1);
    tally.duplicates += more;
    let unknown = more.saturating_sub(end.ambiguous);
    if unknown > 0 {
        tally.unknown_duplicates += unknown;
        tally.example(|| {
            format!(
                "unknown duplicate: {copies} copies of {id} for {}: {end:?}",
                end.address
            )
        });
    }
    let place = place_of(&end.address).and_then(|(call, mail, _)| calls.get(call)?.mails.get(mail));
    if more > 0 && place.is_some_and(|mail| mail.class == Class::Broadcast) {
        tally.hold_duplicates += more;
        tally.example(|| format!("held mail twice: {copies} copies of {id} for {}", end.address));
    }
    let undelivered = matches!(end.state.as_str(), "bounced" | "expired" | "suppressed" | "cancelled");
    if undelivered && copies > 0 && end.ambiguous == 0 {
        tally.contradicted += 1;
        tally.example(|| {
            format!(
                "contradicted: {} of {id} is {} but holds a copy",
                end.address, end.state
            )
        });
    }
    if end.ends_told != u64::from(is_final(&end.state)) || end.ambiguous_told != end.ambiguous {
        tally.untold += 1;
        tally.example(|| format!("untold: the events of {id} do not fit {end:?}"));
    }
}

#[cfg(test)]
mod tests;
