//! How many messages a second a lane may send: learnt from what the provider says is too fast.
//!
//! Takes messages that were delivered or refused for their rate, each with the time it began, and `now`; gives permits and
//! each change of mind. Not limited until the first such refusal. Then:
//!
//! - **Measure.** At two refusals the provider's own allowance was used up; what it let through between them is at most its
//!   rate times that time, and about that. The pace cruises a margin below. No model of its bucket is needed.
//! - **Yield.** A refusal brings the pace down by at least 15 % at once; it comes back on a cubic curve in ten seconds, flat
//!   where it was refused. At most one decrease an epoch: refusals of what began before are old, of what began
//!   later deepen the dip.
//! - **Hold.** When nothing is delivered after a refusal, the provider has closed the door: nothing is sent but one canary,
//!   after a pause that doubles. The pause that worked is remembered and kept at once the next time.
//! - **Probe.** Now and then it goes a step faster, for as long as it takes to use up the provider's allowance. What stays
//!   unrefused becomes the pace and the next step is twice as large. A refusal that the allowance explains changes nothing.
//!   Probes are paid for by deliveries: refusals stay within a share of them, and are rarer where one closes the door.
//!
//! Never above its pins. Knows nothing of connections.

use std::time::Duration;

use crate::domain::Timestamp;
use crate::policy::allowance::{Allowance, Climbed};
use crate::policy::dip::{Dip, RECOVERY};
use crate::policy::hold::Hold;
use crate::policy::let_through::LetThrough;
use crate::policy::lowered::Lowered;
use crate::policy::pace_refusal::{DEEP_DIP, Refusal, Verdict};
pub use crate::policy::pace_settings::PaceSettings;
use crate::policy::probe::Probe;
use crate::policy::probe_budget::{PROBE_SOONEST, ProbeBudget};
use crate::policy::rate_meter::RateMeter;

/// Of the pace, what is sent after a hold while no rate was measured yet: from well below, it meets the provider's rate with few on their way.
const FIRST_DIP: f64 = 0.35;
/// The rate at the first refusal may have been faster than what could be seen of it.
const FIRST_SEEN: f64 = 1.5;
/// A fall below this part is none that a probe brought about.
const FELL: f64 = 0.9;
/// As long as the rate that was refused is this many times the pace, the search goes on soon: after so many messages.
const FAR: f64 = 1.25;
const FAR_MESSAGES: f64 = 6.0;
/// The same where the door closes: later probes are rare.
const FAR_BOXED: f64 = 1.15;
/// Where the search is over.
const NOT_FAR: f64 = 1.1;
/// The shortest epoch.
const EPOCH_LEAST: Duration = Duration::from_secs(1);
/// How far below the measured rate it cruises; grows when it is refused there.
const MARGIN_FIRST: f64 = 0.015;
/// Where the door closes on a refusal.
const MARGIN_BOXED: f64 = 0.025;
/// Beyond it the pace may be this part wrong.
const PACE_ERROR: f64 = 0.02;
/// The first step of a probe.
const STEP_FIRST: f64 = 0.05;
/// The largest.
const STEP_MOST: f64 = 0.5;
/// Where the door closes: its time is at most one part in this many.
const BOXED_PARTS: u32 = 100;
/// The search there begins this long after it opened for the first time.
const BOXED_SEARCH: Duration = Duration::from_secs(10);
/// A shorter pause says nothing about the rate.
const TELLING_PAUSE: Duration = Duration::from_millis(1_500);
/// A door that opens again sooner was none.
const BOX_LEAST: Duration = Duration::from_secs(5);
/// After a block for reputation: of the last minute's rate, where it goes on,
const AFTER_BLOCK_CRUISE: f64 = 0.7;
/// how far probes may go,
const AFTER_BLOCK_MOST: f64 = 0.85;
/// and for how long.
const AFTER_BLOCK: Duration = Duration::from_secs(4 * 3600);
/// Slices of the meters: sixteen are a minute, and two seconds.
const MINUTE_SLICE_MS: u64 = 4_000;
const SENT_SLICE_MS: u64 = 125;
/// Seconds of pace that may go out at once.
const BURST_SECONDS: f64 = 0.1;

