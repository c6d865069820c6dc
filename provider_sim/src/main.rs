//! `provider_sim`: simulated mailbox providers on the command line, for trying an engine by hand and for load.
//!
//! Takes addresses and profiles, prints where it listens and, at the end, what it answered and holds: one JSON object a
//! line on standard output. Thin: everything is in the library.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use provider_sim::{Behaviour, Keep, Ledger, PROFILES, Receiver, ReceiverBuilder, Scenario, TlsIdentity};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// Simulated mailbox providers: SMTP receivers with limits, tempers and a ledger.
///
/// They accept mail for anybody, deliver it nowhere and count what they hold. Each --listen gets a receiver; profiles and
/// scenarios are dealt out in order, the last one going on to the rest. Scenarios that find no address left listen on the
/// ports that follow the last one.
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

    /// A scenario file, in place of profiles: hidden limits that change over time. May be given several times. The format
    /// is in SCENARIOS.md.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["profile", "behaviour"])]
    scenario: Vec<PathBuf>,

    /// The seed of what scenarios leave to chance.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Prints a line with the counters of each receiver every so many seconds; 0 is never.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    report_every: u64,

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

  Receivers with hidden limits, on the ports 2525 and 2526:
      provider_sim --scenario cap-12.yaml --scenario rate-20.yaml --report-every 10

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
    let roles = roles(&arguments)?;
    let mut receivers = Vec::new();
    for (index, address) in addresses(&arguments.listen, arguments.scenario.len())?
        .iter()
        .enumerate()
    {
        let role = roles[index.min(roles.len() - 1)].clone();
        let (kind, name) = role.title();
        let mut builder = role
            .builder(arguments.seed)
            .ledger(ledger.clone())
            .without_transcripts();
        if let Some(host) = &arguments.tls {
            builder = builder.tls(TlsIdentity::self_signed(host)?);
        }
        let receiver = builder.listen(*address).await.with_context(|| address.to_string())?;
        print(&json!({"listening": receiver.address(), kind: name}).to_string())?;
        receivers.push((kind, name, receiver));
    }
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        _ = terminate.recv() => {}
        failed = report(&receivers, arguments.report_every) => failed?,
    }
    for (kind, name, receiver) in receivers {
        let (address, blocks) = (receiver.address(), receiver.blocks());
        let counters = receiver.kill().await;
        print(&json!({"address": address, kind: name, "counters": counters, "blocks": blocks.0}).to_string())?;
    }
    print(&json!({"ledger": ledger.totals()}).to_string())
}

/// What a receiver is to be.
#[derive(Debug, Clone)]
enum Role {
    Behaves(Box<Behaviour>),
    Plays(Box<Scenario>),
}

impl Role {
    fn title(&self) -> (&'static str, String) {
        match self {
            Self::Behaves(behaviour) => ("profile", behaviour.name.clone()),
            Self::Plays(scenario) => ("scenario", scenario.name.clone()),
        }
    }

    fn builder(self, seed: u64) -> ReceiverBuilder {
        match self {
            Self::Behaves(behaviour) => Receiver::builder().behaviour(*behaviour),
            Self::Plays(scenario) => Receiver::builder().scenario(*scenario, seed),
        }
    }
}

fn roles(arguments: &Arguments) -> anyhow::Result<Vec<Role>> {
    if !arguments.scenario.is_empty() {
        let scenarios = arguments.scenario.iter().map(|path| {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let scenario = Scenario::parse(&text).with_context(|| path.display().to_string())?;
            Ok(Role::Plays(Box::new(scenario)))
        });
        return scenarios.collect();
    }
    let Some(path) = &arguments.behaviour else {
        let profiles = arguments.profile.iter();
        return profiles
            .map(|name| Ok(Role::Behaves(Box::new(profile(name)?))))
            .collect();
    };
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    let behaviour = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    Ok(vec![Role::Behaves(Box::new(behaviour))])
}

/// The addresses given, and further ports after the last one until there are `least`.
fn addresses(given: &[SocketAddr], least: usize) -> anyhow::Result<Vec<SocketAddr>> {
    let mut addresses = given.to_vec();
    while let (true, Some(last)) = (addresses.len() < least, addresses.last().copied()) {
        let next = match last.port() {
            0 => 0,
            port => port.checked_add(1).context("there are no ports left after 65535")?,
        };
        addresses.push(SocketAddr::new(last.ip(), next));
    }
    Ok(addresses)
}

/// Prints counters for as long as it is let.
async fn report(receivers: &[(&'static str, String, Receiver)], every_seconds: u64) -> anyhow::Result<()> {
    if every_seconds == 0 {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(Duration::from_secs(every_seconds)).await;
        for (kind, name, receiver) in receivers {
            let now = json!({
                "address": receiver.address(), *kind: name, "open": receiver.open_connections(),
                "counters": receiver.counters(), "blocks": receiver.blocks().0,
            });
            print(&now.to_string())?;
        }
    }
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
