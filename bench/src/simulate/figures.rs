//! What a run came to, in the words of the table.
//!
//! Takes a scenario and the outcomes of its runs; gives one [`Figures`]. Never rounds before the end.

use provider_sim::Scenario;
use serde::Serialize;

use super::world::Outcome;

/// The window in which a share of capacity must be reached.
const WINDOW: usize = 30;

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figures {
    /// Which receiver.
    pub(crate) scenario: String,
    /// Which client.
    pub(crate) algorithm: String,
    /// Runs.
    pub(crate) seeds: u64,
    /// Hours of each.
    pub(crate) hours: f64,
    /// Hidden capacity of the last hour, messages a second; none: unlimited.
    pub(crate) capacity_per_second: Option<f64>,
    /// Delivered in the last hour, messages a second.
    pub(crate) delivered_per_second: f64,
    /// Delivered in the second hour against hidden capacity, mean of all runs. (The second half of a run of other length.)
    pub(crate) utilisation: Option<f64>,
    /// The same of the worst run.
    pub(crate) utilisation_worst: Option<f64>,
    /// Messages that were deferred for 1,000 delivered, over whole runs, mean.
    pub(crate) deferred_per_1000: f64,
    /// The same of the worst run.
    pub(crate) deferred_per_1000_worst: f64,
    /// Refused connections and messages for 1,000 delivered, over whole runs, mean.
    pub(crate) throttled_per_1000: f64,
    /// End of the first 30 seconds in which 80 % of capacity was delivered, of the worst run; none: in some run never.
    pub(crate) seconds_to_80_percent: Option<usize>,
    /// After each rise of capacity: end of the first 30 seconds at 90 % of it, of the worst rise; none: no rise, or never.
    pub(crate) seconds_to_regain: Option<usize>,
    /// Greylisted messages for 1,000 delivered.
    pub(crate) greylisted_per_1000: f64,
    /// Mean number of connections.
    pub(crate) connections: f64,
    /// Blocks for reputation, and messages that were tried while one was on, all runs.
    pub(crate) blocks: (u64, u64),
    /// Connections above the target at any time, all runs: the probe.
    pub(crate) over_target_max: u32,
}

/// What the runs of one scenario came to.
pub(crate) fn figures(scenario: &Scenario, algorithm: &str, messages_max: u32, runs: &[Outcome]) -> Figures {
    let seconds = runs.first().map_or(0, |run| run.delivered.len());
    let capacity: Option<Vec<f64>> = (0..seconds)
        .map(|second| scenario.capacity(second_f64(second) + 0.5, messages_max))
        .collect();
    let half = seconds / 2;
    let measured = half.max(1);
    let late = |run: &Outcome| run.delivered[half..].iter().map(|count| f64::from(*count)).sum::<f64>();
    let late_capacity = capacity.as_ref().map(|capacity| capacity[half..].iter().sum::<f64>());
    let shares: Option<Vec<f64>> = late_capacity.map(|total| runs.iter().map(|run| late(run) / total).collect());
    let per_1000 = |count: fn(&Outcome) -> u64| -> Vec<f64> {
        let share = |run: &Outcome| count_f64(count(run)) * 1000.0 / count_f64(run.delivered_total().max(1));
        runs.iter().map(share).collect()
    };
    let deferred = per_1000(|run| run.deferred);
    let reached = |run: &Outcome| capacity.as_ref().and_then(|capacity| reached(run, capacity, 0, 0.8));
    let rises = capacity.as_ref().map_or_else(Vec::new, |capacity| rises(capacity));
    let regained = |run: &Outcome| {
        let capacity = capacity.as_ref()?;
        worst(rises.iter().map(|&rise| reached_after(run, capacity, rise)).collect())
    };
    Figures {
        scenario: scenario.name.clone(),
        algorithm: algorithm.to_owned(),
        seeds: runs.len() as u64,
        hours: second_f64(seconds) / 3600.0,
        capacity_per_second: late_capacity.map(|total| total / second_f64(measured)),
        delivered_per_second: mean(&runs.iter().map(late).collect::<Vec<_>>()) / second_f64(measured),
        utilisation: shares.as_deref().map(mean),
        utilisation_worst: shares.map(|shares| shares.into_iter().fold(f64::INFINITY, f64::min)),
        deferred_per_1000: mean(&deferred),
        deferred_per_1000_worst: deferred.into_iter().fold(0.0, f64::max),
        throttled_per_1000: mean(&per_1000(|run| run.throttled)),
        seconds_to_80_percent: worst(runs.iter().map(reached).collect()),
        seconds_to_regain: worst(runs.iter().map(regained).collect()).filter(|_| !rises.is_empty()),
        greylisted_per_1000: mean(&per_1000(|run| run.greylisted)),
        connections: mean(
            &runs
                .iter()
                .map(|run| count_f64(run.connection_seconds))
                .collect::<Vec<_>>(),
        ) / second_f64(seconds.max(1)),
        blocks: runs
            .iter()
            .fold((0, 0), |sum, run| (sum.0 + run.blocks.0, sum.1 + run.blocks.1)),
        over_target_max: runs.iter().map(|run| run.over_target_max).max().unwrap_or(0),
    }
}

/// End of the first window from `from` on in which this share of capacity was delivered.
fn reached(run: &Outcome, capacity: &[f64], from: usize, share: f64) -> Option<usize> {
    let ends = from + WINDOW..=capacity.len();
    ends.into_iter().find(|&end| {
        let delivered: f64 = run.delivered[end - WINDOW..end]
            .iter()
            .map(|count| f64::from(*count))
            .sum();
        // A window holds whole messages only: at half a message a second, eleven of fifteen are as near as can be.
        delivered + 0.5 >= share * capacity[end - WINDOW..end].iter().sum::<f64>()
    })
}

fn reached_after(run: &Outcome, capacity: &[f64], rise: usize) -> Option<usize> {
    reached(run, capacity, rise, 0.9).map(|end| end - rise)
}

/// Seconds at which capacity rises by more than a tenth.
fn rises(capacity: &[f64]) -> Vec<usize> {
    (1..capacity.len())
        .filter(|&second| capacity[second] > 1.1 * capacity[second - 1])
        .collect()
}

fn worst(values: Vec<Option<usize>>) -> Option<usize> {
    let all: Option<Vec<usize>> = values.into_iter().collect();
    all?.into_iter().max()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / second_f64(values.len().max(1))
}

fn second_f64(count: usize) -> f64 {
    count_f64(count as u64)
}

#[expect(clippy::cast_precision_loss, reason = "counts of one run")]
fn count_f64(count: u64) -> f64 {
    count as f64
}
