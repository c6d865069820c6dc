//! The bytes of each record as the first version wrote them (`golden.txt`): read and written the same for ever.

use std::collections::BTreeMap;

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::domain::{
    ApiKey, Attachment, Body, BounceClass, Class, Content, Delivery, DeliveryId, Disposition, DkimAlgorithm, DkimKey,
    DomainStatus, EnhancedCode, Event, EventKind, Fence, KeyScope, Lane, LastReply, Mailbox, Message, MessageId, Note,
    NoteKind, ProviderId, Recipient, Role, SendingDomain, SourceId, State, Stream, Suppression, SuppressionReason,
    Template, TemplateId, Tenant, TenantId, Timestamp, Variables, Why,
};
use crate::queue::{Intent, LeaseRef, OpenIntent, Spent, StoredResponse};

const ID: MessageId = MessageId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001));
const TENANT: TenantId = TenantId(7);

/// `name hex` per line.
fn golden() -> BTreeMap<&'static str, Vec<u8>> {
    let parse = |hex: &str| -> Vec<u8> {
        let digits = (0..hex.len()).step_by(2);
        let bytes = digits.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"));
        bytes.collect()
    };
    let lines = include_str!("golden.txt").lines();
    let pairs = lines.filter_map(|line| line.split_once(' '));
    pairs.map(|(name, hex)| (name, parse(hex))).collect()
}

/// `value` is written as the golden bytes say, and they are read as `value`.
fn check<T: PartialEq + std::fmt::Debug>(
    name: &str,
    value: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, Damaged>,
) {
    let written = encode(value);
    let hex: String = written.iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = golden();
    let Some(expected) = golden.get(name) else {
        panic!("not in golden.txt:\n{name} {hex}");
    };
    assert_eq!(&written, expected, "{name} is written differently now:\n{name} {hex}");
    assert_eq!(decode(expected).as_ref(), Ok(value), "{name}");
}

fn id() -> DeliveryId {
    DeliveryId {
        message: ID,
        recipient: 3,
    }
}

fn at(millis: u64) -> Timestamp {
    Timestamp(1_800_000_000_000 + millis)
}

fn variables() -> Variables {
    let object = json!({"name": "Zoë", "n": 17, "deep": {"list": [1, null, true, 2.5]}});
    object.as_object().expect("is one").clone()
}

fn reply() -> LastReply {
    LastReply {
        at: at(5),
        host: "mx1.example.net".to_owned(),
        code: 451,
        enhanced: Some(EnhancedCode(4, 7, 650)),
        text: "try later".to_owned(),
    }
}

fn message() -> Message {
    let mailbox = |name: Option<&str>, address: &str| Mailbox {
        name: name.map(str::to_owned),
        address: address.to_owned(),
    };
    let recipient = |mailbox, role, variables| Recipient {
        mailbox,
        role,
        variables,
    };
    let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    Message {
        id: ID,
        tenant: TENANT,
        class: Class::Broadcast,
        created_at: at(0),
        scheduled_at: Some(at(1)),
        expires_at: at(2),
        from: mailbox(Some("Shop"), "shop@example.com"),
        reply_to: vec![mailbox(None, "help@example.com")],
        recipients: vec![
            recipient(mailbox(None, "a@example.org"), Role::To, None),
            recipient(mailbox(Some("B"), "b@example.org"), Role::Bcc, Some(variables())),
        ],
        subject: "Größe".to_owned(),
        headers: pair("X-A", "1"),
        tags: pair("kind", "news"),
        metadata: pair("order", "17"),
    }
}

fn delivery() -> Delivery {
    Delivery {
        id: id(),
        tenant: TENANT,
        class: Class::Critical,
        address: "a@example.org".to_owned(),
        state: State::Deferred,
        created_at: at(0),
        due_at: at(1),
        expires_at: Timestamp::NEVER,
        attempts: 3,
        ambiguous: 1,
        panics: 2,
        source: Some(SourceId::from("ip1")),
        why: Some(Why::Deferred(BounceClass::Greylisted)),
        last_reply: Some(reply()),
        bounce: Some(BounceClass::Unclassified),
        updated_at: at(2),
    }
}

