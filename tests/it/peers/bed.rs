//! An engine in this process, on an embedded store, whose mail for everybody goes to one peer; and a client of its API.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use posthaste::app::{Running, Seams, start_on};
use posthaste::bootstrap::FIRST_TENANT;
use posthaste::clock::Clock;
use posthaste::config::Settings;
use posthaste::observe::Observer;
use posthaste::queue::Queue;
use posthaste::resolver::Fixed;
use posthaste::store::{Embedded, EmbeddedSettings, Seal, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::peer::{PATIENCE, Peer, write_eml};
use crate::mail_peers::read_with_python;

/// The engine and its client.
pub(super) struct Bed {
    pub(super) store: Arc<dyn Store>,
    running: Running,
    client: reqwest::Client,
    key: String,
    _data: TempDir,
}

impl Bed {
    /// An engine that sends from acme.test and gives all mail to `peer`. `tls` is the route's.
    pub(super) async fn new(peer: &Peer, tls: &str) -> Self {
        let yaml = format!(
            r#"
            hostname: posthaste.test
            api: {{listen: "127.0.0.1:0", workers: 1}}
            metrics: {{listen: ""}}
            domains: [{{name: acme.test, verified: true}}]
            routes: [{{name: peer, domains: ["*"], host: 127.0.0.1, port: {}, tls: {tls}, connections: 4}}]
            delivery: {{greylist: 2s, retry: {{critical: [2s], transactional: [2s], broadcast: [2s]}}}}
            engine: {{session_idle: 1s}}
            "#,
            peer.port
        );
        let settings = Settings::from_yaml(&yaml, &|_| None).expect("settings");
        let data = tempfile::tempdir().unwrap();
        let seal = Seal::load_or_create(&data.path().join("key"), None).unwrap();
        let embedded = Arc::new(Embedded::open(EmbeddedSettings::in_directory(data.path()), seal).unwrap());
        let seams = Seams {
            queue: Arc::clone(&embedded) as Arc<dyn Queue>,
            store: Arc::clone(&embedded) as Arc<dyn Store>,
            resolver: Arc::new(Fixed::new()),
            confirm: None,
            clock: Clock::system(),
            return_path_key: [7; 32],
        };
        let running = start_on(settings, seams, Arc::new(Observer::new()), None)
            .await
            .unwrap();
        Self {
            store: embedded,
            client: reqwest::Client::new(),
            key: running.first_key.clone().expect("a first key"),
            running,
            _data: data,
        }
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("http://{}{path}", self.running.api);
        let call = self.client.post(url).bearer_auth(&self.key).json(body);
        answer(call).await
    }

    /// Sends a mail; gives its id.
    pub(super) async fn send(&self, mail: &Value) -> String {
        let answer = self.post("/send-email", mail).await;
        answer["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let url = format!("http://{}{path}", self.running.api);
        answer(self.client.get(url).bearer_auth(&self.key)).await
    }

    /// Waits until a mail has this status.
    pub(super) async fn until(&self, id: &str, status: &str) -> Value {
        let mut last = Value::Null;
        let looking = async {
            loop {
                last = self.get(&format!("/v1/emails/{id}")).await;
                if last["status"] == status {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, looking).await;
        assert!(done.is_ok(), "{id} never was {status}: {last}");
        last
    }

    /// The kinds of a mail's events, in order.
    pub(super) async fn events(&self, id: &str) -> Vec<Value> {
        let events = self.get(&format!("/v1/emails/{id}/events")).await;
        events["data"].as_array().cloned().unwrap_or_else(|| panic!("{events}"))
    }

    /// What Python's parser and dkimpy see of messages that arrived, in the same order.
    pub(super) async fn read(&self, mailbox: &[Vec<u8>]) -> Vec<Value> {
        let folder = tempfile::tempdir().unwrap();
        self.write_dns(folder.path()).await;
        for (number, message) in mailbox.iter().enumerate() {
            write_eml(folder.path(), number, message);
        }
        let seen = read_with_python(folder.path());
        assert_eq!(seen.len(), mailbox.len());
        seen.into_values().collect()
    }

    /// The answers of DNS that a verifier needs: the records that the domain's owner was told to publish.
    async fn write_dns(&self, folder: &Path) {
        let domains = self.store.domains(FIRST_TENANT).await.unwrap();
        let mut records = BTreeMap::new();
        for domain in &domains {
            for key in &domain.dkim {
                records.insert(
                    format!("{}._domainkey.{}", key.selector, domain.name),
                    key.record.clone(),
                );
            }
        }
        std::fs::write(folder.join("dns.json"), json!(records).to_string()).unwrap();
    }

    /// Stops the engine; it must not leave anything behind.
    pub(super) async fn stop(self) {
        assert!(self.running.stop().await, "everything ended within the grace");
    }
}

async fn answer(call: reqwest::RequestBuilder) -> Value {
    let response = call.send().await.expect("an answer");
    let status = response.status();
    let answer: Value = response.json().await.expect("JSON");
    assert!(status.is_success(), "{status}: {answer}");
    answer
}
