//! W1: the whole road on one machine, with injector and sink on the same cores.
//!
//! One recipient a mail, 4 KiB of HTML and text, five recipient domains, all routed to one loopback sink over 50
//! connections, 50 API connections, every accept synced to disk before its 202.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Serialize;

use crate::engine::{EnginePlan, SENDER_DOMAIN, free_address};
use crate::fit::{median, now, number};
use crate::fleet::{Fleet, Fsync};
use crate::load::{Load, LoadReport};
use crate::mail::MailShape;
use crate::sink::SinkKind;
use crate::{output, scrape, sink};

/// Mails of a smoke run.
const SMOKE_MESSAGES: u64 = 2_000;
/// How often the engine is asked whether all are delivered.
const POLL: Duration = Duration::from_millis(50);
/// Without any delivery for this long a run has failed.
const STALL: Duration = Duration::from_secs(60);

/// Arguments of `w1`.
#[derive(Debug, Clone, Args)]
pub(crate) struct W1Arguments {
    /// Mails of a run.
    #[arg(long, default_value_t = 50_000)]
    pub(crate) messages: u64,
    /// Mails in one call.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=500))]
    batch: u64,
    /// API connections; each has one call in flight.
    #[arg(long, default_value_t = 50)]
    api_connections: u64,
    /// SMTP connections.
    #[arg(long, default_value_t = 50)]
    smtp_connections: u32,
    /// The receiver.
    #[arg(long, value_enum, default_value_t = SinkKind::Own)]
    sink: SinkKind,
    /// Sign with RSA-2048 and Ed25519.
    #[arg(long)]
    dkim: bool,
    /// Keep the queue in a Redis that is started for the run and syncs like this, instead of the embedded store.
    #[arg(long, value_enum)]
    redis: Option<Fsync>,
    /// Engines on the same Redis.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    engines: u32,
    /// Runs; each on a fresh data directory. The medians are reported.
    #[arg(long, default_value_t = 1)]
    pub(crate) runs: u32,
    /// Where data directories are made. It must be on a disk: on a memory file system a sync costs nothing.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Further lines for the engine's config file.
    #[arg(long, default_value = "")]
    config: String,
    /// A short run that only checks that everything arrives.
    #[arg(long)]
    smoke: bool,
    /// Print one JSON object as the last line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The figures of one run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunReport {
    delivered: u64,
    /// From the first 202 to the last delivery.
    seconds: f64,
    pub(crate) messages_per_second: f64,
    /// Of all engines, for 1,000 mails.
    cpu_seconds_per_1000: f64,
    redis_cpu_seconds_per_1000: f64,
    redis_calls_per_message: f64,
    commits_per_second: f64,
    operations_per_commit: f64,
    /// Of 100 commits, 99 took no longer.
    pub(crate) commit_p99_ms: f64,
    peak_mib: f64,
    #[serde(flatten)]
    pub(crate) load: LoadReport,
}

#[derive(Debug, Serialize)]
struct W1Report {
    messages: u64,
    batch: u64,
    sink: SinkKind,
    dkim: bool,
    redis: Option<Fsync>,
    engines: u32,
    messages_per_second: f64,
    cpu_seconds_per_1000: f64,
    redis_cpu_seconds_per_1000: f64,
    redis_calls_per_message: f64,
    accept_p50_ms: f64,
    accept_p99_ms: f64,
    commits_per_second: f64,
    operations_per_commit: f64,
    commit_p99_ms: f64,
    peak_mib: f64,
    runs: Vec<RunReport>,
}

