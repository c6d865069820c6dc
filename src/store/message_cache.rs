//! Messages that were accepted a moment ago and not delivered yet, so that delivering them reads nothing.
//!
//! Bounded in bytes; what came first goes first. Holds only what never changes: a Message, and a Body until it is deleted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{Body, Message, MessageId};

/// Locks, so that callers do not wait for each other.
const SHARDS: usize = 16;
/// What an entry costs beside its content, in bytes: a guess on the safe side.
const ENTRY_BYTES: usize = 512;

/// The cache.
#[derive(Debug)]
pub(super) struct MessageCache {
    shards: [Mutex<Shard>; SHARDS],
    shard_bytes_max: usize,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<MessageId, Entry>,
    /// In the order in which they came; may name some that are gone.
    order: VecDeque<MessageId>,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    message: Arc<Message>,
    body: Arc<Body>,
    bytes: usize,
}

impl MessageCache {
    /// One that holds up to `bytes_max`.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            shards: Default::default(),
            shard_bytes_max: bytes_max / SHARDS,
        }
    }

    /// Keeps a Message whose records have `bytes` bytes.
    pub(super) fn insert(&self, message: &Arc<Message>, body: &Arc<Body>, bytes: usize) {
        let bytes = bytes.saturating_add(ENTRY_BYTES);
        if bytes > self.shard_bytes_max {
            return;
        }
        let entry = Entry {
            message: Arc::clone(message),
            body: Arc::clone(body),
            bytes,
        };
        let mut shard = self.shard(message.id);
        shard.remove(message.id);
        shard.entries.insert(message.id, entry);
        shard.order.push_back(message.id);
        shard.bytes += bytes;
        while shard.bytes > self.shard_bytes_max {
            let Some(first) = shard.order.pop_front() else { break };
            shard.remove(first);
        }
        shard.tidy();
    }

    /// Forgets a Message: it was not stored after all, or is settled.
    pub(super) fn remove(&self, id: MessageId) {
        self.shard(id).remove(id);
    }

    /// A Message, if it is here.
    pub(super) fn message(&self, id: MessageId) -> Option<Arc<Message>> {
        self.shard(id).entries.get(&id).map(|entry| Arc::clone(&entry.message))
    }

    /// A Body, if it is here.
    pub(super) fn body(&self, id: MessageId) -> Option<Arc<Body>> {
        self.shard(id).entries.get(&id).map(|entry| Arc::clone(&entry.body))
    }

    fn shard(&self, id: MessageId) -> MutexGuard<'_, Shard> {
        let last = id.0.as_bytes()[15];
        self.shards[usize::from(last) % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn remove(&mut self, id: MessageId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.bytes -= entry.bytes;
        }
    }

    /// Drops the names of those who are gone, once they are the larger part.
    fn tidy(&mut self) {
        if self.order.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.order.retain(|id| entries.contains_key(id));
        }
    }
}
