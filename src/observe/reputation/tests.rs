//! The standing of tenants from what is settled, over made-up times.

use super::*;
use crate::domain::{BounceClass, Why};
use crate::policy::reputation::samples::{cause, delivery, lane, settlement};

/// So many of the tenant's mails end so.
fn tell(
    reputation: &Reputation,
    tenant: u32,
    class: Class,
    bounced: bool,
    count: usize,
    now: Timestamp,
) -> Vec<Change> {
    let delivery = delivery(tenant, class);
    let state = if bounced { State::Bounced } else { State::Delivered };
    let settlement = settlement(Next::Final(state));
    let unknown = cause(BounceClass::InvalidRecipient, Blame::Recipient, LaneAction::None);
    let lane = lane("a");
    let told = Told {
        delivery: &delivery,
        settlement: &settlement,
        cause: bounced.then_some(&unknown),
        lane: Some(&lane),
        domain: None,
    };
    reputation.settled(std::iter::repeat_n(told, count), now)
}

#[test]
fn one_bad_list_is_paused_and_nobody_else_is() {
    let reputation = Reputation::default();
    assert_eq!(tell(&reputation, 2, Class::Broadcast, false, 500, Timestamp(1)), []);
    assert_eq!(tell(&reputation, 3, Class::Broadcast, false, 150, Timestamp(2)), []);
    let changes = tell(&reputation, 3, Class::Broadcast, true, 60, Timestamp(3));
    let grades: Vec<Grade> = changes.iter().map(|change| change.standing.grade).collect();
    assert_eq!(grades, [Grade::Paused], "{changes:?}");
    let grade = |tenant, class| reputation.grade(TenantId(tenant), class).0;
    assert_eq!(grade(3, Class::Broadcast), Grade::Paused);
    assert_eq!(grade(3, Class::Transactional), Grade::Free);
    assert_eq!(grade(3, Class::Critical), Grade::Free);
    assert_eq!(grade(2, Class::Broadcast), Grade::Free);
}

#[test]
fn who_was_delivered_to_is_engaged_until_the_mailbox_is_gone() {
    let reputation = Reputation::default();
    let newsletter = delivery(2, Class::Broadcast);
    assert!(!reputation.is_engaged(&newsletter));
    tell(&reputation, 2, Class::Critical, false, 1, Timestamp(1));
    assert!(reputation.is_engaged(&newsletter), "whatever was taken");
    assert!(
        !reputation.is_engaged(&delivery(3, Class::Broadcast)),
        "with nobody else"
    );
    tell(&reputation, 2, Class::Broadcast, true, 1, Timestamp(2));
    assert!(!reputation.is_engaged(&newsletter));
    reputation.note_interest(newsletter.tenant, &newsletter.address, Interest::Took);
    assert!(reputation.is_engaged(&newsletter), "an open, say");
    reputation.configure(TenantSettings {
        engaged_max: 0,
        ..TenantSettings::default()
    });
    assert!(!reputation.is_engaged(&newsletter), "nobody may be kept");
}

#[test]
fn a_strict_tenant_keeps_its_codes_alone() {
    let mut settings = TenantSettings::default();
    let one = OneTenant {
        policy: Some(Policy::Strict),
        ..OneTenant::default()
    };
    settings.each.insert(TenantId(3), one);
    let reputation = Reputation::new(settings);
    tell(&reputation, 3, Class::Broadcast, true, 300, Timestamp(3));
    let grades = Class::ALL.map(|class| reputation.grade(TenantId(3), class).0);
    assert_eq!(grades, [Grade::Free, Grade::Paused, Grade::Paused]);
}

#[test]
fn who_is_resumed_is_counted_anew() {
    let reputation = Reputation::default();
    tell(&reputation, 3, Class::Broadcast, true, 300, Timestamp(3));
    let (tenant, stream) = (TenantId(3), Stream::Broadcast);
    reputation.set_by_hand(
        tenant,
        stream,
        Grade::Free,
        "the list was cleaned".to_owned(),
        Timestamp(4),
    );
    assert_eq!(reputation.grade(tenant, Class::Broadcast).0, Grade::Free);
    assert_eq!(
        tell(&reputation, 3, Class::Broadcast, true, 100, Timestamp(5)),
        [],
        "too few yet"
    );
    assert_eq!(tell(&reputation, 3, Class::Broadcast, true, 110, Timestamp(6)).len(), 1);
    let reasons: Vec<String> = reputation.standings()[0]
        .2
        .iter()
        .map(|one| one.reason.clone())
        .collect();
    assert_eq!(reasons.len(), 3);
    assert_eq!(reasons[1], "the list was cleaned");
}

