//! Reservations, windows and notes of one new Source, at made-up times.

use super::*;
use crate::domain::ProviderId;
use crate::policy::warmup::day_of;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const NOW: Timestamp = Timestamp(20_000 * DAY + 9 * HOUR);

fn lane(source: &str, provider: &str) -> Lane {
    Lane {
        source: SourceId::from(source),
        provider: ProviderId::from(provider),
    }
}

/// Warm-ups of one new Source, 24 a day at first, 2 an hour; read already.
fn warmups() -> Arc<Warmups> {
    let warmups = unread();
    warmups.read(&[SourceId::from("new")], &[], Vec::new(), NOW);
    warmups
}

fn unread() -> Arc<Warmups> {
    let ladders = "version: 1\ndefault: {steps: [24, 31]}\nsites: {steps: [12]}";
    Arc::new(Warmups::new(WarmupSettings {
        born: BTreeMap::from([(SourceId::from("new"), day_of(NOW))]),
        ladders: Ladders::from_yaml(ladders).expect("good ladders"),
    }))
}

fn steps(default: &str) -> Ladders {
    let text = format!("version: 1\ndefault: {{steps: [{default}]}}\nsites: {{steps: [12]}}");
    Ladders::from_yaml(&text).expect("good ladders")
}

fn charge_one(warmups: &Arc<Warmups>, lane: &Lane) {
    let reserved = warmups
        .reserve(lane, NOW)
        .expect("there is room")
        .expect("is warmed up");
    let charge = reserved.charge(NOW).expect("has a cap");
    reserved.charged(charge, NOW);
}

#[test]
fn places_are_given_up_to_the_window_and_come_back_when_they_were_not_used() {
    let (warmups, lane) = (warmups(), lane("new", "google"));
    assert_eq!(warmups.room(&lane, NOW), Room::Left(2));
    let first = warmups.reserve(&lane, NOW).expect("there is room");
    let second = warmups.reserve(&lane, NOW).expect("there is room");
    let next_hour = Timestamp(NOW.0 + HOUR);
    assert_eq!(
        warmups.reserve(&lane, NOW).err(),
        Some(next_hour),
        "both are on their way"
    );
    drop(second);
    assert_eq!(warmups.room(&lane, NOW), Room::Left(1));
    drop(first);
    charge_one(&warmups, &lane);
    charge_one(&warmups, &lane);
    assert_eq!(warmups.room(&lane, NOW), Room::FullUntil(next_hour));
    assert_eq!(warmups.most(&lane, 0, NOW), 0);
    assert_eq!(warmups.room(&lane, next_hour), Room::Left(2));
}

#[test]
fn other_sources_and_smart_hosts_are_free() {
    let warmups = warmups();
    for lane in [lane("warm", "google"), lane("new", "route:smarthost")] {
        assert_eq!(warmups.room(&lane, NOW), Room::Free);
        assert!(matches!(warmups.reserve(&lane, NOW), Ok(None)));
    }
    assert_eq!(warmups.room(&lane("new", "site:example.com"), NOW), Room::Left(1));
}

#[test]
fn nothing_goes_before_the_state_was_read() {
    let (warmups, lane) = (unread(), lane("new", "google"));
    assert_eq!(warmups.most(&lane, 0, NOW), 0);
    assert!(warmups.list(NOW).is_empty(), "and it does not begin by that");
    let ours = [SourceId::from("new"), SourceId::from("warm")];
    assert_eq!(warmups.unread(&ours), [SourceId::from("new")]);
    let spent = Spent {
        day: day_of(NOW),
        used: 23,
    };
    warmups.read(&[SourceId::from("new")], &[], vec![(lane.clone(), spent)], NOW);
    assert_eq!(warmups.room(&lane, NOW), Room::Left(1), "killed before the first note");
    assert_eq!(warmups.unread(&ours), []);
    assert_eq!(warmups.unread(&[]), [], "it went to another node");
    assert_eq!(warmups.most(&lane, 0, NOW), 0);
    assert_eq!(warmups.unread(&ours), [SourceId::from("new")], "and came back");
}

