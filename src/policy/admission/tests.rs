//! Tests of admission: who may send what, and every reason why not.

use super::*;
use crate::domain::{Mailbox, Recipient, Role, Variables};

const NOW: Timestamp = Timestamp(1_763_895_723_000);
const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

fn submission() -> Submission {
    let recipient = |address: &str| Recipient {
        mailbox: Mailbox {
            name: None,
            address: address.into(),
        },
        role: Role::To,
        variables: None,
    };
    Submission {
        from: Mailbox {
            name: Some("Acme".into()),
            address: "no-reply@acme.com".into(),
        },
        recipients: vec![recipient("a@example.com"), recipient("b@example.com")],
        reply_to: Vec::new(),
        content: SubmittedContent::Inline {
            subject: "Hi".into(),
            html: None,
            text: Some("Hello".into()),
        },
        attachments: Vec::new(),
        headers: Vec::new(),
        tags: Vec::new(),
        metadata: Vec::new(),
        class: None,
        stream: None,
        scheduled_at: None,
        expires_at: None,
    }
}

fn facts() -> Facts {
    Facts {
        domain: Some(DomainStatus::Verified),
        suppressed: vec![false, false],
        pinned: None,
        subject: "Hi".into(),
    }
}

fn run(submission: Submission, facts: Facts) -> Result<Admitted, Vec<Problem>> {
    let arrival = Arrival {
        id: MessageId(uuid::Uuid::from_u128(7)),
        tenant: TenantId(3),
        now: NOW,
    };
    admit(submission, facts, arrival, &AdmissionSettings::default())
}

/// What is wrong, as pairs of pointer and code.
fn refusals(submission: Submission, facts: Facts) -> Vec<(String, &'static str)> {
    let problems = run(submission, facts).expect_err("refused");
    problems
        .into_iter()
        .map(|problem| (problem.pointer, problem.code))
        .collect()
}

#[test]
fn a_plain_mail_becomes_one_queued_delivery_a_recipient() {
    let admitted = run(submission(), facts()).expect("accepted");
    assert_eq!(admitted.message.class, Class::Transactional);
    assert_eq!(admitted.message.expires_at, Timestamp(NOW.0 + 5 * DAY));
    let states: Vec<_> = admitted
        .deliveries
        .iter()
        .map(|one| (one.id.recipient, one.state, one.due_at, one.why))
        .collect();
    assert_eq!(
        states,
        [
            (0, State::Queued, NOW, Some(Why::Queued)),
            (1, State::Queued, NOW, Some(Why::Queued))
        ]
    );
    assert!(admitted.events.iter().all(|event| event.kind == EventKind::Accepted));
    assert_eq!(admitted.events.len(), 2);
}

#[test]
fn the_class_follows_what_the_caller_says_of_class_and_stream() {
    use Class::{Broadcast, Critical, Transactional};
    let table = [
        (None, None, Some(Transactional)),
        (None, Some(Stream::Transactional), Some(Transactional)),
        (None, Some(Stream::Broadcast), Some(Broadcast)),
        (Some(Critical), None, Some(Critical)),
        (Some(Broadcast), None, Some(Broadcast)),
        (Some(Critical), Some(Stream::Transactional), Some(Critical)),
        (Some(Broadcast), Some(Stream::Broadcast), Some(Broadcast)),
        (Some(Critical), Some(Stream::Broadcast), None),
        (Some(Transactional), Some(Stream::Broadcast), None),
        (Some(Broadcast), Some(Stream::Transactional), None),
    ];
    for (class, stream, expect) in table {
        let asked = Submission {
            class,
            stream,
            ..submission()
        };
        assert_eq!(class_of(&asked).ok(), expect, "{class:?} {stream:?}");
        if expect.is_none() {
            assert_eq!(refusals(asked, facts()), [("/class".to_owned(), "conflict")]);
        }
    }
}

#[test]
fn life_depends_on_class_and_begins_when_the_mail_may_go() {
    let table = [
        (Class::Critical, None, 15 * MINUTE),
        (Class::Transactional, None, 5 * DAY),
        (Class::Broadcast, None, 3 * DAY),
        (Class::Critical, Some(DAY), DAY + 15 * MINUTE),
        (Class::Broadcast, Some(30 * DAY), 33 * DAY),
    ];
    for (class, ahead, expect) in table {
        let asked = Submission {
            class: Some(class),
            scheduled_at: ahead.map(|ahead| Timestamp(NOW.0 + ahead)),
            ..submission()
        };
        let admitted = run(asked, facts()).expect("accepted");
        assert_eq!(admitted.message.expires_at.0 - NOW.0, expect, "{class} {ahead:?}");
    }
}

