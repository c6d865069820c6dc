//! What a server says of itself, read from the answers to `INFO` and `CONFIG GET`.
//!
//! Takes text and lists, from outside: anything may be missing or strange. Gives [`ServerFacts`].

use redis::Value;

use crate::policy::redis_safety::ServerFacts;

/// Settings that are asked for.
pub(super) const SETTINGS: [&str; 5] = [
    "appendonly",
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "maxmemory-policy",
    "maxmemory",
];

/// What `INFO` says.
pub(super) fn of_info(name: &str, info: &str) -> ServerFacts {
    let find = |key: &str| {
        let value = info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        value.map(|value| value.trim().to_owned())
    };
    let is = |key: &str, word: &str| find(key).map(|value| value == word);
    let yes_or_no = |value: bool| if value { "yes" } else { "no" }.to_owned();
    ServerFacts {
        name: name.to_owned(),
        version: find("redis_version"),
        role: find("role"),
        cluster: is("cluster_enabled", "1"),
        appendonly: is("aof_enabled", "1").map(yes_or_no),
        maxmemory_policy: find("maxmemory_policy"),
        memory_bytes_max: find("maxmemory").and_then(|bytes| bytes.parse().ok()),
        memory_bytes: find("used_memory").and_then(|bytes| bytes.parse().ok()),
        append_ok: is("aof_last_write_status", "ok"),
        snapshot_ok: is("rdb_last_bgsave_status", "ok"),
        ..ServerFacts::default()
    }
}

/// Adds what `CONFIG GET` says.
pub(super) fn add_settings(facts: &mut ServerFacts, answer: &Value) {
    for (key, value) in pairs(answer) {
        match &*key {
            "appendonly" => facts.appendonly = Some(value),
            "appendfsync" => facts.appendfsync = Some(value),
            "no-appendfsync-on-rewrite" => facts.no_appendfsync_on_rewrite = Some(value),
            "maxmemory-policy" => facts.maxmemory_policy = Some(value),
            "maxmemory" => facts.memory_bytes_max = value.parse().ok(),
            _ => {}
        }
    }
}

/// Names and values: as a list, or as a map.
fn pairs(answer: &Value) -> Vec<(String, String)> {
    match answer {
        Value::Array(list) => list
            .chunks_exact(2)
            .filter_map(|pair| Some((text(&pair[0])?, text(&pair[1])?)))
            .collect(),
        Value::Map(map) => map
            .iter()
            .filter_map(|(key, value)| Some((text(key)?, text(value)?)))
            .collect(),
        _ => Vec::new(),
    }
}

/// A value that is text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_and_a_strange_one_says_nothing() {
        let info = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nused_memory:1000\r\nused_memory_human:1K\r\n\
                    maxmemory:0\r\nmaxmemory_human:0B\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n\
                    aof_last_write_status:err\r\nrdb_last_bgsave_status:ok\r\nrole:master\r\ncluster_enabled:0\r\n";
        let mut facts = of_info("one", info);
        let expect = ServerFacts {
            name: "one".to_owned(),
            version: Some("7.0.15".to_owned()),
            role: Some("master".to_owned()),
            cluster: Some(false),
            appendonly: Some("yes".to_owned()),
            appendfsync: None,
            no_appendfsync_on_rewrite: None,
            maxmemory_policy: Some("noeviction".to_owned()),
            memory_bytes_max: Some(0),
            memory_bytes: Some(1000),
            append_ok: Some(false),
            snapshot_ok: Some(true),
        };
        assert_eq!(facts, expect);
        let bulk = |text: &str| Value::BulkString(text.into());
        add_settings(
            &mut facts,
            &Value::Array(vec![bulk("appendfsync"), bulk("no"), bulk("alone")]),
        );
        assert_eq!(facts.appendfsync.as_deref(), Some("no"));
        add_settings(
            &mut facts,
            &Value::Map(vec![(bulk("maxmemory"), bulk("7")), (Value::Nil, Value::Nil)]),
        );
        assert_eq!(facts.memory_bytes_max, Some(7));
        assert_eq!(of_info("", "\r\nused_memory:many\r\n:"), ServerFacts::default());
    }
}
