//! Short runs of the simulation: the law that the model must obey, and the invariants that the controller must keep.

use std::time::Duration;

use posthaste::domain::LaneLimits;
use provider_sim::Scenario;
use provider_sim::model::Model;

use super::command::{START, Who, one_run};
use super::ours::Ours;
use super::random;
use super::world::{Faults, Outcome, World};

const LIMITS: LaneLimits = LaneLimits {
    connections: 500,
    messages_per_connection: 100,
    messages_per_second: None,
};

fn scenario(text: &str) -> Scenario {
    Scenario::parse(&format!("name: test\n{text}")).unwrap()
}

fn ours(scenario: &Scenario, seed: u64, seconds: u64) -> Outcome {
    one_run(scenario, Who::Posthaste, LIMITS, seed, seconds, Faults::new(0.0, seed)).0
}

fn delivered(outcome: &Outcome, from: usize, to: usize) -> f64 {
    outcome.delivered[from..to].iter().map(|count| f64::from(*count)).sum()
}

fn capacity(scenario: &Scenario, from: usize, to: usize) -> f64 {
    let at = |second: usize| {
        scenario
            .capacity(second as f64 + 0.5, LIMITS.messages_per_connection)
            .unwrap()
    };
    (from..to).map(at).sum()
}

#[test]
fn postfix_with_feedback_one_by_n_defers_about_one_attempt_in_thirteen_at_a_cap_of_twelve() {
    let receiver = scenario("connections: 12");
    let (outcome, _) = one_run(&receiver, Who::PostfixShare, LIMITS, 1, 1800, Faults::new(0.0, 1));
    let attempts = outcome.delivered_total() + outcome.deferred;
    let share = outcome.deferred as f64 / attempts as f64;
    assert!((0.05..0.10).contains(&share), "{share}");
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_one_another() {
    let receiver = scenario("connections: 7\nbad_backends: {share: 0.3}");
    let (one, again, other) = (
        ours(&receiver, 1, 300),
        ours(&receiver, 1, 300),
        ours(&receiver, 2, 300),
    );
    assert_eq!(one.delivered, again.delivered);
    assert_ne!(one.delivered, other.delivered);
}

/// I14, and I5: never more than the target and one probe.
fn check_stationary(text: &str) {
    let receiver = scenario(text);
    let outcome = ours(&receiver, 1, 1800);
    let early = delivered(&outcome, 60, 120) / capacity(&receiver, 60, 120);
    assert!(early >= 0.8, "{text}: {early} within two minutes");
    let late = delivered(&outcome, 600, 1800) / capacity(&receiver, 600, 1800);
    assert!(late >= 0.9, "{text}: {late} after ten minutes");
    let allowed = outcome.delivered_total() / 1000 + 30;
    assert!(outcome.deferred <= allowed, "{text}: {} deferred", outcome.deferred);
    assert!(outcome.over_target_max <= 1, "{text}: {} over", outcome.over_target_max);
}

#[test]
fn stationary_capacities_are_found_and_kept() {
    for text in [
        "connections: 1",
        "connections: 12",
        "connections: 70",
        "connections: 12\nsilent_close: true",
        "rates: [{per_second: 1}]",
        "rates: [{per_second: 20}]",
        "rates: [{per_second: 60}]",
        "connections: 50\nrates: [{per_second: 60}]",
        "latency_knee: 8",
        "connections: 40\nbad_backends: {share: 0.5}",
    ] {
        check_stationary(text);
    }
}

#[test]
fn in_a_steady_state_few_connections_are_refused() {
    let receiver = scenario("connections: 12");
    let (whole, first) = (ours(&receiver, 1, 5400), ours(&receiver, 1, 1800));
    assert!(
        whole.throttled - first.throttled <= 20,
        "{} in an hour",
        whole.throttled - first.throttled
    );
}

#[test]
fn a_capacity_that_falls_is_followed_within_thirty_seconds_and_one_that_rises_within_ten_minutes() {
    let receiver = scenario(
        "connections: 24\nsteps:\n  - {at_seconds: 600, connections: 8}\n  - {at_seconds: 1200, connections: 24}",
    );
    let outcome = ours(&receiver, 1, 2400);
    let low = capacity(&receiver, 700, 1200);
    assert!((0.9..1.05).contains(&(delivered(&outcome, 700, 1200) / low)));
    assert!(delivered(&outcome, 1800, 2400) >= 0.9 * capacity(&receiver, 1800, 2400));
}

#[test]
fn after_a_block_for_reputation_nothing_is_tried_but_one_canary_for_each_break() {
    let receiver = scenario("reputation: {messages: 600, window_seconds: 60, block_seconds: 600}");
    for seed in 1..=5 {
        let outcome = ours(&receiver, seed, 3600);
        let (blocks, tries) = outcome.blocks;
        assert!(blocks >= 1, "the receiver must have blocked");
        // What was on its way when the first word came is not counted as a try of ours: a round trip at 100 a second.
        assert!(tries <= blocks * 8, "{tries} tries in {blocks} blocks");
        let quiet = (0..outcome.delivered.len() - 590).any(|from| delivered(&outcome, from, from + 590) == 0.0);
        assert!(quiet, "ten minutes without a delivery");
    }
}

/// Seeds of receivers that nobody has seen before; `POSTHASTE_SEED` replays one.
fn fresh_seeds(count: u64) -> Vec<u64> {
    if let Some(seed) = std::env::var("POSTHASTE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return vec![seed];
    }
    (0..count).map(|_| fastrand::u64(..)).collect()
}

/// I5, I12, I13, I15 and the cost of learning, against a receiver drawn from the seed, with sessions that die.
fn check_random(seed: u64, lost: f64) {
    let receiver = random::scenario(seed);
    receiver.check().unwrap();
    let (outcome, _) = one_run(&receiver, Who::Posthaste, LIMITS, seed, 900, Faults::new(lost, seed));
    let named = format!("POSTHASTE_SEED={seed} (lost {lost}): {receiver:?}");
    assert!(
        outcome.over_target_max <= 1,
        "I5, {} over, {named}",
        outcome.over_target_max
    );
    assert_eq!(outcome.watch.stuck, 0, "I12, {named}");
    assert_eq!(outcome.watch.herd_max, 0, "I13, {named}");
    assert!(
        outcome.watch.canaries_max <= 1,
        "I15, {} canaries, {named}",
        outcome.watch.canaries_max
    );
    let bound = outcome.delivered_total() / 100 + 60;
    assert!(outcome.deferred <= bound, "I14, {} deferred, {named}", outcome.deferred);
    assert!(outcome.delivered_total() > 0, "{named}");
}

#[test]
fn receivers_that_nobody_tuned_for_keep_the_bounds() {
    fresh_seeds(12).into_iter().for_each(|seed| check_random(seed, 0.0));
}

#[test]
fn sessions_that_die_break_no_bound() {
    for (index, seed) in fresh_seeds(8).into_iter().enumerate() {
        check_random(seed, [0.001, 0.02, 0.2][index % 3]);
    }
}

/// I15, with canaries that get lost: one at a time all the same.
#[test]
fn a_block_is_tried_by_one_canary_at_a_time_even_when_canaries_get_lost() {
    let receiver = scenario("reputation: {messages: 600, window_seconds: 60, block_seconds: 600}");
    for seed in fresh_seeds(5) {
        let faults = Faults::new(0.3, seed);
        let (outcome, _) = one_run(&receiver, Who::Posthaste, LIMITS, seed, 3600, faults);
        assert!(
            outcome.blocks.0 >= 1,
            "POSTHASTE_SEED={seed}: the receiver must have blocked"
        );
        let canaries = outcome.watch.canaries_max;
        assert!(canaries <= 1, "POSTHASTE_SEED={seed}: {canaries} canaries at once");
    }
}

/// I13: after an outage no heap of connections: in ten seconds no more than twice what was used before.
#[test]
fn after_an_outage_connections_come_back_one_by_one() {
    let receiver = scenario(
        "connections: 20\nbad_backends: {share: 0.0}\nsteps:\n  - {at_seconds: 600, bad_share: 1.0}\n  \
         - {at_seconds: 900, bad_share: 0.0}",
    );
    let outcome = ours(&receiver, 1, 1800);
    let connects = &outcome.watch.connects;
    let heap = connects.windows(10).map(|window| window.iter().sum::<u32>()).max();
    assert!(heap.is_some_and(|heap| heap <= 40), "{heap:?} in ten seconds");
    assert_eq!(outcome.watch.herd_max, 0);
    assert!(delivered(&outcome, 1500, 1800) >= 0.9 * capacity(&receiver, 1500, 1800));
}

/// I10: a code among endless news waits for one service time and a second at most, once the lane has learnt.
#[test]
fn codes_do_not_wait_behind_endless_news() {
    for text in [
        "connections: 1",
        "connections: 12",
        "rates: [{per_second: 2}]",
        "rates: [{per_second: 20}]",
    ] {
        let receiver = scenario(&format!("{text}\nservice: {{mean_ms: 500, distribution: constant}}"));
        let mut ours = Ours::with_codes(LIMITS, START, Duration::from_secs(7));
        World::run(Model::new(receiver, 1), &mut ours, 1800, Faults::new(0.0, 1));
        let mut waited = ours.codes_waited()[20..].to_vec();
        waited.sort_unstable();
        assert!(waited.len() > 200, "{text}: {} codes", waited.len());
        let p99 = waited[waited.len() * 99 / 100];
        assert!(p99 <= Duration::from_millis(1_500), "{text}: {p99:?}");
    }
}

#[test]
fn every_scenario_file_is_valid_and_has_a_capacity() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut names = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let scenario = Scenario::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert!(scenario.capacity(0.0, 100).is_some(), "{}", path.display());
        assert!(names.insert(scenario.name), "{}: a name of its own", path.display());
    }
    assert!(names.len() >= 20);
}

#[test]
fn hosts_that_never_answer_cost_the_others_no_places() {
    let receiver = scenario("connections: 20\nbad_backends: {share: 0.5, answer: timeout}");
    let outcome = ours(&receiver, 3, 600);
    let used = delivered(&outcome, 300, 600) / capacity(&receiver, 300, 600);
    assert!(used >= 0.9, "{used}");
}
