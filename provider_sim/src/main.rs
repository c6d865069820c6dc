//! `provider_sim`: simulated mailbox providers on the command line, for trying an engine by hand and for load.
//!
//! Takes addresses and profiles, prints where it listens and, at the end, what it answered and holds: one JSON object a
//! line on standard output. Thin: everything is in the library.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Parser;
use provider_sim::{Behaviour, Keep, Ledger, PROFILES, Receiver, TlsIdentity};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// Simulated mailbox providers: SMTP receivers with limits, tempers and a ledger.
///
/// They accept mail for anybody, deliver it nowhere and count what they hold. Each --listen gets a receiver; profiles are
/// dealt out in order, the last one going on to the rest.
#[derive(Debug, Parser)]
#[command(version, after_long_help = EXAMPLES)]
struct Arguments {
    /// Address to listen on; port 0 takes any. May be given several times.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2525")]
    listen: Vec<SocketAddr>,

    /// How a receiver behaves: plain, google, outlook, yahoo, tencent or company. May be given several times.
    #[arg(long, value_name = "NAME", default_value = "plain")]
    profile: Vec<String>,

    /// A JSON file with a behaviour of your own, in place of profiles. Begin with --print-profile.
    #[arg(long, value_name = "FILE", conflicts_with = "profile")]
    behaviour: Option<PathBuf>,

    /// Prints a profile as JSON, with every limit and reply text, and ends.
    #[arg(long, value_name = "NAME")]
    print_profile: Option<String>,

    /// Offers STARTTLS with a self-signed certificate for this host name.
    #[arg(long, value_name = "HOST")]
    tls: Option<String>,

    /// Appends every accepted copy to this file and syncs it before answering 250. What the file holds counts.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,

    /// Threads that serve connections.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
}

const EXAMPLES: &str = "\
Examples:
  A receiver that takes everything, as a target for load:
      provider_sim --listen 127.0.0.1:2525 --threads 2
  Two providers with different tempers:
      provider_sim --listen 127.0.0.2:2525 --listen 127.0.0.3:2525 --profile google --profile company
  A behaviour of your own:
      provider_sim --print-profile company > mine.json
      provider_sim --behaviour mine.json

Output: one line {\"listening\": …} per receiver at the start. On Ctrl-C or SIGTERM one line per receiver with its counters and one with the
ledger: copies in total, unique (recipient, Message-ID) pairs, duplicates.";

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(name) = &arguments.print_profile {
        return print(&serde_json::to_string_pretty(&profile(name)?)?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(usize::from(arguments.threads))
        .enable_all()
        .build()?;
    runtime.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let ledger = match &arguments.journal {
        Some(path) => Ledger::with_journal(Keep::Counts, path).with_context(|| path.display().to_string())?,
        None => Ledger::new(Keep::Counts),
    };
    let behaviours = behaviours(&arguments)?;
    let mut receivers = Vec::new();
    for (index, address) in arguments.listen.iter().enumerate() {
        let behaviour = behaviours[index.min(behaviours.len() - 1)].clone();
        let name = behaviour.name.clone();
        let mut builder = Receiver::builder()
            .behaviour(behaviour)
            .ledger(ledger.clone())
            .without_transcripts();
        if let Some(host) = &arguments.tls {
            builder = builder.tls(TlsIdentity::self_signed(host)?);
        }
        let receiver = builder.listen(*address).await.with_context(|| address.to_string())?;
        print(&json!({"listening": receiver.address(), "profile": name}).to_string())?;
        receivers.push((name, receiver));
    }
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        _ = terminate.recv() => {}
    }
    for (name, receiver) in receivers {
        let address = receiver.address();
        let counters = receiver.kill().await;
        print(&json!({"address": address, "profile": name, "counters": counters}).to_string())?;
    }
    print(&json!({"ledger": ledger.totals()}).to_string())
}

fn behaviours(arguments: &Arguments) -> anyhow::Result<Vec<Behaviour>> {
    let Some(path) = &arguments.behaviour else {
        return arguments.profile.iter().map(|name| profile(name)).collect();
    };
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    let behaviour = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    Ok(vec![behaviour])
}

fn profile(name: &str) -> anyhow::Result<Behaviour> {
    match Behaviour::named(name) {
        Some(behaviour) => Ok(behaviour),
        None => bail!("there is no profile {name:?}; there are {}", PROFILES.join(", ")),
    }
}

fn print(line: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}
