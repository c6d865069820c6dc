//! Made-up ledgers: each thing that must not happen is seen, and what may happen is not held against anybody.

use super::super::account::MailAsked;
use super::*;

const ID: &str = "0193f0b2-0000-7000-8000-000000000001";
const OTHER: &str = "0193f0b2-0000-7000-8000-000000000002";
const ADDRESS: &str = "c0m0r0@keeps.test";

fn message_id(id: &str) -> String {
    format!("<{}.0@chaos.test>", id.replace('-', ""))
}

fn call(class: Class, outcome: Outcome) -> CallAsked {
    CallAsked {
        mails: vec![MailAsked {
            class,
            recipients: vec![ADDRESS.to_owned()],
            not_before_ms: 5_000,
        }],
        outcome,
    }
}

fn accepted() -> Outcome {
    Outcome::Accepted(vec![ID.to_owned()])
}

fn copy(recipient: &str, id: &str) -> JournalLine {
    JournalLine {
        provider: "keeps".to_owned(),
        sender: "shop@chaos.test".to_owned(),
        recipient: recipient.to_owned(),
        message_id: Some(message_id(id)),
        at_ms: 6_000,
        size_bytes: 10,
        content_hash: 0,
    }
}

fn copies(count: usize) -> Vec<JournalLine> {
    (0..count).map(|_| copy(ADDRESS, ID)).collect()
}

fn end(state: &str, ambiguous: u64) -> End {
    End {
        address: ADDRESS.to_owned(),
        message_id: message_id(ID),
        state: state.to_owned(),
        ambiguous,
        ends_told: u64::from(is_final(state)),
        ambiguous_told: ambiguous,
    }
}

fn ends(end: End) -> Ends {
    Ends::from([(ID.to_owned(), Some(vec![end]))])
}

fn check(call: CallAsked, copies: &[JournalLine], ends: &Ends, expect: &[(&'static str, u64)]) -> Tally {
    let tally = judge(&[call], copies, ends, 0);
    assert_eq!(tally.wrong(), expect, "{tally:#?}");
    assert_eq!(tally.copies, copies.len() as u64);
    assert_eq!(expect.is_empty(), tally.examples.is_empty(), "what is wrong is shown");
    tally
}

#[test]
fn what_may_happen_is_not_held_against_anybody() {
    let table = [
        (Class::Transactional, "delivered", 0, 1),
        (Class::Transactional, "delivered", 1, 2),
        (Class::Transactional, "delivered", 1, 1),
        (Class::Critical, "delivered", 2, 3),
        (Class::Critical, "expired", 1, 1),
        (Class::Critical, "expired", 0, 0),
        (Class::Broadcast, "unknown", 1, 0),
        (Class::Broadcast, "unknown", 1, 1),
        (Class::Broadcast, "bounced", 0, 0),
    ];
    for (class, state, ambiguous, count) in table {
        let tally = check(
            call(class, accepted()),
            &copies(count),
            &ends(end(state, ambiguous)),
            &[],
        );
        assert_eq!((tally.accepted, tally.verdicts, tally.ambiguous), (1, 1, ambiguous));
        assert_eq!(tally.duplicates, (count as u64).saturating_sub(1));
    }
}

#[test]
fn an_accepted_mail_is_lost_when_nobody_has_it() {
    let transactional = || call(Class::Transactional, accepted());
    check(transactional(), &[], &ends(end("delivered", 0)), &[("lost", 1)]);
    check(
        transactional(),
        &[],
        &Ends::from([(ID.to_owned(), None)]),
        &[("lost", 1)],
    );
    check(transactional(), &[], &Ends::new(), &[("lost", 1)]);
    let stuck = [("lost", 1), ("unsettled", 1)];
    check(transactional(), &[], &ends(end("deferred", 0)), &stuck);
    let waits = judge(&[transactional()], &[], &ends(end("deferred", 0)), 3);
    assert_eq!(
        (waits.lost, waits.unsettled),
        (0, 1),
        "what is in the queue is late, not lost"
    );
}

#[test]
fn a_second_copy_needs_an_ambiguous_attempt_before_it() {
    let transactional = || call(Class::Transactional, accepted());
    let unknown = |count| [("unknown_duplicates", count)];
    check(transactional(), &copies(2), &ends(end("delivered", 0)), &unknown(1));
    check(transactional(), &copies(4), &ends(end("delivered", 1)), &unknown(2));
    let unanswered = call(Class::Critical, Outcome::Unanswered);
    check(unanswered, &copies(2), &ends(end("delivered", 0)), &unknown(1));
}

#[test]
fn mail_that_is_held_when_in_doubt_never_comes_twice() {
    let broadcast = call(Class::Broadcast, accepted());
    check(
        broadcast,
        &copies(2),
        &ends(end("delivered", 1)),
        &[("hold_duplicates", 1)],
    );
}

#[test]
fn a_copy_that_nobody_asked_for_is_a_phantom() {
    let (none, phantom) = (ends(end("suppressed", 0)), [("phantoms", 1)]);
    let transactional = |outcome| call(Class::Transactional, outcome);
    check(transactional(accepted()), &[copy("x@keeps.test", ID)], &none, &phantom);
    check(
        transactional(accepted()),
        &[copy("c9m0r0@keeps.test", ID)],
        &none,
        &phantom,
    );
    check(transactional(accepted()), &[copy(ADDRESS, OTHER)], &none, &phantom);
    check(transactional(Outcome::Refused), &copies(1), &Ends::new(), &phantom);
    check(transactional(Outcome::Unanswered), &copies(1), &Ends::new(), &phantom);
    check(
        transactional(Outcome::Unanswered),
        &copies(1),
        &ends(end("delivered", 0)),
        &[],
    );
}

#[test]
fn a_verdict_a_story_and_a_time_that_do_not_fit_are_seen() {
    let transactional = || call(Class::Transactional, accepted());
    check(
        transactional(),
        &copies(1),
        &ends(end("bounced", 0)),
        &[("contradicted", 1)],
    );
    let told_twice = End {
        ends_told: 2,
        ..end("delivered", 0)
    };
    check(transactional(), &copies(1), &ends(told_twice), &[("untold", 1)]);
    let untold = End {
        ambiguous_told: 0,
        ..end("delivered", 1)
    };
    check(transactional(), &copies(1), &ends(untold), &[("untold", 1)]);
    let early = JournalLine {
        at_ms: 4_000,
        ..copy(ADDRESS, ID)
    };
    check(transactional(), &[early], &ends(end("delivered", 0)), &[("early", 1)]);
}

#[test]
fn ids_of_unanswered_calls_are_found_in_their_copies() {
    let unanswered = [call(Class::Critical, Outcome::Unanswered)];
    let answered = [call(Class::Critical, accepted())];
    let held = [copy(ADDRESS, ID), copy(ADDRESS, ID), copy("x@y.test", OTHER)];
    let found = |calls: &[CallAsked]| ids_of_unanswered(calls, &held).into_iter().collect::<Vec<_>>();
    assert_eq!(found(&unanswered), [ID]);
    assert!(found(&answered).is_empty());
}
