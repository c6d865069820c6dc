//! How every lane of this engine stands: the board that ISP actors write and API, metrics and commands read.
//!
//! Takes a view of a lane whenever it changes; gives the latest ones, and gauges. Knows the lanes of this node only. Bounded:
//! so many lanes on the board, and fewer as labels of metrics; lanes beyond the latter are left out of the metrics.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;

use super::names;
use super::observer::Observer;
use crate::domain::{Lane, ProviderId, Timestamp};
use crate::policy::controller::Decision;
use crate::policy::lane_gate::{LaneStanding, Live};
use crate::policy::pin_trial::TrialView;
use crate::policy::pins::LaneRange;

/// Lanes on the board at most; a new one beyond it is not shown.
const LANES_MAX: usize = 20_000;
/// Lanes that metrics name at most.
pub(super) const LANE_LABELS_MAX: usize = 1_000;

/// Domains that stand still, as shown, at most.
const HELD_DOMAINS_MAX: usize = 10_000;

/// How a lane stands.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneView {
    /// In one word.
    pub standing: LaneStanding,
    /// Until when, where that is known.
    pub until: Option<Timestamp>,
    /// Connections that there are.
    pub live: Live,
    /// Deliveries in its room, which wait for a session.
    pub waiting: usize,
    /// What rules, config and pins allow.
    pub range: LaneRange,
    /// Connections that it would use now.
    pub connections: u32,
    /// The highest number of connections that was allowed while more was refused.
    pub ceiling: Option<u32>,
    /// Messages a second that it may send now; none: no limit is known.
    pub rate: Option<f64>,
    /// Messages that one connection carries.
    pub messages_per_connection: u32,
    /// What pins on trial would do, if there are any.
    pub trial: Option<TrialView>,
    /// Decisions so far.
    pub decided: u64,
    /// Moves with each decision, and with each step of a growth.
    pub changes: u64,
    /// The latest decisions, oldest first.
    pub decisions: Arc<[Decision]>,
}

/// All lanes.
#[derive(Debug, Default)]
pub(super) struct LaneBoard {
    views: DashMap<Lane, Arc<LaneView>>,
    labelled: Mutex<HashSet<Lane>>,
    held_domains: DashMap<(ProviderId, Arc<str>), Timestamp>,
}

impl Observer {
    /// A lane stands so.
    pub fn lane(&self, lane: &Lane, view: LaneView) {
        let views = &self.lanes.views;
        if views.len() >= LANES_MAX && !views.contains_key(lane) {
            return;
        }
        let view = Arc::new(view);
        let before = views.insert(lane.clone(), Arc::clone(&view));
        if self.is_labelled(lane) {
            self.lane_gauges(lane, before.as_deref(), &view);
            self.lane_decisions(lane, before.as_deref(), &view);
        }
    }

    /// A lane is not there any more.
    pub fn lane_gone(&self, lane: &Lane) {
        if self.lanes.views.remove(lane).is_none() || !self.is_labelled(lane) {
            return;
        }
        let labels = [("source", lane.source.as_str()), ("provider", lane.provider.as_str())];
        self.registry.gauge(names::LANE_CONNECTIONS_LIMIT, &labels).set(0.0);
        for standing in LaneStanding::ALL {
            self.lane_state(lane, standing, false);
        }
    }

    /// How all lanes stand, in order.
    #[must_use]
    pub fn lanes(&self) -> BTreeMap<Lane, Arc<LaneView>> {
        let entries = self.lanes.views.iter();
        entries
            .map(|entry| (entry.key().clone(), Arc::clone(entry.value())))
            .collect()
    }

    /// How a lane stands, if it is there.
    #[must_use]
    pub fn lane_view(&self, lane: &Lane) -> Option<Arc<LaneView>> {
        self.lanes.views.get(lane).map(|view| Arc::clone(&view))
    }

    /// A provider blames a sending domain: its mail there stands still until then.
    pub fn domain_held(&self, provider: &ProviderId, domain: &Arc<str>, until: Timestamp, now: Timestamp) {
        let held = &self.lanes.held_domains;
        if held.len() >= HELD_DOMAINS_MAX {
            held.retain(|_, until| *until > now);
        }
        if held.len() < HELD_DOMAINS_MAX {
            held.insert((provider.clone(), Arc::clone(domain)), until);
        }
    }

    /// Sending domains that stand still at `now`, by provider, and until when.
    #[must_use]
    pub fn held_domains(&self, now: Timestamp) -> BTreeMap<(ProviderId, Arc<str>), Timestamp> {
        let held = self.lanes.held_domains.iter().filter(|entry| *entry.value() > now);
        held.map(|entry| (entry.key().clone(), *entry.value())).collect()
    }

