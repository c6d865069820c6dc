//! How many connections a lane may hold: learnt from what the provider refuses.
//!
//! Takes connections that came up, were refused or could not be made, deliveries with their latency, and `now`; gives
//! permits to open and each change of mind. Three phases:
//!
//! - **Before the first refusal** the target grows with each delivery while nearly all of it is busy, at most 1.5 times what
//!   measured bandwidth times latency needs: past the point where more connections only make each message slower, it stops.
//! - **A refusal names the ceiling**: what is up stays up and nothing is deferred, because work is bound to a session only
//!   when that is up. What comes up proves the ceiling higher, whatever was believed.
//! - **At the ceiling** one more is tried after a wait that doubles with each refusal up to `probe_longest`. One that comes
//!   up is followed by the next at once, so that a doubled capacity is found in seconds.
//!
//! A refusal *below* the ceiling may be one bad host of many. How many in a row it takes to believe it depends on how often
//! refusals have turned out to mean nothing: attempts that were under way before the last refusal never count (one decrease
//! an epoch). Latency never shrinks the target, it only caps growth. Never exceeds its pins. Knows nothing of rates.

use std::time::Duration;

use crate::domain::Timestamp;
use crate::policy::latency_floor::LatencyFloor;

/// Pins and pace of the search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CongestionSettings {
    /// Never fewer, whatever is refused.
    pub least: u32,
    /// Never more, whatever is allowed.
    pub most: u32,
    /// What a lane that knows nothing begins with.
    pub start: u32,
    /// The first wait between two tries at the ceiling.
    pub probe_first: Duration,
    /// No such wait is longer.
    pub probe_longest: Duration,
    /// After a block for reputation: the time between two more connections.
    pub recovery_step: Duration,
}

impl Default for CongestionSettings {
    fn default() -> Self {
        Self {
            least: 1,
            most: 500,
            start: 2,
            probe_first: Duration::from_secs(1),
            probe_longest: Duration::from_secs(200),
            recovery_step: Duration::from_secs(60),
        }
    }
}

/// Busy share of the target from which on more connections would be used.
const BUSY_SHARE: f64 = 0.8;
/// Connections per bandwidth times latency.
const GROWTH_FACTOR: f64 = 1.5;
/// And this many more, so that a small lane can grow at all.
const GROWTH_EXTRA: f64 = 3.0;
/// A ceiling is believed when refusals would otherwise be this improbable.
const DOUBT: f64 = 0.02;
/// How probable it is that a named refusal means nothing, before anything is known.
const NAMED_NOISE: f64 = 0.02;
/// The same for a connection that fails without a word.
const UNNAMED_NOISE: f64 = 0.2;
/// It is never taken to be more improbable than this.
const NOISE_LEAST: f64 = 0.01;
/// Most refusals in a row that are not believed.
const DISBELIEF_MAX: u32 = 12;
/// Weight of a new observation of noise.
const NOISE_WEIGHT: f64 = 0.05;
/// A ceiling below this part of an earlier one has been lowered,
const LOWERED: f64 = 0.9;
/// and for so long that is remembered.
const LOWERED_FOR: Duration = Duration::from_secs(2 * 3600);
/// If more comes up within this time after a refusal was believed, it was believed wrongly.
const BELIEVED_FOR: Duration = Duration::from_secs(5);
/// The wait after the second refusal in a row that is not believed yet; as much longer after each further one.
const RETRY: Duration = Duration::from_millis(20);

/// How many connections, and why no more.
#[derive(Debug, Clone)]
pub struct Congestion {
    settings: CongestionSettings,
    target: f64,
    ceiling: Option<u32>,
    probe_at: Timestamp,
    probe_wait: Duration,
    probing: bool,
    refusals: u32,
    refused_level: u32,
    stale: u32,
    trial: Option<Trial>,
    believed: Option<Believed>,
    retry_at: Timestamp,
    lowered: Option<(u32, Timestamp)>,
    named_noise: f64,
    unnamed_noise: f64,
    recovery: Option<Recovery>,
    latency: LatencyFloor,
}

#[derive(Debug, Clone, Copy)]
struct Recovery {
    goal: f64,
    step_at: Timestamp,
}

