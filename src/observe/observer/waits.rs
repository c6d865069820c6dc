//! Who waits for what, and whether a Source is fit: the observer's part of it.
//!
//! Takes rounds of the watchdog, lanes with those who wait there, and the health of Sources; gives gauges, alarms in the
//! log, and the last round to whoever asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use super::{Observer, names, number};
use crate::domain::{Lane, SourceId, Timestamp, Why};
use crate::observe::LaneStandings;
use crate::policy::census::Round;
use crate::policy::source_health::{Check, Fitness, SourceHealth};

/// Lanes that get a series; those with the most waiting ones. The rest is summed as `other`.
const LANE_SERIES_MAX: usize = 1_000;

/// A round that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRound {
    /// What was counted.
    pub round: Round,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
}

/// Labels of a series about a lane: source, provider and reason.
type LaneSeries = (String, String, &'static str);

/// What was said last.
#[derive(Debug, Default)]
pub(super) struct LastSaid {
    round: Option<Arc<LastRound>>,
    lanes: BTreeSet<LaneSeries>,
    /// How each Source stands, and what is known of it.
    sources: BTreeMap<SourceId, (Fitness, SourceHealth)>,
}

impl Observer {
    /// What lanes say of themselves.
    #[must_use]
    pub fn standings(&self) -> &LaneStandings {
        &self.standings
    }

    /// The watchdog has been round. Each Delivery that waits without reason or time is a defect, and is named.
    pub fn round(&self, round: Round, began: Timestamp, ended: Timestamp) {
        self.registry
            .gauge(names::WITHOUT_REASON, &[])
            .set(number(round.senseless));
        for (delivery, missing) in &round.named {
            tracing::error!(%delivery, missing = missing.name(), "a delivery waits, and nobody will look at it: this is a defect");
        }
        let last = LastRound { round, began, ended };
        self.last_said().round = Some(Arc::new(last));
    }

    /// The last round of the watchdog; none before its first.
    #[must_use]
    pub fn last_round(&self) -> Option<Arc<LastRound>> {
        self.last_said().round.clone()
    }

    /// Lanes with those who are parked there, and why: most first.
    pub fn lanes_waiting(&self, lanes: &[(Lane, Why, u64)]) {
        let mut series: BTreeMap<LaneSeries, u64> = BTreeMap::new();
        for (at, (lane, why, waiting)) in lanes.iter().enumerate() {
            let lane = self.labelled(lane);
            let labels = if at < LANE_SERIES_MAX {
                (lane.source.to_string(), lane.provider.to_string(), why.name())
            } else {
                ("other".to_owned(), "other".to_owned(), why.name())
            };
            *series.entry(labels).or_default() += waiting;
        }
        let gauge = |(source, provider, why): &LaneSeries| {
            let labels = [
                ("source", source.as_str()),
                ("provider", provider.as_str()),
                ("why", why),
            ];
            self.registry.gauge(names::LANE_WAITING, &labels)
        };
        let now: BTreeSet<LaneSeries> = series.keys().cloned().collect();
        let before = std::mem::replace(&mut self.last_said().lanes, now);
        let gone = before.iter().filter(|labels| !series.contains_key(labels));
        gone.for_each(|labels| gauge(labels).set(0.0));
        series
            .iter()
            .for_each(|(labels, waiting)| gauge(labels).set(number(*waiting)));
    }

    /// What a look at a Source came to. A change is an alarm, or the end of one.
    pub fn source_looked_at(&self, source: &SourceId, health: &SourceHealth, fitness: Fitness) {
        for check in Check::ALL {
            let labels = [("source", source.as_str()), ("check", check.name())];
            let healthy = if health.of(check).bad { 0.0 } else { 1.0 };
            self.registry.gauge(names::SOURCE_HEALTHY, &labels).set(healthy);
        }
        let told = (fitness, health.clone());
        let before = self.last_said().sources.insert(source.clone(), told);
        let before = before.map_or(Fitness::Healthy, |(fitness, _)| fitness);
        let problems = health.problems().join("; ");
        match fitness {
            _ if fitness == before => {}
            Fitness::Out => tracing::error!(%source, problems, "a source is taken out; its mail goes from others"),
            Fitness::Suspect => tracing::warn!(%source, problems, "something is wrong with a source"),
            Fitness::Healthy => tracing::info!(%source, "a source is healthy again"),
        }
    }

    /// What is known of the health of Sources.
    #[must_use]
    pub fn sources_looked_at(&self) -> BTreeMap<SourceId, (Fitness, SourceHealth)> {
        self.last_said().sources.clone()
    }

    fn last_said(&self) -> std::sync::MutexGuard<'_, LastSaid> {
        self.last_said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
