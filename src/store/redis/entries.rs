//! Entries of the intake streams: mail that producers outside put into Redis by `XADD`.
//!
//! Takes entries for this node, gives them with their fields as written; then stores what came of one: mail, nothing, or a dead
//! letter, each in one step with the end of the entry. What an entry means is not known here. An entry that nobody decided on is
//! given again, and after a while to another node.
//!
//! While there is none, it waits on a connection of its own: one that blocks would hold up all who share it. On a cluster it looks
//! now and then instead.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Value, cmd};

use super::accepting::decode_accepted;
use super::functions::{ACCEPT_ENTRY, BURY_ENTRY, DROP_ENTRY, TAKE_ENTRIES};
use super::handle::{Parts, Redis, number};
use super::link::Arguments;
use super::settings::{RedisOpenError, RedisSettings};
use super::single::pause;
use super::watch::clients;
use crate::domain::Timestamp;
use crate::queue::{Accept, Accepted, Queue, QueueError};

/// An entry without a decision for so long is taken from its node, which has died or stands still. By Redis' clock, and only a
/// hint: whose entry it is, is checked with each decision.
const IDLE: Duration = Duration::from_secs(60);
/// How long one wait lasts at most: then the streams are looked at anyway, for what nodes left behind that died.
const WAIT: Duration = Duration::from_secs(1);
/// Added to it for the answer itself; a connection that says nothing for longer is given up.
const GRACE: Duration = Duration::from_secs(5);
/// The group of all nodes, as in the functions.
const GROUP: &str = "posthaste";

/// The entries for one node.
#[derive(Debug)]
pub struct Entries {
    store: Redis,
    settings: RedisSettings,
    /// Where to wait, the first one first.
    clients: Vec<Client>,
    waiting: Option<Waiting>,
    failures: u32,
}

struct Waiting(MultiplexedConnection);

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// In which partition's stream.
    pub partition: usize,
    /// Its id in the stream.
    pub id: String,
    /// What is in it.
    pub content: EntryContent,
}

/// What is in an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryContent {
    /// Fields and values, as written and in that order; a name may stand twice.
    Fields(Vec<(Vec<u8>, Vec<u8>)>),
    /// More bytes than were asked for.
    TooLarge(u64),
}

/// How much is taken at once.
#[derive(Debug, Clone, Copy)]
pub struct EntryLimits {
    /// Entries of a partition.
    pub entries: usize,
    /// Bytes of one entry; a larger one comes without its content.
    pub entry_bytes: usize,
    /// Bytes after which no more entries are added.
    pub bytes: usize,
}

/// What was taken.
#[derive(Debug, Default)]
pub struct TakenEntries {
    /// To be decided on by this node.
    pub entries: Vec<Entry>,
    /// Entries in the streams, of all nodes and of none.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryAnswer {
    /// Its mail is durable and the entry is gone; or, with a call that was made before, as [`Accepted`] says.
    Accepted(Accepted),
    /// It is no longer this node's: another one has decided on it, or will.
    Gone,
}

impl Entries {
    /// The entries for the node of this store. `settings` are those that it was opened with.
    ///
    /// # Errors
    /// When settings are wrong.
    pub fn new(store: Redis, settings: RedisSettings) -> Result<Self, RedisOpenError> {
        Ok(Self {
            clients: clients(&settings)?,
            store,
            settings,
            waiting: None,
            failures: 0,
        })
    }

    /// Takes entries: those that this node took before and has not decided on, those of nodes that are gone, and new ones. With
    /// a limit of no entries only the numbers are told.
    ///
    /// # Errors
    /// When Redis does not answer as it should.
    pub async fn take(&self, limits: EntryLimits) -> Result<TakenEntries, QueueError> {
        let mut taken = TakenEntries::default();
        let mut bytes = limits.bytes;
        for partition in self.store.round() {
            let entries = if bytes == 0 { 0 } else { limits.entries };
            let mut arguments = Arguments::new();
            arguments.text(&self.store.shared.node).text(entries);
            arguments.text(IDLE.as_millis()).text(limits.entry_bytes).text(bytes);
            let parts = self.store.call(TAKE_ENTRIES, partition, &arguments).await?;
            decode(parts, partition, &mut taken).ok_or_else(strange)?;
            bytes = limits
                .bytes
                .saturating_sub(taken.entries.iter().map(Entry::bytes).sum());
        }
        Ok(taken)
    }

    /// Waits until there may be more to take.
    pub async fn wait(&mut self) {
        if self.settings.is_cluster() {
            return tokio::time::sleep(WAIT).await;
        }
        match self.block().await {
            Ok(()) => self.failures = 0,
            Err(error) => {
                tracing::debug!("waiting for entries of the intake: {error}");
                self.waiting = None;
                self.failures = self.failures.saturating_add(1);
                let (min, max) = (self.settings.reconnect_min, self.settings.reconnect_max);
                tokio::time::sleep(pause(min, max, self.failures, fastrand::f64())).await;
            }
        }
    }

