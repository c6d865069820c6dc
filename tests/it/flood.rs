//! A lane under a flood, on made-up time: codes are not kept waiting, newsletters do not starve, tenants share by weight.
//!
//! The real waiting room, gate, credit and shelves; of the store only how much waits on each shelf, of the provider only that
//! each message takes half a second. So a flood of a million costs no memory and an hour takes seconds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use posthaste::domain::{Class, Lane, LaneAction, LaneLimits, ProviderId, Shelf, SourceId, TenantId, Timestamp};
use posthaste::policy::fairness::{Credit, LaneCredit, lane_credit, may_offer};
use posthaste::policy::lane_gate::{LaneGate, LaneGateSettings, Live};
use posthaste::policy::lane_room::{LaneRoom, Report, Step};
use posthaste::policy::shares::{OfTenant, Weights};
use posthaste::policy::shelves::Shelves;

/// How long the provider takes for a message.
const SERVICE: Duration = Duration::from_millis(500);

/// A message: whose, of which class, since when it waits for this lane.
#[derive(Debug, Clone, Copy)]
struct Piece {
    tenant: TenantId,
    class: Class,
    since: Timestamp,
}

impl OfTenant for Piece {
    fn tenant(&self) -> TenantId {
        self.tenant
    }
}

/// Something that is going to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    /// A session is through with its message.
    Free(u64),
    /// A code comes.
    Code,
    /// The lane may send again.
    Again,
}

/// One lane, its shelves, its sessions.
struct World {
    lane: Lane,
    site: Arc<str>,
    room: LaneRoom<Piece>,
    credit: LaneCredit,
    owed: usize,
    shelves: Shelves,
    weights: Weights,
    /// How much waits on each shelf, and since when the codes there do.
    store: BTreeMap<Shelf, Vec<Piece>>,
    flood: BTreeMap<Shelf, usize>,
    up: u32,
    tickets: u64,
    happens: BinaryHeap<Reverse<(Timestamp, Happens)>>,
    now: Timestamp,
    /// What was given to sessions: when, and what.
    given: Vec<(Timestamp, Piece)>,
}

impl World {
    fn new(connections: u32, per_second: Option<f64>, weights: Weights) -> Self {
        let limits = LaneLimits {
            connections,
            messages_per_connection: u32::MAX,
            messages_per_second: per_second,
        };
        let settings = LaneGateSettings {
            connections_start: connections,
            ..LaneGateSettings::default()
        };
        let start = Timestamp(1_000_000);
        let mut room = LaneRoom::new(LaneGate::new(limits, settings, start), Duration::from_secs(10));
        room.set_weights(weights.clone());
        Self {
            lane: Lane {
                source: SourceId::from("a"),
                provider: ProviderId::from("google"),
            },
            site: Arc::from("site"),
            room,
            credit: LaneCredit::of(lane_credit(connections)),
            owed: 0,
            shelves: Shelves::default(),
            weights,
            store: BTreeMap::new(),
            flood: BTreeMap::new(),
            up: 0,
            tickets: 0,
            happens: BinaryHeap::new(),
            now: start,
            given: Vec::new(),
        }
    }

    /// So much broadcast of a tenant waits from the start.
    fn flooded(mut self, tenant: u32, count: usize) -> Self {
        let shelf = Shelf::beside(&self.lane, Class::Broadcast, TenantId(tenant));
        self.shelves.add(&shelf, Some(Class::Broadcast));
        self.flood.insert(shelf, count);
        self
    }

    fn piece(&self, tenant: TenantId, class: Class) -> Piece {
        let since = self.now;
        Piece { tenant, class, since }
    }

    fn code(&mut self) {
        let piece = self.piece(TenantId(9), Class::Critical);
        if may_offer(Class::Critical, self.credit.free(), self.credit.full) {
            self.credit.left -= 1;
            return self.room.offer(&self.site, Class::Critical, piece);
        }
        let shelf = Shelf::beside(&self.lane, Class::Critical, piece.tenant);
        self.shelves.add(&shelf, Some(Class::Critical));
        self.store.entry(shelf).or_default().push(piece);
    }

    /// What the scheduler does with the places that the lane has.
    fn unpark(&mut self) {
        loop {
            let credit = self.credit;
            let places = |class, turn| credit.places(class, turn).min(256);
            let Some(turn) = self.shelves.turn(&self.lane, places, &self.weights) else {
                return;
            };
            let mut taken = Vec::new();
            if let Some(left) = self.flood.get_mut(&turn.shelf) {
                let count = turn.most.min(*left);
                *left -= count;
                let tenant = turn.shelf.tenant().unwrap_or(TenantId::FIRST);
                taken.extend((0..count).map(|_| self.piece(tenant, Class::Broadcast)));
            } else if let Some(waiting) = self.store.get_mut(&turn.shelf) {
                let count = turn.most.min(waiting.len());
                taken.extend(waiting.drain(..count));
            }
            let mut by_class = [0; 3];
            taken.iter().for_each(|piece| by_class[piece.class.index()] += 1);
            self.shelves.took(&turn, by_class);
            self.credit.left -= taken.len();
            for piece in taken {
                self.room.offer(&self.site, piece.class, piece);
            }
        }
    }

