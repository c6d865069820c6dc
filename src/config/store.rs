//! The key `store`: where work and records are kept, as written and as used.
//!
//! Takes a URL, `embedded`, or a map of keys; gives [`StoreSettings`]. Keys of one backend beside the other's URL are errors.
//! Passwords come from the environment. Never connects.

use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, de};

use super::settings::{ConfigError, count, mib, unfit};
use super::time::{Time, seconds};
use super::words::Positive;
use crate::store::{EmbeddedSettings, GuardSettings, RedisSettings};

/// Schemes of URLs that Redis is found by.
const SCHEMES: [&str; 7] = [
    "redis",
    "rediss",
    "redis+unix",
    "unix",
    "valkey",
    "valkeys",
    "valkey+unix",
];
/// The word for the store in the data directory.
const EMBEDDED: &str = "embedded";
/// Pages of the embedded database in memory, in MiB, and operations in one of its commits.
const CACHE_MIB: Positive = Positive(128);
const BATCH: Positive = Positive(1000);
/// Kept free on the disk, in MiB.
const RESERVE_MIB: u32 = 64;

/// Where work and records are kept.
#[derive(Debug, Clone)]
pub enum StoreSettings {
    /// In the data directory.
    Embedded(EmbeddedSettings),
    /// In Redis, which several engines may share.
    Redis {
        /// Where, and how to talk to it.
        server: RedisSettings,
        /// What must be true of it before we start.
        guard: GuardSettings,
        /// Whether mail is taken from the intake streams.
        intake: bool,
    },
}

impl StoreSettings {
    /// For people: where the queue is. Shows no URL: it may hold a password.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "the same place",
            Self::Redis { server, .. } if server.is_cluster() => "a Redis Cluster",
            Self::Redis { .. } => "Redis",
        }
    }
}

/// The key as written, with the defaults of the backend that it names.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RawStore(Keys);

impl Default for RawStore {
    fn default() -> Self {
        Self::from_keys(Keys::default())
    }
}

impl RawStore {
    fn from_keys(mut keys: Keys) -> Self {
        if keys.url == Place::Embedded {
            keys.cache_mib.get_or_insert(CACHE_MIB);
            keys.batch.get_or_insert(BATCH);
            keys.reserve_mib.get_or_insert(RESERVE_MIB);
            keys.check_at_start.get_or_insert(true);
        }
        Self(keys)
    }

    /// How long mail is kept whose deliveries are all final.
    pub(super) fn retention(&self) -> Time {
        self.0.retention
    }
}

impl<'de> Deserialize<'de> for RawStore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UrlOrKeys;
        impl<'de> de::Visitor<'de> for UrlOrKeys {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"embedded\", a URL such as redis://127.0.0.1, or a map of keys")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Keys, E> {
                let url = Place::parse(text)?;
                Ok(Keys { url, ..Keys::default() })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Keys, A::Error> {
                Keys::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_any(UrlOrKeys).map(Self::from_keys)
    }
}

/// The keys of the map.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    url: Place,
    cache_mib: Option<Positive>,
    message_cache_mib: Positive,
    batch: Option<Positive>,
    reserve_mib: Option<u32>,
    check_at_start: Option<bool>,
    retention: Time,
    user: Option<String>,
    password_env: Option<String>,
    ca_file: Option<String>,
    cluster: Option<bool>,
    database: Option<u32>,
    prefix: Option<String>,
    partitions: Option<Positive>,
    response_timeout: Option<Time>,
    connect_timeout: Option<Time>,
    trust_server_settings: Option<bool>,
    intake: Option<bool>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            url: Place::Embedded,
            cache_mib: None,
            message_cache_mib: Positive(64),
            batch: None,
            reserve_mib: None,
            check_at_start: None,
            retention: seconds(720 * 3600),
            user: None,
            password_env: None,
            ca_file: None,
            cluster: None,
            database: None,
            prefix: None,
            partitions: None,
            response_timeout: None,
            connect_timeout: None,
            trust_server_settings: None,
            intake: None,
        }
    }
}

/// `store.url`.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    Embedded,
    /// One server, or nodes of a cluster.
    Redis(Vec<String>),
}

impl Place {
    fn parse<E: de::Error>(text: &str) -> Result<Self, E> {
        if text == EMBEDDED {
            return Ok(Self::Embedded);
        }
        url(text).map(|url| Self::Redis(vec![url]))
    }
}

