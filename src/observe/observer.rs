//! One method for each happening: it counts, and logs where somebody must act.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use metrics::{Counter, Histogram};

use super::names;
use super::registry::Registry;
use crate::domain::{
    Attempt, AttemptOutcome, Class, Delivery, EventKind, Lane, ProviderId, Settlement, Stage, State, Timestamp,
};
use crate::queue::{Depth, QueueError};

/// Providers with a site of their own that get a label; the others share `other`.
const PROVIDER_LABELS_MAX: usize = 200;

/// Where happenings are told. One for each engine.
#[derive(Debug)]
pub struct Observer {
    registry: Registry,
    attempts: DashMap<(Lane, Class, &'static str), Counter>,
    delivered: DashMap<(Lane, Class), Counter>,
    accepted: [Counter; 3],
    delivery_seconds: [Histogram; 3],
    open_seconds: Histogram,
    transaction_seconds: Histogram,
    commit_seconds: Histogram,
    commit_batch: Histogram,
    api_seconds: Histogram,
    labelled: Mutex<HashSet<ProviderId>>,
}

impl Default for Observer {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer {
    /// An observer that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let by_class = |name| Class::ALL.map(|class| registry.counter(name, &[("class", class.name())]));
        Self {
            attempts: DashMap::new(),
            delivered: DashMap::new(),
            accepted: by_class(names::ACCEPTED),
            delivery_seconds: Class::ALL
                .map(|class| registry.histogram(names::DELIVERY_TIME, &[("class", class.name())])),
            open_seconds: registry.histogram(names::SMTP_PHASE, &[("phase", "open")]),
            transaction_seconds: registry.histogram(names::SMTP_PHASE, &[("phase", "transaction")]),
            commit_seconds: registry.histogram(names::COMMIT_SECONDS, &[]),
            commit_batch: registry.histogram(names::COMMIT_BATCH, &[]),
            api_seconds: registry.histogram(names::API_SECONDS, &[]),
            labelled: Mutex::new(HashSet::new()),
            registry,
        }
    }

    /// All metrics in Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.registry.render()
    }

    /// Folds buffered samples; to be called every few seconds.
    pub fn upkeep(&self) {
        self.registry.upkeep();
    }

    /// Deliveries were accepted.
    pub fn accepted(&self, class: Class, deliveries: u64) {
        self.accepted[class.index()].increment(deliveries);
    }

    /// A call was answered.
    pub fn api_answered(&self, status: u16) {
        self.registry
            .counter(names::API_REQUESTS, &[("status", &status.to_string())])
            .increment(1);
    }

    /// A sending call took this long.
    pub fn api_took(&self, time: Duration) {
        self.api_seconds.record(time.as_secs_f64());
    }

    /// An attempt ended.
    pub fn attempted(&self, attempt: &Attempt, class: Class) {
        let outcome = match attempt.outcome {
            AttemptOutcome::Accepted(_) => "accepted",
            AttemptOutcome::Refused(_) => "refused",
            AttemptOutcome::Failed(_) => "failed",
        };
        if let Some(lane) = &attempt.lane {
            let key = (lane.clone(), class, outcome);
            self.attempts
                .entry(key)
                .or_insert_with(|| {
                    let provider = self.provider_label(&lane.provider);
                    let labels = [
                        ("provider", &*provider),
                        ("source", lane.source.as_str()),
                        ("class", class.name()),
                        ("outcome", outcome),
                    ];
                    self.registry.counter(names::ATTEMPTS, &labels)
                })
                .increment(1);
        }
        if attempt.stage >= Stage::MailFrom {
            self.transaction_seconds
                .record(attempt.ended_at.since(attempt.started_at).as_secs_f64());
        }
    }

    /// A Settlement is durable.
    pub fn settled(&self, delivery: &Delivery, settlement: &Settlement, lane: Option<&Lane>) {
        let class = delivery.class;
        for event in &settlement.events {
            match event {
                EventKind::Delivered { .. } => self.count_delivered(delivery, settlement.at, lane),
                EventKind::Deferred { why, .. } => self.count_reason(names::DEFERRED, lane, class, why.name()),
                EventKind::Bounced { class: reason, .. } => {
                    self.count_reason(names::BOUNCED, lane, class, reason.name())
                }
                EventKind::Expired { .. } => self.count_ended(State::Expired, class),
                EventKind::Suppressed => self.count_ended(State::Suppressed, class),
                EventKind::Cancelled => self.count_ended(State::Cancelled, class),
                EventKind::Unknown => self.count_ended(State::Unknown, class),
                EventKind::Ambiguous { next, .. } => {
                    self.registry
                        .counter(names::AMBIGUOUS, &[("class", class.name())])
                        .increment(1);
                    if *next == crate::domain::Why::ResendAmbiguous {
                        self.registry
                            .counter(names::POSSIBLE_DUPLICATES, &[("class", class.name())])
                            .increment(1);
                    }
                }
                EventKind::Quarantined => {
                    tracing::error!(message = %delivery.id.message, "a Delivery broke us three times and is put aside")
                }
                EventKind::Accepted | EventKind::Scheduled { .. } => {}
            }
        }
    }

    /// A connection is being opened.
    pub fn connection_opening(&self, lane: &Lane) {
        self.connections(lane).increment(1.0);
    }

    /// A connection is up after this long.
    pub fn connection_opened(&self, took: Duration) {
        self.open_seconds.record(took.as_secs_f64());
    }

    /// A connection did not get past EHLO.
    pub fn connection_failed(&self, lane: &Lane, stage: Stage) {
        let provider = self.provider_label(&lane.provider);
        let labels = [
            ("provider", &*provider),
            ("source", lane.source.as_str()),
            ("stage", stage.name()),
        ];
        self.registry.counter(names::CONNECT_FAILURES, &labels).increment(1);
    }

