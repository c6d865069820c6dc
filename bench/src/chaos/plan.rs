//! Which faults there are and in which order a run makes them.
//!
//! Takes a seed, the store and how many kills are asked for; gives steps. Pure: the same seed gives the same plan. Every
//! failpoint of the journal comes up before one comes up again, and so does every other fault.

use std::time::Duration;

use clap::ValueEnum;
use fastrand::Rng;
use serde::Serialize;

/// Where the engine keeps its mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoreKind {
    /// One engine with its own database.
    Embedded,
    /// Two engines on one Redis.
    Redis,
}

/// The failpoints of the journal that both stores pass, in the order of a Delivery's life.
const JOURNAL: [&str; 12] = [
    "accept-before-write",
    "accept-before-answer",
    "lease-taken",
    "after-354",
    "before-intent",
    "after-intent",
    "after-final-dot",
    "after-reply",
    "before-outcome",
    "after-outcome",
    "before-event",
    "session",
];
/// Those of the embedded store: around the sync that makes a batch durable.
const EMBEDDED: [&str; 2] = ["store-before-commit", "store-after-commit"];
/// After so many kills something else is broken.
const KILLS_BETWEEN_OTHERS: u64 = 4;
/// Of so many kills on Redis one is Redis itself.
const REDIS_KILL_EVERY: u64 = 6;
/// Hits of a failpoint before it kills.
const HITS_MAX: u32 = 20;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// kill -9 of an engine at any moment.
    Kill,
    /// kill -9 of an engine at a failpoint.
    KillAt(&'static str),
    /// SIGSTOP for longer than a lease, then SIGCONT.
    Freeze,
    /// SIGTERM under load.
    Terminate,
    /// No room on the disk, for a while.
    DiskFull,
    /// kill -9 of Redis, and its restart.
    KillRedis,
    /// Redis does not answer, for a while.
    FreezeRedis,
    /// Redis has reached its memory limit, for a while.
    FillRedis,
}

impl Fault {
    /// Its name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillAt(_) => "kill_at_failpoint",
            Self::Freeze => "freeze",
            Self::Terminate => "terminate",
            Self::DiskFull => "disk_full",
            Self::KillRedis => "kill_redis",
            Self::FreezeRedis => "freeze_redis",
            Self::FillRedis => "fill_redis",
        }
    }
}

/// One fault with its circumstances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) fault: Fault,
    /// Load before it.
    pub(crate) after: Duration,
    /// Which engine, where there are two.
    pub(crate) node: usize,
    /// At a failpoint: how often it is passed before it kills.
    pub(crate) hits: u32,
    /// How long what was broken stays so: a pause beside what the fault itself needs.
    pub(crate) pause: Duration,
}

/// The failpoints at which an engine on this store can be killed.
pub(crate) fn failpoints(store: StoreKind) -> Vec<&'static str> {
    match store {
        StoreKind::Embedded => JOURNAL.into_iter().chain(EMBEDDED).collect(),
        StoreKind::Redis => JOURNAL.to_vec(),
    }
}

fn others(store: StoreKind) -> Vec<Fault> {
    match store {
        StoreKind::Embedded => vec![Fault::Freeze, Fault::Terminate, Fault::DiskFull],
        StoreKind::Redis => vec![Fault::Freeze, Fault::FreezeRedis, Fault::Terminate, Fault::FillRedis],
    }
}

/// A plan with `kills` kills.
pub(crate) fn draw(seed: u64, store: StoreKind, kills: u64) -> Vec<Step> {
    let mut random = Rng::with_seed(seed);
    let (mut points, mut breaks) = (Deck::new(failpoints(store)), Deck::new(others(store)));
    let mut steps = Vec::new();
    for number in 1..=kills {
        let fault = if store == StoreKind::Redis && number % REDIS_KILL_EVERY == 0 {
            Fault::KillRedis
        } else if number % 2 == 0 {
            Fault::Kill
        } else {
            points.next(&mut random).map_or(Fault::Kill, Fault::KillAt)
        };
        steps.push(step(&mut random, fault, store));
        if number % KILLS_BETWEEN_OTHERS == 0
            && let Some(fault) = breaks.next(&mut random)
        {
            steps.push(step(&mut random, fault, store));
        }
    }
    steps
}

fn step(random: &mut Rng, fault: Fault, store: StoreKind) -> Step {
    Step {
        fault,
        after: Duration::from_millis(random.u64(800..2_600)),
        node: match store {
            StoreKind::Embedded => 0,
            StoreKind::Redis => random.usize(..2),
        },
        hits: random.u32(1..=HITS_MAX),
        pause: Duration::from_millis(random.u64(0..800)),
    }
}

/// Gives all of its cards before one comes up again.
struct Deck<T> {
    cards: Vec<T>,
    left: Vec<T>,
}

impl<T: Copy> Deck<T> {
    fn new(cards: Vec<T>) -> Self {
        Self {
            cards,
            left: Vec::new(),
        }
    }

    fn next(&mut self, random: &mut Rng) -> Option<T> {
        if self.left.is_empty() {
            self.left = self.cards.clone();
            random.shuffle(&mut self.left);
        }
        self.left.pop()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_plan_with_as_many_kills_as_asked() {
        for store in [StoreKind::Embedded, StoreKind::Redis] {
            let plan = draw(5, store, 40);
            assert_eq!(plan, draw(5, store, 40));
            assert_ne!(plan, draw(6, store, 40));
            let is_kill = |step: &&Step| matches!(step.fault, Fault::Kill | Fault::KillAt(_) | Fault::KillRedis);
            assert_eq!(plan.iter().filter(is_kill).count(), 40);
        }
    }

    #[test]
    fn thirty_kills_meet_every_failpoint_and_every_other_fault() {
        for store in [StoreKind::Embedded, StoreKind::Redis] {
            for seed in 0..20 {
                let plan = draw(seed, store, 30);
                let met: BTreeSet<Fault> = plan.iter().map(|step| step.fault).collect();
                let points = failpoints(store).into_iter().map(Fault::KillAt);
                for fault in points.chain(others(store)).chain([Fault::Kill]) {
                    assert!(met.contains(&fault), "{store:?} {seed}: {fault:?} is missing");
                }
            }
        }
    }

    #[test]
    fn every_failpoint_of_the_plan_is_in_the_engine() {
        fn collect(folder: &Path, text: &mut String) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    collect(&path, text);
                } else {
                    text.push_str(&std::fs::read_to_string(&path).unwrap());
                }
            }
        }
        let mut text = String::new();
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../src"), &mut text);
        for store in [StoreKind::Embedded, StoreKind::Redis] {
            for name in failpoints(store) {
                assert!(text.contains(&format!("fail_point!(\"{name}\"")), "{name}");
            }
        }
    }
}
