//! Which Source a Delivery gets, by tables.

use super::*;
use crate::domain::{BounceClass, DeliveryId, MessageId, State, TenantId, Timestamp, Why};

const SHARED: Wish<'static> = Wish {
    pool: SHARED_POOL,
    region: None,
};

fn room(id: &str) -> SourceRoom {
    SourceRoom::shared(SourceId::from(id))
}

fn rooms() -> Vec<SourceRoom> {
    let codes = SourceRoom {
        classes: vec![Class::Critical],
        ..room("codes")
    };
    let dedicated = SourceRoom {
        pool: "acme".to_owned(),
        ..room("acme")
    };
    vec![room("ours"), codes, room("theirs"), room("nobodys"), dedicated]
}

fn numbered(number: u128, kept: Option<&str>) -> Delivery {
    let message = MessageId(uuid::Uuid::from_u128(number));
    Delivery {
        id: DeliveryId { message, recipient: 0 },
        tenant: TenantId(1),
        class: Class::Transactional,
        address: "a@b.example".to_owned(),
        state: State::Queued,
        created_at: Timestamp(0),
        due_at: Timestamp(0),
        expires_at: Timestamp::NEVER,
        attempts: 0,
        ambiguous: 0,
        panics: 0,
        source: kept.map(SourceId::from),
        why: None,
        last_reply: None,
        bounce: None,
        updated_at: Timestamp(0),
    }
}

fn delivery(kept: Option<&str>) -> Delivery {
    numbered(7, kept)
}

fn standing(source: &SourceId) -> Standing {
    match source.as_str() {
        "theirs" | "elsewhere" => Standing::Others,
        "nobodys" => Standing::Nobodys,
        other if other.starts_with("gone") => Standing::Nobodys,
        _ => Standing::Ours,
    }
}

fn shown(choice: Choice<'_>) -> String {
    match choice {
        Choice::Send(source) => format!("send {source}"),
        Choice::Leave(source) => format!("leave {source}"),
        Choice::Nowhere => "nowhere".to_owned(),
    }
}

fn fine(_: &SourceRoom) -> Outlook {
    Outlook::default()
}

/// A pool of three, of which two are neighbours.
fn pool() -> Vec<SourceRoom> {
    let at = |id: &str, ip: &str, region: &str| SourceRoom {
        region: Some(region.to_owned()),
        netblock: Some(Netblock::of(ip.parse().unwrap())),
        ..room(id)
    };
    vec![
        at("a", "203.0.113.5", "eu"),
        at("b", "203.0.113.6", "eu"),
        at("c", "198.51.100.5", "us"),
    ]
}

/// How many of a thousand new deliveries go from each Source.
fn spread(sources: &[SourceRoom], wish: Wish<'_>, outlook: impl Fn(&SourceRoom) -> Outlook) -> Vec<usize> {
    let mut counts = vec![0; sources.len()];
    for number in 0..1_000 {
        let delivery = numbered(number, None);
        let Choice::Send(source) = choose(sources, &delivery, wish, |_| Standing::Ours, &outlook) else {
            continue;
        };
        counts[sources.iter().position(|room| room.id == *source).unwrap()] += 1;
    }
    counts
}

#[test]
fn mail_goes_from_our_sources_and_waits_for_those_of_others() {
    let rooms = rooms();
    let check = |kept: Option<&str>, expect: &str| {
        let delivery = delivery(kept);
        assert_eq!(
            shown(choose(&rooms, &delivery, SHARED, standing, fine)),
            expect,
            "{kept:?}"
        );
    };
    check(None, "send ours");
    check(Some("ours"), "send ours");
    check(Some("theirs"), "leave theirs");
    check(Some("elsewhere"), "leave elsewhere");
    check(Some("nobodys"), "send ours");
    check(Some("gone from the config"), "send ours");
    // It carries no mail of this class any more.
    check(Some("codes"), "send ours");
    // Began there before its tenant lost the pool: greylisting passes there alone.
    check(Some("acme"), "send acme");
}

#[test]
fn without_a_source_of_ours_it_goes_nowhere() {
    let delivery = delivery(None);
    let nobody_is_ours = |_: &SourceId| Standing::Others;
    assert_eq!(
        choose(&rooms(), &delivery, SHARED, nobody_is_ours, fine),
        Choice::Nowhere
    );
    assert_eq!(choose(&[], &delivery, SHARED, standing, fine), Choice::Nowhere);
}

