//! All warm-ups of one engine: what its actors and sessions ask before they send, and tell after.
//!
//! Takes a lane and the time; gives room, reservations and charges, and what is worth remembering as notes. Decides nothing:
//! `policy::warmup` does, and the store counts. What is kept here of the counters is a copy, so that a full lane is seen
//! without asking; the guard of INTENT is what holds. Nothing goes from a Source whose state has not been read yet.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::warmup_record::{read_note, write_note};
use crate::domain::{Lane, LaneAction, Note, SourceId, Timestamp};
use crate::policy::warmup::{Progress, Warmup, WarmupView, Window};
use crate::policy::warmup_ladder::{Ladder, Ladders};
use crate::queue::{Charge, Spent};

/// Lanes that are warmed up at the most; what was longest without mail is forgotten first.
pub const LANES_MAX: usize = 20_000;
/// A Source whose state is being read is asked for again after this.
const READING: Duration = Duration::from_secs(1);

/// Which Sources are warmed up, and how.
#[derive(Debug, Clone)]
pub struct WarmupSettings {
    /// Their birthdays, in days since 1970.
    pub born: BTreeMap<SourceId, u32>,
    /// The ladders.
    pub ladders: Ladders,
}

impl Default for WarmupSettings {
    fn default() -> Self {
        Self {
            born: BTreeMap::new(),
            ladders: Ladders::built_in(),
        }
    }
}

/// What a lane may still send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// As much as it likes: it is not warmed up.
    Free,
    /// So much before the next window, 1 at least.
    Left(u64),
    /// Nothing before this time.
    FullUntil(Timestamp),
}

/// All warm-ups. One for each engine.
#[derive(Debug)]
pub struct Warmups {
    born: BTreeMap<SourceId, u32>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    ladders: Ladders,
    lanes: HashMap<Lane, Entry>,
    /// Sources whose state was read from the store.
    read: HashSet<SourceId>,
}

#[derive(Debug)]
struct Entry {
    warmup: Warmup,
    spent: Option<Spent>,
    /// Deliveries in the hands of sessions that were not charged yet.
    reserved: u64,
    /// As it was remembered last.
    remembered: Option<Progress>,
}

impl Entry {
    fn used(&self) -> Option<(u32, u64)> {
        self.spent.map(|spent| (spent.day, spent.used))
    }

    fn window(&mut self, now: Timestamp) -> Option<Window> {
        let used = self.used();
        self.warmup.window(used, now)
    }

    fn room(&mut self, now: Timestamp) -> Room {
        match self.window(now) {
            None => Room::Free,
            Some(window) => match window.left().saturating_sub(self.reserved) {
                0 => Room::FullUntil(window.until),
                left => Room::Left(left),
            },
        }
    }
}

impl Warmups {
    /// Those of an engine with these Sources, none of which was read yet.
    #[must_use]
    pub fn new(settings: WarmupSettings) -> Self {
        let WarmupSettings { born, ladders } = settings;
        let known = Known {
            ladders,
            lanes: HashMap::new(),
            read: HashSet::new(),
        };
        Self {
            born,
            known: Mutex::new(known),
        }
    }

    /// From now on these ladders are climbed. Each warm-up goes on where it is; what it was charged stays.
    pub fn climb(&self, ladders: Ladders) {
        let mut known = self.known();
        if known.ladders == ladders {
            return;
        }
        for (lane, entry) in &mut known.lanes {
            if let Some(ladder) = ladders.of(&lane.provider) {
                entry.warmup = Warmup::resume(ladder.clone(), entry.warmup.progress());
            }
        }
        known.ladders = ladders;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no Source is warmed up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.born.is_empty()
    }

    /// What a lane may still send.
    #[must_use]
    pub fn room(&self, lane: &Lane, now: Timestamp) -> Room {
        self.with(lane, now, |entry| entry.room(now))
            .unwrap_or_else(|room| room)
    }

    /// Until when a lane that has so many Deliveries in hand has no room for one more, if it has none.
    #[must_use]
    pub fn full_until(&self, lane: &Lane, in_hand: usize, now: Timestamp) -> Option<Timestamp> {
        let in_hand = u64::try_from(in_hand).unwrap_or(u64::MAX);
        let full = |entry: &mut Entry| {
            let (reserved, window) = (entry.reserved, entry.window(now)?);
            let left = window.left().saturating_sub(reserved);
            (left <= in_hand).then_some(window.until)
        };
        match self.with(lane, now, full) {
            Ok(until) => until,
            Err(Room::FullUntil(until)) => Some(until),
            Err(Room::Free | Room::Left(_)) => None,
        }
    }

