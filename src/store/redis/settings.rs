//! What the Redis backend can be told, and why it could not be opened.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis::{ConnectionInfo, IntoConnectionInfo};
use thiserror::Error;

/// Partitions of a new store on one server.
const PARTITIONS_SINGLE: u16 = 1;
/// Partitions of a new store on a cluster.
const PARTITIONS_CLUSTER: u16 = 16;
/// A partition is chosen by one byte of a Message's id.
pub(super) const PARTITIONS_MAX: u16 = 256;

/// Settings of the Redis backend.
#[derive(Clone)]
pub struct RedisSettings {
    /// Where: `redis://`, `rediss://` (TLS), `redis+unix://` or the same with `valkey`. More than one: nodes of a cluster.
    pub urls: Vec<String>,
    /// Whether it is a cluster, if there is one url only.
    pub cluster: bool,
    /// Instead of the url's.
    pub username: Option<String>,
    /// Instead of the url's.
    pub password: Option<String>,
    /// Certificates (PEM) of who may sign the server's; none means those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Instead of the url's. A cluster has number 0 only.
    pub database: Option<i64>,
    /// In front of the names of all keys. One store each.
    pub prefix: String,
    /// Parts of the store that may live on different nodes of a cluster, 1 to 256. Fixed when the store is made; none means
    /// what it was made with (a new one: 1, on a cluster 16).
    pub partitions: Option<u16>,
    /// How long an answer may take. After that the call is unavailable, and whether it was done is not known.
    pub response_timeout: Duration,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// The first pause between two tries to connect; each is up to twice as long as the one before, by chance.
    pub reconnect_min: Duration,
    /// The longest such pause.
    pub reconnect_max: Duration,
    /// Memory for messages that were accepted or read and not delivered yet, in bytes.
    pub message_cache_bytes: usize,
    /// Leased deliveries that are remembered so that they need not be read again.
    pub lease_cache_entries: usize,
    /// The name of this engine among those that share the store: the consumer of the streams. Stays the same over restarts.
    pub node: String,
}

impl RedisSettings {
    /// The defaults, at this url.
    #[must_use]
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            cluster: false,
            username: None,
            password: None,
            ca_file: None,
            database: None,
            prefix: "ph".to_owned(),
            partitions: None,
            response_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(5),
            message_cache_bytes: 64 << 20,
            lease_cache_entries: 50_000,
            node: "node".to_owned(),
        }
    }

    /// Whether these are nodes of a cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.cluster || self.urls.len() > 1
    }

    /// How many partitions a new store gets.
    pub(super) fn partitions_of_a_new_store(&self) -> u16 {
        self.partitions.unwrap_or(if self.is_cluster() {
            PARTITIONS_CLUSTER
        } else {
            PARTITIONS_SINGLE
        })
    }

    /// Where to connect to: each url with what is said beside it.
    pub(super) fn connections(&self) -> Result<Vec<ConnectionInfo>, RedisOpenError> {
        let wrong = |what: String| RedisOpenError::Settings(what);
        if self.urls.is_empty() {
            return Err(wrong("no url".to_owned()));
        }
        if self.prefix.is_empty() || self.prefix.contains(['{', '}']) {
            return Err(wrong(
                "the prefix must not be empty and must not have braces".to_owned(),
            ));
        }
        if !(1..=PARTITIONS_MAX).contains(&self.partitions_of_a_new_store()) {
            return Err(wrong(format!("partitions must be 1 to {PARTITIONS_MAX}")));
        }
        if self.node.is_empty() {
            return Err(wrong("the node must have a name".to_owned()));
        }
        let connection = |url: &String| {
            // The error of a url that cannot be read does not repeat it: it may hold a password.
            let info = url.as_str().into_connection_info();
            let info = info.map_err(|error| wrong(format!("a url cannot be read: {}", error.category())))?;
            let mut redis = info.redis_settings().clone();
            if let Some(username) = &self.username {
                redis = redis.set_username(username);
            }
            if let Some(password) = &self.password {
                redis = redis.set_password(password);
            }
            if let Some(database) = self.database {
                redis = redis.set_db(database);
            }
            if self.is_cluster() && redis.db() != 0 {
                return Err(wrong("a cluster has database 0 only".to_owned()));
            }
            Ok(info.set_redis_settings(redis))
        };
        self.urls.iter().map(connection).collect()
    }
}

impl fmt::Debug for RedisSettings {
    /// Without urls and password: they are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("urls", &self.urls.len())
            .field("prefix", &self.prefix)
            .field("partitions", &self.partitions)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// Why the store in Redis could not be opened.
#[derive(Debug, Error)]
pub enum RedisOpenError {
    /// A setting that cannot be.
    #[error("Redis: {0}")]
    Settings(String),
    /// The file with the certificates cannot be read.
    #[error("the file with the certificates for Redis, {path}: {error}")]
    CaFile {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Nobody answers, or not as Redis 7 does.
    #[error("Redis cannot be used: {0}")]
    Unavailable(String),
    /// The store was made with another number of partitions.
    #[error("the store in Redis has {found} partitions; the setting says {wanted}")]
    Partitions {
        /// What it was made with.
        found: u16,
        /// What the setting says.
        wanted: u16,
    },
    /// There are keys of a store and no epoch: part of it was deleted.
    #[error("{0} in Redis has keys of a store but not its epoch: part of the store was deleted")]
    Incomplete(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: &RedisSettings, expect: Result<(&str, Option<&str>, i64), &str>) {
        let found = settings.connections();
        match (found, expect) {
            (Ok(all), Ok((address, password, database))) => {
                let one = &all[0];
                assert_eq!(one.addr().to_string(), address);
                assert_eq!(one.redis_settings().password(), password);
                assert_eq!(one.redis_settings().db(), database);
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, expect) => panic!("{found:?}, not {expect:?}"),
        }
    }

    #[test]
    fn urls_of_all_kinds_are_read_and_settings_beside_them_win() {
        check(&RedisSettings::at("redis://h"), Ok(("h:6379", None, 0)));
        check(&RedisSettings::at("redis://:pw@h:1/3"), Ok(("h:1", Some("pw"), 3)));
        check(&RedisSettings::at("rediss://h:2"), Ok(("h:2", None, 0)));
        check(
            &RedisSettings::at("redis+unix:///run/r.sock"),
            Ok(("/run/r.sock", None, 0)),
        );
        check(&RedisSettings::at("valkey://h"), Ok(("h:6379", None, 0)));
        let mut beside = RedisSettings::at("redis://:pw@h/3");
        beside.password = Some("other".to_owned());
        beside.database = Some(4);
        check(&beside, Ok(("h:6379", Some("other"), 4)));
    }

    #[test]
    fn what_cannot_be_is_refused_without_repeating_secrets() {
        let with = |change: fn(&mut RedisSettings)| {
            let mut settings = RedisSettings::at("redis://h/1");
            change(&mut settings);
            settings
        };
        check(&with(|settings| settings.urls.clear()), Err("no url"));
        check(&with(|settings| settings.prefix = "a{b".to_owned()), Err("braces"));
        check(&with(|settings| settings.partitions = Some(0)), Err("1 to 256"));
        check(&with(|settings| settings.partitions = Some(257)), Err("1 to 256"));
        check(&with(|settings| settings.node.clear()), Err("name"));
        check(&with(|settings| settings.cluster = true), Err("database 0"));
        let secret = RedisSettings::at("http://:hunter2@h");
        check(&secret, Err("cannot be read"));
        let shown = format!("{secret:?} {:?}", secret.connections());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
