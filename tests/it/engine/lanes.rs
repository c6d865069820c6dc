//! What lanes owe each other and their providers: a cap that holds, and that nobody waits for somebody else's provider.

use posthaste::domain::State;
use provider_sim::{Act, Behaviour, Reason, Script, Stage};

use super::bed::{Bed, WITHIN, behaving, door, eventually, in_state, mail, numbered, plain, scripted, settings};

#[actix_web::test]
async fn a_lane_never_has_more_connections_than_it_may() {
    let receiver = behaving(Behaviour {
        message_delay_ms: 3,
        ..Behaviour::default()
    })
    .await;
    let mut door = door("example.test", &receiver);
    door.connections = 3;
    let bed = Bed::new(settings(&[door])).await;
    bed.send_all(&numbered(300, "example.test")).await;
    let depth = bed.settled().await;
    assert_eq!(in_state(&depth, State::Delivered), 300);
    assert_eq!(receiver.ledger().totals().duplicates, 0);
    let counters = receiver.counters();
    assert_eq!(counters.connections_peak, 3, "{counters:?}");
}

#[actix_web::test]
async fn a_provider_that_takes_fewer_connections_loses_and_burns_nothing() {
    let receiver = behaving(Behaviour {
        connections_per_ip: Some(2),
        message_delay_ms: 3,
        ..Behaviour::default()
    })
    .await;
    let mut door = door("example.test", &receiver);
    door.connections = 10;
    let bed = Bed::new(settings(&[door])).await;
    let ids = bed.send_all(&numbered(150, "example.test")).await;
    let depth = bed.settled().await;
    assert_eq!(in_state(&depth, State::Delivered), 150);
    assert!(
        receiver.counters().deferred_for(Reason::ConnectionLimit) > 0,
        "{:?}",
        receiver.counters()
    );
    for id in &ids {
        assert_eq!(
            bed.email(id).await["recipients"][0]["attempts"],
            1,
            "a refused connection is no attempt"
        );
    }
}

#[actix_web::test]
async fn a_provider_that_hangs_delays_no_other() {
    let tarpit = scripted(Script::new().at(Stage::Banner, Act::Silence)).await;
    let healthy = plain().await;
    let bed = Bed::new(settings(&[door("slow.test", &tarpit), door("fast.test", &healthy)])).await;
    let slow = bed.send_all(&numbered(200, "slow.test")).await;
    assert!(
        tarpit
            .wait_until(|receiver| receiver.open_connections() > 0, WITHIN)
            .await
    );
    bed.send_all(&numbered(100, "fast.test")).await;
    healthy.ledger().wait_for_total(100, WITHIN).await.expect("delivered");
    let shown = bed.email(&slow[0]).await;
    assert_eq!(
        (shown["status"].as_str(), &shown["recipients"][0]["attempts"]),
        (Some("queued"), &0.into())
    );
    let depth = bed.depth().await;
    assert_eq!(depth.waiting_by_class.iter().sum::<u64>(), 200);
    assert!(
        depth.parked > 0,
        "what does not fit into the lane waits in the queue: {depth:?}"
    );
}

#[actix_web::test]
async fn a_dead_host_shuts_its_lane_and_everything_goes_once_it_is_back() {
    let receiver = plain().await;
    let door = door("example.test", &receiver);
    let address = door.address;
    receiver.kill().await;
    let bed = Bed::new(settings(&[door])).await;
    let ids = bed.send_all(&numbered(60, "example.test")).await;
    bed.until_metric("posthaste_lanes_shut_total", &[], 2.0).await;
    assert_eq!(bed.count(State::Delivered).await, 0);
    let back = provider_sim::Receiver::builder()
        .listen(address)
        .await
        .expect("the port is still free");
    let depth = bed.settled().await;
    assert_eq!(in_state(&depth, State::Delivered), 60);
    assert_eq!((back.ledger().total(), back.ledger().duplicates()), (60, 0));
    let mut attempts = 0;
    for id in &ids {
        attempts += bed.email(id).await["recipients"][0]["attempts"]
            .as_u64()
            .expect("a number");
    }
    assert!(attempts < 120, "most of them waited without an attempt: {attempts}");
}

#[actix_web::test]
async fn codes_overtake_a_flood_of_news() {
    let receiver = behaving(Behaviour {
        message_delay_ms: 5,
        ..Behaviour::default()
    })
    .await;
    let mut door = door("example.test", &receiver);
    door.connections = 1;
    let bed = Bed::new(settings(&[door])).await;
    let news: Vec<_> = numbered(400, "example.test")
        .iter()
        .map(|to| {
            let mut news = mail(to);
            news["class"] = "broadcast".into();
            news
        })
        .collect();
    for batch in news.chunks(200) {
        bed.http().send_batch(batch.to_vec()).await;
    }
    receiver.ledger().wait_for_total(3, WITHIN).await.expect("it flows");
    let mut code = mail("code@example.test");
    code["class"] = "critical".into();
    bed.send(&code).await;
    let arrived = || async { !receiver.ledger().records_for("code@example.test").is_empty() };
    eventually("the code arrives", arrived).await;
    assert!(
        receiver.ledger().total() < 200,
        "it did not wait behind the news: {}",
        receiver.ledger().total()
    );
}
