//! Domains that stand still, as notes of the store: over restarts, and over the nodes that share it.
//!
//! Takes what the holds know; gives notes of what has changed, and what notes of other nodes say to the holds. One note for a
//! provider and a domain, the last word wins: stops are rare, and whoever met one says so. Decides nothing:
//! `policy::domain_hold` does. What the store does not take is written with the next round.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::domain_holds::{HOLDS_MAX, Key};
use super::tools::Tools;
use crate::domain::{NOTES_PER_CALL_MAX, Note, NoteKind, ProviderId, Timestamp};
use crate::policy::domain_hold::HoldMemory;
use crate::store::{StoreError, decode_note_value, encode_note_value};

/// Of keys and records.
const VERSION: u8 = 1;

/// What is remembered of a hold, as the store keeps it. Times are milliseconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    doublings: u32,
    until: Option<u64>,
    window: u32,
    turned: u64,
}

/// Goes on with what was known before a restart.
pub(super) async fn restore(tools: &Tools) -> Result<(), StoreError> {
    hear(tools, tools.surroundings.clock.now()).await
}

/// Writes what has changed since the last time.
pub(super) async fn keep(tools: &Tools, now: Timestamp) -> Result<(), StoreError> {
    let holds = &tools.lanes.domains;
    let changed = holds.take_changed(NOTES_PER_CALL_MAX, now);
    if changed.is_empty() {
        return Ok(());
    }
    let notes = changed
        .iter()
        .filter_map(|(key, memory)| note(key, memory.as_ref(), now));
    let written = tools.store.put_notes(notes.collect()).await;
    if written.is_err() {
        holds.write_again(changed);
    }
    written
}

/// Hears what other nodes wrote.
pub(super) async fn hear(tools: &Tools, now: Timestamp) -> Result<(), StoreError> {
    for note in tools.store.notes(NoteKind::Domain, HOLDS_MAX).await? {
        let Some((key, memory)) = known(&note) else { continue };
        if let Some(until) = tools.lanes.domains.hear(&key, &memory, now) {
            tools.surroundings.observer.domain_held(&key.0, &key.1, until, now);
        }
    }
    Ok(())
}

fn note(key: &Key, memory: Option<&HoldMemory>, now: Timestamp) -> Option<Note> {
    let record = memory.map(|memory| Record {
        doublings: memory.doublings,
        until: memory.until.map(|until| until.0),
        window: memory.window,
        turned: memory.turned.0,
    });
    let value = record.map(|record| encode_note_value(VERSION, &record));
    let name = encode_note_value(VERSION, &(key.0.as_str(), &*key.1));
    // A name that is too long for a note is held on this node alone.
    Note::new(NoteKind::Domain, name, value.unwrap_or_default(), now).ok()
}

fn known(note: &Note) -> Option<(Key, HoldMemory)> {
    let (provider, domain) = decode_note_value::<(String, String)>(VERSION, note.key())?;
    let record = decode_note_value::<Record>(VERSION, note.value())?;
    let memory = HoldMemory {
        doublings: record.doublings,
        until: record.until.map(Timestamp),
        window: record.window,
        turned: Timestamp(record.turned),
    };
    Some(((ProviderId::from(provider.as_str()), Arc::from(domain)), memory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_comes_back_from_its_note_and_none_is_taken_for_another() {
        let key: Key = (ProviderId::from("google"), Arc::from("acme.test"));
        let memory = HoldMemory {
            doublings: 2,
            until: Some(Timestamp(70)),
            window: 1,
            turned: Timestamp(10),
        };
        let written = note(&key, Some(&memory), Timestamp(11)).expect("within bounds");
        assert_eq!(known(&written), Some((key.clone(), memory)));
        let other: Key = (ProviderId::from("googl"), Arc::from("eacme.test"));
        let other = note(&other, Some(&memory), Timestamp(11)).expect("within bounds");
        assert_ne!(written.key(), other.key());
        let gone = note(&key, None, Timestamp(12)).expect("within bounds");
        assert!(gone.is_removal() && gone.key() == written.key());
        assert_eq!(known(&gone), None);
    }
}
