//! Carries the plan out: one fault after the other under load, and after each restart a look at the engine's ledger.
//!
//! Takes steps; keeps a [`Record`] of what was done. Waits before each kill until the callers have got enough mail
//! accepted for the run to be a real one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde::Serialize;

use super::callers::{Door, Traffic};
use super::disk::{Disk, bytes_of, compact, move_files};
use super::node::Node;
use super::plan::{Fault, Step};
use super::readout::counted;
use super::redis::Redis;
use crate::fit::now;

/// Lease of the engines.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
/// Deliveries that have to be accepted for each kill.
pub(crate) const ACCEPTED_PER_KILL: u64 = 200;
/// How long a part of the run may wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a failpoint may take to be passed often enough.
const FAILPOINT_MAX: Duration = Duration::from_secs(4);
/// How long a SIGTERM may take.
const STOP_MAX: Duration = Duration::from_secs(25);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// An engine refreshes its gauges every two seconds.
const GAUGES_MAX: Duration = Duration::from_secs(8);

/// What was done and seen.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Record {
    /// kill -9 of an engine or of Redis.
    pub(crate) kills: u64,
    /// Starts of an engine after the first.
    pub(crate) restarts: u64,
    /// Faults by kind.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// Kills by failpoint.
    pub(crate) failpoints: BTreeMap<&'static str, u64>,
    /// Failpoints that were not passed in time; the engine was killed from outside.
    pub(crate) failpoints_missed: u64,
    /// What could not be done here, and why.
    pub(crate) skipped: BTreeMap<&'static str, String>,
    /// What was wrong on the way.
    #[serde(skip)]
    pub(crate) wrong: Vec<String>,
    /// Looks at a ledger that did not balance.
    #[serde(skip)]
    pub(crate) unbalanced: Vec<String>,
}

/// Everything that can be broken.
#[derive(Debug)]
pub(crate) struct Director {
    pub(crate) folder: PathBuf,
    pub(crate) nodes: Vec<Node>,
    pub(crate) redis: Option<Redis>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) record: Record,
}

impl Director {
    /// Makes one fault and heals it.
    pub(crate) async fn perform(&mut self, step: &Step) -> Result<()> {
        tokio::time::sleep(step.after).await;
        self.wait_for_load().await;
        match step.fault {
            Fault::Kill => self.kill(step).await?,
            Fault::KillAt(failpoint) => self.kill_at(step, failpoint).await?,
            Fault::Freeze => self.freeze(step).await?,
            Fault::Terminate => self.terminate(step).await?,
            Fault::DiskFull => self.disk_full(step).await?,
            Fault::KillRedis | Fault::FreezeRedis | Fault::FillRedis => self.break_redis(step).await?,
        }
        *self.record.faults.entry(step.fault.name()).or_default() += 1;
        Ok(())
    }

