//! Codes under a flood of newsletters: how long they wait in a lane that is full of other mail, and what is left of it.
//!
//! One provider with a hidden cap of connections and a known service time, a flood of broadcast mail in batches, and codes at
//! a steady rate. Three phases: the flood is being taken in; all of it waits; codes alone could fill the lane. The queue delay
//! of a code is the time from its 202 to the receiver's record, less the service time of its own delivery.

use std::cell::{Cell, RefCell};
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
use crate::fit::{now, number, wall_ms};
use crate::load::Load;
use crate::mail::MailShape;
use crate::{output, scrape};

/// A code may wait one service time and this.
const GRACE_MS: f64 = 1_000.0;
/// What broadcast keeps of a lane that codes could fill.
const BROADCAST_LEAST: f64 = 0.05;
/// Mails of the flood in one call, and calls at once.
const BATCH: u64 = 500;
const FLOOD_CALLS: u64 = 4;
/// Calls with codes at once: at least, at most. Each comes every two seconds at most, so that its connection is kept.
const CODE_CALLS: (u64, u64) = (4, 32);
/// Codes may be this long behind when a phase ends.
const TAIL: Duration = Duration::from_secs(60);
/// Pause after a 503.
const PRESSURE_PAUSE: Duration = Duration::from_millis(50);
/// The saturated phase begins this long before it is counted: the lane fills with codes first.
const FILLING: Duration = Duration::from_secs(5);

/// Arguments of `flood`.
#[derive(Debug, Clone, Args)]
pub(crate) struct FloodArguments {
    /// Broadcast mails.
    #[arg(long, default_value_t = 1_000_000)]
    broadcast: u64,
    /// Codes a second.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    critical_per_second: u64,
    /// How long the receiver takes for a message.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    service_ms: u64,
    /// Connections that the receiver allows; the engine does not know.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    connections: u64,
    /// Seconds that the lane has for itself and the flood before codes come.
    #[arg(long, default_value_t = 20)]
    settle: u64,
    /// Seconds of codes while all of the flood waits; at least as many while it is taken in.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Seconds in which codes alone could fill the lane twice.
    #[arg(long, default_value_t = 120)]
    saturated: u64,
    /// Where the data directory is made: about 2 GB for a million mails.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// A small run that only checks that both kinds arrive.
    #[arg(long)]
    smoke: bool,
}

/// Codes of one phase.
#[derive(Debug, Clone, Serialize)]
struct PhaseReport {
    phase: &'static str,
    seconds: f64,
    codes: u64,
    received: u64,
    /// Of queue delays.
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// What the receiver took of both kinds, of what it could.
    utilisation: f64,
}

#[derive(Debug, Serialize)]
struct FloodReport {
    broadcast: u64,
    critical_per_second: u64,
    service_ms: u64,
    connections: u64,
    /// A queue delay's 99th percentile may be this.
    promise_ms: f64,
    /// How fast the flood was accepted.
    accepted_per_second: f64,
    phases: Vec<PhaseReport>,
    /// In the saturated phase.
    broadcast_share: f64,
    /// There was a code waiting all the time, else the share says nothing.
    is_saturated: bool,
    peak_mib: f64,
    engine_cpu_seconds: f64,
    is_kept: bool,
}

pub(crate) async fn run(arguments: &FloodArguments) -> Result<()> {
    let mut arguments = arguments.clone();
    if arguments.smoke {
        (arguments.broadcast, arguments.critical_per_second) = (6_000, 20);
        (arguments.service_ms, arguments.connections) = (40, 4);
        (arguments.settle, arguments.seconds, arguments.saturated) = (1, 2, 2);
    }
    let report = measure(&arguments).await?;
    for phase in &report.phases {
        output::note(&format!(
            "{}: {} of {} codes in {:.0} s, queue delay p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms (p99 at most {:.0}); lane {:.0} % busy",
            phase.phase,
            phase.received,
            phase.codes,
            phase.seconds,
            phase.p50_ms,
            phase.p99_ms,
            phase.max_ms,
            report.promise_ms,
            phase.utilisation * 100.0,
        ));
    }
    output::note(&format!(
        "codes alone could fill the lane{}: broadcast has {:.1} % of it (at least {:.0}); flood accepted at {:.0}/s; peak {:.0} MiB: {}",
        if report.is_saturated { "" } else { " (they did not)" },
        report.broadcast_share * 100.0,
        BROADCAST_LEAST * 100.0,
        report.accepted_per_second,
        report.peak_mib,
        if report.is_kept { "kept" } else { "NOT kept" },
    ));
    if arguments.json {
        output::json(&report)?;
    }
    if arguments.smoke {
        let arrived = |phase: &PhaseReport| phase.codes > 0 && phase.received == phase.codes;
        ensure!(report.phases.iter().all(arrived), "not all codes arrived");
        ensure!(report.broadcast_share > 0.0, "no broadcast arrived beside the codes");
        return Ok(());
    }
    ensure!(report.is_kept, "the promise was not kept");
    Ok(())
}