    fn pump(&mut self) {
        let live = Live {
            up: self.up,
            opening: 0,
        };
        for step in self.room.steps(live, self.now) {
            match step {
                Step::Give { ticket, work } => {
                    self.given.push((self.now, work));
                    self.owed += 1;
                    self.happens
                        .push(Reverse((self.now.plus(SERVICE), Happens::Free(ticket))));
                }
                Step::Open { site } => {
                    self.up += 1;
                    self.tickets += 1;
                    self.room.opened(&site, self.up, self.now);
                    self.happens.push(Reverse((self.now, Happens::Free(self.tickets))));
                }
                Step::Close { .. } => self.up -= 1,
                Step::AskAgainAt(at) => self.happens.push(Reverse((at, Happens::Again))),
                Step::HandBack { work } => panic!("the lane was never shut: {work:?}"),
            }
        }
        // As the ISP actor does: a message for each place costs more than it brings.
        if self.owed >= (self.credit.full / 16).max(1) || self.room.queued() == 0 {
            self.credit.change(Credit::Add(std::mem::take(&mut self.owed)));
        }
    }

    /// Runs for so long, with a code each `every`.
    fn run(mut self, time: Duration, every: Option<Duration>) -> Self {
        let end = self.now.plus(time);
        self.happens.push(Reverse((self.now, Happens::Again)));
        self.happens.extend(every.map(|_| Reverse((self.now, Happens::Code))));
        while let Some(Reverse((at, what))) = self.happens.pop()
            && at <= end
        {
            self.now = at;
            match what {
                Happens::Free(ticket) => {
                    let report = Report {
                        action: LaneAction::None,
                        delivered: true,
                        started: at.minus(SERVICE),
                        before: None,
                    };
                    self.room.answered(report, self.up, at);
                    self.room.ask(&self.site, ticket, at);
                }
                Happens::Code => {
                    self.code();
                    let next = every.map(|every| Reverse((at.plus(every), Happens::Code)));
                    self.happens.extend(next);
                }
                Happens::Again => {}
            }
            self.unpark();
            self.pump();
        }
        self
    }

    /// The delays of codes, shortest first.
    fn delays(&self) -> Vec<Duration> {
        let codes = self.given.iter().filter(|(_, piece)| piece.class == Class::Critical);
        let mut delays: Vec<Duration> = codes.map(|(at, piece)| at.since(piece.since)).collect();
        delays.sort_unstable();
        delays
    }
}

#[test]
fn codes_pass_a_flood_of_a_million_within_one_message_and_a_second() {
    for (connections, rate) in [(1, None), (5, None), (20, None), (20, Some(2.0)), (3, Some(1.0))] {
        let world = World::new(connections, rate, Weights::default()).flooded(2, 1_000_000);
        let world = world.run(Duration::from_secs(600), Some(Duration::from_millis(2_300)));
        let delays = world.delays();
        assert!(delays.len() > 250, "{connections} {rate:?}: {}", delays.len());
        let p99 = delays[delays.len() * 99 / 100];
        // What a message takes in this lane: the provider's time, or that between two messages of its pace.
        let message = rate.map_or(SERVICE, |rate| SERVICE.max(Duration::from_secs_f64(1.0 / rate)));
        let most = message + Duration::from_secs(1);
        assert!(
            p99 <= most,
            "{connections} connections, {rate:?} a second: p99 is {p99:?}"
        );
        let news = world.given.len() - delays.len();
        assert!(news > 200, "{connections} {rate:?}: the flood goes on: {news}");
    }
}

#[test]
fn a_flood_of_codes_leaves_newsletters_their_twentieth() {
    for (connections, rate) in [(1, None), (6, None), (20, Some(5.0))] {
        let world = World::new(connections, rate, Weights::default()).flooded(2, 1_000_000);
        // Many more codes than the lane can carry.
        let world = world.run(Duration::from_secs(300), Some(Duration::from_millis(20)));
        let codes = world.delays().len();
        let news = world.given.len() - codes;
        assert!(
            news * 20 >= world.given.len(),
            "{connections} {rate:?}: {news} of {}",
            world.given.len()
        );
        assert!(
            codes * 10 >= world.given.len() * 8,
            "{connections} {rate:?}: {codes} codes"
        );
    }
}

#[test]
fn tenants_share_a_lane_by_weight_over_each_minute() {
    let of = [(1, 1), (2, 2), (3, 4)];
    let weights = Weights::new(of.map(|(tenant, weight)| (TenantId(tenant), weight)));
    let world = World::new(10, None, weights)
        .flooded(1, 1_000_000)
        .flooded(2, 20_000)
        .flooded(3, 20_000);
    let world = world.run(Duration::from_secs(600), None);
    let start = world.given[0].0;
    // The first minute fills the room; nobody is paid back for it.
    for minute in 1..9 {
        let of_minute = world
            .given
            .iter()
            .filter(|(at, _)| at.since(start).as_secs() / 60 == minute);
        let mut counts = BTreeMap::<u32, usize>::new();
        of_minute.for_each(|(_, piece)| *counts.entry(piece.tenant.0).or_default() += 1);
        let all: usize = counts.values().sum();
        assert!(all > 1_000, "the lane is busy: {counts:?}");
        for (tenant, weight) in of {
            let expect = all * weight as usize / 7;
            let share = counts.get(&tenant).copied().unwrap_or(0);
            assert!(
                share.abs_diff(expect) * 10 <= expect,
                "minute {minute}, tenant {tenant}: {counts:?}"
            );
        }
    }
}
