//! What became of the demo's mail, as the engine tells it and as the receivers hold it; and whether the two agree.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use comfy_table::Table;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::sending::{Api, Sent};
use super::world::World;
use crate::cli::output;

/// Timelines asked for at the same time.
const QUESTIONS_MAX: usize = 16;

/// The end of one mail.
#[derive(Debug, Default, Clone)]
struct End {
    provider: usize,
    state: String,
    deferred: bool,
    ambiguous: bool,
    bounce: Option<String>,
    millis: Option<u64>,
    copies: u64,
    /// Why it waits, if it does.
    why: Option<String>,
}

/// Both sides' account.
#[derive(Debug)]
pub(super) struct Report {
    ends: Vec<End>,
    names: Vec<&'static str>,
    received: Vec<u64>,
    duplicates: u64,
    seconds: f64,
}

impl Report {
    pub(super) async fn make(world: &World, sent: &[Sent], seconds: f64) -> Result<Self> {
        let api = Api::of(world);
        let turns = Arc::new(Semaphore::new(QUESTIONS_MAX));
        let mut questions = JoinSet::new();
        for one in sent.iter().cloned() {
            let (api, turns, providers) = (api.clone(), Arc::clone(&turns), Arc::clone(&world.providers));
            questions.spawn(async move {
                let _turn = turns.acquire_owned().await?;
                let mail = api.get(&format!("/v1/emails/{}", one.id)).await?;
                let events = api.get(&format!("/v1/emails/{}/events", one.id)).await?;
                let message_id = mail["message_id"].as_str().unwrap_or_default();
                let copies = providers[one.provider]
                    .receiver
                    .ledger()
                    .copies(&one.address, message_id);
                Ok::<End, anyhow::Error>(end(one.provider, &mail, &events, copies))
            });
        }
        let mut ends = Vec::with_capacity(sent.len());
        while let Some(answer) = questions.join_next().await {
            ends.push(answer??);
        }
        let ledgers = || world.providers.iter().map(|provider| provider.receiver.ledger());
        Ok(Self {
            ends,
            names: world.providers.iter().map(|provider| provider.name).collect(),
            received: ledgers().map(provider_sim::Ledger::total).collect(),
            duplicates: ledgers().map(provider_sim::Ledger::duplicates).sum(),
            seconds,
        })
    }

    /// accepted = final states, delivered = held by the receivers, and nothing is lost or doubled without a word.
    pub(super) fn balances(&self) -> bool {
        let received: u64 = self.received.iter().sum();
        let ambiguous = self.count(|end| end.ambiguous);
        self.queued() == 0
            && self.lost() == 0
            && self.duplicates <= ambiguous
            && self.count(|end| end.state == "delivered") + self.duplicates == received
    }

    pub(super) fn print(&self, json: bool) {
        // With --json, standard output is for programs alone.
        let tell = if json { output::note } else { output::say };
        tell(&self.by_provider());
        tell(&self.totals());
        for (reason, count) in self.waiting() {
            tell(&format!("{count} wait: {reason}"));
        }
        if json {
            output::say(&self.json().to_string());
        }
    }

    fn count(&self, which: impl Fn(&End) -> bool) -> u64 {
        u64::try_from(self.ends.iter().filter(|end| which(end)).count()).unwrap_or(u64::MAX)
    }

    fn queued(&self) -> u64 {
        self.count(|end| is_open(&end.state))
    }

    /// Said to be delivered, and nobody holds it.
    fn lost(&self) -> u64 {
        self.count(|end| end.state == "delivered" && end.copies == 0)
    }

    /// What still waits, by provider, state and reason.
    fn waiting(&self) -> BTreeMap<String, u64> {
        let mut reasons = BTreeMap::new();
        for end in self.ends.iter().filter(|end| is_open(&end.state)) {
            let why = end.why.as_deref().unwrap_or("no reason given");
            *reasons
                .entry(format!("{} at {}, {why}", end.state, self.names[end.provider]))
                .or_default() += 1;
        }
        reasons
    }