pub(crate) async fn run(arguments: &W1Arguments) -> Result<()> {
    let mut arguments = arguments.clone();
    if arguments.smoke {
        arguments.messages = SMOKE_MESSAGES;
        arguments.runs = 1;
    }
    let mut runs = Vec::new();
    for number in 1..=arguments.runs.max(1) {
        let run = one_run(&arguments, None).await?;
        output::note(&format!(
            "run {number}: {:.0}/s end to end, {:.3} CPU-s per 1,000; accepted {:.0}/s, p50 {:.1} ms, p99 {:.1} ms; \
             {:.0} commits/s of {:.1} operations, p99 {:.1} ms; Redis: {:.3} CPU-s per 1,000, {:.2} calls a mail; \
             peak {:.0} MiB",
            run.messages_per_second,
            run.cpu_seconds_per_1000,
            run.load.accepted_per_second,
            run.load.accept_p50_ms,
            run.load.accept_p99_ms,
            run.commits_per_second,
            run.operations_per_commit,
            run.commit_p99_ms,
            run.redis_cpu_seconds_per_1000,
            run.redis_calls_per_message,
            run.peak_mib,
        ));
        runs.push(run);
    }
    let middle = |figure: fn(&RunReport) -> f64| median(runs.iter().map(figure).collect());
    let report = W1Report {
        messages: arguments.messages,
        batch: arguments.batch,
        sink: arguments.sink,
        dkim: arguments.dkim,
        redis: arguments.redis,
        engines: arguments.engines,
        messages_per_second: middle(|run| run.messages_per_second),
        cpu_seconds_per_1000: middle(|run| run.cpu_seconds_per_1000),
        redis_cpu_seconds_per_1000: middle(|run| run.redis_cpu_seconds_per_1000),
        redis_calls_per_message: middle(|run| run.redis_calls_per_message),
        accept_p50_ms: middle(|run| run.load.accept_p50_ms),
        accept_p99_ms: middle(|run| run.load.accept_p99_ms),
        commits_per_second: middle(|run| run.commits_per_second),
        operations_per_commit: middle(|run| run.operations_per_commit),
        commit_p99_ms: middle(|run| run.commit_p99_ms),
        peak_mib: middle(|run| run.peak_mib),
        runs,
    };
    output::note(&format!(
        "median: {:.0}/s end to end, {:.3} CPU-s per 1,000",
        report.messages_per_second, report.cpu_seconds_per_1000
    ));
    if arguments.json { output::json(&report) } else { Ok(()) }
}

/// One run on a fresh data directory, with a deliberate bug or without.
pub(crate) async fn one_run(arguments: &W1Arguments, sabotage: Option<&'static str>) -> Result<RunReport> {
    let address = free_address()?;
    let mut receiver = sink::start(arguments.sink, address).await?;
    let plan = EnginePlan {
        sink: address,
        connections: arguments.smtp_connections,
        dkim: arguments.dkim,
        directory: arguments.directory.clone(),
        extra: arguments.config.replace("\\n", "\n"),
        sabotage,
    };
    let fleet = Fleet::start(&plan, arguments.engines, arguments.redis).await?;
    let load = Load {
        address: fleet.first().api,
        key: fleet.first().key.clone(),
        messages: arguments.messages,
        connections: arguments.api_connections,
        rate: 0,
        shape: MailShape {
            size: 4096,
            domains: 5,
            batch: arguments.batch,
            class: None,
            from: format!("shop@{SENDER_DOMAIN}"),
        },
    };
    let (before, text_before) = (fleet.counted().await?, fleet.metrics_text().await?);
    let reports = fleet.send(&load, arguments.messages).await?;
    let last = wait_delivered(&fleet, arguments.messages).await?;
    let (after, text_after) = (fleet.counted().await?, fleet.metrics_text().await?);
    let first_accept = reports.iter().map(|report| report.first_accept).min();
    let seconds = last
        .duration_since(first_accept.context("there is an engine")?)
        .as_secs_f64();
    let commits = after.commits - before.commits;
    let per_1000 = |seconds: f64| seconds / number(arguments.messages) * 1000.0;
    let report = RunReport {
        delivered: arguments.messages,
        seconds,
        messages_per_second: number(arguments.messages) / seconds,
        cpu_seconds_per_1000: per_1000(after.engine_cpu - before.engine_cpu),
        redis_cpu_seconds_per_1000: per_1000(after.redis_cpu - before.redis_cpu),
        redis_calls_per_message: (after.redis_calls - before.redis_calls) / number(arguments.messages),
        commits_per_second: commits / seconds,
        operations_per_commit: (after.commit_operations - before.commit_operations) / commits.max(1.0),
        commit_p99_ms: scrape::quantile(&text_before, &text_after, "posthaste_commit_seconds", 0.99) * 1000.0,
        peak_mib: fleet.peak_mib()?,
        load: LoadReport::together(&reports),
    };
    ensure!(receiver.is_running(), "the sink died");
    fleet.stop().await?;
    receiver.stop(Duration::from_secs(5)).await?;
    Ok(report)
}

/// Waits until the engines' metrics say that all are delivered; gives when that was seen first.
async fn wait_delivered(fleet: &Fleet, messages: u64) -> Result<Instant> {
    let wanted = number(messages);
    let (mut seen, mut since) = (0.0, now());
    let bar = output::bar(messages, "delivered");
    loop {
        let text = fleet.metrics_text().await.context("an engine died")?;
        let delivered = scrape::sum(&text, "posthaste_delivered_total");
        if delivered >= wanted {
            bar.finish_and_clear();
            ensure!(
                delivered <= wanted,
                "{delivered} deliveries of {messages} mails: duplicates"
            );
            return Ok(now());
        }
        if delivered > seen {
            (seen, since) = (delivered, now());
        }
        if now().duration_since(since) > STALL {
            bail!("only {delivered} of {messages} were delivered, and nothing more for {STALL:?}");
        }
        tokio::time::sleep(POLL).await;
    }
}
