//! Tenants over several processes on one Redis: what one of them counts the other adds to its own.

use provider_sim::{Behaviour, Share};
use serde_json::{Value, json};
use test_rig::{RedisOptions, RedisServer};

use super::engine::on;
use crate::engine::bed::{Http, behaving, door, eventually, sum};
use crate::engine::process::{Home, Process};

/// Newsletters go from one source, all else from the other: of two nodes each sends one kind.
const SOURCES: &str = "sources:
  - {id: ip2, ip: 127.0.0.2, classes: [critical, transactional]}
  - {id: ip3, ip: 127.0.0.3, classes: [broadcast]}
tenants: {policy: strict}
";

async fn send(http: &Http, class: &str, count: usize) {
    let mail = |number: usize| {
        let to = format!("gone-{class}{number}@example.test");
        json!({"from": "News <news@acme.test>", "to": to, "subject": "Hi", "text": "Hello", "class": class})
    };
    let mails: Vec<Value> = (0..count).map(mail).collect();
    for batch in mails.chunks(100) {
        http.send_batch(batch.to_vec()).await;
    }
}

/// Whether this process sees that both have a source. To a name its directory's id is added.
async fn share(node: &Process) -> bool {
    let text = node.metrics().await;
    let owns = |name: &str| {
        let of_node = format!("node=\"{name}/");
        let mut owners = text.lines().filter(|line| line.starts_with("posthaste_source_owner{"));
        owners.any(|line| line.contains(&of_node) && line.ends_with(" 1"))
    };
    owns("a") && owns("b")
}

#[tokio::test]
async fn a_bad_list_that_is_spread_over_two_processes_pauses_its_tenant_on_both() {
    let receiver = behaving(Behaviour {
        unknown_users: Share::beginning_with("gone"),
        ..Behaviour::default()
    })
    .await;
    let server = RedisServer::start(&RedisOptions::new()).unwrap();
    let config = |name: &str| {
        let text = on(&server, &[door("example.test", &receiver)]);
        format!("node: {name}\n{SOURCES}{text}")
    };
    let mut home = Home::with(&config("a"));
    let first = home.start().await;
    let mut other = home.second(&config("b"));
    let second = other.start().await;
    eventually("each has a source", async || {
        share(&first).await && share(&second).await
    })
    .await;
    send(&first.http, "broadcast", 130).await;
    send(&second.http, "transactional", 130).await;
    for node in [&first, &second] {
        eventually("the tenant is paused", async || {
            let text = node.metrics().await;
            sum(&text, "posthaste_tenant_paused", &[("tenant", "1")]) > 1.5
        })
        .await;
    }
}
