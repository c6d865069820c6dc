//! All metrics: name, kind, labels and help.

/// What kind of series a metric is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution, with these bucket bounds.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Prometheus name.
    pub name: &'static str,
    /// Kind.
    pub kind: MetricKind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// One sentence for people.
    pub help: &'static str,
}

/// Seconds from a code in flight to a newsletter in its third day.
const DELIVERY_SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 14_400.0, 86_400.0,
];
/// Seconds of one step: a commit, a reply, a call.
const STEP_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0,
];
/// Operations in one commit.
const BATCH: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0];

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric {
        name,
        kind: MetricKind::Counter,
        labels,
        help,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric {
        name,
        kind: MetricKind::Gauge,
        labels,
        help,
    }
}

const fn histogram(
    name: &'static str,
    bounds: &'static [f64],
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind: MetricKind::Histogram(bounds),
        labels,
        help,
    }
}

/// Deliveries accepted.
pub(super) const ACCEPTED: &str = "posthaste_accepted_total";
/// Attempts.
pub(super) const ATTEMPTS: &str = "posthaste_attempts_total";
/// Delivered.
pub(super) const DELIVERED: &str = "posthaste_delivered_total";
/// Deferred.
pub(super) const DEFERRED: &str = "posthaste_deferred_total";
/// Bounced.
pub(super) const BOUNCED: &str = "posthaste_bounced_total";
/// Other final states.
pub(super) const ENDED: &str = "posthaste_ended_total";
/// Ambiguous.
pub(super) const AMBIGUOUS: &str = "posthaste_ambiguous_total";
/// Possible duplicates.
pub(super) const POSSIBLE_DUPLICATES: &str = "posthaste_possible_duplicates_total";
/// Signals of replies.
pub(super) const SIGNALS: &str = "posthaste_lane_signals_total";
/// Replies that no rule knows.
pub(super) const UNCLASSIFIED: &str = "posthaste_unclassified_total";
/// Shadow rules.
pub(super) const RULES_SHADOW: &str = "posthaste_rules_shadow_total";
/// Reloads.
pub(super) const CONFIG_RELOADS: &str = "posthaste_config_reloads_total";
/// Accept to delivered.
pub(super) const DELIVERY_TIME: &str = "posthaste_delivery_seconds";
/// Stages of SMTP.
pub(super) const SMTP_PHASE: &str = "posthaste_smtp_phase_seconds";
/// Connections.
pub(super) const OPEN_CONNECTIONS: &str = "posthaste_open_connections";
/// Failed connections.
pub(super) const CONNECT_FAILURES: &str = "posthaste_connect_failures_total";
/// Lanes shut.
pub(super) const LANES_SHUT: &str = "posthaste_lanes_shut_total";
/// Depth.
pub(super) const QUEUE_DEPTH: &str = "posthaste_queue_depth";
/// By state.
pub(super) const STATES: &str = "posthaste_deliveries";
/// Age.
pub(super) const QUEUE_AGE: &str = "posthaste_queue_oldest_seconds";
/// Leased.
pub(super) const LEASED: &str = "posthaste_queue_leased";
/// Parked.
pub(super) const PARKED: &str = "posthaste_queue_parked";
/// Commits.
pub(super) const COMMIT_SECONDS: &str = "posthaste_commit_seconds";
/// Commit batches.
pub(super) const COMMIT_BATCH: &str = "posthaste_commit_operations";
/// Store errors.
pub(super) const STORE_ERRORS: &str = "posthaste_store_errors_total";
/// Redis answers.
pub(super) const REDIS_UP: &str = "posthaste_redis_up";
/// The store in Redis is gone.
pub(super) const REDIS_EPOCH_LOST: &str = "posthaste_redis_epoch_lost";
/// Memory of Redis.
pub(super) const REDIS_MEMORY: &str = "posthaste_redis_memory_bytes";
/// Its limit.
pub(super) const REDIS_MEMORY_MAX: &str = "posthaste_redis_memory_limit_bytes";
/// No more is accepted.
pub(super) const REDIS_SHORT_OF_ROOM: &str = "posthaste_redis_short_of_room";
/// Redis cannot write.
pub(super) const REDIS_NOT_PERSISTING: &str = "posthaste_redis_not_persisting";
/// Settings that lose mail.
pub(super) const REDIS_RISKS: &str = "posthaste_redis_risks";
/// Entries of the intake.
pub(super) const REDIS_INTAKE_ACCEPTED: &str = "posthaste_redis_intake_accepted_total";
/// Entries that could not be taken.
pub(super) const REDIS_INTAKE_REFUSED: &str = "posthaste_redis_intake_refused_total";
/// Entries without a decision.
pub(super) const REDIS_INTAKE_WAITING: &str = "posthaste_redis_intake_waiting";
/// Dead letters.
pub(super) const REDIS_INTAKE_DEAD: &str = "posthaste_redis_intake_dead_letters";
/// Cap of a warm-up.
pub(super) const WARMUP_CAP: &str = "posthaste_warmup_cap";
/// What of it is used.
pub(super) const WARMUP_USED: &str = "posthaste_warmup_used";
/// Day of a warm-up.
pub(super) const WARMUP_DAY: &str = "posthaste_warmup_day";
/// Restarts.
pub(super) const ACTOR_RESTARTS: &str = "posthaste_actor_restarts_total";
/// API calls.
pub(super) const API_REQUESTS: &str = "posthaste_api_requests_total";
/// API time.
pub(super) const API_SECONDS: &str = "posthaste_api_request_seconds";

