//! Isolation on real sockets: five providers, one of them tarpits and one blocks; what do the other three notice?
//!
//! Mail is offered at a fixed rate, in turns to all five. A pair of runs is one with both bad providers as they are and one
//! with healthy ones in their place, in turns also in which comes first. Of the three good ones it compares what they
//! received and how long that took, from the call to the receiver's record. Medians of all pairs are reported, and the CPU
//! that was used, since the comparison means something only on a machine that is not full.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use clap::Args;
use hyper::StatusCode;
use provider_sim::{Keep, Ledger, Receiver, Scenario};
use serde::Serialize;
use serde_json::json;
use tokio::task::LocalSet;

use crate::aside::Aside;
use crate::call::Call;
use crate::engine::{Engine, EnginePlan, SENDER_DOMAIN};
use crate::fit::{median, now, number, quantile, wall_ms};
use crate::output;
use crate::process::cpu_seconds_of;

/// Providers, and those of them that stay healthy.
const PROVIDERS: usize = 5;
const GOOD: usize = 3;
/// Calls in flight at most.
const CALLS_MAX: usize = 64;
/// The good providers may be this long behind when a run ends.
const TAIL: Duration = Duration::from_secs(15);
/// The aims: throughput at least, and the 99th percentile of delay at most this much higher, or this many milliseconds.
const THROUGHPUT_LEAST: f64 = 0.95;
const DELAY_SHARE_MOST: f64 = 0.10;
const DELAY_MS_MOST: f64 = 5.0;
/// Above this share of all cores a run says nothing about lanes.
const CPU_MOST: f64 = 0.40;

const HEALTHY: &str = "name: healthy\nconnect_ms: 2\nservice: {mean_ms: 5, distribution: constant}\n";
const TARPIT: &str = "name: tarpit\nconnect_ms: 2\nservice: {mean_ms: 5, distribution: constant}\n\
                      tarpit: {banner_ms: 3000, message_ms: 10000}\n";
const BLOCKED: &str = "name: blocked\nconnect_ms: 2\nservice: {mean_ms: 5, distribution: constant}\n\
                       reputation: {messages: 0, window_seconds: 60, block_seconds: 600}\n";

/// Arguments of `isolation`.
#[derive(Debug, Clone, Args)]
pub(crate) struct IsolationArguments {
    /// Mails offered a second, to all five providers together.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(5..=100_000))]
    rate: u64,
    /// Seconds of a run that are measured.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds before them that are not.
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
    /// Pairs of runs.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pairs: u32,
    /// Where data directories are made.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// One short pair that only checks that the good providers get everything.
    #[arg(long)]
    smoke: bool,
}

/// The figures of one run, of the good providers.
#[derive(Debug, Clone, Serialize)]
struct RunReport {
    with_bad: bool,
    offered: u64,
    received: u64,
    messages_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Of all cores: the engine, and everything on the machine.
    engine_cpu_share: f64,
    machine_cpu_share: f64,
}

#[derive(Debug, Serialize)]
struct IsolationReport {
    rate: u64,
    seconds: u64,
    pairs: u32,
    /// Throughput of the good ones beside the bad ones, against the same beside healthy ones; the aim is 0.95.
    throughput_ratio: f64,
    p99_ms_beside_healthy: f64,
    p99_ms_beside_bad: f64,
    /// Median of the differences of pairs.
    p99_ms_more: f64,
    p99_ms_more_allowed: f64,
    engine_cpu_share: f64,
    machine_cpu_share: f64,
    /// The machine had enough to spare: at most 40 %.
    is_valid: bool,
    is_isolated: bool,
    runs: Vec<RunReport>,
}

