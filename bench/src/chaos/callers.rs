//! Who asks: a few callers at a steady rate, over connections that break whenever an engine does.
//!
//! Takes doors to the engines and a rate; keeps the account. A call with a key is repeated, at whichever door is open,
//! until it is answered; one without is made once, and when nobody answers nobody knows what became of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use fastrand::Rng;
use hyper::StatusCode;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::account::{Account, Outcome};
use super::mail::{self, Call};
use crate::call;
use crate::fit::{now, number, wall_ms};

/// Calls at the same time.
const CALLERS: u64 = 16;
/// An answer that takes longer is none.
const ANSWER_MAX: Duration = Duration::from_secs(8);
/// Between two looks at a closed door.
const KNOCK: Duration = Duration::from_millis(20);
/// How long calls under a key are repeated once no new ones are made.
const LAST_CALLS: Duration = Duration::from_secs(60);
/// After about so many calls a caller comes to another door: an engine that is back gets its share again.
const CALLS_PER_LINE: u32 = 20;
/// Surprises that are kept.
const SURPRISES_MAX: usize = 10;

/// Where an engine listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Door {
    pub(crate) api: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

/// The callers' common ground.
#[derive(Debug)]
pub(crate) struct Traffic {
    account: Mutex<Account>,
    doors: Mutex<Vec<Option<Door>>>,
    key: String,
    /// Time between two deliveries.
    step: Duration,
    next: Mutex<Instant>,
    stopped: AtomicBool,
    given_up: AtomicBool,
    /// Too much is waiting already.
    pub(crate) brake: AtomicBool,
    turn: AtomicUsize,
}

/// What one try of a call came to.
enum Answer {
    Accepted(Vec<String>),
    /// Surely not stored; it may be asked for again.
    NotNow,
    /// Surely not stored, and never will be.
    Refused,
    Unknown,
}

impl Traffic {
    pub(crate) fn new(key: String, rate: u64) -> Self {
        Self {
            account: Mutex::default(),
            doors: Mutex::default(),
            key,
            step: Duration::from_secs_f64(1.0 / number(rate.max(1))),
            next: Mutex::new(now()),
            stopped: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            brake: AtomicBool::new(false),
            turn: AtomicUsize::new(0),
        }
    }

    pub(crate) fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Where an engine listens now, if it does.
    pub(crate) fn set_door(&self, number: usize, door: Option<Door>) {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        if doors.len() <= number {
            doors.resize(number + 1, None);
        }
        doors[number] = door;
    }

    /// The API of the next open door, in turn.
    pub(crate) fn door(&self) -> Option<SocketAddr> {
        let open = self.open_doors();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        open.get(turn % open.len().max(1)).map(|door| door.api)
    }

    /// The metrics of an open door.
    pub(crate) fn metrics(&self) -> Option<SocketAddr> {
        self.open_doors().first().map(|door| door.metrics)
    }