/// Who waits for which lane.
pub(super) const LANE_WAITING: &str = "posthaste_lane_waiting";
/// Who waits for nothing.
pub(super) const WITHOUT_REASON: &str = "posthaste_deliveries_without_reason";
/// Fit to send from.
pub(super) const SOURCE_HEALTHY: &str = "posthaste_source_healthy";

/// Withheld dots.
pub(super) const WITHHELD: &str = "posthaste_withheld_total";
/// Owners.
pub(super) const SOURCE_OWNER: &str = "posthaste_source_owner";
/// Reputation.
pub(super) const REPUTATION: &str = "posthaste_reputation_score";
/// Paused streams.
pub(super) const TENANT_PAUSED: &str = "posthaste_tenant_paused";
/// Nodes.
pub(super) const NODES: &str = "posthaste_nodes";
/// Connections of a lane.
pub(super) const LANE_CONNECTIONS_LIMIT: &str = "posthaste_lane_connections_limit";
/// Their ceiling.
pub(super) const LANE_CONNECTIONS_CEILING: &str = "posthaste_lane_connections_ceiling";
/// Its rate.
pub(super) const LANE_RATE_LIMIT: &str = "posthaste_lane_rate_limit";
/// Its pin.
pub(super) const LANE_PIN_CONNECTIONS: &str = "posthaste_lane_pin_connections";
/// How it stands.
pub(super) const LANE_STATE: &str = "posthaste_lane_state";
/// What was decided.
pub(super) const LANE_DECISIONS: &str = "posthaste_lane_decisions_total";

