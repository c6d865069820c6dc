//! What W1 drives: one engine on its embedded store, or one or several on one Redis that is started for them.
//!
//! Takes a plan; gives running processes and their figures, summed. Redis is on the same cores as everything else.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;
use futures_util::future::try_join_all;
use serde::Serialize;
use test_rig::{RedisOptions, RedisServer};

use crate::engine::{Engine, EnginePlan};
use crate::load::{Load, LoadReport};
use crate::{output, process, scrape};

/// When Redis syncs its append-only file.
#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fsync {
    /// Once a second.
    Everysec,
    /// Before each answer.
    Always,
}

impl Fsync {
    fn name(self) -> &'static str {
        match self {
            Self::Everysec => "everysec",
            Self::Always => "always",
        }
    }
}

/// Running engines and their Redis, if they have one.
#[derive(Debug)]
pub(crate) struct Fleet {
    engines: Vec<Engine>,
    redis: Option<RedisServer>,
}

/// Figures that only grow.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    /// CPU seconds of all engines.
    pub(crate) engine_cpu: f64,
    /// CPU seconds of Redis.
    pub(crate) redis_cpu: f64,
    /// Calls that the engines made to Redis.
    pub(crate) redis_calls: f64,
    /// Commits of the embedded store.
    pub(crate) commits: f64,
    /// Operations in them.
    pub(crate) commit_operations: f64,
}

/// What is measured is an engine with so many connections, not how fast a lane finds out that it may have them.
fn pin(source: &str, connections: u32) -> String {
    format!("\npins:\n  - {{source: {source}, provider: \"route:sink\", connections: {{exact: {connections}}}}}\n")
}

impl Fleet {
    /// Starts everything. With Redis, each engine has a source address of its own.
    pub(crate) async fn start(plan: &EnginePlan, engines: u32, fsync: Option<Fsync>) -> Result<Self> {
        let Some(fsync) = fsync else {
            if engines > 1 {
                bail!("--engines: several engines need one store, so give --redis too");
            }
            let extra = format!("{}{}", plan.extra, pin("default", plan.connections));
            let engines = vec![Engine::start(&EnginePlan { extra, ..plan.clone() }, None).await?];
            return Ok(Self { engines, redis: None });
        };
        let mut options = RedisOptions::new().set("appendfsync", fsync.name());
        if let Some(directory) = &plan.directory {
            options = options.data(directory);
        }
        let redis = RedisServer::start(&options)?;
        let mut fleet = Self {
            engines: Vec::new(),
            redis: None,
        };
        for number in 1..=engines {
            let extra = format!(
                "{}{}node: bench{number}\nsources:\n  - {{id: s{number}, ip: 127.0.0.{number}, ehlo: mta{number}.bench.test}}\n\
                 store: \"{}\"\n",
                plan.extra,
                pin(&format!("s{number}"), plan.connections),
                redis.url()
            );
            let key = fleet.engines.first().map(|first| first.key.clone());
            let engine = Engine::start(&EnginePlan { extra, ..plan.clone() }, key).await?;
            fleet.engines.push(engine);
        }
        fleet.redis = Some(redis);
        Ok(fleet)
    }

    /// Sends `load`, in equal parts to all engines at once.
    pub(crate) async fn send(&self, load: &Load, messages: u64) -> Result<Vec<LoadReport>> {
        let bar = output::bar(messages, "accepted");
        let parts = u64::try_from(self.engines.len())?;
        let loads: Vec<Load> = (0..parts)
            .zip(&self.engines)
            .map(|(part, engine)| Load {
                address: engine.api,
                key: engine.key.clone(),
                messages: messages / parts + u64::from(part < messages % parts),
                connections: (load.connections / parts).max(1),
                ..load.clone()
            })
            .collect();
        try_join_all(loads.iter().map(|load| load.send(&bar))).await
    }

    /// Any engine: its address and key.
    pub(crate) fn first(&self) -> &Engine {
        &self.engines[0]
    }

    /// All metrics of all engines, one text behind the other.
    pub(crate) async fn metrics_text(&self) -> Result<String> {
        Ok(try_join_all(self.engines.iter().map(Engine::metrics_text))
            .await?
            .concat())
    }

    /// What grew until now.
    pub(crate) async fn counted(&self) -> Result<Counted> {
        let text = self.metrics_text().await?;
        let mut counted = Counted {
            commits: scrape::sum(&text, "posthaste_commit_seconds_count"),
            commit_operations: scrape::sum(&text, "posthaste_commit_operations_sum"),
            ..Counted::default()
        };
        for engine in &self.engines {
            counted.engine_cpu += engine.child.cpu_seconds()?;
        }
        if let Some(redis) = &self.redis {
            counted.redis_cpu = process::cpu_seconds_of(redis.process())?;
            counted.redis_calls = calls(&redis.call(&["INFO", "commandstats"])?);
        }
        Ok(counted)
    }

    /// Most memory that the largest of the engines had, in MiB.
    pub(crate) fn peak_mib(&self) -> Result<f64> {
        let peaks: Result<Vec<f64>> = self.engines.iter().map(|engine| engine.child.peak_mib()).collect();
        Ok(peaks?.into_iter().fold(0.0, f64::max))
    }

    /// Stops all engines as an operator would.
    pub(crate) async fn stop(mut self) -> Result<()> {
        for engine in &mut self.engines {
            if !engine.child.stop(Duration::from_secs(30)).await? {
                bail!("an engine did not stop within 30 s");
            }
        }
        Ok(())
    }
}

/// Calls by clients: functions, and commands outside of them. What a function calls is counted under its own name by Redis,
/// so only the calls of functions and of blocking reads are taken.
fn calls(stats: &str) -> f64 {
    let of = |name: &str| {
        let calls = |line: &str| line.strip_prefix(name)?.strip_prefix(":calls=").map(str::to_owned);
        let line = stats.lines().find_map(calls)?;
        line.split(',').next()?.parse::<f64>().ok()
    };
    ["cmdstat_fcall", "cmdstat_fcall_ro", "cmdstat_xread"]
        .into_iter()
        .filter_map(of)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_functions_are_counted_and_what_they_call_is_not() {
        let stats = "# Commandstats\r\ncmdstat_hget:calls=900,usec=1\r\ncmdstat_fcall_ro:calls=3,usec=1\r\n\
                     cmdstat_fcall:calls=12,usec=9,x=1\r\n";
        assert!((calls(stats) - 15.0).abs() < f64::EPSILON);
    }
}
