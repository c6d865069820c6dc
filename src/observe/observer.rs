//! One method for each happening: it counts, and logs where somebody must act.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use metrics::{Counter, Histogram};

use super::judged::{RELOADS, Reviews};
use super::lanes::LaneBoard;
use super::names;
use super::registry::Registry;
use super::reputation::Change;
use super::standings::LaneStandings;
use crate::domain::{
    Attempt, AttemptOutcome, Board, Class, Delivery, EventKind, Lane, NodeId, PhaseTimes, ProviderId, Settlement,
    SourceId, Stage, State, TenantId, Timestamp,
};
use crate::policy::redis_safety::Health;
use crate::policy::tenant_policy::Grade;
use crate::policy::warmup::WarmupView;
use crate::queue::{Depth, QueueError};

mod waits;

pub use waits::LastRound;
use waits::LastSaid;

/// Providers with a site of their own that get a label; the others share `other`.
const PROVIDER_LABELS_MAX: usize = 200;

/// How a Delivery can end but by a reply.
const ENDED_STATES: [State; 4] = [State::Expired, State::Suppressed, State::Cancelled, State::Unknown];
/// Why a dot may be withheld: the names of `actors::settler::Withheld`.
const WITHHELD_REASONS: [&str; 6] = ["stale", "expired", "suppressed", "unrecorded", "late", "warmup_cap"];
/// How a store can fail.
const STORE_ERROR_KINDS: [&str; 3] = ["full", "unavailable", "damaged"];

/// Where happenings are told. One for each engine.
#[derive(Debug)]
pub struct Observer {
    pub(super) registry: Registry,
    pub(super) lanes: LaneBoard,
    answered: DashMap<u16, Counter>,
    attempts: DashMap<(Lane, Class, &'static str), Counter>,
    delivered: DashMap<(Lane, Class), Counter>,
    accepted: [Counter; 3],
    delivery_seconds: [Histogram; 3],
    phase_seconds: PhaseHistograms,
    commit_seconds: Histogram,
    commit_batch: Histogram,
    api_seconds: Histogram,
    strangers: Mutex<HashSet<ProviderId>>,
    other: ProviderId,
    /// Warm-ups as they were told of last.
    pub(super) warmups: Mutex<Vec<WarmupView>>,
    pub(super) reviews: Reviews,
    standings: LaneStandings,
    last_said: Mutex<LastSaid>,
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
        let observer = Self {
            lanes: LaneBoard::default(),
            answered: DashMap::new(),
            attempts: DashMap::new(),
            delivered: DashMap::new(),
            accepted: by_class(names::ACCEPTED),
            delivery_seconds: Class::ALL
                .map(|class| registry.histogram(names::DELIVERY_TIME, &[("class", class.name())])),
            phase_seconds: PhaseHistograms::new(&registry),
            commit_seconds: registry.histogram(names::COMMIT_SECONDS, &[]),
            commit_batch: registry.histogram(names::COMMIT_BATCH, &[]),
            api_seconds: registry.histogram(names::API_SECONDS, &[]),
            strangers: Mutex::new(HashSet::new()),
            other: ProviderId::from("other"),
            warmups: Mutex::default(),
            reviews: Reviews::default(),
            standings: LaneStandings::default(),
            last_said: Mutex::default(),
            registry,
        };
        observer.begin_at_zero();
        observer
    }

    /// Counters that should stay at zero are shown from the start: a rate does not see a series that begins at one.
    fn begin_at_zero(&self) {
        for class in Class::ALL.map(Class::name) {
            self.count(names::AMBIGUOUS, &[("class", class)], 0);
            self.count(names::POSSIBLE_DUPLICATES, &[("class", class)], 0);
            for state in ENDED_STATES.map(State::name) {
                self.count(names::ENDED, &[("state", state), ("class", class)], 0);
            }
        }
        for kind in STORE_ERROR_KINDS {
            self.count(names::STORE_ERRORS, &[("kind", kind)], 0);
        }
        for result in RELOADS {
            self.count(names::CONFIG_RELOADS, &[("result", result)], 0);
        }
        for reason in WITHHELD_REASONS {
            self.count(names::WITHHELD, &[("reason", reason)], 0);
        }
    }

