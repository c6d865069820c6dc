//! What each lane learnt, as it is to be remembered over restarts of its actor and of the engine.
//!
//! Takes what lanes say they know, and notes of the store; gives it back to a lane that begins, and notes of what has
//! changed. Bounded: a lane beyond the bound is not remembered. Never waits.

use dashmap::DashMap;
use serde::{Deserialize, Serialize};

use crate::domain::{Lane, Note, NoteKind, Timestamp, lane_note_key, lane_of_note_key};
use crate::policy::congestion::CongestionMemory;
use crate::policy::controller::ControllerMemory;
use crate::store::{Store, StoreError, decode_note_value, encode_note_value};

/// Lanes that are remembered at most.
const LANES_MAX: usize = 20_000;
/// Of the record below.
const VERSION: u8 = 1;

/// What is remembered of a lane, as the store keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    connections: f64,
    ceiling: Option<u32>,
    messages_per_second: Option<f64>,
    messages_per_connection: Option<u32>,
    doublings: u32,
    /// Milliseconds since 1970.
    stopped_until: Option<u64>,
}

impl From<&ControllerMemory> for Record {
    fn from(memory: &ControllerMemory) -> Self {
        Self {
            connections: memory.connections.target,
            ceiling: memory.connections.ceiling,
            messages_per_second: memory.rate,
            messages_per_connection: memory.messages_per_connection,
            doublings: memory.doublings,
            stopped_until: memory.stopped_until.map(|until| until.0),
        }
    }
}

impl From<Record> for ControllerMemory {
    fn from(record: Record) -> Self {
        Self {
            connections: CongestionMemory {
                target: record.connections,
                ceiling: record.ceiling,
            },
            rate: record.messages_per_second,
            messages_per_connection: record.messages_per_connection,
            doublings: record.doublings,
            stopped_until: record.stopped_until.map(Timestamp),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Remembered {
    memory: ControllerMemory,
    changed: bool,
}

/// The memories of all lanes. Outlives the actors.
#[derive(Debug, Default)]
pub struct Memories(DashMap<Lane, Remembered>);

impl Memories {
    /// Reads what the store knows. What is known here already stays.
    ///
    /// # Errors
    /// When the store does not answer; then lanes begin as if they knew nothing.
    pub async fn load(&self, store: &dyn Store) -> Result<(), StoreError> {
        for note in store.notes(NoteKind::Lane, LANES_MAX).await? {
            let (lane, record) = (
                lane_of_note_key(note.key()),
                decode_note_value::<Record>(VERSION, note.value()),
            );
            if let Some((lane, record)) = lane.zip(record) {
                self.0.entry(lane).or_insert(Remembered {
                    memory: record.into(),
                    changed: false,
                });
            }
        }
        Ok(())
    }

    /// What is remembered of a lane.
    #[must_use]
    pub fn of(&self, lane: &Lane) -> Option<ControllerMemory> {
        self.0.get(lane).map(|known| known.memory)
    }

    /// A lane knows this now.
    pub fn remember(&self, lane: &Lane, memory: ControllerMemory) {
        match self.0.get_mut(lane) {
            Some(mut known) if known.memory != memory => *known = Remembered { memory, changed: true },
            Some(_) => {}
            None if self.0.len() < LANES_MAX => {
                self.0.insert(lane.clone(), Remembered { memory, changed: true });
            }
            None => {}
        }
    }

    /// Notes of what has changed, at most `max`; from now on it counts as written.
    pub(super) fn changed(&self, max: usize, now: Timestamp) -> Vec<Note> {
        let changed = self.0.iter_mut().filter(|entry| entry.changed).take(max);
        let note = |lane: &Lane, memory: &ControllerMemory| {
            let value = encode_note_value(VERSION, &Record::from(memory));
            Note::new(NoteKind::Lane, lane_note_key(lane), value, now).ok()
        };
        changed
            .filter_map(|mut entry| {
                entry.changed = false;
                note(entry.key(), &entry.memory)
            })
            .collect()
    }

    /// The store did not take the notes with these keys.
    pub(super) fn not_written(&self, keys: &[Vec<u8>]) {
        for lane in keys.iter().filter_map(|key| lane_of_note_key(key)) {
            if let Some(mut known) = self.0.get_mut(&lane) {
                known.changed = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ProviderId, SourceId};
    use crate::store::Memory;

    fn lane(provider: &str) -> Lane {
        Lane {
            source: SourceId::from("ip1"),
            provider: ProviderId::from(provider),
        }
    }

    fn memory(ceiling: u32) -> ControllerMemory {
        ControllerMemory {
            connections: CongestionMemory {
                target: 8.0,
                ceiling: Some(ceiling),
            },
            rate: Some(2.5),
            messages_per_connection: Some(20),
            doublings: 2,
            stopped_until: Some(Timestamp(7)),
        }
    }

    #[test]
    fn only_what_has_changed_is_written_and_what_was_not_taken_is_written_again() {
        let memories = Memories::default();
        memories.remember(&lane("google"), memory(8));
        let notes = memories.changed(10, Timestamp(1));
        assert_eq!(notes.len(), 1);
        memories.remember(&lane("google"), memory(8));
        assert!(memories.changed(10, Timestamp(2)).is_empty());
        memories.not_written(&[notes[0].key().to_vec()]);
        assert_eq!(memories.changed(10, Timestamp(3)).len(), 1);
        memories.remember(&lane("google"), memory(9));
        memories.remember(&lane("yahoo"), memory(9));
        assert_eq!(memories.changed(1, Timestamp(4)).len(), 1, "as many as are asked for");
    }

    #[tokio::test]
    async fn what_one_engine_wrote_the_next_one_reads() {
        let (store, memories) = (Memory::new(), Memories::default());
        memories.remember(&lane("google"), memory(8));
        store.put_notes(memories.changed(10, Timestamp(1))).await.unwrap();
        let next = Memories::default();
        next.remember(&lane("yahoo"), memory(3));
        next.load(&store).await.unwrap();
        assert_eq!(next.of(&lane("google")), Some(memory(8)));
        assert_eq!(next.of(&lane("yahoo")), Some(memory(3)));
        assert_eq!(next.of(&lane("other")), None);
        assert_eq!(
            next.changed(10, Timestamp(2)).len(),
            1,
            "what was read is not written again"
        );
    }
}
