//! The load generator: so many mails over so many connections, as fast as they are accepted or at a given rate.
//!
//! A connection has one call in flight. `503` is pressure, not an error: the call is repeated after a pause and counted.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use hdrhistogram::Histogram;
use hyper::StatusCode;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::task::LocalSet;

use crate::call::Call;
use crate::fit::now;
use crate::mail::{Bodies, MailShape};
use crate::output;

/// Pause after a 503.
const PRESSURE_PAUSE: Duration = Duration::from_millis(50);

/// Arguments of `load`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoadArguments {
    /// The API.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// API key.
    #[arg(long, env = "POSTHASTE_KEY")]
    key: String,
    /// Mails to send.
    #[arg(long, default_value_t = 10_000)]
    messages: u64,
    /// Connections; each has one call in flight.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    connections: u64,
    /// Mails in one call.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=500))]
    batch: u64,
    /// Bytes of HTML and text together.
    #[arg(long, default_value_t = 4096)]
    size: usize,
    /// Mails a second; 0 sends as fast as they are accepted.
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Recipient domains: d0.test, d1.test and so on.
    #[arg(long, default_value_t = 5)]
    domains: u64,
    /// critical, transactional or broadcast.
    #[arg(long)]
    class: Option<String>,
    /// Sender; its domain has to be verified.
    #[arg(long, default_value = "shop@bench.test")]
    from: String,
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
}

/// What to send, and how.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    pub(crate) messages: u64,
    pub(crate) connections: u64,
    /// Mails a second; 0 is no limit.
    pub(crate) rate: u64,
    pub(crate) shape: MailShape,
}

/// What became of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LoadReport {
    pub(crate) accepted: u64,
    pub(crate) calls: u64,
    /// Calls that were answered 503 and repeated.
    pub(crate) pressed: u64,
    /// From the first call to the last answer.
    #[serde(rename = "accept_seconds")]
    pub(crate) seconds: f64,
    pub(crate) accepted_per_second: f64,
    /// Milliseconds of a call.
    pub(crate) accept_p50_ms: f64,
    pub(crate) accept_p99_ms: f64,
    pub(crate) accept_max_ms: f64,
    /// When the first call was answered.
    #[serde(skip)]
    pub(crate) first_accept: Instant,
}

impl LoadReport {
    /// Of several loads at the same time: sums, and the worst of the times. There is at least one.
    pub(crate) fn together(reports: &[Self]) -> Self {
        let mut together = reports[0].clone();
        for other in &reports[1..] {
            together.accepted += other.accepted;
            together.calls += other.calls;
            together.pressed += other.pressed;
            together.seconds = together.seconds.max(other.seconds);
            together.accepted_per_second += other.accepted_per_second;
            together.accept_p50_ms = together.accept_p50_ms.max(other.accept_p50_ms);
            together.accept_p99_ms = together.accept_p99_ms.max(other.accept_p99_ms);
            together.accept_max_ms = together.accept_max_ms.max(other.accept_max_ms);
            together.first_accept = together.first_accept.min(other.first_accept);
        }
        together
    }
}

pub(crate) async fn run(arguments: &LoadArguments) -> Result<()> {
    let address = arguments.url.trim_start_matches("http://").trim_end_matches('/');
    let address = address
        .parse()
        .with_context(|| format!("--url: http:// and an address with a port, not {:?}", arguments.url))?;
    let report = Load {
        address,
        key: arguments.key.clone(),
        messages: arguments.messages,
        connections: arguments.connections,
        rate: arguments.rate,
        shape: MailShape {
            size: arguments.size,
            domains: arguments.domains,
            batch: arguments.batch,
            class: arguments.class.clone(),
            from: arguments.from.clone(),
        },
    }
    .send(&output::bar(arguments.messages, "accepted"))
    .await?;
    output::note(&format!(
        "{} accepted in {:.2} s: {:.0}/s; a call took {:.1} ms (p50), {:.1} ms (p99)",
        report.accepted, report.seconds, report.accepted_per_second, report.accept_p50_ms, report.accept_p99_ms
    ));
    if arguments.json { output::json(&report) } else { Ok(()) }
}

