//! The engine as a process of its own: started from a config file, killed, stopped, and asked by other commands.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::bed::{Door, Http, WITHIN, config};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_posthaste");

/// A data directory with its config, to be started again and again.
pub(crate) struct Home {
    directory: TempDir,
    config: PathBuf,
    key: Option<String>,
}

/// A running process.
pub(crate) struct Process {
    child: Child,
    pub(crate) http: Http,
    pub(crate) metrics: String,
}

impl Home {
    pub(crate) fn new(doors: &[Door]) -> Self {
        Self::with(&config(doors))
    }

    pub(crate) fn with(config: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let home = Self {
            config: directory.path().join("config.yaml"),
            directory,
            key: None,
        };
        home.write(config);
        home
    }

    /// A directory for a second node on the same store, with the same secrets; the first has been started before.
    pub(crate) fn second(&self, config: &str) -> Self {
        let second = Self {
            key: self.key.clone(),
            ..Self::with(config)
        };
        std::fs::create_dir(second.data()).expect("made");
        std::fs::copy(self.data().join("secret.key"), second.data().join("secret.key")).expect("copied");
        second
    }

    /// Changes the config, but for its first two lines.
    pub(crate) fn write(&self, config: &str) {
        let text = format!("data: {}\nlog: {{format: json}}\n{config}", self.data().display());
        std::fs::write(&self.config, text).expect("written");
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--config").arg(&self.config);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    /// Runs another command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        let running = self.command(arguments).output();
        tokio::time::timeout(WITHIN, running)
            .await
            .expect("ends in time")
            .expect("runs")
    }

    /// Starts the engine and waits until it serves.
    pub(crate) async fn start(&mut self) -> Process {
        let mut child = self.command(&["serve"]).spawn().expect("starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut seen = Vec::new();
        let serving = async {
            while let Some(line) = lines.next_line().await.expect("readable") {
                let value: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
                if value["fields"]["message"] == "serving" {
                    return Some(value["fields"].clone());
                }
                seen.push(line);
            }
            None
        };
        let fields = tokio::time::timeout(WITHIN, serving).await.expect("serves in time");
        let fields = fields.unwrap_or_else(|| panic!("it ended: {seen:#?}"));
        // Read on, so that a full pipe never stops it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let mut stdout = child.stdout.take().expect("piped");
        if self.key.is_none() {
            let mut said = String::new();
            while !said.contains("\n\n    ") || !said.ends_with("\n\n") {
                let mut buffer = [0; 1_024];
                let read = tokio::time::timeout(WITHIN, stdout.read(&mut buffer)).await;
                let read = read.expect("in time").expect("readable");
                assert!(read > 0, "no key was shown: {said:?}");
                said += &String::from_utf8_lossy(&buffer[..read]);
            }
            self.key = said.trim_end().rsplit(' ').next().map(str::to_owned);
        }
        let address = |name: &str| {
            fields[name]
                .as_str()
                .expect("shown")
                .trim_start_matches("http://")
                .to_owned()
        };
        let api = address("api").parse().expect("an address");
        Process {
            child,
            http: Http::new(api, self.key.clone().expect("known")),
            metrics: address("metrics"),
        }
    }
}

impl Process {
    /// Kills it in the middle of whatever it does.
    pub(crate) async fn kill(mut self) {
        self.child.start_kill().expect("runs");
        self.child.wait().await.expect("ends");
    }

    /// Asks it to end, as an init system does; gives its exit code.
    pub(crate) async fn terminate(mut self) -> Option<i32> {
        let id = self.child.id().expect("runs").to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(sent.expect("kill is there").success());
        let ended = tokio::time::timeout(WITHIN, self.child.wait()).await;
        ended.expect("ends in time").expect("ends").code()
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("runs")
    }

    /// Its metrics.
    pub(crate) async fn metrics(&self) -> String {
        let response = reqwest::get(format!("http://{}", self.metrics)).await.expect("answers");
        response.text().await.expect("text")
    }
}
