//! Reputation over made-up days.

use super::samples::{cause, delivery, lane, settlement};
use super::*;
use crate::domain::{Class, Why};
use proptest::prelude::*;

const MINUTE: u64 = 60_000;

fn of(source: &str) -> Subject {
    Subject::Lane(lane(source))
}

fn wait() -> Next {
    Next::Wait {
        state: State::Deferred,
        due_at: Timestamp(9),
        why: Why::Deferred(BounceClass::RateLimit),
    }
}

/// What an answer says about our address, and about the tenant.
fn check(next: Next, cause: Option<Cause>, source: Option<Happening>, tenant: Option<Happening>) {
    let domain: Arc<str> = Arc::from("acme.test");
    let (delivery, lane) = (delivery(2, Class::Broadcast), lane("a"));
    let found = evidence(&delivery, &settlement(next), cause.as_ref(), Some(&lane), Some(&domain));
    let of_kind = |kind: &str| found.iter().find(|(one, _)| one.kind() == kind).map(|(_, what)| *what);
    for kind in ["source", "provider_source"] {
        assert_eq!(of_kind(kind), source, "{kind} of {cause:?}");
    }
    for kind in ["tenant", "tenant_stream", "tenant_domain"] {
        assert_eq!(of_kind(kind), tenant, "{kind} of {cause:?}");
    }
    let is_its_own = |(one, _): &(Subject, Happening)| one.tenant().is_none_or(|one| one == TenantId(2));
    assert!(found.iter().all(is_its_own));
}

fn bounced() -> Next {
    Next::Final(State::Bounced)
}

fn for_now(class: BounceClass, blame: Blame) -> Option<Cause> {
    Some(cause(class, blame, LaneAction::None))
}

#[test]
fn an_answer_about_our_address_counts_against_it_alone() {
    let stop = LaneAction::Stop(Duration::from_secs(600));
    let (good, blocked) = (Some(Happening::Delivered), Some(Happening::Blocked));
    check(Next::Final(State::Delivered), None, good, good);
    let stopped = cause(BounceClass::IpReputation, Blame::SourceIp, stop);
    check(wait(), Some(stopped), blocked, None);
    check(
        bounced(),
        for_now(BounceClass::IpReputation, Blame::Netblock),
        blocked,
        None,
    );
    let slowed = cause(BounceClass::RateLimit, Blame::SourceIp, LaneAction::Slow);
    check(wait(), Some(slowed), Some(Happening::Deferred), None);
}

#[test]
fn an_answer_about_the_tenant_counts_against_it_alone_and_others_against_nobody() {
    let (bad, blocked) = (Some(Happening::Bounced), Some(Happening::Blocked));
    check(
        bounced(),
        for_now(BounceClass::InvalidRecipient, Blame::Recipient),
        bad,
        bad,
    );
    check(
        bounced(),
        for_now(BounceClass::SpamContent, Blame::Message),
        None,
        blocked,
    );
    check(
        wait(),
        for_now(BounceClass::DomainReputation, Blame::TenantDomain),
        None,
        blocked,
    );
    check(wait(), for_now(BounceClass::MailboxFull, Blame::Mailbox), None, None);
    check(bounced(), for_now(BounceClass::MailboxFull, Blame::Mailbox), None, None);
    check(wait(), for_now(BounceClass::RateLimit, Blame::Provider), None, None);
    check(wait(), for_now(BounceClass::Network, Blame::Network), None, None);
    check(bounced(), for_now(BounceClass::Internal, Blame::Us), None, None);
    check(Next::Final(State::Expired), None, None, None);
    check(
        Next::Final(State::Unknown),
        for_now(BounceClass::Network, Blame::Network),
        None,
        None,
    );
}

#[test]
fn little_evidence_says_nothing() {
    let mut book = Book::default();
    for _ in 0..49 {
        book.count(&[(of("a"), Happening::Bounced)], Timestamp(1));
    }
    assert_eq!(book.tally(&of("a"), Timestamp(1)).unwrap().score(), None);
    book.count(&[(of("a"), Happening::Bounced)], Timestamp(1));
    assert_eq!(book.tally(&of("a"), Timestamp(1)).unwrap().score(), Some(0.0));
}

