//! How much memory an engine needs for a long queue: mails are accepted while nothing listens where they are routed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::engine::{Engine, EnginePlan, SENDER_DOMAIN, free_address};
use crate::load::{Load, LoadReport};
use crate::mail::MailShape;
use crate::{output, scrape};

/// Arguments of `queue-memory`.
#[derive(Debug, Clone, Args)]
pub(crate) struct QueueMemoryArguments {
    /// Mails to queue.
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Mails in one call.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=500))]
    batch: u64,
    /// Bytes of HTML and text together.
    #[arg(long, default_value_t = 4096)]
    size: usize,
    /// Where the data directory is made: about 8 GB for a million mails of 4 KiB.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct QueueMemoryReport {
    queued: f64,
    peak_mib: f64,
    cpu_seconds: f64,
    #[serde(flatten)]
    load: LoadReport,
}

pub(crate) async fn run(arguments: &QueueMemoryArguments) -> Result<()> {
    // Nobody listens there.
    let sink = free_address()?;
    let mut engine = Engine::start(
        &EnginePlan {
            sink,
            connections: 50,
            dkim: false,
            directory: arguments.directory.clone(),
            extra: String::new(),
            sabotage: None,
        },
        None,
    )
    .await?;
    let load = Load {
        address: engine.api,
        key: engine.key.clone(),
        messages: arguments.messages,
        connections: 50,
        rate: 0,
        shape: MailShape {
            size: arguments.size,
            domains: 5,
            batch: arguments.batch,
            class: None,
            from: format!("shop@{SENDER_DOMAIN}"),
        },
    };
    let load = load.send(&output::bar(arguments.messages, "queued")).await?;
    // The gauges are set by a timer of the engine; memory settles meanwhile.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let text = engine.metrics_text().await?;
    let report = QueueMemoryReport {
        queued: scrape::sum(&text, "posthaste_queue_depth"),
        peak_mib: engine.child.peak_mib()?,
        cpu_seconds: engine.child.cpu_seconds()?,
        load,
    };
    output::note(&format!(
        "{:.0} queued in {:.0} s ({:.0}/s); peak {:.0} MiB",
        report.queued, report.load.seconds, report.load.accepted_per_second, report.peak_mib
    ));
    engine.child.stop(Duration::from_secs(60)).await?;
    if arguments.json { output::json(&report) } else { Ok(()) }
}