#[test]
fn pauses_of_other_nodes_are_taken_over_and_own_later_ones_win() {
    let (one, two) = (Reputation::default(), Reputation::default());
    let (tenant, stream) = (TenantId(3), Stream::Broadcast);
    one.set_by_hand(tenant, stream, Grade::Paused, "stop".to_owned(), Timestamp(10));
    let saved = one.take_unsaved_standings(10);
    assert_eq!(saved.len(), 1);
    assert!(one.take_unsaved_standings(10).is_empty());
    two.adopt(tenant, stream, saved[0].2.clone());
    assert_eq!(two.grade(tenant, Class::Broadcast).0, Grade::Paused);
    two.set_by_hand(tenant, stream, Grade::Free, "go on".to_owned(), Timestamp(20));
    two.adopt(tenant, stream, saved[0].2.clone());
    assert_eq!(
        two.grade(tenant, Class::Broadcast).0,
        Grade::Free,
        "an older note changes nothing"
    );
}

#[test]
fn what_is_counted_is_saved_once_and_comes_back() {
    let reputation = Reputation::default();
    tell(&reputation, 3, Class::Broadcast, false, 80, Timestamp(3));
    let mut saved = reputation.take_unsaved(2, Timestamp(3));
    saved.extend(reputation.take_unsaved(100, Timestamp(3)));
    assert_eq!(saved.len(), 4, "source, lane, tenant and stream");
    assert!(reputation.take_unsaved(100, Timestamp(3)).is_empty());
    let restarted = Reputation::default();
    let known = saved.into_iter().filter_map(|(subject, tally)| Some((subject, tally?)));
    restarted.restore(known.collect());
    assert_eq!(restarted.all(Timestamp(9)), reputation.all(Timestamp(9)));
}

#[test]
fn a_lane_is_blocked_for_our_address_until_something_is_delivered_there() {
    let reputation = Reputation::default();
    let delivery = delivery(1, Class::Transactional);
    let (lane, stop) = (lane("a"), LaneAction::Stop(Duration::from_secs(600)));
    let wait = settlement(Next::Wait {
        state: State::Deferred,
        due_at: Timestamp(9),
        why: Why::Deferred(BounceClass::IpReputation),
    });
    let check = |next: &Settlement, cause: Option<Cause>, expect: Option<bool>| {
        let told = Told {
            delivery: &delivery,
            settlement: next,
            cause: cause.as_ref(),
            lane: Some(&lane),
            domain: None,
        };
        reputation.settled([told], Timestamp(5));
        let found = reputation.blocked(&lane).map(|blocked| blocked.netblock);
        assert_eq!(found, expect, "{cause:?}");
    };
    let of = |blame, action| Some(cause(BounceClass::IpReputation, blame, action));
    check(&wait, of(Blame::Provider, stop), None);
    check(&wait, of(Blame::TenantDomain, stop), None);
    check(&wait, of(Blame::SourceIp, LaneAction::Slow), None);
    check(&wait, of(Blame::SourceIp, stop), Some(false));
    check(&wait, of(Blame::Netblock, stop), Some(true));
    check(&settlement(Next::Final(State::Delivered)), None, None);
    check(&wait, of(Blame::SourceIp, stop), Some(false));
    reputation.on_time(Timestamp(5).plus(BLOCK_LONGEST));
    assert_eq!(reputation.blocked(&lane), None);
}

/// What a node tells the others of tenants.
fn told_by(reputation: &Reputation, now: Timestamp) -> BTreeMap<Subject, Vec<Counted>> {
    let all = reputation.take_unsaved(100, now).into_iter();
    let of_tenants = all.filter(|(subject, _)| matches!(subject, Subject::Tenant(_) | Subject::Stream(..)));
    of_tenants
        .filter_map(|(subject, tally)| {
            let since = reputation.counted_since(&subject);
            Some((subject, vec![Counted { tally: tally?, since }]))
        })
        .collect()
}