#[test]
fn messages_and_bodies_are_kept_as_the_first_version_wrote_them() {
    check("message", &message(), encode_message, |bytes| decode_message(ID, bytes));
    let inline = Body {
        content: Content::Inline {
            subject: "Größe".to_owned(),
            html: Some("<p>Hi</p>".to_owned()),
            text: None,
        },
        attachments: vec![Attachment {
            filename: "a.bin".to_owned(),
            content_type: "application/octet-stream".to_owned(),
            content: vec![0, 255, 10],
            content_id: Some("cid".to_owned()),
            disposition: Disposition::Inline,
        }],
    };
    let without_files = |content| Body {
        content,
        attachments: Vec::new(),
    };
    let template = without_files(Content::Template {
        id: TemplateId(Uuid::from_u128(9)),
        version: 300,
        subject: None,
        variables: variables(),
    });
    let built_in = without_files(Content::BuiltIn {
        name: "receipt".to_owned(),
        subject: Some("Yours".to_owned()),
        variables: Variables::new(),
    });
    for (name, body) in [
        ("body_inline", inline),
        ("body_template", template),
        ("body_built_in", built_in),
    ] {
        check(name, &body, encode_body, |bytes| decode_body(ID, bytes));
    }
}

#[test]
fn deliveries_and_intents_are_kept_as_the_first_version_wrote_them() {
    let bare = Delivery {
        state: State::Unknown,
        source: None,
        why: None,
        last_reply: None,
        bounce: None,
        ..delivery()
    };
    let stored = |delivery, parked, alone| StoredDelivery {
        delivery,
        parked,
        alone,
    };
    let full = stored(delivery(), Some(70_000), true);
    for (name, stored) in [("delivery_full", full), ("delivery_bare", stored(bare, None, false))] {
        check(name, &stored, encode_delivery, |bytes| decode_delivery(id(), bytes));
    }

    let lane = Lane {
        source: SourceId::from("ip1"),
        provider: ProviderId::from("google"),
    };
    let open = OpenIntent {
        attempt: 4,
        at: at(9),
        lane: lane.clone(),
        host: "mx1.example.net".to_owned(),
    };
    let encode = |(fence, open): &(Fence, OpenIntent)| {
        encode_intent(&Intent {
            lease: LeaseRef {
                delivery: id(),
                fence: *fence,
            },
            attempt: open.attempt,
            lane: open.lane.clone(),
            host: open.host.clone(),
            at: open.at,
            charge: None,
        })
    };
    let intent = (Fence(3 << 40 | 5), open);
    check("intent", &intent, encode, |bytes| decode_intent(id(), bytes));
    let spent = Spent { day: 20_780, used: 300 };
    check("spent", &spent, encode_spent, |bytes| decode_spent(&lane, bytes));
    check("lane", &lane, encode_lane, |bytes| decode_lane(1, bytes));
    let ledger = Ledger {
        by_state: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1 << 40],
        waiting_by_class: [1, 2, 3],
        messages: 1000,
        sequence: 5000,
        lane: 7,
    };
    check("ledger", &ledger, encode_ledger, decode_ledger);
}

#[test]
fn events_of_all_kinds_are_kept_as_the_first_version_wrote_them() {
    let (until, host) = (at(1), "mx1.example.net".to_owned());
    let kinds = [
        EventKind::Accepted,
        EventKind::Scheduled { until },
        EventKind::Deferred {
            why: Why::Deferred(BounceClass::RateLimit),
            until,
            reply: Some(reply()),
        },
        EventKind::Delivered {
            reply: reply(),
            address: Some([192, 0, 2, 1].into()),
            tls: true,
            attempts: 2,
        },
        EventKind::Bounced {
            class: BounceClass::InvalidRecipient,
            reply: None,
        },
        EventKind::Expired {
            why: Some(Why::LaneFull),
        },
        EventKind::Suppressed,
        EventKind::Cancelled,
        EventKind::Ambiguous {
            next: Why::HeldAmbiguous,
            until,
            host,
        },
        EventKind::Unknown,
        EventKind::Quarantined,
    ];
    for kind in kinds {
        let event = Event {
            sequence: 12,
            delivery: id(),
            at: at(7),
            kind,
        };
        let name = format!("event_{}", event.kind.name());
        let encode = |event: &Event| encode_event(event.delivery.recipient, event.at, &event.kind);
        check(&name, &event, encode, |bytes| decode_event(ID, 12, bytes));
    }
}

