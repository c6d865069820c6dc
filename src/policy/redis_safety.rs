//! Whether a Redis may hold the queue: what its settings promise, and when it is too full to accept more.
//!
//! Takes what a server says of itself; gives [`Risk`]s, each with the words that say how to end it, and whether to accept.
//! A setting that the server does not show is a risk of its own: nobody knows what would be lost. Never talks to Redis.

use std::fmt;

/// Accepts end when this part of `maxmemory` is used: deliveries that are there must still have room to be settled.
const SHUT_AT: f64 = 0.80;
/// They begin again below this part, so that they do not flutter.
const OPEN_BELOW: f64 = 0.75;
/// The first version with function libraries.
const VERSION_MIN: (u32, u32) = (7, 0);

/// What one server says of itself. `None`: it does not say, or we may not ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// Where it is, for messages.
    pub name: String,
    /// `redis_version`.
    pub version: Option<String>,
    /// `role`: master or slave.
    pub role: Option<String>,
    /// `cluster_enabled`.
    pub cluster: Option<bool>,
    /// Setting `appendonly`: yes or no.
    pub appendonly: Option<String>,
    /// Setting `appendfsync`: always, everysec or no.
    pub appendfsync: Option<String>,
    /// Setting `no-appendfsync-on-rewrite`: yes or no.
    pub no_appendfsync_on_rewrite: Option<String>,
    /// Setting `maxmemory-policy`.
    pub maxmemory_policy: Option<String>,
    /// Setting `maxmemory` in bytes; 0 is no limit.
    pub memory_bytes_max: Option<u64>,
    /// Memory in use, in bytes.
    pub memory_bytes: Option<u64>,
    /// Whether the last write to the append-only file went well.
    pub append_ok: Option<bool>,
    /// Whether the last snapshot went well.
    pub snapshot_ok: Option<bool>,
}

/// Why a server should not, or cannot, hold the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Risk {
    /// How bad it is.
    pub kind: RiskKind,
    /// What is wrong and what ends it, in one sentence.
    pub text: String,
}

/// How bad a risk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RiskKind {
    /// The backend cannot work there at all.
    Unusable,
    /// Accepted mail can be lost.
    Volatile,
    /// Nobody knows whether accepted mail can be lost: the server does not show the setting.
    Unknown,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How the servers are, all together. What could not be measured counts as good: it has its own alarm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// All servers answer.
    pub is_reachable: bool,
    /// The store that was opened is not there any more.
    pub is_epoch_lost: bool,
    /// Nothing is to be accepted, by [`MemoryGate`].
    pub is_short_of_room: bool,
    /// The last write to an append-only file went wrong, or the last snapshot.
    pub is_not_persisting: bool,
    /// Memory in use on all servers, in bytes.
    pub memory_bytes: u64,
    /// Their limits, in bytes; 0 is no limit.
    pub memory_bytes_max: u64,
    /// What speaks against their settings.
    pub risks: Vec<Risk>,
}

impl Health {
    /// From what each server says. `is_short_of_room` is the gate's answer, `is_epoch_lost` what reading it showed.
    #[must_use]
    pub fn of(servers: &[ServerFacts], cluster: bool, is_short_of_room: bool, is_epoch_lost: bool) -> Self {
        let failed = |facts: &ServerFacts| facts.append_ok == Some(false) || facts.snapshot_ok == Some(false);
        let sum = |part: fn(&ServerFacts) -> Option<u64>| servers.iter().filter_map(part).sum();
        Self {
            is_reachable: true,
            is_epoch_lost,
            is_short_of_room,
            is_not_persisting: servers.iter().any(failed),
            memory_bytes: sum(|facts| facts.memory_bytes),
            memory_bytes_max: sum(|facts| facts.memory_bytes_max),
            risks: servers
                .iter()
                .flat_map(|facts| risks(facts, cluster))
                .filter(|risk| risk.kind != RiskKind::Unknown)
                .collect(),
        }
    }

    /// As `former`, but nobody answers.
    #[must_use]
    pub fn unreachable(former: &Self) -> Self {
        Self {
            is_reachable: false,
            ..former.clone()
        }
    }
}

