//! Mail that is accepted: what the caller is told and what is stored.

use actix_web::http::Method;
use posthaste::domain::{
    Class, Content, Disposition, DomainStatus, MessageId, Role, State, Stream, Suppression, SuppressionReason,
};
use posthaste::store::Store as _;
use serde_json::json;

use super::bed::{Bed, NOW, TENANT, mail, mail_with};

#[actix_web::test]
async fn the_smallest_mail_is_accepted_under_both_names() {
    let bed = Bed::new().await;
    for path in ["/send-email", "/v1/emails", "/v1/emails/"] {
        let answer = bed.post(path, &mail()).await;
        let id = answer.id();
        let body = answer.json();
        assert_eq!(answer.header("location"), Some(format!("/v1/emails/{id}").as_str()));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.header("x-request-id").is_some());
        assert_eq!(body["object"], "email");
        assert_eq!(body["status"], "queued");
        assert_eq!(
            body["recipients"],
            json!([{"email": "jacky@example.com", "status": "queued"}])
        );
        assert_eq!(body["scheduled_at"], json!(null));
        assert!(
            body["created_at"]
                .as_str()
                .expect("text")
                .starts_with("2025-11-23T11:02:0")
        );
        assert!(body["message_id"].as_str().expect("text").ends_with("@acme.com>"));
        let id: MessageId = id.parse().expect("an id");
        assert_eq!(id.0.get_version_num(), 7);
        let message = bed.memory.message(id).await.expect("memory").expect("stored");
        assert_eq!((message.tenant, message.class), (TENANT, Class::Transactional));
    }
    assert_eq!(bed.accepted().await, 3);
}

#[actix_web::test]
async fn everything_that_a_mail_may_have_arrives_in_the_store() {
    let bed = Bed::new().await;
    let body = json!({
        "from": {"email": "No-Reply@ACME.com", "name": "Acme, Inc."},
        "to": ["\"Doe, Jane\" <jane@exämple.com>", {"email": "joe@example.com", "name": "Joe"}],
        "cc": "c@example.com", "bcc": ["b@example.com"], "reply_to": "help@acme.com",
        "subject": "Grüße", "html": "<p>Hi</p>", "text": "Hi",
        "headers": {"X-Entity-Ref-ID": "42"},
        "attachments": [
            {"filename": "a.pdf", "content": "aGVsbG8="},
            {"filename": "b.bin", "content": [1, 2, 255], "content_type": "application/x-thing; v=1"},
            {"filename": "logo.png", "content": {"type": "Buffer", "data": [9]}, "content_id": "<logo>"},
        ],
        "tags": ["otp", {"name": "category", "value": "codes"}], "metadata": {"order": "42"},
        "class": "critical", "stream": "transactional", "scheduled_at": "in 10 minutes", "expires_at": "in 1 hour",
    });
    let answer = bed.post("/send-email", &body).await;
    let id: MessageId = answer.id().parse().expect("an id");
    assert_eq!(answer.json()["status"], "scheduled");
    let message = bed.memory.message(id).await.expect("memory").expect("stored");
    let people: Vec<_> = message
        .recipients
        .iter()
        .map(|one| (one.mailbox.to_string(), one.role))
        .collect();
    assert_eq!(
        people,
        [
            ("Doe, Jane <jane@xn--exmple-cua.com>".to_owned(), Role::To),
            ("Joe <joe@example.com>".to_owned(), Role::To),
            ("c@example.com".to_owned(), Role::Cc),
            ("b@example.com".to_owned(), Role::Bcc),
        ]
    );
    assert_eq!(message.from.to_string(), "Acme, Inc. <No-Reply@acme.com>");
    assert_eq!(message.subject, "Grüße");
    assert_eq!(
        message.tags,
        [("otp".into(), String::new()), ("category".into(), "codes".into())]
    );
    assert_eq!(message.metadata, [("order".into(), "42".into())]);
    assert_eq!(message.headers, [("X-Entity-Ref-ID".into(), "42".into())]);
    assert_eq!(message.class, Class::Critical);
    let ahead = message
        .scheduled_at
        .expect("scheduled")
        .since(message.created_at)
        .as_secs();
    assert_eq!(ahead, 600);
    assert_eq!(message.expires_at.since(message.created_at).as_secs(), 3_600);
    let stored = bed.memory.body(id).await.expect("memory").expect("stored");
    assert!(matches!(&stored.content, Content::Inline { html: Some(html), text: Some(_), .. } if html == "<p>Hi</p>"));
    let files: Vec<_> = stored
        .attachments
        .iter()
        .map(|file| (file.content_type.as_str(), file.content.as_slice(), file.disposition))
        .collect();
    assert_eq!(
        files,
        [
            ("application/pdf", &b"hello"[..], Disposition::Attachment),
            ("application/x-thing; v=1", &[1, 2, 255][..], Disposition::Attachment),
            ("image/png", &[9][..], Disposition::Inline),
        ]
    );
    assert_eq!(stored.attachments[2].content_id.as_deref(), Some("logo"));
}

