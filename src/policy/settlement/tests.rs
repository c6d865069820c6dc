//! Tests of settlement: every way an attempt or a wait ends, and a delivery's days.

use super::*;
use crate::domain::{
    Blame, Cause, Class, DeliveryId, Lane, LaneAction, MessageId, ProviderId, Reply, SourceId, TenantId,
};

const NOW: Timestamp = Timestamp(1_000_000);

fn delivery(class: Class) -> Delivery {
    Delivery {
        id: DeliveryId {
            message: MessageId(uuid::Uuid::nil()),
            recipient: 0,
        },
        tenant: TenantId(1),
        class,
        address: "a@example.com".to_owned(),
        state: State::Queued,
        created_at: Timestamp(0),
        due_at: Timestamp(0),
        expires_at: Timestamp(3_600_000_000),
        attempts: 0,
        ambiguous: 0,
        panics: 0,
        source: None,
        why: None,
        last_reply: None,
        bounce: None,
        updated_at: Timestamp(0),
    }
}

fn attempt(stage: Stage, outcome: AttemptOutcome) -> Attempt {
    Attempt {
        delivery: delivery(Class::Transactional).id,
        fence: Fence(7),
        number: 1,
        lane: Some(Lane {
            source: SourceId::from("a"),
            provider: ProviderId::from("google"),
        }),
        host: "mx.example.com".to_owned(),
        address: None,
        tls: false,
        started_at: NOW,
        ended_at: NOW,
        stage,
        outcome,
    }
}

fn refused(text: &str) -> Attempt {
    attempt(
        Stage::RcptTo,
        AttemptOutcome::Refused(Reply {
            code: 450,
            enhanced: None,
            text: text.to_owned(),
            odd: false,
        }),
    )
}

fn cause(class: BounceClass) -> Cause {
    Cause {
        class,
        blame: Blame::Provider,
        action: LaneAction::None,
        rule: "test".into(),
    }
}

fn retry_verdict(class: BounceClass, counts: bool) -> Verdict {
    Verdict::Retry {
        cause: cause(class),
        after: None,
        counts,
    }
}

fn settled(delivery: &Delivery, attempt: &Attempt, verdict: Verdict) -> Settlement {
    settle(delivery, attempt, verdict, &SettlementSettings::default(), NOW, 1)
}

#[test]
fn each_verdict_has_one_move_with_its_event() {
    let mail = delivery(Class::Transactional);
    let table = [
        (Verdict::Delivered, "delivered", 1),
        (retry_verdict(BounceClass::Greylisted, true), "deferred", 1),
        (retry_verdict(BounceClass::Network, false), "deferred", 0),
        (
            Verdict::Bounce {
                cause: cause(BounceClass::InvalidRecipient),
                suppress: true,
            },
            "bounced",
            1,
        ),
        (
            Verdict::Ambiguous {
                cause: cause(BounceClass::Network),
            },
            "ambiguous",
            1,
        ),
    ];
    for (verdict, event, attempts) in table {
        let settlement = settled(&mail, &refused("no"), verdict);
        let names: Vec<_> = settlement.events.iter().map(EventKind::name).collect();
        assert_eq!((names, settlement.attempts), (vec![event], attempts));
        assert_eq!(settlement.fence, Fence(7));
        assert_eq!(settlement.source, Some(SourceId::from("a")), "a retry keeps its source");
        assert_eq!(settlement.suppress.is_some(), event == "bounced");
    }
}

#[test]
fn codes_and_receipts_are_resent_and_newsletters_are_held_when_the_reply_is_lost() {
    let lost = attempt(Stage::Dot, AttemptOutcome::Failed(Failure::ConnectionLost));
    let next = |class| {
        settled(
            &delivery(class),
            &lost,
            Verdict::Ambiguous {
                cause: cause(BounceClass::Network),
            },
        )
        .next
    };
    let Next::Wait {
        due_at,
        why: Why::ResendAmbiguous,
        ..
    } = next(Class::Critical)
    else {
        panic!("resent")
    };
    assert!(due_at.since(NOW) <= CODE_RESEND_MAX);
    assert!(matches!(
        next(Class::Transactional),
        Next::Wait {
            state: State::Deferred,
            why: Why::ResendAmbiguous,
            ..
        }
    ));
    let held = Next::Wait {
        state: State::Held,
        due_at: NOW.plus(Duration::from_secs(86_400)),
        why: Why::HeldAmbiguous,
    };
    assert_eq!(next(Class::Broadcast), held);
}

