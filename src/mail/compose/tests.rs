//! Tests of composing: another parser reads back what went in; the same Delivery gives the same bytes.

use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::{Class, MessageId, Recipient, TenantId};

fn mailbox(name: &str, address: &str) -> Mailbox {
    Mailbox {
        name: (!name.is_empty()).then(|| name.to_owned()),
        address: address.to_owned(),
    }
}

fn message() -> Message {
    Message {
        id: MessageId(Uuid::from_u128(0x0199_6f0e_8a51_7c3e_9d2b_5b1c_6a0f_4e11)),
        tenant: TenantId(1),
        class: Class::Transactional,
        created_at: Timestamp(1_795_431_723_456),
        scheduled_at: None,
        expires_at: Timestamp::NEVER,
        from: mailbox("Acme, Inc.", "no-reply@acme.test"),
        reply_to: Vec::new(),
        recipients: vec![recipient("Jacky", "jacky@example.test", Role::To)],
        subject: String::new(),
        headers: Vec::new(),
        tags: Vec::new(),
        metadata: Vec::new(),
    }
}

fn recipient(name: &str, address: &str, role: Role) -> Recipient {
    Recipient {
        mailbox: mailbox(name, address),
        role,
        variables: None,
    }
}

fn rendered(subject: &str, html: Option<&str>, text: Option<&str>) -> Rendered {
    Rendered {
        subject: subject.to_owned(),
        html: html.map(str::to_owned),
        text: text.map(str::to_owned),
    }
}

fn file(name: &str, content_id: Option<&str>) -> Attachment {
    Attachment {
        filename: name.to_owned(),
        content_type: "image/png".to_owned(),
        content: vec![0, 1, 2, 0xff],
        content_id: content_id.map(str::to_owned),
        disposition: if content_id.is_some() {
            Disposition::Inline
        } else {
            Disposition::Attachment
        },
    }
}

fn composed(message: &Message, rendered: &Rendered, attachments: &[Attachment]) -> String {
    String::from_utf8(compose(message, rendered, attachments, 0, &ComposeExtra::default())).unwrap()
}

/// Everything that must hold for any message that we send.
fn assert_well_formed(bytes: &str) {
    assert!(bytes.is_ascii());
    assert!(bytes.ends_with("\r\n"));
    assert!(
        !bytes.replace("\r\n", "").contains(['\r', '\n', '\0']),
        "bare CR, LF or NUL"
    );
    for line in bytes.split("\r\n") {
        assert!(line.len() <= 998, "{} octets: {line}", line.len());
    }
    let (header, _) = bytes.split_once("\r\n\r\n").unwrap();
    for name in [
        "Date",
        "From",
        "To",
        "Subject",
        "Message-ID",
        "MIME-Version",
        "Content-Type",
    ] {
        let prefix = format!("{}:", name.to_ascii_lowercase());
        let count = header
            .lines()
            .filter(|line| line.to_ascii_lowercase().starts_with(&prefix))
            .count();
        assert_eq!(count, 1, "{name} in {header}");
    }
    assert!(!header.to_ascii_lowercase().contains("\r\nbcc:"));
}

/// What a reader gets of a text: CRLF everywhere, no blank tail.
fn normal(text: &str) -> String {
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = lines.split('\n').collect();
    while lines.len() > 1 && lines.last().unwrap().trim_matches([' ', '\t']).is_empty() {
        lines.pop();
    }
    if lines.len() == 1 && lines[0].trim_matches([' ', '\t']).is_empty() {
        lines[0] = "";
    }
    lines.join("\n")
}

fn part_text(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.strip_suffix('\n').unwrap_or(&text).to_owned()
}

#[test]
fn a_simple_mail_is_exactly_this() {
    assert_eq!(
        composed(&message(), &rendered("Your code", None, Some("Hello Jacky\n")), &[]),
        "Date: Mon, 23 Nov 2026 11:02:03 +0000\r\n\
         From: \"Acme, Inc.\" <no-reply@acme.test>\r\n\
         To: Jacky <jacky@example.test>\r\n\
         Subject: Your code\r\n\
         Message-ID: <01996f0e8a517c3e9d2b5b1c6a0f4e11.0@acme.test>\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 7bit\r\n\
         \r\n\
         Hello Jacky\r\n"
    );
}

