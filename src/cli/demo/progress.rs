//! What the demo shows while it runs: how many mails are accepted, and for each provider what its lane does.
//!
//! On a terminal a table that is refreshed in place, else plain lines, or JSON. Each view joins what the engine's metrics
//! say with what the receiver hides: both sides of the loop beside each other. Decides nothing.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::lanes::{self, LaneView};
use super::world::{Provider, World};
use crate::cli::output;
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::observe::Observer;

/// How often a table on a terminal is drawn.
const REDRAW_EVERY: Duration = Duration::from_millis(250);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);
/// Throughput is the mean of this time.
const RATE_OVER: Duration = Duration::from_secs(2);

/// Draws until finished.
pub(super) struct Drawing {
    accepted: ProgressBar,
    table: Vec<ProgressBar>,
    drawing: tokio::task::JoinHandle<()>,
    scene: Scene,
}

/// What there is to see.
#[derive(Clone)]
struct Scene {
    providers: Arc<Vec<Provider>>,
    observer: Arc<Observer>,
    clock: Clock,
    started: Timestamp,
}

/// One provider at one moment.
struct Row {
    name: &'static str,
    habit: &'static str,
    hides: String,
    lane: LaneView,
    per_second: f64,
    received: u64,
}

impl Drawing {
    pub(super) fn start(world: &World, messages: u64, json: bool) -> Self {
        let scene = Scene {
            providers: Arc::clone(&world.providers),
            observer: Arc::clone(&world.running.observer),
            clock: world.clock.clone(),
            started: world.clock.now(),
        };
        let on_terminal = std::io::stderr().is_terminal() && !json;
        let all = MultiProgress::new();
        let accepted = all.add(ProgressBar::new(messages).with_prefix("accepted"));
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {pos:>6}/{len}  {per_sec}") {
            accepted.set_style(style);
        }
        let line = || {
            let line = all.add(ProgressBar::new(1));
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                line.set_style(style);
            }
            line
        };
        let lines = if on_terminal { scene.providers.len() + 1 } else { 0 };
        let table: Vec<ProgressBar> = (0..lines).map(|_| line()).collect();
        let drawing = {
            let (scene, table) = (scene.clone(), table.clone());
            tokio::task::spawn_local(async move {
                let every = if on_terminal { REDRAW_EVERY } else { LINE_EVERY };
                let mut meter = Meter::default();
                loop {
                    tokio::time::sleep(every).await;
                    let rows = scene.rows(&mut meter);
                    match (on_terminal, json) {
                        (true, _) => draw(&table, &rows),
                        (false, true) => output::say(&scene.json(&rows).to_string()),
                        (false, false) => scene.lines(&rows).iter().for_each(|line| output::note(line)),
                    }
                }
            })
        };
        Self {
            accepted,
            table,
            drawing,
            scene,
        }
    }

    pub(super) fn accepted(&self, more: u64) {
        self.accepted.inc(more);
    }

    pub(super) fn finish(self) {
        self.drawing.abort();
        if !self.table.is_empty() {
            draw(&self.table, &self.scene.rows(&mut Meter::default()));
        }
        self.accepted.abandon();
        self.table.iter().for_each(ProgressBar::abandon);
    }
}

impl Scene {
    fn rows(&self, meter: &mut Meter) -> Vec<Row> {
        let mut lanes = lanes::read(&self.observer.render());
        let now = self.clock.now();
        let row = |provider: &Provider| {
            let lane = lanes.remove(provider.id).unwrap_or_default();
            Row {
                name: provider.name,
                habit: provider.habit,
                hides: hides(provider),
                per_second: meter.per_second(provider.name, lane.delivered, now),
                lane,
                received: provider.receiver.ledger().total(),
            }
        };
        self.providers.iter().map(row).collect()
    }

    fn seconds(&self) -> f64 {
        self.clock.now().since(self.started).as_secs_f64()
    }

    fn lines(&self, rows: &[Row]) -> Vec<String> {
        let seconds = self.seconds();
        let line = |row: &Row| format!("{seconds:5.1} s  {}", row.sentence());
        rows.iter().map(line).collect()
    }