    fn lane_gauges(&self, lane: &Lane, before: Option<&LaneView>, view: &LaneView) {
        let labels = [("source", lane.source.as_str()), ("provider", lane.provider.as_str())];
        let set = |name, value: f64| self.registry.gauge(name, &labels).set(value);
        set(names::LANE_CONNECTIONS_LIMIT, f64::from(view.connections));
        set(names::LANE_PIN_CONNECTIONS, f64::from(view.range.connections.1));
        // A series that was never known does not begin; one that is no more known is not a number.
        let known = |name, now: Option<f64>, was: bool| {
            if now.is_some() || was {
                set(name, now.unwrap_or(f64::NAN));
            }
        };
        let was = |of: fn(&LaneView) -> bool| before.is_some_and(of);
        let ceiling = view.ceiling.map(f64::from);
        known(
            names::LANE_CONNECTIONS_CEILING,
            ceiling,
            was(|view| view.ceiling.is_some()),
        );
        known(names::LANE_RATE_LIMIT, view.rate, was(|view| view.rate.is_some()));
        for standing in LaneStanding::ALL {
            self.lane_state(lane, standing, standing == view.standing);
        }
    }

    fn lane_state(&self, lane: &Lane, standing: LaneStanding, is: bool) {
        let labels = [
            ("source", lane.source.as_str()),
            ("provider", lane.provider.as_str()),
            ("state", standing.name()),
        ];
        let value = if is { 1.0 } else { 0.0 };
        self.registry.gauge(names::LANE_STATE, &labels).set(value);
    }

    fn lane_decisions(&self, lane: &Lane, before: Option<&LaneView>, view: &LaneView) {
        // A lane that began anew counts from the beginning.
        let known = before.map_or(0, |before| before.decided);
        let known = if known > view.decided { 0 } else { known };
        for decision in view.decisions.iter().filter(|decision| decision.number > known) {
            let labels = [
                ("source", lane.source.as_str()),
                ("provider", lane.provider.as_str()),
                ("what", decision.what.name()),
                ("signal", decision.signal.name()),
            ];
            self.registry.counter(names::LANE_DECISIONS, &labels).increment(1);
        }
    }

    fn is_labelled(&self, lane: &Lane) -> bool {
        let mut labelled = self.lanes.labelled.lock().unwrap_or_else(PoisonError::into_inner);
        labelled.contains(lane) || (labelled.len() < LANE_LABELS_MAX && labelled.insert(lane.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{LaneLimits, SourceId};
    use crate::policy::controller::{Decided, Signal};

    fn lane(number: usize) -> Lane {
        Lane {
            source: SourceId::from("ip1"),
            provider: ProviderId::from(format!("p{number}").as_str()),
        }
    }

    fn view(decided: u64) -> LaneView {
        let decision = |number| Decision {
            number,
            at: Timestamp(1),
            what: Decided::Rate,
            signal: Signal::TooFast,
            from: f64::INFINITY,
            to: 4.5,
            evidence: None,
        };
        LaneView {
            standing: LaneStanding::Slow,
            until: None,
            live: Live::default(),
            waiting: 0,
            range: LaneRange::from(LaneLimits::default()),
            connections: 7,
            ceiling: None,
            rate: Some(4.5),
            messages_per_connection: 100,
            trial: None,
            decided,
            changes: decided,
            decisions: (1..=decided).map(decision).collect(),
        }
    }

    #[test]
    fn a_lane_is_shown_and_each_decision_is_counted_once() {
        let observer = Observer::new();
        observer.lane(&lane(1), view(2));
        observer.lane(&lane(1), view(3));
        observer.lane(&lane(1), view(3));
        let text = observer.render();
        for line in [
            "posthaste_lane_connections_limit{source=\"ip1\",provider=\"p1\"} 7",
            "posthaste_lane_rate_limit{source=\"ip1\",provider=\"p1\"} 4.5",
            "posthaste_lane_state{source=\"ip1\",provider=\"p1\",state=\"slow\"} 1",
            "posthaste_lane_state{source=\"ip1\",provider=\"p1\",state=\"open\"} 0",
            "posthaste_lane_decisions_total{source=\"ip1\",provider=\"p1\",what=\"rate\",signal=\"too_fast\"} 3",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("lane_connections_ceiling{"), "no ceiling is known");
        observer.lane_gone(&lane(1));
        assert!(observer.lanes().is_empty());
        assert!(observer.render().contains("state=\"slow\"} 0"));
    }

    #[test]
    fn a_domain_is_shown_while_it_stands_still() {
        let (observer, domain) = (Observer::new(), Arc::from("acme.test"));
        observer.domain_held(&ProviderId::from("google"), &domain, Timestamp(9), Timestamp(1));
        assert_eq!(observer.held_domains(Timestamp(8)).len(), 1);
        assert!(observer.held_domains(Timestamp(9)).is_empty());
    }

    #[test]
    fn metrics_name_a_bounded_number_of_lanes() {
        let observer = Observer::new();
        (0..LANE_LABELS_MAX + 5).for_each(|number| observer.lane(&lane(number), view(0)));
        assert_eq!(observer.lanes().len(), LANE_LABELS_MAX + 5);
        let series = observer.render();
        let limits = series
            .lines()
            .filter(|line| line.starts_with("posthaste_lane_connections_limit{"));
        assert_eq!(limits.count(), LANE_LABELS_MAX);
    }
}
