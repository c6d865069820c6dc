//! Days in the life of a new address: a store that charges, a provider that answers, on made-up days.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const FIRST_DAY: u32 = 20_000;

fn at(day: u32, hour: u64) -> Timestamp {
    Timestamp(u64::from(day) * DAY + hour * HOUR)
}

/// A Source, a provider and the store's counter, on made-up days.
struct World {
    warmup: Warmup,
    used: Used,
    now: Timestamp,
}

impl World {
    fn on(steps: &[u64]) -> Self {
        let ladder = Ladder::of(steps).expect("grows");
        let now = at(FIRST_DAY, 0);
        Self {
            warmup: Warmup::begin(ladder, FIRST_DAY, now),
            used: None,
            now,
        }
    }

    /// Charges one message as a store does; says whether it may go.
    fn charge(&mut self) -> bool {
        let Some(window) = self.warmup.window(self.used, self.now) else {
            return true;
        };
        if window.used >= window.allowed {
            return false;
        }
        self.used = Some((window.day, window.used + 1));
        true
    }

    /// An hour in which up to `wanted` messages go; the first `deferred` of them are put off. Gives how many went.
    fn hour(&mut self, wanted: u64, deferred: u64) -> u64 {
        let mut sent = 0;
        while sent < wanted && self.charge() {
            let (delivered, action) = match sent < deferred {
                true => (false, LaneAction::Slow),
                false => (true, LaneAction::None),
            };
            self.warmup.on_answer(delivered, action, self.used, self.now);
            sent += 1;
        }
        self.now = self.now.plus(Duration::from_secs(3600));
        sent
    }

    /// A day on which `wanted` messages want to go, and `deferred` are put off in its first hour. Gives how many went.
    fn day(&mut self, wanted: u64, deferred: u64) -> u64 {
        let mut sent = 0;
        for hour in 0..24 {
            sent += self.hour(wanted - sent, if hour == 0 { deferred } else { 0 });
        }
        sent
    }

    /// The cap and the stage of the day that has begun.
    fn stands(&mut self) -> (u64, &'static str) {
        self.warmup.window(self.used, self.now);
        let progress = self.warmup.progress();
        (progress.cap, progress.stage.name())
    }

    fn block(&mut self) {
        let stop = LaneAction::Stop(Duration::from_secs(600));
        self.warmup.on_answer(false, stop, self.used, self.now);
    }
}

#[test]
fn the_cap_grows_after_a_day_that_was_used_and_that_nobody_minded() {
    let mut world = World::on(&[100, 140, 200]);
    let mut check = |wanted: u64, deferred: u64, sent: u64, expect: (u64, &str)| {
        assert_eq!(world.day(wanted, deferred), sent, "of {wanted}");
        assert_eq!(world.stands(), expect, "after {wanted} with {deferred} deferred");
    };
    check(1_000, 0, 100, (140, "growing"));
    check(69, 0, 69, (140, "unused"));
    check(70, 1, 70, (200, "growing"));
    check(1_000, 2, 200, (200, "held"));
    check(0, 0, 0, (200, "held"));
    check(1_000, 0, 200, (200, "done"));
    check(5_000, 0, 5_000, (200, "done"));
}

#[test]
fn complaints_hold_the_cap_and_one_of_them_is_no_rate() {
    for (complaints, expect) in [(1, (140, "growing")), (2, (100, "held"))] {
        let mut world = World::on(&[100, 140]);
        for _ in 0..complaints {
            world.warmup.on_complaint(world.used, world.now);
        }
        world.day(100, 0);
        assert_eq!(world.stands(), expect, "{complaints}");
    }
    let mut world = World::on(&[5_000, 7_000]);
    for _ in 0..4 {
        world.warmup.on_complaint(world.used, world.now);
    }
    world.day(5_000, 24);
    assert_eq!(world.stands(), (7_000, "growing"), "below both rates");
}

#[test]
fn a_block_halves_the_cap_at_once_and_once_a_day() {
    let mut world = World::on(&[100, 140, 200]);
    world.day(100, 0);
    assert_eq!(world.hour(60, 0), 12);
    world.block();
    world.block();
    assert_eq!(world.stands(), (70, "halved"));
    let sent = (0..23).map(|_| world.hour(100, 0)).sum::<u64>();
    assert_eq!(12 + sent, 70, "the rest of the day has the smaller cap");
    assert_eq!(world.stands(), (70, "halved"), "and does not make it grow");
    world.day(100, 0);
    assert_eq!(world.stands(), (98, "growing"), "from there it grows gently");
    for _ in 0..5 {
        world.block();
        world.day(0, 0);
    }
    assert_eq!(world.stands(), (50, "halved"), "half the first step is the floor");
}

#[test]
fn no_hour_gets_more_than_a_twelfth() {
    let mut world = World::on(&[120, 168]);
    let hours: Vec<u64> = (0..24).map(|_| world.hour(1_000, 0)).collect();
    assert_eq!(hours[..12], [10; 12]);
    assert_eq!(hours[12..], [0; 12]);
    let window = world.warmup.window(world.used, world.now).expect("is warmed up");
    assert_eq!((window.cap, window.allowed), (168, 14));
    // Nobody saves hours up.
    world.now = at(FIRST_DAY + 1, 9);
    assert_eq!(world.hour(1_000, 0), 14);
}

