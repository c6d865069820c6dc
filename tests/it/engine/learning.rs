//! What a running engine learns of its lanes, shows of them, and whom it blames: the lane, a domain, a netblock.

use std::sync::Arc;
use std::time::Duration;

use posthaste::actors::memories::Memories;
use posthaste::config::DeclaredDomain;
use posthaste::domain::{Lane, ProviderId, SourceId, State};
use posthaste::store::Memory;
use provider_sim::{Act, Behaviour, Script, Stage};
use serde_json::Value;

use super::bed::{Bed, behaving, door, eventually, in_state, mail, numbered, scripted, settings};

/// The lanes as operators see them.
async fn lanes(bed: &Bed) -> Vec<Value> {
    let answer = bed.http().get("/v1/admin/lanes").await.expect("answers");
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["lanes"].as_array().cloned().unwrap_or_default()
}

/// The decisions of the lane of this source, newest first.
async fn decisions(bed: &Bed, source: &str, provider: &str) -> Vec<Value> {
    let path = format!("/v1/admin/lanes/{source}/{provider}/decisions");
    let answer = bed.http().get(&path).await.expect("answers");
    answer.body["decisions"].as_array().cloned().unwrap_or_default()
}

/// One of these signals, if there was one.
async fn decided(bed: &Bed, source: &str, provider: &str, signal: &str) -> Option<Value> {
    let decisions = decisions(bed, source, provider).await;
    decisions.into_iter().find(|decision| decision["signal"] == signal)
}

#[actix_web::test]
async fn what_was_decided_is_shown_with_the_reply_it_was_decided_from() {
    let receiver = behaving(Behaviour {
        connections_per_ip: Some(2),
        message_delay_ms: 5,
        ..Behaviour::default()
    })
    .await;
    let mut door = door("example.test", &receiver);
    door.connections = 10;
    let bed = Bed::new(settings(&[door])).await;
    bed.send_all(&numbered(150, "example.test")).await;
    bed.settled().await;
    let found = || async {
        decided(&bed, "default", "route:door0", "too_many_connections")
            .await
            .is_some()
    };
    eventually("the decision is shown", found).await;
    let decision = decided(&bed, "default", "route:door0", "too_many_connections")
        .await
        .expect("seen");
    assert_eq!(
        (decision["what"].as_str(), decision["to"].as_f64()),
        (Some("connections"), Some(2.0))
    );
    assert_eq!(decision["reply"]["code"], 421, "{decision}");
    assert!(decision["reply"]["rule"].is_string() && decision["reply"]["text"].is_string());
    let shown = lanes(&bed).await;
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["connections"]["ceiling"], 2, "{}", shown[0]);
    let lane = [("source", "default"), ("provider", "route:door0")];
    bed.until_metric("posthaste_lane_connections_ceiling", &lane, 2.0).await;
    bed.until_metric(
        "posthaste_lane_decisions_total",
        &[("signal", "too_many_connections")],
        1.0,
    )
    .await;
    let nobody = bed
        .http()
        .get("/v1/admin/lanes/default/nobody/decisions")
        .await
        .expect("answers");
    assert_eq!(nobody.status, 404);
}

#[actix_web::test]
async fn a_pin_on_trial_limits_nothing_and_tells_what_it_would_have_cut() {
    let receiver = behaving(Behaviour {
        message_delay_ms: 10,
        ..Behaviour::default()
    })
    .await;
    let mut door = door("example.test", &receiver);
    door.connections = 6;
    let pin = "sources: [{id: a}]\npins: [{source: a, provider: 'route:door0', connections: 1, shadow: true}]\n";
    let text = pin.to_owned() + &super::bed::config(&[door]);
    let settings = posthaste::config::Settings::from_yaml(&text, &|_| None).expect("good");
    let bed = Bed::new(settings).await;
    bed.send_all(&numbered(300, "example.test")).await;
    let told = || async { decided(&bed, "a", "route:door0", "would_have").await.is_some() };
    eventually("it is told", told).await;
    let told = decided(&bed, "a", "route:door0", "would_have").await.expect("seen");
    assert_eq!(
        (&told["what"], &told["to"]),
        (&"connections".into(), &1.0.into()),
        "{told}"
    );
    bed.settled().await;
    let lane = [("source", "a"), ("signal", "would_have")];
    bed.until_metric("posthaste_lane_decisions_total", &lane, 1.0).await;
    let shown = lanes(&bed).await.remove(0);
    let used = shown["connections"]["limit"].as_u64().expect("a number");
    assert!(used > 1, "the lane goes on by itself: {shown}");
    assert_eq!(
        (
            &shown["shadow_pins"]["would_have"][0]["what"],
            &shown["shadow_pins"]["count"]
        ),
        (&"connections".into(), &1.into()),
        "once, and not with each message: {shown}"
    );
}

