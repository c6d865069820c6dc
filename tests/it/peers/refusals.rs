//! What real servers refuse, and how: an unknown user for good, a greylisted one for now.

use posthaste::bootstrap::FIRST_TENANT;
use posthaste::domain::SuppressionReason;
use serde_json::{Value, json};

use super::bed::Bed;
use super::peer::{Peer, eventually};
use super::{exim, postfix};

fn mail_to(local: &str) -> Value {
    json!({"from": "no-reply@acme.test", "to": format!("{local}@peer.test"), "subject": "s", "text": "t"})
}

async fn unknown_users_bounce(peer: Peer) {
    let bed = Bed::new(&peer, "off").await;
    let first = bed.send(&mail_to("unknown")).await;
    let refused = bed.until(&first, "bounced").await;
    let reply = &refused["recipients"][0]["last_reply"];
    assert_eq!(
        (&reply["code"], &reply["enhanced"]),
        (&json!(550), &json!("5.1.1")),
        "{refused}"
    );
    assert_eq!(refused["recipients"][0]["bounce"], "invalid_recipient", "{refused}");
    let entry = bed.store.suppression(FIRST_TENANT, "unknown@peer.test").await.unwrap();
    assert_eq!(entry.expect("on the list").reason, SuppressionReason::HardBounce);
    let refusals = || peer.lines_with(&["unknown@peer.test", "5.1.1"]);
    eventually("the refusal is in the log", || (refusals() > 0).then_some(())).await;
    let seen = refusals();
    // The next one to the same address goes nowhere; others are not held back.
    let again = bed.send(&mail_to("unknown")).await;
    let other = bed.send(&mail_to("jacky")).await;
    bed.until(&again, "suppressed").await;
    bed.until(&other, "delivered").await;
    assert_eq!(peer.mailbox_of(1).await.len(), 1);
    bed.stop().await;
    assert_eq!(refusals(), seen, "the peer was not asked again");
}

/// `relent` makes the peer take what it deferred.
async fn greylisted_mail_comes_back(peer: Peer, relent: impl Fn(&Peer)) {
    let bed = Bed::new(&peer, "off").await;
    let later = bed.send(&mail_to("later")).await;
    let waiting = bed.until(&later, "deferred").await;
    let recipient = &waiting["recipients"][0];
    let reply = &recipient["last_reply"];
    assert_eq!(
        (&reply["code"], &reply["enhanced"]),
        (&json!(450), &json!("4.2.0")),
        "{waiting}"
    );
    assert!(recipient["until"].is_string(), "{waiting}");
    assert_eq!(peer.mailbox().len(), 0);
    relent(&peer);
    let delivered = bed.until(&later, "delivered").await;
    assert!(
        delivered["recipients"][0]["attempts"].as_u64() >= Some(2),
        "{delivered}"
    );
    let kinds: Vec<Value> = bed
        .events(&later)
        .await
        .iter()
        .map(|event| event["type"].clone())
        .collect();
    assert_eq!(kinds.first(), Some(&json!("email.accepted")));
    assert!(
        kinds[1..kinds.len() - 1].iter().all(|kind| kind == "email.deferred"),
        "{kinds:?}"
    );
    assert_eq!(peer.mailbox_of(1).await.len(), 1, "one copy");
    let entry = bed.store.suppression(FIRST_TENANT, "later@peer.test").await.unwrap();
    assert_eq!(entry, None, "not for now is not never");
    bed.stop().await;
}

const UNKNOWN: (&str, &str) = ("unknown@peer.test", "550 5.1.1 No such user");
const LATER: (&str, &str) = ("later@peer.test", "450 4.2.0 Greylisted, try again later");

#[actix_web::test]
async fn a_user_unknown_to_postfix_bounces_and_is_suppressed() {
    unknown_users_bounce(postfix::start(&[UNKNOWN]).await).await;
}

#[actix_web::test]
async fn a_user_unknown_to_exim_bounces_and_is_suppressed() {
    unknown_users_bounce(exim::start().await).await;
}

#[actix_web::test]
async fn mail_that_postfix_defers_arrives_on_a_retry() {
    let peer = postfix::start(&[LATER]).await;
    let relent = |peer: &Peer| {
        std::fs::write(peer.path("config/access"), "").unwrap();
        peer.reload();
    };
    greylisted_mail_comes_back(peer, relent).await;
}

#[actix_web::test]
async fn mail_that_exim_defers_arrives_on_a_retry() {
    let peer = exim::start().await;
    std::fs::write(peer.path("greylist"), "").unwrap();
    greylisted_mail_comes_back(peer, |peer| std::fs::remove_file(peer.path("greylist")).unwrap()).await;
}