/// The URL of a Redis. An error shows the scheme only: the rest may hold a password.
fn url<E: de::Error>(text: &str) -> Result<String, E> {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        Some(scheme) if SCHEMES.contains(&scheme) => Ok(text.to_owned()),
        Some(scheme) => Err(E::custom(format!(
            "{scheme:?} is none of redis://, rediss://, redis+unix://, nor \"embedded\""
        ))),
        None => Err(E::custom(format!(
            "{text:?} is neither \"embedded\" nor a URL such as redis://127.0.0.1, rediss://host:6380, redis+unix:///path"
        ))),
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> de::Visitor<'de> for OneOrMore {
            type Value = Place;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"embedded\", a URL such as redis://127.0.0.1, or a list of URLs")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Place, E> {
                Place::parse(text)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Place, A::Error> {
                let mut urls = Vec::new();
                while let Some(text) = list.next_element::<String>()? {
                    urls.push(url(&text)?);
                }
                match urls.is_empty() {
                    true => Err(de::Error::custom("the list of URLs is empty")),
                    false => Ok(Place::Redis(urls)),
                }
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

/// What is used; `data` is the data directory.
pub(super) fn settings(
    raw: &RawStore,
    data: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<StoreSettings, ConfigError> {
    let keys = &raw.0;
    match &keys.url {
        Place::Embedded => embedded(keys, data),
        Place::Redis(urls) => redis(keys, urls, env),
    }
}

fn embedded(keys: &Keys, data: &str) -> Result<StoreSettings, ConfigError> {
    let of_redis = [
        ("user", keys.user.is_some()),
        ("password_env", keys.password_env.is_some()),
        ("ca_file", keys.ca_file.is_some()),
        ("cluster", keys.cluster.is_some()),
        ("database", keys.database.is_some()),
        ("prefix", keys.prefix.is_some()),
        ("partitions", keys.partitions.is_some()),
        ("response_timeout", keys.response_timeout.is_some()),
        ("connect_timeout", keys.connect_timeout.is_some()),
        ("trust_server_settings", keys.trust_server_settings.is_some()),
        ("intake", keys.intake.is_some()),
    ];
    if let Some((name, _)) = of_redis.iter().find(|(_, given)| *given) {
        return Err(unfit(
            format!("store.{name}"),
            "is for Redis only, and store.url names none",
        ));
    }
    Ok(StoreSettings::Embedded(EmbeddedSettings {
        cache_bytes: mib(keys.cache_mib.unwrap_or(CACHE_MIB)),
        message_cache_bytes: mib(keys.message_cache_mib),
        batch_ops_max: count(keys.batch.unwrap_or(BATCH)),
        reserve_bytes: u64::from(keys.reserve_mib.unwrap_or(RESERVE_MIB)) << 20,
        check_at_start: keys.check_at_start.unwrap_or(true),
        ..EmbeddedSettings::in_directory(data)
    }))
}

fn redis(keys: &Keys, urls: &[String], env: &dyn Fn(&str) -> Option<String>) -> Result<StoreSettings, ConfigError> {
    let of_embedded = [
        ("cache_mib", keys.cache_mib.is_some()),
        ("batch", keys.batch.is_some()),
        ("reserve_mib", keys.reserve_mib.is_some()),
        ("check_at_start", keys.check_at_start.is_some()),
    ];
    for (name, given) in of_embedded {
        if given {
            return Err(unfit(
                format!("store.{name}"),
                "is for the embedded store only, and store.url names a Redis",
            ));
        }
    }
    let encrypted = |url: &String| ["rediss://", "valkeys://"].iter().any(|scheme| url.starts_with(scheme));
    if keys.ca_file.is_some() && !urls.iter().all(encrypted) {
        return Err(unfit("store.ca_file".to_owned(), "is for rediss:// only"));
    }
    if urls.iter().any(encrypted) != urls.iter().all(encrypted) {
        return Err(unfit("store.url".to_owned(), "either all or none must be rediss://"));
    }
    let partitions = keys
        .partitions
        .map(|partitions| u16::try_from(partitions.0).unwrap_or(u16::MAX));
    let password = keys.password_env.as_ref().map(|name| {
        env(name).ok_or_else(|| {
            unfit(
                "store.password_env".to_owned(),
                &format!("the environment has no {name}"),
            )
        })
    });
    let defaults = RedisSettings::at("");
    let server = RedisSettings {
        urls: urls.to_vec(),
        cluster: keys.cluster.unwrap_or(false),
        username: keys.user.clone(),
        password: password.transpose()?,
        ca_file: keys.ca_file.as_ref().map(PathBuf::from),
        database: keys.database.map(i64::from),
        prefix: keys.prefix.clone().unwrap_or(defaults.prefix.clone()),
        partitions,
        response_timeout: keys.response_timeout.map_or(defaults.response_timeout, |time| time.0),
        connect_timeout: keys.connect_timeout.map_or(defaults.connect_timeout, |time| time.0),
        message_cache_bytes: mib(keys.message_cache_mib),
        ..defaults
    };
    server
        .check()
        .map_err(|error| unfit("store".to_owned(), &error.to_string()))?;
    let guard = GuardSettings {
        trust_server_settings: keys.trust_server_settings.unwrap_or(false),
        ..GuardSettings::default()
    };
    let intake = keys.intake.unwrap_or(true);
    Ok(StoreSettings::Redis { server, guard, intake })
}
