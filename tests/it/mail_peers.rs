//! Our messages as others read them: Python's email parser must find no defect and the content that went in, and dkimpy
//! must find both signatures valid. Needs `tests/tools/setup.sh` to have run.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop at the first surprise, like tests"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use posthaste::domain::{
    Attachment, Class, Disposition, DomainStatus, Mailbox, Message, MessageId, Recipient, Role, SendingDomain,
    TenantId, Timestamp,
};
use posthaste::mail::builtin::{BUILT_INS, render_builtin};
use posthaste::mail::compose::{ComposeExtra, compose};
use posthaste::mail::dkim::Signer;
use posthaste::mail::render::Rendered;
use posthaste::mail::text;
use posthaste::store::dkim_keys::generate_keys;
use serde_json::{Value, json};
use uuid::Uuid;

/// How many made-up messages are read besides the chosen ones.
const RANDOM_MESSAGES: usize = 150;
/// Their seed: another one makes other messages.
const SEED: u64 = 20_261_123;

/// A message and what a reader must find in it.
struct Case {
    message: Message,
    rendered: Rendered,
    attachments: Vec<Attachment>,
}

fn mailbox(name: &str, address: &str) -> Mailbox {
    Mailbox {
        name: (!name.is_empty()).then(|| name.to_owned()),
        address: address.to_owned(),
    }
}

fn case(subject: &str, from: &str, to: &[&str], html: Option<&str>, text: Option<&str>) -> Case {
    let recipients = to.iter().map(|name| Recipient {
        mailbox: mailbox(name, "some.body@example.test"),
        role: Role::To,
        variables: None,
    });
    Case {
        message: Message {
            id: MessageId(Uuid::from_u128(0x0199_6f0e_8a51_7c3e_9d2b_5b1c_6a0f_4e11)),
            tenant: TenantId(1),
            class: Class::Transactional,
            created_at: Timestamp(1_795_431_723_456),
            scheduled_at: None,
            expires_at: Timestamp::NEVER,
            from: mailbox(from, "no-reply@acme.test"),
            reply_to: vec![mailbox("Help, please", "help@acme.test")],
            recipients: recipients.collect(),
            subject: subject.to_owned(),
            headers: vec![("X-Entity-Ref-ID".to_owned(), "Größe 42".to_owned())],
            tags: Vec::new(),
            metadata: Vec::new(),
        },
        rendered: Rendered {
            subject: subject.to_owned(),
            html: html.map(str::to_owned),
            text: text.map(str::to_owned),
        },
        attachments: Vec::new(),
    }
}

fn file(name: &str, content: &[u8], content_id: Option<&str>) -> Attachment {
    Attachment {
        filename: name.to_owned(),
        content_type: "application/pdf".to_owned(),
        content: content.to_vec(),
        content_id: content_id.map(str::to_owned),
        disposition: if content_id.is_some() {
            Disposition::Inline
        } else {
            Disposition::Attachment
        },
    }
}

fn chosen() -> Vec<Case> {
    let long_word = "x".repeat(2_000);
    let mut cases = vec![
        case(
            "Your code",
            "Acme",
            &["Jacky"],
            None,
            Some("Hello Jacky, Your verification code is 483921"),
        ),
        case(
            "Grüße aus Köln",
            "Jürgen, GmbH",
            &["您好", "A \"B\" \\ C"],
            Some("<p>é</p>"),
            Some("é"),
        ),
        case(
            &"длинная тема ".repeat(12),
            &"длинное имя ".repeat(8),
            &[""],
            Some(&long_word),
            None,
        ),
        case(
            "=?utf-8?q?not_decoded?=",
            "a@b",
            &["=?x?="; 9],
            None,
            Some(".\r\n..\r\nFrom x\r\n--=_y\r\n"),
        ),
        case("", "", &[""], None, Some("")),
        case("s", "Acme", &[], Some("a\nb\rc\r\n \r\n\t\r\n"), Some(" \n \n")),
        case(
            &"word ".repeat(60),
            "Acme",
            &["Long Name Of A Person"; 20],
            None,
            Some(&"line\n".repeat(500)),
        ),
    ];
    cases[0].attachments = vec![file(
        "résumé «final» 您好 and a rather long name for a file of this kind.pdf",
        &[7; 5_000],
        None,
    )];
    cases[1].attachments = vec![
        file("a.pdf", b"", None),
        file("my \"b\".pdf", &[0, 255, 13, 10], None),
        file("logo.png", &[1; 57], Some("logo@acme")),
    ];
    for built_in in BUILT_INS {
        let variables = json!({"name": "Jürgen", "code": "483921", "title": "News", "message": "x\ny", "product": "Acme 您好",
            "total": "8 €", "items": [{"description": "Tea", "price": "8 €"}], "articles": [{"title": "One", "text": "é"}]});
        let rendered = render_builtin(built_in.name, variables.as_object().unwrap()).unwrap();
        let mut case = case(&rendered.subject, "Acme", &["Jürgen"], None, None);
        case.rendered = rendered;
        cases.push(case);
    }
    let mut from_html = case(
        "s",
        "Acme",
        &[""],
        Some("<p>Hi <a href=\"https://acme.test\">there</a>, Grüße</p>"),
        None,
    );
    from_html.rendered.text = from_html.rendered.html.as_deref().map(text::from_html);
    cases.push(from_html);
    cases
}