pub(crate) async fn run(arguments: &IsolationArguments) -> Result<()> {
    let mut arguments = arguments.clone();
    if arguments.smoke {
        (arguments.seconds, arguments.warm_up, arguments.pairs) = (3, 1, 1);
        arguments.rate = arguments.rate.min(100);
    }
    let mut runs = Vec::new();
    for pair in 0..arguments.pairs {
        // Whoever comes second finds a warmer machine, so they take turns at that too.
        let first = pair % 2 == 0;
        for with_bad in [first, !first] {
            let report = one_run(&arguments, with_bad).await?;
            output::note(&format!(
                "pair {}, {}: {:.1}/s, p50 {:.1} ms, p99 {:.1} ms; CPU: engine {:.0} %, machine {:.0} %",
                pair + 1,
                if with_bad {
                    "beside bad ones"
                } else {
                    "beside healthy ones"
                },
                report.messages_per_second,
                report.p50_ms,
                report.p99_ms,
                report.engine_cpu_share * 100.0,
                report.machine_cpu_share * 100.0,
            ));
            ensure!(
                report.received == report.offered,
                "the good providers got {} of {}",
                report.received,
                report.offered
            );
            runs.push(report);
        }
    }
    let report = sum_up(&arguments, runs);
    output::note(&format!(
        "median: {:.3} of the throughput, p99 {:+.1} ms (allowed {:.1}); machine {:.0} % busy{}: {}",
        report.throughput_ratio,
        report.p99_ms_more,
        report.p99_ms_more_allowed,
        report.machine_cpu_share * 100.0,
        if report.is_valid { "" } else { ", too much to tell" },
        if report.is_isolated { "isolated" } else { "NOT isolated" },
    ));
    if arguments.json { output::json(&report) } else { Ok(()) }
}

fn sum_up(arguments: &IsolationArguments, runs: Vec<RunReport>) -> IsolationReport {
    let of = |with_bad: bool| runs.iter().filter(move |run| run.with_bad == with_bad);
    let middle = |with_bad: bool, figure: fn(&RunReport) -> f64| median(of(with_bad).map(figure).collect());
    let pairs = || of(true).zip(of(false));
    let throughput_ratio = median(
        pairs()
            .map(|(bad, healthy)| bad.messages_per_second / healthy.messages_per_second)
            .collect(),
    );
    let p99_ms_more = median(pairs().map(|(bad, healthy)| bad.p99_ms - healthy.p99_ms).collect());
    let p99_ms_beside_healthy = middle(false, |run| run.p99_ms);
    let p99_ms_more_allowed = (p99_ms_beside_healthy * DELAY_SHARE_MOST).max(DELAY_MS_MOST);
    let machine_cpu_share = median(runs.iter().map(|run| run.machine_cpu_share).collect());
    IsolationReport {
        rate: arguments.rate,
        seconds: arguments.seconds,
        pairs: arguments.pairs,
        throughput_ratio,
        p99_ms_beside_healthy,
        p99_ms_beside_bad: middle(true, |run| run.p99_ms),
        p99_ms_more,
        p99_ms_more_allowed,
        engine_cpu_share: median(runs.iter().map(|run| run.engine_cpu_share).collect()),
        machine_cpu_share,
        is_valid: machine_cpu_share <= CPU_MOST,
        is_isolated: throughput_ratio >= THROUGHPUT_LEAST && p99_ms_more <= p99_ms_more_allowed,
        runs,
    }
}

/// One run on a fresh data directory.
async fn one_run(arguments: &IsolationArguments, with_bad: bool) -> Result<RunReport> {
    // Receivers stand for other people's machines: they get a thread of their own.
    let aside = Aside::start()?;
    let records_max = usize::try_from(arguments.rate * (arguments.seconds + arguments.warm_up))?;
    let ledger = Ledger::new(Keep::Records { records_max });
    let receivers = aside.run(receivers(with_bad, ledger.clone())).await?;
    let addresses: Vec<SocketAddr> = receivers.iter().map(Receiver::address).collect();
    let mut engine = Engine::start(&plan(&addresses, arguments.directory.clone()), None).await?;
    let mails = arguments.rate * (arguments.seconds + arguments.warm_up);
    let first_measured = arguments.rate * arguments.warm_up;
    let measured = async {
        tokio::time::sleep(Duration::from_secs(arguments.warm_up)).await;
        let before = Cpu::read(&engine)?;
        tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
        Ok::<_, anyhow::Error>(Cpu::read(&engine)?.since(&before))
    };
    let offering = offer(&engine, mails, arguments.rate);
    let (offered, cpu) = tokio::join!(offering, measured);
    let (sent_at, cpu) = (offered?, cpu?);
    let is_measured = |mail: u64| mail >= first_measured && provider_of(mail) < GOOD;
    let expected = (0..mails).filter(|mail| is_measured(*mail)).count();
    let delays = || delays(&ledger, &sent_at, is_measured);
    let complete = ledger.wait_until(|_| delays().len() >= expected, TAIL).await;
    if complete.is_err() {
        output::note("not everything came in time");
    }
    let mut delays = delays();
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| quantile(&delays, share);
    let report = RunReport {
        with_bad,
        offered: u64::try_from(expected)?,
        received: u64::try_from(delays.len())?,
        messages_per_second: in_time(&ledger, &sent_at, is_measured) / number(arguments.seconds),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        engine_cpu_share: cpu.engine,
        machine_cpu_share: cpu.machine,
    };
    // A tarpit holds on to connections: nobody waits for the end of those.
    let _ = engine.child.stop(Duration::from_secs(5)).await?;
    drop(receivers);
    Ok(report)
}