    /// Until enough was accepted for one kill more. A run that cannot get there fails in the end, by its count.
    async fn wait_for_load(&self) {
        let enough = ACCEPTED_PER_KILL * (self.record.kills + 1);
        let began = now();
        while self.traffic.account().accepted() < enough && now().duration_since(began) < PATIENCE {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn kill(&mut self, step: &Step) -> Result<()> {
        self.nodes[step.node].kill().await?;
        self.record.kills += 1;
        self.come_back(step).await
    }

    async fn kill_at(&mut self, step: &Step, failpoint: &'static str) -> Result<()> {
        self.nodes[step.node].die_at(failpoint, step.hits).await?;
        let ended = self.nodes[step.node].ended(FAILPOINT_MAX).await?;
        if ended.is_some() {
            *self.record.failpoints.entry(failpoint).or_default() += 1;
        } else {
            self.record.failpoints_missed += 1;
            self.nodes[step.node].kill().await?;
        }
        self.record.kills += 1;
        self.come_back(step).await
    }

    /// Starts a dead engine again: at once, or after the other one has taken over what it held.
    async fn come_back(&mut self, step: &Step) -> Result<()> {
        self.traffic.set_door(step.node, None);
        if self.nodes.len() > 1 && step.hits.is_multiple_of(2) {
            tokio::time::sleep(LEASE + step.pause).await;
        }
        self.start(step.node).await
    }

    /// Starts an engine and looks at its ledger.
    pub(crate) async fn start(&mut self, number: usize) -> Result<()> {
        let before = self.traffic.account().accepted();
        let started = self.nodes[number].start(false).await?;
        self.record.restarts += 1;
        let metrics = self.nodes[number].metrics().context("it has just started")?;
        self.traffic.set_door(
            number,
            Some(Door {
                api: started.api,
                metrics,
            }),
        );
        self.look_at_ledger(number, before).await
    }

    /// Accepted is the sum over all states: no less than what was answered with 202 before this start, and no more than
    /// what was asked for.
    async fn look_at_ledger(&mut self, number: usize, before: u64) -> Result<()> {
        let metrics = self.nodes[number].metrics().context("the engine does not run")?;
        let began = now();
        loop {
            let counted = counted(metrics).await?;
            let most = {
                let account = self.traffic.account();
                account.accepted() + account.unsure()
            };
            let total = counted.total();
            if total > most {
                let text = format!("{total} deliveries in the store, {most} were asked for");
                self.record.unbalanced.push(text);
                return Ok(());
            }
            if total >= before {
                return Ok(());
            }
            if now().duration_since(began) > GAUGES_MAX {
                let text = format!("{total} deliveries in the store, {before} were answered with 202");
                self.record.unbalanced.push(text);
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Longer than its leases live: whatever it held may belong to somebody else when it goes on.
    async fn freeze(&mut self, step: &Step) -> Result<()> {
        self.nodes[step.node].signal(Signal::STOP)?;
        tokio::time::sleep(LEASE + Duration::from_millis(500) + step.pause).await;
        self.nodes[step.node].signal(Signal::CONT)
    }

    async fn terminate(&mut self, step: &Step) -> Result<()> {
        self.stop(step.node).await?;
        self.start(step.node).await
    }

    /// SIGTERM, and an end that is worth its name.
    async fn stop(&mut self, number: usize) -> Result<()> {
        self.nodes[number].signal(Signal::TERM)?;
        let ended = self.nodes[number].ended(STOP_MAX).await?;
        self.traffic.set_door(number, None);
        match ended {
            Some(Some(0)) => {}
            Some(code) => self.record.wrong.push(format!("a SIGTERM ended with {code:?}")),
            None => {
                self.record
                    .wrong
                    .push(format!("a SIGTERM did not end within {STOP_MAX:?}"));
                self.nodes[number].kill().await?;
            }
        }
        Ok(())
    }

    /// Moves the data to a small disk, fills it under load, waits for the refusals, gives the room back, and moves on
    /// once mail is accepted again. In the end the engine is killed there: what it wrote last has to be whole.
    async fn disk_full(&mut self, step: &Step) -> Result<()> {
        let (node, home) = (step.node, self.nodes[step.node].data.clone());
        self.stop(node).await?;
        // A store that has run for long has room inside its file, and would refuse nothing for minutes.
        compact(&home)?;
        let disk = match Disk::mount(&self.folder.join("small"), bytes_of(&home)?) {
            Ok(disk) => disk,
            Err(error) => {
                self.record.skipped.insert(Fault::DiskFull.name(), format!("{error:#}"));
                return self.start(node).await;
            }
        };
        move_files(&home, disk.folder())?;
        self.nodes[node].data = disk.folder().to_owned();
        self.start(node).await?;
        tokio::time::sleep(step.pause).await;
        disk.fill()?;
        self.refused_and_back("a full disk", step.pause, async |_| disk.free())
            .await?;
        self.nodes[node].kill().await?;
        self.record.kills += 1;
        self.traffic.set_door(node, None);
        move_files(disk.folder(), &home)?;
        self.nodes[node].data = home;
        self.start(node).await
    }

    /// Waits until calls are refused for want of room, heals, and waits until mail is accepted again.
    async fn refused_and_back(
        &mut self,
        what: &str,
        pause: Duration,
        heal: impl AsyncFnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let refusals = self.traffic.account().store_refusals;
        let was_refused = self.wait(|traffic| traffic.account().store_refusals > refusals).await;
        if !was_refused {
            self.record.wrong.push(format!("{what}: nothing was refused"));
        }
        tokio::time::sleep(pause).await;
        heal(self).await?;
        let accepted = self.traffic.account().accepted();
        if !self.wait(|traffic| traffic.account().accepted() > accepted).await {
            self.record
                .wrong
                .push(format!("{what} is over, but nothing is accepted"));
        }
        Ok(())
    }

    async fn wait(&self, condition: impl Fn(&Traffic) -> bool) -> bool {
        let began = now();
        while !condition(&self.traffic) {
            if now().duration_since(began) > PATIENCE {
                return false;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        true
    }

    async fn break_redis(&mut self, step: &Step) -> Result<()> {
        let redis = self.redis.as_mut().context("there is no Redis")?;
        match step.fault {
            Fault::KillRedis => {
                redis.kill().await?;
                self.record.kills += 1;
                tokio::time::sleep(step.pause).await;
                self.redis().restart().await
            }
            Fault::FreezeRedis => {
                redis.freeze().await?;
                tokio::time::sleep(LEASE / 2 + step.pause * 3).await;
                self.redis().thaw().await
            }
            _ => {
                redis.fill().await?;
                let heal = async |director: &mut Self| director.redis().free().await;
                self.refused_and_back("a full Redis", step.pause, heal).await
            }
        }
    }

    fn redis(&mut self) -> &mut Redis {
        self.redis.as_mut().expect("break_redis has looked")
    }

    /// Waits until the engines say that nothing waits any more; gives how much still does when patience ends.
    pub(crate) async fn settle(&mut self, patience: Duration) -> Result<u64> {
        let began = now();
        let mut empty_since = None;
        loop {
            let mut waiting = 0;
            for node in &self.nodes {
                let metrics = node.metrics().context("an engine does not run")?;
                waiting = waiting.max(counted(metrics).await?.waiting);
            }
            // Gauges are two seconds old at worst: twice nothing, further apart than that, is nothing.
            empty_since = (waiting == 0).then(|| empty_since.unwrap_or_else(now));
            if empty_since.is_some_and(|since| now().duration_since(since) > Duration::from_secs(3)) {
                return Ok(0);
            }
            if now().duration_since(began) > patience {
                return Ok(waiting);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Starts whatever does not run, for the end of the run.
    pub(crate) async fn heal(&mut self) -> Result<()> {
        for number in 0..self.nodes.len() {
            if self.nodes[number].metrics().is_none() {
                self.start(number).await?;
            }
        }
        ensure!(
            self.nodes.iter().all(|node| node.metrics().is_some()),
            "an engine does not run"
        );
        self.traffic.brake.store(false, Ordering::Relaxed);
        Ok(())
    }
}
