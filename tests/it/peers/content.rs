//! What arrives is what was sent: one copy, no defect that Python's parser finds, the same text and files, both signatures
//! valid for dkimpy.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::bed::Bed;
use super::peer::Peer;
use super::{exim, postfix};
use crate::mail_peers::{hash, names_without_spaces};

/// A mail and what a reader must find.
struct Case {
    mail: Value,
    text: Option<String>,
    html: Option<String>,
    files: Vec<(&'static str, Vec<u8>, Option<&'static str>)>,
}

fn case(subject: &str, name: &str, text: Option<&str>, html: Option<&str>) -> Case {
    let mut mail = json!({
        "from": "Jürgen Müller <no-reply@acme.test>",
        "to": [{"name": name, "email": "jacky@peer.test"}],
        "subject": subject,
    });
    for (field, content) in [("text", text), ("html", html)] {
        if let Some(content) = content {
            mail[field] = json!(content);
        }
    }
    Case {
        mail,
        text: text.map(str::to_owned),
        html: html.map(str::to_owned),
        files: Vec::new(),
    }
}

impl Case {
    fn with_files(mut self, files: Vec<(&'static str, Vec<u8>, Option<&'static str>)>) -> Self {
        let views = files.iter().map(|(name, content, id)| {
            let mut file = json!({"filename": name, "content": BASE64_STANDARD.encode(content)});
            if let Some(id) = id {
                file["content_id"] = json!(id);
            }
            file
        });
        self.mail["attachments"] = views.collect();
        self.files = files;
        self
    }
}

fn cases() -> Vec<Case> {
    let dots = ".\n..\n.hidden\n\n.\r\nQUIT\r\n.\r\nthe end.\n";
    let long = format!("{}\n{}", "long line ".repeat(300), "x".repeat(3_000));
    let every_byte: Vec<u8> = (0..=255).collect::<Vec<u8>>().repeat(40);
    vec![
        case(
            "Grüße aus 東京 und Köln",
            "您好 Jacky",
            Some("Grüße, Jacky: 483921 — ✓"),
            None,
        ),
        case("Dots", "Jacky", Some(dots), Some(dots)),
        case("Long", "Jacky", Some(&long), Some(&format!("<p>{long}</p>"))),
        case("8bit", "Doe, J.", Some(&"é".repeat(2_000)), None),
        case(
            "Files",
            "Jacky",
            Some("See the picture."),
            Some("<p>See <img src=\"cid:logo\"></p>"),
        )
        .with_files(vec![
            ("Rechnung für März.pdf", every_byte, None),
            ("logo.png", b"\x89PNG\r\n\x1a\n\r\n.\r\n".to_vec(), Some("logo")),
        ]),
        case(
            &"subject ".repeat(40),
            &"name ".repeat(30),
            Some("From me\n-- \nsignature"),
            None,
        ),
    ]
}

/// What Python makes of a text: LF, and no line breaks at its end.
fn plain(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.trim_end_matches('\n').to_owned()
}

#[track_caller]
fn check(peer: &Peer, case: &Case, seen: &Value) {
    let name = format!("{}: {}", peer.name, case.mail["subject"]);
    assert_eq!(seen["defects"], json!([]), "{name}");
    assert_eq!(seen["signatures"], json!([true, true]), "{name}");
    let subject = case.mail["subject"].as_str().unwrap().trim_end();
    assert_eq!(seen["subject"], json!(subject), "{name}");
    assert_eq!(seen["from"], json!([["Jürgen Müller", "no-reply@acme.test"]]), "{name}");
    let to = &case.mail["to"][0];
    let to = to["name"].as_str().unwrap().trim_end().replace(' ', "");
    assert_eq!(
        names_without_spaces(&seen["to"]),
        json!([[to, "jacky@peer.test"]]),
        "{name}"
    );
    for (kind, expect) in [("text", &case.text), ("html", &case.html)] {
        if let Some(expect) = expect {
            assert_eq!(
                plain(seen[kind].as_str().unwrap_or("none")),
                plain(expect),
                "{name}: {kind}"
            );
        }
    }
    let mut files: Vec<Value> = case
        .files
        .iter()
        .map(|(name, content, id)| json!([name, hash(content), id.map(|id| format!("<{id}>"))]))
        .collect();
    files.sort_by_key(|file| file[0].to_string());
    let mut found = seen["files"].as_array().unwrap().clone();
    found.sort_by_key(|file| file[0].to_string());
    assert_eq!(found, files, "{name}");
}

