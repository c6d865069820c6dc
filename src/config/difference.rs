//! What another config would change: at once, or only with a restart.
//!
//! Takes two files as written; gives the keys that differ, in two lists. Every key of the file is in one of them: a test
//! changes each and looks. Never changes anything.

use super::raw::Raw;

/// Keys that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// What a reload takes over.
    pub at_once: Vec<&'static str>,
    /// What needs a restart.
    pub with_restart: Vec<&'static str>,
}

impl Difference {
    /// What differs between the file that is in use and another one.
    #[must_use]
    pub fn between(old: &Raw, new: &Raw) -> Self {
        let (was, is) = (&old.delivery, &new.delivery);
        let keys = [
            ("routes", old.routes != new.routes, true),
            ("rules", old.rules != new.rules, true),
            ("providers", old.providers != new.providers, true),
            ("pins", old.pins != new.pins, true),
            ("tenants", old.tenants != new.tenants, true),
            ("pools", old.pools != new.pools, false),
            ("delivery.retry", was.retry != is.retry, true),
            ("delivery.greylist", was.greylist != is.greylist, true),
            ("delivery.on_ambiguous", was.on_ambiguous != is.on_ambiguous, true),
            ("delivery.hold", was.hold != is.hold, true),
            ("delivery.wait_longest", was.wait_longest != is.wait_longest, true),
            ("delivery.breaker", was.breaker != is.breaker, true),
            ("delivery.slow", was.slow != is.slow, true),
            ("delivery.stop_longest", was.stop_longest != is.stop_longest, true),
            ("delivery.port", was.port != is.port, false),
            ("delivery.tls", was.tls != is.tls, false),
            (
                "delivery.allow_networks",
                was.allow_networks != is.allow_networks,
                false,
            ),
            ("delivery.life", was.life != is.life, false),
            ("delivery.timeouts", was.timeouts != is.timeouts, false),
            ("data", old.data != new.data, false),
            ("node", old.node != new.node, false),
            ("hostname", old.hostname != new.hostname, false),
            ("log", old.log != new.log, false),
            ("api", old.api != new.api, false),
            ("metrics", old.metrics != new.metrics, false),
            ("store", old.store != new.store, false),
            ("dns", old.dns != new.dns, false),
            ("sources", old.sources != new.sources, false),
            ("health", old.health != new.health, false),
            ("domains", old.domains != new.domains, false),
            ("engine", old.engine != new.engine, false),
        ];
        let differ = |at_once: bool| {
            let those = keys.iter().filter(move |(_, differs, key)| *differs && *key == at_once);
            those.map(|(key, ..)| *key).collect()
        };
        Self {
            at_once: differ(true),
            with_restart: differ(false),
        }
    }
}
