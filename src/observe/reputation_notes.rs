//! Reputation as notes of the store: keys from subjects, values with a version, and back.
//!
//! Takes what `observe::reputation` knows; gives keys and values for [`crate::domain::Note`]. What a tenant did is counted by
//! each node for itself, so such keys begin with the name of the node, and every node adds up what all wrote; a Source belongs to one node at a time and takes its
//! counts along. What cannot be read is passed over: it was written by a later version, or is not ours.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::reputation::Counted;
use crate::domain::{Lane, NodeId, ProviderId, SourceId, Stream, TenantId, Timestamp};
use crate::policy::reputation::{Counts, Subject, Tally};
use crate::policy::tenant_policy::{Grade, Standing};

/// The version of values that this program writes.
const VERSION: u8 = 1;

#[derive(Debug, Serialize, Deserialize)]
enum Key {
    #[serde(rename = "s")]
    Source(String),
    #[serde(rename = "l")]
    Lane(String, String),
    #[serde(rename = "t")]
    Tenant(String, u32),
    #[serde(rename = "r")]
    Stream(String, u32, String),
    #[serde(rename = "d")]
    Domain(String, u32, String),
}

/// The key of the note about a subject.
#[must_use]
pub fn tally_key(subject: &Subject, node: &NodeId) -> Vec<u8> {
    let node = node.as_str().to_owned();
    let key = match subject {
        Subject::Source(source) => Key::Source(source.to_string()),
        Subject::Lane(lane) => Key::Lane(lane.source.to_string(), lane.provider.to_string()),
        Subject::Tenant(tenant) => Key::Tenant(node, tenant.0),
        Subject::Stream(tenant, stream) => Key::Stream(node, tenant.0, stream.name().to_owned()),
        Subject::Domain(tenant, domain) => Key::Domain(node, tenant.0, domain.to_string()),
    };
    serde_json::to_vec(&key).unwrap_or_default()
}

/// The subject of a key; none when it is another node's, or cannot be read.
#[must_use]
pub fn subject_of(key: &[u8], node: &NodeId) -> Option<Subject> {
    let (owner, subject) = of_key(key)?;
    owner.is_none_or(|owner| owner == *node).then_some(subject)
}

/// The subject of a key, and the node that counted it: none for a Source, whose counts go with it.
#[must_use]
pub fn of_key(key: &[u8]) -> Option<(Option<NodeId>, Subject)> {
    let node = |name: String| Some(NodeId::from(name.as_str()));
    Some(match serde_json::from_slice(key).ok()? {
        Key::Source(source) => (None, Subject::Source(SourceId::from(&*source))),
        Key::Lane(source, provider) => {
            let (source, provider) = (SourceId::from(&*source), ProviderId::from(&*provider));
            (None, Subject::Lane(Lane { source, provider }))
        }
        Key::Tenant(name, tenant) => (node(name), Subject::Tenant(TenantId(tenant))),
        Key::Stream(name, tenant, stream) => (node(name), Subject::Stream(TenantId(tenant), stream_of(&stream)?)),
        Key::Domain(name, tenant, domain) => (node(name), Subject::Domain(TenantId(tenant), Arc::from(domain))),
    })
}

/// The value of the note about a subject.
#[must_use]
pub fn tally_value(tally: &Tally) -> Vec<u8> {
    let mut value = vec![VERSION, u8::from(tally.avoided)];
    value.extend(tally.at.0.to_be_bytes());
    value.extend(tally.turned_at.0.to_be_bytes());
    for window in &tally.windows {
        let counts = [
            window.delivered,
            window.deferred,
            window.blocked,
            window.bounced,
            window.complained,
        ];
        counts.iter().for_each(|count| value.extend(count.to_be_bytes()));
    }
    value
}

/// What a value says.
#[must_use]
pub fn tally_of(value: &[u8]) -> Option<Tally> {
    let (head, rest) = value.split_first_chunk::<2>()?;
    if head[0] != VERSION {
        return None;
    }
    let mut numbers = rest.chunks_exact(8).map(|bytes| {
        let mut number = [0; 8];
        number.copy_from_slice(bytes);
        number
    });
    let at = Timestamp(u64::from_be_bytes(numbers.next()?));
    let turned_at = Timestamp(u64::from_be_bytes(numbers.next()?));
    let mut count = || {
        let count = f64::from_be_bytes(numbers.next()?);
        (count.is_finite() && count >= 0.0).then_some(count)
    };
    let mut window = || {
        Some(Counts {
            delivered: count()?,
            deferred: count()?,
            blocked: count()?,
            bounced: count()?,
            complained: count()?,
        })
    };
    Some(Tally {
        windows: [window()?, window()?],
        at,
        avoided: head[1] != 0,
        turned_at,
    })
}

/// The value of the note about what a node counted of a tenant or a stream of it.
#[must_use]
pub fn counted_value(counted: &Counted) -> Vec<u8> {
    let since = counted.since.0.to_be_bytes();
    [since.as_slice(), &tally_value(&counted.tally)].concat()
}