#[test]
fn a_mail_with_everything_is_exactly_this() {
    let mut message = message();
    message.reply_to = vec![mailbox("", "help@acme.test")];
    message.recipients.push(recipient("", "copy@example.test", Role::Cc));
    message.recipients.push(recipient("", "secret@example.test", Role::Bcc));
    message.headers = vec![
        ("X-Ref".to_owned(), "42".to_owned()),
        ("List-Unsubscribe".to_owned(), "theirs".to_owned()),
    ];
    let rendered = rendered("Grüße", Some("<p>é</p>"), Some("e"));
    let extra = ComposeExtra {
        received_by: Some("mta.acme.test"),
        headers: &[("List-Unsubscribe", "<https://acme.test/u>".to_owned())],
    };
    let files = [file("résumé.png", None), file("logo.png", Some("logo"))];
    let bytes = compose(&message, &rendered, &files, 2, &extra);
    assert_eq!(
        String::from_utf8(bytes).unwrap(),
        "Received: by mta.acme.test (Posthaste) with HTTP id\r\n 01996f0e8a517c3e9d2b5b1c6a0f4e11; Mon, 23 Nov 2026 11:02:03 +0000\r\n\
         Date: Mon, 23 Nov 2026 11:02:03 +0000\r\n\
         From: \"Acme, Inc.\" <no-reply@acme.test>\r\n\
         Reply-To: help@acme.test\r\n\
         To: Jacky <jacky@example.test>\r\n\
         Cc: copy@example.test\r\n\
         Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n\
         Message-ID: <01996f0e8a517c3e9d2b5b1c6a0f4e11.2@acme.test>\r\n\
         List-Unsubscribe: <https://acme.test/u>\r\n\
         X-Ref: 42\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed;\r\n\
         \tboundary=\"=_01996f0e8a517c3e9d2b5b1c6a0f4e11.2.mixed\"\r\n\
         \r\n\
         --=_01996f0e8a517c3e9d2b5b1c6a0f4e11.2.mixed\r\n\
         Content-Type: multipart/alternative;\r\n\
         \tboundary=\"=_01996f0e8a517c3e9d2b5b1c6a0f4e11.2.alternative\"\r\n\
         \r\n\
         --=_01996f0e8a517c3e9d2b5b1c6a0f4e11.2.alternative\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 7bit\r\n\
         \r\n\
         e\r\n\
         --=_01996f0e8a517c3e9d2b5b1c6a0f4e11.2.alternative\r\n\
         Content-Type: multipart/related;\r\n\
         \ttype=\"text/html\";\r\n\
         \tboundary=\"=_01996f0e8a517c3e9d2b5b1c6a0f4e11.2.related\"\r\n\
         \r\n\
         --=_01996f0e8a517c3e9d2b5b1c6a0f4e11.2.related\r\n\
         Content-Type: text/html; charset=utf-8\r\n\
         Content-Transfer-Encoding: base64\r\n\
         \r\n\
         PHA+w6k8L3A+DQo=\r\n\
         --=_01996f0e8a517c3e9d2b5b1c6a0f4e11.2.related\r\n\
         Content-Type: image/png\r\n\
         Content-Transfer-Encoding: base64\r\n\
         Content-Disposition: inline;\r\n\
         \tfilename=\"logo.png\"\r\n\
         Content-ID: <logo>\r\n\
         \r\n\
         AAEC/w==\r\n\
         --=_01996f0e8a517c3e9d2b5b1c6a0f4e11.2.related--\r\n\
         --=_01996f0e8a517c3e9d2b5b1c6a0f4e11.2.alternative--\r\n\
         --=_01996f0e8a517c3e9d2b5b1c6a0f4e11.2.mixed\r\n\
         Content-Type: image/png\r\n\
         Content-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment;\r\n\
         \tfilename*=utf-8''r%C3%A9sum%C3%A9.png\r\n\
         \r\n\
         AAEC/w==\r\n\
         --=_01996f0e8a517c3e9d2b5b1c6a0f4e11.2.mixed--\r\n"
    );
}

#[test]
fn the_same_delivery_is_the_same_bytes_and_another_one_is_not() {
    let (message, rendered) = (message(), rendered("s", Some("<p>x</p>"), Some("x")));
    let bytes = |recipient| compose(&message, &rendered, &[], recipient, &ComposeExtra::default());
    assert_eq!(bytes(0), bytes(0));
    assert_ne!(bytes(0), bytes(1));
}

#[test]
fn hidden_recipients_stay_hidden() {
    let mut message = message();
    message.recipients[0].role = Role::Bcc;
    let bytes = composed(&message, &rendered("s", None, Some("x")), &[]);
    assert_well_formed(&bytes);
    assert!(bytes.contains("\r\nTo: undisclosed-recipients:;\r\n"));
    assert!(!bytes.contains("jacky"));
}

#[test]
fn inline_files_without_html_are_files_beside_the_text() {
    let bytes = composed(
        &message(),
        &rendered("s", None, Some("x")),
        &[file("logo.png", Some("logo"))],
    );
    assert_well_formed(&bytes);
    assert!(bytes.contains("multipart/mixed") && !bytes.contains("multipart/related"));
}