#[test]
fn what_the_store_refuses_fills_the_lane_until_the_next_window() {
    let (warmups, lane) = (warmups(), lane("new", "google"));
    let reserved = warmups
        .reserve(&lane, NOW)
        .expect("there is room")
        .expect("is warmed up");
    let charge = reserved.charge(NOW).expect("has a cap");
    assert_eq!((charge.day, charge.cap), (day_of(NOW), 2));
    reserved.over_cap(charge, NOW);
    assert_eq!(reserved.until(NOW), Timestamp(NOW.0 + HOUR));
    drop(reserved);
    assert_eq!(warmups.most(&lane, 0, NOW), 0);
}

#[test]
fn progress_goes_into_notes_when_it_changed_and_comes_back_from_them() {
    let (warmups, lane) = (warmups(), lane("new", "google"));
    charge_one(&warmups, &lane);
    warmups.answered(&lane, true, LaneAction::None, NOW);
    let written = warmups.notes(10, NOW);
    assert_eq!(written.len(), 1);
    warmups.remembered(&written);
    assert!(warmups.notes(10, NOW).is_empty());
    let stop = LaneAction::Stop(Duration::from_secs(60));
    warmups.answered(&lane, false, stop, NOW);
    let halved = warmups.notes(10, NOW);
    assert_eq!(halved.len(), 1, "a block is worth remembering");

    let again = unread();
    let notes: Vec<Note> = halved.into_iter().map(|(_, _, note)| note).collect();
    let spent = Spent {
        day: day_of(NOW),
        used: 1,
    };
    again.read(&[SourceId::from("new")], &notes, vec![(lane.clone(), spent)], NOW);
    let views = again.list(NOW);
    assert_eq!(views, warmups.list(NOW));
    assert_eq!((views[0].progress.cap, views[0].progress.stage.name()), (12, "halved"));
    assert_eq!(views[0].next_cap, Some(17));
    assert!(again.notes(10, NOW).is_empty());
}

#[test]
fn another_ladder_counts_at_once_and_what_was_charged_stays() {
    let (warmups, lane) = (warmups(), lane("new", "google"));
    charge_one(&warmups, &lane);
    assert_eq!(warmups.room(&lane, NOW), Room::Left(1));
    warmups.climb(steps("48, 60"));
    assert_eq!(warmups.room(&lane, NOW), Room::Left(3), "a twelfth of 48, less one");
    warmups.climb(steps("12"));
    assert_eq!(warmups.most(&lane, 0, NOW), 0, "a twelfth of 12 is out");
    let used = warmups
        .of(&lane, NOW)
        .and_then(|view| view.window)
        .map(|window| window.used);
    assert_eq!(used, Some(1));
    // A lane that begins later begins on the new ladder.
    let other = self::lane("new", "yahoo");
    assert_eq!(warmups.room(&other, NOW), Room::Left(1));
}

#[test]
fn a_warm_up_that_has_climbed_keeps_its_cap_on_another_ladder_and_climbs_that_one() {
    let (warmups, lane) = (warmups(), lane("new", "google"));
    charge_one(&warmups, &lane);
    warmups.answered(&lane, true, LaneAction::None, NOW);
    let tomorrow = Timestamp(NOW.0 + DAY);
    let cap = |now| warmups.of(&lane, now).expect("is warmed up").progress.cap;
    assert_eq!(cap(tomorrow), 24, "less than half of it was used");
    warmups.climb(steps("10, 20, 40"));
    assert_eq!(cap(tomorrow), 24, "it has been out for a day");
    let next = warmups.of(&lane, tomorrow).expect("is warmed up").next_cap;
    assert_eq!(next, Some(34), "gently up to the next step");
}
