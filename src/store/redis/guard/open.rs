//! Opens the store in a Redis that may hold it.
//!
//! Takes settings and the file that remembers the epoch; gives the store and its [`Watch`]. Asks before it opens: opening an
//! empty Redis makes a store there, and one that was flushed must not be taken for a new one.

use std::path::Path;

use super::epoch;
use super::probe::Probe;
use super::settings::{GuardError, GuardSettings};
use super::watch::Watch;
use crate::policy::redis_safety::{Risk, RiskKind, risks};
use crate::store::Seal;
use crate::store::redis::names::Names;
use crate::store::redis::{Redis, RedisSettings};

/// An opened store.
#[derive(Debug)]
pub struct Guarded {
    /// The store.
    pub store: Redis,
    /// What looks after it.
    pub watch: Watch,
}

/// Opens the store that `settings` name; `epoch_file` remembers which one it is.
///
/// # Errors
/// When the server is unsafe, unknown or gone, or holds another store than before.
pub async fn open(
    settings: RedisSettings,
    guard: &GuardSettings,
    epoch_file: &Path,
    seal: Seal,
) -> Result<Guarded, GuardError> {
    let mut probe = Probe::connect(&settings).await?;
    let mut found = Vec::new();
    for facts in probe.facts().await? {
        found.extend(risks(&facts, settings.is_cluster()));
    }
    judge(found, guard)?;
    let home = Names::new(&settings.prefix, 0);
    epoch::check(epoch_file, probe.epoch(home.common()).await?.as_deref(), guard)?;
    let store = Redis::open(settings.clone(), seal).await?;
    epoch::remember(epoch_file, store.epoch().as_bytes())?;
    let names = &store.shared.names;
    let homes = std::iter::once(names.common()).chain(names.partitions().iter().map(String::as_str));
    let watch = Watch::new(settings, store.epoch(), homes);
    Ok(Guarded { store, watch })
}

/// Refuses, unless the operator took it upon himself; then it is said in the log.
fn judge(risks: Vec<Risk>, guard: &GuardSettings) -> Result<(), GuardError> {
    let (unknown, known): (Vec<Risk>, Vec<Risk>) = risks.into_iter().partition(|risk| risk.kind == RiskKind::Unknown);
    let is_unusable = known.iter().any(|risk| risk.kind == RiskKind::Unusable);
    if is_unusable || (!known.is_empty() && !guard.allow_volatile) {
        return Err(GuardError::Unsafe {
            risks: known,
            can_be_allowed: !is_unusable,
        });
    }
    if !(unknown.is_empty() || guard.trust_server_settings || guard.allow_volatile) {
        return Err(GuardError::Hidden(unknown));
    }
    for risk in known {
        tracing::warn!("accepted mail can be lost, as allowed: {risk}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_depends_on_what_the_operator_took_upon_himself() {
        let risk = |kind| Risk {
            kind,
            text: "a risk".to_owned(),
        };
        let check = |kinds: &[RiskKind], trust: bool, allow: bool, expect: Option<&str>| {
            let guard = GuardSettings {
                trust_server_settings: trust,
                allow_volatile: allow,
                ..GuardSettings::default()
            };
            let refused = judge(kinds.iter().map(|kind| risk(*kind)).collect(), &guard).err();
            let refused = refused.map(|error| error.to_string());
            match (&refused, expect) {
                (None, None) => {}
                (Some(error), Some(part)) => assert!(error.contains(part), "{error}"),
                _ => panic!("{kinds:?}: {refused:?}"),
            }
        };
        use RiskKind::{Unknown, Unusable, Volatile};
        check(&[], false, false, None);
        check(&[Volatile], false, false, Some("--allow-volatile-queue"));
        check(&[Volatile], true, false, Some("must not hold the queue"));
        check(&[Volatile, Unknown], false, true, None);
        check(&[Unknown], false, false, Some("store.trust_server_settings: true"));
        check(&[Unknown], true, false, None);
        check(&[Unusable], true, true, Some("must not hold the queue"));
    }
}
