//! What a lane does with work, sessions and refusals with made-up times.

use super::*;
use crate::domain::LaneLimits;
use crate::policy::lane_gate::LaneGateSettings;

const IDLE: Duration = Duration::from_secs(10);

impl OfTenant for &'static str {
    fn tenant(&self) -> crate::domain::TenantId {
        crate::domain::TenantId::FIRST
    }
}

fn room(connections: u32, rate: Option<f64>) -> LaneRoom<&'static str> {
    let limits = LaneLimits {
        connections,
        messages_per_connection: 20,
        messages_per_second: rate,
    };
    let settings = LaneGateSettings {
        connections_start: connections,
        stop_least: Duration::ZERO,
        ..LaneGateSettings::default()
    };
    LaneRoom::new(LaneGate::new(limits, settings, Timestamp(0)), IDLE)
}

fn stop() -> Report {
    Report {
        action: LaneAction::Stop(Duration::from_secs(60)),
        delivered: false,
        started: Timestamp(0),
        before: None,
    }
}

fn site(name: &str) -> Arc<str> {
    Arc::from(name)
}

fn open(name: &str) -> Step<&'static str> {
    Step::Open { site: site(name) }
}

fn up(up: u32) -> Live {
    Live { up, opening: 0 }
}

#[test]
fn work_is_bound_only_to_a_session_that_is_up_and_asks() {
    let mut room = room(5, None);
    room.offer(&site("a"), Class::Transactional, "one");
    assert_eq!(room.steps(up(0), Timestamp(0)), [open("a")]);
    assert_eq!(room.steps(up(1), Timestamp(0)), [], "one connection for one message");
    room.opened(&site("a"), Timestamp(0), 1, Timestamp(0));
    room.ask(&site("a"), 7, Timestamp(1));
    assert_eq!(room.steps(up(1), Timestamp(1)), [Step::Give { ticket: 7, work: "one" }]);
    assert_eq!(room.queued(), 0);
}

#[test]
fn a_refused_connection_defers_no_message() {
    let mut room = room(5, None);
    room.offer(&site("a"), Class::Transactional, "one");
    assert_eq!(room.steps(up(0), Timestamp(0)), [open("a")]);
    room.open_failed(&site("a"), Timestamp(0), LaneAction::FewerConnections, 1, Timestamp(0));
    assert_eq!(room.queued(), 1);
    let steps = room.steps(up(1), Timestamp(0));
    assert!(
        matches!(steps[..], [Step::AskAgainAt(_)]),
        "the ceiling is what is up: {steps:?}"
    );
    room.ask(&site("a"), 1, Timestamp(1));
    assert_eq!(room.steps(up(1), Timestamp(1)), [Step::Give { ticket: 1, work: "one" }]);
}

#[test]
fn codes_overtake_newsletters_and_newsletters_do_not_starve() {
    let mut room = room(1, None);
    for _ in 0..40 {
        room.offer(&site("a"), Class::Broadcast, "news");
        room.offer(&site("a"), Class::Critical, "code");
    }
    let mut given = Vec::new();
    for ticket in 0..40 {
        room.ask(&site("a"), ticket, Timestamp(0));
        for step in room.steps(up(1), Timestamp(0)) {
            if let Step::Give { work, .. } = step {
                given.push(work);
            }
        }
    }
    assert_eq!(given.iter().filter(|work| **work == "code").count(), 37);
    assert_eq!(given.iter().filter(|work| **work == "news").count(), 3);
}

/// In a lane wide enough to keep a session for codes, and full, each session that becomes idle is the only one.
#[test]
fn newsletters_keep_a_twelfth_of_a_wide_lane_that_codes_could_fill() {
    for (classes, expect) in [
        (&[Class::Broadcast][..], [0, 10]),
        (&[Class::Transactional, Class::Broadcast][..], [10, 10]),
    ] {
        let mut room = room(20, None);
        for _ in 0..200 {
            room.offer(&site("a"), Class::Critical, "code");
        }
        for class in classes {
            (0..200).for_each(|_| room.offer(&site("a"), *class, class.stream().name()));
        }
        let mut given = BTreeMap::new();
        for ticket in 0..120 {
            room.ask(&site("a"), ticket, Timestamp(0));
            for step in room.steps(up(20), Timestamp(0)) {
                if let Step::Give { work, .. } = step {
                    *given.entry(work).or_insert(0) += 1;
                }
            }
        }
        let others = [Class::Transactional, Class::Broadcast].map(|class| {
            let name = class.stream().name();
            given.get(name).copied().unwrap_or(0)
        });
        assert_eq!(others, expect, "{given:?}");
    }
}

#[test]
fn a_code_now_and_then_waits_for_no_newsletter() {
    let mut room = room(20, None);
    room.offer(&site("a"), Class::Critical, "code");
    (0..500).for_each(|_| room.offer(&site("a"), Class::Broadcast, "news"));
    let mut given = Vec::new();
    // One session is idle and kept; whenever another one asks, a newsletter goes, and now and then a code comes.
    for ticket in 0..200 {
        room.ask(&site("a"), ticket, Timestamp(0));
        let steps = room.steps(up(20), Timestamp(0));
        given.extend(steps.into_iter().filter_map(|step| match step {
            Step::Give { work, .. } => Some(work),
            _ => None,
        }));
        if ticket % 10 == 9 {
            room.offer(&site("a"), Class::Critical, "code");
            let steps = room.steps(up(20), Timestamp(0));
            let codes = |step: &Step<&str>| matches!(step, Step::Give { work: "code", .. });
            assert!(steps.iter().any(codes), "the session that is kept: {steps:?}");
        }
    }
    assert!(given.iter().filter(|work| **work == "news").count() > 150, "{given:?}");
}