/// What the connections share.
struct Shared {
    load: Load,
    bodies: Bodies,
    calls: u64,
    next: Cell<u64>,
    accepted: Cell<u64>,
    pressed: Cell<u64>,
    first: Cell<Option<Instant>>,
    latencies: RefCell<Histogram<u64>>,
    started: Instant,
    bar: ProgressBar,
}

impl Load {
    /// Sends everything; an answer other than 202 and 503 is an error.
    pub(crate) async fn send(&self, bar: &ProgressBar) -> Result<LoadReport> {
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            connections.push(Call::connect(self.address, &self.key).await?);
        }
        let calls = self.messages.div_ceil(self.shape.batch);
        let shared = Rc::new(Shared {
            load: self.clone(),
            bodies: Bodies::new(self.shape.clone()),
            calls,
            next: Cell::new(0),
            accepted: Cell::new(0),
            pressed: Cell::new(0),
            first: Cell::new(None),
            latencies: RefCell::new(Histogram::new_with_bounds(1, 600_000_000, 3)?),
            started: now(),
            bar: bar.clone(),
        });
        let local = LocalSet::new();
        let tasks: Vec<_> = connections
            .into_iter()
            .map(|connection| local.spawn_local(work(connection, Rc::clone(&shared))))
            .collect();
        local
            .run_until(async {
                for task in tasks {
                    task.await??;
                }
                anyhow::Ok(())
            })
            .await?;
        bar.finish_and_clear();
        let ended = now();
        let seconds = ended.duration_since(shared.started).as_secs_f64();
        let latencies = shared.latencies.borrow();
        let milliseconds = |micros: u64| Duration::from_micros(micros).as_secs_f64() * 1000.0;
        let accepted = shared.accepted.get();
        Ok(LoadReport {
            accepted,
            calls,
            pressed: shared.pressed.get(),
            seconds,
            accepted_per_second: crate::fit::number(accepted) / seconds,
            accept_p50_ms: milliseconds(latencies.value_at_quantile(0.5)),
            accept_p99_ms: milliseconds(latencies.value_at_quantile(0.99)),
            accept_max_ms: milliseconds(latencies.max()),
            first_accept: shared.first.get().unwrap_or(ended),
        })
    }
}

async fn work(mut connection: Call, shared: Rc<Shared>) -> Result<()> {
    let batch = shared.load.shape.batch;
    loop {
        let call = shared.next.get();
        if call >= shared.calls {
            return Ok(());
        }
        shared.next.set(call + 1);
        let mails = batch.min(shared.load.messages - call * batch);
        if shared.load.rate > 0 {
            let due = Duration::from_secs_f64(crate::fit::number(call * batch) / crate::fit::number(shared.load.rate));
            tokio::time::sleep_until((shared.started + due).into()).await;
        }
        one_call(&mut connection, &shared, call, mails).await?;
        shared.accepted.set(shared.accepted.get() + mails);
        shared.bar.inc(mails);
    }
}

async fn one_call(connection: &mut Call, shared: &Shared, call: u64, mails: u64) -> Result<()> {
    let body = shared.bodies.of(call, mails);
    loop {
        let sent = now();
        let (status, answer) = connection.post(shared.bodies.path(), body.clone()).await?;
        match status {
            StatusCode::ACCEPTED => {
                let ended = now();
                if shared.first.get().is_none() {
                    shared.first.set(Some(ended));
                }
                let micros = u64::try_from(ended.duration_since(sent).as_micros()).unwrap_or(u64::MAX);
                shared.latencies.borrow_mut().saturating_record(micros.max(1));
                return Ok(());
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                shared.pressed.set(shared.pressed.get() + 1);
                tokio::time::sleep(PRESSURE_PAUSE).await;
            }
            other => bail!("the API answered {other}: {}", String::from_utf8_lossy(&answer)),
        }
    }
}