async fn measure(arguments: &FloodArguments) -> Result<FloodReport> {
    // The receiver stands for another machine: it gets a thread of its own.
    let aside = Aside::start()?;
    let ledger = Ledger::new(Keep::Records {
        records_max: 10_000_000,
    });
    let receiver = aside.run(receiver(arguments.clone(), ledger.clone())).await?;
    let mut engine = Engine::start(&plan(arguments, &receiver), None).await?;
    let codes = Codes::default();
    let local = LocalSet::new();
    let measured = local.run_until(phases(arguments, &engine, &ledger, &codes)).await?;
    let (phases, accepted_per_second, share) = measured;
    let promise_ms = number(arguments.service_ms) + GRACE_MS;
    let in_time = |phase: &PhaseReport| phase.received == phase.codes && phase.p99_ms <= promise_ms;
    let report = FloodReport {
        broadcast: arguments.broadcast,
        critical_per_second: arguments.critical_per_second,
        service_ms: arguments.service_ms,
        connections: arguments.connections,
        promise_ms,
        accepted_per_second,
        is_kept: phases.iter().all(in_time) && share.is_saturated && share.broadcast >= BROADCAST_LEAST,
        phases,
        broadcast_share: share.broadcast,
        is_saturated: share.is_saturated,
        peak_mib: engine.child.peak_mib()?,
        engine_cpu_seconds: engine.child.cpu_seconds()?,
    };
    let _ = engine.child.stop(Duration::from_secs(10)).await?;
    drop(receiver);
    Ok(report)
}

async fn receiver(arguments: FloodArguments, ledger: Ledger) -> Result<Receiver> {
    let text = scenario(&arguments);
    let scenario = Scenario::parse(&text).context("the scenario")?;
    let receiver = Receiver::builder()
        .scenario(scenario, 1)
        .ledger(ledger)
        .without_transcripts();
    Ok(receiver.listen("127.0.0.1:0".parse()?).await?)
}

fn scenario(arguments: &FloodArguments) -> String {
    format!(
        "name: provider\nconnections: {}\nconnect_ms: 2\nservice: {{mean_ms: {}, distribution: constant}}\n",
        arguments.connections, arguments.service_ms
    )
}

/// The engine may open twice as many connections as the receiver allows, and has to find that out.
fn plan(arguments: &FloodArguments, receiver: &Receiver) -> EnginePlan {
    EnginePlan {
        sink: receiver.address(),
        connections: u32::try_from(arguments.connections * 2).unwrap_or(u32::MAX),
        dkim: false,
        directory: arguments.directory.clone(),
        extra: String::new(),
        sabotage: None,
    }
}

/// When each code was accepted, in milliseconds since 1970; by its number, 0 before.
#[derive(Debug, Clone, Default)]
struct Codes(Rc<RefCell<Vec<u64>>>);

/// What a saturated lane gave to whom.
#[derive(Debug, Clone, Copy)]
struct Share {
    broadcast: f64,
    is_saturated: bool,
}

