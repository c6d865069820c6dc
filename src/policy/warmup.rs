//! How much of a new address a provider gets to see in a day: the warm-up of one Source at one provider.
//!
//! Takes a ladder, what was charged so far, how the provider answered, and `now`; gives the cap of the day and how much of it
//! may be out by the end of this hour. Never counts what is sent: the store does, in the same step as the INTENT (I16).
//!
//! A receiver judges an address that it does not know by its first weeks: steady, growing slowly, welcome. So the cap takes the
//! next step of the ladder after a day on which at least half of it was used and nobody minded, and not before. It holds
//! after a day with too many deferrals or complaints; one deferral or complaint is no rate, whatever the percentage. A block
//! halves it, at once and once a day. After 14 days without mail it shrinks by a tenth a day, down to the first step: receivers
//! forget. The last step, passed well, ends the warm-up; long silence begins it again from there.
//!
//! No bursts: in each hour at most a twelfth of the cap, so that a day's mail takes half a day at least.
//!
//! Failure semantics. Days and hours never come back. A clock that jumps back finds the day that was last there, used up as it
//! was; one that jumps ahead has had that day's cap when the day comes. Tallies may be lost in a crash, which at worst grows
//! the cap by one step after a bad day; what was charged is not lost.

use std::time::Duration;

use super::warmup_ladder::{Ladder, times};
use crate::domain::{Lane, LaneAction, Timestamp};

/// In an hour at most this part of the day's cap goes out.
pub const HOURS_OF_A_CAP: u64 = 12;
/// Of 1,000 messages this many may be put off on a day after which the cap grows; it must be fewer.
const DEFERRED_PER_1000: u64 = 5;
/// The same for complaints.
const COMPLAINTS_PER_1000: u64 = 1;
/// Fewer deferrals, or complaints, are no rate.
const COUNT_MIN: u64 = 2;
/// Days without mail after which the cap shrinks.
const IDLE_DAYS: u32 = 14;
/// What is left of it after each further one.
const IDLE_DECAY: f64 = 0.9;
/// A Source of this age, in days, that is seen for the first time needs no warm-up: it was at work elsewhere.
const WARM_AGE_DAYS: u32 = 60;
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// Where a warm-up stands: what the last day led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The cap grew, or this is the first day.
    Growing,
    /// The cap stays: less than half of it was used.
    Unused,
    /// The cap stays: too many deferrals or complaints.
    Held,
    /// A block halved it.
    Halved,
    /// It shrinks for want of mail.
    Idle,
    /// The end of the ladder was reached: no cap.
    Done,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Growing,
        Self::Unused,
        Self::Held,
        Self::Halved,
        Self::Idle,
        Self::Done,
    ];

    /// The name that API and commands use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Growing => "growing",
            Self::Unused => "unused",
            Self::Held => "held",
            Self::Halved => "halved",
            Self::Idle => "idle",
            Self::Done => "done",
        }
    }
}

/// All that has to be remembered of a warm-up; days and hours count from 1970 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The day that the cap is for.
    pub day: u32,
    /// On how many days before it there was mail.
    pub days_sent: u32,
    /// The cap.
    pub cap: u64,
    /// What the last day led to.
    pub stage: Stage,
    /// Messages answered on this day.
    pub answered: u64,
    /// Of these, put off because of the Source.
    pub deferred: u64,
    /// Complaints on this day.
    pub complaints: u64,
    /// The last day with mail, or the first of all.
    pub last_sent: u32,
    /// The last day on which a block halved the cap.
    pub halved_on: u32,
    /// The hour whose share is being used.
    pub hour: u64,
    /// What was used of the day when it began.
    pub used_at_hour: u64,
}

/// What may go out, as things are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The day that is charged.
    pub day: u32,
    /// Its cap.
    pub cap: u64,
    /// Of the day's mail this much may be out by the end of the hour.
    pub allowed: u64,
    /// How much of it is out.
    pub used: u64,
    /// When more may go, if that is all.
    pub until: Timestamp,
}

