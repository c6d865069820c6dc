//! How each Delivery ended: asked of the API when all is over, mail by mail.
//!
//! Takes ids, gives [`Ends`]; what the engine counts about itself comes from its metrics.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hyper::StatusCode;
use serde_json::Value;

use super::callers::Traffic;
use super::judge::{End, Ends};
use crate::call::Call;
use crate::output;
use crate::scrape;

/// Calls at the same time.
const READERS: usize = 12;
/// Events of one mail that are looked at; it has a few recipients with a few events each.
const EVENTS_MAX: u32 = 1_000;
/// A metrics page that takes longer is not read.
const PAGE_MAX: Duration = Duration::from_secs(5);

/// What an engine counts: deliveries by state, and how many wait.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    pub(crate) by_state: BTreeMap<String, u64>,
    pub(crate) waiting: u64,
}

impl Counted {
    pub(crate) fn total(&self) -> u64 {
        self.by_state.values().sum()
    }
}

/// Reads an engine's metrics.
pub(crate) async fn counted(metrics: SocketAddr) -> Result<Counted> {
    let page = async { Call::connect(metrics, "").await?.get("/metrics").await };
    let text = tokio::time::timeout(PAGE_MAX, page)
        .await
        .context("the metrics do not answer")??;
    Ok(Counted {
        by_state: states(&text),
        waiting: count(scrape::sum(&text, "posthaste_queue_depth")),
    })
}

fn states(text: &str) -> BTreeMap<String, u64> {
    let series = text.lines().filter_map(|line| {
        let (state, value) = line.strip_prefix("posthaste_deliveries{state=\"")?.split_once("\"} ")?;
        Some((state.to_owned(), count(value.parse().ok()?)))
    });
    series.collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "gauges of counts are whole, not negative and far below 2^52"
)]
fn count(value: f64) -> u64 {
    value.max(0.0) as u64
}

/// Asks for all of these mails.
pub(crate) async fn read(traffic: &Arc<Traffic>, ids: Vec<String>) -> Result<Ends> {
    let bar = output::bar(ids.len() as u64, "read");
    let left = Arc::new(Mutex::new(ids));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (left, traffic, bar) = (Arc::clone(&left), Arc::clone(traffic), bar.clone());
            tokio::spawn(async move {
                let address = traffic.door().context("no engine runs")?;
                let mut call = Call::connect(address, traffic.key()).await?;
                let mut ends = Ends::new();
                loop {
                    let next = left.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some(id) = next else { return anyhow::Ok(ends) };
                    let end = one(&mut call, &id).await?;
                    ends.insert(id, end);
                    bar.inc(1);
                }
            })
        })
        .collect();
    let mut ends = Ends::new();
    for reader in readers {
        ends.extend(reader.await??);
    }
    bar.finish_and_clear();
    Ok(ends)
}

async fn one(call: &mut Call, id: &str) -> Result<Option<Vec<End>>> {
    let (status, body) = call.look(&format!("/v1/emails/{id}")).await?;
    if status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    if status != StatusCode::OK {
        bail!("{id}: {status} {}", String::from_utf8_lossy(&body));
    }
    let shown: Value = serde_json::from_slice(&body)?;
    let path = format!("/v1/emails/{id}/events?limit={EVENTS_MAX}");
    let events: Value = serde_json::from_str(&call.get(&path).await?)?;
    Ok(Some(ends_of(&shown, &events)))
}

fn ends_of(shown: &Value, events: &Value) -> Vec<End> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told = |address: &str, kinds: &[&str]| {
        let all = events["data"].as_array().into_iter().flatten();
        let own = all.filter(|event| event["recipient"] == address);
        let of_kind = own.filter(|event| {
            let kind = event["type"].as_str().unwrap_or_default();
            kinds.contains(&kind.trim_start_matches("email."))
        });
        of_kind.count() as u64
    };
    let recipients = shown["recipients"].as_array().into_iter().flatten();
    let end = |recipient: &Value| {
        let address = text(&recipient["email"]);
        End {
            message_id: text(&recipient["message_id"]),
            state: text(&recipient["status"]),
            ambiguous: recipient["ambiguous"].as_u64().unwrap_or(0),
            ends_told: told(
                &address,
                &["delivered", "bounced", "expired", "suppressed", "cancelled", "unknown"],
            ),
            ambiguous_told: told(&address, &["ambiguous"]),
            address,
        }
    };
    recipients.map(end).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_end_is_read_from_the_mail_and_its_events() {
        let shown = json!({"recipients": [
            {"email": "a@x.test", "message_id": "<1.0@x>", "status": "delivered", "ambiguous": 1},
            {"email": "b@x.test", "message_id": "<1.1@x>", "status": "deferred", "ambiguous": 0},
        ]});
        let event = |kind: &str, to: &str| json!({"type": format!("email.{kind}"), "recipient": to});
        let events = json!({"data": [
            event("accepted", "a@x.test"), event("ambiguous", "a@x.test"), event("delivered", "a@x.test"),
            event("deferred", "b@x.test"),
        ]});
        let ends = ends_of(&shown, &events);
        let seen: Vec<_> = ends
            .iter()
            .map(|end| (end.state.as_str(), end.ambiguous, end.ends_told, end.ambiguous_told))
            .collect();
        assert_eq!(seen, [("delivered", 1, 1, 1), ("deferred", 0, 0, 0)]);
    }

    #[test]
    fn deliveries_are_counted_by_state() {
        let text = "# HELP x\nposthaste_deliveries{state=\"held\"} 2\nposthaste_deliveries{state=\"delivered\"} 40\n";
        let counted = Counted {
            by_state: states(text),
            waiting: 0,
        };
        assert_eq!((counted.total(), counted.by_state["held"]), (42, 2));
    }
}