#[test]
fn an_idle_session_of_another_site_makes_way_and_a_long_idle_one_is_closed() {
    let mut room = room(1, None);
    room.ask(&site("a"), 1, Timestamp(0));
    room.offer(&site("b"), Class::Transactional, "one");
    assert_eq!(room.steps(up(1), Timestamp(0)), [Step::Close { ticket: 1 }]);
    assert_eq!(room.steps(up(0), Timestamp(0)), [open("b")]);
    room.opened(&site("b"), Timestamp(0), 1, Timestamp(0));
    room.ask(&site("b"), 2, Timestamp(5));
    assert!(matches!(
        room.steps(up(1), Timestamp(5))[..],
        [Step::Give { ticket: 2, .. }]
    ));
    room.ask(&site("b"), 3, Timestamp(10));
    assert_eq!(room.steps(up(1), Timestamp(10_009)), []);
    assert_eq!(room.steps(up(1), Timestamp(10_010)), [Step::Close { ticket: 3 }]);
}

#[test]
fn a_shut_lane_hands_everything_back_and_closes_its_sessions() {
    let mut room = room(2, None);
    room.offer(&site("a"), Class::Transactional, "one");
    room.offer(&site("b"), Class::Transactional, "two");
    room.ask(&site("c"), 9, Timestamp(0));
    room.answered(stop(), 1, Timestamp(0));
    let steps = room.steps(up(1), Timestamp(0));
    assert_eq!(
        steps,
        [
            Step::HandBack {
                work: vec!["one", "two"]
            },
            Step::Close { ticket: 9 }
        ]
    );
    room.offer(&site("a"), Class::Transactional, "canary");
    assert_eq!(room.steps(up(0), Timestamp(60_000)), [open("a")]);
}

#[test]
fn a_session_that_died_without_a_word_is_opened_again() {
    let mut room = room(5, None);
    room.offer(&site("a"), Class::Transactional, "one");
    assert_eq!(room.steps(up(0), Timestamp(0)), [open("a")]);
    assert_eq!(room.steps(up(0), Timestamp(0)), [], "one is thought to be on its way");
    room.nobody_is_coming();
    assert_eq!(room.steps(up(0), Timestamp(0)), [open("a")]);
}

#[test]
fn a_canary_that_died_without_a_word_is_sent_again() {
    let mut room = room(5, None);
    room.answered(stop(), 0, Timestamp(0));
    room.offer(&site("a"), Class::Transactional, "canary");
    assert_eq!(room.steps(up(0), Timestamp(60_000)), [open("a")]);
    room.nobody_is_coming();
    assert_eq!(room.steps(up(0), Timestamp(60_001)), [open("a")]);
}

#[test]
fn what_ran_out_of_time_is_taken_out_and_the_rest_keeps_its_order() {
    let mut room = room(1, None);
    for work in ["one", "old", "two"] {
        room.offer(&site("a"), Class::Transactional, work);
    }
    room.offer(&site("b"), Class::Critical, "old");
    assert_eq!(room.take_where(|work| *work == "old"), ["old", "old"]);
    assert_eq!(room.queued(), 2);
    assert_eq!(room.drain(), ["one", "two"]);
    assert!(room.uses(&site("a")) == room.uses(&site("b")) && !room.uses(&site("c")));
}

#[test]
fn the_pace_of_the_lane_holds_over_all_its_sessions() {
    let mut room = room(10, Some(1.0));
    for ticket in 0..3 {
        room.offer(&site("a"), Class::Transactional, "one");
        room.ask(&site("a"), ticket, Timestamp(0));
    }
    let steps = room.steps(up(3), Timestamp(0));
    assert!(
        matches!(steps[..], [Step::Give { .. }, Step::AskAgainAt(Timestamp(1_001))]),
        "{steps:?}"
    );
}

#[test]
fn a_connection_that_hangs_holds_no_place_of_the_lane_but_counts_against_its_pins() {
    let mut room = room(4, None);
    let second = |seconds: u64| Timestamp(seconds * 1_000);
    for _ in 0..20 {
        room.offer(&site("a"), Class::Broadcast, "news");
    }
    let opened = |steps: Vec<Step<&str>>| steps.iter().filter(|step| matches!(step, Step::Open { .. })).count();
    let mut live = Live { up: 0, opening: 0 };
    assert_eq!(opened(room.steps(live, second(0))), 1, "the first is waited for");
    live.opening = 1;
    assert_eq!(opened(room.steps(live, second(4))), 0);
    assert_eq!(opened(room.steps(live, second(6))), 1, "it hangs: the next host");
    room.opened(&site("a"), second(6), 1, second(6));
    live = Live { up: 1, opening: 1 };
    let before = room.gate().controller().connections();
    assert!(opened(room.steps(live, second(7))) >= 1, "beside the one that hangs");
    room.open_failed(&site("a"), second(0), LaneAction::None, 1, second(30));
    assert_eq!(
        room.gate().controller().connections(),
        before,
        "no ceiling is learnt from it"
    );
    assert_eq!(room.gate().controller().ceiling(), None);
    let crowd = Live { up: 1, opening: 3 };
    assert_eq!(
        opened(room.steps(crowd, second(60))),
        0,
        "all places that the pins allow are taken"
    );
}
