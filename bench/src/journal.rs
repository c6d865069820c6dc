//! What the journal costs: W1 as it is, and with dots that do not wait for their INTENT, in turns on one machine.
//!
//! Both are one binary, built with `--features failpoints`: the wait is removed by the deliberate bug `dot-before-intent`,
//! which still records the INTENT. Says besides how long an ACCEPT takes against a commit.

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::engine::knows_bug;
use crate::fit::median;
use crate::output;
use crate::w1::{RunReport, W1Arguments, one_run};

/// The bug that removes the wait.
const WITHOUT_WAIT: &str = "dot-before-intent";

/// Arguments of `journal`: those of `w1`; `--runs` is how many of each kind there are.
#[derive(Debug, Clone, Args)]
pub(crate) struct JournalArguments {
    #[command(flatten)]
    w1: W1Arguments,
}

#[derive(Debug, Serialize)]
struct JournalReport {
    messages: u64,
    with_wait_per_second: f64,
    without_wait_per_second: f64,
    /// The share of the speed that waiting for the INTENT costs. The aim is at most 0.15.
    cost: f64,
    /// Of the runs as they ship.
    accept_p99_ms: f64,
    commit_p99_ms: f64,
    /// The aim is at most 3.
    accept_to_commit_p99: f64,
    with_wait: Vec<RunReport>,
    without_wait: Vec<RunReport>,
}

pub(crate) async fn run(arguments: &JournalArguments) -> Result<()> {
    let w1 = &arguments.w1;
    ensure!(
        knows_bug(WITHOUT_WAIT)?,
        "the engine's binary cannot leave the wait out: build it with --features failpoints"
    );
    let (mut with_wait, mut without_wait) = (Vec::new(), Vec::new());
    for round in 0..w1.runs.max(1) {
        // Whoever comes second finds a warmer machine, so they take turns at that too.
        let first_waits = round % 2 == 0;
        for waits in [first_waits, !first_waits] {
            let run = one_run(w1, (!waits).then_some(WITHOUT_WAIT)).await?;
            let (name, runs) = if waits {
                ("with the wait", &mut with_wait)
            } else {
                ("without it", &mut without_wait)
            };
            output::note(&format!(
                "round {}, {name}: {:.0}/s; accept p99 {:.1} ms, commit p99 {:.1} ms",
                round + 1,
                run.messages_per_second,
                run.load.accept_p99_ms,
                run.commit_p99_ms
            ));
            runs.push(run);
        }
    }
    let middle = |runs: &[RunReport], figure: fn(&RunReport) -> f64| median(runs.iter().map(figure).collect());
    let (with_speed, without_speed) = (
        middle(&with_wait, |run| run.messages_per_second),
        middle(&without_wait, |run| run.messages_per_second),
    );
    let (accept_p99_ms, commit_p99_ms) = (
        middle(&with_wait, |run| run.load.accept_p99_ms),
        middle(&with_wait, |run| run.commit_p99_ms),
    );
    let report = JournalReport {
        messages: w1.messages,
        with_wait_per_second: with_speed,
        without_wait_per_second: without_speed,
        cost: 1.0 - with_speed / without_speed,
        accept_p99_ms,
        commit_p99_ms,
        accept_to_commit_p99: accept_p99_ms / commit_p99_ms,
        with_wait,
        without_wait,
    };
    output::note(&format!(
        "median: {with_speed:.0}/s with the wait, {without_speed:.0}/s without it: it costs {:.1} %; accept p99 is {:.1} \
         times the commit p99",
        report.cost * 100.0,
        report.accept_to_commit_p99
    ));
    if w1.json { output::json(&report) } else { Ok(()) }
}
