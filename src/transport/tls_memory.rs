//! Which hosts failed at TLS, so that they are not asked again for a while.
//!
//! Takes host names and the time, gives yes or no. Bounded; forgets after an hour, or earlier when full. Never forgets that
//! encryption is required: only opportunistic sessions ask here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::Timestamp;

/// How long a host is spared.
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);
/// How many hosts are remembered.
const HOSTS_MAX: usize = 10_000;

/// The memory.
#[derive(Debug, Default)]
pub(super) struct TlsMemory {
    until: Mutex<HashMap<Box<str>, Timestamp>>,
}

impl TlsMemory {
    pub(super) fn remember(&self, host: &str, now: Timestamp) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= HOSTS_MAX && !until.contains_key(host) {
            until.retain(|_, end| *end > now);
        }
        if until.len() >= HOSTS_MAX && !until.contains_key(host) {
            // Whoever is nearest to being forgotten anyway.
            let oldest = until.iter().min_by_key(|(_, end)| **end).map(|(host, _)| host.clone());
            if let Some(oldest) = oldest {
                until.remove(&oldest);
            }
        }
        until.insert(host.into(), now.plus(REMEMBERED_FOR));
    }

    pub(super) fn failed_lately(&self, host: &str, now: Timestamp) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.get(host).is_some_and(|end| *end > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_spared_for_an_hour() {
        let memory = TlsMemory::default();
        memory.remember("mx.example", Timestamp(0));
        assert!(memory.failed_lately("mx.example", Timestamp(3_599_999)));
        assert!(!memory.failed_lately("mx.example", Timestamp(3_600_000)));
        assert!(!memory.failed_lately("other.example", Timestamp(0)));
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_the_newest() {
        let memory = TlsMemory::default();
        for number in 0..HOSTS_MAX as u64 + 5 {
            memory.remember(&format!("mx{number}.example"), Timestamp(number));
        }
        assert_eq!(memory.until.lock().expect("not poisoned").len(), HOSTS_MAX);
        assert!(!memory.failed_lately("mx4.example", Timestamp(20)));
        assert!(memory.failed_lately("mx5.example", Timestamp(20)));
        assert!(memory.failed_lately(&format!("mx{}.example", HOSTS_MAX + 4), Timestamp(20)));
    }
}