/// So many connections at once, proved if as many more come up and none is refused: those that are on their way hold a place
/// at the provider already.
#[derive(Debug, Clone, Copy)]
struct Trial {
    level: u32,
    left: u32,
}

/// Refusals that set a ceiling. If more comes up right after, they meant nothing.
#[derive(Debug, Clone, Copy)]
struct Believed {
    refusals: u32,
    level: u32,
    until: Timestamp,
}

/// What is remembered over a restart.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CongestionMemory {
    /// The target.
    pub target: f64,
    /// The ceiling, if one was met.
    pub ceiling: Option<u32>,
}

/// An answer to "may I open one".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Yes.
    Go,
    /// Not before this time.
    At(Timestamp),
    /// Not until a session ends or something is learnt.
    Full,
}

impl Congestion {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(settings: CongestionSettings, now: Timestamp) -> Self {
        let most = settings.most.max(1);
        let settings = CongestionSettings {
            most,
            least: settings.least.clamp(1, most),
            ..settings
        };
        Self {
            settings,
            target: f64::from(settings.start.clamp(settings.least, most)),
            ceiling: None,
            probe_at: now,
            probe_wait: settings.probe_first,
            probing: false,
            refusals: 0,
            refused_level: 0,
            stale: 0,
            trial: None,
            believed: None,
            retry_at: Timestamp(0),
            lowered: None,
            named_noise: NAMED_NOISE,
            unnamed_noise: UNNAMED_NOISE,
            recovery: None,
            latency: LatencyFloor::default(),
        }
    }

    /// Other pins. What was learnt stays, within them.
    pub fn set_pins(&mut self, least: u32, most: u32) {
        self.settings.most = most.max(1);
        self.settings.least = least.clamp(1, self.settings.most);
        self.set_target(self.target);
    }

    /// Begins with half of what was known before a restart; the ceiling stays known.
    pub fn restore(&mut self, memory: CongestionMemory) {
        let target = if memory.target.is_finite() { memory.target } else { 1.0 };
        self.ceiling = memory
            .ceiling
            .map(|ceiling| ceiling.clamp(self.settings.least, self.settings.most));
        self.set_target(target / 2.0);
    }

    /// What to remember over a restart.
    #[must_use]
    pub fn memory(&self) -> CongestionMemory {
        CongestionMemory {
            target: self.target,
            ceiling: self.ceiling,
        }
    }

