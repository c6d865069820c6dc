//! What is wrong is said completely, by pointer and code, and nothing of it is stored.

use actix_web::http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::bed::{Bed, mail, mail_with};

/// The fields, put into a good mail, are refused for exactly these reasons.
async fn check(bed: &Bed, body: &Value, expect: &[(&str, &str)]) {
    let answer = bed.post("/send-email", body).await;
    assert_eq!(answer.status, 422, "{body} {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let errors = answer.errors();
    let mut got: Vec<_> = errors
        .iter()
        .map(|(pointer, code)| (pointer.as_str(), code.as_str()))
        .collect();
    let mut expect = expect.to_vec();
    got.sort_unstable();
    expect.sort_unstable();
    assert_eq!(got, expect, "{body}");
}

/// Runs a table of fields and the reasons for which they are refused; nothing is stored by any of them.
async fn check_all(table: &[(Value, &[(&str, &str)])]) {
    let bed = Bed::new().await;
    for (fields, expect) in table {
        check(&bed, &mail_with(fields), expect).await;
    }
    assert_eq!(bed.accepted().await, 0);
    assert_eq!(
        bed.post("/send-email", &mail()).await.status,
        202,
        "the rest of the mail was good"
    );
}

#[actix_web::test]
async fn people_must_be_addresses() {
    let many: Vec<String> = (0..51).map(|number| format!("p{number}@example.com")).collect();
    check_all(&[
        (json!({"to": "nope"}), &[("/to", "invalid_email")]),
        (
            json!({"to": ["a@example.com", "nope", 7, "b@"]}),
            &[
                ("/to/1", "invalid_email"),
                ("/to/2", "invalid_type"),
                ("/to/3", "invalid_email"),
            ],
        ),
        (json!({"to": []}), &[("/to", "required")]),
        (json!({"to": null}), &[("/to", "required")]),
        (json!({"to": {"name": "x"}}), &[("/to/email", "required")]),
        (
            json!({"to": {"email": "a@example.com", "nmae": "x"}}),
            &[("/to/nmae", "unknown_field")],
        ),
        (
            json!({"to": {"email": "a@example.com", "name": "a\r\nb"}}),
            &[("/to/name", "invalid_character")],
        ),
        (
            json!({"to": "a@example.com\r\nBcc: b@example.com"}),
            &[("/to", "invalid_character")],
        ),
        (json!({"to": "a\u{0}@example.com"}), &[("/to", "invalid_character")]),
        (
            json!({"to": "a@example.com, b@example.com"}),
            &[("/to", "invalid_email")],
        ),
        (json!({"to": "a@[127.0.0.1]"}), &[("/to", "invalid_email")]),
        (
            json!({"to": [{"email": "a@example.com", "variables": {"a": 1}}]}),
            &[("/to/0/variables", "conflict")],
        ),
        (json!({"cc": "x@y"}), &[("/cc", "invalid_email")]),
        (json!({"bcc": [{"email": 5}]}), &[("/bcc/0/email", "invalid_type")]),
        (
            json!({"reply_to": ["r@example.com", "r"]}),
            &[("/reply_to/1", "invalid_email")],
        ),
        (json!({"to": many}), &[("/to", "too_many")]),
        (
            json!({"to": &many[..49], "cc": ["x@example.com"], "bcc": "y@example.com"}),
            &[("/bcc", "too_many")],
        ),
        (
            json!({"to": ["a@example.com", "A@Example.com"], "cc": "a@example.com"}),
            &[("/to/1", "duplicate_recipient"), ("/cc/0", "duplicate_recipient")],
        ),
        (json!({"from": null}), &[("/from", "required")]),
        (json!({"from": "nope"}), &[("/from", "invalid_email")]),
        (json!({"from": ["a@acme.com"]}), &[("/from", "invalid_type")]),
        (
            json!({"from": "ceo@bank.com <no-reply@acme.com>"}),
            &[("/from", "misleading_name")],
        ),
        (
            json!({"from": "A\u{2028}B <no-reply@acme.com>"}),
            &[("/from", "invalid_character")],
        ),
    ])
    .await;
}

#[actix_web::test]
async fn text_must_be_there_and_fit_into_its_place() {
    let long = "x".repeat(999);
    check_all(&[
        (json!({"subject": null}), &[("/subject", "required")]),
        (json!({"subject": 1}), &[("/subject", "invalid_type")]),
        (
            json!({"subject": "a\r\nBcc: x@example.com"}),
            &[("/subject", "invalid_character")],
        ),
        (json!({"subject": "a\u{0}"}), &[("/subject", "invalid_character")]),
        (json!({"subject": long}), &[("/subject", "too_long")]),
        (json!({"text": null}), &[("/html", "required")]),
        (json!({"text": ""}), &[("/html", "required")]),
        (
            json!({"text": ["x"]}),
            &[("/text", "invalid_type"), ("/html", "required")],
        ),
        (json!({"html": "a\u{0}b"}), &[("/html", "invalid_character")]),
        (json!({"template": "welcome"}), &[("/template", "conflict")]),
        (json!({"variables": {"a": 1}}), &[("/variables", "conflict")]),
        (
            json!({"text": null, "template": {"version": 0}}),
            &[("/template/id", "required"), ("/template/version", "invalid_type")],
        ),
        (json!({"text": null, "template": 5}), &[("/template", "invalid_type")]),
        (
            json!({"text": null, "template": "a", "variables": []}),
            &[("/variables", "invalid_type")],
        ),
        (
            json!({"text": null, "template": "a", "variables": {"a": "x".repeat(70_000)}}),
            &[("/variables", "too_long")],
        ),
        (
            json!({"sujbect": "x", "htlm": "y"}),
            &[("/sujbect", "unknown_field"), ("/htlm", "unknown_field")],
        ),
        (json!({"a/b~c": 1}), &[("/a~1b~0c", "unknown_field")]),
    ])
    .await;
}

#[actix_web::test]
async fn headers_tags_and_metadata_must_be_harmless() {
    let many = |count: usize| -> Value { (0..count).map(|n| (format!("X-{n}"), json!("v"))).collect() };
    let tags: Vec<String> = (0..11).map(|number| format!("t{number}")).collect();
    check_all(&[
        (json!({"headers": {"Bcc": "x@example.com"}}), &[("/headers/Bcc", "reserved_header")]),
        (
            json!({"headers": {"date": "x", "DKIM-Signature": "x", "Content-Type": "x", "Received": "x", "Return-Path": "x"}}),
            &[
                ("/headers/date", "reserved_header"),
                ("/headers/DKIM-Signature", "reserved_header"),
                ("/headers/Content-Type", "reserved_header"),
                ("/headers/Received", "reserved_header"),
                ("/headers/Return-Path", "reserved_header"),
            ],
        ),
        (json!({"headers": {"X-A": "a\r\nBcc: b"}}), &[("/headers/X-A", "invalid_character")]),
        (json!({"headers": {"X-A\r\nB": "a"}}), &[("/headers/X-A\r\nB", "invalid_header_name")]),
        (json!({"headers": {"X A": "a", "X:B": "b"}}), &[("/headers/X A", "invalid_header_name"), ("/headers/X:B", "invalid_header_name")]),
        (json!({"headers": {"X-A": "1", "x-a": "2"}}), &[("/headers/x-a", "duplicate")]),
        (json!({"headers": {"X-A": 5}}), &[("/headers/X-A", "invalid_type")]),
        (json!({"headers": ["X-A: b"]}), &[("/headers", "invalid_type")]),
        (json!({"headers": many(51)}), &[("/headers", "too_many")]),
        (json!({"tags": ["a b", "ok", "a\r\nb", ""]}), &[("/tags/0", "invalid_tag"), ("/tags/2", "invalid_tag"), ("/tags/3", "invalid_tag")]),
        (json!({"tags": [{"value": "x"}, {"name": "n", "value": "a b"}]}), &[("/tags/0/name", "required"), ("/tags/1/value", "invalid_tag")]),
        (json!({"tags": "otp"}), &[("/tags", "invalid_type")]),
        (json!({"tags": ["a", "a"]}), &[("/tags/1", "duplicate")]),
        (json!({"tags": tags}), &[("/tags", "too_many")]),
        (json!({"metadata": {"k": 5}}), &[("/metadata/k", "invalid_type")]),
        (json!({"metadata": {"k": "a\nb"}}), &[("/metadata/k", "invalid_character")]),
        (json!({"metadata": {"": "x"}}), &[("/metadata/", "invalid_name")]),
        (json!({"metadata": {"k": "x".repeat(501)}}), &[("/metadata/k", "too_long")]),
        (json!({"metadata": many(21)}), &[("/metadata", "too_many")]),
    ])
    .await;
}

#[actix_web::test]
async fn files_must_be_files() {
    let file = |fields: Value| {
        let mut file = json!({"filename": "a.pdf", "content": "aGVsbG8="});
        for (name, value) in fields.as_object().expect("an object") {
            file[name] = value.clone();
        }
        json!({"attachments": [file]})
    };
    let many: Vec<Value> = (0..26).map(|_| json!({"filename": "a", "content": ""})).collect();
    let same = json!({"filename": "a.png", "content": "", "content_id": "logo"});
    check_all(&[
        (json!({"attachments": {}}), &[("/attachments", "invalid_type")]),
        (
            json!({"attachments": [{}]}),
            &[
                ("/attachments/0/filename", "required"),
                ("/attachments/0/content", "required"),
            ],
        ),
        (
            file(json!({"content": "a"})),
            &[("/attachments/0/content", "invalid_attachment")],
        ),
        (
            file(json!({"content": [1, 256]})),
            &[("/attachments/0/content", "invalid_attachment")],
        ),
        (
            file(json!({"content": {"type": "Buffer", "data": [1, "2"]}})),
            &[("/attachments/0/content", "invalid_attachment")],
        ),
        (
            file(json!({"content": true})),
            &[("/attachments/0/content", "invalid_attachment")],
        ),
        (
            file(json!({"filename": "run.EXE"})),
            &[("/attachments/0/filename", "invalid_attachment")],
        ),
        (
            file(json!({"filename": "a.pdf.js. "})),
            &[("/attachments/0/filename", "invalid_attachment")],
        ),
        (
            file(json!({"filename": "../../etc/passwd"})),
            &[("/attachments/0/filename", "invalid_filename")],
        ),
        (
            file(json!({"filename": "a\\b"})),
            &[("/attachments/0/filename", "invalid_filename")],
        ),
        (
            file(json!({"filename": ".."})),
            &[("/attachments/0/filename", "invalid_filename")],
        ),
        (
            file(json!({"filename": "a\r\nX: y"})),
            &[("/attachments/0/filename", "invalid_character")],
        ),
        (
            file(json!({"content_type": "pdf"})),
            &[("/attachments/0/content_type", "invalid_content_type")],
        ),
        (
            file(json!({"content_type": "multipart/mixed"})),
            &[("/attachments/0/content_type", "invalid_content_type")],
        ),
        (
            file(json!({"content_type": "a/b\r\nX: y"})),
            &[("/attachments/0/content_type", "invalid_character")],
        ),
        (
            file(json!({"content_id": "a b"})),
            &[("/attachments/0/content_id", "invalid_content_id")],
        ),
        (
            file(json!({"content_id": "a>\r\n"})),
            &[("/attachments/0/content_id", "invalid_character")],
        ),
        (
            file(json!({"disposition": "inline"})),
            &[("/attachments/0/content_id", "required")],
        ),
        (
            file(json!({"disposition": "side"})),
            &[("/attachments/0/disposition", "invalid_value")],
        ),
        (
            file(json!({"url": "https://x"})),
            &[("/attachments/0/url", "unknown_field")],
        ),
        (
            json!({"attachments": [same, same]}),
            &[("/attachments/1/content_id", "duplicate")],
        ),
        (json!({"attachments": many}), &[("/attachments", "too_many")]),
    ])
    .await;
}

#[actix_web::test]
async fn classes_and_times_must_make_sense() {
    check_all(&[
        (json!({"class": "urgent"}), &[("/class", "invalid_value")]),
        (json!({"stream": 1}), &[("/stream", "invalid_type")]),
        (
            json!({"class": "critical", "stream": "broadcast"}),
            &[("/class", "conflict")],
        ),
        (
            json!({"scheduled_at": "tomorrow"}),
            &[("/scheduled_at", "invalid_time")],
        ),
        (
            json!({"scheduled_at": "in 31 days"}),
            &[("/scheduled_at", "out_of_range")],
        ),
        (
            json!({"scheduled_at": "2020-01-01T00:00:00Z"}),
            &[("/scheduled_at", "out_of_range")],
        ),
        (json!({"expires_at": 1_763_895_723}), &[("/expires_at", "invalid_type")]),
        (
            json!({"expires_at": "2020-01-01T00:00:00Z"}),
            &[("/expires_at", "out_of_range")],
        ),
        (
            json!({"expires_at": "in 1 hour", "scheduled_at": "in 2 hours"}),
            &[("/expires_at", "out_of_range")],
        ),
    ])
    .await;
}

#[actix_web::test]
async fn many_faults_are_listed_together_and_bounded() {
    let bed = Bed::new().await;
    let body = json!({"from": "x", "to": ["y", "z@example.com"], "subjct": "s", "html": 1, "tags": ["a b"]});
    check(
        &bed,
        &body,
        &[
            ("/from", "invalid_email"),
            ("/to/0", "invalid_email"),
            ("/subjct", "unknown_field"),
            ("/html", "invalid_type"),
            ("/html", "required"),
            ("/subject", "required"),
            ("/tags/0", "invalid_tag"),
        ],
    )
    .await;
    let fields: Value = (0..1_000).map(|number| (format!("x{number}"), json!(1))).collect();
    let answer = bed.post("/send-email", &mail_with(&fields)).await;
    assert_eq!((answer.status, answer.errors().len()), (422, 100));
}

#[actix_web::test]
async fn a_body_that_is_no_json_is_told_apart_from_one_that_is_wrong() {
    let bed = Bed::new().await;
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let table: [(&[u8], u16, &str); 13] = [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b"{\"from\":\"a\"} x", 400, "invalid_json"),
        (b"{\"to\":\"a@b.com\",\"to\":\"c@d.com\"}", 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b"{\"subject\":\"\\ud800\"}", 400, "invalid_json"),
        (b"{\"x\":1e400}", 400, "invalid_json"),
        (b"{\"x\":123456789012345678901234567890}", 422, "validation_error"),
        (deep.as_bytes(), 400, "invalid_json"),
        (b"null", 422, "validation_error"),
        (b"\"mail\"", 422, "validation_error"),
        (b"[]", 422, "validation_error"),
        (b"{}", 422, "validation_error"),
    ];
    for (body, status, code) in table {
        let answer = bed.call(Method::POST, "/send-email", &[], body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(answer.status, status, "{shown} {answer:?}");
        assert_eq!(answer.json()["code"], code, "{shown}");
        assert!(answer.json()["request_id"].is_string());
    }
    assert_eq!(bed.accepted().await, 0);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z<>@\\. \u{0}\r\n{}\"]{0,12}".prop_map(Value::from),
        Just(json!("a@example.com")),
        Just(json!("no-reply@acme.com")),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let names = prop::sample::select(vec![
            "from",
            "to",
            "cc",
            "bcc",
            "reply_to",
            "subject",
            "html",
            "text",
            "template",
            "variables",
            "headers",
            "attachments",
            "tags",
            "metadata",
            "class",
            "stream",
            "scheduled_at",
            "expires_at",
            "id",
            "version",
            "email",
            "name",
            "value",
            "filename",
            "content",
            "content_type",
            "content_id",
            "disposition",
            "type",
            "data",
            "mode",
            "defaults",
            "emails",
            "alias",
            "x\r\ny",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(names.prop_map(str::to_owned), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_json_is_our_fault(body in any_json()) {
        let statuses = actix_web::rt::System::new().block_on(async {
            let bed = Bed::new().await;
            let merged = if body.is_object() { mail_with(&body) } else { body.clone() };
            let mut statuses = Vec::new();
            for path in ["/send-email", "/v1/emails/batch", "/v1/templates"] {
                for body in [&body, &merged] {
                    statuses.push(bed.post(path, body).await.status);
                }
            }
            statuses
        });
        for status in statuses {
            prop_assert!(matches!(status, 201 | 202 | 403 | 422), "{} {}", status, body);
        }
    }
}
