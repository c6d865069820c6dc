//! What a controller decides from which signal, and what it never does whatever it is told.

use super::*;
use proptest::prelude::*;

fn controller(most: u32, rate_most: Option<f64>) -> Controller {
    let settings = ControllerSettings {
        connections: CongestionSettings {
            most,
            ..CongestionSettings::default()
        },
        pace: PaceSettings {
            most: rate_most,
            ..PaceSettings::default()
        },
        ..ControllerSettings::default()
    };
    Controller::new(settings, Timestamp(0))
}

fn answer(action: LaneAction, started: Timestamp) -> Answer {
    Answer {
        action,
        delivered: action == LaneAction::None,
        started,
        busy: 1,
        before: None,
    }
}

#[test]
fn a_day_in_the_life_of_a_lane_is_in_its_decisions() {
    let mut lane = controller(50, None);
    let at = |second: u64| Timestamp(second * 1_000);
    for second in 1..20 {
        let delivery = Answer {
            busy: lane.connections(),
            ..answer(LaneAction::None, at(second))
        };
        lane.on_answer(delivery, 2, 0, at(second).plus(Duration::from_millis(400)));
    }
    lane.on_open_failed(LaneAction::FewerConnections, 3, 0, at(20));
    lane.on_answer(answer(LaneAction::Slow, at(21)), 3, 0, at(21));
    lane.on_answer(answer(LaneAction::Stop(Duration::from_secs(1)), at(22)), 3, 0, at(22));
    assert_eq!(lane.standing(at(22)), Standing::Until(at(622)));
    let said: Vec<(Decided, Signal)> = lane.decisions().map(|one| (one.what, one.signal)).collect();
    assert_eq!(
        said,
        [
            (Decided::Connections, Signal::Delivered),
            (Decided::Connections, Signal::TooManyConnections),
            (Decided::Rate, Signal::TooFast),
            (Decided::Stop, Signal::Blocked),
            (Decided::Connections, Signal::Blocked),
            (Decided::Rate, Signal::Blocked),
        ]
    );
    assert_eq!((lane.connections(), lane.ceiling()), (1, Some(3)));
}

#[test]
fn each_further_stop_is_twice_as_long_up_to_four_hours() {
    let mut lane = controller(50, None);
    let mut now = Timestamp(1_000);
    let mut minutes = Vec::new();
    for _ in 0..7 {
        lane.on_answer(answer(LaneAction::Stop(Duration::ZERO), now), 1, 0, now);
        let Standing::Until(until) = lane.standing(now) else {
            panic!("stopped")
        };
        minutes.push(until.since(now).as_secs() / 60);
        assert!(lane.send(until.minus(Duration::from_millis(1))).is_err());
        assert_eq!(lane.send(until), Ok(()), "the canary");
        assert!(lane.send(until).is_err(), "and nothing besides");
        now = until.plus(Duration::from_secs(1));
    }
    assert_eq!(minutes, [10, 20, 40, 80, 160, 240, 240]);
}

#[test]
fn the_limit_of_messages_on_a_connection_is_learnt() {
    let mut lane = controller(50, None);
    let said = Answer {
        before: Some(20),
        ..answer(LaneAction::Reconnect, Timestamp(1))
    };
    lane.on_answer(said, 3, 0, Timestamp(2));
    assert_eq!(lane.messages_per_connection(), Some(20));
    assert_eq!(lane.rate(Timestamp(2)), None, "and nothing else is moved by it");
}

#[test]
fn a_restart_goes_on_at_half() {
    let mut lane = controller(50, None);
    let memory = ControllerMemory {
        connections: CongestionMemory {
            target: 40.0,
            ceiling: Some(40),
        },
        rate: Some(30.0),
        messages_per_connection: Some(20),
        doublings: 2,
        stopped_until: None,
    };
    lane.restore(memory, Timestamp(5));
    assert_eq!((lane.connections(), lane.ceiling()), (20, Some(40)));
    assert_eq!(lane.rate(Timestamp(5)), Some(15.0));
    assert_eq!(lane.memory().messages_per_connection, Some(20));
}

proptest! {
    #[test]
    fn whatever_it_is_told_it_keeps_its_pins_and_its_bounds(
        happenings in proptest::collection::vec((0u8..9, 0u32..60, 0u64..20_000), 1..400),
        most in 1u32..50,
        rate_most in 1u32..100,
    ) {
        let mut lane = controller(most, Some(f64::from(rate_most)));
        let mut now = Timestamp(1_000_000);
        let mut sent = Timestamp(0);
        for (what, number, pass) in happenings {
            now = now.plus(Duration::from_millis(pass));
            let up = number % (most + 1);
            match what {
                0 => lane.on_opened(up.max(1), 0, now),
                1 => lane.on_open_failed(LaneAction::FewerConnections, up, number % 3, now),
                2 => lane.on_open_failed(LaneAction::None, up, 0, now),
                3 => lane.on_answer(answer(LaneAction::Slow, sent), up, 0, now),
                4 if number == 0 => lane.on_answer(answer(LaneAction::Stop(Duration::ZERO), sent), up, 0, now),
                5 => lane.on_unused(),
                6 => {
                    let before = Some(number);
                    lane.on_answer(Answer { before, ..answer(LaneAction::Reconnect, sent) }, up, 0, now);
                }
                _ => {
                    let delivery = Answer { busy: number, ..answer(LaneAction::None, sent) };
                    lane.on_answer(delivery, up, 0, now);
                }
            }
            match lane.send(now) {
                Ok(()) => sent = now,
                Err(until) => prop_assert!(until > now, "a time that has come is no time to wait for"),
            }
            prop_assert!((1..=most).contains(&lane.connections()));
            prop_assert!(lane.open(most, 0, now) != Opening::Go, "never above the pin");
            prop_assert!(lane.open(lane.connections() + 1, 0, now) != Opening::Go, "one probe at most");
            let rate = lane.rate(now);
            prop_assert!(rate.is_some_and(|rate| rate > 0.0 && rate <= f64::from(rate_most)), "{rate:?}");
            prop_assert!(lane.decisions().count() <= DECISIONS_MAX);
            prop_assert!(lane.messages_per_connection().is_none_or(|most| most >= 1));
        }
    }

    #[test]
    fn refusals_of_messages_that_began_before_the_last_decrease_change_nothing(
        late in proptest::collection::vec(0u64..900, 1..50),
    ) {
        let mut lane = controller(50, None);
        let now = Timestamp(100_000);
        lane.on_answer(answer(LaneAction::Slow, now), 3, 0, now);
        let after = lane.memory();
        for wait in late {
            lane.on_answer(answer(LaneAction::Slow, now), 3, 0, now.plus(Duration::from_millis(wait)));
            prop_assert_eq!(lane.memory(), after);
        }
    }
}
