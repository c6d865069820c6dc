//! What a pace does at refusals and deliveries with made-up times.

use super::*;

const SECOND: u64 = 1_000;

fn limited(rate: f64) -> Pace {
    let mut pace = Pace::new(PaceSettings::default(), Timestamp(0));
    pace.restore(Some(rate), Timestamp(0));
    pace
}

#[test]
fn nothing_limits_it_until_something_is_refused() {
    let mut pace = Pace::new(PaceSettings::default(), Timestamp(0));
    assert!((0..1_000).all(|_| pace.take(Timestamp(5)).is_ok()));
    let change = pace.on_refused(Timestamp(5), Timestamp(30));
    assert!(matches!(change, Some((None, Some(_)))), "{change:?}");
    assert!(pace.take(Timestamp(31)).is_err());
}

#[test]
fn one_burst_of_refusals_is_one_decrease() {
    let mut pace = limited(100.0);
    let now = Timestamp(60 * SECOND);
    let first = pace.on_refused(now, now).unwrap();
    let later = now.plus(Duration::from_millis(300));
    assert_eq!(pace.on_refused(now, later), None, "began before the decrease");
    assert_eq!(pace.cruise(), first.1);
}

#[test]
fn further_refusals_of_an_epoch_deepen_the_dip_if_they_began_after_the_first() {
    let mut pace = limited(100.0);
    let now = Timestamp(60 * SECOND);
    pace.on_delivered(now, now);
    let cruise = pace.on_refused(now, now).unwrap().1;
    let later = now.plus(Duration::from_millis(300));
    let before = pace.rate(later).unwrap();
    assert_eq!(pace.on_refused(now, later), None);
    assert_eq!(pace.rate(later), Some(before), "it was under way");
    assert_eq!(pace.on_refused(now.plus(Duration::from_millis(200)), later), None);
    assert!(pace.rate(later).unwrap() < 0.81 * before);
    assert_eq!(pace.cruise(), cruise);
}

#[test]
fn after_a_refusal_no_more_than_nine_tenths_go_out_at_once_and_it_comes_back_in_ten_seconds() {
    let mut pace = limited(100.0);
    let now = Timestamp(60 * SECOND);
    let before = pace.rate(now).unwrap();
    pace.on_refused(now, now);
    assert!(pace.rate(now).unwrap() <= 0.9 * before);
    let after = pace.rate(now.plus(RECOVERY)).unwrap();
    assert!((0.9 * before..before).contains(&after), "{after} of {before}");
}

#[test]
fn half_of_what_was_known_is_sent_after_a_restart() {
    assert_eq!(limited(10.0).rate(Timestamp(0)), Some(5.0));
}

#[test]
fn pins_hold() {
    let settings = PaceSettings {
        least: 2.0,
        most: Some(5.0),
        ..PaceSettings::default()
    };
    let mut pace = Pace::new(settings, Timestamp(0));
    assert_eq!(pace.rate(Timestamp(0)), Some(5.0));
    pace.restore(Some(50.0), Timestamp(0));
    assert_eq!(pace.rate(Timestamp(60 * SECOND)), Some(5.0));
    for second in 60..400 {
        let now = Timestamp(second * SECOND);
        pace.on_refused(now, now);
    }
    assert!(pace.rate(Timestamp(500 * SECOND)).unwrap() >= 2.0);
}
