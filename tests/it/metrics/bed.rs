//! A whole engine on a temporary folder with a receiver behind each kind of route, and ways to send and to look.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use posthaste::app::{self, Running};
use posthaste::config::Settings;
use provider_sim::{Act, Behaviour, Greylist, Receiver, Script, Share, Stage, TlsIdentity};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Nothing that is waited for takes longer than this.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The engine and its receivers.
pub(super) struct Bed {
    pub(super) running: Running,
    /// Takes all mail, but for unknown users; offers TLS.
    pub(super) good: Receiver,
    /// Greylists for longer than a test.
    pub(super) grey: Receiver,
    /// Shuts the door at the greeting.
    pub(super) shut: Receiver,
    pub(super) key: String,
    client: reqwest::Client,
    _data: TempDir,
}

/// Mail for `user` at a domain of the bed: `good.test`, `grey.test` or `shut.test`.
pub(super) fn mail(to: &str, subject: &str, class: &str) -> Value {
    json!({
        "from": "Acme <no-reply@acme.test>", "to": to, "subject": subject, "text": "Hello", "class": class,
    })
}

impl Bed {
    pub(super) async fn start() -> Self {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let picky = Behaviour {
            unknown_users: Share::beginning_with("nobody"),
            ..Behaviour::default()
        };
        let greylisting = Behaviour {
            greylist: Some(Greylist { delay_ms: 3_600_000 }),
            ..Behaviour::default()
        };
        let good = Receiver::builder()
            .behaviour(picky)
            .tls(TlsIdentity::self_signed("mx.good.test").expect("an identity"));
        let good = good.listen(loopback).await.expect("a port");
        let grey = Receiver::builder().behaviour(greylisting);
        let grey = grey.listen(loopback).await.expect("a port");
        let closed = Script::new().at(Stage::Banner, Act::reply("554 5.3.2 closed"));
        let shut = Receiver::scripted(closed).await.expect("a port");
        let data = tempfile::tempdir().expect("a folder");
        let mut yaml = format!(
            "data: {}\nhostname: mta.acme.test\napi: {{listen: \"127.0.0.1:0\", workers: 1}}\n\
             metrics: {{listen: \"127.0.0.1:0\"}}\ntenants: {{policy: none}}\ndomains: [{{name: acme.test, verified: true}}]\nroutes:\n",
            data.path().join("data").display()
        );
        for (name, receiver) in [("good", &good), ("grey", &grey), ("shut", &shut)] {
            let port = receiver.address().port();
            yaml.push_str(&format!(
                "- {{name: {name}, domains: [{name}.test], host: 127.0.0.1, port: {port}, tls: opportunistic}}\n"
            ));
        }
        let settings = Settings::from_yaml(&yaml, &|_| None).expect("settings");
        let running = Box::pin(app::start(settings, &|_| None)).await.expect("an engine");
        Self {
            key: running.first_key.clone().expect("the key of a first start"),
            running,
            good,
            grey,
            shut,
            client: reqwest::Client::new(),
            _data: data,
        }
    }

    /// Calls the API; gives status and answer.
    pub(super) async fn post(&self, path: &str, body: &Value) -> (u16, String) {
        let response = self
            .client
            .post(format!("http://{}{path}", self.running.api))
            .bearer_auth(&self.key)
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .expect("an answer");
        let status = response.status().as_u16();
        (status, response.text().await.expect("a body"))
    }

    /// Sends one mail, which must be accepted.
    pub(super) async fn send(&self, to: &str, subject: &str, class: &str) {
        let (status, answer) = self.post("/v1/emails", &mail(to, subject, class)).await;
        assert_eq!(status, 202, "{answer}");
    }

    /// What the engine tells Prometheus.
    pub(super) async fn metrics(&self) -> String {
        let address = self.running.metrics.expect("an address");
        let response = self.client.get(format!("http://{address}/metrics")).send().await;
        response.expect("an answer").text().await.expect("text")
    }

    /// Waits until all these lines are in the metrics.
    pub(super) async fn wait_for_metrics(&self, lines: &[&str]) {
        let mut text = String::new();
        let wait = async {
            loop {
                text = self.metrics().await;
                if lines.iter().all(|line| text.lines().any(|other| other == *line)) {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, wait).await.is_ok();
        assert!(found, "{lines:#?} are not all in\n{text}");
    }

    pub(super) async fn stop(self) {
        assert!(self.running.stop().await, "the engine stopped within its grace");
    }
}