/// What speaks against this server. `cluster`: whether we take it for a node of one.
#[must_use]
pub fn risks(facts: &ServerFacts, cluster: bool) -> Vec<Risk> {
    let mut found = unusable(facts, cluster);
    let settings = [
        Rule {
            name: "appendonly",
            found: &facts.appendonly,
            good: &["yes"],
            harm: "what was accepted is gone when Redis ends",
        },
        Rule {
            name: "appendfsync",
            found: &facts.appendfsync,
            good: &["everysec", "always"],
            harm: "a power cut loses half a minute of accepted mail",
        },
        Rule {
            name: "no-appendfsync-on-rewrite",
            found: &facts.no_appendfsync_on_rewrite,
            good: &["no"],
            harm: "while the file is rewritten nothing is synced",
        },
        Rule {
            name: "maxmemory-policy",
            found: &facts.maxmemory_policy,
            good: &["noeviction"],
            harm: "Redis deletes accepted mail when its memory is full",
        },
    ];
    found.extend(settings.iter().filter_map(|rule| rule.risk(&facts.name)));
    found
}

fn unusable(facts: &ServerFacts, cluster: bool) -> Vec<Risk> {
    let mut texts = Vec::new();
    let name = &facts.name;
    if let Some(version) = &facts.version
        && version_of(version).is_none_or(|version| version < VERSION_MIN)
    {
        texts.push(format!(
            "{name}: version {version} is too old; functions need Redis 7.0 or newer, or Valkey"
        ));
    }
    if facts.role.as_deref() == Some("slave") {
        texts.push(format!(
            "{name}: this is a replica, which takes no writes; name its primary in store.url"
        ));
    }
    if facts.cluster == Some(true) && !cluster {
        texts.push(format!("{name}: this is a node of a cluster; set store.cluster: true"));
    }
    if facts.cluster == Some(false) && cluster {
        texts.push(format!(
            "{name}: this is no node of a cluster; name one server in store.url"
        ));
    }
    let unusable = |text| Risk {
        kind: RiskKind::Unusable,
        text,
    };
    texts.into_iter().map(unusable).collect()
}

/// Major and minor number.
fn version_of(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(str::parse::<u32>);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some((major, minor))
}

/// A setting that accepted mail depends on.
struct Rule<'a> {
    name: &'static str,
    found: &'a Option<String>,
    /// Good values; the first one is what we propose.
    good: &'static [&'static str],
    harm: &'static str,
}

impl Rule<'_> {
    fn risk(&self, server: &str) -> Option<Risk> {
        let Self { name, good, harm, .. } = self;
        let fix = format!("CONFIG SET {name} {}", good[0]);
        match self.found.as_deref() {
            Some(value) if good.contains(&value) => None,
            Some(value) => Some(Risk {
                kind: RiskKind::Volatile,
                text: format!(
                    "{server}: {name} is {value}: {harm}. Give Redis `{fix}` and `CONFIG REWRITE`, or set it in redis.conf"
                ),
            }),
            None => Some(Risk {
                kind: RiskKind::Unknown,
                text: format!("{server}: does not show {name}, which must be {}", good.join(" or ")),
            }),
        }
    }
}

/// Whether new mail may be accepted, by the memory in use. Shuts at 80 % of the limit, opens below 75 %.
#[derive(Debug, Clone, Default)]
pub struct MemoryGate {
    shut: bool,
}

impl MemoryGate {
    /// An open gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The servers' memory was measured: `true` while there is too little room on any of them.
    pub fn on_measured<'a>(&mut self, servers: impl IntoIterator<Item = &'a ServerFacts>) -> bool {
        let fullest = servers.into_iter().filter_map(part_used).fold(0.0, f64::max);
        self.shut = fullest >= if self.shut { OPEN_BELOW } else { SHUT_AT };
        self.shut
    }
}