    fn open_doors(&self) -> Vec<Door> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.iter().flatten().copied().collect()
    }

    /// Starts the callers.
    pub(crate) fn start(self: &Arc<Self>, seed: u64) -> Vec<JoinHandle<()>> {
        let callers = (0..CALLERS).map(|number| {
            let random = Rng::with_seed(seed.wrapping_add(number));
            tokio::spawn(call_on(Arc::clone(self), random))
        });
        callers.collect()
    }

    /// Ends the load: no new calls; those under way and under a key get some time.
    pub(crate) async fn stop(&self, callers: Vec<JoinHandle<()>>) -> Result<()> {
        self.stopped.store(true, Ordering::Relaxed);
        let all = async {
            for caller in callers {
                caller.await?;
            }
            anyhow::Ok(())
        };
        if let Ok(ended) = tokio::time::timeout(LAST_CALLS, all).await {
            return ended;
        }
        self.given_up.store(true, Ordering::Relaxed);
        bail!("calls are not answered any more, although everything is healed");
    }

    /// Waits for the turn of the next call; false when there is none.
    async fn may_go(&self) -> bool {
        loop {
            if self.stopped.load(Ordering::Relaxed) {
                return false;
            }
            let wait = {
                let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
                next.saturating_duration_since(now())
            };
            if self.brake.load(Ordering::Relaxed) {
                tokio::time::sleep(KNOCK).await;
            } else if wait.is_zero() {
                return true;
            } else {
                tokio::time::sleep(wait.min(Duration::from_millis(100))).await;
            }
        }
    }

    /// Puts a call into the account and pays for it in time.
    fn draw(&self, random: &mut Rng) -> (usize, Call) {
        let mut account = self.account();
        let call = mail::draw(random, account.next(), wall_ms());
        let deliveries: usize = call.mails.iter().map(|mail| mail.recipients.len()).sum();
        let number = account.open(call.mails.clone());
        drop(account);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let cost = self.step * u32::try_from(deliveries).unwrap_or(u32::MAX);
        *next = (*next).max(now()) + cost;
        (number, call)
    }

    async fn make(&self, line: &mut Option<call::Call>, call: &Call) -> Outcome {
        loop {
            match self.try_once(line, call).await {
                Answer::Accepted(ids) => return Outcome::Accepted(ids),
                Answer::Refused => return Outcome::Refused,
                Answer::NotNow if call.key.is_none() => return Outcome::Refused,
                Answer::Unknown if call.key.is_none() => return Outcome::Unanswered,
                Answer::NotNow => {}
                Answer::Unknown => self.account().repeated += 1,
            }
            if self.given_up.load(Ordering::Relaxed) {
                return Outcome::Unanswered;
            }
            tokio::time::sleep(KNOCK).await;
        }
    }

    async fn try_once(&self, line: &mut Option<call::Call>, call: &Call) -> Answer {
        if line.is_none() {
            let Some(address) = self.door() else {
                return Answer::NotNow;
            };
            match call::Call::connect(address, &self.key).await {
                Ok(connected) => *line = Some(connected),
                Err(_) => return Answer::NotNow,
            }
        }
        let Some(connection) = line.as_mut() else {
            return Answer::NotNow;
        };
        let body = call.body.clone();
        let asked = async {
            match &call.key {
                Some(key) => connection.post_under(key, call.path, body).await,
                None => connection.post(call.path, body).await,
            }
        };
        match tokio::time::timeout(ANSWER_MAX, asked).await {
            Ok(Ok((status, body))) => self.read(status, &body, call),
            Ok(Err(_)) | Err(_) => {
                *line = None;
                Answer::Unknown
            }
        }
    }

    fn read(&self, status: StatusCode, body: &[u8], call: &Call) -> Answer {
        let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        if status == StatusCode::ACCEPTED {
            let ids = ids(&value);
            if ids.len() == call.mails.len() {
                return Answer::Accepted(ids);
            }
        }
        let timed = call
            .mails
            .iter()
            .any(|mail| mail.class == posthaste::domain::Class::Critical);
        match (status.as_u16(), value["code"].as_str().unwrap_or("")) {
            (503, "storage_full") => {
                self.account().store_refusals += 1;
                Answer::NotNow
            }
            (503, "store_unavailable") => {
                self.account().store_refusals += 1;
                Answer::Unknown
            }
            (503, "overloaded" | "draining") | (409, "idempotency_in_progress") => Answer::NotNow,
            // Repeated so late that its time had passed.
            (422, _) if timed => Answer::Refused,
            (status, _) => {
                let mut account = self.account();
                if account.surprises.len() < SURPRISES_MAX {
                    let text = String::from_utf8_lossy(body).chars().take(400).collect::<String>();
                    account
                        .surprises
                        .push(format!("{} answered {status}: {text}", call.path));
                }
                Answer::Unknown
            }
        }
    }
}

/// The ids that an answer gives, in the order of the call's mails.
fn ids(value: &Value) -> Vec<String> {
    let id = |value: &Value| value["id"].as_str().map(str::to_owned);
    match value["data"].as_array() {
        Some(items) => items.iter().filter_map(id).collect(),
        None => id(value).into_iter().collect(),
    }
}

async fn call_on(traffic: Arc<Traffic>, mut random: Rng) {
    let mut line = None;
    while traffic.may_go().await {
        if traffic.door().is_none() {
            tokio::time::sleep(KNOCK).await;
            continue;
        }
        let (number, call) = traffic.draw(&mut random);
        let outcome = traffic.make(&mut line, &call).await;
        traffic.account().close(number, outcome);
        if random.u32(..CALLS_PER_LINE) == 0 {
            line = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_read_from_one_mail_and_from_many() {
        for (value, expect) in [
            (json!({"id": "a"}), vec!["a"]),
            (json!({"data": [{"id": "a"}, {"id": "b"}]}), vec!["a", "b"]),
            (json!({"data": [{"id": "a"}, {"error": {}}]}), vec!["a"]),
            (Value::Null, vec![]),
        ] {
            assert_eq!(ids(&value), expect, "{value}");
        }
    }

    #[test]
    fn a_call_takes_an_open_door_in_turn() {
        let traffic = Traffic::new(String::new(), 100);
        assert_eq!(traffic.door(), None);
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let door = |port: u16| Door {
            api: address(port),
            metrics: address(port + 10),
        };
        traffic.set_door(1, Some(door(81)));
        assert_eq!((traffic.door(), traffic.door()), (Some(address(81)), Some(address(81))));
        traffic.set_door(0, Some(door(80)));
        assert_eq!(traffic.metrics(), Some(address(90)));
        let two: std::collections::BTreeSet<_> = (0..4).filter_map(|_| traffic.door()).collect();
        assert_eq!(two.len(), 2);
    }
}