    /// A connection, or the try of one, ended.
    pub fn connection_closed(&self, lane: &Lane) {
        self.connections(lane).decrement(1.0);
    }

    /// A lane takes no connections for a while.
    pub fn lane_shut(&self, lane: &Lane, until: Timestamp) {
        let provider = self.provider_label(&lane.provider);
        self.registry
            .counter(
                names::LANES_SHUT,
                &[("provider", &*provider), ("source", lane.source.as_str())],
            )
            .increment(1);
        tracing::warn!(source = %lane.source, provider = %lane.provider, %until, "lane shut");
    }

    /// A durable commit of `operations` took `time`.
    pub fn committed(&self, operations: usize, time: Duration) {
        self.commit_seconds.record(time.as_secs_f64());
        self.commit_batch
            .record(f64::from(u32::try_from(operations).unwrap_or(u32::MAX)));
    }

    /// The store refused an operation.
    pub fn store_error(&self, error: &QueueError) {
        let kind = match error {
            QueueError::Full => "full",
            QueueError::Unavailable(_) => "unavailable",
            QueueError::Damaged(_) => "damaged",
        };
        self.registry
            .counter(names::STORE_ERRORS, &[("kind", kind)])
            .increment(1);
    }

    /// An actor panicked and is restarted.
    pub fn actor_panicked(&self, kind: &'static str) {
        self.registry
            .counter(names::ACTOR_RESTARTS, &[("kind", kind)])
            .increment(1);
        tracing::error!(kind, "an actor panicked; restarting it");
    }

    /// How much waits.
    pub fn depth(&self, depth: &Depth, now: Timestamp) {
        let number = |value: u64| f64::from(u32::try_from(value).unwrap_or(u32::MAX));
        for (state, count) in State::ALL.iter().zip(depth.by_state) {
            self.registry
                .gauge(names::STATES, &[("state", state.name())])
                .set(number(count));
        }
        for (class, count) in Class::ALL.iter().zip(depth.waiting_by_class) {
            self.registry
                .gauge(names::QUEUE_DEPTH, &[("class", class.name())])
                .set(number(count));
        }
        self.registry.gauge(names::LEASED, &[]).set(number(depth.leased));
        self.registry.gauge(names::PARKED, &[]).set(number(depth.parked));
        let age = depth.oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
        self.registry.gauge(names::QUEUE_AGE, &[]).set(age);
    }

    fn count_delivered(&self, delivery: &Delivery, at: Timestamp, lane: Option<&Lane>) {
        self.delivery_seconds[delivery.class.index()].record(at.since(delivery.created_at).as_secs_f64());
        let Some(lane) = lane else { return };
        self.delivered
            .entry((lane.clone(), delivery.class))
            .or_insert_with(|| {
                let provider = self.provider_label(&lane.provider);
                let labels = [
                    ("provider", &*provider),
                    ("source", lane.source.as_str()),
                    ("class", delivery.class.name()),
                ];
                self.registry.counter(names::DELIVERED, &labels)
            })
            .increment(1);
    }

    fn count_reason(&self, name: &'static str, lane: Option<&Lane>, class: Class, reason: &'static str) {
        let provider = lane.map_or_else(|| Arc::from("none"), |lane| self.provider_label(&lane.provider));
        let labels = [("provider", &*provider), ("class", class.name()), ("reason", reason)];
        self.registry.counter(name, &labels).increment(1);
    }

    fn count_ended(&self, state: State, class: Class) {
        self.registry
            .counter(names::ENDED, &[("state", state.name()), ("class", class.name())])
            .increment(1);
    }

    fn connections(&self, lane: &Lane) -> metrics::Gauge {
        let provider = self.provider_label(&lane.provider);
        self.registry.gauge(
            names::OPEN_CONNECTIONS,
            &[("provider", &*provider), ("source", lane.source.as_str())],
        )
    }

    /// Providers of the rules and routes keep their names; of the sites of strangers only the first ones do.
    fn provider_label(&self, provider: &ProviderId) -> Arc<str> {
        if !provider.as_str().starts_with("site:") {
            return Arc::from(provider.as_str());
        }
        let mut labelled = self.labelled.lock().unwrap_or_else(PoisonError::into_inner);
        if labelled.contains(provider) || (labelled.len() < PROVIDER_LABELS_MAX && labelled.insert(provider.clone())) {
            return Arc::from(provider.as_str());
        }
        Arc::from("other")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SourceId;

    #[test]
    fn strangers_cannot_grow_the_number_of_labels() {
        let observer = Observer::new();
        for site in 0..1_000 {
            let lane = Lane {
                source: SourceId::from("a"),
                provider: ProviderId::from(&*format!("site:mx{site}.example")),
            };
            observer.connection_failed(&lane, Stage::Connect);
        }
        let series = observer
            .render()
            .lines()
            .filter(|line| line.starts_with("posthaste_connect_failures_total{"))
            .count();
        assert_eq!(series, PROVIDER_LABELS_MAX + 1);
        assert!(observer.render().contains(r#"provider="other""#));
    }

    #[test]
    fn every_metric_is_described_once_it_has_a_value() {
        let observer = Observer::new();
        observer.accepted(Class::Critical, 3);
        let text = observer.render();
        assert!(
            text.contains("# HELP posthaste_accepted_total Deliveries that were accepted"),
            "{text}"
        );
        assert!(
            text.contains(r#"posthaste_accepted_total{class="critical"} 3"#),
            "{text}"
        );
    }
}