#[test]
fn mail_never_leaves_its_pool() {
    let rooms = rooms();
    let delivery = delivery(None);
    let from = |pool: &str| shown(choose(&rooms, &delivery, Wish { pool, region: None }, standing, fine));
    assert_eq!(from("acme"), "send acme");
    assert_eq!(from("nobody's"), "nowhere");
    let blocked = |room: &SourceRoom| Outlook {
        blocked: room.id.as_str() == "acme",
        ..Outlook::default()
    };
    let acme = Wish {
        pool: "acme",
        region: None,
    };
    assert_eq!(
        shown(choose(&rooms, &delivery, acme, standing, blocked)),
        "send acme",
        "it waits there"
    );
}

#[test]
fn new_mail_is_spread_and_goes_past_what_cannot_take_it() {
    let pool = pool();
    let even = spread(&pool, SHARED, fine);
    assert!(even.iter().all(|count| (250..=420).contains(count)), "{even:?}");
    let bad = |id: &'static str, outlook: Outlook| {
        move |room: &SourceRoom| {
            if room.id.as_str() == id {
                outlook
            } else {
                Outlook::default()
            }
        }
    };
    let blocked = Outlook {
        blocked: true,
        ..Outlook::default()
    };
    assert_eq!(spread(&pool, SHARED, bad("a", blocked))[0], 0);
    let full = Outlook {
        no_room: true,
        ..Outlook::default()
    };
    assert_eq!(spread(&pool, SHARED, bad("b", full))[1], 0);
    let avoided = Outlook {
        avoided: true,
        ..Outlook::default()
    };
    let tried = spread(&pool, SHARED, bad("c", avoided))[2];
    assert!(
        (1..=20).contains(&tried),
        "a little, so that its name can get better: {tried}"
    );
    let us = Wish {
        region: Some("us"),
        ..SHARED
    };
    assert_eq!(spread(&pool, us, fine), [0, 0, 1_000]);
    let moved = spread(&pool, us, bad("c", blocked));
    assert_eq!(moved[2], 0, "another region rather than a blocked address");
}

#[test]
fn when_all_are_full_or_blocked_it_still_has_a_place_to_wait() {
    let all = |_: &SourceRoom| Outlook {
        blocked: true,
        no_room: true,
        full_for_long: true,
        avoided: true,
    };
    assert_eq!(spread(&pool(), SHARED, all).iter().sum::<usize>(), 1_000);
}

/// Where mail goes that began at `a`, with these Sources blocked, without room now, and without room for long.
#[track_caller]
fn check_kept(blocked: &[&str], no_room: &[&str], for_long: &[&str], stays: bool) {
    let pool = pool();
    let outlook = |room: &SourceRoom| Outlook {
        blocked: blocked.contains(&room.id.as_str()),
        no_room: no_room.contains(&room.id.as_str()) || for_long.contains(&room.id.as_str()),
        full_for_long: for_long.contains(&room.id.as_str()),
        avoided: false,
    };
    let whys = [
        None,
        Some(Why::LaneFull),
        Some(Why::BreakerOpen),
        Some(Why::ResendAmbiguous),
        Some(Why::Deferred(BounceClass::Greylisted)),
        Some(Why::Deferred(BounceClass::IpReputation)),
    ];
    for (attempts, why) in whys.into_iter().enumerate() {
        let delivery = Delivery {
            attempts: u32::try_from(attempts).unwrap(),
            why,
            ..delivery(Some("a"))
        };
        let chosen = choose(&pool, &delivery, SHARED, |_| Standing::Ours, outlook);
        let shown = shown(chosen);
        assert_eq!(shown == "send a", stays, "{why:?}: {shown}");
        let Choice::Send(source) = chosen else {
            panic!("{shown}")
        };
        let all_blocked = blocked.len() == pool.len();
        assert!(all_blocked || !blocked.contains(&source.as_str()), "{shown} is blocked");
    }
}

#[test]
fn mail_leaves_a_blocked_address_for_one_that_is_not_and_keeps_all_others() {
    check_kept(&[], &[], &[], true);
    check_kept(&["a"], &[], &[], false);
    check_kept(&["a", "b"], &[], &[], false);
    check_kept(&["b", "c"], &[], &[], true);
    check_kept(&["a", "b", "c"], &[], &[], true);
    // Where it may go it waits for room rather than for the end of a block.
    check_kept(&["a"], &["b", "c"], &[], false);
}

#[test]
fn mail_leaves_a_source_in_warm_up_only_where_it_would_wait_for_long() {
    check_kept(&[], &["a"], &[], true);
    check_kept(&[], &[], &["a"], false);
    check_kept(&[], &["b", "c"], &["a"], true);
    check_kept(&["b", "c"], &[], &["a"], true);
}