/// The value of the first field of this name, unfolded.
fn field(message: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(message);
    let header = text
        .split("\n\n")
        .next()
        .unwrap()
        .replace("\n\t", " ")
        .replace("\n ", " ");
    let mut fields = header.lines().filter_map(|line| line.split_once(": "));
    let found = fields.find(|(other, _)| other.eq_ignore_ascii_case(name));
    found.map_or_else(|| panic!("no {name} in:\n{header}"), |(_, value)| value.to_owned())
}

async fn everything_arrives(peer: Peer) {
    let bed = Bed::new(&peer, "opportunistic").await;
    let mut sent = BTreeMap::new();
    for case in cases() {
        let accepted = bed.post("/send-email", &case.mail).await;
        let id = |name: &str| accepted[name].as_str().expect("an id").to_owned();
        sent.insert(id("message_id"), (id("id"), case));
    }
    for (id, _) in sent.values() {
        bed.until(id, "delivered").await;
        let events = bed.events(id).await;
        let last = events.last().expect("events");
        assert_eq!(last["type"], "email.delivered", "{last}");
        assert_eq!(last["tls"], true, "{last}");
    }
    let mailbox = peer.mailbox_of(sent.len()).await;
    assert_eq!(mailbox.len(), sent.len(), "one copy each");
    let seen = bed.read(&mailbox).await;
    for (message, seen) in mailbox.iter().zip(&seen) {
        let (_, case) = sent.remove(&field(message, "Message-ID")).expect("sent, and once");
        check(&peer, &case, seen);
        let return_path = field(message, "Return-path").to_lowercase();
        assert!(return_path.ends_with("@bounce.acme.test>"), "{return_path}");
        assert!(field(message, "Received").contains("TLS"), "the peer saw TLS");
    }
    peer.assert_no_complaints();
    bed.stop().await;
}

/// The example of the README.
async fn the_code_arrives(peer: Peer) {
    let bed = Bed::new(&peer, "off").await;
    let template = json!({
        "alias": "code",
        "subject": "Your code",
        "text": "Hello {{name}}, Your verification code is {{code}}",
    });
    bed.post("/v1/templates", &template).await;
    let mail = json!({
        "from": "no-reply@acme.test",
        "to": "jacky@peer.test",
        "template": "code",
        "variables": {"name": "Jacky", "code": "483921"},
    });
    let id = bed.send(&mail).await;
    bed.until(&id, "delivered").await;
    let mailbox = peer.mailbox_of(1).await;
    let seen = &bed.read(&mailbox).await[0];
    assert_eq!(seen["defects"], json!([]));
    assert_eq!(seen["signatures"], json!([true, true]));
    let text = String::from_utf8(mailbox[0].clone()).unwrap();
    let (_, body) = text.split_once("\n\n").expect("a header and a body");
    assert_eq!(
        body.trim_end_matches('\n'),
        "Hello Jacky, Your verification code is 483921"
    );
    peer.assert_no_complaints();
    bed.stop().await;
}

#[actix_web::test]
async fn postfix_gets_what_was_sent() {
    everything_arrives(postfix::start(&[]).await).await;
}

#[actix_web::test]
async fn exim_gets_what_was_sent() {
    everything_arrives(exim::start().await).await;
}

#[actix_web::test]
async fn postfix_gets_the_verification_code() {
    the_code_arrives(postfix::start(&[]).await).await;
}

#[actix_web::test]
async fn exim_gets_the_verification_code() {
    the_code_arrives(exim::start().await).await;
}
