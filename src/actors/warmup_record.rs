//! How the progress of a warm-up is written into a note.
//!
//! Takes a lane and its progress, gives a note, and back. What another version wrote, or what is no such note, is none.

use serde::{Deserialize, Serialize};

use crate::domain::{Lane, Note, NoteKind, Timestamp, lane_note_key, lane_of_note_key};
use crate::policy::warmup::{Progress, Stage};
use crate::store::{decode_note_value, encode_note_value};

/// The version of [`ProgressRecord`].
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct ProgressRecord {
    day: u32,
    days_sent: u32,
    cap: u64,
    /// Its place in `Stage::ALL`, to which new ones are added at the end only.
    stage: u8,
    answered: u64,
    deferred: u64,
    complaints: u64,
    last_sent: u32,
    halved_on: u32,
    hour: u64,
    used_at_hour: u64,
}

/// The note about a warm-up; none when the names of the lane are too long for one.
pub(super) fn write_note(lane: &Lane, progress: &Progress, now: Timestamp) -> Option<Note> {
    let stage = Stage::ALL.iter().position(|stage| *stage == progress.stage)?;
    let record = ProgressRecord {
        day: progress.day,
        days_sent: progress.days_sent,
        cap: progress.cap,
        stage: u8::try_from(stage).ok()?,
        answered: progress.answered,
        deferred: progress.deferred,
        complaints: progress.complaints,
        last_sent: progress.last_sent,
        halved_on: progress.halved_on,
        hour: progress.hour,
        used_at_hour: progress.used_at_hour,
    };
    let value = encode_note_value(VERSION, &record);
    Note::new(NoteKind::Warmup, lane_note_key(lane), value, now).ok()
}

/// The warm-up in a note.
pub(super) fn read_note(note: &Note) -> Option<(Lane, Progress)> {
    let lane = lane_of_note_key(note.key())?;
    let record: ProgressRecord = decode_note_value(VERSION, note.value())?;
    let progress = Progress {
        day: record.day,
        days_sent: record.days_sent,
        cap: record.cap,
        stage: *Stage::ALL.get(usize::from(record.stage))?,
        answered: record.answered,
        deferred: record.deferred,
        complaints: record.complaints,
        last_sent: record.last_sent,
        halved_on: record.halved_on,
        hour: record.hour,
        used_at_hour: record.used_at_hour,
    };
    Some((lane, progress))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ProviderId, SourceId};

    #[test]
    fn a_warm_up_comes_back_from_its_note_and_a_cut_note_is_none() {
        let lane = Lane {
            source: SourceId::from("ip1"),
            provider: ProviderId::from("google"),
        };
        for stage in Stage::ALL {
            let progress = Progress {
                day: 20_000,
                days_sent: 3,
                cap: 68,
                stage,
                answered: 60,
                deferred: 1,
                complaints: 2,
                last_sent: 19_999,
                halved_on: 19_998,
                hour: 480_001,
                used_at_hour: 17,
            };
            let note = write_note(&lane, &progress, Timestamp(5)).expect("short names");
            assert_eq!(read_note(&note), Some((lane.clone(), progress)));
            let cut = &note.value()[..note.value().len() - 1];
            let cut = Note::new(NoteKind::Warmup, note.key(), cut, Timestamp(5)).expect("within bounds");
            assert_eq!(read_note(&cut), None);
        }
    }
}