#[test]
fn nothing_unchecked_gets_into_the_header() {
    let mut message = message();
    message.from = mailbox("x\r\nBcc: a@b.c", "no-reply@acme.test\r\nBcc: a@b.c");
    message.recipients[0].mailbox = mailbox("\r\n\r\nbody", "jacky@example.test\nBcc: d@e.f");
    message.headers = [
        ("Bcc", "a@b.c"),
        ("X-A\r\nBcc", "a@b.c"),
        ("X-B", "1\r\nBcc: a@b.c"),
        ("Date", "now"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let mut attachment = file("a\"\r\nX-Evil: 1\r\n\r\n.png", Some("id>\r\nX-Evil: 1"));
    attachment.content_type = "image/png\r\nX-Evil: 1".to_owned();
    let bytes = composed(&message, &rendered("s\r\nBcc: a@b.c", Some("<p>"), None), &[attachment]);
    assert_well_formed(&bytes);
    assert!(!bytes.contains("\r\nX-Evil") && !bytes.contains("\r\nX-B"));
    assert!(bytes.contains("application/octet-stream"));
}

#[test]
fn media_types_that_need_parts_of_their_own_are_not_file_types() {
    for (content_type, expect) in [
        ("image/png", true),
        (
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            true,
        ),
        ("message/rfc822", false),
        ("multipart/mixed", false),
        ("image", false),
        ("image/", false),
        ("image/png; charset=x", false),
        ("image/p ng", false),
    ] {
        assert_eq!(is_file_type(content_type), expect, "{content_type}");
    }
    assert_eq!(file_type("text/calendar; method=REQUEST"), "text/calendar");
    assert_eq!(file_type("message/rfc822"), "application/octet-stream");
}

#[test]
fn dates_are_right_at_the_edges() {
    for (at, expect) in [
        (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
        (951_782_400_000, "Tue, 29 Feb 2000 00:00:00 +0000"),
        (4_102_444_799_999, "Thu, 31 Dec 2099 23:59:59 +0000"),
        (u64::MAX, "Thu, 30 Dec 9999 22:00:00 +0000"),
    ] {
        assert_eq!(date(Timestamp(at)), expect);
    }
}

#[test]
fn addresses_that_are_not_ascii_are_told() {
    let mut message = message();
    assert!(!needs_smtputf8(&message));
    message.recipients.push(recipient("", "jürgen@example.test", Role::Bcc));
    assert!(!needs_smtputf8(&message), "a hidden address is not in the header");
    message.recipients[1].role = Role::Cc;
    assert!(needs_smtputf8(&message));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_goes_in_comes_out_of_a_parser(
        subject in "(\\PC|[ é]){0,120}",
        name in "(\\PC|[ ,@\"é]){0,60}",
        html in prop::option::of("(\\PC|[\r\n\t .=é\u{0}-\u{1f}]|From |--=_){0,300}"),
        text in prop::option::of("(\\PC|[\r\n\t .=é]|\r\n\\.\r\n){0,300}"),
        files in prop::collection::vec(("\\PC{1,40}", prop::collection::vec(any::<u8>(), 0..200), any::<bool>()), 0..3),
    ) {
        let mut message = message();
        message.from = mailbox(&name, "no-reply@acme.test");
        let attachments: Vec<Attachment> = files.iter().map(|(name, content, inline)| Attachment {
            content: content.clone(),
            ..file(name, inline.then_some("cid"))
        }).collect();
        let bytes = composed(&message, &rendered(&subject, html.as_deref(), text.as_deref()), &attachments);
        assert_well_formed(&bytes);
        let parsed = MessageParser::new().parse(&bytes).unwrap();
        prop_assert_eq!(parsed.subject().unwrap_or(""), subject.trim_matches([' ', '\t']));
        if let Some(html) = &html {
            let part = parsed.html_bodies().next().unwrap();
            prop_assert_eq!(part_text(part.text_contents().unwrap()), normal(html));
        }
        if let Some(text) = &text {
            let part = parsed.text_bodies().next().unwrap();
            prop_assert_eq!(part_text(part.text_contents().unwrap()), normal(text));
        }
        let mut got: Vec<_> = parsed.parts.iter().filter(|part| part.attachment_name().is_some())
            .map(|part| (part.attachment_name().unwrap().to_owned(), part.contents().to_vec())).collect();
        let mut expect: Vec<_> = files.iter().map(|(name, content, _)| (name.clone(), content.clone())).collect();
        got.sort();
        expect.sort();
        prop_assert_eq!(got, expect);
    }
}
