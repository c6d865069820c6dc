//! Several tenants on one engine: one's bad list is stopped and nobody else is, one's flood leaves the others their share,
//! and codes pass both.

use std::sync::Arc;
use std::time::Duration;

use posthaste::bootstrap;
use posthaste::config::Settings;
use posthaste::domain::{DomainStatus, KeyScope, SendingDomain, State, Tenant, TenantId};
use posthaste::store::Memory;
use provider_sim::{Behaviour, Receiver, Share};
use serde_json::{Value, json};

use super::bed::{Bed, Http, WITHIN, behaving, door, eventually, settings};

/// Another tenant, who sends from `bee.test`.
const BEE: TenantId = TenantId(2);

/// Makes it, with a key; gives its way to the API.
async fn bee(bed: &Bed) -> Http {
    let now = bed.clock.now();
    let tenant = Tenant {
        id: BEE,
        name: "bee".to_owned(),
        created_at: now,
    };
    bed.store.put_tenant(tenant).await.expect("stored");
    let domain = SendingDomain {
        tenant: BEE,
        name: "bee.test".to_owned(),
        status: DomainStatus::Verified,
        return_path_subdomain: "bounce".to_owned(),
        dkim: Vec::new(),
        created_at: now,
        checked_at: None,
    };
    bed.store.put_domain(domain).await.expect("stored");
    let key = bootstrap::make_key(&*bed.store, BEE, "bee", KeyScope::Send, now).await;
    Http::new(bed.http().api(), key.expect("made"))
}

fn mail(from: &str, class: &str, to: &str) -> Value {
    json!({"from": format!("News <news@{from}>"), "to": to, "subject": "Hi", "text": "Hello", "class": class})
}

async fn flood(http: &Http, from: &str, class: &str, who: &str, count: usize) -> Vec<String> {
    let mails: Vec<Value> = (0..count)
        .map(|number| mail(from, class, &format!("{who}{number}@example.test")))
        .collect();
    let mut ids = Vec::with_capacity(count);
    for batch in mails.chunks(100) {
        ids.extend(http.send_batch(batch.to_vec()).await);
    }
    ids
}

/// An engine with one lane of this pace.
fn paced(receiver: &Receiver, connections: u32, per_second: f64) -> Settings {
    let mut door = door("example.test", receiver);
    door.connections = connections;
    let mut settings = settings(&[door]);
    settings.routes[0].limits.messages_per_second = Some(per_second);
    settings
}

/// Mail of a tenant that the receiver holds: its recipients begin so.
fn held(receiver: &Receiver, who: &str) -> usize {
    let records = receiver.ledger().records();
    records
        .iter()
        .filter(|record| record.recipient.starts_with(who))
        .count()
}

#[actix_web::test]
async fn one_bad_list_is_paused_and_nobody_else_notices() {
    let receiver = behaving(Behaviour {
        unknown_users: Share::beginning_with("gone"),
        ..Behaviour::default()
    })
    .await;
    let bed = Bed::new(paced(&receiver, 2, 150.0)).await;
    let bee = bee(&bed).await;
    let ids = flood(&bee, "bee.test", "broadcast", "gone", 700).await;
    bed.until_metric(
        "posthaste_tenant_paused",
        &[("tenant", "2"), ("stream", "broadcast")],
        1.0,
    )
    .await;
    // What waited goes back to wait for its tenant, and stays there.
    let waits = async || {
        let last = bee.email(&ids[699]).await;
        last["recipients"][0]["why"] == "tenant_paused"
    };
    eventually("what waited waits for the tenant", waits).await;
    let refused = bee
        .post("/v1/emails", &mail("bee.test", "broadcast", "a@example.test"))
        .await;
    let refused = refused.expect("answers");
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (403, &json!("tenant_paused")),
        "{refused:?}"
    );
    // Its codes and receipts go on, and so does the other tenant's news.
    let code = bee.send(&mail("bee.test", "critical", "code@example.test")).await;
    let receipt = bee
        .send(&mail("bee.test", "transactional", "receipt@example.test"))
        .await;
    let news = flood(&bed.http(), "acme.test", "broadcast", "reader", 20).await;
    let seen = async || held(&receiver, "code") + held(&receiver, "receipt") + held(&receiver, "reader") == 22;
    eventually("the mail of everybody else", seen).await;
    for (http, id) in [(&bee, &code), (&bee, &receipt), (&bed.http(), &news[19])] {
        assert_eq!(http.email(id).await["status"], "delivered");
    }
    let bounced = bed.count(State::Bounced).await;
    assert!(
        (200..=500).contains(&bounced),
        "stopped soon after the evidence was there: {bounced}"
    );

    let order = json!({"stream": "broadcast", "reason": "the list was cleaned"});
    let resumed = bed.call("/v1/admin/tenants/2/resume", &order).await;
    assert_eq!(resumed.status, 200, "{resumed:?}");
    assert_eq!(resumed.body["streams"]["broadcast"]["grade"], "free");
    bed.until_metric(
        "posthaste_bounced_total",
        &[("class", "broadcast")],
        bounced as f64 + 100.0,
    )
    .await;
}

