//! One run from start to report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use posthaste::sabotage::Bug;

use super::account::{Account, Outcome};
use super::callers::{Door, Traffic};
use super::director::{Director, LEASE, Record};
use super::judge::{Tally, ids_of_unanswered, judge};
use super::mail::SENDER_DOMAIN;
use super::node::Node;
use super::plan::{StoreKind, draw};
use super::readout::{Counted, counted, read};
use super::receivers::Receivers;
use super::redis::Redis;
use super::report::{Asked, Report, failures};
use crate::engine::Directory;
use crate::fit::now;
use crate::output;

/// Deliveries that may wait before the callers pause.
const WAITING_MAX: u64 = 3_000;
/// Between two looks at how many wait.
const BRAKE_EVERY: Duration = Duration::from_millis(500);
/// How long the queue may take to run empty when everything is healed.
const SETTLE_MAX: Duration = Duration::from_secs(180);

/// Name of the file in a data directory that holds the key for secrets at rest.
const SECRET_KEY_FILE: &str = "secret.key";

/// Arguments of `chaos`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChaosArguments {
    /// One engine with its own database, or two on one Redis.
    #[arg(long, value_enum, default_value_t = StoreKind::Embedded)]
    store: StoreKind,
    /// How many times something is killed.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    kills: u64,
    /// The plan and the mail follow from it. Without it a fresh one is taken, and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Deliveries a second that are asked for.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
    /// A deliberate bug of src/sabotage.rs that the engines get. The run must then fail.
    #[arg(long)]
    sabotage: Option<String>,
    /// Where the run's folder is made; the system's temporary directory if none is given.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Leave the run's folder: logs, databases, what the receivers wrote.
    #[arg(long)]
    keep: bool,
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &ChaosArguments) -> Result<()> {
    if let Some(name) = &arguments.sabotage
        && !Bug::ALL.iter().any(|(_, known)| known == name)
    {
        let names: Vec<&str> = Bug::ALL.iter().map(|(_, name)| *name).collect();
        bail!("there is no bug {name}; there are: {}", names.join(", "));
    }
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let directory = Directory::make(arguments.directory.as_deref())?;
    // What was started and mounted goes with the run, however it ends.
    let report = tokio::select! {
        report = whole(arguments, directory.path()) => report,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
    };
    if arguments.keep {
        output::note(&format!("everything is left in {}", directory.path().display()));
        std::mem::forget(directory);
    }
    let report = report?;
    report.tally.examples.iter().for_each(|example| output::note(example));
    show(arguments, &report)?;
    if !report.passed {
        bail!("the run failed: {}", report.failures.join("; "));
    }
    Ok(())
}

fn show(arguments: &ChaosArguments, report: &Report) -> Result<()> {
    let tally = &report.tally;
    // Standard output is one JSON object then, which programs read whole.
    let tell = if arguments.json { output::note } else { output::say };
    tell(&format!(
        "{} kills, {} restarts in {:.0} s: {} accepted, {} copies, {} verdicts; {} ambiguous, {} duplicates",
        report.record.kills,
        report.record.restarts,
        report.seconds,
        tally.accepted,
        tally.copies,
        tally.verdicts,
        tally.ambiguous,
        tally.duplicates,
    ));
    for (what, why) in &report.record.skipped {
        tell(&format!("skipped {what}: {why}"));
    }
    if arguments.json { output::json(report) } else { Ok(()) }
}