    fn json(&self, rows: &[Row]) -> Value {
        let lane = |row: &Row| {
            json!({
                "provider": row.name,
                "hidden": row.hides,
                "connections": row.lane.connections,
                "connections_wanted": row.lane.wanted,
                "ceiling": row.lane.ceiling,
                "per_second": (row.per_second * 10.0).round() / 10.0,
                "rate_limit": row.lane.rate_limit,
                "delivered": row.lane.delivered,
                "deferred": row.lane.deferred,
                "decisions": row.lane.decisions,
                "why": row.lane.why(),
                "received": row.received,
            })
        };
        let seconds = (self.seconds() * 10.0).round() / 10.0;
        json!({"at_seconds": seconds, "lanes": rows.iter().map(lane).collect::<Vec<Value>>()})
    }
}

/// What the receiver keeps to itself, as it is now.
fn hides(provider: &Provider) -> String {
    let Some(limits) = provider.receiver.hidden_limits() else {
        return String::new();
    };
    let connections = limits.connections.map(|most| format!("{most} connections"));
    let knee = limits.latency_knee.map(|knee| format!("works on {knee}"));
    let rates = limits.rates.iter().map(|rate| format!("{}/s", rate.per_second));
    let all: Vec<String> = connections.into_iter().chain(knee).chain(rates).collect();
    match (all.is_empty(), provider.receiver.blocks().0) {
        (true, 0) => "a volume".to_owned(),
        (true, blocks) => format!("a volume, {blocks} block{}", if blocks == 1 { "" } else { "s" }),
        (false, _) => all.join(", "),
    }
}

const HEADER: &str =
    "provider   hides            connections  wants  ceiling  sent/s  allowed  delivered  deferred  why";

fn draw(table: &[ProgressBar], rows: &[Row]) {
    let lines = std::iter::once(HEADER.to_owned()).chain(rows.iter().map(Row::line));
    for (bar, line) in table.iter().zip(lines) {
        bar.set_message(line);
    }
}

fn whole(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"))
}

impl Row {
    fn line(&self) -> String {
        let lane = &self.lane;
        format!(
            "{:<10} {:<16} {:>11.0} {:>6} {:>8} {:>7.0} {:>8} {:>10.0} {:>9.0}  {}",
            self.name,
            self.hides,
            lane.connections,
            whole(lane.wanted),
            whole(lane.ceiling),
            self.per_second,
            whole(lane.rate_limit),
            lane.delivered,
            lane.deferred,
            lane.why(),
        )
    }

    fn sentence(&self) -> String {
        let lane = &self.lane;
        let why = lane.why();
        format!(
            "{:<8} {:.0} connections (wants {}, ceiling {}), {:.0}/s (allowed {}), {:.0} delivered, {:.0} deferred{}{}  ({}; hides {})",
            self.name,
            lane.connections,
            whole(lane.wanted),
            whole(lane.ceiling),
            self.per_second,
            whole(lane.rate_limit),
            lane.delivered,
            lane.deferred,
            if why.is_empty() { "" } else { ": " },
            why,
            self.habit,
            self.hides,
        )
    }
}

/// Remembers counters of the last moments, to tell a rate.
#[derive(Default)]
struct Meter(BTreeMap<&'static str, Vec<(Timestamp, f64)>>);

impl Meter {
    fn per_second(&mut self, name: &'static str, count: f64, now: Timestamp) -> f64 {
        let known = self.0.entry(name).or_default();
        known.push((now, count));
        // One older than the time is kept, so that there is always a difference.
        while known.get(1).is_some_and(|(at, _)| now.since(*at) >= RATE_OVER) {
            known.remove(0);
        }
        let (at, before) = known[0];
        let seconds = now.since(at).as_secs_f64();
        if seconds > 0.0 { (count - before) / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meter_tells_the_mean_of_the_last_seconds() {
        let mut meter = Meter::default();
        let mut told = Vec::new();
        for (at, count) in [(0, 0.0), (1_000, 50.0), (2_000, 150.0), (4_000, 150.0), (6_000, 170.0)] {
            told.push(meter.per_second("google", count, Timestamp(at)));
        }
        assert_eq!(told, [0.0, 50.0, 75.0, 0.0, 10.0]);
    }
}