/// The pace of one lane.
#[derive(Debug, Clone)]
pub struct Pace {
    settings: PaceSettings,
    /// Between probes; none: no limit is known.
    cruise: Option<f64>,
    /// The slowest rate that was refused and not proved good since.
    refused: Option<f64>,
    dip: Option<Dip>,
    probe: Option<Probe>,
    probe_at: Timestamp,
    step: f64,
    margin: f64,
    hold: Option<Hold>,
    blocked: Option<(f64, Timestamp)>,
    closed_for: Duration,
    epoch: Timestamp,
    /// The last refusal.
    heard: Timestamp,
    through: LetThrough,
    /// Messages between the two refusals that told the pace; 0: it was not measured.
    told_by: u64,
    allowance: Allowance,
    budget: ProbeBudget,
    lowered: Lowered,
    minute: RateMeter,
    sent: RateMeter,
    change: Option<PaceChange>,
    latency: f64,
    tokens: f64,
    filled_at: Timestamp,
}

/// An old and a new rate, messages a second; none: no limit.
pub type PaceChange = (Option<f64>, Option<f64>);

impl Pace {
    /// Knows no limit but its pins.
    #[must_use]
    pub fn new(settings: PaceSettings, now: Timestamp) -> Self {
        Self {
            settings: settings.checked(),
            cruise: None,
            refused: None,
            dip: None,
            probe: None,
            probe_at: now,
            step: STEP_FIRST,
            margin: MARGIN_FIRST,
            hold: None,
            blocked: None,
            closed_for: Duration::ZERO,
            epoch: Timestamp(0),
            heard: Timestamp(0),
            through: LetThrough::new(now, true),
            told_by: 0,
            allowance: Allowance::new(now),
            budget: ProbeBudget::default(),
            lowered: Lowered::new(now),
            minute: RateMeter::new(MINUTE_SLICE_MS),
            sent: RateMeter::new(SENT_SLICE_MS),
            change: None,
            latency: 0.0,
            tokens: 1.0,
            filled_at: now,
        }
    }

    /// Other pins. What was learnt stays, within them.
    pub fn set_pins(&mut self, least: Option<f64>, most: Option<f64>) {
        let least = least.unwrap_or(PaceSettings::default().least);
        self.settings = PaceSettings {
            least,
            most,
            ..self.settings
        }
        .checked();
        self.cruise = self.cruise.map(|rate| self.pinned(rate));
    }

    /// Other pauses from the next refusal on.
    pub fn set_pauses(&mut self, first: Duration, longest: Duration) {
        (self.settings.hold_first, self.settings.hold_longest) = (first, longest);
    }

    /// The rate that was learnt, if one was: to be remembered over a restart.
    #[must_use]
    pub fn cruise(&self) -> Option<f64> {
        self.cruise
    }

    /// Begins at half of what was known before a restart.
    pub fn restore(&mut self, cruise: Option<f64>, now: Timestamp) {
        self.cruise = cruise.filter(|rate| rate.is_finite()).map(|rate| self.pinned(rate));
        if self.cruise.is_some() {
            self.dip = Some(Dip::new(0.5, now));
            self.probe_at = now.plus(PROBE_SOONEST);
        }
    }

    /// Messages a second that are allowed now; none: no limit.
    #[must_use]
    pub fn rate(&self, now: Timestamp) -> Option<f64> {
        let base = self
            .probe
            .map(|probe| probe.rate())
            .or(self.cruise)
            .map(|rate| self.pinned(rate));
        let Some(base) = base else {
            return self.settings.most;
        };
        let dip = self.dip.map_or(1.0, |dip| dip.part(now));
        Some((base * dip).max(self.settings.least))
    }