async fn phases(
    arguments: &FloodArguments,
    engine: &Engine,
    ledger: &Ledger,
    codes: &Codes,
) -> Result<(Vec<PhaseReport>, f64, Share)> {
    let rate = arguments.critical_per_second;
    let (seconds, settle) = (
        Duration::from_secs(arguments.seconds),
        Duration::from_secs(arguments.settle),
    );
    let is_over = Rc::new(Cell::new(false));
    let accepting = async {
        let load = flood(arguments, engine);
        let report = load
            .send(&output::bar(arguments.broadcast, "broadcast accepted"))
            .await?;
        // Also when it was taken in quickly there are enough codes to tell.
        let took = Duration::from_secs_f64(report.seconds);
        tokio::time::sleep((settle + seconds).saturating_sub(took)).await;
        is_over.set(true);
        anyhow::Ok(report)
    };
    let beside = async {
        tokio::time::sleep(settle).await;
        let began = wall_ms();
        let sent = offer(engine, codes, rate, &is_over).await?;
        anyhow::Ok((began, sent))
    };
    let (load, first) = tokio::try_join!(accepting, beside)?;
    let (began, sent) = first;
    let mut phases = vec![phase("taken in", arguments, ledger, codes, sent, began).await];

    let (began, sent) = (wall_ms(), offer_for(engine, codes, rate, seconds).await?);
    phases.push(phase("all waits", arguments, ledger, codes, sent, began).await);

    let rate = (capacity(arguments) * 2.0).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of a run")]
    let offering = offer_for(
        engine,
        codes,
        rate as u64,
        FILLING + Duration::from_secs(arguments.saturated),
    );
    let counting = async {
        tokio::time::sleep(FILLING).await;
        Ok(wall_ms())
    };
    let (_, from) = tokio::try_join!(offering, counting)?;
    let share = share(ledger, codes, from);
    let waiting = scrape::sum(&engine.metrics_text().await?, "posthaste_queue_depth");
    ensure!(waiting > 0.0, "the flood was too small to last");
    Ok((phases, load.accepted_per_second, share))
}

/// Messages that the receiver could take a second.
fn capacity(arguments: &FloodArguments) -> f64 {
    number(arguments.connections) * 1_000.0 / number(arguments.service_ms)
}

fn flood(arguments: &FloodArguments, engine: &Engine) -> Load {
    Load {
        address: engine.api,
        key: engine.key.clone(),
        messages: arguments.broadcast,
        connections: FLOOD_CALLS,
        rate: 0,
        shape: MailShape {
            size: 512,
            domains: 5,
            batch: BATCH,
            class: Some("broadcast".to_owned()),
            from: format!("news@{SENDER_DOMAIN}"),
        },
    }
}

async fn offer_for(engine: &Engine, codes: &Codes, rate: u64, time: Duration) -> Result<std::ops::Range<usize>> {
    let is_over = Rc::new(Cell::new(false));
    let ends = async {
        tokio::time::sleep(time).await;
        is_over.set(true);
        Ok(())
    };
    let (sent, ()) = tokio::try_join!(offer(engine, codes, rate, &is_over), ends)?;
    Ok(sent)
}

/// Sends codes at this rate until it is over; gives their numbers.
async fn offer(engine: &Engine, codes: &Codes, rate: u64, is_over: &Rc<Cell<bool>>) -> Result<std::ops::Range<usize>> {
    let (first, started) = (codes.0.borrow().len(), now());
    let mut callers = Vec::new();
    for _ in 0..(rate * 2).clamp(CODE_CALLS.0, CODE_CALLS.1) {
        let connection = Call::connect(engine.api, &engine.key).await?;
        let (codes, is_over) = (codes.clone(), Rc::clone(is_over));
        callers.push(tokio::task::spawn_local(async move {
            caller(connection, &codes, (first, started, rate), &is_over).await
        }));
    }
    for caller in callers {
        caller.await??;
    }
    Ok(first..codes.0.borrow().len())
}

async fn caller(
    mut connection: Call,
    codes: &Codes,
    (first, started, rate): (usize, std::time::Instant, u64),
    is_over: &Cell<bool>,
) -> Result<()> {
    loop {
        let code = codes.0.borrow().len();
        codes.0.borrow_mut().push(0);
        let due = Duration::from_secs_f64(number(u64::try_from(code - first)?) / number(rate));
        tokio::time::sleep_until((started + due).into()).await;
        if is_over.get() {
            return Ok(());
        }
        loop {
            let (status, answer) = connection.post("/send-email", body(code)).await?;
            match status {
                StatusCode::ACCEPTED => break,
                StatusCode::SERVICE_UNAVAILABLE => tokio::time::sleep(PRESSURE_PAUSE).await,
                other => bail!("the API answered {other}: {}", String::from_utf8_lossy(&answer)),
            }
        }
        codes.0.borrow_mut()[code] = wall_ms();
    }
}