#[test]
fn an_open_intent_is_ambiguous_and_a_held_one_ends_as_unknown() {
    let settings = SettlementSettings::default();
    let Waiting::Settle(found) = waiting(&delivery(Class::Transactional), Fence(9), Some("mx"), &settings, NOW) else {
        panic!()
    };
    assert_eq!(
        (found.ambiguous, found.attempts, found.events[0].name()),
        (1, 1, "ambiguous")
    );
    let held = Delivery {
        state: State::Held,
        ..delivery(Class::Broadcast)
    };
    let Waiting::Settle(ended) = waiting(&held, Fence(9), None, &settings, NOW) else {
        panic!()
    };
    assert_eq!(ended.next, Next::Final(State::Unknown));
    assert_eq!(
        waiting(&delivery(Class::Critical), Fence(9), None, &settings, NOW),
        Waiting::Attempt
    );
}

#[test]
fn nothing_is_tried_or_resent_after_its_end() {
    let short = Delivery {
        expires_at: NOW.plus(Duration::from_secs(10)),
        ..delivery(Class::Transactional)
    };
    let settlement = settled(&short, &refused("later"), retry_verdict(BounceClass::Capacity, true));
    assert_eq!(settlement.next, Next::Final(State::Expired));
    let lost = attempt(Stage::Dot, AttemptOutcome::Failed(Failure::Timeout));
    let settlement = settled(
        &short,
        &lost,
        Verdict::Ambiguous {
            cause: cause(BounceClass::Network),
        },
    );
    let names: Vec<_> = settlement.events.iter().map(EventKind::name).collect();
    assert_eq!(
        (settlement.next, names),
        (Next::Final(State::Expired), vec!["ambiguous", "expired"])
    );
    let late = waiting(&short, Fence(1), None, &SettlementSettings::default(), short.expires_at);
    assert!(matches!(
        late,
        Waiting::Settle(Settlement {
            next: Next::Final(State::Expired),
            ..
        })
    ));
}

#[test]
fn the_third_panic_puts_it_aside_and_none_bounces_it() {
    let settings = SettlementSettings::default();
    let twice = Delivery {
        panics: 2,
        ..delivery(Class::Transactional)
    };
    let first = panicked(&delivery(Class::Transactional), Fence(1), &settings, NOW);
    assert!(matches!(
        first.next,
        Next::Wait {
            state: State::Deferred,
            ..
        }
    ));
    let third = panicked(&twice, Fence(1), &settings, NOW);
    assert!(matches!(
        third.next,
        Next::Wait {
            state: State::Quarantined,
            due_at: Timestamp::NEVER,
            ..
        }
    ));
}

#[test]
fn hosts_without_an_address_are_given_up_after_a_day() {
    let nowhere = attempt(
        Stage::Resolve,
        AttemptOutcome::Failed(Failure::Dns(DnsFailure::NoAddress)),
    );
    let verdict = || retry_verdict(BounceClass::Dns, false);
    assert!(matches!(
        settled(&delivery(Class::Transactional), &nowhere, verdict()).next,
        Next::Wait { .. }
    ));
    let later = Timestamp(25 * 3_600_000);
    let scheduled = settle(
        &delivery(Class::Transactional),
        &nowhere,
        verdict(),
        &SettlementSettings::default(),
        later,
        1,
    );
    assert!(
        matches!(scheduled.next, Next::Wait { .. }),
        "the first failure is never the last"
    );
    let tried = Delivery {
        last_reply: scheduled.reply,
        ..delivery(Class::Transactional)
    };
    let settlement = settle(&tried, &nowhere, verdict(), &SettlementSettings::default(), later, 1);
    assert_eq!(
        (settlement.next, settlement.bounce),
        (Next::Final(State::Bounced), Some(BounceClass::BadDomain))
    );
}

#[test]
fn a_long_reply_is_cut_at_a_character() {
    let reply = settled(
        &delivery(Class::Transactional),
        &refused(&"ü".repeat(600)),
        Verdict::Delivered,
    )
    .reply;
    assert_eq!(reply.map(|reply| reply.text.len()), Some(512));
}