/// The part of the limit that is used; none without a limit.
#[expect(clippy::cast_precision_loss, reason = "a part needs no more than 53 bits")]
fn part_used(facts: &ServerFacts) -> Option<f64> {
    let max = facts.memory_bytes_max.filter(|max| *max > 0)?;
    Some(facts.memory_bytes? as f64 / max as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> ServerFacts {
        let text = |text: &str| Some(text.to_owned());
        ServerFacts {
            name: "one".to_owned(),
            version: text("7.0.15"),
            role: text("master"),
            cluster: Some(false),
            appendonly: text("yes"),
            appendfsync: text("everysec"),
            no_appendfsync_on_rewrite: text("no"),
            maxmemory_policy: text("noeviction"),
            ..ServerFacts::default()
        }
    }

    #[track_caller]
    fn check(change: impl Fn(&mut ServerFacts), cluster: bool, expect: &[(RiskKind, &str)]) {
        let mut facts = good();
        change(&mut facts);
        let found = risks(&facts, cluster);
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (risk, (kind, part)) in found.iter().zip(expect) {
            assert_eq!(risk.kind, *kind, "{risk}");
            assert!(risk.text.contains(part), "{risk} says not {part}");
        }
    }

    #[test]
    fn a_server_that_keeps_everything_is_no_risk() {
        check(|_| {}, false, &[]);
        check(|facts| facts.appendfsync = Some("always".to_owned()), false, &[]);
        check(|facts| facts.version = Some("8.2.1".to_owned()), false, &[]);
        check(|facts| facts.cluster = Some(true), true, &[]);
    }

    #[test]
    fn each_setting_that_loses_mail_is_named_with_the_line_that_ends_it() {
        let no = Some("no".to_owned());
        let volatile = |part| [(RiskKind::Volatile, part)];
        check(
            |facts| facts.appendonly.clone_from(&no),
            false,
            &volatile("`CONFIG SET appendonly yes`"),
        );
        check(
            |facts| facts.appendfsync.clone_from(&no),
            false,
            &volatile("`CONFIG SET appendfsync everysec`"),
        );
        check(
            |facts| facts.no_appendfsync_on_rewrite = Some("yes".to_owned()),
            false,
            &volatile("`CONFIG SET no-appendfsync-on-rewrite no`"),
        );
        check(
            |facts| facts.maxmemory_policy = Some("allkeys-lru".to_owned()),
            false,
            &volatile("`CONFIG SET maxmemory-policy noeviction`"),
        );
    }

    #[test]
    fn what_is_not_shown_is_unknown_and_not_good() {
        let unknown = [
            (RiskKind::Unknown, "appendfsync"),
            (RiskKind::Unknown, "no-appendfsync-on-rewrite"),
        ];
        check(
            |facts| (facts.appendfsync, facts.no_appendfsync_on_rewrite) = (None, None),
            false,
            &unknown,
        );
    }

    #[test]
    fn a_server_that_cannot_work_is_unusable() {
        let unusable = |part| [(RiskKind::Unusable, part)];
        check(
            |facts| facts.version = Some("6.2.14".to_owned()),
            false,
            &unusable("6.2.14 is too old"),
        );
        check(
            |facts| facts.version = Some("new".to_owned()),
            false,
            &unusable("too old"),
        );
        check(
            |facts| facts.role = Some("slave".to_owned()),
            false,
            &unusable("replica"),
        );
        check(
            |facts| facts.cluster = Some(true),
            false,
            &unusable("store.cluster: true"),
        );
        check(|_| {}, true, &unusable("no node of a cluster"));
    }

    #[test]
    fn accepts_end_at_four_fifths_of_the_memory_and_begin_again_below_three_quarters() {
        let mut gate = MemoryGate::new();
        let mut used = |bytes: u64, max: u64| {
            let facts = ServerFacts {
                memory_bytes: Some(bytes),
                memory_bytes_max: Some(max),
                ..good()
            };
            gate.on_measured([&good(), &facts])
        };
        for (bytes, max, shut) in [
            (79, 100, false),
            (80, 100, true),
            (76, 100, true),
            (74, 100, false),
            (79, 100, false),
            (200, 100, true),
            (200, 0, false),
        ] {
            assert_eq!(used(bytes, max), shut, "{bytes} of {max}");
        }
    }
}
