//! Many messages over kept connections, pipelined: each arrives once and the peer has nothing to say about our manners.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::bed::Bed;
use super::peer::{Peer, eventually};
use super::{exim, postfix};

/// How many; more than the messages of one connection.
const MESSAGES: usize = 200;

/// `accepted` are words of each log line that says that a message was taken, `connected` of one for each connection.
async fn each_arrives_once(peer: Peer, tls: &str, accepted: &[&str], connected: &[&str]) {
    let bed = Bed::new(&peer, tls).await;
    // Fewer connections than messages by far, whatever the checks of the start opened.
    let connected_before = peer.lines_with(connected);
    let mails: Vec<Value> = (0..MESSAGES)
        .map(|number| {
            json!({
                "from": "no-reply@acme.test",
                "to": format!("user{number}@peer.test"),
                "subject": format!("Number {number}"),
                "text": format!(".{number}\n").repeat(1 + number % 50 * 40),
            })
        })
        .collect();
    let mut ids = BTreeSet::new();
    for chunk in mails.chunks(50) {
        let answer = bed.post("/v1/emails/batch", &json!(chunk)).await;
        let items = answer["data"].as_array().unwrap_or_else(|| panic!("{answer}"));
        ids.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().unwrap_or_else(|| panic!("{item}")).to_owned()),
        );
    }
    assert_eq!(ids.len(), MESSAGES);
    for id in &ids {
        bed.until(id, "delivered").await;
    }
    let mailbox = peer.mailbox_of(MESSAGES).await;
    bed.stop().await;
    eventually("the log is complete", || {
        (peer.lines_with(accepted) >= MESSAGES).then_some(())
    })
    .await;
    assert_eq!(peer.lines_with(accepted), MESSAGES, "{} took each once", peer.name);
    assert_eq!(mailbox.len(), MESSAGES, "one copy each");
    let subjects: BTreeSet<String> = mailbox.iter().map(|message| subject(message)).collect();
    assert_eq!(
        subjects,
        (0..MESSAGES).map(|number| format!("Number {number}")).collect()
    );
    let connections = peer.lines_with(connected) - connected_before;
    assert!(
        (1..=20).contains(&connections),
        "{connections} connections for {MESSAGES} messages"
    );
    peer.assert_no_complaints();
}

fn subject(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let found = text.lines().find_map(|line| line.strip_prefix("Subject: "));
    found.expect("a subject").to_owned()
}

async fn postfix(tls: &str) {
    let peer = postfix::start(&[]).await;
    each_arrives_once(
        peer,
        tls,
        &["postfix/smtpd", ": client="],
        &["postfix/smtpd", ": connect from"],
    )
    .await;
}

async fn exim(tls: &str) {
    let peer = exim::start().await;
    each_arrives_once(
        peer,
        tls,
        &[" <= "],
        &["SMTP connection from", "TCP/IP connection count"],
    )
    .await;
}

#[actix_web::test]
async fn postfix_takes_each_of_many_once() {
    postfix("off").await;
}

#[actix_web::test]
async fn postfix_takes_each_of_many_once_encrypted() {
    postfix("required").await;
}

#[actix_web::test]
async fn exim_takes_each_of_many_once() {
    exim("off").await;
}

#[actix_web::test]
async fn exim_takes_each_of_many_once_encrypted() {
    exim("required").await;
}