#[test]
fn who_waits_knows_until_when() {
    let mut world = World::on(&[24, 30]);
    world.now = at(FIRST_DAY, 7).plus(Duration::from_secs(60));
    assert_eq!(world.hour(9, 0), 2);
    world.now = at(FIRST_DAY, 7).plus(Duration::from_secs(120));
    let until = |world: &mut World| world.warmup.window(world.used, world.now).expect("is warmed up").until;
    assert_eq!(until(&mut world), at(FIRST_DAY, 8), "the next hour's share");
    for hour in 8..19 {
        world.now = at(FIRST_DAY, hour);
        world.hour(9, 0);
    }
    world.now = at(FIRST_DAY, 19);
    assert_eq!(until(&mut world), at(FIRST_DAY + 1, 0), "the day's cap is used up");
}

#[test]
fn after_two_silent_weeks_the_cap_shrinks_down_to_the_first_step_and_an_end_is_none_any_more() {
    let mut world = World::on(&[100, 140]);
    world.day(100, 0);
    world.day(140, 0);
    assert_eq!(world.stands(), (140, "done"));
    let last = FIRST_DAY + 1;
    let mut check = |silent: u32, expect: (u64, &str)| {
        world.now = at(last + silent, 3);
        assert_eq!(world.stands(), expect, "after {silent} days");
    };
    check(13, (140, "done"));
    check(14, (140, "done"));
    check(15, (126, "idle"));
    check(17, (103, "idle"));
    check(18, (100, "idle"));
    check(400, (100, "idle"));
    world.now = at(last + 401, 0);
    assert_eq!(world.day(1_000, 0), 100, "and there is a cap again");
    assert_eq!(world.stands(), (140, "growing"));
}

#[test]
fn an_address_that_was_at_work_elsewhere_needs_no_warm_up() {
    let ladder = Ladder::of(&[100, 140]).expect("grows");
    for (born, expect) in [
        (FIRST_DAY - 59, "growing"),
        (FIRST_DAY - 60, "done"),
        (FIRST_DAY + 9, "growing"),
    ] {
        let warmup = Warmup::begin(ladder.clone(), born, at(FIRST_DAY, 0));
        assert_eq!(warmup.progress().stage.name(), expect, "{born}");
    }
}

#[test]
fn what_is_remembered_goes_on_on_another_ladder_too() {
    let mut world = World::on(&[100, 140]);
    world.day(100, 0);
    world.stands();
    let progress = world.warmup.progress();
    let cap = |steps: &[u64], progress| {
        let resumed = Warmup::resume(Ladder::of(steps).expect("grows"), progress);
        resumed.progress().cap
    };
    assert_eq!(cap(&[100, 140], progress), 140);
    assert_eq!(cap(&[10, 50], progress), 50);
    assert_eq!(cap(&[1_000], progress), 500);
    let done = Progress {
        stage: Stage::Done,
        ..progress
    };
    assert_eq!(cap(&[10, 900], done), 900);
}

/// Forty days at a provider, as a graph. The owner changes nothing here without seeing what it does.
#[test]
fn forty_days_of_a_new_address() {
    let ladder = super::super::warmup_ladder::Ladders::built_in();
    let ladder = ladder
        .of(&crate::domain::ProviderId::from("comcast"))
        .expect("is warmed up")
        .clone();
    let mut world = World {
        warmup: Warmup::begin(ladder, FIRST_DAY, at(FIRST_DAY, 0)),
        used: None,
        now: at(FIRST_DAY, 0),
    };
    let mut graph = String::new();
    for day in 0..40_u64 {
        let cap = world.stands().0;
        // Day 6 is bad, day 12 brings a block, days 17 and 18 are a weekend, from 24 on there is mail without end.
        let wanted = match day {
            17 | 18 => 40,
            0..24 => 3_000,
            _ => 50_000,
        };
        if day == 12 {
            world.block();
        }
        let sent = world.day(wanted, if day == 6 { cap / 100 } else { 0 });
        writeln!(graph, "{day:>2} {cap:>6} {:>7} {}", sent, world.stands().1).expect("text grows");
    }
    let expected = include_str!("forty_days.txt");
    assert!(graph == expected, "the graph is now:\n{graph}");
}

proptest! {
    /// I16 in the small: whatever the clock does and whoever answers what, no day has more mail than its cap allowed when it
    /// went, and no hour's window is larger than a twelfth.
    #[test]
    fn never_above_plan(moves in proptest::collection::vec((-30_i64..40, 0..40_u64, 0..6_u8), 1..60)) {
        let mut world = World::on(&[24, 31, 42, 58]);
        let mut sent = std::collections::BTreeMap::<u32, u64>::new();
        for (hours, wanted, answer) in moves {
            let millis = hours * i64::try_from(HOUR).expect("fits");
            world.now = Timestamp(world.now.0.saturating_add_signed(millis));
            match answer {
                0 => world.block(),
                // A crash: what was not in the store is as it was at the start of the hour at worst.
                1 => world.warmup = Warmup::resume(Ladder::of(&[24, 31, 42, 58]).expect("grows"), world.warmup.progress()),
                _ => {}
            }
            for _ in 0..wanted {
                let before = world.used;
                if !world.charge() {
                    break;
                }
                if let Some((day, used)) = world.used.filter(|used| Some(*used) != before) {
                    *sent.entry(day).or_default() += 1;
                    prop_assert!(used <= 58);
                }
                world.warmup.on_answer(true, LaneAction::None, world.used, world.now);
            }
            if let Some(window) = world.warmup.window(world.used, world.now) {
                prop_assert!(window.allowed <= window.cap);
                prop_assert!(window.left() <= window.cap.div_ceil(HOURS_OF_A_CAP));
                prop_assert!(window.until > world.now);
            }
        }
        for (day, count) in sent {
            prop_assert!(count <= 58, "day {day}: {count}");
        }
    }
}