#[test]
fn a_scheduled_mail_waits_and_says_so() {
    let at = Timestamp(NOW.0 + DAY);
    let asked = Submission {
        scheduled_at: Some(at),
        ..submission()
    };
    let admitted = run(asked, facts()).expect("accepted");
    let first = &admitted.deliveries[0];
    assert_eq!(
        (first.state, first.due_at, first.why),
        (State::Scheduled, at, Some(Why::NotDue))
    );
    assert_eq!(admitted.events[0].kind, EventKind::Scheduled { until: at });
    assert_eq!(admitted.events.len(), 2, "one event a transition");
    // A time just passed means now.
    let asked = Submission {
        scheduled_at: Some(Timestamp(NOW.0 - MINUTE)),
        ..submission()
    };
    let admitted = run(asked, facts()).expect("accepted");
    assert_eq!(
        (admitted.message.scheduled_at, admitted.deliveries[0].state),
        (None, State::Queued)
    );
}

#[test]
fn times_out_of_range_are_refused_by_name() {
    let at = |offset: i64| NOW.0.checked_add_signed(offset).map(Timestamp);
    let day = i64::try_from(DAY).expect("small");
    let table = [
        (at(31 * day), None, vec!["/scheduled_at"]),
        (at(-day), None, vec!["/scheduled_at"]),
        (None, at(-1), vec!["/expires_at"]),
        (None, at(0), vec!["/expires_at"]),
        (at(2 * day), at(day), vec!["/expires_at"]),
        (None, at(8 * day), vec!["/expires_at"]),
        (at(2 * day), at(8 * day), vec![]),
        (at(-day), at(-1), vec!["/scheduled_at", "/expires_at"]),
    ];
    for (scheduled_at, expires_at, expect) in table {
        let asked = Submission {
            scheduled_at,
            expires_at,
            ..submission()
        };
        let found = match run(asked, facts()) {
            Ok(_) => Vec::new(),
            Err(problems) => problems,
        };
        assert!(found.iter().all(|problem| problem.code == "out_of_range"));
        let pointers: Vec<_> = found.iter().map(|problem| problem.pointer.as_str()).collect();
        assert_eq!(pointers, expect, "{scheduled_at:?} {expires_at:?}");
    }
}

#[test]
fn only_a_verified_domain_may_send() {
    for status in [None, Some(DomainStatus::Pending), Some(DomainStatus::Failed)] {
        let facts = Facts {
            domain: status,
            ..facts()
        };
        assert_eq!(
            refusals(submission(), facts),
            [("/from".to_owned(), "domain_not_verified")],
            "{status:?}"
        );
    }
}

#[test]
fn a_suppressed_recipient_ends_at_once_and_is_told() {
    let facts = Facts {
        suppressed: vec![false, true],
        ..facts()
    };
    let scheduled = Submission {
        scheduled_at: Some(Timestamp(NOW.0 + DAY)),
        ..submission()
    };
    for (asked, other) in [(submission(), State::Queued), (scheduled, State::Scheduled)] {
        let admitted = run(asked, facts.clone()).expect("accepted");
        let states: Vec<_> = admitted.deliveries.iter().map(|one| one.state).collect();
        assert_eq!(states, [other, State::Suppressed]);
        let told = admitted.events.iter().filter(|event| event.delivery.recipient == 1);
        let told: Vec<_> = told.map(|event| event.kind.name()).collect();
        assert_eq!(told, ["accepted", "suppressed"]);
    }
}

#[test]
fn content_is_pinned_to_the_version_that_was_found() {
    let by_template = || Submission {
        content: SubmittedContent::Template {
            reference: "welcome".into(),
            version: None,
            subject: None,
            variables: Variables::new(),
        },
        ..submission()
    };
    let id = TemplateId(uuid::Uuid::from_u128(9));
    let pinned = |pinned| Facts { pinned, ..facts() };
    let stored = run(by_template(), pinned(Some(Pinned::Stored { id, version: 4 }))).expect("accepted");
    assert!(matches!(stored.body.content, Content::Template { version: 4, id: found, .. } if found == id));
    let name = "verification-code".to_owned();
    let built_in = run(by_template(), pinned(Some(Pinned::BuiltIn { name }))).expect("accepted");
    assert!(matches!(built_in.body.content, Content::BuiltIn { ref name, .. } if name == "verification-code"));
    assert_eq!(
        refusals(by_template(), pinned(None)),
        [("/template".to_owned(), "template_not_found")]
    );
}

#[test]
fn everything_that_stands_against_a_mail_is_said_at_once() {
    let asked = Submission {
        class: Some(Class::Critical),
        stream: Some(Stream::Broadcast),
        expires_at: Some(Timestamp(1)),
        ..submission()
    };
    let facts = Facts {
        domain: None,
        ..facts()
    };
    let pointers: Vec<_> = refusals(asked, facts).into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!(pointers, ["/from", "/class", "/expires_at"]);
}