    /// How many Deliveries a lane that has so many in hand may still be given before the next window.
    #[must_use]
    pub fn most(&self, lane: &Lane, in_hand: usize, now: Timestamp) -> usize {
        match self.room(lane, now) {
            Room::Free => usize::MAX,
            Room::Left(left) => usize::try_from(left).unwrap_or(usize::MAX).saturating_sub(in_hand),
            Room::FullUntil(_) => 0,
        }
    }

    /// Takes a place in the window of a lane for one Delivery; none is needed where nothing is warmed up.
    ///
    /// # Errors
    /// When there is none, with the time when there may be one.
    pub fn reserve(self: &Arc<Self>, lane: &Lane, now: Timestamp) -> Result<Option<Reservation>, Timestamp> {
        let taken = self.with(lane, now, |entry| {
            let room = entry.room(now);
            entry.reserved += u64::from(matches!(room, Room::Left(_)));
            room
        });
        match taken.unwrap_or_else(|room| room) {
            Room::Free => Ok(None),
            Room::FullUntil(until) => Err(until),
            Room::Left(_) => Ok(Some(Reservation {
                warmups: Arc::clone(self),
                lane: lane.clone(),
            })),
        }
    }

    /// The provider answered a message of this lane.
    pub fn answered(&self, lane: &Lane, delivered: bool, action: LaneAction, now: Timestamp) {
        // An error means that nothing is warmed up here.
        let _ = self.with(lane, now, |entry| {
            let used = entry.used();
            entry.warmup.on_answer(delivered, action, used, now);
        });
    }

    /// Somebody complained about mail of this lane.
    pub fn complained(&self, lane: &Lane, now: Timestamp) {
        let _ = self.with(lane, now, |entry| {
            let used = entry.used();
            entry.warmup.on_complaint(used, now);
        });
    }

    /// Goes on with what the store knows of these Sources: they came to us.
    pub fn read(&self, sources: &[SourceId], notes: &[Note], charges: Vec<(Lane, Spent)>, now: Timestamp) {
        let mut charges: BTreeMap<Lane, Spent> = charges.into_iter().collect();
        charges.retain(|lane, _| sources.contains(&lane.source));
        let mut known = self.known();
        let ladders = known.ladders.clone();
        known.lanes.retain(|lane, _| !sources.contains(&lane.source));
        for note in notes {
            let Some((lane, progress)) = read_note(note) else {
                tracing::error!("a note about a warm-up cannot be read; the warm-up begins anew");
                continue;
            };
            let ladder = ladders.of(&lane.provider);
            let Some(ladder) = ladder.filter(|_| sources.contains(&lane.source)) else {
                continue;
            };
            let entry = Entry {
                warmup: Warmup::resume(ladder.clone(), progress),
                spent: charges.remove(&lane),
                reserved: 0,
                remembered: Some(progress),
            };
            known.lanes.insert(lane, entry);
        }
        for (lane, spent) in charges {
            // Killed before the first note: what went out counts all the same.
            if let Some((ladder, born)) = self.begins(&ladders, &lane) {
                let entry = Entry {
                    warmup: Warmup::begin(ladder, born, now),
                    spent: Some(spent),
                    reserved: 0,
                    remembered: None,
                };
                known.lanes.insert(lane, entry);
            }
        }
        known.read.extend(sources.iter().cloned());
    }

    /// Sources of `ours` whose state has to be read; those that are no longer ours are forgotten.
    #[must_use]
    pub fn unread(&self, ours: &[SourceId]) -> Vec<SourceId> {
        let mut known = self.known();
        known.read.retain(|source| ours.contains(source));
        let Known { lanes, read, .. } = &mut *known;
        lanes.retain(|lane, entry| read.contains(&lane.source) || entry.reserved > 0);
        let wanted = ours.iter().filter(|source| self.born.contains_key(*source));
        wanted.filter(|source| !read.contains(*source)).cloned().collect()
    }

    /// What has changed since it was remembered last, at most `max`.
    #[must_use]
    pub fn notes(&self, max: usize, now: Timestamp) -> Vec<(Lane, Progress, Note)> {
        let known = self.known();
        let changed = known.lanes.iter().filter(|(lane, entry)| {
            known.read.contains(&lane.source) && entry.remembered != Some(entry.warmup.progress())
        });
        let note = |(lane, entry): (&Lane, &Entry)| {
            let progress = entry.warmup.progress();
            Some((lane.clone(), progress, write_note(lane, &progress, now)?))
        };
        changed.filter_map(note).take(max).collect()
    }

    /// These are durable.
    pub fn remembered(&self, written: &[(Lane, Progress, Note)]) {
        let mut known = self.known();
        for (lane, progress, _) in written {
            if let Some(entry) = known.lanes.get_mut(lane) {
                entry.remembered = Some(*progress);
            }
        }
    }

