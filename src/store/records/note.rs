//! How notes are stored: their time, and the value that only their owner can read.

use serde::{Deserialize, Serialize};

use super::envelope::{Damaged, as_bytes, open, seal};
use crate::domain::{Note, NoteKind, Timestamp};

#[derive(Serialize, Deserialize)]
struct NoteRecord<'a> {
    at: u64,
    #[serde(serialize_with = "as_bytes")]
    value: &'a [u8],
}

/// The bytes of a note; its kind and key are its place.
pub(crate) fn encode_note(note: &Note) -> Vec<u8> {
    seal(&NoteRecord {
        at: note.at().0,
        value: note.value(),
    })
}

/// The note in `bytes`.
pub(crate) fn decode_note(kind: NoteKind, key: &[u8], bytes: &[u8]) -> Result<Note, Damaged> {
    let read = || -> Result<Note, Damaged> {
        let record: NoteRecord<'_> = open(bytes)?;
        let note = Note::new(kind, key, record.value, Timestamp(record.at));
        note.map_err(|error| Damaged(error.to_string()))
    };
    read().map_err(|damaged| damaged.of("note of kind", kind.name()))
}
