//! Each recipient of a mail gets a copy; who was blind-copied is in no other; addresses beyond ASCII arrive.

use serde_json::json;

use super::bed::Bed;
use super::peer::Peer;
use super::{exim, postfix};

async fn everybody_gets_one_copy(peer: Peer) {
    let bed = Bed::new(&peer, "opportunistic").await;
    let mail = json!({
        "from": "no-reply@acme.test",
        "to": ["one@peer.test", "Two <two@other.test>"],
        "cc": "three@peer.test",
        "bcc": "secret@peer.test",
        "subject": "s",
        "text": "t",
    });
    let id = bed.send(&mail).await;
    let done = bed.until(&id, "delivered").await;
    let recipients = done["recipients"].as_array().unwrap();
    assert!(recipients.iter().all(|one| one["status"] == "delivered"), "{done}");
    let mailbox = peer.mailbox_of(4).await;
    assert_eq!(mailbox.len(), 4);
    let copies: Vec<String> = mailbox
        .into_iter()
        .map(|copy| String::from_utf8(copy).unwrap())
        .collect();
    let with = |text: &str| copies.iter().filter(|copy| copy.contains(text)).count();
    for visible in ["one@peer.test", "two@other.test", "three@peer.test"] {
        assert_eq!(with(visible), 4, "{visible}");
    }
    assert_eq!(
        with("secret@peer.test"),
        1,
        "only where the server noted whom it was for"
    );
    let seen = bed
        .read(&copies.iter().map(|copy| copy.clone().into_bytes()).collect::<Vec<_>>())
        .await;
    for one in &seen {
        assert_eq!(
            (&one["defects"], &one["signatures"]),
            (&json!([]), &json!([true, true]))
        );
    }
    peer.assert_no_complaints();
    bed.stop().await;
}

async fn a_local_part_beyond_ascii_arrives(peer: Peer) {
    let bed = Bed::new(&peer, "off").await;
    let mail = json!({"from": "no-reply@acme.test", "to": "Jörg <jörg@bücher.test>", "subject": "Grüße", "text": "t"});
    let id = bed.send(&mail).await;
    bed.until(&id, "delivered").await;
    let mailbox = peer.mailbox_of(1).await;
    let copy = String::from_utf8_lossy(&mailbox[0]);
    assert!(copy.contains("<jörg@xn--bcher-kva.test>"), "{copy}");
    let seen = &bed.read(&mailbox).await[0];
    assert_eq!(seen["signatures"], json!([true, true]));
    assert_eq!(seen["to"], json!([["Jörg", "jörg@xn--bcher-kva.test"]]));
    peer.assert_no_complaints();
    bed.stop().await;
}

#[actix_web::test]
async fn postfix_gets_a_copy_for_everybody() {
    everybody_gets_one_copy(postfix::start(&[]).await).await;
}

#[actix_web::test]
async fn exim_gets_a_copy_for_everybody() {
    everybody_gets_one_copy(exim::start().await).await;
}

#[actix_web::test]
async fn postfix_gets_mail_for_an_address_beyond_ascii() {
    a_local_part_beyond_ascii_arrives(postfix::start(&[]).await).await;
}

#[actix_web::test]
async fn exim_gets_mail_for_an_address_beyond_ascii() {
    a_local_part_beyond_ascii_arrives(exim::start().await).await;
}