    /// Whether nothing but a canary goes out now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Takes the permit for one message, or tells when to ask again.
    ///
    /// # Errors
    /// Not before this time.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        self.allowed(now)?;
        self.sent.count(now);
        self.allowance.on_sent();
        if let Some(probe) = &mut self.probe {
            probe.on_sent();
        }
        Ok(())
    }

    /// What a probe that was not refused has changed, once.
    pub fn take_change(&mut self) -> Option<PaceChange> {
        self.change.take()
    }

    fn allowed(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        if let Some(hold) = &mut self.hold {
            return hold.take(now);
        }
        self.turn_probe(now);
        let Some(rate) = self.rate(now) else {
            return Ok(());
        };
        let burst = (rate * BURST_SECONDS).max(1.0);
        let filled = self.tokens + now.since(self.filled_at).as_secs_f64() * rate;
        self.tokens = filled.min(burst);
        self.filled_at = self.filled_at.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = Duration::from_secs_f64((1.0 - self.tokens) / rate);
        // Times are whole milliseconds: rounded up, so that the caller does not ask again at the same instant.
        Err(now.plus(wait + Duration::from_millis(1)))
    }

    /// A message for which a permit was given was not sent after all.
    pub fn put_back(&mut self) {
        self.tokens += 1.0;
        self.on_canary_lost();
    }

    /// A canary that is out will never be heard of: another may be sent.
    pub fn on_canary_lost(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.on_lost();
        }
    }

    /// A message that was begun at `started` was delivered.
    pub fn on_delivered(&mut self, started: Timestamp, now: Timestamp) -> Option<PaceChange> {
        let seconds = now.since(started).as_secs_f64();
        self.latency += (seconds - self.latency) / 20.0;
        self.minute.count(now);
        self.through.on_delivered(now);
        let hold = self.hold.filter(|hold| hold.is_canary(started))?;
        self.reopen(hold, now)
    }

    /// A message that was begun at `started` was refused for its rate.
    pub fn on_refused(&mut self, started: Timestamp, now: Timestamp) -> Option<PaceChange> {
        self.budget.on_refused(now);
        if let Some(hold) = &mut self.hold {
            if hold.is_canary(started) {
                hold.on_refused(now);
            }
            return None;
        }
        if started < self.epoch {
            // It began after the last refusal was heard of: even less gets through now.
            if started > self.heard {
                (self.dip, self.heard) = (self.dip.map(|dip| dip.deeper(now)), now);
            }
            return None;
        }
        let old = self.cruise;
        let offered = self.cruise.and(self.rate(now));
        let was_probe = self.probe.take().is_some();
        let climbed = self.begin_epoch(was_probe, (started, offered.unwrap_or(0.0)), now);
        let Some(offered) = offered else {
            self.first_refusal(now);
            return Some((old, self.cruise));
        };
        let dry = self.through.is_nothing(now);
        let refusal = Refusal {
            offered,
            cruise: old.unwrap_or(offered),
            margin: self.margin,
            was_probe,
            climbed,
            told_by: self.told_by,
            through: &self.through,
            latency: self.latency,
        };
        let verdict = refusal.verdict(now);
        self.follow(verdict, offered, was_probe, now);
        self.schedule_probe(now);
        if self.closed_for > Duration::ZERO {
            self.hold(self.closed_for, now);
        } else if dry {
            self.hold(
                self.settings
                    .hold_first
                    .max(Duration::from_secs_f64((1.0 / verdict.cruise).min(600.0))),
                now,
            );
        }
        self.through = LetThrough::new(now.plus(self.settle()), false);
        Some((old, self.cruise))
    }

    fn follow(&mut self, verdict: Verdict, offered: f64, was_probe: bool, now: Timestamp) {
        let old = self.cruise;
        self.cruise = Some(self.pinned(verdict.cruise));
        self.margin = verdict.margin;
        self.refused = Some(if verdict.is_explained {
            offered.min(NOT_FAR * verdict.cruise)
        } else {
            self.told_by = if was_probe { 0 } else { self.through.messages() };
            let known = self.refused.map_or(offered, |known| known.min(offered));
            known.max(verdict.cruise)
        });
        if let Some((old, new)) = old.zip(self.cruise) {
            self.lowered.on_change(old, new, now);
            if !was_probe && new < FELL * old {
                self.budget.void();
            }
        }
        (self.tokens, self.filled_at) = (self.tokens.min(0.0), self.filled_at.max(now));
        self.dip = Some(Dip::new(verdict.depth, now));
    }

    /// A message that was begun at `started` met an answer that says nothing about the rate: a canary tells nothing.
    pub fn on_other(&mut self, started: Timestamp) {
        if let Some(hold) = self.hold.as_mut().filter(|hold| hold.is_canary(started)) {
            hold.on_lost();
        }
    }

    /// The provider blocked the lane for its reputation: well below what went through in the last minute, for hours.
    pub fn on_block(&mut self, now: Timestamp) -> Option<PaceChange> {
        let old = self.cruise;
        let went_through = self
            .minute
            .per_second(now)
            .min(old.unwrap_or(f64::INFINITY))
            .max(self.settings.least);
        self.blocked = Some((went_through * AFTER_BLOCK_MOST, now.plus(AFTER_BLOCK)));
        self.cruise = Some(self.pinned(went_through * AFTER_BLOCK_CRUISE));
        self.refused = Some(went_through);
        self.probe = None;
        self.hold = None;
        self.allowance.forget_climb();
        self.schedule_probe(now);
        self.through = LetThrough::new(now, true);
        Some((old, self.cruise))
    }

    fn first_refusal(&mut self, now: Timestamp) {
        let seen = self.sent.per_second(now).max(1.0 / EPOCH_LEAST.as_secs_f64());
        self.cruise = Some(self.pinned(seen * 0.95));
        self.refused = Some(seen * FIRST_SEEN);
        self.hold(self.settings.hold_first.max(Duration::from_secs_f64(1.0 / seen)), now);
        self.dip = Some(Dip::new(DEEP_DIP, now));
        self.tokens = 0.0;
        self.schedule_probe(now);
        self.through = LetThrough::new(now.plus(self.settle()), false);
    }

    /// Gives the climb that this refusal of a message `(begun, at this rate)` ends.
    fn begin_epoch(&mut self, is_probe: bool, (started, rate): (Timestamp, f64), now: Timestamp) -> Option<Climbed> {
        let length = EPOCH_LEAST + Duration::from_secs_f64(self.latency.min(60.0));
        (self.epoch, self.heard) = (now.plus(length), now);
        if is_probe {
            self.budget.on_probe_refused(now);
        }
        self.step = STEP_FIRST;
        let after = rate * now.since(started).as_secs_f64();
        let below = self.cruise.unwrap_or(0.0) * (self.margin + PACE_ERROR);
        let refilled = Allowance::refilled(below, self.through.since(), now);
        self.allowance.on_refused(started, after, refilled)
    }

    fn settle(&self) -> Duration {
        Duration::from_secs_f64(self.latency.min(60.0))
    }

    fn hold(&mut self, pause: Duration, now: Timestamp) {
        self.hold = Some(Hold::new(pause, self.settings.hold_longest, now));
    }

    /// The canary came through.
    fn reopen(&mut self, hold: Hold, now: Timestamp) -> Option<PaceChange> {
        let old = self.cruise;
        self.hold = None;
        let depth = if self.told_by == 0 { FIRST_DIP } else { DEEP_DIP };
        self.dip = Some(Dip::new(depth, now));
        self.tokens = 0.0;
        self.filled_at = now;
        let closed = hold.lasted(now);
        let was_closed = closed >= BOX_LEAST && (hold.refused() > 0 || self.closed_for > Duration::ZERO);
        self.through = if was_closed {
            // Its allowance was full again: the slow start after a hold would pass for a slow provider.
            LetThrough::new(now.plus(RECOVERY / 2), true)
        } else {
            self.through.resumed(now)
        };
        let cruise = self.cruise?;
        if was_closed {
            let is_first = self.closed_for.is_zero();
            self.closed_for = hold.pause().max(self.closed_for);
            self.margin = self.margin.max(MARGIN_BOXED);
            let least = 2.0 / hold.pause().as_secs_f64();
            self.cruise = Some(if is_first {
                self.pinned((cruise / 2.0).max(least).min(cruise))
            } else {
                cruise
            });
            self.schedule_probe(now);
        } else if hold.refused() > 0 && hold.pause() >= TELLING_PAUSE {
            // Its pause was about the time that one message takes to be allowed. A shorter one tells of what was under way.
            self.cruise = Some(self.pinned(cruise.min(2.0 / hold.pause().as_secs_f64())));
        }
        Some((old, self.cruise)).filter(|(old, new)| old != new)
    }

    fn schedule_probe(&mut self, now: Timestamp) {
        let Some(cruise) = self.cruise else { return };
        let mut wait = self.budget.wait(cruise, self.lowered.is_lowered(cruise, now));
        let far = self.is_far();
        if self.closed_for > Duration::ZERO {
            wait = if far {
                BOXED_SEARCH
            } else {
                wait.max(self.closed_for * BOXED_PARTS)
            };
        } else if far {
            wait = wait.min(RECOVERY.max(Duration::from_secs_f64(FAR_MESSAGES / cruise)));
        }
        self.probe_at = now.plus(wait);
    }

    /// Whether it is known to be far below what was refused.
    fn is_far(&self) -> bool {
        let far = if self.closed_for.is_zero() { FAR } else { FAR_BOXED };
        self.cruise
            .zip(self.refused)
            .is_some_and(|(cruise, refused)| refused > far * cruise)
    }

    fn turn_probe(&mut self, now: Timestamp) {
        let Some(cruise) = self.cruise else { return };
        if let Some(probe) = self.probe {
            if !probe.is_over(now) {
                return;
            }
            self.probe = None;
            let Some(rate) = probe.proved(cruise, now) else {
                self.probe_at = now.plus(PROBE_SOONEST);
                self.allowance.forget_climb();
                return;
            };
            self.cruise = Some(self.pinned(rate));
            self.change = Some((Some(cruise), self.cruise));
            self.refused = self.refused.filter(|refused| *refused > rate);
            self.step = (self.step * 2.0).min(STEP_MOST);
            return;
        }
        self.blocked = self.blocked.filter(|(_, until)| now < *until);
        let most = self
            .settings
            .most
            .into_iter()
            .chain(self.blocked.map(|(most, _)| most))
            .reduce(f64::min);
        if now < self.probe_at || most.is_some_and(|most| cruise >= most) {
            return;
        }
        let halfway = self
            .refused
            .filter(|_| self.is_far())
            .map(|refused| (refused / cruise - 1.0) / 2.0);
        let least = halfway.unwrap_or_else(|| self.allowance.step(cruise, self.latency));
        let step = self.step.max(least).min(STEP_MOST);
        self.budget.on_probe();
        let lasts = self.allowance.on_probe(cruise, step, now);
        let rate = (cruise * (1.0 + step)).min(most.unwrap_or(f64::INFINITY));
        self.probe = Some(Probe::new(rate, lasts, now));
    }

    fn pinned(&self, rate: f64) -> f64 {
        rate.min(self.settings.most.unwrap_or(f64::INFINITY))
            .max(self.settings.least)
    }
}

#[cfg(test)]
mod tests;
