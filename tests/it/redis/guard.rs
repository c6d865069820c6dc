//! The start: a Redis that would lose mail, hides what it does, or is another one than before is refused.

use std::path::Path;

use posthaste::store::{GuardError, GuardSettings, Guarded, RedisSettings, Seal, open_redis};
use tempfile::TempDir;
use test_rig::{RedisCluster, RedisOptions, RedisServer};

async fn open(settings: RedisSettings, guard: &GuardSettings, folder: &Path) -> Result<Guarded, GuardError> {
    open_redis(settings, guard, &folder.join("redis.epoch"), Seal::new([1; 32])).await
}

/// A server and the folder of an engine.
struct Bed {
    server: RedisServer,
    folder: TempDir,
}

impl Bed {
    fn new(options: &RedisOptions) -> Self {
        Self {
            server: RedisServer::start(options).unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    async fn opens(&self, guard: &GuardSettings) {
        let opened = open(RedisSettings::at(self.server.url()), guard, self.folder.path()).await;
        assert!(opened.is_ok(), "{:?}", opened.err());
    }

    async fn refused(&self, guard: &GuardSettings) -> String {
        refused(RedisSettings::at(self.server.url()), guard, self.folder.path()).await
    }
}

async fn refused(settings: RedisSettings, guard: &GuardSettings, folder: &Path) -> String {
    match open(settings, guard, folder).await {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    }
}

/// The line that the message proposes, given to the server as it is, must end the refusal.
#[tokio::test]
async fn each_setting_that_loses_mail_is_refused_until_the_proposed_line_is_given() {
    for (key, value) in [
        ("appendonly", "no"),
        ("appendfsync", "no"),
        ("no-appendfsync-on-rewrite", "yes"),
        ("maxmemory-policy", "allkeys-lru"),
    ] {
        let bed = Bed::new(&RedisOptions::new().set(key, value));
        let words = bed.refused(&GuardSettings::default()).await;
        assert!(words.contains("--allow-volatile-queue"), "{words}");
        assert_eq!(bed.server.call(&["DBSIZE"]).unwrap(), "0", "nothing was made");
        let volatile = GuardSettings {
            allow_volatile: true,
            ..GuardSettings::default()
        };
        bed.opens(&volatile).await;
        let line: Vec<&str> = words.split('`').nth(1).expect("a line").split(' ').collect();
        assert_eq!(line[..3], ["CONFIG", "SET", key]);
        bed.server.call(&line).unwrap();
        bed.opens(&GuardSettings::default()).await;
    }
}

#[tokio::test]
async fn a_server_that_hides_its_settings_needs_trust() {
    let user = "engine on >secret ~* &* +@all -config -info";
    let bed = Bed::new(&RedisOptions::new().set("user", user));
    let mut settings = RedisSettings::at(bed.server.url());
    (settings.username, settings.password) = (Some("engine".to_owned()), Some("secret".to_owned()));
    let words = refused(settings.clone(), &GuardSettings::default(), bed.folder.path()).await;
    assert!(words.contains("store.trust_server_settings: true"), "{words}");
    let trusting = GuardSettings {
        trust_server_settings: true,
        ..GuardSettings::default()
    };
    let opened = open(settings, &trusting, bed.folder.path()).await;
    assert!(opened.is_ok(), "{:?}", opened.err());
}

#[tokio::test]
async fn a_replica_is_refused() {
    let primary = RedisServer::start(&RedisOptions::new().tcp()).unwrap();
    let of = format!("127.0.0.1 {}", primary.port().unwrap());
    let bed = Bed::new(&RedisOptions::new().set("replicaof", &of));
    let words = bed.refused(&GuardSettings::default()).await;
    assert!(words.contains("replica"), "{words}");
    assert!(!words.contains("--allow-volatile-queue"), "{words}");
}

#[tokio::test]
async fn a_flushed_redis_and_another_one_are_not_taken_for_an_empty_queue() {
    let bed = Bed::new(&RedisOptions::new());
    let strict = GuardSettings::default();
    bed.opens(&strict).await;
    bed.opens(&strict).await;
    bed.server.call(&["FLUSHALL"]).unwrap();
    let words = bed.refused(&strict).await;
    assert!(
        words.contains("holds no store") && words.contains("--accept-new-store"),
        "{words}"
    );
    assert_eq!(bed.server.call(&["DBSIZE"]).unwrap(), "0", "nothing was made");
    let other = Bed::new(&RedisOptions::new());
    other.opens(&strict).await;
    let words = refused(RedisSettings::at(other.server.url()), &strict, bed.folder.path()).await;
    assert!(words.contains("Redis holds store"), "{words}");
    let meant = GuardSettings {
        accept_new_store: true,
        ..GuardSettings::default()
    };
    bed.opens(&meant).await;
    bed.opens(&strict).await;
}

#[tokio::test]
async fn each_primary_of_a_cluster_is_asked() {
    let cluster = RedisCluster::start(3, &RedisOptions::new()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = RedisSettings::at("");
    settings.urls = cluster.urls();
    cluster.servers[2].config_set("appendfsync", "no").unwrap();
    let words = refused(settings.clone(), &GuardSettings::default(), folder.path()).await;
    let port = cluster.servers[2].port().unwrap().to_string();
    assert!(words.contains(&port) && words.contains("appendfsync is no"), "{words}");
    cluster.servers[2].config_set("appendfsync", "always").unwrap();
    let opened = open(settings, &GuardSettings::default(), folder.path()).await;
    assert!(opened.is_ok(), "{:?}", opened.err());
    let alone = RedisSettings::at(cluster.servers[0].url());
    let words = refused(alone, &GuardSettings::default(), folder.path()).await;
    assert!(words.contains("store.cluster: true"), "{words}");
}