impl Window {
    /// What may still go before `until`.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.allowed.saturating_sub(self.used)
    }
}

/// A warm-up as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmupView {
    /// Of which lane.
    pub lane: Lane,
    /// Where it stands.
    pub progress: Progress,
    /// What may go out; none when the warm-up is done.
    pub window: Option<Window>,
    /// The cap of tomorrow, if today goes well; none when that ends the warm-up.
    pub next_cap: Option<u64>,
}

/// What was charged on a day: the store's counter, or none.
pub type Used = Option<(u32, u64)>;

/// The warm-up of one Source at one provider.
#[derive(Debug, Clone)]
pub struct Warmup {
    ladder: Ladder,
    progress: Progress,
}

/// The UTC day of an instant, in days since 1970.
#[must_use]
pub fn day_of(now: Timestamp) -> u32 {
    u32::try_from(now.0 / DAY).unwrap_or(u32::MAX)
}

/// When a UTC day begins.
#[must_use]
pub fn day_begins(day: u32) -> Timestamp {
    Timestamp(u64::from(day).saturating_mul(DAY))
}

impl Warmup {
    /// The first sight of a Source that was born on this day. An old one was at work elsewhere and is warm.
    #[must_use]
    pub fn begin(ladder: Ladder, born: u32, now: Timestamp) -> Self {
        let day = day_of(now);
        let is_warm = day.saturating_sub(born) >= WARM_AGE_DAYS;
        let progress = Progress {
            day,
            days_sent: 0,
            cap: if is_warm { ladder.last() } else { ladder.first() },
            stage: if is_warm { Stage::Done } else { Stage::Growing },
            answered: 0,
            deferred: 0,
            complaints: 0,
            last_sent: day,
            halved_on: 0,
            hour: 0,
            used_at_hour: 0,
        };
        Self { ladder, progress }
    }

    /// Goes on where it was, perhaps on another ladder.
    #[must_use]
    pub fn resume(ladder: Ladder, progress: Progress) -> Self {
        let cap = match progress.stage {
            Stage::Done => ladder.last(),
            // Its first day: nothing was proven yet, so the first step is what the ladder says.
            Stage::Growing if progress.days_sent == 0 => ladder.first(),
            _ => progress.cap.clamp(floor(&ladder), ladder.last()),
        };
        let progress = Progress { cap, ..progress };
        Self { ladder, progress }
    }

    /// All that has to be remembered.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// The cap of tomorrow if today goes well; none when the warm-up is, or would be, done.
    #[must_use]
    pub fn next_cap(&self) -> Option<u64> {
        match self.progress.stage {
            Stage::Done => None,
            _ => self.ladder.above(self.progress.cap),
        }
    }

    /// The provider answered a message: it took it, or put it off or refused it, with this wish for the lane.
    pub fn on_answer(&mut self, delivered: bool, action: LaneAction, used: Used, now: Timestamp) {
        self.turn_to(used, now);
        let progress = &mut self.progress;
        progress.answered += 1;
        progress.last_sent = progress.last_sent.max(progress.day);
        match action {
            LaneAction::Slow if !delivered => progress.deferred += 1,
            LaneAction::Stop(_) => self.on_block(),
            LaneAction::None | LaneAction::Slow | LaneAction::FewerConnections | LaneAction::Reconnect => {}
        }
        self.check_invariants();
    }

    /// Somebody complained about mail that this Source brought to this provider.
    pub fn on_complaint(&mut self, used: Used, now: Timestamp) {
        self.turn_to(used, now);
        self.progress.complaints += 1;
    }