    /// Actors of this kind exist: their restarts count from zero.
    pub fn actor_started(&self, kind: &'static str) {
        self.count(names::ACTOR_RESTARTS, &[("kind", kind)], 0);
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
        self.answered
            .entry(status)
            .or_insert_with(|| {
                self.registry
                    .counter(names::API_REQUESTS, &[("status", &status.to_string())])
            })
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
            if outcome != "failed" {
                self.standings.took(lane, attempt.ended_at.since(attempt.started_at));
            }
            let lane = self.labelled(lane);
            self.attempts
                .entry((lane.clone(), class, outcome))
                .or_insert_with(|| {
                    let labels = [
                        ("provider", lane.provider.as_str()),
                        ("source", lane.source.as_str()),
                        ("class", class.name()),
                        ("outcome", outcome),
                    ];
                    self.registry.counter(names::ATTEMPTS, &labels)
                })
                .increment(1);
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
                    self.count(names::AMBIGUOUS, &[("class", class.name())], 1);
                    if *next == crate::domain::Why::ResendAmbiguous {
                        self.count(names::POSSIBLE_DUPLICATES, &[("class", class.name())], 1);
                    }
                }
                EventKind::Quarantined => {
                    tracing::error!(message = %delivery.id.message, "a Delivery broke us three times and is put aside")
                }
                EventKind::Accepted | EventKind::Scheduled { .. } => {}
            }
        }
    }

    /// Scores of the worst, by kind and key.
    pub fn reputation(&self, scores: &[(&'static str, String, f64)]) {
        for (kind, key, score) in scores {
            let labels = [("kind", *kind), ("key", key.as_str())];
            self.registry.gauge(names::REPUTATION, &labels).set(*score);
        }
    }

    /// A stream of a tenant is treated otherwise from now on.
    pub fn tenant_graded(&self, change: &Change) {
        let Change {
            tenant,
            stream,
            standing,
        } = change;
        let (stream, grade, reason) = (stream.name(), standing.grade.name(), standing.reason.as_str());
        match standing.grade {
            Grade::Paused => {
                tracing::error!(%tenant, stream, reason, "mail of a tenant is paused until somebody resumes it")
            }
            Grade::Slow | Grade::Free => {
                tracing::warn!(%tenant, stream, grade, reason, "mail of a tenant is treated otherwise")
            }
        }
        self.tenant_paused(*tenant, stream, standing.grade == Grade::Paused);
    }

    /// Whether a stream of a tenant is paused.
    pub fn tenant_paused(&self, tenant: TenantId, stream: &str, is_paused: bool) {
        let labels = [("tenant", &*tenant.to_string()), ("stream", stream)];
        self.registry
            .gauge(names::TENANT_PAUSED, &labels)
            .set(f64::from(u8::from(is_paused)));
    }

    /// A connection is being opened.
    pub fn connection_opening(&self, lane: &Lane) {
        self.connections(lane).increment(1.0);
    }

    /// Phases of a session ended after these times.
    pub fn phases(&self, times: &PhaseTimes) {
        let histograms = &self.phase_seconds;
        for (histogram, time) in [
            (&histograms.connect, times.connect),
            (&histograms.greeting, times.greeting),
            (&histograms.starttls, times.starttls),
            (&histograms.envelope, times.envelope),
            (&histograms.body, times.body),
            (&histograms.dot, times.dot),
        ] {
            if let Some(time) = time {
                histogram.record(time.as_secs_f64());
            }
        }
    }

    /// A connection did not get past EHLO.
    pub fn connection_failed(&self, lane: &Lane, stage: Stage) {
        let provider = self.provider_label(&lane.provider);
        let labels = [
            ("provider", provider.as_str()),
            ("source", lane.source.as_str()),
            ("stage", stage.name()),
        ];
        self.count(names::CONNECT_FAILURES, &labels, 1);
    }

    /// A connection, or the try of one, ended.
    pub fn connection_closed(&self, lane: &Lane) {
        self.connections(lane).decrement(1.0);
    }

    /// A lane takes no connections for a while.
    pub fn lane_shut(&self, lane: &Lane, until: Timestamp) {
        let provider = self.provider_label(&lane.provider);
        let labels = [("provider", provider.as_str()), ("source", lane.source.as_str())];
        self.count(names::LANES_SHUT, &labels, 1);
        tracing::warn!(source = %lane.source, provider = %lane.provider, %until, "lane shut");
    }

    /// A durable commit of `operations` took `time`.
    pub fn committed(&self, operations: usize, time: Duration) {
        self.commit_seconds.record(time.as_secs_f64());
        self.commit_batch.record(number(operations as u64));
    }

    /// The store refused an operation.
    pub fn store_error(&self, error: &QueueError) {
        let kind = match error {
            QueueError::Full => STORE_ERROR_KINDS[0],
            QueueError::Unavailable(_) => STORE_ERROR_KINDS[1],
            QueueError::Damaged(_) => STORE_ERROR_KINDS[2],
        };
        self.count(names::STORE_ERRORS, &[("kind", kind)], 1);
    }

    /// Redis was looked at.
    pub fn store_health(&self, health: &Health) {
        let set = |name, value| self.registry.gauge(name, &[]).set(value);
        let flag = |name, is_set: bool| set(name, if is_set { 1.0 } else { 0.0 });
        flag(names::REDIS_UP, health.is_reachable);
        flag(names::REDIS_EPOCH_LOST, health.is_epoch_lost);
        flag(names::REDIS_SHORT_OF_ROOM, health.is_short_of_room);
        flag(names::REDIS_NOT_PERSISTING, health.is_not_persisting);
        set(names::REDIS_MEMORY, number(health.memory_bytes));
        set(names::REDIS_MEMORY_MAX, number(health.memory_bytes_max));
        set(names::REDIS_RISKS, number(health.risks.len() as u64));
    }

    /// The mail of an entry of the intake stream was accepted, or had been before.
    pub fn entry_accepted(&self) {
        self.count(names::REDIS_INTAKE_ACCEPTED, &[], 1);
    }

    /// An entry of the intake stream became a dead letter.
    pub fn entry_refused(&self, reason: &'static str) {
        self.count(names::REDIS_INTAKE_REFUSED, &[("reason", reason)], 1);
    }

    /// So many entries wait, and there are so many dead letters.
    pub fn entries_waiting(&self, waiting: u64, dead: u64) {
        let set = |name, value| self.registry.gauge(name, &[]).set(number(value));
        set(names::REDIS_INTAKE_WAITING, waiting);
        set(names::REDIS_INTAKE_DEAD, dead);
    }

    /// The final dot of a message was withheld.
    pub fn withheld(&self, reason: &'static str) {
        self.count(names::WITHHELD, &[("reason", reason)], 1);
    }

    /// Sources changed hands.
    pub fn owners(&self, before: &Board, now: &Board) {
        let owner = |board: &Board, source: &SourceId| {
            let mut claims = board.claims.iter();
            claims
                .find(|claim| claim.source == *source)
                .map(|claim| claim.node.clone())
        };
        let gauge = |source: &SourceId, node: &NodeId, value: f64| {
            let labels = [("source", source.as_str()), ("node", node.as_str())];
            self.registry.gauge(names::SOURCE_OWNER, &labels).set(value);
        };
        for claim in &before.claims {
            if owner(now, &claim.source).as_ref() != Some(&claim.node) {
                gauge(&claim.source, &claim.node, 0.0);
                tracing::info!(source = %claim.source, node = %claim.node, "a source has left its node");
            }
        }
        for claim in &now.claims {
            if owner(before, &claim.source).as_ref() != Some(&claim.node) {
                gauge(&claim.source, &claim.node, 1.0);
                tracing::info!(source = %claim.source, node = %claim.node, fence = claim.fence.0, "a source has a node");
            }
        }
    }

    /// So many nodes are there.
    pub fn nodes(&self, count: usize) {
        self.registry
            .gauge(names::NODES, &[])
            .set(number(u64::try_from(count).unwrap_or(u64::MAX)));
    }

    /// An actor panicked and is restarted.
    pub fn actor_panicked(&self, kind: &'static str) {
        self.count(names::ACTOR_RESTARTS, &[("kind", kind)], 1);
        tracing::error!(kind, "an actor panicked; restarting it");
    }

    /// How much waits.
    pub fn depth(&self, depth: &Depth, now: Timestamp) {
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

    pub(super) fn count(&self, name: &'static str, labels: &[(&'static str, &str)], more: u64) {
        self.registry.counter(name, labels).increment(more);
    }

    fn count_delivered(&self, delivery: &Delivery, at: Timestamp, lane: Option<&Lane>) {
        self.delivery_seconds[delivery.class.index()].record(at.since(delivery.created_at).as_secs_f64());
        let Some(lane) = lane else { return };
        let lane = self.labelled(lane);
        self.delivered
            .entry((lane.clone(), delivery.class))
            .or_insert_with(|| {
                let labels = [
                    ("provider", lane.provider.as_str()),
                    ("source", lane.source.as_str()),
                    ("class", delivery.class.name()),
                ];
                self.registry.counter(names::DELIVERED, &labels)
            })
            .increment(1);
    }

    fn count_reason(&self, name: &'static str, lane: Option<&Lane>, class: Class, reason: &'static str) {
        let provider = lane.map(|lane| self.provider_label(&lane.provider));
        let provider = provider.as_ref().map_or("none", ProviderId::as_str);
        let labels = [("provider", provider), ("class", class.name()), ("reason", reason)];
        self.count(name, &labels, 1);
    }

    fn count_ended(&self, state: State, class: Class) {
        self.count(names::ENDED, &[("state", state.name()), ("class", class.name())], 1);
    }

    fn connections(&self, lane: &Lane) -> metrics::Gauge {
        let provider = self.provider_label(&lane.provider);
        self.registry.gauge(
            names::OPEN_CONNECTIONS,
            &[("provider", provider.as_str()), ("source", lane.source.as_str())],
        )
    }

    /// The lane as labels name it.
    fn labelled(&self, lane: &Lane) -> Lane {
        Lane {
            source: lane.source.clone(),
            provider: self.provider_label(&lane.provider),
        }
    }

    /// Providers of the rules and routes keep their names; of the sites of strangers only the first ones do.
    pub(super) fn provider_label(&self, provider: &ProviderId) -> ProviderId {
        if !provider.as_str().starts_with("site:") {
            return provider.clone();
        }
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.contains(provider) || (strangers.len() < PROVIDER_LABELS_MAX && strangers.insert(provider.clone()))
        {
            return provider.clone();
        }
        self.other.clone()
    }
}

/// One for each phase of SMTP.
#[derive(Debug)]
struct PhaseHistograms {
    connect: Histogram,
    greeting: Histogram,
    starttls: Histogram,
    envelope: Histogram,
    body: Histogram,
    dot: Histogram,
}

impl PhaseHistograms {
    fn new(registry: &Registry) -> Self {
        let of = |phase| registry.histogram(names::SMTP_PHASE, &[("phase", phase)]);
        Self {
            connect: of("connect"),
            greeting: of("greeting"),
            starttls: of("starttls"),
            envelope: of("envelope"),
            body: of("body"),
            dot: of("dot"),
        }
    }
}

/// A count as metrics carry it: exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "nobody reads the last digit of more than 2^53"
)]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
