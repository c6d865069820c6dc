//! Nodes of one store tell each other what they learnt of tenants, of domains and of replies: none of it is known to one alone.

use std::sync::Arc;
use std::time::Duration;

use posthaste::config::Settings;
use posthaste::domain::{Class, ProviderId};
use posthaste::policy::tenant_policy::Policy;
use posthaste::store::Memory;
use provider_sim::{Act, Behaviour, Receiver, Script, Share, Stage};
use serde_json::{Value, json};

use super::bed::{Http, behaving, door, eventually, scripted, sum};
use super::nodes::{Node, all_settled, node_settings, shares};

/// Settings of a node where newsletters go from one source and all else from the other: of two nodes each sends one kind.
fn split(name: &str, receiver: &Receiver) -> Settings {
    let mut settings = node_settings(name, &["ip2", "ip3"], &[door("example.test", receiver)]);
    settings.sources[0].room.classes = vec![Class::Critical, Class::Transactional];
    settings.sources[1].room.classes = vec![Class::Broadcast];
    settings.tenants.policy = Policy::Strict;
    settings.engine.reviews_every = Duration::from_millis(100);
    settings
}

/// Two nodes that have a source each, and a way to each.
async fn two(settings: impl Fn(&str) -> Settings, memory: &Arc<Memory>) -> ([Node; 2], [Http; 2]) {
    let first = Node::with(settings("a"), memory).await;
    let second = Node::with(settings("b"), memory).await;
    shares(memory, [("a", 1), ("b", 1)]).await;
    let key = first.first_key.clone().expect("the first makes a key");
    let http = [&first, &second].map(|node| Http::new(node.api, key.clone()));
    ([first, second], http)
}

fn mail(class: &str, to: &str) -> Value {
    json!({"from": "News <news@acme.test>", "to": to, "subject": "Hi", "text": "Hello", "class": class})
}

async fn send(http: &Http, class: &str, who: &str, count: usize) {
    let mails: Vec<Value> = (0..count)
        .map(|number| mail(class, &format!("{who}{number}@example.test")))
        .collect();
    for batch in mails.chunks(100) {
        http.send_batch(batch.to_vec()).await;
    }
}

#[actix_web::test]
async fn a_tenant_whose_bad_list_is_spread_over_nodes_is_paused_on_all_of_them() {
    let receiver = behaving(Behaviour {
        unknown_users: Share::beginning_with("gone"),
        ..Behaviour::default()
    })
    .await;
    let memory = Arc::new(Memory::new());
    let (nodes, http) = two(|name| split(name, &receiver), &memory).await;
    // Too few to say anything, on each of them.
    send(&http[0], "broadcast", "gone-b", 130).await;
    send(&http[1], "transactional", "gone-t", 130).await;
    all_settled(&memory).await;
    for node in &nodes {
        let paused = async || {
            let text = node.observer.render();
            let of = |stream| sum(&text, "posthaste_tenant_paused", &[("tenant", "1"), ("stream", stream)]);
            of("broadcast") > 0.5 && of("transactional") > 0.5
        };
        eventually("the tenant is paused", paused).await;
    }
    for node in &http {
        let refused = node.post("/v1/emails", &mail("broadcast", "a@example.test")).await;
        assert_eq!(refused.expect("answers").status, 403);
        let shown = node.get("/v1/admin/tenants/1").await.expect("answers").body;
        let bounced = &shown["streams"]["transactional"]["day"]["bounced"];
        assert_eq!(
            bounced.as_f64().map(f64::round),
            Some(130.0),
            "on both nodes: {shown:#}"
        );
    }
    // One word to one node lets it go on everywhere, and what was counted before counts no more.
    for stream in ["broadcast", "transactional"] {
        let order = json!({"stream": stream, "reason": "the list was cleaned"});
        let resumed = http[0]
            .post("/v1/admin/tenants/1/resume", &order)
            .await
            .expect("answers");
        assert_eq!(resumed.status, 200, "{resumed:?}");
    }
    for node in &http {
        let free = async || {
            let shown = node.get("/v1/admin/tenants/1").await.expect("answers").body;
            let stream = &shown["streams"]["transactional"];
            stream["grade"] == "free" && stream["day"]["bounced"] == 0.0
        };
        eventually("it goes on", free).await;
    }
    send(&http[1], "transactional", "reader", 20).await;
    send(&http[0], "broadcast", "reader-b", 20).await;
    all_settled(&memory).await;
    assert_eq!(receiver.ledger().total(), 40);
}

async fn held_domains(http: &Http) -> Vec<Value> {
    let shown = http.get("/v1/admin/lanes").await.expect("answers").body;
    shown["held_domains"].as_array().cloned().unwrap_or_default()
}

#[actix_web::test]
async fn a_domain_that_one_node_met_a_block_of_stands_still_on_all_of_them_and_after_a_restart() {
    let blame =
        "450 4.7.28 Gmail has detected an unusual rate of mail originating from your DKIM domain [acme.test 36]";
    let receiver = scripted(Script::new().times(1).to("first").at(Stage::Rcpt, Act::reply(blame))).await;
    let memory = Arc::new(Memory::new());
    let settings = |name: &str| {
        let mut settings = split(name, &receiver);
        settings.routes[0].provider = Some(ProviderId::from("google"));
        settings.engine.gate.stop_longest = Duration::from_secs(3600);
        settings
    };
    let (mut nodes, http) = two(settings, &memory).await;
    http[0].send(&mail("transactional", "first@example.test")).await;
    for node in &http {
        eventually("the domain stands still", async || held_domains(node).await.len() == 1).await;
    }
    // The other node sends newsletters, and has met nothing itself.
    let id = http[1].send(&mail("broadcast", "second@example.test")).await;
    let waits = async || http[1].email(&id).await["recipients"][0]["why"] == "domain_held";
    eventually("it waits for its domain", waits).await;
    nodes.iter_mut().for_each(Node::die);
    let third = Node::with(settings("c"), &memory).await;
    let http = Http::new(third.api, http[0].key().to_owned());
    assert_eq!(held_domains(&http).await[0]["domain"], "acme.test", "from its start on");
    assert_eq!(receiver.counters().accepted, 0);
}

#[actix_web::test]
async fn replies_that_no_rule_knows_are_counted_over_all_nodes() {
    let receiver = scripted(Script::new().at(Stage::Rcpt, Act::reply("550 zxq vlorp"))).await;
    let memory = Arc::new(Memory::new());
    let (_nodes, http) = two(|name| split(name, &receiver), &memory).await;
    send(&http[0], "broadcast", "b", 4).await;
    send(&http[0], "transactional", "t", 3).await;
    for node in &http {
        let all = async || {
            let shown = node.get("/v1/admin/unclassified").await.expect("answers").body;
            let list = shown["data"].as_array().cloned().unwrap_or_default();
            list.len() == 1 && list[0]["count"] == 7
        };
        eventually("the counts of both add up", all).await;
    }
}