    /// What may go out, as things are; none when there is no cap.
    pub fn window(&mut self, used: Used, now: Timestamp) -> Option<Window> {
        self.turn_to(used, now);
        let progress = &mut self.progress;
        if progress.stage == Stage::Done {
            return None;
        }
        // The store may know of a later day than we do, from before a crash or of another node.
        let day = used.map_or(progress.day, |(day, _)| day.max(progress.day));
        let used = used.filter(|(of, _)| *of == day).map_or(0, |(_, used)| used);
        let hour = now.0 / HOUR;
        if hour > progress.hour || used < progress.used_at_hour {
            progress.hour = progress.hour.max(hour);
            progress.used_at_hour = used;
        }
        let share = progress.cap.div_ceil(HOURS_OF_A_CAP);
        let allowed = progress.cap.min(progress.used_at_hour.saturating_add(share));
        let tomorrow = Timestamp((u64::from(day) + 1).saturating_mul(DAY));
        let until = match used >= progress.cap || day > day_of(now) {
            true => tomorrow,
            false => Timestamp((progress.hour + 1).saturating_mul(HOUR)).min(tomorrow),
        };
        Some(Window {
            day,
            cap: progress.cap,
            allowed,
            used,
            until: until.max(now.plus(Duration::from_secs(1))),
        })
    }

    /// A block, at once and once a day. A Source whose warm-up is done is not sent back: the lane stops by itself.
    fn on_block(&mut self) {
        let progress = &mut self.progress;
        if progress.stage == Stage::Done || progress.halved_on == progress.day {
            return;
        }
        progress.halved_on = progress.day;
        progress.stage = Stage::Halved;
        progress.cap = (progress.cap / 2).max(floor(&self.ladder));
    }

    /// Ends the day if another one has begun, and all days since.
    fn turn_to(&mut self, used: Used, now: Timestamp) {
        let today = day_of(now);
        if today <= self.progress.day {
            return;
        }
        let closed = self.progress.day;
        let used = used.filter(|(of, _)| *of == closed).map_or(0, |(_, used)| used);
        self.judge(used);
        // The days in between had no mail; today has none yet.
        let silent_since = self.progress.last_sent.saturating_add(IDLE_DAYS);
        for _ in silent_since.max(closed)..today {
            if self.progress.cap <= self.ladder.first() {
                break;
            }
            self.progress.cap = times(self.progress.cap, IDLE_DECAY)
                .max(self.ladder.first())
                .min(self.progress.cap - 1);
            self.progress.stage = Stage::Idle;
        }
        let progress = &mut self.progress;
        (progress.day, progress.answered, progress.deferred, progress.complaints) = (today, 0, 0, 0);
        progress.used_at_hour = 0;
        self.check_invariants();
    }

    /// What the day that ends leads to.
    fn judge(&mut self, used: u64) {
        let progress = &mut self.progress;
        if used == 0 && progress.answered == 0 {
            return;
        }
        progress.days_sent = progress.days_sent.saturating_add(1);
        progress.last_sent = progress.last_sent.max(progress.day);
        let of = used.max(progress.answered);
        let too_many = |count: u64, per_1000: u64| count >= COUNT_MIN && count * 1_000 >= per_1000 * of;
        let breach =
            too_many(progress.deferred, DEFERRED_PER_1000) || too_many(progress.complaints, COMPLAINTS_PER_1000);
        if progress.stage == Stage::Done || progress.halved_on == progress.day {
            return;
        }
        if breach {
            progress.stage = Stage::Held;
        } else if used * 2 < progress.cap {
            progress.stage = Stage::Unused;
        } else if let Some(next) = self.ladder.above(progress.cap) {
            (progress.cap, progress.stage) = (next, Stage::Growing);
        } else {
            progress.stage = Stage::Done;
        }
    }

    fn check_invariants(&self) {
        debug_assert!(self.progress.cap >= floor(&self.ladder), "a cap never ends the lane");
        debug_assert!(self.progress.cap <= self.ladder.last(), "no cap is beyond the ladder");
        debug_assert!(
            self.progress.stage != Stage::Done || self.progress.cap == self.ladder.last(),
            "only the last step ends a warm-up"
        );
    }
}

/// No block makes the cap smaller than this.
fn floor(ladder: &Ladder) -> u64 {
    (ladder.first() / 2).max(1)
}

#[cfg(test)]
mod tests;