fn provider_of(mail: u64) -> usize {
    usize::try_from(mail % PROVIDERS as u64).unwrap_or(0)
}

async fn receivers(with_bad: bool, ledger: Ledger) -> Result<Vec<Receiver>> {
    let mut receivers = Vec::new();
    for place in 0..PROVIDERS {
        let text = match (with_bad, place) {
            (true, 3) => TARPIT,
            (true, 4) => BLOCKED,
            _ => HEALTHY,
        };
        let scenario = Scenario::parse(text).context("a scenario of this file")?;
        let receiver = Receiver::builder()
            .scenario(scenario, 1)
            .ledger(ledger.clone())
            .without_transcripts();
        receivers.push(receiver.listen(SocketAddr::from(([127, 0, 0, 1], 0))).await?);
    }
    Ok(receivers)
}

/// Each provider is a route, hence a lane, of its own; the last one takes what the others do not.
fn plan(addresses: &[SocketAddr], directory: Option<PathBuf>) -> EnginePlan {
    let last = addresses.len() - 1;
    let route = |place: usize| {
        format!(
            "  - {{name: p{place}, domains: [p{place}.test], host: \"{}\", port: {}, tls: off, connections: 20}}\n",
            addresses[place].ip(),
            addresses[place].port()
        )
    };
    EnginePlan {
        sink: addresses[last],
        connections: 20,
        dkim: false,
        directory,
        extra: (0..last).map(route).collect(),
        sabotage: None,
    }
}

/// Offers mails at this rate; gives when each call was made, in milliseconds since 1970.
async fn offer(engine: &Engine, mails: u64, rate: u64) -> Result<Vec<u64>> {
    let sent_at: Rc<Vec<Cell<u64>>> = Rc::new((0..mails).map(|_| Cell::new(0)).collect());
    let next = Rc::new(Cell::new(0));
    let started = now();
    let local = LocalSet::new();
    let mut tasks = Vec::new();
    for _ in 0..CALLS_MAX {
        let mut connection = Call::connect(engine.api, &engine.key).await?;
        let (sent_at, next) = (Rc::clone(&sent_at), Rc::clone(&next));
        tasks.push(local.spawn_local(async move {
            loop {
                let mail = next.get();
                if mail >= mails {
                    return Ok(());
                }
                next.set(mail + 1);
                let due = Duration::from_secs_f64(number(mail) / number(rate));
                tokio::time::sleep_until((started + due).into()).await;
                sent_at[usize::try_from(mail)?].set(wall_ms());
                let (status, answer) = connection.post("/send-email", body(mail)).await?;
                if status != StatusCode::ACCEPTED {
                    bail!("the API answered {status}: {}", String::from_utf8_lossy(&answer));
                }
            }
        }));
    }
    local
        .run_until(async {
            for task in tasks {
                task.await??;
            }
            anyhow::Ok(())
        })
        .await?;
    Ok(sent_at.iter().map(Cell::get).collect())
}

fn body(mail: u64) -> Bytes {
    let value = json!({
        "from": format!("shop@{SENDER_DOMAIN}"),
        "to": format!("mail{mail}@p{}.test", provider_of(mail)),
        "subject": "Your order is on its way",
        "text": "Your parcel has left our warehouse and will be with you within two days.\n",
    });
    Bytes::from(value.to_string())
}

