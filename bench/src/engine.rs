//! An engine to be measured: a release binary on a config and a data directory of its own.
//!
//! Takes what is different between measurements; gives a running process, its key, and what its metrics say.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::call::Call;
use crate::process::Child;

/// How long an engine may take to answer; a first start makes RSA keys.
const START: Duration = Duration::from_secs(60);
/// Domain that the mails come from.
pub(crate) const SENDER_DOMAIN: &str = "bench.test";
/// No sink.
pub(crate) const BY_MX: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What an engine is started with.
#[derive(Debug, Clone)]
pub(crate) struct EnginePlan {
    /// Where all mail is routed; [`BY_MX`]: nowhere, it goes where name servers say.
    pub(crate) sink: SocketAddr,
    /// SMTP connections at most.
    pub(crate) connections: u32,
    /// Whether mails are signed.
    pub(crate) dkim: bool,
    /// Where the data directory is made; the system's temporary directory if none is given.
    pub(crate) directory: Option<PathBuf>,
    /// Further lines of the config file.
    pub(crate) extra: String,
    /// A deliberate bug to run with; needs a binary with the feature `failpoints`.
    pub(crate) sabotage: Option<&'static str>,
}

/// A running engine. Its directory goes with it.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) child: Child,
    pub(crate) api: SocketAddr,
    pub(crate) key: String,
    metrics: SocketAddr,
    _directory: Directory,
}

impl Engine {
    /// Starts one. `known` is a key that its store holds already; else it makes and shows its first.
    pub(crate) async fn start(plan: &EnginePlan, known: Option<String>) -> Result<Self> {
        let directory = Directory::make(plan.directory.as_deref())?;
        let (api, metrics) = (free_address()?, free_address()?);
        let config = directory.0.join("config.yaml");
        std::fs::write(&config, config_text(plan, &directory.0, api, metrics))?;
        let mut command = Command::new(binary()?);
        command.arg("serve").arg("--config").arg(&config);
        command.env("POSTHASTE_SABOTAGE", plan.sabotage.unwrap_or_default());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let log = std::fs::File::create(directory.0.join("log"))?;
        command.stderr(log);
        let mut child = Child::spawn(command, "engine")?;
        let key = match known.or_else(|| first_line_with(&mut child, "ph_")) {
            Some(key) => key,
            None => bail!("the engine did not start: {}", directory.log()),
        };
        let engine = Self {
            child,
            api,
            key,
            metrics,
            _directory: directory,
        };
        let ready = async {
            while engine.metrics_text().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(START, ready)
            .await
            .context("the engine's metrics do not answer")?;
        Ok(engine)
    }

    /// Its metrics, as Prometheus reads them.
    pub(crate) async fn metrics_text(&self) -> Result<String> {
        Call::connect(self.metrics, "").await?.get("/metrics").await
    }
}

/// The first line of a child's standard output that starts with `prefix`, without blanks around it. The rest is read and
/// thrown away for as long as the child lives: a program whose output nobody takes may die of it.
fn first_line_with(child: &mut Child, prefix: &'static str) -> Option<String> {
    let output = child.take_stdout()?;
    let (found, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line.trim().starts_with(prefix) {
                // Only the first is waited for.
                let _ = found.send(line.trim().to_owned());
            }
        }
    });
    answer.recv().ok()
}

fn config_text(plan: &EnginePlan, directory: &Path, api: SocketAddr, metrics: SocketAddr) -> String {
    let data = directory.join("data");
    format!(
        "data: {data}\nhostname: mta.bench.test\nlog: {{level: warn}}\napi: {{listen: \"{api}\"}}\nmetrics: {{listen: \
         \"{metrics}\"}}\ndomains:\n  - {{name: {SENDER_DOMAIN}, verified: true, dkim: {dkim}}}\n{routes}{extra}",
        data = data.display(),
        dkim = plan.dkim,
        routes = routes_text(plan),
        extra = plan.extra,
    )
}

fn routes_text(plan: &EnginePlan) -> String {
    if plan.sink == BY_MX {
        return String::new();
    }
    format!(
        "routes:\n  - name: sink\n    domains: [\"*\"]\n    host: \"{host}\"\n    port: {port}\n    tls: off\n    \
         connections: {connections}\n    messages_per_connection: 100000\n",
        host = plan.sink.ip(),
        port = plan.sink.port(),
        connections = plan.connections,
    )
}

/// Whether the engine's binary knows this deliberate bug: those that ship know none, and would run without it.
pub(crate) fn knows_bug(name: &str) -> Result<bool> {
    let path = binary()?;
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    Ok(bytes.windows(name.len()).any(|window| window == name.as_bytes()))
}

/// The engine's binary: `POSTHASTE_BIN`, or the one beside this program.
fn binary() -> Result<PathBuf> {
    if let Ok(path) = std::env::var("POSTHASTE_BIN") {
        return Ok(PathBuf::from(path));
    }
    let beside = std::env::current_exe()?.with_file_name("posthaste");
    if !beside.exists() {
        bail!(
            "there is no {}; build the workspace, or set POSTHASTE_BIN",
            beside.display()
        );
    }
    Ok(beside)
}

/// An address on loopback that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

/// A directory of this run's own; removed when dropped.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn make(under: Option<&Path>) -> Result<Self> {
        let under = under.map_or_else(std::env::temp_dir, Path::to_owned);
        for number in 0..1_000 {
            let path = under.join(format!("posthaste-bench-{}-{number}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            }
        }
        bail!("{} is full of runs that were cut short", under.display())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.0.join("log")).unwrap_or_default()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is in a temporary directory anyway.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
