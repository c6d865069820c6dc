//! Every way in which one message, two workers and a receiver can go on: claim, INTENT, dot, acceptance, reply, crash,
//! takeover, with the former holder still alive.
//!
//! A model small enough to try all of it, breadth first. It says which designs can make a second copy that nobody knows of;
//! that the code does as the model says is for the other tests. Assumed: the check of one's own lease and the leaving of
//! the dot are one step (`session::gate` keeps what is between them short).

use std::collections::{BTreeSet, VecDeque};

/// Copies are counted up to here.
const COPIES_MAX: u8 = 3;
/// Leases are counted up to here: enough for each worker to lose two.
const FENCES_MAX: u8 = 4;

/// How an engine is built.
#[derive(Debug, Clone, Copy)]
struct Design {
    /// INTENT is durable before the dot.
    journal: bool,
    /// INTENT and OUTCOME count only under the lease that holds.
    fence: bool,
    /// What is ambiguous is not sent again.
    hold: bool,
    /// One who waits for a lease extends it (a bug).
    waiter_extends: bool,
}

/// Where a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Worker {
    Idle,
    /// Has it under this fence.
    Claimed(u8),
    /// Its INTENT is durable, or it needs none.
    Intended(u8),
    /// The dot has left; the reply is on its way, or lost.
    Dotted(u8),
    /// Knows that it was accepted.
    Accepted(u8),
    /// Knows that it was not.
    Refused(u8),
    /// Has lost the reply, and is alive.
    Doubts(u8),
}

/// What is durable about the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Stored {
    Waiting,
    Held,
    Delivered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct World {
    workers: [Worker; 2],
    stored: Stored,
    /// The last lease given, and whether its time is still running.
    lease: u8,
    running: bool,
    open_intent: bool,
    /// Whether an ambiguous attempt is on record.
    recorded: bool,
    copies: u8,
    crashes: u8,
}

const START: World = World {
    workers: [Worker::Idle; 2],
    stored: Stored::Waiting,
    lease: 0,
    running: false,
    open_intent: false,
    recorded: false,
    copies: 0,
    crashes: 0,
};

impl World {
    fn with(mut self, worker: usize, now: Worker) -> Self {
        self.workers[worker] = now;
        self
    }

    /// Whether this fence still counts.
    fn holds(&self, fence: u8, design: Design) -> bool {
        !design.fence || fence == self.lease
    }

    /// Takes the lease, if it is free. An open INTENT makes the message ambiguous, which is recorded.
    fn claim(mut self, worker: usize, design: Design) -> Option<Self> {
        if self.running || self.stored != Stored::Waiting || self.lease == FENCES_MAX {
            return None;
        }
        self.lease += 1;
        self.running = true;
        if !self.open_intent {
            return Some(self.with(worker, Worker::Claimed(self.lease)));
        }
        self.open_intent = false;
        self.recorded = true;
        self.running = false;
        if design.hold {
            self.stored = Stored::Held;
        }
        Some(self)
    }

    /// Writes that it was ambiguous.
    fn doubt(mut self, worker: usize, fence: u8, design: Design) -> Self {
        let next = self.with(worker, Worker::Idle);
        if !self.holds(fence, design) || self.stored != Stored::Waiting {
            return next;
        }
        self = next;
        self.running = false;
        if design.journal {
            self.open_intent = false;
            self.recorded = true;
            if design.hold {
                self.stored = Stored::Held;
            }
        }
        self
    }

    /// Writes what the receiver said.
    fn settle(mut self, worker: usize, fence: u8, delivered: bool, design: Design) -> Self {
        let next = self.with(worker, Worker::Idle);
        let final_already = self.stored == Stored::Delivered;
        if !self.holds(fence, design) || final_already || (design.fence && self.stored == Stored::Held) {
            return next;
        }
        self = next;
        self.open_intent = false;
        self.running = false;
        self.stored = if delivered { Stored::Delivered } else { Stored::Waiting };
        self
    }

