//! What each lane learnt, as it is to be remembered over restarts of its actor and of the engine.
//!
//! Takes what lanes say they know, and notes of the store; gives it back to a lane that begins or comes from another node,
//! and notes of what has changed. Bounded: a lane beyond the bound is not remembered. Never waits.

use dashmap::DashMap;
use serde::{Deserialize, Serialize};

use crate::domain::{Lane, Note, NoteKind, SourceId, Timestamp, lane_note_key, lane_of_note_key};
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
pub struct Memories {
    known: DashMap<Lane, Remembered>,
    /// What another node learnt of lanes that came to us, until the lane takes it.
    gained: DashMap<Lane, ControllerMemory>,
}

impl Memories {
    /// Reads what the store knows. What is known here already stays.
    ///
    /// # Errors
    /// When the store does not answer; then lanes begin as if they knew nothing.
    pub async fn load(&self, store: &dyn Store) -> Result<(), StoreError> {
        for (lane, memory) in read(store).await? {
            self.known.entry(lane).or_insert(Remembered { memory, changed: false });
        }
        Ok(())
    }

    /// These Sources came to us: what the store knows of their lanes counts more than what is known here.
    ///
    /// # Errors
    /// When the store does not answer; then lanes go on with what is known here.
    pub async fn on_gained(&self, store: &dyn Store, sources: &[SourceId]) -> Result<(), StoreError> {
        let notes = read(store).await?.into_iter();
        for (lane, memory) in notes.filter(|(lane, _)| sources.contains(&lane.source)) {
            if self.known.len() < LANES_MAX || self.known.contains_key(&lane) {
                let remembered = Remembered { memory, changed: false };
                self.known.insert(lane.clone(), remembered);
                self.gained.insert(lane, memory);
            }
        }
        Ok(())
    }

    /// What another node learnt of this lane since it was ours, once.
    #[must_use]
    pub fn take_gained(&self, lane: &Lane) -> Option<ControllerMemory> {
        // Nearly always there is none, and then no lock is taken for writing.
        match self.gained.contains_key(lane) {
            true => self.gained.remove(lane).map(|(_, memory)| memory),
            false => None,
        }
    }

    /// What is remembered of a lane.
    #[must_use]
    pub fn of(&self, lane: &Lane) -> Option<ControllerMemory> {
        self.known.get(lane).map(|known| known.memory)
    }

    /// A lane knows this now.
    pub fn remember(&self, lane: &Lane, memory: ControllerMemory) {
        match self.known.get_mut(lane) {
            Some(mut known) if known.memory != memory => *known = Remembered { memory, changed: true },
            Some(_) => {}
            None if self.known.len() < LANES_MAX => {
                self.known.insert(lane.clone(), Remembered { memory, changed: true });
            }
            None => {}
        }
    }

    /// Notes of what has changed at Sources that we `may` write about, at most `max`; from now on it counts as written.
    pub(super) fn changed(&self, max: usize, may: impl Fn(&SourceId) -> bool, now: Timestamp) -> Vec<Note> {
        let changed = self.known.iter_mut().filter(|entry| entry.changed);
        let changed = changed.filter(|entry| may(&entry.key().source)).take(max);
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
            if let Some(mut known) = self.known.get_mut(&lane) {
                known.changed = true;
            }
        }
    }
}

/// All that the store knows of lanes.
async fn read(store: &dyn Store) -> Result<Vec<(Lane, ControllerMemory)>, StoreError> {
    let notes = store.notes(NoteKind::Lane, LANES_MAX).await?;
    let known = notes.iter().filter_map(|note| {
        let record = decode_note_value::<Record>(VERSION, note.value())?;
        Some((lane_of_note_key(note.key())?, record.into()))
    });
    Ok(known.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ProviderId;
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
        let notes = memories.changed(10, |_| true, Timestamp(1));
        assert_eq!(notes.len(), 1);
        memories.remember(&lane("google"), memory(8));
        assert!(memories.changed(10, |_| true, Timestamp(2)).is_empty());
        memories.not_written(&[notes[0].key().to_vec()]);
        assert_eq!(memories.changed(10, |_| true, Timestamp(3)).len(), 1);
        memories.remember(&lane("google"), memory(9));
        memories.remember(&lane("yahoo"), memory(9));
        assert_eq!(
            memories.changed(1, |_| true, Timestamp(4)).len(),
            1,
            "as many as are asked for"
        );
    }

    #[tokio::test]
    async fn what_one_engine_wrote_the_next_one_reads() {
        let (store, memories) = (Memory::new(), Memories::default());
        memories.remember(&lane("google"), memory(8));
        store
            .put_notes(memories.changed(10, |_| true, Timestamp(1)))
            .await
            .unwrap();
        let next = Memories::default();
        next.remember(&lane("yahoo"), memory(3));
        next.load(&store).await.unwrap();
        assert_eq!(next.of(&lane("google")), Some(memory(8)));
        assert_eq!(next.of(&lane("yahoo")), Some(memory(3)));
        assert_eq!(next.of(&lane("other")), None);
        assert_eq!(
            next.changed(10, |_| true, Timestamp(2)).len(),
            1,
            "what was read is not written again"
        );
    }

    #[tokio::test]
    async fn what_another_node_learnt_counts_more_when_a_source_comes_to_us_and_is_taken_once() {
        let (store, other, ours) = (Memory::new(), Memories::default(), Memories::default());
        ours.remember(&lane("google"), memory(3));
        other.remember(&lane("google"), memory(8));
        store
            .put_notes(other.changed(10, |_| true, Timestamp(1)))
            .await
            .unwrap();
        ours.on_gained(&store, &[SourceId::from("ip2")]).await.unwrap();
        assert_eq!(ours.of(&lane("google")), Some(memory(3)), "another source came");
        ours.on_gained(&store, &[SourceId::from("ip1")]).await.unwrap();
        assert_eq!(ours.of(&lane("google")), Some(memory(8)));
        assert!(ours.changed(10, |_| true, Timestamp(2)).is_empty(), "the store has it");
        assert_eq!(ours.take_gained(&lane("google")), Some(memory(8)));
        assert_eq!(ours.take_gained(&lane("google")), None);
    }

    #[test]
    fn nothing_is_written_about_a_source_that_is_another_nodes() {
        let memories = Memories::default();
        memories.remember(&lane("google"), memory(8));
        assert!(memories.changed(10, |_| false, Timestamp(1)).is_empty());
        assert_eq!(
            memories.changed(10, |_| true, Timestamp(1)).len(),
            1,
            "when it is ours again"
        );
    }
}