#[test]
fn tenants_keys_and_domains_are_kept_as_the_first_version_wrote_them() {
    let tenant = Tenant {
        id: TENANT,
        name: "Shop".to_owned(),
        created_at: at(0),
    };
    check("tenant", &tenant, encode_tenant, |bytes| decode_tenant(TENANT, bytes));
    let key = ApiKey {
        hash: [5; 32],
        tenant: TENANT,
        name: "web".to_owned(),
        last4: "9xYz".to_owned(),
        created_at: at(0),
        revoked_at: Some(at(1)),
        scope: KeyScope::Send,
    };
    check("key", &key, encode_key, |bytes| decode_key([5; 32], bytes));
    let scope = KeyScope::Admin;
    let admin = ApiKey { scope, ..key };
    check("key_admin", &admin, encode_key, |bytes| decode_key([5; 32], bytes));
    let dkim = |selector: &str, algorithm| DkimKey {
        selector: selector.to_owned(),
        algorithm,
        private_der: vec![1, 2, 255],
        record: "v=DKIM1; p=abc".to_owned(),
    };
    let domain = SendingDomain {
        tenant: TENANT,
        name: "example.com".to_owned(),
        status: DomainStatus::Verified,
        return_path_subdomain: "bounce".to_owned(),
        dkim: vec![dkim("r1", DkimAlgorithm::Rsa2048), dkim("e1", DkimAlgorithm::Ed25519)],
        created_at: at(0),
        checked_at: None,
    };
    let decode = |bytes: &[u8]| decode_domain(TENANT, "example.com", bytes);
    check("domain", &domain, encode_domain, decode);
}

#[test]
fn all_other_records_are_kept_as_the_first_version_wrote_them() {
    let template = Template {
        id: TemplateId(Uuid::from_u128(9)),
        tenant: TENANT,
        alias: "welcome".to_owned(),
        version: 2,
        subject: "Hi {{name}}".to_owned(),
        html: Some("<b>{{name}}</b>".to_owned()),
        text: None,
        created_at: at(0),
    };
    let decode = |bytes: &[u8]| decode_template(template.id, 2, bytes);
    check("template", &template, encode_template, decode);
    let alias = (template.id, 2);
    check("alias", &alias, |(id, newest)| encode_alias(*id, *newest), decode_alias);
    let suppression = Suppression {
        tenant: TENANT,
        address: "a@example.org".to_owned(),
        stream: Some(Stream::Broadcast),
        reason: SuppressionReason::Complaint,
        created_at: at(0),
    };
    let decode = |bytes: &[u8]| decode_suppression(TENANT, "a@example.org", bytes);
    check("suppression", &suppression, encode_suppression, decode);
    let response = StoredResponse {
        request_hash: [9; 32],
        status: 202,
        body: b"{\"id\":1}".to_vec(),
        expires_at: at(9),
    };
    check("response", &response, encode_response, decode_response);
    let note = Note::new(NoteKind::Warmup, *b"key", [1, 0, 255], at(4)).expect("within bounds");
    let decode = |bytes: &[u8]| decode_note(NoteKind::Warmup, b"key", bytes);
    check("note", &note, encode_note, decode);
}

/// A record of a new kind needs golden bytes before anybody stores one.
#[test]
fn each_kind_of_record_has_golden_bytes() {
    let sources = [
        include_str!("admin.rs"),
        include_str!("delivery.rs"),
        include_str!("event.rs"),
        include_str!("ledger.rs"),
        include_str!("message.rs"),
        include_str!("note.rs"),
        include_str!("spent.rs"),
    ];
    let kinds = sources
        .iter()
        .flat_map(|source| source.split("pub(crate) fn encode_").skip(1));
    let kinds: Vec<&str> = kinds.filter_map(|rest| Some(rest.split_once('(')?.0)).collect();
    assert!(kinds.len() >= 13, "the search found only {kinds:?}");
    let golden = golden();
    for kind in kinds {
        let own = |name: &&str| *name == kind || name.strip_prefix(kind).is_some_and(|rest| rest.starts_with('_'));
        assert!(golden.keys().any(own), "{kind}");
    }
}