    fn moves_of(&self, worker: usize, design: Design) -> Vec<Self> {
        let mut moves = Vec::new();
        match self.workers[worker] {
            Worker::Idle => moves.extend(self.claim(worker, design)),
            Worker::Claimed(fence) if !design.journal => moves.push(self.with(worker, Worker::Intended(fence))),
            Worker::Claimed(fence) => {
                let may = self.holds(fence, design) && self.stored == Stored::Waiting;
                if may || !design.fence {
                    let mut intended = self.with(worker, Worker::Intended(fence));
                    intended.open_intent = true;
                    moves.push(intended);
                } else {
                    moves.push(self.with(worker, Worker::Idle));
                }
            }
            Worker::Intended(fence) => {
                // A zombie may still send it: its INTENT is durable.
                moves.push(self.with(worker, Worker::Dotted(fence)));
                moves.push(self.settle(worker, fence, false, design));
            }
            Worker::Dotted(fence) => {
                let mut kept = *self;
                kept.copies = (kept.copies + 1).min(COPIES_MAX);
                moves.push(kept.with(worker, Worker::Accepted(fence)));
                moves.push(kept.with(worker, Worker::Doubts(fence)));
                moves.push(self.with(worker, Worker::Refused(fence)));
                moves.push(self.with(worker, Worker::Doubts(fence)));
            }
            Worker::Accepted(fence) => moves.push(self.settle(worker, fence, true, design)),
            Worker::Refused(fence) => moves.push(self.settle(worker, fence, false, design)),
            Worker::Doubts(fence) => moves.push(self.doubt(worker, fence, design)),
        }
        if self.workers[worker] != Worker::Idle && self.crashes < 2 {
            let mut dead = self.with(worker, Worker::Idle);
            dead.crashes += 1;
            moves.push(dead);
            // What it had sent may have arrived before it died.
            if matches!(self.workers[worker], Worker::Dotted(_)) {
                dead.copies = (dead.copies + 1).min(COPIES_MAX);
                moves.push(dead);
            }
        }
        moves
    }

    fn moves(&self, design: Design) -> Vec<Self> {
        let mut moves: Vec<Self> = (0..2).flat_map(|worker| self.moves_of(worker, design)).collect();
        // Time passes. With the bug, somebody who is idle waits for it, and while one waits it does not end.
        let waits = self.workers.contains(&Worker::Idle);
        if self.running && !(design.waiter_extends && waits) {
            let mut over = *self;
            over.running = false;
            moves.push(over);
        }
        moves
    }
}

/// All that can happen.
fn reachable(design: Design) -> BTreeSet<World> {
    let mut seen = BTreeSet::from([START]);
    let mut next = VecDeque::from([START]);
    while let Some(world) = next.pop_front() {
        for after in world.moves(design) {
            if seen.insert(after) {
                next.push_back(after);
            }
        }
    }
    assert!(seen.len() > 50, "the model goes nowhere: {} states", seen.len());
    seen
}

const OURS_RESENDING: Design = Design {
    journal: true,
    fence: true,
    hold: false,
    waiter_extends: false,
};

/// The most copies that there can be, and whether two can be there without a record that there may be.
fn check(design: Design, copies_max: u8, unreported: bool) {
    let worlds = reachable(design);
    let copies = worlds.iter().map(|world| world.copies).max();
    assert_eq!(copies.map(|copies| copies.min(2)), Some(copies_max), "{design:?}");
    // An open INTENT is a record: whoever looks at the message sees that it may have gone out.
    let unknown = worlds
        .iter()
        .find(|world| world.copies >= 2 && !world.recorded && !world.open_intent);
    assert_eq!(unknown.is_some(), unreported, "{design:?}: {unknown:?}");
}

#[test]
fn with_journal_and_fence_no_second_copy_is_unknown_and_without_either_one_can_be() {
    let ours = OURS_RESENDING;
    let (journal, fence, hold) = (false, false, true);
    let table = [
        // Design, most copies, whether two can be there unreported.
        (ours, 2, false),
        (Design { hold, ..ours }, 1, false),
        (Design { journal, ..ours }, 2, true),
        (Design { fence, hold, ..ours }, 2, true),
        (Design { fence, ..ours }, 2, true),
    ];
    for (design, copies_max, unreported) in table {
        check(design, copies_max, unreported);
    }
}

/// Worlds in which the holder is dead and nobody can ever take the message.
fn stuck(design: Design) -> Vec<World> {
    let worlds = reachable(design);
    let orphan = |world: &&World| {
        world.workers == [Worker::Idle; 2] && world.stored == Stored::Waiting && world.lease < FENCES_MAX
    };
    // Somebody can take it, sooner or later, from the orphan or from what follows.
    let can_be_taken = |start: World| {
        let mut seen = BTreeSet::from([start]);
        let mut next = VecDeque::from([start]);
        while let Some(world) = next.pop_front() {
            if world.lease > start.lease {
                return true;
            }
            next.extend(world.moves(design).into_iter().filter(|after| seen.insert(*after)));
        }
        false
    };
    worlds
        .iter()
        .filter(orphan)
        .copied()
        .filter(|world| !can_be_taken(*world))
        .collect()
}

#[test]
fn one_who_waits_for_a_lease_and_extends_it_waits_for_ever() {
    assert_eq!(stuck(OURS_RESENDING), []);
    let waiter_extends = true;
    let design = Design {
        waiter_extends,
        ..OURS_RESENDING
    };
    assert!(
        !stuck(design).is_empty(),
        "with the bug a message is lost to all workers"
    );
}
