//! The rig itself: a server that is killed, frozen, filled or encrypted is what the tests believe it to be.

use test_rig::{Certificates, RedisCluster, RedisOptions, RedisServer};

#[test]
fn a_server_keeps_what_it_acknowledged_when_it_is_killed() {
    let options = RedisOptions::new().set("appendfsync", "always");
    let mut server = RedisServer::start(&options).unwrap();
    assert_eq!(server.call(&["SET", "key", "value"]).unwrap(), "OK");
    server.kill().unwrap();
    assert!(server.call(&["GET", "key"]).is_err());
    server.restart().unwrap();
    assert_eq!(server.call(&["GET", "key"]).unwrap(), "value");
    assert_eq!(server.info("aof_enabled").unwrap(), "1");
}

#[test]
fn settings_passwords_and_memory_limits_hold() {
    let options = RedisOptions::new().set("requirepass", "secret").set("maxmemory", "4mb");
    let server = RedisServer::start(&options).unwrap();
    let piece = "x".repeat(100 << 10);
    let full = (0..100).find_map(|key| server.call(&["SET", &key.to_string(), &piece]).err());
    let full = full.expect("10 MiB are too much").to_string();
    assert!(full.starts_with("OOM"), "{full}");
    server.config_set("maxmemory", "0").unwrap();
    server.call(&["SET", "more", "x"]).unwrap();
}

#[test]
fn a_port_with_tls_and_a_cluster_come_up() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::make(folder.path(), "ours").unwrap();
    let server = RedisServer::start(&RedisOptions::new().tls(&certificates)).unwrap();
    assert!(server.url().starts_with("rediss://127.0.0.1:"));
    let cluster = RedisCluster::start(3, &RedisOptions::new()).unwrap();
    assert_eq!(cluster.urls().len(), 3);
    let moved = cluster
        .servers
        .iter()
        .filter(|server| server.call(&["SET", "key", "value"]).is_err());
    assert_eq!(moved.count(), 2, "one server has the slot");
}