async fn whole(arguments: &ChaosArguments, folder: &Path) -> Result<Report> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1 << 48));
    let began = now();
    output::note(&format!(
        "chaos --store {} --kills {} --seed {seed}",
        output::name_of(arguments.store),
        arguments.kills
    ));
    let receivers = Receivers::start(folder).await?;
    let mut director = stage(arguments, folder, &receivers).await?;
    let traffic = Arc::clone(&director.traffic);
    let callers = traffic.start(seed);
    let brake = tokio::spawn(watch_the_queue(Arc::clone(&traffic)));
    let plan = draw(seed, arguments.store, arguments.kills);
    let bar = output::bar(plan.len() as u64, "faults");
    for (number, step) in plan.iter().enumerate() {
        director
            .perform(step)
            .await
            .with_context(|| format!("{:?}", step.fault))?;
        bar.inc(1);
        let line = format!(
            "{:>4}/{} {:>6.1} s  {:?} of engine {}: {} accepted, {} copies",
            number + 1,
            plan.len(),
            now().duration_since(began).as_secs_f64(),
            step.fault,
            step.node,
            traffic.account().accepted(),
            receivers.copies(),
        );
        bar.suspend(|| output::note(&line));
    }
    bar.finish_and_clear();
    director.heal().await?;
    brake.abort();
    traffic.brake.store(false, Ordering::Relaxed);
    traffic.stop(callers).await?;
    let waiting = director.settle(SETTLE_MAX).await?;
    let tally = count(&mut director, &receivers, waiting).await?;
    let asked = Asked {
        kills: arguments.kills,
        sessions_max: Receivers::sessions_max(director.nodes.len() as u64),
    };
    let (store_refusals, repeated) = {
        let account = traffic.account();
        director.record.wrong.extend(account.surprises.iter().cloned());
        (account.store_refusals, account.repeated)
    };
    let failures = failures(asked, &tally, &director.record);
    Ok(Report {
        passed: failures.is_empty(),
        store: arguments.store,
        seed,
        seconds: now().duration_since(began).as_secs_f64(),
        balanced: director.record.unbalanced.is_empty(),
        tally,
        record: director.record,
        store_refusals,
        repeated,
        sabotage: arguments.sabotage.clone(),
        failures,
    })
}

/// Starts everything that a run needs.
async fn stage(arguments: &ChaosArguments, folder: &Path, receivers: &Receivers) -> Result<Director> {
    let (engines, redis) = match arguments.store {
        StoreKind::Embedded => (1, None),
        StoreKind::Redis => (2, Some(Redis::start().await?)),
    };
    let store = redis.as_ref().map(|redis| shared_store(redis.url()));
    let config = config(receivers, store.as_deref().unwrap_or(""));
    let mut nodes: Vec<Node> = (0..engines)
        .map(|number| Node::new(number, folder, config.clone(), arguments.sabotage.clone()))
        .collect();
    let mut doors = Vec::new();
    let mut key = None;
    for number in 0..nodes.len() {
        if number > 0 {
            share_secret(&nodes[0].data, &nodes[number].data)?;
        }
        let node = &mut nodes[number];
        let started = node.start(key.is_none()).await?;
        key = key.or(started.key);
        let metrics = node.metrics().context("it has just started")?;
        doors.push(Door {
            api: started.api,
            metrics,
        });
    }
    let key = key.context("the first start shows a key")?;
    let traffic = Arc::new(Traffic::new(key, arguments.rate));
    for (number, door) in doors.into_iter().enumerate() {
        traffic.set_door(number, Some(door));
    }
    Ok(Director {
        folder: folder.to_owned(),
        nodes,
        redis,
        traffic,
        record: Record::default(),
    })
}

/// Engines on one store seal what they keep there with the same key.
fn share_secret(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::copy(from.join(SECRET_KEY_FILE), to.join(SECRET_KEY_FILE)).context(SECRET_KEY_FILE)?;
    Ok(())
}

/// One Redis and two Sources for all engines: one that dies leaves both to the other.
fn shared_store(url: &str) -> String {
    let sources = [1, 2].map(|number| format!("{{id: s{number}, ip: 127.0.0.{number}, ehlo: mta{number}.chaos.test}}"));
    format!("store: {{url: \"{url}\"}}\nsources: [{}]\n", sources.join(", "))
}

