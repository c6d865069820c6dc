//! Fresh seeds, and the proof that a seed can be replayed.
//!
//! Takes `POSTHASTE_SEED` to run that one alone, else seeds that nobody has seen before; panics with the seed, the broken
//! rule, the end of the trace and the command that replays it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::task::LocalSet;

use super::plan::Plan;
use super::run::run;
use super::watched::World;

/// Seeds of each of the tests below.
const SEEDS: u64 = 32;
/// Seeds that are tried each time.
const FIRST_SEEDS: u64 = 32;
/// Lines of the trace that are printed when a seed fails; all of them when it is replayed.
const LINES: usize = 80;

/// Runs a seed; gives its trace, or what it broke with the end of its trace.
fn simulate(seed: u64) -> Result<Vec<String>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let world = {
        let _inside = runtime.enter();
        Arc::new(World::new(Plan::new(seed)))
    };
    let tasks = LocalSet::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| tasks.block_on(&runtime, run(Arc::clone(&world)))));
    let book = world.book();
    match outcome {
        Ok(()) => Ok(book.trace.clone()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let text = text.unwrap_or_else(|| "a panic without words".to_owned());
            let lines = if asked_for().is_some() { usize::MAX } else { LINES };
            Err(format!("{text}\n{:#?}\n{}", book.plan, book.tail(lines)))
        }
    }
}

fn hash(trace: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    trace.hash(&mut hasher);
    hasher.finish()
}

/// The seed that is to be replayed, if there is one.
fn asked_for() -> Option<u64> {
    let text = std::env::var("POSTHASTE_SEED").ok()?;
    Some(text.parse().expect("POSTHASTE_SEED is a number"))
}

pub(super) fn fresh(test: u64) -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "each run of the tests tries seeds that nobody has seen"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    fastrand::Rng::with_seed(u64::try_from(now.as_nanos() & u128::from(u64::MAX)).expect("64 bits") ^ test).u64(..)
}

fn check(seed: u64) {
    if let Err(broken) = simulate(seed) {
        panic!(
            "seed {seed} broke {broken}\nreplay: POSTHASTE_SEED={seed} cargo nextest run --workspace --features \
             failpoints -E 'test(simulation::tests::seeds_1)'"
        );
    }
}

fn fresh_seeds(test: u64) {
    if let Some(seed) = asked_for() {
        return check(seed);
    }
    let mut seeds = fastrand::Rng::with_seed(fresh(test));
    for _ in 0..SEEDS {
        check(seeds.u64(..));
    }
}

macro_rules! seeds {
    ($($name:ident = $number:literal,)*) => {
        $(
            #[test]
            fn $name() {
                fresh_seeds($number);
            }
        )*
    };
}

seeds! {
    seeds_1 = 1,
    seeds_2 = 2,
    seeds_3 = 3,
    seeds_4 = 4,
    seeds_5 = 5,
    seeds_6 = 6,
    seeds_7 = 7,
    seeds_8 = 8,
    seeds_9 = 9,
    seeds_10 = 10,
    seeds_11 = 11,
    seeds_12 = 12,
    seeds_13 = 13,
    seeds_14 = 14,
    seeds_15 = 15,
    seeds_16 = 16,
    seeds_17 = 17,
    seeds_18 = 18,
    seeds_19 = 19,
    seeds_20 = 20,
    seeds_21 = 21,
    seeds_22 = 22,
    seeds_23 = 23,
    seeds_24 = 24,
    seeds_25 = 25,
    seeds_26 = 26,
    seeds_27 = 27,
    seeds_28 = 28,
    seeds_29 = 29,
    seeds_30 = 30,
    seeds_31 = 31,
    seeds_32 = 32,
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let mut seeds = fastrand::Rng::with_seed(fresh(0));
    for _ in 0..5 {
        let seed = asked_for().unwrap_or_else(|| seeds.u64(..));
        let (first, second) = (simulate(seed), simulate(seed));
        if let (Ok(first), Ok(second)) = (&first, &second) {
            let difference = first.iter().zip(second).position(|(one, other)| one != other);
            let there = difference.map(|at| (&first[at], &second[at]));
            assert_eq!(hash(first), hash(second), "seed {seed} went another way at {there:?}");
            assert!(first.len() > 50, "seed {seed} did next to nothing: {first:#?}");
        } else {
            assert_eq!(first.is_err(), second.is_err(), "seed {seed}");
        }
    }
}

/// The same seeds each time: what `tests/sabotage.tsv` names is caught by one of them.
#[test]
fn the_first_seeds() {
    (0..FIRST_SEEDS).for_each(check);
}

/// Seeds that found something once: mail that expired with an open INTENT.
#[test]
fn seeds_that_found_something_once() {
    for seed in [
        11_093_801_832_514_702_048,
        11_118_433_228_309_163_303,
        17_949_589_622_290_290_437,
    ] {
        check(seed);
    }
}
