//! What the actors of one engine share: seams, settings and the way to each other.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::watch;

use super::crafter::Crafter;
use super::in_use::{Figures, RulesInUse};
use super::lane_book::LaneBook;
use super::ownership::Ownership;
use super::sender::Sender;
use super::settler::Settler;
use super::spawner::Spawner;
use super::supervisor::{Handle, Surroundings};
use super::warmups::{WarmupSettings, Warmups};
use crate::current::Current;
use crate::domain::{Lane, SourceId};
use crate::observe::Reputation;
use crate::policy::fairness::LookAhead;
use crate::policy::lane_gate::{LaneGateSettings, Live};
use crate::policy::routing::{SHARED_POOL, SourceRoom};
use crate::policy::settlement::SettlementSettings;
use crate::queue::Queue;
use crate::resolver::Destinations;
use crate::store::Store;
use crate::transport::Dialer;

/// Figures of the engine.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// How long a lease lasts unless renewed; it is renewed at a third.
    pub lease: Duration,
    /// How often the queue is asked for due work when nothing wakes the scheduler.
    pub tick: Duration,
    /// A session without work is closed after this.
    pub session_idle_longest: Duration,
    /// How much is taken from the queue ahead.
    pub look_ahead: LookAhead,
    /// The pool that mail of each class goes from, by [`crate::domain::Class::index`], unless its tenant has one.
    pub pools: [String; 3],
    /// How lanes yield, at the start; `Tools::figures` has what counts now.
    pub gate: LaneGateSettings,
    /// How attempts are settled, at the start; `Tools::figures` has what counts now.
    pub settlement: SettlementSettings,
    /// Addresses tried for one connection at most.
    pub addresses_per_attempt_max: usize,
    /// Connections of one Source at most.
    pub connections_per_source_max: u32,
    /// Providers in memory at most.
    pub providers_max: usize,
    /// Accepts on their way to the store at most; more are refused with 503.
    pub accepts_in_flight_max: usize,
    /// Messages whose deliveries are all final are deleted after this.
    pub retention: Duration,
    /// Between two times that what lanes learnt is written down.
    pub remember_every: Duration,
    /// How often the list of unknown replies is written.
    pub reviews_every: Duration,
    /// Room in the mailbox of each actor.
    pub mailbox: usize,
    /// Settlements in one commit at most.
    pub settle_batch_max: usize,
    /// Which Sources are warmed up.
    pub warmup: WarmupSettings,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            tick: Duration::from_millis(200),
            session_idle_longest: Duration::from_secs(10),
            look_ahead: LookAhead::default(),
            pools: [SHARED_POOL; 3].map(str::to_owned),
            gate: LaneGateSettings::default(),
            settlement: SettlementSettings::default(),
            addresses_per_attempt_max: 5,
            connections_per_source_max: 2_000,
            providers_max: 10_000,
            accepts_in_flight_max: 4_096,
            retention: Duration::from_secs(30 * 24 * 3600),
            remember_every: Duration::from_secs(10),
            reviews_every: Duration::from_secs(60),
            mailbox: 8_192,
            settle_batch_max: 500,
            warmup: WarmupSettings::default(),
        }
    }
}

/// One Source as the engine uses it.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// What routing knows.
    pub room: SourceRoom,
    /// Local address to bind; none leaves it to the system.
    pub ip: Option<std::net::IpAddr>,
    /// Name for EHLO.
    pub ehlo: String,
}

/// Seams and settings, shared by all actors of one engine.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The queue.
    pub queue: Arc<dyn Queue>,
    /// The records.
    pub store: Arc<dyn Store>,
    /// Where mail for a domain goes.
    pub destinations: Arc<Destinations>,
    /// Opens sessions.
    pub dialer: Arc<Dialer>,
    /// Judges replies.
    pub classifier: Arc<RulesInUse>,
    /// Figures that a reload may change.
    pub figures: Arc<Current<Figures>>,
    /// Makes bytes.
    pub crafter: Arc<Crafter>,
    /// Where session tasks run.
    pub spawner: Spawner,
    /// Clock, observer, escalation.
    pub surroundings: Surroundings,
    /// Figures.
    pub settings: Arc<EngineSettings>,
    /// The Sources.
    pub sources: Arc<Vec<SourceSettings>>,
    /// Live connections by lane; outlives a restarted actor, so that its limits hold.
    pub live: Arc<LiveConnections>,
    /// What is known of lanes and outlives their actors.
    pub lanes: Arc<LaneBook>,
    /// Whose the Sources are.
    pub ownership: Arc<Ownership>,
    /// Warm-ups of Sources; outlive a restarted actor.
    pub warmups: Arc<Warmups>,
    /// Who has which name, and what follows; outlives a restarted actor.
    pub reputation: Arc<Reputation>,
    /// Whether the engine is being stopped; outlives a restarted actor, so that none begins anew.
    pub draining: Draining,
}

/// The actors that lanes talk to.
#[derive(Debug, Clone)]
pub struct Crew {
    /// One for each Source.
    pub senders: Arc<HashMap<SourceId, Handle<Sender>>>,
    /// Settles attempts.
    pub settler: Handle<Settler>,
}

/// Whether the engine is being stopped. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Draining(Arc<watch::Sender<bool>>);

impl Default for Draining {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Draining {
    /// From now on.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        // An error would mean that the sender is gone, and it is ours.
        let _ = self.0.subscribe().wait_for(|begun| *begun).await;
    }
}

/// Counts connections by lane.
#[derive(Debug, Default)]
pub struct LiveConnections {
    by_lane: DashMap<Lane, Arc<Counts>>,
    total: Arc<AtomicU32>,
}

#[derive(Debug, Default)]
struct Counts {
    up: AtomicU32,
    opening: AtomicU32,
}

impl LiveConnections {
    /// Those of a lane.
    #[must_use]
    pub fn of(&self, lane: &Lane) -> Live {
        self.by_lane.get(lane).map_or_else(Live::default, |counts| Live {
            up: counts.up.load(Ordering::Relaxed),
            opening: counts.opening.load(Ordering::Relaxed),
        })
    }

    /// How many there are from a Source.
    #[must_use]
    pub fn at(&self, source: &SourceId) -> u32 {
        let lanes = self.by_lane.iter().filter(|entry| entry.key().source == *source);
        let of = |counts: &Counts| counts.up.load(Ordering::Relaxed) + counts.opening.load(Ordering::Relaxed);
        lanes.map(|entry| of(entry.value())).sum()
    }

    /// How many there are over all lanes.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.total.load(Ordering::Relaxed)
    }

    /// Counts one more that is being opened, until the guard is dropped.
    #[must_use]
    pub fn opening(&self, lane: &Lane) -> LiveGuard {
        let counts = Arc::clone(&*self.by_lane.entry(lane.clone()).or_default());
        counts.opening.fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Relaxed);
        LiveGuard {
            counts,
            total: Arc::clone(&self.total),
            up: false,
        }
    }
}

/// One live connection.
#[derive(Debug)]
pub struct LiveGuard {
    counts: Arc<Counts>,
    total: Arc<AtomicU32>,
    up: bool,
}

impl LiveGuard {
    /// It came up.
    pub fn came_up(&mut self) {
        if !std::mem::replace(&mut self.up, true) {
            self.counts.opening.fetch_sub(1, Ordering::Relaxed);
            self.counts.up.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        let count = if self.up { &self.counts.up } else { &self.counts.opening };
        count.fetch_sub(1, Ordering::Relaxed);
        self.total.fetch_sub(1, Ordering::Relaxed);
    }
}