    /// That of a lane, if it is warmed up and its state was read.
    #[must_use]
    pub fn of(&self, lane: &Lane, now: Timestamp) -> Option<WarmupView> {
        let view = |entry: &mut Entry| WarmupView {
            lane: lane.clone(),
            window: entry.window(now),
            progress: entry.warmup.progress(),
            next_cap: entry.warmup.next_cap(),
        };
        self.with(lane, now, view).ok()
    }

    /// All of them, by lane.
    #[must_use]
    pub fn list(&self, now: Timestamp) -> Vec<WarmupView> {
        let mut known = self.known();
        let view = |(lane, entry): (&Lane, &mut Entry)| WarmupView {
            lane: lane.clone(),
            window: entry.window(now),
            progress: entry.warmup.progress(),
            next_cap: entry.warmup.next_cap(),
        };
        let mut all: Vec<WarmupView> = known.lanes.iter_mut().map(view).collect();
        all.sort_by(|one, other| one.lane.cmp(&other.lane));
        all
    }

    /// Where a lane would begin; none when it is not warmed up.
    fn begins(&self, ladders: &Ladders, lane: &Lane) -> Option<(Ladder, u32)> {
        let born = self.born.get(&lane.source)?;
        Some((ladders.of(&lane.provider)?.clone(), *born))
    }

    /// Gives a lane to `look`, from its first day if it was not known. An error is the room of one that cannot be looked at.
    fn with<T>(&self, lane: &Lane, now: Timestamp, look: impl FnOnce(&mut Entry) -> T) -> Result<T, Room> {
        if !self.born.contains_key(&lane.source) {
            return Err(Room::Free);
        }
        let mut known = self.known();
        let Some((ladder, born)) = self.begins(&known.ladders, lane) else {
            return Err(Room::Free);
        };
        if !known.read.contains(&lane.source) && !known.lanes.contains_key(lane) {
            return Err(Room::FullUntil(now.plus(READING)));
        }
        if !known.lanes.contains_key(lane) && known.lanes.len() >= LANES_MAX {
            forget_the_longest_silent(&mut known.lanes);
        }
        let entry = known.lanes.entry(lane.clone()).or_insert_with(|| Entry {
            warmup: Warmup::begin(ladder, born, now),
            spent: None,
            reserved: 0,
            remembered: None,
        });
        Ok(look(entry))
    }
}

/// Makes room for another lane. One that is forgotten begins anew at its first step; what it was charged is in the store.
fn forget_the_longest_silent(lanes: &mut HashMap<Lane, Entry>) {
    let idle = lanes.iter().filter(|(_, entry)| entry.reserved == 0);
    let first = idle.min_by_key(|(lane, entry)| (entry.warmup.progress().last_sent, (*lane).clone()));
    if let Some(lane) = first.map(|(lane, _)| lane.clone()) {
        lanes.remove(&lane);
    }
}

/// A place in the window of a lane, given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    warmups: Arc<Warmups>,
    lane: Lane,
}

impl Reservation {
    /// What the INTENT costs; none when the warm-up has ended meanwhile.
    #[must_use]
    pub fn charge(&self, now: Timestamp) -> Option<Charge> {
        let window = self.warmups.with(&self.lane, now, |entry| entry.window(now));
        let window = window.ok().flatten()?;
        Some(Charge {
            day: window.day,
            cap: window.allowed,
        })
    }

    /// The store recorded the INTENT with this charge.
    pub fn charged(&self, charge: Charge, now: Timestamp) {
        self.note(now, |spent| charge.on(spent).or(spent));
    }

    /// The store refused it: more was used than we knew.
    pub fn over_cap(&self, charge: Charge, now: Timestamp) {
        self.note(now, |spent| {
            let known = spent.filter(|spent| spent.day >= charge.day);
            let day = known.map_or(charge.day, |spent| spent.day);
            let used = known.map_or(0, |spent| spent.used).max(charge.cap);
            Some(Spent { day, used })
        });
    }

    /// When there may be another place.
    #[must_use]
    pub fn until(&self, now: Timestamp) -> Timestamp {
        match self.warmups.room(&self.lane, now) {
            Room::FullUntil(until) => until,
            Room::Free | Room::Left(_) => now.plus(READING),
        }
    }

    fn note(&self, now: Timestamp, change: impl FnOnce(Option<Spent>) -> Option<Spent>) {
        // An error means that the Source is no longer ours: what it used is in the store.
        let _ = self
            .warmups
            .with(&self.lane, now, |entry| entry.spent = change(entry.spent));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(entry) = self.warmups.known().lanes.get_mut(&self.lane) {
            entry.reserved = entry.reserved.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests;
