//! What the engine is tested on: a running engine in this process, its receivers, and conditions with deadlines.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use posthaste::app::{self, Running, Seams};
use posthaste::clock::Clock;
use posthaste::config::Settings;
use posthaste::domain::{State, Timestamp};
use posthaste::observe::Observer;
use posthaste::queue::{Depth, Queue};
use posthaste::resolver::Fixed;
use posthaste::store::{Memory, Store};
use provider_sim::{Behaviour, Receiver, Script};
use serde_json::{Value, json};

/// No condition of these tests takes longer than this, on a busy machine.
pub(crate) const WITHIN: Duration = Duration::from_secs(40);
/// What is shown of mail that has come to its end.
const FINAL: [&str; 6] = ["delivered", "bounced", "expired", "suppressed", "cancelled", "unknown"];
/// Between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A route of the engine under test to a receiver.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) domain: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) connections: u32,
}

/// A domain that is delivered at this receiver.
pub(crate) fn door(domain: &'static str, receiver: &Receiver) -> Door {
    Door {
        domain,
        address: receiver.address(),
        connections: 5,
    }
}

/// The config of an engine for tests: short times, loopback, ports of the system's choice.
pub(crate) fn config(doors: &[Door]) -> String {
    let mut text = String::from(
        "hostname: mta.engine.test
api: {listen: \"127.0.0.1:0\", workers: 1}
metrics: {listen: \"127.0.0.1:0\"}
store: {reserve_mib: 1}
domains: [{name: acme.test, verified: true}]
delivery:
  retry: {critical: [200ms], transactional: [300ms], broadcast: [300ms]}
  breaker: {failures: 3, first_pause: 200ms, longest_pause: 1s}
  slow: {first_pause: 200ms, longest_pause: 1s}
  stop_longest: 500ms
engine: {lease: 2s, session_idle: 2s, shutdown_grace: 20s}
",
    );
    text += if doors.is_empty() { "routes: []\n" } else { "routes:\n" };
    for (index, door) in doors.iter().enumerate() {
        text += &format!(
            "  - {{name: door{index}, domains: [\"{}\"], host: {}, port: {}, tls: off, connections: {}}}\n",
            door.domain,
            door.address.ip(),
            door.address.port(),
            door.connections
        );
    }
    text
}

/// Settings for an engine in this process: besides the config, the waits that it does not name are short.
pub(crate) fn settings(doors: &[Door]) -> Settings {
    let mut settings = Settings::from_yaml(&config(doors), &|_| None).expect("a good config");
    settings.engine.settlement.retry.greylist_wait_min = Duration::from_millis(300);
    settings.engine.settlement.fault_wait = Duration::from_millis(200);
    settings
}

/// A receiver that behaves like this.
pub(crate) async fn behaving(behaviour: Behaviour) -> Receiver {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Receiver::builder()
        .behaviour(behaviour)
        .listen(any)
        .await
        .expect("listens")
}

/// A receiver that does these things wrong.
pub(crate) async fn scripted(script: Script) -> Receiver {
    Receiver::scripted(script).await.expect("listens")
}

/// A receiver that accepts everything.
pub(crate) async fn plain() -> Receiver {
    behaving(Behaviour::default()).await
}

/// A mail of acme.test to this address.
pub(crate) fn mail(to: &str) -> Value {
    json!({"from": "Acme <no-reply@acme.test>", "to": to, "subject": "Hi", "text": "Hello"})
}

/// A running engine and ways to call it.
pub(crate) struct Bed {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) observer: Arc<Observer>,
    pub(crate) clock: Clock,
    running: Option<Running>,
    http: Http,
}

impl Bed {
    /// On a store in memory.
    pub(crate) async fn new(settings: Settings) -> Self {
        Self::on(settings, Arc::new(Memory::new())).await
    }

    /// On this backend.
    pub(crate) async fn on<B: Queue + Store + 'static>(settings: Settings, backend: Arc<B>) -> Self {
        Self::with_key(settings, backend, None, Fixed::new()).await
    }

    /// On a store in memory, among these names.
    pub(crate) async fn among(settings: Settings, names: Fixed) -> Self {
        Self::with_key(settings, Arc::new(Memory::new()), None, names).await
    }

    /// On a backend that another engine left, whose key is this.
    pub(crate) async fn again<B: Queue + Store + 'static>(settings: Settings, backend: Arc<B>, key: &str) -> Self {
        Self::with_key(settings, backend, Some(key), Fixed::new()).await
    }

    async fn with_key<B: Queue + Store + 'static>(
        settings: Settings,
        backend: Arc<B>,
        key: Option<&str>,
        names: Fixed,
    ) -> Self {
        let seams = Seams {
            queue: Arc::clone(&backend) as Arc<dyn Queue>,
            store: backend,
            resolver: Arc::new(names),
            confirm: None,
            clock: Clock::system(),
            return_path_key: [7; 32],
        };
        let (queue, store, clock) = (Arc::clone(&seams.queue), Arc::clone(&seams.store), seams.clock.clone());
        let observer = Arc::new(Observer::new());
        let running = app::start_on(settings, seams, Arc::clone(&observer), None)
            .await
            .expect("starts");
        let key = key.map(str::to_owned).or_else(|| running.first_key.clone());
        let key = key.expect("the first start makes a key");
        let http = Http::new(running.api, key);
        Self {
            queue,
            store,
            observer,
            clock,
            running: Some(running),
            http,
        }
    }

    /// Posts a mail that must be accepted; gives its id.
    pub(crate) async fn send(&self, mail: &Value) -> String {
        self.http.send(mail).await
    }

    /// Posts anything; gives the answer.
    pub(crate) async fn call(&self, path: &str, body: &Value) -> Answer {
        self.http.post(path, body).await.expect("the engine answers")
    }

    /// Posts a mail; gives status, the seconds of `Retry-After` and the answer.
    pub(crate) async fn post(&self, mail: &Value) -> Answer {
        self.http.post("/v1/emails", mail).await.expect("the engine answers")
    }

    /// Sends one mail to each of these addresses, in batches; gives the ids.
    pub(crate) async fn send_all(&self, addresses: &[String]) -> Vec<String> {
        let mut ids = Vec::with_capacity(addresses.len());
        for batch in addresses.chunks(100) {
            ids.extend(self.http.send_batch(batch.iter().map(|to| mail(to)).collect()).await);
        }
        ids
    }

    /// What the API shows of a mail.
    pub(crate) async fn email(&self, id: &str) -> Value {
        self.http.email(id).await
    }

    /// The types of its events, without `email.`.
    pub(crate) async fn events(&self, id: &str) -> Vec<String> {
        let events = self
            .http
            .get(&format!("/v1/emails/{id}/events"))
            .await
            .expect("answers");
        let events = events.body["data"].as_array().cloned().unwrap_or_default();
        let name = |event: &Value| {
            event["type"]
                .as_str()
                .unwrap_or("?")
                .trim_start_matches("email.")
                .to_owned()
        };
        events.iter().map(name).collect()
    }

    /// Waits until the mail is in this state; gives what the API shows.
    pub(crate) async fn until(&self, id: &str, status: &str) -> Value {
        let mut seen = Value::Null;
        let wait = async {
            loop {
                seen = self.email(id).await;
                if seen["status"] == status {
                    return;
                }
                // Nothing leads out of a final state.
                let ended = FINAL.iter().any(|end| seen["status"] == *end);
                assert!(!ended, "not {status}: {seen:#}");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let done = tokio::time::timeout(WITHIN, wait).await;
        assert!(done.is_ok(), "not {status} in time: {seen:#}");
        seen
    }

    /// How much is in the queue.
    pub(crate) async fn depth(&self) -> Depth {
        self.queue.depth(self.clock.now()).await.expect("the queue answers")
    }

    /// The key that its first start made.
    pub(crate) fn key(&self) -> &str {
        &self.http.key
    }

    /// Deliveries in this state.
    pub(crate) async fn count(&self, state: State) -> u64 {
        in_state(&self.depth().await, state)
    }

    /// Waits until all deliveries have come to an end; gives the depth.
    pub(crate) async fn settled(&self) -> Depth {
        let mut depth = Depth::default();
        let wait = async {
            loop {
                depth = self.depth().await;
                if depth.waiting_by_class.iter().sum::<u64>() == 0 {
                    return;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let done = tokio::time::timeout(WITHIN, wait).await;
        assert!(
            done.is_ok(),
            "not settled in time: {depth:?}\n{}",
            self.observer.render()
        );
        depth
    }

    /// The sum of a metric over all series that have these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        sum(&self.observer.render(), name, labels)
    }

    /// Waits until a metric is at least this much.
    pub(crate) async fn until_metric(&self, name: &str, labels: &[(&str, &str)], least: f64) {
        let wait = async {
            while self.metric(name, labels) < least {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let done = tokio::time::timeout(WITHIN, wait).await;
        assert!(done.is_ok(), "{name} {labels:?} is {}", self.metric(name, labels));
    }

    /// Stops the engine as SIGTERM does. Says whether all ended within the grace.
    pub(crate) async fn stop(&mut self) -> bool {
        self.running.take().expect("runs").stop().await
    }

    /// What reads config and rules again.
    pub(crate) fn reloader(&self) -> Arc<posthaste::reload::Reloader> {
        Arc::clone(&self.running.as_ref().expect("runs").reloader)
    }

    /// The door of the engine, to be used from another task.
    pub(crate) fn http(&self) -> Http {
        self.http.clone()
    }
}

/// Deliveries in this state.
pub(crate) fn in_state(depth: &Depth, state: State) -> u64 {
    let index = State::ALL.iter().position(|other| *other == state).expect("a state");
    depth.by_state[index]
}

/// The sum of a metric in Prometheus text.
pub(crate) fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let of_metric = |line: &&str| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} "));
    let labelled = |line: &&str| {
        labels
            .iter()
            .all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
    };
    let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
    let values = text.lines().filter(of_metric).filter(labelled).filter_map(value);
    values.fold(0.0, |sum, value| sum + value)
}

/// An answer of the API.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: Value,
}

/// A client of the API.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    api: SocketAddr,
    key: String,
}

impl Http {
    pub(crate) fn new(api: SocketAddr, key: String) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { client, api, key }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> reqwest::Result<Answer> {
        let request = self.client.post(format!("http://{}{path}", self.api));
        self.answer(request.json(body)).await
    }

    /// Posts a mail that is JSON already, over a connection of its own.
    pub(crate) async fn post_text(&self, text: bytes::Bytes) -> reqwest::Result<Answer> {
        let alone = Self::new(self.api, self.key.clone());
        let request = alone.client.post(format!("http://{}/v1/emails", self.api));
        let request = request.header("content-type", "application/json").body(text);
        alone.answer(request).await
    }

    /// Posts a mail under an idempotency key.
    pub(crate) async fn post_with_key(&self, key: &str, mail: &Value) -> Answer {
        let request = self.client.post(format!("http://{}/v1/emails", self.api));
        let request = request.header("idempotency-key", key).json(mail);
        self.answer(request).await.expect("the engine answers")
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Result<Answer> {
        self.answer(self.client.get(format!("http://{}{path}", self.api))).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.bearer_auth(&self.key).send().await?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let body = serde_json::from_slice(&response.bytes().await?).unwrap_or(Value::Null);
        Ok(Answer {
            status,
            retry_after,
            body,
        })
    }

    pub(crate) async fn send(&self, mail: &Value) -> String {
        let answer = self.post("/v1/emails", mail).await.expect("the engine answers");
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.body["id"].as_str().expect("an id").to_owned()
    }

    pub(crate) fn api(&self) -> SocketAddr {
        self.api
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) async fn send_batch(&self, mails: Vec<Value>) -> Vec<String> {
        let count = mails.len();
        let answer = self.post("/v1/emails/batch", &json!({"emails": mails})).await;
        let answer = answer.expect("the engine answers");
        let items = answer.body["data"].as_array().cloned().unwrap_or_default();
        let ids: Vec<String> = items
            .iter()
            .filter_map(|item| item["id"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(ids.len(), count, "{answer:?}");
        ids
    }

    pub(crate) async fn email(&self, id: &str) -> Value {
        let answer = self.get(&format!("/v1/emails/{id}")).await.expect("the engine answers");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }
}

/// Numbered addresses of a domain.
pub(crate) fn numbered(count: usize, domain: &str) -> Vec<String> {
    (0..count).map(|number| format!("user{number}@{domain}")).collect()
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    assert!(tokio::time::timeout(WITHIN, wait).await.is_ok(), "{what}");
}

/// A time so far from now, as the API takes it.
pub(crate) fn ahead(clock: &Clock, wait: Duration) -> String {
    let at: Timestamp = clock.now().plus(wait);
    at.to_string()
}
