//! What the engine has learnt, as the store keeps it: a key and a value that only their owner can read.
//!
//! Takes bytes within their bounds, gives them back. Says nothing of what they mean: whoever writes a kind of note encodes
//! keys from a struct and puts a version in front of values.

use std::fmt;

use super::{Lane, ProviderId, SourceId, Timestamp};

/// Bytes of a note's key at most.
pub const NOTE_KEY_BYTES_MAX: usize = 512;
/// Bytes of a note's value at most.
pub const NOTE_VALUE_BYTES_MAX: usize = 16 << 10;
/// Notes that one call writes at most: more of them are several calls.
pub const NOTES_PER_CALL_MAX: usize = 1_000;

/// Whose a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteKind {
    /// What a lane's controller has learnt. By lane.
    Lane,
    /// Where a Source stands in its warm-up. By lane.
    Warmup,
    /// Reputation of Sources, tenants and their domains.
    Reputation,
    /// What each node counted of tenants and their streams.
    TenantCounts,
    /// That a tenant, or a stream of it, is paused, and why.
    TenantPause,
    /// Replies that no rule knew, with their counts.
    Unclassified,
    /// What a provider said about a tenant's domain.
    Domain,
}

impl NoteKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Lane,
        Self::Warmup,
        Self::Reputation,
        Self::TenantCounts,
        Self::TenantPause,
        Self::Unclassified,
        Self::Domain,
    ];

    /// Its name in logs and in names of keys.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lane => "lane",
            Self::Warmup => "warmup",
            Self::Reputation => "reputation",
            Self::TenantCounts => "tenant_counts",
            Self::TenantPause => "tenant_pause",
            Self::Unclassified => "unclassified",
            Self::Domain => "domain",
        }
    }
}

/// Something learnt. One whose value is empty takes the note under its key away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    kind: NoteKind,
    key: Vec<u8>,
    value: Vec<u8>,
    at: Timestamp,
}

/// The key of a note is empty or too long, or its value is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoteOutOfBounds;

impl fmt::Display for NoteOutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key of a note is empty or too long, or its value is too large")
    }
}

impl std::error::Error for NoteOutOfBounds {}

impl Note {
    /// A note, if its key has 1 to [`NOTE_KEY_BYTES_MAX`] bytes and its value at most [`NOTE_VALUE_BYTES_MAX`].
    ///
    /// # Errors
    /// When it is out of these bounds.
    pub fn new(
        kind: NoteKind,
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
        at: Timestamp,
    ) -> Result<Self, NoteOutOfBounds> {
        let (key, value) = (key.into(), value.into());
        if key.is_empty() || key.len() > NOTE_KEY_BYTES_MAX || value.len() > NOTE_VALUE_BYTES_MAX {
            return Err(NoteOutOfBounds);
        }
        Ok(Self { kind, key, value, at })
    }

    /// Whose it is.
    #[must_use]
    pub fn kind(&self) -> NoteKind {
        self.kind
    }

    /// What it is about.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// What was learnt.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// When it was learnt.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether it takes the note under its key away.
    #[must_use]
    pub fn is_removal(&self) -> bool {
        self.value.is_empty()
    }
}

/// The key of a note about a lane: two different lanes have two different keys.
#[must_use]
pub fn lane_note_key(lane: &Lane) -> Vec<u8> {
    let (source, provider) = (lane.source.as_str().as_bytes(), lane.provider.as_str().as_bytes());
    let length = u32::try_from(source.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), source, provider].concat()
}

/// The lane of such a key; none when it is another key.
#[must_use]
pub fn lane_of_note_key(key: &[u8]) -> Option<Lane> {
    let (length, names) = key.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (source, provider) = names.split_at_checked(length)?;
    Some(Lane {
        source: SourceId::from(std::str::from_utf8(source).ok()?),
        provider: ProviderId::from(std::str::from_utf8(provider).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_that_is_out_of_bounds_is_not_made() {
        let check = |key: usize, value: usize, expect: bool| {
            let note = Note::new(NoteKind::Lane, vec![1; key], vec![2; value], Timestamp(3));
            assert_eq!(note.is_ok(), expect, "key of {key}, value of {value} bytes");
        };
        check(1, 0, true);
        check(NOTE_KEY_BYTES_MAX, NOTE_VALUE_BYTES_MAX, true);
        check(0, 1, false);
        check(NOTE_KEY_BYTES_MAX + 1, 1, false);
        check(1, NOTE_VALUE_BYTES_MAX + 1, false);
    }

    #[test]
    fn a_lane_comes_back_from_its_key_and_none_is_taken_for_another() {
        let lane = |source: &str, provider: &str| Lane {
            source: SourceId::from(source),
            provider: ProviderId::from(provider),
        };
        let one = lane("ip1", "google");
        assert_eq!(lane_of_note_key(&lane_note_key(&one)), Some(one.clone()));
        assert_ne!(lane_note_key(&lane("ip1g", "oogle")), lane_note_key(&one));
        for bad in [&[][..], &[0, 0, 0], &[0, 0, 0, 9, 1], &[0, 0, 0, 1, 0xff]] {
            assert_eq!(lane_of_note_key(bad), None, "{bad:?}");
        }
    }
}