#[actix_web::test]
async fn the_number_of_messages_that_a_connection_carries_is_learnt() {
    let receiver = behaving(Behaviour {
        messages_per_connection: Some(4),
        ..Behaviour::default()
    })
    .await;
    let bed = Bed::new(settings(&[door("example.test", &receiver)])).await;
    bed.send_all(&numbered(100, "example.test")).await;
    let depth = bed.settled().await;
    assert_eq!(in_state(&depth, State::Delivered), 100);
    let learnt = || async {
        let lanes = lanes(&bed).await;
        lanes.first().is_some_and(|lane| lane["messages_per_connection"] == 4)
    };
    eventually("the limit is learnt", learnt).await;
}

#[actix_web::test]
async fn a_domain_that_the_provider_blames_stands_still_and_others_go_on() {
    let blame =
        "450 4.7.28 Gmail has detected an unusual rate of mail originating from your DKIM domain [acme.test 36]";
    let receiver = scripted(Script::new().times(1).to("first").at(Stage::Rcpt, Act::reply(blame))).await;
    let mut settings = settings(&[door("example.test", &receiver)]);
    settings.routes[0].provider = Some(ProviderId::from("google"));
    settings.engine.gate.stop_longest = Duration::from_secs(4);
    settings.domains.push(DeclaredDomain {
        name: "other.test".to_owned(),
        verified: true,
        dkim: false,
    });
    let bed = Bed::new(settings).await;
    let first = bed.send(&mail("first@example.test")).await;
    let refused = || async { bed.email(&first).await["recipients"][0]["attempts"] == 1 };
    eventually("the first is refused", refused).await;
    let held = bed.send(&mail("held@example.test")).await;
    let mut free = mail("free@example.test");
    free["from"] = "Other <no-reply@other.test>".into();
    let free = bed.send(&free).await;
    bed.until(&free, "delivered").await;
    let waits = || async {
        let shown = bed.email(&held).await;
        let recipient = &shown["recipients"][0];
        recipient["why"] == "domain_held" && recipient["until"].is_string()
    };
    eventually("it tells why it waits", waits).await;
    assert_eq!(bed.email(&held).await["recipients"][0]["attempts"], 0);
    let open = || async { lanes(&bed).await.first().is_some_and(|lane| lane["state"] == "open") };
    eventually("the lane goes on", open).await;
    let answer = bed.http().get("/v1/admin/lanes").await.expect("answers");
    assert_eq!(answer.body["held_domains"][0]["domain"], "acme.test", "{}", answer.body);
    bed.until(&held, "delivered").await;
    bed.until(&first, "delivered").await;
}

#[actix_web::test]
async fn a_netblock_that_the_provider_blocks_stops_all_its_sources() {
    let blame = "421 4.7.28 unusual rate of unsolicited mail originating from your IP Netblock";
    let receiver = scripted(Script::new().times(1).to("bad").at(Stage::Rcpt, Act::reply(blame))).await;
    let sources = "sources: [{id: a, ip: 127.0.0.2}, {id: b, ip: 127.0.0.3}]\n";
    let text = super::bed::config(&[door("example.test", &receiver)]);
    let mut settings = posthaste::config::Settings::from_yaml(&(sources.to_owned() + &text), &|_| None).expect("good");
    settings.routes[0].provider = Some(ProviderId::from("google"));
    settings.engine.gate.stop_longest = Duration::from_secs(3);
    let bed = Bed::new(settings).await;
    bed.send_all(&numbered(40, "example.test")).await;
    bed.settled().await;
    let both = || async { lanes(&bed).await.len() == 2 };
    eventually("both lanes are there", both).await;
    bed.send(&mail("bad@example.test")).await;
    let stopped = || async {
        let (a, b) = (
            decided(&bed, "a", "google", "neighbour_blocked").await,
            decided(&bed, "b", "google", "neighbour_blocked").await,
        );
        a.or(b).is_some_and(|decision| decision["reply"]["code"] == 421)
    };
    eventually("the neighbour stands still", stopped).await;
    // Few: after a block both go on at half of what was little already.
    bed.send_all(&numbered(2, "example.test")).await;
    let depth = bed.settled().await;
    assert_eq!(in_state(&depth, State::Delivered), 43);
}