#[test]
fn counts_fade_by_half_in_their_half_lives_and_are_forgotten_in_the_end() {
    let mut book = Book::default();
    for _ in 0..100 {
        book.count(&[(of("a"), Happening::Delivered)], Timestamp(0));
    }
    let after = |minutes| book.tally(&of("a"), Timestamp(minutes * MINUTE)).unwrap().windows;
    assert!((after(60)[0].delivered - 50.0).abs() < 1e-6);
    assert!((after(24 * 60)[1].delivered - 50.0).abs() < 1e-6);
    let mut later = book.clone();
    assert_eq!(later.on_time(Timestamp(30 * 24 * 60 * MINUTE)), [of("a")]);
    assert_eq!(later.all(Timestamp(0)).count(), 0);
    book.on_time(Timestamp(24 * 60 * MINUTE));
    assert_eq!(book.all(Timestamp(0)).count(), 1);
}

#[test]
fn a_bad_hour_is_seen_in_spite_of_a_good_day() {
    let mut book = Book::default();
    for _ in 0..100_000 {
        book.count(&[(of("a"), Happening::Delivered)], Timestamp(0));
    }
    let noon = Timestamp(12 * 60 * MINUTE);
    for _ in 0..200 {
        book.count(&[(of("a"), Happening::Blocked)], noon);
    }
    let tally = book.tally(&of("a"), noon).unwrap();
    assert!(
        tally.windows[1].score().unwrap() > 0.9,
        "the day as a whole is good: {tally:?}"
    );
    assert!(tally.score().unwrap() < 0.1, "the hour is not: {tally:?}");
}

#[test]
fn a_blocked_source_is_avoided_and_used_again_when_its_name_is_good() {
    let mut book = Book::default();
    let mut now = Timestamp(MINUTE);
    let feed =
        |book: &mut Book, happening, count: usize, now| (0..count).any(|_| book.count(&[(of("a"), happening)], now));
    assert!(!feed(&mut book, Happening::Delivered, 100, now));
    assert!(feed(&mut book, Happening::Blocked, 30, now), "turned by blocks");
    assert_eq!(book.avoided().collect::<Vec<_>>(), [&lane("a")]);
    assert!(!feed(&mut book, Happening::Delivered, 5_000, now), "not a moment later");
    now = Timestamp(30 * MINUTE);
    assert!(feed(&mut book, Happening::Delivered, 1, now), "but after a while");
    assert_eq!(book.avoided().count(), 0);
}

#[test]
fn bad_addresses_of_a_tenant_show_in_the_score_of_a_source_and_move_nobodys_mail() {
    let mut book = Book::default();
    for _ in 0..500 {
        assert!(!book.count(&[(of("a"), Happening::Bounced)], Timestamp(1)));
    }
    assert_eq!(book.tally(&of("a"), Timestamp(1)).unwrap().score(), Some(0.0));
    assert_eq!(book.avoided().count(), 0);
}

#[test]
fn an_avoided_source_without_mail_is_forgiven_in_the_end() {
    let mut book = Book::default();
    for _ in 0..60 {
        book.count(&[(of("a"), Happening::Blocked)], Timestamp(1));
    }
    assert_eq!(book.avoided().count(), 1);
    book.on_time(Timestamp(MINUTE));
    assert_eq!(book.avoided().count(), 1);
    book.on_time(Timestamp(24 * 60 * MINUTE));
    assert_eq!(book.avoided().count(), 0, "fewer than the least evidence is left");
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => Just(Happening::Delivered),
        2 => Just(Happening::Deferred),
        2 => Just(Happening::Blocked),
        2 => Just(Happening::Bounced),
        1 => Just(Happening::Complained),
    ]
}

