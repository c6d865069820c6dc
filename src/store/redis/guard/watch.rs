//! Asks every two seconds how Redis is, and says so.
//!
//! Takes an opened store's settings and epoch; gives [`Health`] to who wants to know, and the log what changed. Never acts:
//! functions refuse a lost epoch by themselves, and the API asks the gate.

use std::time::Duration;

use super::probe::Probe;
use super::settings::GuardError;
use crate::policy::redis_safety::{Health, MemoryGate};
use crate::store::redis::RedisSettings;

/// Between two looks. A full Redis takes much longer to fill its last fifth.
const EVERY: Duration = Duration::from_secs(2);

/// What looks after a Redis.
#[derive(Debug)]
pub struct Watch {
    settings: RedisSettings,
    epoch: String,
    /// Where the epoch stands.
    homes: Vec<String>,
}

impl Watch {
    pub(super) fn new<'a>(settings: RedisSettings, epoch: &str, homes: impl Iterator<Item = &'a str>) -> Self {
        Self {
            settings,
            epoch: epoch.to_owned(),
            homes: homes.map(str::to_owned).collect(),
        }
    }

    /// Looks until it is dropped; tells `each` look.
    pub async fn run(self, each: impl Fn(&Health)) {
        let mut gate = MemoryGate::new();
        let mut probe = None;
        let mut former = Health {
            is_reachable: true,
            ..Health::default()
        };
        loop {
            let looked = self.look(&mut probe, &mut gate).await;
            let health = looked.unwrap_or_else(|error| {
                // The next look makes a new connection.
                probe = None;
                tracing::debug!("Redis could not be looked at: {error}");
                Health::unreachable(&former)
            });
            tell(&former, &health);
            each(&health);
            former = health;
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn look(&self, probe: &mut Option<Probe>, gate: &mut MemoryGate) -> Result<Health, GuardError> {
        let probe = match probe {
            Some(probe) => probe,
            None => probe.insert(Probe::connect(&self.settings).await?),
        };
        let facts = probe.facts().await?;
        let mut is_epoch_lost = false;
        for home in &self.homes {
            is_epoch_lost |= probe.epoch(home).await?.as_deref() != Some(self.epoch.as_bytes());
        }
        let is_short_of_room = gate.on_measured(&facts);
        Ok(Health::of(
            &facts,
            self.settings.is_cluster(),
            is_short_of_room,
            is_epoch_lost,
        ))
    }
}

/// Logs what changed.
fn tell(former: &Health, now: &Health) {
    match (former.is_reachable, now.is_reachable) {
        (true, false) => tracing::error!("Redis does not answer; calls get 503 and nothing is sent until it does"),
        (false, true) => tracing::info!("Redis answers again"),
        _ => {}
    }
    match (former.is_epoch_lost, now.is_epoch_lost) {
        (false, true) => tracing::error!(
            "the store is gone: Redis was flushed, or restored, or is another one; nothing is accepted or sent until the \
             store is back"
        ),
        (true, false) => tracing::info!("the store is there again"),
        _ => {}
    }
    match (former.is_short_of_room, now.is_short_of_room) {
        (false, true) => tracing::warn!(
            used = now.memory_bytes,
            max = now.memory_bytes_max,
            "Redis has little memory left; calls get 503 until mail has gone out"
        ),
        (true, false) => tracing::info!("Redis has room again"),
        _ => {}
    }
    match (former.is_not_persisting, now.is_not_persisting) {
        (false, true) => tracing::error!("Redis could not write its append-only file or snapshot; look at its disk"),
        (true, false) => tracing::info!("Redis writes again"),
        _ => {}
    }
    for risk in now.risks.iter().filter(|risk| !former.risks.contains(risk)) {
        tracing::error!("accepted mail can be lost: {risk}");
    }
}
