//! The Redis that two engines share: killed and started again, frozen, filled.
//!
//! Takes nothing; gives an address and the faults. The server is a process of its own with its own folder. Its calls
//! block, so they are made beside the runtime: receivers and callers go on meanwhile.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use test_rig::{RedisOptions, RedisServer};

use crate::output;

/// What unpacks the server below `target/tools`, from the workspace's root.
const SETUP: &str = "tests/tools/setup.sh";
/// There once it is unpacked.
const UNPACKED: &str = "target/tools/redis/unpacked.txt";
/// Memory that it may use, in bytes, when it is not to be full.
const UNLIMITED: &str = "0";

/// A server.
#[derive(Debug)]
pub(crate) struct Redis {
    /// Not there while a call is made, and for ever after one that panicked.
    server: Option<RedisServer>,
    url: String,
}

impl Redis {
    /// Starts one that syncs with every answer, so that a 202 means what it means with the embedded store.
    pub(crate) async fn start() -> Result<Self> {
        fetch()?;
        let options = RedisOptions::new().set("appendfsync", "always");
        let server = tokio::task::spawn_blocking(move || RedisServer::start(&options)).await??;
        Ok(Self {
            url: server.url(),
            server: Some(server),
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.with(RedisServer::kill).await
    }

    /// Starts it again on what it wrote.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.with(RedisServer::restart).await
    }

    /// Connections stay and nothing is answered.
    pub(crate) async fn freeze(&mut self) -> Result<()> {
        self.with(|server| server.freeze()).await
    }

    /// Goes on after that.
    pub(crate) async fn thaw(&mut self) -> Result<()> {
        self.with(|server| server.thaw()).await
    }

    /// It may not use more memory than it does.
    pub(crate) async fn fill(&mut self) -> Result<()> {
        self.with(|server| {
            let used = server.info("used_memory")?;
            server.config_set("maxmemory", &used)
        })
        .await
    }

    /// It may use more again.
    pub(crate) async fn free(&mut self) -> Result<()> {
        self.with(|server| server.config_set("maxmemory", UNLIMITED)).await
    }

    async fn with(&mut self, act: impl FnOnce(&mut RedisServer) -> std::io::Result<()> + Send + 'static) -> Result<()> {
        let mut server = self.server.take().context("the redis-server is gone")?;
        let (server, done) = tokio::task::spawn_blocking(move || {
            let done = act(&mut server);
            (server, done)
        })
        .await?;
        self.server = Some(server);
        Ok(done?)
    }
}

/// Fetches the server where it is missing, so that a clean clone needs no other command.
fn fetch() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace has a root")?;
    if root.join(UNPACKED).exists() {
        return Ok(());
    }
    output::note("fetching redis-server");
    let status = Command::new(root.join(SETUP)).arg("redis").status().context(SETUP)?;
    ensure!(status.success(), "{SETUP} failed");
    Ok(())
}