fn random() -> Vec<Case> {
    let mut random = fastrand::Rng::with_seed(SEED);
    let alphabet: Vec<char> = "abc ABC 019 ,;:<>@\"'()[]\\.=?_-/é您я😀ß\u{a0}%&".chars().collect();
    let body_extra: Vec<char> = "\n\r\t\n.=".chars().collect();
    let mut some = |max: usize, body: bool| -> String {
        let length = random.usize(0..max);
        let pick = |_| {
            let from = if body && random.u8(0..8) == 0 {
                &body_extra
            } else {
                &alphabet
            };
            from[random.usize(0..from.len())]
        };
        (0..length).map(pick).collect()
    };
    (0..RANDOM_MESSAGES)
        .map(|number| {
            let (subject, from, to) = (some(150, false), some(60, false), [some(90, false), some(20, false)]);
            let (html, text) = (some(600, true), some(600, true));
            let to: Vec<&str> = to.iter().map(String::as_str).collect();
            let mut case = case(
                &subject,
                &from,
                &to,
                (number % 3 > 0).then_some(&html),
                (number % 3 < 2).then_some(&text),
            );
            if number % 4 == 0 {
                let name = format!("f{}", some(80, false).trim());
                case.attachments = vec![file(
                    &name,
                    some(300, true).as_bytes(),
                    (number % 8 == 0).then_some("cid"),
                )];
            }
            case
        })
        .collect()
}

fn domain() -> SendingDomain {
    SendingDomain {
        tenant: TenantId(1),
        name: "acme.test".to_owned(),
        status: DomainStatus::Verified,
        return_path_subdomain: "bounce".to_owned(),
        dkim: generate_keys("ph1").unwrap(),
        created_at: Timestamp(0),
        checked_at: None,
    }
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What Python saw in the messages of a folder, by file name.
pub(crate) fn read_with_python(folder: &Path) -> BTreeMap<String, Value> {
    let python = root().join("target/tools/venv/bin/python");
    assert!(
        python.exists(),
        "the tests' tools are missing: run tests/tools/setup.sh"
    );
    let output = Command::new(python)
        .arg(root().join("tests/tools/check_mail.py"))
        .arg(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Line breaks as Python gives them, without a blank tail.
fn normal(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let kept = text.trim_end_matches([' ', '\t', '\n']).len();
    let tail = &text[kept..];
    let end = if kept == 0 {
        0
    } else {
        kept + tail.find('\n').unwrap_or(tail.len())
    };
    text[..end].to_owned()
}

pub(crate) fn hash(content: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// What Python must see of mailboxes. Spaces in names do not count: it puts one between the encoded-words of a long display
/// name, against RFC 2047, 6.2. That they come back is tested with mail-parser, beside `mail::headers`.
fn seen<'a>(mailboxes: impl IntoIterator<Item = &'a Mailbox>) -> Value {
    let without_spaces = |mailbox: &Mailbox| mailbox.name.as_deref().unwrap_or("").replace(char::is_whitespace, "");
    let pair = |mailbox: &'a Mailbox| json!([without_spaces(mailbox), mailbox.address]);
    mailboxes.into_iter().map(pair).collect()
}

/// The same of what Python saw.
pub(crate) fn names_without_spaces(found: &Value) -> Value {
    let pairs = found.as_array().unwrap().iter();
    pairs
        .map(|pair| json!([pair[0].as_str().unwrap().replace(char::is_whitespace, ""), pair[1]]))
        .collect()
}

fn check(name: &str, case: &Case, found: &Value) {
    let message = &case.message;
    assert_eq!(found["defects"], json!([]), "{name}");
    assert_eq!(found["signatures"], json!([true, true]), "{name}");
    assert_eq!(
        found["subject"],
        json!(case.rendered.subject.trim_matches(' ')),
        "{name}"
    );
    assert_eq!(names_without_spaces(&found["from"]), seen([&message.from]), "{name}");
    let to = message.recipients.iter().map(|recipient| &recipient.mailbox);
    assert_eq!(names_without_spaces(&found["to"]), seen(to), "{name}");
    for (kind, expect) in [("text", &case.rendered.text), ("html", &case.rendered.html)] {
        if let Some(expect) = expect {
            assert_eq!(
                normal(found[kind].as_str().unwrap_or("none")),
                normal(expect),
                "{name}: {kind}"
            );
        }
    }
    let mut files: Vec<Value> = case
        .attachments
        .iter()
        .map(|file| {
            let id = file.content_id.as_ref().map(|id| format!("<{id}>"));
            json!([file.filename, hash(&file.content), id])
        })
        .collect();
    files.sort_by_key(Value::to_string);
    let mut found_files = found["files"].as_array().unwrap().clone();
    found_files.sort_by_key(Value::to_string);
    assert_eq!(found_files, files, "{name}");
}

#[test]
fn python_finds_no_defect_and_dkimpy_verifies_both_signatures() {
    let domain = domain();
    let signer = Signer::new(&domain).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let records: BTreeMap<String, &str> = domain
        .dkim
        .iter()
        .map(|key| (format!("{}._domainkey.acme.test", key.selector), key.record.as_str()))
        .collect();
    std::fs::write(folder.path().join("dns.json"), serde_json::to_vec(&records).unwrap()).unwrap();
    let cases: Vec<Case> = chosen().into_iter().chain(random()).collect();
    for (number, case) in cases.iter().enumerate() {
        let extra = ComposeExtra {
            received_by: Some("mta.acme.test"),
            headers: &[],
        };
        let bytes = compose(&case.message, &case.rendered, &case.attachments, 0, &extra);
        let signed = signer.signed(&bytes, case.message.created_at).unwrap();
        std::fs::write(folder.path().join(format!("{number:04}.eml")), signed).unwrap();
    }
    let found = read_with_python(folder.path());
    assert_eq!(found.len(), cases.len());
    for ((name, found), case) in found.iter().zip(&cases) {
        check(name, case, found);
    }
}