#[test]
fn a_list_that_is_spread_over_nodes_is_judged_as_one() {
    let (one, two, idle) = (Reputation::default(), Reputation::default(), Reputation::default());
    for node in [&one, &two] {
        assert_eq!(
            tell(node, 3, Class::Broadcast, true, 130, Timestamp(3)),
            [],
            "too few alone"
        );
    }
    let (of_one, of_two) = (told_by(&one, Timestamp(4)), told_by(&two, Timestamp(4)));
    assert_eq!(
        idle.hear(of_one.clone(), 3, Timestamp(5)),
        [],
        "it sends none of that mail"
    );
    for (node, told) in [(&one, of_two), (&two, of_one)] {
        let changes = node.hear(told.clone(), 2, Timestamp(5));
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(node.grade(TenantId(3), Class::Broadcast).0, Grade::Paused);
        assert_eq!(node.hear(told, 2, Timestamp(6)), [], "nothing new");
        let seen = node.tally(&Subject::Stream(TenantId(3), Stream::Broadcast), Timestamp(5));
        let bounced = seen.expect("counted").windows[1].bounced;
        assert!((259.9..=260.0).contains(&bounced), "{bounced}");
    }
}

#[test]
fn what_another_node_counted_before_a_resume_counts_no_more() {
    let (one, two) = (Reputation::default(), Reputation::default());
    let (tenant, stream) = (TenantId(3), Stream::Broadcast);
    tell(&one, 3, Class::Broadcast, true, 130, Timestamp(3));
    tell(&two, 3, Class::Broadcast, true, 130, Timestamp(3));
    assert_eq!(one.hear(told_by(&two, Timestamp(4)), 2, Timestamp(4)).len(), 1);
    let go_on = one.set_by_hand(tenant, stream, Grade::Free, "cleaned".to_owned(), Timestamp(10));
    // The other node counts on and has not heard of it.
    tell(&two, 3, Class::Broadcast, true, 50, Timestamp(11));
    tell(&one, 3, Class::Broadcast, true, 50, Timestamp(11));
    assert_eq!(one.hear(told_by(&two, Timestamp(12)), 2, Timestamp(12)), []);
    assert_eq!(one.grade(tenant, Class::Broadcast).0, Grade::Free);
    // Now it has, and what it counts from now on adds up.
    two.adopt(tenant, stream, vec![go_on.standing]);
    tell(&two, 3, Class::Broadcast, true, 160, Timestamp(13));
    assert_eq!(one.hear(told_by(&two, Timestamp(14)), 2, Timestamp(14)).len(), 1);
}

#[test]
fn what_was_counted_since_a_resume_is_there_after_a_restart() {
    let before = Reputation::default();
    let (tenant, stream) = (TenantId(3), Stream::Broadcast);
    let go_on = before.set_by_hand(tenant, stream, Grade::Free, "cleaned".to_owned(), Timestamp(10));
    tell(&before, 3, Class::Broadcast, true, 150, Timestamp(11));
    let known = told_by(&before, Timestamp(12)).into_iter();
    let after = Reputation::default();
    after.restore_counted(known.map(|(subject, counted)| (subject, counted[0])).collect());
    after.adopt(tenant, stream, vec![go_on.standing]);
    assert_eq!(after.counted_since(&Subject::Stream(tenant, stream)), Timestamp(10));
    assert_eq!(tell(&after, 3, Class::Broadcast, true, 60, Timestamp(13)).len(), 1);
}

#[test]
fn nodes_share_what_a_slowed_stream_may_send() {
    let reputation = Reputation::default();
    tell(&reputation, 3, Class::Broadcast, false, 930, Timestamp(3));
    tell(&reputation, 3, Class::Broadcast, true, 70, Timestamp(3));
    let (grade, alone) = reputation.grade(TenantId(3), Class::Broadcast);
    assert_eq!((grade, alone > 0.0), (Grade::Slow, true));
    for (nodes, expect) in [(4, alone / 4.0), (1, alone), (0, alone)] {
        reputation.hear(BTreeMap::new(), nodes, Timestamp(4));
        let (_, rate) = reputation.grade(TenantId(3), Class::Broadcast);
        assert!(
            (rate - expect).abs() < 1e-9,
            "{nodes} nodes: {rate} instead of {expect}"
        );
    }
}
