//! I8: what is wrong with one receiver delays nobody else's mail.
//!
//! Pairs of runs with the same seed and mail, of which one has a sick receiver with a flood before it. The delays of all
//! other mail are compared: those of one run are those of the other, within a twentieth.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::LocalSet;

use super::plan::{Door, Kind, Manners, Plan};
use super::run::run_calm;
use super::watched::World;

/// Receivers besides the sick one.
const OTHERS: usize = 3;
const LASTS: Duration = Duration::from_secs(150);
/// Delays are compared with this grain: the network's own.
const GRAIN: Duration = Duration::from_millis(20);

fn healthy() -> Door {
    Door {
        kind: Kind::Keeps,
        manners: Manners::default(),
        connections: 2,
        messages_per_connection: 20,
        per_second: None,
        pipelining: true,
        reply_millis: 50,
        dead: false,
    }
}

fn with(manners: Manners) -> Door {
    Door { manners, ..healthy() }
}

/// One node, mail for all, and a flood for the first.
fn plan(seed: u64, first: Door) -> Plan {
    let mut doors = vec![healthy(); 1 + OTHERS];
    doors[0] = first;
    Plan {
        doors,
        nodes: 1,
        mails: 400,
        flood: 600,
        chaos: Duration::from_secs(60),
        queue_millis: 5,
        steady: true,
        ..Plan::new(seed).healed(true)
    }
}

/// The delays of all mail that is not for the first receiver, in order, and what the first received.
fn delays(plan: Plan) -> (Vec<Duration>, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let world = {
        let _inside = runtime.enter();
        Arc::new(World::new(plan))
    };
    LocalSet::new().block_on(&runtime, run_calm(Arc::clone(&world), LASTS));
    let book = world.book();
    let (first, others): (Vec<_>, Vec<_>) = book.mails.values().partition(|facts| facts.mail.door == 0);
    let delay = |facts: &&super::book::Facts| {
        facts
            .delay
            .unwrap_or_else(|| panic!("u{} never came", facts.mail.number))
    };
    let mut delays: Vec<Duration> = others.iter().map(delay).collect();
    delays.sort_unstable();
    (delays, first.iter().filter(|facts| facts.copies > 0).count())
}

/// What may be wrong with a receiver.
fn sicknesses() -> Vec<(&'static str, Door)> {
    vec![
        (
            "refuses",
            Door {
                dead: true,
                ..with(Manners {
                    refuses_connection: 1_000,
                    ..Manners::default()
                })
            },
        ),
        (
            "never connects",
            with(Manners {
                never_connects: 1_000,
                ..Manners::default()
            }),
        ),
        (
            "never greets",
            with(Manners {
                never_greets: 1_000,
                ..Manners::default()
            }),
        ),
        (
            "greets with 421",
            with(Manners {
                greets_421: 1_000,
                ..Manners::default()
            }),
        ),
        (
            "defers all",
            with(Manners {
                defers: 1_000,
                ..Manners::default()
            }),
        ),
        (
            "throttles all",
            with(Manners {
                throttles: 1_000,
                ..Manners::default()
            }),
        ),
        (
            "silent after the dot",
            with(Manners {
                silent_after_dot: 1_000,
                ..Manners::default()
            }),
        ),
        (
            "tarpits",
            Door {
                reply_millis: 20_000,
                ..healthy()
            },
        ),
    ]
}

#[test]
fn a_sick_receiver_with_a_flood_before_it_delays_nobody_else() {
    let seed = super::tests::fresh(8);
    let (expected, all) = delays(plan(seed, healthy()));
    assert!(
        expected.len() > 200 && all > 600,
        "seed {seed}: {} others, {all}",
        expected.len()
    );
    for (name, door) in sicknesses() {
        let (found, came) = delays(plan(seed, door));
        assert!(
            came < all / 2,
            "{name}, seed {seed}: {came} of {all} came to the sick one"
        );
        for percent in [10, 50, 90, 99, 100] {
            let at = |delays: &[Duration]| delays[(delays.len() - 1) * percent / 100];
            let (one, other) = (at(&expected), at(&found));
            let most = (one / 20).max(GRAIN);
            assert!(
                one.abs_diff(other) <= most,
                "{name}, seed {seed}: p{percent} {one:?} became {other:?}"
            );
        }
    }
}