fn body(code: usize) -> Bytes {
    let value = json!({
        "from": format!("login@{SENDER_DOMAIN}"),
        "to": format!("code{code}@d0.test"),
        "class": "critical",
        "subject": "Your code",
        "text": "Your code is 123456. It is good for fifteen minutes.\n",
    });
    Bytes::from(value.to_string())
}

/// The number of a code, if it is one.
fn code_of(recipient: &str) -> Option<usize> {
    recipient.strip_prefix("code")?.split('@').next()?.parse().ok()
}

/// Waits for the codes of a phase and says how long they waited.
async fn phase(
    name: &'static str,
    arguments: &FloodArguments,
    ledger: &Ledger,
    codes: &Codes,
    sent: std::ops::Range<usize>,
    began: u64,
) -> PhaseReport {
    let ended = wall_ms();
    // The last numbers of a phase were drawn when it was over already.
    let accepted: Vec<u64> = codes.0.borrow().clone();
    let is_of_phase = |code: usize| sent.contains(&code) && accepted[code] > 0;
    let count = sent.clone().filter(|code| is_of_phase(*code)).count();
    let delays = || -> Vec<f64> {
        let records = ledger.records();
        let of = |copy: &std::sync::Arc<provider_sim::Received>| {
            let code = code_of(&copy.recipient).filter(|code| is_of_phase(*code))?;
            let whole = number(copy.at_ms.saturating_sub(accepted[code]));
            Some((whole - number(arguments.service_ms)).max(0.0))
        };
        records.iter().filter_map(of).collect()
    };
    let deadline = now() + TAIL;
    while delays().len() < count && now() < deadline {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mut delays = delays();
    delays.sort_by(f64::total_cmp);
    let seconds = number(ended - began) / 1_000.0;
    let taken = ledger.records();
    let taken = taken.iter().filter(|copy| (began..ended).contains(&copy.at_ms)).count();
    PhaseReport {
        phase: name,
        seconds,
        codes: count as u64,
        received: delays.len() as u64,
        p50_ms: crate::fit::quantile(&delays, 0.5),
        p99_ms: crate::fit::quantile(&delays, 0.99),
        max_ms: crate::fit::quantile(&delays, 1.0),
        utilisation: number(taken as u64) / seconds / capacity(arguments),
    }
}

/// Who had the lane from this time until now.
fn share(ledger: &Ledger, codes: &Codes, from: u64) -> Share {
    let records = ledger.records();
    let since = records.iter().filter(|copy| copy.at_ms >= from);
    let (with_codes, others): (Vec<_>, Vec<_>) = since.partition(|copy| code_of(&copy.recipient).is_some());
    let received = records.iter().filter(|copy| code_of(&copy.recipient).is_some()).count();
    let accepted = codes.0.borrow().iter().filter(|at| **at > 0).count();
    let all = with_codes.len() + others.len();
    Share {
        broadcast: number(others.len() as u64) / number(all as u64).max(1.0),
        // As many wait at the end as the lane takes in a tenth of the time: it was never without.
        is_saturated: all > 0 && accepted - received.min(accepted) >= all / 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_told_by_its_recipient() {
        for (recipient, expect) in [
            ("code17@d0.test", Some(17)),
            ("user17@d0.test", None),
            ("codes@d0.test", None),
        ] {
            assert_eq!(code_of(recipient), expect, "{recipient}");
        }
    }

    #[test]
    fn the_scenario_of_this_file_is_valid() {
        let arguments = FloodArguments {
            broadcast: 1,
            critical_per_second: 1,
            service_ms: 200,
            connections: 20,
            settle: 0,
            seconds: 1,
            saturated: 1,
            directory: None,
            json: false,
            smoke: false,
        };
        assert!(Scenario::parse(&scenario(&arguments)).is_ok());
        assert!((capacity(&arguments) - 100.0).abs() < 1e-9);
    }
}
