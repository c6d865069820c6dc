//! What a run comes to: its figures, and everything that makes it fail.
//!
//! Takes the tally and the record; gives a JSON object and reasons. Pure.

use serde::Serialize;

use super::director::{ACCEPTED_PER_KILL, Record};
use super::judge::Tally;
use super::plan::StoreKind;

/// Lost replies that one fault may leave, as a multiple of the sessions: those in hand, and those whose OUTCOME was not
/// durable yet. More is a store that forgets.
const AMBIGUOUS_PER_SESSION: u64 = 3;

/// Everything about a run, as one JSON object.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) passed: bool,
    pub(crate) store: StoreKind,
    pub(crate) seed: u64,
    pub(crate) seconds: f64,
    #[serde(flatten)]
    pub(crate) tally: Tally,
    pub(crate) balanced: bool,
    #[serde(flatten)]
    pub(crate) record: Record,
    /// Calls refused for want of room or of a store.
    pub(crate) store_refusals: u64,
    /// Times that a call under a key was repeated because nobody had answered.
    pub(crate) repeated: u64,
    /// The deliberate bug that was built in.
    pub(crate) sabotage: Option<String>,
    /// Why it failed.
    pub(crate) failures: Vec<String>,
}

/// What a run was to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) kills: u64,
    /// Sessions of all engines at the same time.
    pub(crate) sessions_max: u64,
}

/// Everything that makes a run fail.
pub(crate) fn failures(asked: Asked, tally: &Tally, record: &Record) -> Vec<String> {
    let mut failures: Vec<String> = tally
        .wrong()
        .into_iter()
        .map(|(name, count)| format!("{name} is {count}"))
        .collect();
    let mut must = |holds: bool, text: String| {
        if !holds {
            failures.push(text);
        }
    };
    let duplicates = format!("{} duplicates, {} ambiguous", tally.duplicates, tally.ambiguous);
    must(tally.duplicates <= tally.ambiguous, duplicates);
    let faults: u64 = record.faults.values().sum();
    let most = faults * asked.sessions_max * AMBIGUOUS_PER_SESSION;
    let ambiguous = format!("{} ambiguous; {faults} faults leave {most} at most", tally.ambiguous);
    must(tally.ambiguous <= most, ambiguous);
    must(
        record.unbalanced.is_empty(),
        format!("the ledger does not balance: {:?}", record.unbalanced),
    );
    must(record.wrong.is_empty(), format!("on the way: {:?}", record.wrong));
    // A run in which too little happened proves nothing.
    must(
        record.kills >= asked.kills,
        format!("{} kills of {}", record.kills, asked.kills),
    );
    let enough = ACCEPTED_PER_KILL * record.kills;
    must(
        tally.accepted >= enough,
        format!("{} accepted, {enough} make a run", tally.accepted),
    );
    must(
        tally.ambiguous > 0,
        "no kill met a session between dot and reply".to_owned(),
    );
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked = Asked {
        kills: 2,
        sessions_max: 10,
    };

    fn good() -> (Tally, Record) {
        let tally = Tally {
            accepted: 400,
            copies: 401,
            verdicts: 400,
            duplicates: 1,
            ambiguous: 5,
            ..Tally::default()
        };
        let record = Record {
            kills: 2,
            faults: [("kill", 2)].into(),
            ..Record::default()
        };
        (tally, record)
    }

    fn check(change: impl FnOnce(&mut Tally, &mut Record), expect: &str) {
        let (mut tally, mut record) = good();
        change(&mut tally, &mut record);
        let failures = failures(ASKED, &tally, &record);
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert!(failures[0].contains(expect), "{failures:?}");
    }

    #[test]
    fn a_good_run_passes() {
        let (tally, record) = good();
        assert_eq!(failures(ASKED, &tally, &record), Vec::<String>::new());
    }

    #[test]
    fn each_thing_that_must_not_be_fails_the_run_by_itself() {
        check(|tally, _| tally.lost = 1, "lost");
        check(|tally, _| tally.unknown_duplicates = 1, "unknown_duplicates");
        check(|tally, _| tally.phantoms = 1, "phantoms");
        check(|tally, _| tally.hold_duplicates = 1, "hold_duplicates");
        check(|tally, _| tally.unsettled = 1, "unsettled");
        check(|tally, _| tally.contradicted = 1, "contradicted");
        check(|tally, _| tally.untold = 1, "untold");
        check(|tally, _| tally.early = 1, "early");
        check(|tally, _| tally.duplicates = 6, "6 duplicates");
        check(|tally, _| tally.ambiguous = 61, "61 ambiguous");
        check(|_, record| record.unbalanced.push("x".to_owned()), "balance");
        check(|_, record| record.wrong.push("x".to_owned()), "on the way");
    }

    #[test]
    fn a_run_in_which_too_little_happened_fails() {
        check(|tally, _| tally.accepted = 399, "399 accepted");
        check(|_, record| record.kills = 1, "1 kills");
        check(
            |tally, _| {
                tally.ambiguous = 0;
                tally.duplicates = 0;
            },
            "no kill met",
        );
    }
}
