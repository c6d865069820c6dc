//! An engine as a process of its own: started from its config, told where to die, frozen, stopped, and its end seen.
//!
//! Takes a folder and what its config says besides; gives where it listens. Killed when dropped. All that it writes is in
//! `engine<N>.log` of its folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;

/// How long an engine may take to serve: a store that was killed is repaired first.
const START: Duration = Duration::from_secs(60);
/// How long a killed process may take to be gone.
const GONE: Duration = Duration::from_secs(10);

/// An engine with its folder; it may run or not.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its place among the engines.
    pub(crate) number: usize,
    folder: PathBuf,
    /// Where it keeps its data.
    pub(crate) data: PathBuf,
    /// The rest of its config.
    config: String,
    sabotage: Option<String>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    orders: ChildStdin,
    metrics: SocketAddr,
}

/// What a start tells.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) api: SocketAddr,
    /// The first start of a store makes a key.
    pub(crate) key: Option<String>,
}

impl Node {
    pub(crate) fn new(number: usize, folder: &Path, config: String, sabotage: Option<String>) -> Self {
        Self {
            number,
            folder: folder.to_owned(),
            data: folder.join(format!("data{number}")),
            config,
            sabotage,
            running: None,
        }
    }

    /// Starts it and waits until it serves. The first start on a store shows a key: `is_first` says to wait for it.
    pub(crate) async fn start(&mut self, is_first: bool) -> Result<Started> {
        let config = self.folder.join(format!("engine{}.yaml", self.number));
        let text = format!("data: {}\nlog: {{format: json}}\n{}", self.data.display(), self.config);
        std::fs::write(&config, text)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("engine").arg("--config").arg(&config);
        if let Some(name) = &self.sabotage {
            command.env("POSTHASTE_SABOTAGE", name);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().context("cannot start an engine")?;
        let (Some(orders), Some(said), Some(log)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            bail!("an engine without its pipes");
        };
        let (found_key, key) = oneshot::channel();
        tokio::spawn(read_key(BufReader::new(said), found_key));
        let (found_serving, serving) = oneshot::channel();
        let file = tokio::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .await?;
        tokio::spawn(read_log(BufReader::new(log), file, found_serving));
        let fields = match tokio::time::timeout(START, serving).await {
            Ok(Ok(fields)) => fields,
            Ok(Err(_)) => bail!(
                "engine {} ended before it served; see {}",
                self.number,
                self.log().display()
            ),
            Err(_) => bail!("engine {} did not serve within {START:?}", self.number),
        };
        let key = match is_first {
            true => tokio::time::timeout(GONE, key).await.context("no key was shown")?.ok(),
            false => None,
        };
        let metrics = fields.metrics;
        self.running = Some(Running { child, orders, metrics });
        Ok(Started { api: fields.api, key })
    }

    fn log(&self) -> PathBuf {
        self.folder.join(format!("engine{}.log", self.number))
    }

    /// Where it tells its metrics, while it runs.
    pub(crate) fn metrics(&self) -> Option<SocketAddr> {
        self.running.as_ref().map(|running| running.metrics)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.running.as_ref().and_then(|running| running.child.id());
        let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        kill_process(pid.context("the engine does not run")?, signal)?;
        Ok(())
    }

    /// Kills it in the middle of whatever it does.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.ended(GONE).await?.context("a killed engine does not go")?;
        Ok(())
    }

    /// Tells it to die at the `hits`-th pass of a failpoint.
    pub(crate) async fn die_at(&mut self, failpoint: &str, hits: u32) -> Result<()> {
        let running = self.running.as_mut().context("the engine does not run")?;
        running
            .orders
            .write_all(format!("{failpoint} {hits}\n").as_bytes())
            .await?;
        running.orders.flush().await?;
        Ok(())
    }

    /// Waits for its end. `Some(None)`: a signal ended it; `None`: it still runs.
    pub(crate) async fn ended(&mut self, within: Duration) -> Result<Option<Option<i32>>> {
        let Some(running) = self.running.as_mut() else {
            return Ok(Some(None));
        };
        let Ok(status) = tokio::time::timeout(within, running.child.wait()).await else {
            return Ok(None);
        };
        self.running = None;
        Ok(Some(status?.code()))
    }
}

/// What the line "serving" says.
#[derive(Debug)]
struct Serving {
    api: SocketAddr,
    metrics: SocketAddr,
}

/// Copies the log and picks the line that says where it serves.
async fn read_log(
    log: BufReader<tokio::process::ChildStderr>,
    mut file: tokio::fs::File,
    found: oneshot::Sender<Serving>,
) {
    let mut found = Some(found);
    let mut lines = log.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // The log is for people; a run does not end because it cannot be kept.
        let _ = file.write_all(format!("{line}\n").as_bytes()).await;
        if let Some(serving) = read_serving(&line)
            && let Some(found) = found.take()
        {
            let _ = found.send(serving);
        }
    }
}

fn read_serving(line: &str) -> Option<Serving> {
    let value: Value = serde_json::from_str(line).ok()?;
    let fields = &value["fields"];
    if fields["message"] != "serving" {
        return None;
    }
    let address = |name: &str| {
        let text = fields[name].as_str()?.trim_start_matches("http://");
        text.trim_end_matches("/metrics").parse().ok()
    };
    Some(Serving {
        api: address("api")?,
        metrics: address("metrics")?,
    })
}

/// Picks the key that a first start shows, and reads on, so that a full pipe never stops the engine.
async fn read_key(said: BufReader<tokio::process::ChildStdout>, found: oneshot::Sender<String>) {
    let mut found = Some(found);
    let mut lines = said.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.trim().starts_with("ph_")
            && let Some(found) = found.take()
        {
            let _ = found.send(line.trim().to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_says_where_it_serves_is_understood() {
        let line = r#"{"level":"INFO","fields":{"message":"serving","api":"http://127.0.0.1:81","metrics":"http://127.0.0.1:82/metrics"}}"#;
        let serving = read_serving(line).unwrap();
        assert_eq!((serving.api.port(), serving.metrics.port()), (81, 82));
        assert!(read_serving(r#"{"fields":{"message":"stopped"}}"#).is_none());
        assert!(read_serving("ready").is_none());
    }
}
