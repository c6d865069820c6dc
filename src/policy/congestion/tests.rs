//! The search for how many connections a provider allows: what each answer does to it, with made-up times.

use super::*;

fn learnt(up: u32, opening: u32, settings: CongestionSettings) -> Congestion {
    let mut lane = Congestion::new(settings, Timestamp(0));
    lane.on_refused(true, up, opening, Timestamp(0));
    lane
}

fn settings() -> CongestionSettings {
    CongestionSettings {
        start: 40,
        ..CongestionSettings::default()
    }
}

#[test]
fn a_refusal_counts_those_on_their_way_as_held_and_takes_back_the_ones_that_are_refused_too() {
    for (refused_too, expect) in [(0, 12), (1, 11), (3, 9)] {
        let mut lane = learnt(4, 8, settings());
        (0..refused_too).for_each(|index| {
            lane.on_refused(true, 4, 7 - index, Timestamp(100));
        });
        assert_eq!(lane.ceiling(), Some(expect), "{refused_too} more were refused");
        assert_eq!(lane.target(), expect);
    }
}

#[test]
fn where_connecting_takes_long_a_probe_is_proved_when_all_on_their_way_have_come_up() {
    let mut lane = learnt(4, 0, settings());
    let later = Timestamp(60_000);
    assert_eq!(lane.open(1, 3, later), Opening::Go, "the probe, beside three others");
    for opening in [3, 2, 1] {
        lane.on_opened(1, opening, later);
        assert_eq!(lane.ceiling(), Some(4), "{opening} others may still be refused");
    }
    lane.on_opened(1, 0, later);
    assert_eq!(lane.ceiling(), Some(5));
}

#[test]
fn where_refusals_mean_nothing_it_takes_more_of_them_to_be_believed() {
    let mut lane = learnt(20, 0, settings());
    let mut now = Timestamp(0);
    for _ in 0..100 {
        now = now.plus(Duration::from_secs(1));
        lane.on_refused(true, 19, 0, now);
        lane.on_opened(20, 0, now);
    }
    assert_eq!(lane.ceiling(), Some(20), "one refusal of two means nothing");
    let rows = (1..=u64::from(DISBELIEF_MAX)).find(|row| {
        lane.on_refused(true, 12, 0, now.plus(Duration::from_secs(*row)));
        lane.ceiling() == Some(12)
    });
    assert!(rows.is_some_and(|rows| rows >= 6), "{rows:?} refusals in a row");
}