    /// Waits for a new entry. It is this node's then, and comes with the next [`Entries::take`].
    async fn block(&mut self) -> Result<(), RedisError> {
        let waiting = match &mut self.waiting {
            Some(waiting) => waiting,
            None => {
                let config = AsyncConnectionConfig::new()
                    .set_response_timeout(Some(WAIT + GRACE))
                    .set_connection_timeout(Some(self.settings.connect_timeout));
                let connection = self.clients[0].get_multiplexed_async_connection_with_config(&config);
                self.waiting.insert(Waiting(connection.await?))
            }
        };
        let shared = &self.store.shared;
        let homes = shared.names.partitions().iter();
        let streams: Vec<String> = homes.map(|home| stream(home)).collect();
        let news = vec![">"; streams.len()];
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&shared.node).arg("COUNT").arg(1);
        let millis = u64::try_from(WAIT.as_millis()).unwrap_or(1000);
        read.arg("BLOCK").arg(millis).arg("STREAMS").arg(streams).arg(news);
        let _seen: Value = read.query_async(&mut waiting.0).await?;
        Ok(())
    }

    /// ACCEPT of the mail that an entry asks for, and the end of the entry. In one step, if both are in one partition; a mail whose
    /// idempotency key is in another one is accepted first, and known by its key if the entry comes again.
    ///
    /// # Errors
    /// When Redis does not answer as it should, or is full: the entry comes again.
    pub async fn accept(&self, entry: &Entry, accept: Accept) -> Result<EntryAnswer, QueueError> {
        let store = &self.store;
        let encoded = store.encode_accept(&accept)?;
        if encoded.partition != entry.partition {
            let accepted = store.accept(accept).await?;
            if accepted == Accepted::New {
                self.drop_entry(entry).await?;
            }
            return Ok(EntryAnswer::Accepted(accepted));
        }
        let mut arguments = self.naming(entry);
        arguments.append(encoded.arguments);
        store.cache_accepted(&accept, &encoded.sizes);
        let called = store.call(ACCEPT_ENTRY, entry.partition, &arguments).await;
        let answer = called.and_then(|parts| {
            let answer = parts.into_iter().next().flatten().ok_or_else(strange)?;
            match &*answer {
                b"gone" => Ok(EntryAnswer::Gone),
                answer => decode_accepted(&accept, answer).map(EntryAnswer::Accepted),
            }
        });
        if answer == Ok(EntryAnswer::Accepted(Accepted::New)) {
            store.shared.wake.notify_one();
        } else {
            accept.ids().for_each(|id| store.shared.cache.remove(id));
        }
        answer
    }

    /// Ends an entry whose mail was accepted before.
    ///
    /// # Errors
    /// When Redis does not answer as it should: the entry comes again.
    pub async fn drop_entry(&self, entry: &Entry) -> Result<(), QueueError> {
        let arguments = self.naming(entry);
        self.store.call(DROP_ENTRY, entry.partition, &arguments).await?;
        Ok(())
    }

    /// Moves an entry to the dead letters; gives whether it was still this node's.
    ///
    /// # Errors
    /// When Redis does not answer as it should, or is full: the entry comes again.
    pub async fn bury(&self, entry: &Entry, reason: &str, detail: &str, at: Timestamp) -> Result<bool, QueueError> {
        let mut arguments = self.naming(entry);
        arguments.text(reason).text(detail).text(at);
        let parts = self.store.call(BURY_ENTRY, entry.partition, &arguments).await?;
        Ok(parts.first().is_some_and(|part| part.as_deref() == Some(b"1")))
    }

    fn naming(&self, entry: &Entry) -> Arguments {
        let mut arguments = Arguments::new();
        arguments.text(&entry.id).text(&self.store.shared.node);
        arguments
    }
}

impl Entry {
    /// Bytes in memory.
    fn bytes(&self) -> usize {
        match &self.content {
            EntryContent::Fields(fields) => fields.iter().map(|(name, value)| name.len() + value.len()).sum(),
            EntryContent::TooLarge(_) => 0,
        }
    }
}

/// The intake stream of the partition whose epoch is at `home`.
fn stream(home: &str) -> String {
    format!("{}intake", home.trim_end_matches("epoch"))
}

/// Adds the answer of one partition; none if it cannot be read.
fn decode(parts: Parts, partition: usize, taken: &mut TakenEntries) -> Option<()> {
    let mut parts = parts.into_iter().map(Option::unwrap_or_default);
    let mut digits = || number(Some(&parts.next()?));
    taken.waiting += digits()?;
    taken.dead += digits()?;
    while let Some(id) = parts.next() {
        let count = parts.next()?;
        let content = if count == b"-1" {
            EntryContent::TooLarge(number(Some(&parts.next()?))?)
        } else {
            let count = number(Some(&count))?;
            let mut fields = Vec::new();
            for _ in 0..count / 2 {
                fields.push((parts.next()?, parts.next()?));
            }
            EntryContent::Fields(fields)
        };
        taken.entries.push(Entry {
            partition,
            id: String::from_utf8(id).ok()?,
            content,
        });
    }
    Some(())
}

fn strange() -> QueueError {
    QueueError::Unavailable("Redis answered in an unexpected way".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parts: &[&str], expect: Option<&[Entry]>) {
        let parts = parts.iter().map(|part| Some(part.as_bytes().to_vec())).collect();
        let mut taken = TakenEntries::default();
        let read = decode(parts, 3, &mut taken).map(|()| taken.entries);
        assert_eq!(read.as_deref(), expect);
    }

    fn entry(id: &str, content: EntryContent) -> Entry {
        Entry {
            partition: 3,
            id: id.to_owned(),
            content,
        }
    }

    #[test]
    fn entries_are_read_with_their_fields_or_their_size() {
        check(&["2", "0"], Some(&[]));
        let fields = vec![(b"v".to_vec(), b"1".to_vec()), (b"v".to_vec(), b"2".to_vec())];
        let both = [
            entry("1-0", EntryContent::Fields(fields)),
            entry("1-1", EntryContent::TooLarge(77)),
        ];
        check(
            &["2", "0", "1-0", "4", "v", "1", "v", "2", "1-1", "-1", "77"],
            Some(&both),
        );
    }

    #[test]
    fn an_answer_that_is_cut_is_no_entry() {
        for cut in [
            &["2"][..],
            &["2", "0", "1-0"],
            &["2", "0", "1-0", "4", "v"],
            &["x", "0"],
        ] {
            check(cut, None);
        }
    }
}
