//! What a seed means: which faults are on, how much mail there is, how the receivers are.
//!
//! Takes a seed, gives a [`Plan`]. Swarm testing: a run with all faults at once hides what each of them alone would show.

use std::time::Duration;

use fastrand::Rng;

/// Lanes try again soon.
const SHORT_PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(20));
/// Lanes are shut for longer than mail may be without its verdict.
const LONG_PAUSES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(180));

/// What a receiver does with a message whose sender is gone before the reply is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Keeps it, as Postfix does.
    Keeps,
    /// Drops it, as Exim does.
    Drops,
    /// Either.
    Coin,
}

/// How likely a receiver does what, in per mille of the chances that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Manners {
    pub(super) refuses_connection: u32,
    pub(super) never_connects: u32,
    pub(super) greets_421: u32,
    pub(super) never_greets: u32,
    pub(super) closes_at_mail: u32,
    pub(super) defers: u32,
    pub(super) bounces: u32,
    pub(super) throttles: u32,
    pub(super) loses_before_dot: u32,
    pub(super) loses_after_dot: u32,
    pub(super) silent_after_dot: u32,
    pub(super) slow_after_dot: u32,
    pub(super) odd_after_dot: u32,
    pub(super) silent_elsewhere: u32,
}

/// One recipient domain.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub(super) kind: Kind,
    pub(super) manners: Manners,
    pub(super) connections: u32,
    pub(super) messages_per_connection: u32,
    pub(super) per_second: Option<f64>,
    pub(super) pipelining: bool,
    /// Longest wait for an ordinary reply.
    pub(super) reply_millis: u64,
    /// It refuses all connections, and goes on to do so until all mail has come to its end.
    pub(super) dead: bool,
}

/// Everything that follows from a seed before anything runs.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// The first and the longest pause of a lane whose connections fail.
    pub(super) pauses: (Duration, Duration),
    pub(super) nodes: usize,
    pub(super) doors: Vec<Door>,
    pub(super) mails: usize,
    /// Mail that comes at once to the first domain besides the others.
    pub(super) flood: usize,
    pub(super) chaos: Duration,
    /// Sudden deaths, per mille of each second and node.
    pub(super) kills: u32,
    /// Deaths in the call of the queue itself, per mille of the calls that change something.
    pub(super) kills_in_call: u32,
    pub(super) freezes: u32,
    pub(super) freezes_in_call: u32,
    pub(super) drains: u32,
    pub(super) clock_jumps: bool,
    /// Calls of the queue that fail, per mille.
    pub(super) queue_errors: u32,
    /// Calls of the queue whose answer gets lost.
    pub(super) answers_lost: u32,
    /// Longest time that a call of the queue takes.
    pub(super) queue_millis: u64,
    /// Spells, per mille of each second, in which records cannot be read.
    pub(super) store_spells: u32,
    /// Lookups that fail.
    pub(super) dns_fails: u32,
    /// Lookups that take longer than anybody waits.
    pub(super) dns_stalls: u32,
    /// Every wait takes its longest time: what one domain draws changes nothing for another.
    pub(super) steady: bool,
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Rng::with_seed(seed);
        let on = |chance: &mut Rng| chance.u32(..100) < 35;
        let some = |chance: &mut Rng, most: u32| {
            if chance.u32(..100) < 35 {
                chance.u32(1..=most)
            } else {
                0
            }
        };
        let dead = Rng::with_seed(seed ^ 0xdead).u32(..100) < 20;
        let mut doors: Vec<Door> = (0..chance.usize(1..=3)).map(|_| Door::new(&mut chance)).collect();
        if dead {
            doors[0].die();
        }
        Self {
            seed,
            pauses: if dead { LONG_PAUSES } else { SHORT_PAUSES },
            nodes: if on(&mut chance) { 2 } else { 1 },
            doors,
            mails: chance.usize(10..=40),
            flood: if chance.u32(..100) < 10 { 150 } else { 0 },
            chaos: Duration::from_secs(chance.u64(60..=150)),
            kills: some(&mut chance, 30),
            kills_in_call: some(&mut chance, 30),
            freezes: some(&mut chance, 30),
            freezes_in_call: some(&mut chance, 30),
            drains: some(&mut chance, 20),
            clock_jumps: on(&mut chance),
            queue_errors: some(&mut chance, 150),
            answers_lost: some(&mut chance, 100),
            queue_millis: if on(&mut chance) { chance.u64(1..2_000) } else { 5 },
            store_spells: some(&mut chance, 30),
            dns_fails: some(&mut chance, 500),
            dns_stalls: some(&mut chance, 500),
            steady: false,
        }
    }

    /// The same plan after all faults are healed; the dead stay dead if they are to.
    pub(super) fn healed(&self, raise_the_dead: bool) -> Self {
        let doors = self.doors.iter().map(|door| match door {
            door if door.dead && !raise_the_dead => door.clone(),
            door => Door {
                manners: Manners::default(),
                reply_millis: 50,
                dead: false,
                ..door.clone()
            },
        });
        Self {
            doors: doors.collect(),
            kills: 0,
            kills_in_call: 0,
            freezes: 0,
            freezes_in_call: 0,
            drains: 0,
            clock_jumps: false,
            queue_errors: 0,
            answers_lost: 0,
            queue_millis: 5,
            store_spells: 0,
            dns_fails: 0,
            dns_stalls: 0,
            ..self.clone()
        }
    }
}

impl Door {
    fn die(&mut self) {
        self.dead = true;
        self.manners.refuses_connection = 1_000;
    }

    fn new(chance: &mut Rng) -> Self {
        let mut some = |most: u32| {
            if chance.u32(..100) < 25 {
                chance.u32(1..=most)
            } else {
                0
            }
        };
        let manners = Manners {
            refuses_connection: some(1_000),
            never_connects: some(500),
            greets_421: some(500),
            never_greets: some(300),
            closes_at_mail: some(300),
            defers: some(600),
            bounces: some(200),
            throttles: some(300),
            loses_before_dot: some(300),
            loses_after_dot: some(400),
            silent_after_dot: some(300),
            slow_after_dot: some(500),
            odd_after_dot: some(200),
            silent_elsewhere: some(100),
        };
        let kind = [Kind::Keeps, Kind::Drops, Kind::Coin][chance.usize(..3)];
        Self {
            kind,
            manners,
            connections: chance.u32(1..=4),
            messages_per_connection: chance.u32(1..=20),
            per_second: (chance.u32(..100) < 20).then_some(5.0),
            pipelining: chance.bool(),
            reply_millis: [5, 50, 1_000][chance.usize(..3)],
            dead: false,
        }
    }
}