#[actix_web::test]
async fn a_pause_by_hand_holds_over_a_restart_and_says_why() {
    let receiver = behaving(Behaviour::default()).await;
    let memory = Arc::new(Memory::new());
    let mut bed = Bed::on(paced(&receiver, 2, 100.0), Arc::clone(&memory)).await;
    let order = json!({"stream": "broadcast", "reason": "bought addresses"});
    let paused = bed.call("/v1/admin/tenants/1/pause", &order).await;
    assert_eq!(paused.status, 200, "{paused:?}");
    let news = mail("acme.test", "broadcast", "reader@example.test");
    assert_eq!(bed.post(&news).await.status, 403);
    let key = bed.http().key().to_owned();
    assert!(bed.stop().await);
    let bed = Bed::again(paced(&receiver, 2, 100.0), memory, &key).await;
    let refused = bed.post(&news).await;
    assert_eq!(refused.status, 403);
    let detail = refused.body["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("bought addresses"), "{refused:?}");
    let shown = bed.http().get("/v1/admin/tenants/1").await.expect("answers");
    let stream = &shown.body["streams"]["broadcast"];
    assert_eq!(
        (&stream["grade"], &stream["by_hand"]),
        (&json!("paused"), &json!(true)),
        "{shown:?}"
    );
    let batch = bed.call("/v1/emails/batch", &json!({"emails": [news]})).await;
    assert_eq!(batch.status, 403, "{batch:?}");
}

#[actix_web::test]
async fn mail_of_a_paused_tenant_expires_at_its_time() {
    let receiver = behaving(Behaviour::default()).await;
    let bed = Bed::new(paced(&receiver, 1, 5.0)).await;
    let until = super::bed::ahead(&bed.clock, Duration::from_secs(4));
    let mut news = mail("acme.test", "broadcast", "reader@example.test");
    news["expires_at"] = json!(until);
    // So slow a lane that it waits in the lane when the pause comes.
    flood(&bed.http(), "acme.test", "broadcast", "first", 60).await;
    let id = bed.send(&news).await;
    let order = json!({"stream": "broadcast", "reason": "stop"});
    assert_eq!(bed.call("/v1/admin/tenants/1/pause", &order).await.status, 200);
    bed.until(&id, "expired").await;
    assert_eq!(held(&receiver, "reader"), 0);
}

#[actix_web::test]
async fn who_comes_second_gets_its_share_of_a_lane_at_once() {
    let receiver = behaving(Behaviour::default()).await;
    let mut settings = paced(&receiver, 2, 100.0);
    let weight = |weight| posthaste::policy::tenant_policy::OneTenant {
        weight: Some(weight),
        ..Default::default()
    };
    settings.tenants.each.insert(BEE, weight(3));
    let bed = Bed::new(settings).await;
    let bee = bee(&bed).await;
    flood(&bed.http(), "acme.test", "broadcast", "acme", 1_500).await;
    receiver
        .ledger()
        .wait_for_total(100, WITHIN)
        .await
        .expect("the flood runs");
    let before = held(&receiver, "acme");
    flood(&bee, "bee.test", "broadcast", "bee", 300).await;
    let all = receiver
        .ledger()
        .wait_until(|_| held(&receiver, "bee") == 300, WITHIN)
        .await;
    let acme = held(&receiver, "acme") - before;
    assert!(
        all.is_ok(),
        "only {} beside {acme} of the other",
        held(&receiver, "bee")
    );
    // Three for each of the other's: 100, and what stood in the lane when they came.
    assert!((60..=330).contains(&acme), "{acme} of the other meanwhile");
}

#[actix_web::test]
async fn newsletters_to_those_who_took_mail_before_go_first_where_not_all_can() {
    let receiver = behaving(Behaviour::default()).await;
    let bed = Bed::new(paced(&receiver, 1, 100.0)).await;
    let http = bed.http();
    flood(&http, "acme.test", "transactional", "reader", 40).await;
    let all_came = |count| receiver.ledger().wait_for_total(count, WITHIN);
    all_came(40).await.expect("they are known now");
    // Strangers first, more than the lane has places for; the readers come last.
    flood(&http, "acme.test", "broadcast", "stranger", 600).await;
    flood(&http, "acme.test", "broadcast", "reader", 40).await;
    let gone = held(&receiver, "stranger");
    all_came(680).await.expect("everything goes out");
    let records = receiver.ledger().records();
    let is_reader = |index: &usize| records[*index].recipient.starts_with("reader");
    assert_eq!((40..680).filter(is_reader).count(), 40);
    let last = (40..680).rfind(is_reader).expect("a reader");
    let between = (last - 79).saturating_sub(gone);
    // What stood in the lane already, and one of four meanwhile.
    assert!(
        between <= 150,
        "{between} strangers went before the last reader, beside {gone}"
    );
}

#[actix_web::test]
async fn a_code_passes_a_flood_of_newsletters_in_its_lane() {
    let receiver = behaving(Behaviour {
        message_delay_ms: 20,
        ..Behaviour::default()
    })
    .await;
    let mut door = door("example.test", &receiver);
    door.connections = 3;
    let bed = Bed::new(settings(&[door])).await;
    flood(&bed.http(), "acme.test", "broadcast", "reader", 3_000).await;
    receiver
        .ledger()
        .wait_for_total(50, WITHIN)
        .await
        .expect("the flood runs");
    for number in 0..10 {
        let before = held(&receiver, "reader");
        bed.send(&mail("acme.test", "critical", &format!("code{number}@example.test")))
            .await;
        let came = receiver
            .ledger()
            .wait_until(|_| held(&receiver, &format!("code{number}@")) == 1, WITHIN)
            .await;
        assert!(came.is_ok(), "code {number}");
        // Counted in mails that went before it, since no clock of a busy machine is to be trusted.
        let passed = held(&receiver, "reader") - before;
        assert!(passed <= 60, "{passed} newsletters before code {number}");
    }
    assert!(held(&receiver, "reader") < 2_900, "the flood goes on meanwhile");
}
