//! Receivers that are not the bottleneck: our own, and Debian's `smtp-sink` as the neutral one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use provider_sim::{Keep, Ledger, Receiver};
use serde::Serialize;
use tokio::net::TcpStream;

use crate::output;
use crate::process::Child;

/// Where `bench/setup.sh` puts the package's files, from the workspace's root.
const TOOLS: &str = "target/tools/postfix";
/// How long a receiver may take to listen.
const START: Duration = Duration::from_secs(10);

/// Arguments of `sink`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SinkArguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:2525")]
    listen: SocketAddr,
    /// Seconds between counts; 0 is none.
    #[arg(long, default_value_t = 5)]
    every: u64,
}

/// Which receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SinkKind {
    /// Debian's, from the postfix package: `bench/setup.sh` fetches it.
    SmtpSink,
    /// Ours, of `provider_sim`; it counts duplicates too.
    Own,
}

pub(crate) async fn run(arguments: &SinkArguments) -> Result<()> {
    let receiver = Receiver::builder()
        .ledger(Ledger::new(Keep::Counts))
        .without_transcripts()
        .listen(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    output::note(&format!("listening on {}", receiver.address()));
    let mut end = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let every = Duration::from_secs(if arguments.every == 0 { 3600 } else { arguments.every });
    let mut ticks = tokio::time::interval(every);
    loop {
        tokio::select! {
            _ = ticks.tick() => counts(&receiver),
            _ = end.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    counts(&receiver);
    Ok(())
}

fn counts(receiver: &Receiver) {
    let ledger = receiver.ledger();
    output::say(&format!(
        r#"{{"received":{},"duplicates":{},"open_connections":{}}}"#,
        ledger.total(),
        ledger.duplicates(),
        receiver.open_connections()
    ));
}

/// Starts a receiver as a process of its own and waits until it listens.
pub(crate) async fn start(kind: SinkKind, address: SocketAddr) -> Result<Child> {
    let mut command = match kind {
        SinkKind::Own => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["sink", "--every", "0", "--listen", &address.to_string()]);
            command
        }
        SinkKind::SmtpSink => smtp_sink(address)?,
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = Child::spawn(command, "sink")?;
    let listening = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(START, listening).await.is_err() {
        bail!("the sink does not listen on {address}");
    }
    Ok(child)
}

fn smtp_sink(address: SocketAddr) -> Result<Command> {
    let fetched = Path::new(TOOLS).join("usr/sbin/smtp-sink");
    let installed = PathBuf::from("/usr/sbin/smtp-sink");
    let (program, libraries) = match (installed.exists(), fetched.exists()) {
        (true, _) => (installed, None),
        (_, true) => (fetched, Some(Path::new(TOOLS).join("usr/lib/postfix"))),
        _ => bail!("there is no smtp-sink; bench/setup.sh fetches it, or take --sink own"),
    };
    let mut command = Command::new(program);
    if let Some(libraries) = libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    // It refuses to run as root without a user to become.
    command.args(["-u", &unprivileged()?, &address.to_string(), "1000"]);
    Ok(command)
}

fn unprivileged() -> Result<String> {
    let id = Command::new("id").args(["-u"]).output().context("id -u")?;
    let name = match String::from_utf8_lossy(&id.stdout).trim() {
        "0" => "nobody".to_owned(),
        _ => {
            let name = Command::new("id").args(["-un"]).output().context("id -un")?;
            String::from_utf8_lossy(&name.stdout).trim().to_owned()
        }
    };
    Ok(name)
}