#[actix_web::test]
async fn an_engine_that_begins_again_goes_on_at_half_of_what_it_had_learnt() {
    let receiver = behaving(Behaviour {
        connections_per_ip: Some(4),
        message_delay_ms: 5,
        ..Behaviour::default()
    })
    .await;
    let mut door = door("example.test", &receiver);
    door.connections = 10;
    let backend = Arc::new(Memory::new());
    let key = {
        let mut settings = settings(std::slice::from_ref(&door));
        settings.engine.remember_every = Duration::from_millis(100);
        let mut bed = Bed::on(settings, Arc::clone(&backend)).await;
        bed.send_all(&numbered(300, "example.test")).await;
        bed.settled().await;
        let written = || async {
            let memories = Memories::default();
            memories.load(&*backend).await.expect("reads");
            let lane = Lane {
                source: SourceId::from("default"),
                provider: ProviderId::from("route:door0"),
            };
            let memory = memories.of(&lane);
            memory.is_some_and(|memory| memory.connections.ceiling == Some(4) && memory.connections.target >= 4.0)
        };
        // While it runs: whoever is killed writes nothing at the end.
        eventually("it is written down", written).await;
        let key = bed.key().to_owned();
        bed.stop().await;
        key
    };
    let mut settings = settings(&[door]);
    settings.engine.remember_every = Duration::from_secs(3600);
    let bed = Bed::again(settings, backend, &key).await;
    bed.send(&mail("one@example.test")).await;
    bed.settled().await;
    let shown = || async { !lanes(&bed).await.is_empty() };
    eventually("the lane is there", shown).await;
    let connections = lanes(&bed).await[0]["connections"].clone();
    assert_eq!(connections["ceiling"], 4, "{connections}");
    assert!(
        connections["limit"] == 2 || connections["limit"] == 3,
        "half, and a step: {connections}"
    );
}

/// Greylisting passes only from the same address; from one that is blocked for an hour it does not pass at all.
#[actix_web::test]
async fn what_was_greylisted_at_an_address_that_is_blocked_now_goes_from_another_of_the_pool() {
    const GREYLISTED: usize = 20;
    let blame = "421 4.7.28 unusual rate of unsolicited mail originating from your IP address";
    let script = Script::new()
        .times(GREYLISTED as u64)
        .to("user")
        .at(Stage::Rcpt, Act::reply("451 4.7.1 Greylisted, please try again later"))
        .times(1)
        .to("bad")
        .at(Stage::Rcpt, Act::reply(blame));
    let receiver = scripted(script).await;
    let sources = "sources: [{id: a, ip: 127.0.0.2}, {id: b, ip: 127.0.1.2}]\n";
    let text = super::bed::config(&[door("example.test", &receiver)]);
    let mut settings = posthaste::config::Settings::from_yaml(&(sources.to_owned() + &text), &|_| None).expect("good");
    settings.routes[0].provider = Some(ProviderId::from("google"));
    settings.engine.gate.stop_longest = Duration::from_secs(3_600);
    settings.engine.settlement.retry.greylist_wait_min = Duration::from_secs(8);
    let bed = Bed::new(settings).await;
    bed.send_all(&numbered(GREYLISTED, "example.test")).await;
    let deferred = async || bed.count(State::Deferred).await == GREYLISTED as u64;
    eventually("all are greylisted", deferred).await;
    // Answered with the block, it goes from the other one.
    let bad = bed.send(&mail("bad@example.test")).await;
    bed.until(&bad, "delivered").await;
    assert_eq!(
        bed.count(State::Deferred).await,
        GREYLISTED as u64,
        "none was tried again yet"
    );
    let depth = bed.settled().await;
    assert_eq!(in_state(&depth, State::Delivered), GREYLISTED as u64 + 1);
}