/// Every metric that Posthaste exposes.
pub const METRICS: &[Metric] = &[
    counter(
        ACCEPTED,
        &["class"],
        "Deliveries that were accepted: on stable storage, 202 sent or about to be.",
    ),
    counter(
        ATTEMPTS,
        &["provider", "source", "class", "outcome"],
        "Attempts that ended, by outcome: accepted, refused or failed.",
    ),
    counter(
        DELIVERED,
        &["provider", "source", "class"],
        "Deliveries that a provider took responsibility for.",
    ),
    counter(
        DEFERRED,
        &["provider", "class", "reason"],
        "Times that a Delivery was put off, by bounce class of the reason.",
    ),
    counter(
        BOUNCED,
        &["provider", "class", "reason"],
        "Deliveries that were refused for good, by bounce class.",
    ),
    counter(
        ENDED,
        &["state", "class"],
        "Deliveries that ended otherwise: expired, suppressed, cancelled or unknown.",
    ),
    counter(
        AMBIGUOUS,
        &["class"],
        "Attempts that ended between the final dot and our record of the reply.",
    ),
    counter(
        POSSIBLE_DUPLICATES,
        &["class"],
        "Ambiguous attempts after which a second copy was sent.",
    ),
    histogram(
        DELIVERY_TIME,
        DELIVERY_SECONDS,
        &["class"],
        "Seconds from accept to delivered.",
    ),
    histogram(
        SMTP_PHASE,
        STEP_SECONDS,
        &["phase"],
        "Seconds of an SMTP phase: connect, greeting (to EHLO and AUTH), starttls (the handshake), envelope (MAIL to the \
         reply to DATA), body (to the final dot, recording the INTENT included) or dot (to the reply to it).",
    ),
    counter(
        SIGNALS,
        &["provider", "blame", "class"],
        "Answers and failures that were no delivery, by whose doing they are (blame) and what kind (class).",
    ),
    counter(
        UNCLASSIFIED,
        &["provider"],
        "Replies that only a fallback rule matched: no rule knows them; `posthaste unclassified` lists them.",
    ),
    counter(
        RULES_SHADOW,
        &["rule"],
        "Replies that a shadow rule would have judged; /v1/admin/rules/shadow says how.",
    ),
    counter(
        CONFIG_RELOADS,
        &["result"],
        "Times that config and rules were read again: ok, or refused because something in them is wrong.",
    ),
    gauge(
        OPEN_CONNECTIONS,
        &["provider", "source"],
        "SMTP connections that are up or being opened.",
    ),
    counter(
        CONNECT_FAILURES,
        &["provider", "source", "stage"],
        "Connections that did not get past EHLO, by the stage they reached.",
    ),
    counter(
        LANES_SHUT,
        &["provider", "source"],
        "Times that a lane was shut by its breaker.",
    ),
    gauge(
        QUEUE_DEPTH,
        &["class"],
        "Deliveries that wait, parked and leased ones included.",
    ),
    gauge(
        STATES,
        &["state"],
        "Deliveries by state; final states are counted since the store was made.",
    ),
    gauge(QUEUE_AGE, &[], "Seconds since the oldest waiting Message was accepted."),
    gauge(LEASED, &[], "Deliveries under a lease: in memory, on their way."),
    gauge(PARKED, &[], "Deliveries parked under a lane that has no room."),
    histogram(
        COMMIT_SECONDS,
        STEP_SECONDS,
        &[],
        "Seconds of a durable commit, fsync included.",
    ),
    histogram(COMMIT_BATCH, BATCH, &[], "Operations that shared one commit."),
    gauge(
        LANE_WAITING,
        &["source", "provider", "why"],
        "Deliveries that are parked under a lane, by what holds it back now. Of more than 1,000 lanes the smaller ones are \
         summed as other.",
    ),
    gauge(
        WITHOUT_REASON,
        &[],
        "Deliveries that waited without a reason, or without a time at which they are looked at again, in the last round of the \
         watchdog. Each is a defect.",
    ),
    gauge(
        SOURCE_HEALTHY,
        &["source", "check"],
        "1 while a check of a Source is good, else 0: bind (its address is on this machine), ehlo, pointer (its names lead to the \
         address and back) or dnsbl (it is on no list).",
    ),
    counter(
        WITHHELD,
        &["reason"],
        "Messages whose final dot was withheld: stale, late, expired, suppressed or unrecorded.",
    ),
    gauge(
        SOURCE_OWNER,
        &["source", "node"],
        "1 for the node that a Source belongs to, as this node sees it.",
    ),
    gauge(
        NODES,
        &[],
        "Nodes that share the store and are alive, as this node sees it.",
    ),
    counter(
        STORE_ERRORS,
        &["kind"],
        "Operations that the store refused: full, unavailable or damaged.",
    ),
    gauge(REDIS_UP, &[], "1 while every Redis server answers, else 0."),
    gauge(
        REDIS_EPOCH_LOST,
        &[],
        "1 when the store in Redis is gone: flushed, restored or another one. Nothing is accepted or sent.",
    ),
    gauge(REDIS_MEMORY, &[], "Memory in use in Redis, in bytes."),
    gauge(REDIS_MEMORY_MAX, &[], "Redis' maxmemory, in bytes; 0 is no limit."),
    gauge(
        REDIS_SHORT_OF_ROOM,
        &[],
        "1 while nothing is accepted because 80 % of Redis' maxmemory are used.",
    ),
    gauge(
        REDIS_NOT_PERSISTING,
        &[],
        "1 when Redis could not write its append-only file or its last snapshot.",
    ),
    gauge(
        REDIS_RISKS,
        &[],
        "Settings of Redis under which accepted mail can be lost.",
    ),
    counter(
        REDIS_INTAKE_ACCEPTED,
        &[],
        "Entries of Redis' intake stream whose mail was accepted, now or before.",
    ),
    counter(
        REDIS_INTAKE_REFUSED,
        &["reason"],
        "Entries of Redis' intake stream that became dead letters, by the code of the reason.",
    ),
    gauge(
        REDIS_INTAKE_WAITING,
        &[],
        "Entries of Redis' intake streams that wait, of all nodes.",
    ),
    gauge(
        WARMUP_CAP,
        &["source", "provider"],
        "Messages that a lane may send today while its source is warmed up, 0 when that is done; named providers only.",
    ),
    gauge(
        WARMUP_USED,
        &["source", "provider"],
        "Messages of today's warm-up cap that were charged; named providers only.",
    ),
    gauge(
        WARMUP_DAY,
        &["source", "provider"],
        "Which day with mail of its warm-up a lane is on, from 1; named providers only.",
    ),
    gauge(
        REDIS_INTAKE_DEAD,
        &[],
        "Dead letters in Redis; somebody should look at them.",
    ),
    gauge(
        LANE_CONNECTIONS_LIMIT,
        &["source", "provider"],
        "Connections that a lane would use now, one probe aside. Of lanes, the first 1,000 are exported; others are left out.",
    ),
    gauge(
        LANE_CONNECTIONS_CEILING,
        &["source", "provider"],
        "The highest number of connections that the provider allowed while it refused more; absent while unknown.",
    ),
    gauge(
        LANE_RATE_LIMIT,
        &["source", "provider"],
        "Messages a second that a lane may send now; absent while no limit is known.",
    ),
    gauge(
        LANE_PIN_CONNECTIONS,
        &["source", "provider"],
        "The most connections that rules, config and pins allow a lane.",
    ),
    gauge(
        LANE_STATE,
        &["source", "provider", "state"],
        "1 for how a lane stands, else 0: open, slow (refused for its rate, one message tries), stopped (blocked), \
         canary (one message tries after a block) or unreachable.",
    ),
    counter(
        LANE_DECISIONS,
        &["source", "provider", "what", "signal"],
        "Decisions of a lane's controller, by what they changed and from which signal.",
    ),
    counter(ACTOR_RESTARTS, &["kind"], "Actors that panicked and were restarted."),
    counter(API_REQUESTS, &["status"], "API calls by HTTP status."),
    histogram(
        API_SECONDS,
        STEP_SECONDS,
        &[],
        "Seconds of an API call that sends mail, from its head to the answer; a body that comes slowly counts.",
    ),
    gauge(
        REPUTATION,
        &["kind", "key"],
        "Reputation from 0 to 1 of a source, a provider_source (source/provider), a tenant or a tenant_domain (tenant/domain); 1 also \
         while there is too little evidence. The 1,000 worst are shown; the rest are left out.",
    ),
    gauge(
        TENANT_PAUSED,
        &["tenant", "stream"],
        "1 while a tenant's stream is paused for its bounces or complaints, or by an operator; 0 once it goes on.",
    ),
];