#[actix_web::test]
async fn null_is_the_same_as_leaving_out() {
    let bed = Bed::new().await;
    let fields = json!({"cc": null, "html": null, "headers": null, "tags": null, "class": null, "template": null});
    assert_eq!(bed.post("/send-email", &mail_with(&fields)).await.status, 202);
}

#[actix_web::test]
async fn mail_goes_out_only_from_a_verified_domain() {
    let bed = Bed::new().await;
    bed.put_domain("pending.com", DomainStatus::Pending).await;
    bed.put_domain("failed.com", DomainStatus::Failed).await;
    for domain in ["pending.com", "failed.com", "unknown.com", "sub.acme.com"] {
        let from = format!("a@{domain}");
        let answer = bed.post("/send-email", &mail_with(&json!({"from": from}))).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (403, Some("domain_not_verified")),
            "{domain}"
        );
        assert_eq!(
            answer.errors(),
            [("/from".to_owned(), "domain_not_verified".to_owned())]
        );
    }
    assert_eq!(bed.accepted().await, 0);
    bed.put_domain("pending.com", DomainStatus::Verified).await;
    let answer = bed
        .post("/send-email", &mail_with(&json!({"from": "a@PENDING.com"})))
        .await;
    assert_eq!(answer.status, 202, "what was just verified may send at once");
}

#[actix_web::test]
async fn suppressed_recipients_are_accepted_and_reported() {
    let bed = Bed::new().await;
    for (address, stream) in [
        ("gone@example.com", None),
        ("unsub@example.com", Some(Stream::Broadcast)),
    ] {
        let suppression = Suppression {
            tenant: TENANT,
            address: address.into(),
            stream,
            reason: SuppressionReason::HardBounce,
            created_at: NOW,
        };
        bed.memory.put_suppression(suppression).await.expect("stored");
    }
    let to = json!({"to": ["Gone@Example.com", "unsub@example.com", "ok@example.com"]});
    let statuses = |answer: &super::bed::Answer| -> Vec<String> {
        let recipients = answer.json()["recipients"].as_array().cloned().expect("a list");
        recipients
            .iter()
            .map(|one| one["status"].as_str().expect("text").to_owned())
            .collect()
    };
    let answer = bed.post("/send-email", &mail_with(&to)).await;
    assert_eq!(statuses(&answer), ["suppressed", "queued", "queued"]);
    assert_eq!(answer.json()["status"], "queued");
    let mut broadcast = mail_with(&to);
    broadcast["stream"] = json!("broadcast");
    let answer = bed.post("/send-email", &broadcast).await;
    assert_eq!(statuses(&answer), ["suppressed", "suppressed", "queued"]);
    let answer = bed
        .post("/send-email", &mail_with(&json!({"to": "gone@example.com"})))
        .await;
    assert_eq!(
        (answer.status, answer.json()["status"].as_str()),
        (202, Some("suppressed"))
    );
    let id = answer.id();
    let deliveries = bed.memory.deliveries(id.parse().expect("an id")).await.expect("memory");
    assert_eq!(deliveries[0].state, State::Suppressed);
    bed.memory.check();
}

#[actix_web::test]
async fn only_a_working_key_gets_in_and_the_body_does_not_matter_before_that() {
    let bed = Bed::new().await;
    let unknown = format!("Bearer {}", posthaste::policy::api_key::make(&[2; 32]));
    let truncated = format!("Bearer {}", &bed.key[..20]);
    let good = format!("Bearer {}", bed.key);
    let table: [(&[(&str, &str)], &str); 7] = [
        (&[], "missing_api_key"),
        (&[("authorization", "Basic abc")], "missing_api_key"),
        (&[("authorization", "Bearer")], "invalid_api_key"),
        (&[("authorization", &unknown)], "invalid_api_key"),
        (&[("authorization", &truncated)], "invalid_api_key"),
        (&[("authorization", &good), ("authorization", &good)], "invalid_api_key"),
        (
            &[("authorization", &unknown), ("content-length", "99999999999")],
            "invalid_api_key",
        ),
    ];
    for (headers, code) in table {
        let answer = bed.bare_call(Method::POST, "/send-email", headers, "not json").await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (401, Some(code)),
            "{headers:?}"
        );
        assert!(
            answer
                .header("www-authenticate")
                .expect("a challenge")
                .starts_with("Bearer")
        );
        assert!(
            !answer.text.contains("ph_live_") || answer.text.contains("ph_live_…"),
            "no key is repeated"
        );
    }
    let lower = format!("bearer {}", bed.key);
    let answer = bed
        .bare_call(
            Method::POST,
            "/send-email",
            &[("authorization", &lower)],
            mail().to_string(),
        )
        .await;
    assert_eq!(answer.status, 202, "the scheme has no case");
}

#[actix_web::test]
async fn a_revoked_key_no_longer_works() {
    let bed = Bed::new().await;
    assert_eq!(bed.post("/send-email", &mail()).await.status, 202);
    let hash = posthaste::policy::api_key::hash(&bed.key);
    let mut key = bed.memory.key(hash).await.expect("memory").expect("stored");
    key.revoked_at = Some(NOW);
    bed.memory.put_key(key).await.expect("stored");
    bed.state.forget_all();
    let answer = bed.post("/send-email", &mail()).await;
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (401, Some("invalid_api_key"))
    );
}