/// Short leases, retries and holds, so that everything settles while one looks.
fn config(receivers: &Receivers, store: &str) -> String {
    format!(
        "hostname: mta.chaos.test
api: {{listen: \"127.0.0.1:0\", workers: 1}}
metrics: {{listen: \"127.0.0.1:0\"}}
{store}domains: [{{name: {SENDER_DOMAIN}, verified: true, dkim: false}}]
delivery:
  retry: {{critical: [200ms, 500ms], transactional: [300ms, 1s], broadcast: [300ms, 1s]}}
  hold: 3s
  breaker: {{failures: 3, first_pause: 200ms, longest_pause: 1s}}
  slow: {{first_pause: 200ms, longest_pause: 1s}}
  stop_longest: 500ms
  wait_longest: 1s
engine: {{lease: {lease}ms, session_idle: 2s, shutdown_grace: 15s}}
{routes}",
        lease = LEASE.as_millis(),
        routes = receivers.routes(),
    )
}

/// Callers pause while the engine has more than it can send soon: the run is about what breaks, not about backlogs.
async fn watch_the_queue(traffic: Arc<Traffic>) {
    loop {
        if let Some(metrics) = traffic.metrics()
            && let Ok(counted) = counted(metrics).await
        {
            traffic.brake.store(counted.waiting > WAITING_MAX, Ordering::Relaxed);
        }
        tokio::time::sleep(BRAKE_EVERY).await;
    }
}

/// Reads all sides and counts.
async fn count(director: &mut Director, receivers: &Receivers, waiting: u64) -> Result<Tally> {
    let traffic = Arc::clone(&director.traffic);
    let copies = receivers.read()?;
    let (mut ids, strays) = {
        let account = traffic.account();
        (accepted_ids(&account), ids_of_unanswered(account.calls(), &copies))
    };
    ids.extend(strays.iter().cloned());
    let ends = read(&traffic, ids).await?;
    let metrics = director.nodes[0].metrics().context("the engine does not run")?;
    let counted = counted(metrics).await?;
    let account = traffic.account();
    let tally = judge(account.calls(), &copies, &ends, waiting);
    let known_strays = strays.iter().filter_map(|id| ends.get(id)?.as_ref());
    let strays = known_strays.map(|ends| ends.len() as u64).sum();
    let wrong = unbalanced(&account, &tally, &counted, strays);
    director.record.unbalanced.extend(wrong);
    Ok(tally)
}

fn accepted_ids(account: &Account) -> Vec<String> {
    let ids = account.calls().iter().filter_map(|call| match &call.outcome {
        Outcome::Accepted(ids) => Some(ids.iter().cloned()),
        _ => None,
    });
    ids.flatten().collect()
}

/// The engine's ledger at the end against what is known: every state holds at least the accepted deliveries that are in
/// it; what it holds besides are mails of calls that were never answered, at least those of which copies were seen.
fn unbalanced(account: &Account, tally: &Tally, counted: &Counted, strays: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    for (state, known) in &tally.states {
        let own = counted.by_state.get(state).copied().unwrap_or(0);
        if own < *known {
            wrong.push(format!("the engine counts {own} {state}, the API shows {known}"));
        }
    }
    let (least, most) = (account.accepted() + strays, account.accepted() + account.unsure());
    let total = counted.total();
    if total < least || total > most {
        wrong.push(format!(
            "{total} deliveries in the store at the end, not from {least} to {most}"
        ));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use posthaste::domain::Class;

    use super::super::account::MailAsked;
    use super::*;

    #[test]
    fn the_last_look_at_the_ledger_sees_too_few_too_many_and_another_state() {
        let mut account = Account::default();
        let mail = || MailAsked {
            class: Class::Critical,
            recipients: vec!["a@x.test".to_owned()],
            not_before_ms: 0,
        };
        for outcome in [Outcome::Accepted(vec!["1".to_owned()]), Outcome::Unanswered] {
            let number = account.open(vec![mail()]);
            account.close(number, outcome);
        }
        let tally = Tally {
            states: [("delivered".to_owned(), 1)].into(),
            ..Tally::default()
        };
        let check = |states: &[(&str, u64)], strays, expect: usize| {
            let counted = Counted {
                by_state: states
                    .iter()
                    .map(|(state, count)| ((*state).to_owned(), *count))
                    .collect(),
                waiting: 0,
            };
            let wrong = unbalanced(&account, &tally, &counted, strays);
            assert_eq!(wrong.len(), expect, "{states:?}: {wrong:?}");
        };
        check(&[("delivered", 1)], 0, 0);
        check(&[("delivered", 2)], 1, 0);
        check(&[("delivered", 1)], 1, 1);
        check(&[("delivered", 3)], 0, 1);
        check(&[("bounced", 1)], 0, 1);
        check(&[], 0, 2);
    }
}
