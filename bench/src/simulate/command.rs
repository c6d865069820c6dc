//! Arguments of `bench simulate`, its runs, and what it prints.
//!
//! Takes scenario files, a number of random scenarios or neither (then all files of `bench/scenarios/`); gives one line for
//! each scenario and algorithm, as a table or as JSON. Every figure is the mean or the worst of all seeds, as it says.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use posthaste::domain::{LaneLimits, Timestamp};
use provider_sim::Scenario;
use provider_sim::model::Model;

use super::figures::{Figures, figures};
use super::others::{Other, Rule};
use super::ours::Ours;
use super::plot::plot;
use super::random;
use super::world::{Algorithm, Faults, Outcome, World};
use crate::output;

/// Where the virtual clock stands at the start.
pub(super) const START: Timestamp = Timestamp(1_000_000_000);

#[derive(Debug, Args)]
pub(crate) struct SimulateArguments {
    /// A scenario file (may be given more than once); none: all files in `bench/scenarios/`.
    #[arg(long)]
    scenario: Vec<PathBuf>,
    /// So many random scenarios instead.
    #[arg(long, default_value_t = 0, conflicts_with = "scenario")]
    random: u64,
    /// The seed of the first random scenario.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Virtual hours of each run.
    #[arg(long, default_value_t = 2.0)]
    hours: f64,
    /// Runs of each scenario, with the seeds 1, 2, ….
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// Who sends (may be given more than once).
    #[arg(long, value_enum, default_value = "posthaste")]
    algorithm: Vec<Who>,
    /// Most connections that our lane may hold.
    #[arg(long, default_value_t = 500)]
    connections_max: u32,
    /// Messages after which a client closes a connection of itself.
    #[arg(long, default_value_t = 100)]
    messages_per_connection: u32,
    /// One JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Also draw the run with the first seed into this file, as SVG. Wants one scenario and one algorithm.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Also print the last decisions of our lane.
    #[arg(long)]
    decisions: bool,
}

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Who {
    /// The engine's own controller.
    Posthaste,
    /// Postfix, feedback 1.
    #[value(name = "postfix-1")]
    PostfixOne,
    /// Postfix, feedback 1/N.
    #[value(name = "postfix-n")]
    PostfixShare,
    /// Additive increase, multiplicative decrease.
    Aimd,
    /// Regex rules with fixed values.
    Cliff,
}

/// Runs and prints.
pub(crate) fn run(arguments: &SimulateArguments) -> Result<()> {
    ensure!(
        arguments.hours > 0.0 && arguments.hours <= 1000.0,
        "--hours must be above 0"
    );
    ensure!(arguments.seeds > 0, "--seeds must be above 0");
    let scenarios = scenarios(arguments)?;
    let one = scenarios.len() == 1 && arguments.algorithm.len() == 1;
    ensure!(
        arguments.plot.is_none() || one,
        "--plot wants one --scenario and one --algorithm"
    );
    if !arguments.json {
        output::say(&header());
    }
    for scenario in scenarios {
        if arguments.decisions {
            output::note(&serde_json::to_string(&scenario)?);
        }
        for who in &arguments.algorithm {
            let figures = of_scenario(&scenario, *who, arguments)?;
            match arguments.json {
                true => output::json(&figures)?,
                false => output::say(&line(&figures)),
            }
        }
    }
    Ok(())
}

fn scenarios(arguments: &SimulateArguments) -> Result<Vec<Scenario>> {
    if arguments.random > 0 {
        return Ok((0..arguments.random)
            .map(|index| random::scenario(arguments.seed + index))
            .collect());
    }
    let mut files = arguments.scenario.clone();
    if files.is_empty() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            files.push(entry?.path());
        }
        files.sort();
    }
    let read = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        Scenario::parse(&text).with_context(|| file.display().to_string())
    };
    files.iter().map(read).collect()
}

fn of_scenario(scenario: &Scenario, who: Who, arguments: &SimulateArguments) -> Result<Figures> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
    let seconds = (arguments.hours * 3600.0).round() as u64;
    let limits = LaneLimits {
        connections: arguments.connections_max,
        messages_per_connection: arguments.messages_per_connection,
        messages_per_second: None,
    };
    let one = |seed| {
        let (outcome, decisions) = one_run(scenario, who, limits, seed, seconds, Faults::new(0.0, seed));
        if arguments.decisions {
            decisions.iter().for_each(|line| output::note(line));
        }
        outcome
    };
    let runs: Vec<Outcome> = (1..=arguments.seeds).map(one).collect();
    if let (Some(file), Some(first)) = (&arguments.plot, runs.first()) {
        let picture = plot(scenario, limits.messages_per_connection, first);
        std::fs::write(file, picture).with_context(|| file.display().to_string())?;
    }
    let name = who
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned());
    Ok(figures(scenario, &name, limits.messages_per_connection, &runs))
}

/// One run, and the last decisions of our lane.
pub(crate) fn one_run(
    scenario: &Scenario,
    who: Who,
    limits: LaneLimits,
    seed: u64,
    seconds: u64,
    faults: Faults,
) -> (Outcome, Vec<String>) {
    let model = Model::new(scenario.clone(), seed);
    let other = |rule| Other::new(rule, limits.messages_per_connection, START);
    let mut others: Box<dyn Algorithm> = match who {
        Who::Posthaste => {
            let mut ours = Ours::new(limits, START);
            let outcome = World::run(model, &mut ours, seconds, faults);
            let decisions = ours.room().gate().controller().decisions();
            let line = |decision: &posthaste::policy::decision::Decision| {
                let at = decision.at.since(START).as_secs_f64();
                let (what, signal) = (decision.what, decision.signal);
                format!(
                    "{at:9.3} s  {what:?} from {signal:?}: {:.3} -> {:.3}",
                    decision.from, decision.to
                )
            };
            return (outcome, decisions.map(line).collect());
        }
        Who::PostfixOne => Box::new(other(Rule::PostfixOne)),
        Who::PostfixShare => Box::new(other(Rule::PostfixShare)),
        Who::Aimd => Box::new(other(Rule::Aimd)),
        Who::Cliff => Box::new(other(Rule::Cliff)),
    };
    (World::run(model, others.as_mut(), seconds, faults), Vec::new())
}

fn header() -> String {
    format!(
        "{:<34} {:<10} {:>8} {:>7} {:>7} {:>10} {:>10} {:>6} {:>7} {:>6} {:>9}",
        "scenario",
        "algorithm",
        "capacity",
        "used %",
        "worst %",
        "deferred",
        "throttled",
        "80% s",
        "regain",
        "conns",
        "blocks"
    )
}

fn line(figures: &Figures) -> String {
    let percent = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{:.1}", share * 100.0));
    let seconds = |value: Option<usize>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    format!(
        "{:<34} {:<10} {:>8} {:>7} {:>7} {:>10.2} {:>10.2} {:>6} {:>7} {:>6.1} {:>9}",
        figures.scenario,
        figures.algorithm,
        figures
            .capacity_per_second
            .map_or_else(|| "-".to_owned(), |value| format!("{value:.1}")),
        percent(figures.utilisation),
        percent(figures.utilisation_worst),
        figures.deferred_per_1000,
        figures.throttled_per_1000,
        seconds(figures.seconds_to_80_percent),
        seconds(figures.seconds_to_regain),
        figures.connections,
        format!("{}/{}", figures.blocks.0, figures.blocks.1),
    )
}
