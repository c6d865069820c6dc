//! What callers hold: opens the store, and calls functions in its partitions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::Value;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::functions::{BEGIN, FINISH, Function, MAKE};
use super::lease_cache::LeaseCache;
use super::link::{Arguments, Link};
use super::names::{Names, home};
use super::settings::{PARTITIONS_MAX, RedisOpenError, RedisSettings};
use super::watch;
use crate::queue::QueueError;
use crate::store::message_cache::MessageCache;
use crate::store::seal::Seal;

/// Locks under which contents are read, so that many who want the same one read it once.
pub(super) const READERS: usize = 32;

/// The Redis backend: implements `Queue` and `Store`. Cheap to clone; the last one to go closes the connections.
#[derive(Debug, Clone)]
pub struct Redis {
    pub(super) shared: Arc<Shared>,
}

/// What all clones share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) link: Link,
    pub(super) names: Names,
    /// What every function checks.
    pub(super) epoch: String,
    pub(super) node: String,
    pub(super) seal: Seal,
    pub(super) cache: MessageCache,
    pub(super) leased: LeaseCache,
    pub(super) readers: [tokio::sync::Mutex<()>; READERS],
    pub(super) wake: Arc<Notify>,
    /// The partition that is asked first next time.
    turn: AtomicUsize,
    watchers: Vec<AbortHandle>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.watchers.iter().for_each(AbortHandle::abort);
    }
}

/// What a function answered: a flat list, with gaps for what there is not.
pub(super) type Parts = Vec<Option<Vec<u8>>>;

impl Redis {
    /// Opens the store in Redis, makes it if there is none. Must be called on a tokio runtime that lives as long as the store:
    /// its connections live there.
    ///
    /// # Errors
    /// When Redis does not answer or is too old, the store has another number of partitions, or part of it was deleted.
    pub async fn open(settings: RedisSettings, seal: Seal) -> Result<Self, RedisOpenError> {
        let link = Link::connect(&settings).await?;
        let epoch = agree_on_epoch(&link, &settings).await?;
        let partitions = epoch.rsplit(':').next().and_then(|number| number.parse().ok());
        let partitions = partitions.filter(|number| (1..=PARTITIONS_MAX).contains(number));
        let partitions = partitions.ok_or_else(|| RedisOpenError::Incomplete(home(&settings.prefix, "c")))?;
        let names = Names::new(&settings.prefix, partitions);
        let wake = Arc::new(Notify::new());
        let watchers = watch::start(&settings, &names, &wake)?;
        let shared = Shared {
            link,
            names,
            epoch,
            cache: MessageCache::new(settings.message_cache_bytes),
            leased: LeaseCache::new(settings.lease_cache_entries),
            readers: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
            node: settings.node,
            seal,
            wake,
            turn: AtomicUsize::new(0),
            watchers,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The id that the store got when it was made. Another one means another store.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.shared.epoch
    }

    /// Calls a function in a partition.
    pub(super) async fn call(
        &self,
        function: Function,
        partition: usize,
        arguments: &Arguments,
    ) -> Result<Parts, QueueError> {
        self.call_at(function, &self.shared.names.partitions()[partition], arguments)
            .await
    }

    /// Calls a function among the common records.
    pub(super) async fn call_common(&self, function: Function, arguments: &Arguments) -> Result<Parts, QueueError> {
        self.call_at(function, self.shared.names.common(), arguments).await
    }

    async fn call_at(&self, function: Function, home: &str, arguments: &Arguments) -> Result<Parts, QueueError> {
        let shared = &self.shared;
        let answer = shared.link.call(function, home, &shared.epoch, arguments).await;
        parts(answer?)
    }

    /// All partitions, each time beginning with another one.
    pub(super) fn round(&self) -> impl Iterator<Item = usize> + use<> {
        let number = self.shared.names.len();
        let first = self.shared.turn.fetch_add(1, Ordering::Relaxed);
        (0..number).map(move |step| first.wrapping_add(step) % number)
    }

    /// All partitions in order.
    pub(super) fn partitions(&self) -> std::ops::Range<usize> {
        0..self.shared.names.len()
    }
}

/// The epoch of the store; makes one, in all partitions, if there is no store. Two who begin at once agree on one.
async fn agree_on_epoch(link: &Link, settings: &RedisSettings) -> Result<String, RedisOpenError> {
    let wanted = settings.partitions_of_a_new_store();
    let common = home(&settings.prefix, "c");
    let candidate = format!("{:016x}{:016x}:{wanted}", fastrand::u64(..), fastrand::u64(..));
    let unavailable = |error: QueueError| RedisOpenError::Unavailable(error.to_string());
    let call = async |function, home: &str, epoch: &str, how: &str| -> Result<Vec<String>, RedisOpenError> {
        // Functions of opening take the place of a repeated call's mark for their own argument.
        let answer = link.call_with(function, home, epoch, how).await.map_err(unavailable)?;
        let parts = parts(answer).map_err(unavailable)?;
        let texts = parts.into_iter().flatten().map(String::from_utf8);
        texts
            .collect::<Result<_, _>>()
            .map_err(|_| RedisOpenError::Incomplete(home.to_owned()))
    };
    let begun = call(BEGIN, &common, &candidate, "").await?;
    let (how, epoch) = match begun.as_slice() {
        [how, epoch] if how == "made" || how == "making" => (how.clone(), epoch.clone()),
        _ => return Err(RedisOpenError::Incomplete(common)),
    };
    let found = epoch.rsplit(':').next().and_then(|number| number.parse::<u16>().ok());
    let found = found.ok_or_else(|| RedisOpenError::Incomplete(common.clone()))?;
    if settings.partitions.is_some_and(|wanted| wanted != found) {
        return Err(RedisOpenError::Partitions { found, wanted });
    }
    for number in 0..found {
        let partition = home(&settings.prefix, number);
        if call(MAKE, &partition, &epoch, &how).await? != ["made"] {
            return Err(RedisOpenError::Incomplete(partition));
        }
    }
    if how == "making" {
        call(FINISH, &common, &epoch, "").await?;
    }
    Ok(epoch)
}

/// The parts of an answer.
fn parts(answer: Value) -> Result<Parts, QueueError> {
    let strange = || QueueError::Unavailable("Redis answered in an unexpected way".to_owned());
    let Value::Array(items) = answer else {
        return Err(strange());
    };
    let part = |item| match item {
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        Value::Int(number) => Ok(Some(number.to_string().into_bytes())),
        Value::Nil => Ok(None),
        _ => Err(strange()),
    };
    items.into_iter().map(part).collect()
}

/// A number in digits.
pub(super) fn number(part: Option<&[u8]>) -> Option<u64> {
    std::str::from_utf8(part?).ok()?.parse().ok()
}