proptest! {
    /// I17: bounded, and worse answers never make a better score.
    #[test]
    fn the_score_is_bounded_and_falls_with_each_rate(
        counts in proptest::collection::vec(0.0_f64..10_000.0, 5),
        which in 0_usize..4,
        part in 0.0_f64..1.0,
    ) {
        let [delivered, deferred, blocked, bounced, complained] = counts[..] else { unreachable!() };
        let before = Counts { delivered, deferred, blocked, bounced, complained };
        // The same number of answers, some of them worse.
        let moved = delivered * part;
        let mut after = Counts { delivered: delivered - moved, ..before };
        match which {
            0 => after.deferred += moved,
            1 => after.blocked += moved,
            2 => after.bounced += moved,
            _ => after = Counts { complained: complained + moved, ..before },
        }
        let (before, after) = (before.score(), after.score());
        prop_assert_eq!(before.is_some(), after.is_some());
        if let (Some(before), Some(after)) = (before, after) {
            prop_assert!((0.0..=1.0).contains(&after));
            prop_assert!(after <= before + 1e-9, "{} after {}", after, before);
        }
    }

    /// How a tenant's mail is spread over nodes makes no difference.
    #[test]
    fn what_two_nodes_counted_adds_up_to_what_one_would_have(
        answers in proptest::collection::vec((happening(), 0_u64..600_000, any::<bool>()), 1..200),
    ) {
        let subject = Subject::Tenant(TenantId(1));
        let (mut all, mut parts) = (Book::default(), [Book::default(), Book::default()]);
        let mut now = Timestamp(1);
        for (happening, pause, which) in answers {
            now = now.plus(Duration::from_millis(pause));
            let told = [(subject.clone(), happening)];
            all.count(&told, now);
            parts[usize::from(which)].count(&told, now);
        }
        let [one, two] = parts.map(|part| part.tally(&subject, now).unwrap_or_default());
        let (sum, expect) = (one.plus(&two, now), all.tally(&subject, now).unwrap_or_default());
        prop_assert_eq!(sum, two.plus(&one, now));
        for (window, expect) in sum.windows.iter().zip(&expect.windows) {
            let (rate, expected) = (window.bounce_rate(), expect.bounce_rate());
            prop_assert!((window.sent() - expect.sent()).abs() < 1e-6 && (rate - expected).abs() < 1e-9);
        }
    }

    /// I17: whatever a provider says, a lane does not flap, and only evidence or time moves it.
    #[test]
    fn no_lane_turns_more_than_six_times_an_hour(
        answers in proptest::collection::vec((happening(), 1_u64..20_000, 1_usize..60), 1..300),
    ) {
        let mut book = Book::default();
        let mut now = Timestamp(1);
        let mut turns: Vec<Timestamp> = Vec::new();
        for (happening, pause, count) in answers {
            now = now.plus(Duration::from_millis(pause));
            for _ in 0..count {
                if book.count(&[(of("a"), happening)], now) {
                    turns.push(now);
                }
            }
            let before = book.avoided().count();
            book.on_time(now);
            if book.avoided().count() != before {
                turns.push(now);
            }
        }
        for window in turns.windows(7) {
            prop_assert!(window[6].since(window[0]) > Duration::from_secs(3_600), "{:?}", turns);
        }
    }

    /// I17: a poisoned tenant changes nothing for another one.
    #[test]
    fn what_one_tenant_does_changes_no_others_score(
        answers in proptest::collection::vec((1_u32..4, happening()), 1..400),
    ) {
        let run = |with: &dyn Fn(u32) -> bool| {
            let mut book = Book::default();
            for (tenant, happening) in answers.iter().filter(|(tenant, _)| with(*tenant)) {
                let told: Vec<_> = of_tenant(TenantId(*tenant), Stream::Broadcast, None, *happening).collect();
                book.count(&told, Timestamp(1));
            }
            book
        };
        let (all, alone) = (run(&|_| true), run(&|tenant| tenant == 1));
        for subject in [Subject::Tenant(TenantId(1)), Subject::Stream(TenantId(1), Stream::Broadcast)] {
            prop_assert_eq!(all.tally(&subject, Timestamp(1)), alone.tally(&subject, Timestamp(1)));
        }
    }
}