/// What such a value says.
#[must_use]
pub fn counted_of(value: &[u8]) -> Option<Counted> {
    let (since, tally) = value.split_first_chunk::<8>()?;
    Some(Counted {
        tally: tally_of(tally)?,
        since: Timestamp(u64::from_be_bytes(*since)),
    })
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredStanding {
    grade: String,
    since: u64,
    reason: String,
    by_hand: bool,
    slow_rate: f64,
}

/// The key of the note about a stream's standing.
#[must_use]
pub fn standing_key(tenant: TenantId, stream: Stream) -> Vec<u8> {
    format!("{tenant}/{}", stream.name()).into_bytes()
}

/// The stream of a key.
#[must_use]
pub fn standing_of_key(key: &[u8]) -> Option<(TenantId, Stream)> {
    let (tenant, stream) = std::str::from_utf8(key).ok()?.split_once('/')?;
    Some((TenantId(tenant.parse().ok()?), stream_of(stream)?))
}

/// The value of that note: all changes that are remembered, oldest first.
#[must_use]
pub fn standing_value(history: &[Standing]) -> Vec<u8> {
    let stored: Vec<StoredStanding> = history
        .iter()
        .map(|standing| StoredStanding {
            grade: standing.grade.name().to_owned(),
            since: standing.since.0,
            reason: standing.reason.clone(),
            by_hand: standing.by_hand,
            slow_rate: standing.slow_rate,
        })
        .collect();
    let mut value = vec![VERSION];
    value.extend(serde_json::to_vec(&stored).unwrap_or_default());
    value
}

/// What a value says.
#[must_use]
pub fn standings_of(value: &[u8]) -> Option<Vec<Standing>> {
    let json = value.strip_prefix(&[VERSION])?;
    let stored: Vec<StoredStanding> = serde_json::from_slice(json).ok()?;
    let grade = |name: &str| {
        [Grade::Free, Grade::Slow, Grade::Paused]
            .into_iter()
            .find(|grade| grade.name() == name)
    };
    stored
        .into_iter()
        .map(|one| {
            Some(Standing {
                grade: grade(&one.grade)?,
                since: Timestamp(one.since),
                reason: one.reason,
                by_hand: one.by_hand,
                slow_rate: one.slow_rate,
            })
        })
        .collect()
}

fn stream_of(name: &str) -> Option<Stream> {
    [Stream::Transactional, Stream::Broadcast]
        .into_iter()
        .find(|stream| stream.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NOTE_KEY_BYTES_MAX, NOTE_VALUE_BYTES_MAX};
    use crate::observe::reputation::HISTORY_MAX;
    use crate::policy::tenant_policy::REASON_BYTES_MAX;

    #[test]
    fn subjects_come_back_from_their_keys_and_another_nodes_tenants_do_not() {
        let (me, other) = (NodeId::from("mta/1"), NodeId::from("mta/2"));
        let lane = Lane {
            source: SourceId::from("a"),
            provider: ProviderId::from("google"),
        };
        let domain: Arc<str> = Arc::from("d".repeat(253));
        let check = |subject: Subject, shared: bool| {
            let key = tally_key(&subject, &me);
            assert!(!key.is_empty() && key.len() <= NOTE_KEY_BYTES_MAX);
            assert_eq!(subject_of(&key, &me), Some(subject.clone()));
            assert_eq!(subject_of(&key, &other), shared.then_some(subject.clone()));
            assert_eq!(of_key(&key), Some(((!shared).then(|| me.clone()), subject)));
        };
        check(Subject::Source(SourceId::from("a")), true);
        check(Subject::Lane(lane), true);
        check(Subject::Tenant(TenantId(7)), false);
        check(Subject::Stream(TenantId(7), Stream::Broadcast), false);
        check(Subject::Domain(TenantId(7), domain), false);
        assert_eq!(subject_of(b"?", &me), None);
    }

    #[test]
    fn counts_come_back_and_what_is_not_ours_is_passed_over() {
        let tally = Tally {
            windows: [
                Counts {
                    delivered: 1.5,
                    deferred: 2.0,
                    blocked: 3.0,
                    bounced: 4.0,
                    complained: 5.25,
                },
                Counts::default(),
            ],
            at: Timestamp(77),
            avoided: true,
            turned_at: Timestamp(66),
        };
        let value = tally_value(&tally);
        assert_eq!(tally_of(&value), Some(tally));
        assert_eq!(tally_of(&value[..value.len() - 1]), None);
        assert_eq!(tally_of(&[2; 98]), None);
        let counted = Counted {
            tally,
            since: Timestamp(55),
        };
        assert_eq!(counted_of(&counted_value(&counted)), Some(counted));
        assert_eq!(counted_of(&value), None, "nobody says since when");
        let mut broken = value;
        broken[18..26].copy_from_slice(&f64::NAN.to_be_bytes());
        assert_eq!(tally_of(&broken), None);
    }

    #[test]
    fn standings_come_back_and_the_longest_history_fits_a_note() {
        let standing = Standing {
            grade: Grade::Paused,
            since: Timestamp(5),
            // A quote takes two bytes when it is written.
            reason: "\"".repeat(REASON_BYTES_MAX),
            by_hand: true,
            slow_rate: 0.25,
        };
        let history = vec![standing; HISTORY_MAX];
        let value = standing_value(&history);
        assert!(value.len() <= NOTE_VALUE_BYTES_MAX, "{}", value.len());
        assert_eq!(standings_of(&value), Some(history));
        assert_eq!(standings_of(b"\x02[]"), None);
        let key = standing_key(TenantId(3), Stream::Broadcast);
        assert_eq!(standing_of_key(&key), Some((TenantId(3), Stream::Broadcast)));
    }
}