    fn by_provider(&self) -> String {
        let mut table = Table::new();
        table.set_header([
            "provider",
            "accepted",
            "delivered",
            "of these deferred first",
            "bounced",
            "waiting",
            "held by the receiver",
        ]);
        for (index, name) in self.names.iter().enumerate() {
            let here = |which: &dyn Fn(&End) -> bool| self.count(|end| end.provider == index && which(end)).to_string();
            table.add_row([
                (*name).to_owned(),
                here(&|_| true),
                here(&|end| end.state == "delivered"),
                here(&|end| end.state == "delivered" && end.deferred),
                here(&|end| end.state == "bounced"),
                here(&|end| !matches!(&*end.state, "delivered" | "bounced" | "expired")),
                self.received[index].to_string(),
            ]);
        }
        table.to_string()
    }

    fn totals(&self) -> String {
        let accepted = self.ends.len();
        let delivered = self.count(|end| end.state == "delivered");
        let mut bounces: BTreeMap<&str, u64> = BTreeMap::new();
        for class in self.ends.iter().filter_map(|end| end.bounce.as_deref()) {
            *bounces.entry(class).or_default() += 1;
        }
        let bounces: Vec<String> = bounces
            .iter()
            .map(|(class, count)| format!("{count} {class}"))
            .collect();
        let balance = if self.balances() {
            "balances"
        } else {
            "DOES NOT BALANCE"
        };
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = accepted as f64 / self.seconds.max(0.001);
        format!(
            "accepted {accepted}, delivered {delivered} ({} deferred first), bounced {} ({}), expired {}, waiting {}\n\
             duplicates {}, lost {}; {rate:.0} messages/s over {:.1} s; accept to delivered: p50 {} ms, p95 {} ms, p99 {} ms\n\
             ledger: accepted {accepted} = final {} + waiting {}; delivered {delivered}, receivers hold {}: {balance}",
            self.count(|end| end.state == "delivered" && end.deferred),
            self.count(|end| end.state == "bounced"),
            bounces.join(", "),
            self.count(|end| end.state == "expired"),
            self.queued(),
            self.duplicates,
            self.lost(),
            self.seconds,
            self.percentile(50),
            self.percentile(95),
            self.percentile(99),
            self.count(|_| true) - self.queued(),
            self.queued(),
            self.received.iter().sum::<u64>(),
        )
    }

    fn percentile(&self, percent: usize) -> u64 {
        let mut times: Vec<u64> = self.ends.iter().filter_map(|end| end.millis).collect();
        times.sort_unstable();
        times
            .get((times.len() * percent / 100).min(times.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0)
    }

    fn json(&self) -> Value {
        json!({
            "accepted": self.ends.len(),
            "delivered": self.count(|end| end.state == "delivered"),
            "deferred_then_delivered": self.count(|end| end.state == "delivered" && end.deferred),
            "bounced": self.count(|end| end.state == "bounced"),
            "expired": self.count(|end| end.state == "expired"),
            "queued": self.queued(),
            "ambiguous": self.count(|end| end.ambiguous),
            "received_by_providers": self.received.iter().sum::<u64>(),
            "duplicates": self.duplicates,
            "lost": self.lost(),
            "seconds": (self.seconds * 1000.0).round() / 1000.0,
            "p50_ms": self.percentile(50),
            "p95_ms": self.percentile(95),
            "p99_ms": self.percentile(99),
            "ledger_ok": self.balances(),
        })
    }
}

fn is_open(state: &str) -> bool {
    matches!(state, "scheduled" | "queued" | "deferred" | "held" | "quarantined")
}

fn end(provider: usize, mail: &Value, events: &Value, copies: u64) -> End {
    let none = Vec::new();
    let events = events["data"].as_array().unwrap_or(&none);
    let kind = |event: &Value| {
        event["type"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches("email.")
            .to_owned()
    };
    let at = |name: &str| {
        let event = events.iter().find(|event| kind(event) == name)?;
        let time: jiff::Timestamp = event["at"].as_str()?.parse().ok()?;
        Some(time.as_millisecond())
    };
    let millis = at("delivered")
        .zip(at("accepted"))
        .and_then(|(end, start)| u64::try_from(end - start).ok());
    End {
        provider,
        state: mail["recipients"][0]["status"].as_str().unwrap_or("unknown").to_owned(),
        deferred: events.iter().any(|event| kind(event) == "deferred"),
        ambiguous: events.iter().any(|event| kind(event) == "ambiguous"),
        bounce: mail["recipients"][0]["bounce"].as_str().map(str::to_owned),
        millis,
        copies,
        why: mail["recipients"][0]["why"].as_str().map(str::to_owned),
    }
}