/// What was received of the mails that are measured: number and time.
fn received(ledger: &Ledger, is_measured: impl Fn(u64) -> bool) -> Vec<(u64, u64)> {
    let of = |copy: &std::sync::Arc<provider_sim::Received>| {
        let mail: u64 = copy.recipient.strip_prefix("mail")?.split('@').next()?.parse().ok()?;
        is_measured(mail).then_some((mail, copy.at_ms))
    };
    ledger.records().iter().filter_map(of).collect()
}

/// Milliseconds from call to receiver.
fn delays(ledger: &Ledger, sent_at: &[u64], is_measured: impl Fn(u64) -> bool) -> Vec<f64> {
    let delay = |(mail, at_ms): (u64, u64)| {
        let sent = usize::try_from(mail).ok().and_then(|mail| sent_at.get(mail))?;
        Some(number(at_ms.saturating_sub(*sent)))
    };
    received(ledger, is_measured).into_iter().filter_map(delay).collect()
}

/// Mails that came before the last one was offered: those that come later were not kept up with.
fn in_time(ledger: &Ledger, sent_at: &[u64], is_measured: impl Fn(u64) -> bool) -> f64 {
    let end = sent_at.iter().max().copied().unwrap_or(0);
    let received = received(ledger, is_measured);
    // The last ones are on their way at the end of every run, however quick the road is.
    let grace = 1_000;
    number(received.iter().filter(|(_, at_ms)| *at_ms <= end + grace).count() as u64)
}

/// CPU seconds so far, or shares of all cores between two readings.
#[derive(Debug, Clone, Copy)]
struct Cpu {
    engine: f64,
    machine: f64,
    all: f64,
}

impl Cpu {
    fn read(engine: &Engine) -> Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
        let (busy, all) = busy_and_all(&stat).context("/proc/stat looks different")?;
        Ok(Self {
            engine: cpu_seconds_of(engine.child.id())?,
            machine: busy,
            all,
        })
    }

    fn since(&self, before: &Self) -> Self {
        let all = (self.all - before.all).max(f64::EPSILON);
        Self {
            engine: (self.engine - before.engine) / all,
            machine: (self.machine - before.machine) / all,
            all,
        }
    }
}

/// Seconds of all cores: busy ones, and all. The first line of `proc(5)`'s stat: user, nice, system, idle, iowait, …
fn busy_and_all(stat: &str) -> Option<(f64, f64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line.split_whitespace().filter_map(|value| value.parse().ok()).collect();
    // Guests are in user time already.
    let all: f64 = ticks.iter().take(8).sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some(((all - idle) / 100.0, all / 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_is_all_that_is_not_idle_or_waiting() {
        let stat = "cpu  100 0 50 800 50 0 0 0 20 0\ncpu0 1 2 3\n";
        assert_eq!(busy_and_all(stat), Some((1.5, 10.0)));
        assert_eq!(busy_and_all("intr 5\n"), None);
    }

    #[test]
    fn pairs_are_compared_with_each_other_and_the_aims_decide() {
        let run = |with_bad, messages_per_second, p99_ms, machine_cpu_share| RunReport {
            with_bad,
            offered: 1,
            received: 1,
            messages_per_second,
            p50_ms: 1.0,
            p99_ms,
            engine_cpu_share: 0.1,
            machine_cpu_share,
        };
        let arguments = IsolationArguments {
            rate: 5,
            seconds: 1,
            warm_up: 0,
            pairs: 1,
            directory: None,
            json: false,
            smoke: false,
        };
        for (speed, p99, cpu, isolated, valid) in [
            (96.0, 104.0, 0.3, true, true),
            (94.0, 100.0, 0.3, false, true),
            (100.0, 111.0, 0.3, false, true),
            (100.0, 109.0, 0.5, true, false),
        ] {
            let report = sum_up(
                &arguments,
                vec![run(true, speed, p99, cpu), run(false, 100.0, 100.0, cpu)],
            );
            assert_eq!(
                (report.is_isolated, report.is_valid),
                (isolated, valid),
                "{speed} {p99} {cpu}"
            );
        }
    }

    #[test]
    fn the_scenarios_of_this_file_are_valid() {
        for text in [HEALTHY, TARPIT, BLOCKED] {
            assert!(Scenario::parse(text).is_ok(), "{text}");
        }
    }
}
