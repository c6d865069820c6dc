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
    /// Whose the codes are, and how often one comes.
    codes: (TenantId, Duration),
    shelves: Shelves,
    weights: Weights,
    /// How much waits on each shelf, and since when the codes there do.
    store: BTreeMap<Shelf, Vec<Piece>>,
    flood: BTreeMap<Shelf, usize>,
    up: u32,
    tickets: u64,
    happens: BinaryHeap<Reverse<(Timestamp, Happens)>>,
    now: Timestamp,
    /// When the lane wants to be asked again, where that is still to come.
    again: Option<Timestamp>,
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
            codes: (TenantId(9), Duration::MAX),
            shelves: Shelves::default(),
            weights,
            store: BTreeMap::new(),
            flood: BTreeMap::new(),
            up: 0,
            tickets: 0,
            happens: BinaryHeap::new(),
            now: start,
            again: None,
            given: Vec::new(),
        }
    }

    /// From now on a code of this tenant comes each `every`.
    fn with_codes(mut self, tenant: u32, every: Duration) -> Self {
        self.codes = (TenantId(tenant), every);
        self.happens.push(Reverse((self.now, Happens::Code)));
        self
    }

    /// So much broadcast of a tenant waits from now on.
    fn flooded(mut self, tenant: u32, count: usize) -> Self {
        let shelf = Shelf::beside(&self.lane, Class::Broadcast, TenantId(tenant), false);
        self.shelves.add(&shelf, Some(Class::Broadcast));
        self.flood.insert(shelf, count);
        self
    }

    fn piece(&self, tenant: TenantId, class: Class) -> Piece {
        let since = self.now;
        Piece { tenant, class, since }
    }

    fn code(&mut self) {
        let piece = self.piece(self.codes.0, Class::Critical);
        if may_offer(Class::Critical, self.credit.free(), self.credit.full) {
            self.credit.left -= 1;
            return self.room.offer(&self.site, Class::Critical, piece);
        }
        let shelf = Shelf::beside(&self.lane, Class::Critical, piece.tenant, false);
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
            // A shelf gives the most urgent first, as stores do.
            if let Some(waiting) = self.store.get_mut(&turn.shelf) {
                let count = turn.most.min(waiting.len());
                taken.extend(waiting.drain(..count));
            }
            if let Some(left) = self.flood.get_mut(&turn.shelf) {
                let count = (turn.most - taken.len()).min(*left);
                *left -= count;
                let tenant = turn.shelf.tenant().unwrap_or(TenantId::FIRST);
                taken.extend((0..count).map(|_| self.piece(tenant, Class::Broadcast)));
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
                    self.room.opened(&site, self.now, self.up, self.now);
                    self.happens.push(Reverse((self.now, Happens::Free(self.tickets))));
                }
                Step::Close { .. } => self.up -= 1,
                Step::AskAgainAt(at) => {
                    if self.again.is_none_or(|again| at < again) {
                        self.again = Some(at);
                        self.happens.push(Reverse((at, Happens::Again)));
                    }
                }
                Step::HandBack { work } => panic!("the lane was never shut: {work:?}"),
            }
        }
        // As the ISP actor does: a message for each place costs more than it brings.
        if self.owed >= (self.credit.full / 16).max(1) || self.room.queued() == 0 {
            self.credit.change(Credit::Add(std::mem::take(&mut self.owed)));
        }
    }

    /// Runs for so long.
    fn run(mut self, time: Duration) -> Self {
        let end = self.now.plus(time);
        self.happens.push(Reverse((self.now, Happens::Again)));
        while self.happens.peek().is_some_and(|next| next.0.0 <= end) {
            let Some(Reverse((at, what))) = self.happens.pop() else {
                break;
            };
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
                    self.happens.push(Reverse((at.plus(self.codes.1), Happens::Code)));
                }
                Happens::Again => self.again = None,
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
        let world = world
            .with_codes(9, Duration::from_millis(2_300))
            .run(Duration::from_secs(600));
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
    let lanes = [(1, None), (6, None), (20, Some(5.0))];
    // Of two tenants, and of one and the same, as most installations have it.
    for ((connections, rate), codes_of) in lanes.into_iter().flat_map(|lane| [(lane, 9), (lane, 1)]) {
        // Many more codes than the lane can carry; they have it for themselves before the flood comes.
        let world = World::new(connections, rate, Weights::default());
        let world = world
            .with_codes(codes_of, Duration::from_millis(50))
            .run(Duration::from_secs(60));
        let before = world.given.len();
        let world = world.flooded(1, 1_000_000).run(Duration::from_secs(300));
        let given = &world.given[before..];
        let codes = given.iter().filter(|(_, piece)| piece.class == Class::Critical).count();
        let (news, all) = (given.len() - codes, given.len());
        assert!(news * 20 >= all, "{connections} {rate:?} {codes_of}: {news} of {all}");
        assert!(
            codes * 10 >= all * 8,
            "{connections} {rate:?} {codes_of}: {codes} codes of {all}"
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
    let world = world.run(Duration::from_secs(600));
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