    /// Connections that are used while there is work; one probe may come on top.
    #[must_use]
    pub fn target(&self) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between the pins"
        )]
        let whole = self.target as u32;
        whole.clamp(self.settings.least, self.settings.most)
    }

    /// The highest number that is known to be allowed while more was refused.
    #[must_use]
    pub fn ceiling(&self) -> Option<u32> {
        self.ceiling
    }

    /// Never more than this.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.settings.most
    }

    /// Whether one more may be opened while so many are `up` and `opening`.
    pub fn open(&mut self, up: u32, opening: u32, now: Timestamp) -> Opening {
        let total = up + opening;
        if total >= self.settings.most {
            return Opening::Full;
        }
        if now < self.retry_at {
            return Opening::At(self.retry_at);
        }
        if total < self.target() {
            self.try_level(up, opening);
            return Opening::Go;
        }
        let at_ceiling = self.ceiling.is_some_and(|ceiling| self.target() >= ceiling);
        if !at_ceiling || self.recovery.is_some() || total > self.target() {
            return Opening::Full;
        }
        if now < self.probe_at {
            return Opening::At(self.probe_at);
        }
        self.probing = true;
        self.try_level(up, opening);
        Opening::Go
    }

    fn try_level(&mut self, up: u32, opening: u32) {
        self.trial.get_or_insert(Trial {
            level: up + opening + 1,
            left: opening + 1,
        });
    }

    /// Places held at the provider, as far as refusals that mean nothing let one guess.
    fn likely(&self, up: u32, opening: u32) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and small"
        )]
        let come_up = (f64::from(opening) * (1.0 - self.named_noise)).round() as u32;
        up + come_up
    }

    /// One more is up: the most that were there at once since the last refusal.
    fn proved(&mut self, up: u32) -> u32 {
        let Some(trial) = &mut self.trial else { return up };
        trial.left = trial.left.saturating_sub(1);
        if trial.left > 0 {
            return up;
        }
        let level = trial.level;
        self.trial = None;
        level.max(up)
    }

    /// A connection came up; `up` counts it, `opening` are still on their way. Gives the old target when it changed.
    pub fn on_opened(&mut self, up: u32, opening: u32, now: Timestamp) -> Option<u32> {
        let old = self.target();
        let is_new = self.stale == 0;
        self.stale = self.stale.saturating_sub(1);
        let proved = self.proved(up);
        let believed = self
            .believed
            .take_if(|believed| proved > believed.level && now < believed.until);
        let mut meant_nothing = believed.map_or(0, |believed| believed.refusals);
        if proved.max(self.likely(up, opening)) > self.refused_level {
            let refusals = std::mem::take(&mut self.refusals);
            meant_nothing += if is_new { refusals } else { 0 };
        }
        for noise in [&mut self.named_noise, &mut self.unnamed_noise] {
            (0..meant_nothing).for_each(|_| *noise += NOISE_WEIGHT * (1.0 - *noise));
            *noise = (*noise * (1.0 - NOISE_WEIGHT)).max(NOISE_LEAST);
        }
        if self.ceiling.is_some_and(|ceiling| proved > ceiling) {
            self.ceiling = Some(proved);
            self.probing = false;
            if is_new {
                self.probe_wait = (self.probe_wait / 4).max(self.settings.probe_first);
                self.probe_at = now;
            }
            if self.recovery.is_none() {
                self.set_target(f64::from(proved).max(self.target));
            }
        }
        Some(old).filter(|old| *old != self.target())
    }

    /// A connection was refused while `up` were up and `opening` others under way. `named`: the provider said that it was one
    /// too many. Gives the old target when it changed.
    pub fn on_refused(&mut self, named: bool, up: u32, opening: u32, now: Timestamp) -> Option<u32> {
        let old = self.target();
        self.trial = None;
        if self.stale > 0 {
            self.stale -= 1;
            return self.on_stale_refused(old);
        }
        self.stale = opening;
        // While a probe is out a session may end and another be opened in its place: the refusal is still about the ceiling.
        let probed = std::mem::take(&mut self.probing);
        if up == 0 {
            // Nothing to learn of limits: but if the next one comes up, it meant nothing.
            self.refusals = (self.refusals + 1).min(DISBELIEF_MAX);
            self.refused_level = 0;
            return None;
        }
        // Those on their way hold their places already, unless they are refused too.
        let held = up + opening;
        let held = self
            .ceiling
            .filter(|_| probed)
            .map_or(held, |ceiling| held.max(ceiling));
        let likely = self.likely(up, opening);
        self.refusals = if likely > self.refused_level {
            1
        } else {
            self.refusals + 1
        };
        self.refused_level = likely;
        if self.refusals < self.believed_after(named) {
            self.retry_at = now.plus(RETRY * (self.refusals - 1));
            return None;
        }
        self.believed = Some(Believed {
            refusals: std::mem::take(&mut self.refusals),
            level: held,
            until: now.plus(BELIEVED_FOR),
        });
        if self.ceiling.is_some_and(|ceiling| held >= ceiling) {
            self.probe_wait = (self.probe_wait * 2).min(self.longest_wait(now));
            self.probe_at = now.plus(self.probe_wait);
            return None;
        }
        self.lower(held, now);
        Some(old).filter(|old| *old != self.target())
    }

    /// A connection hung until it was given up: some host is dead, which tells nothing of a ceiling.
    pub fn on_hung(&mut self) {
        self.trial = None;
        self.probing = false;
        self.unnamed_noise += NOISE_WEIGHT * (1.0 - self.unnamed_noise);
    }

    /// One that was under way at a refusal that set the ceiling was refused too: it held no place.
    fn on_stale_refused(&mut self, old: u32) -> Option<u32> {
        if let Some(believed) = self
            .believed
            .as_mut()
            .filter(|believed| self.ceiling == Some(believed.level))
        {
            believed.level = believed.level.saturating_sub(1).max(self.settings.least);
            self.ceiling = Some(believed.level);
            self.set_target(self.target);
        }
        Some(old).filter(|old| *old != self.target())
    }

    fn lower(&mut self, held: u32, now: Timestamp) {
        if let Some(before) = self
            .ceiling
            .filter(|before| f64::from(held) < LOWERED * f64::from(*before))
        {
            self.lowered = Some((self.lowered.map_or(before, |(from, _)| from.max(before)), now));
        }
        self.ceiling = Some(held);
        self.probe_wait = self.settings.probe_first;
        self.probe_at = now.plus(self.probe_wait);
        self.set_target(f64::from(held).min(self.target));
    }

    /// A message was delivered while so many connections had one in hand or were being opened. Gives the old target when it changed.
    pub fn on_delivered(&mut self, latency: Duration, busy: u32, now: Timestamp) -> Option<u32> {
        let old = self.target();
        self.latency.on_delivered(latency, busy, now);
        if let Some(Recovery { goal, step_at }) = self.recovery {
            let is_used = f64::from(busy) >= BUSY_SHARE * f64::from(old);
            if now >= step_at && is_used {
                self.set_target((self.target + 1.0).min(goal));
                let step_at = now.plus(self.settings.recovery_step);
                self.recovery = Some(Recovery { goal, step_at }).filter(|_| self.target < goal);
            }
        } else if f64::from(busy) >= BUSY_SHARE * f64::from(old) && self.target + 1.0 <= self.growth_cap() {
            self.set_target(self.target + 1.0);
        }
        Some(old).filter(|old| *old != self.target())
    }

    /// The provider blocked the lane for its reputation: from one connection up again, one at a time.
    pub fn on_block(&mut self, now: Timestamp) {
        let goal = self.recovery.map_or(self.target, |recovery| recovery.goal);
        self.recovery = Some(Recovery {
            goal: self.ceiling.map_or(goal, |ceiling| goal.min(f64::from(ceiling))),
            step_at: now.plus(self.settings.recovery_step),
        });
        self.target = 1.0;
    }

    /// The block is over as of now: the first further connection comes a step later.
    pub fn on_block_over(&mut self, now: Timestamp) {
        if let Some(recovery) = &mut self.recovery {
            recovery.step_at = now.plus(self.settings.recovery_step);
        }
    }

    fn growth_cap(&self) -> f64 {
        match self.latency.in_flight_needed() {
            Some(needed) => GROWTH_FACTOR * needed + GROWTH_EXTRA,
            // Nothing is measured yet: a little more than the start.
            None => f64::from(self.settings.start) + 2.0 * GROWTH_EXTRA,
        }
    }

    /// Failures in a row that are to be expected here, once in a thousand: where one host of many is bad, that is no outage.
    #[must_use]
    pub fn failures_expected(&self) -> u32 {
        let noise = self.unnamed_noise;
        if noise <= UNNAMED_NOISE {
            return 0;
        }
        let expected = (0.001_f64.ln() / noise.min(0.9).ln()).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let expected = expected.clamp(1.0, 60.0) as u32;
        expected
    }

    /// A ceiling that has come down may go up again: it is looked at more often for a while.
    fn longest_wait(&self, now: Timestamp) -> Duration {
        let is_low = self.lowered.is_some_and(|(from, at)| {
            let low = self
                .ceiling
                .is_some_and(|ceiling| f64::from(ceiling) < LOWERED * f64::from(from));
            low && now.since(at) < LOWERED_FOR
        });
        if is_low {
            self.settings.probe_longest / 2
        } else {
            self.settings.probe_longest
        }
    }

    fn believed_after(&self, named: bool) -> u32 {
        let noise = if named { self.named_noise } else { self.unnamed_noise };
        // The more noise, the more often there is a row of refusals that could be believed wrongly.
        let doubt = DOUBT * (NAMED_NOISE / noise).min(1.0);
        let enough = (doubt.ln() / noise.min(0.9).ln()).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let enough = enough.clamp(1.0, f64::from(DISBELIEF_MAX)) as u32;
        enough
    }

    fn set_target(&mut self, target: f64) {
        let most = self.ceiling.unwrap_or(self.settings.most).min(self.settings.most);
        let least = f64::from(self.settings.least);
        self.target = target.min(f64::from(most)).max(least);
    }
}

#[cfg(test)]
mod tests;
