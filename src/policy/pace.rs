//! How many messages a second a lane may send: learnt from what the provider says is too fast.
//!
//! Takes messages that were delivered or refused for their rate, each with the time it began, and `now`; gives permits and
//! each change of mind. Not limited until the first such refusal. Then:
//!
//! - **Measure.** At two refusals the provider's own allowance was used up; what it let through between them is at most its
//!   rate times that time, and about that. The pace cruises a margin below. No model of its bucket is needed.
//! - **Yield.** A refusal brings the pace down by at least 15 % at once; it comes back on a cubic curve in ten seconds, flat
//!   where it was refused. At most one decrease an epoch: refusals of messages that began before the last one are old.
//! - **Hold.** When nothing is delivered after a refusal, the provider has closed the door: nothing is sent but one canary,
//!   after a pause that doubles. The pause that worked is remembered and kept at once the next time.
//! - **Probe.** Now and then it goes a step faster, for as long as it takes to use up a second's worth of the provider's
//!   allowance. What stays unrefused becomes the pace and the next step is twice as large. Probes are paid for by
//!   deliveries: so many that refusals stay within a share of them, and fewer where a refusal costs a closed door.
//!
//! Never above its pins. Knows nothing of connections.

use std::time::Duration;

use crate::domain::Timestamp;
use crate::policy::rate_meter::RateMeter;

/// Pins of the rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PaceSettings {
    /// Never slower, in messages a second, while the door is open.
    pub least: f64,
    /// Never faster.
    pub most: Option<f64>,
    /// The first pause before a canary.
    pub hold_first: Duration,
    /// No such pause is longer.
    pub hold_longest: Duration,
}

impl Default for PaceSettings {
    fn default() -> Self {
        Self {
            least: 1.0 / 3600.0,
            most: None,
            hold_first: Duration::from_millis(300),
            hold_longest: Duration::from_secs(600),
        }
    }
}

/// Of the rate that was refused, what is sent right after.
const DIP: f64 = 0.85;
/// The same when nothing could be measured.
const DEEP_DIP: f64 = 0.7;
/// The time in which it comes back.
const RECOVERY: Duration = Duration::from_secs(10);
/// Messages that must have been delivered for a measurement.
const MEASURED_LEAST: u64 = 6;
/// The shortest time to measure over.
const MEASURED_SECONDS: f64 = 0.8;
/// The shortest epoch.
const EPOCH_LEAST: Duration = Duration::from_secs(1);
/// How far below the measured rate it cruises; grows when it is refused there.
const MARGIN_FIRST: f64 = 0.015;
/// No larger than this.
const MARGIN_MOST: f64 = 0.1;
/// Where the door closes on a refusal.
const MARGIN_BOXED: f64 = 0.025;
/// The first step of a probe.
const STEP_FIRST: f64 = 0.05;
/// The largest.
const STEP_MOST: f64 = 0.5;
/// A probe lasts until this many seconds' worth of messages went out on top, and this many messages.
const PROBE_EXTRA: f64 = 1.5;
/// Where the provider's bucket is larger than a second's worth, a probe lasts until that is used up, but not longer.
const PROBE_LONGEST: Duration = Duration::from_secs(80);
/// Refusals that follow one of a probe this closely are its price too.
const COST_FOR: Duration = Duration::from_secs(30);
/// Refused messages per delivered one that probes may cost.
const REFUSED_SHARE: f64 = 0.0005;
/// The same below `SLOW` messages a second, where a refusal is a larger part of what is sent.
const REFUSED_SHARE_SLOW: f64 = 0.003;
const SLOW: f64 = 1.95;
/// The same while it was faster not long ago: what came down may go up again.
const REFUSED_SHARE_LOWERED: f64 = 0.0015;
/// A pace below this part of an earlier one has been lowered,
const LOWERED: f64 = 0.75;
/// and for so long that is remembered.
const LOWERED_FOR: Duration = Duration::from_secs(3600);
/// Time between two probes at least and at most.
const PROBE_SOONEST: Duration = Duration::from_secs(40);
const PROBE_LATEST: Duration = Duration::from_secs(3600);
/// Where the door closes: its time is at most one part in this many.
const BOXED_PARTS: u32 = 100;
/// The search there begins this long after it opened for the first time.
const BOXED_SEARCH: Duration = Duration::from_secs(10);
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
/// A canary that is not heard of for so long is lost.
const CANARY_LOST: Duration = Duration::from_secs(660);
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
    counted_from: Timestamp,
    counted: u64,
    counted_full: bool,
    probe_hit: bool,
    allowance: f64,
    climb: Option<Climb>,
    climbed: Option<(f64, f64)>,
    delivered: u64,
    lowered: Option<(f64, Timestamp)>,
    settled_at: Timestamp,
    cost: f64,
    cost_now: f64,
    cost_until: Timestamp,
    minute: RateMeter,
    sent: RateMeter,
    change: Option<PaceChange>,
    latency: f64,
    tokens: f64,
    filled_at: Timestamp,
    refilled_full: bool,
}

#[derive(Debug, Clone, Copy)]
struct Dip {
    depth: f64,
    since: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Probe {
    rate: f64,
    until: Timestamp,
}

/// Probes without a refusal, one after the other.
#[derive(Debug, Clone, Copy)]
struct Climb {
    since: Timestamp,
    delivered: u64,
}

#[derive(Debug, Clone, Copy)]
struct Hold {
    since: Timestamp,
    until: Timestamp,
    pause: Duration,
    canary: Option<Timestamp>,
    refused: u32,
}

/// An old and a new rate, messages a second; none: no limit.
pub type PaceChange = (Option<f64>, Option<f64>);

impl Pace {
    /// Knows no limit but its pins.
    #[must_use]
    pub fn new(settings: PaceSettings, now: Timestamp) -> Self {
        let least = if settings.least.is_finite() {
            settings.least.max(1e-5)
        } else {
            1e-5
        };
        let most = settings
            .most
            .filter(|most| most.is_finite())
            .map(|most| most.max(least));
        Self {
            settings: PaceSettings {
                least,
                most,
                ..settings
            },
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
            counted_from: now,
            counted: 0,
            counted_full: true,
            probe_hit: false,
            allowance: 0.0,
            climb: Some(Climb {
                since: now,
                delivered: 0,
            }),
            climbed: None,
            delivered: 0,
            lowered: None,
            settled_at: now,
            cost: 1.0,
            cost_now: 0.0,
            cost_until: Timestamp(0),
            minute: RateMeter::new(MINUTE_SLICE_MS),
            sent: RateMeter::new(SENT_SLICE_MS),
            change: None,
            latency: 0.0,
            tokens: 1.0,
            filled_at: now,
            refilled_full: false,
        }
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
            self.dip = Some(Dip { depth: 0.5, since: now });
            self.probe_at = now.plus(PROBE_SOONEST);
        }
    }

    /// Messages a second that are allowed now; none: no limit.
    #[must_use]
    pub fn rate(&self, now: Timestamp) -> Option<f64> {
        let base = self
            .probe
            .map(|probe| probe.rate)
            .or(self.cruise)
            .map(|rate| self.pinned(rate));
        let Some(base) = base else {
            return self.settings.most;
        };
        let dip = self.dip.map_or(1.0, |dip| {
            let left = 1.0 - (now.since(dip.since).as_secs_f64() / RECOVERY.as_secs_f64()).min(1.0);
            1.0 - (1.0 - dip.depth) * left.powi(3)
        });
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
        self.allowed(now).inspect(|()| self.sent.count(now))
    }

    /// What a probe that was not refused has changed, once.
    pub fn take_change(&mut self) -> Option<PaceChange> {
        self.change.take()
    }

    fn allowed(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        if let Some(hold) = &mut self.hold {
            let until = hold.canary.map_or(hold.until, |sent| sent.plus(CANARY_LOST));
            if now < until {
                return Err(until);
            }
            hold.canary = Some(now);
            return Ok(());
        }
        self.turn_probe(now);
        let Some(rate) = self.rate(now) else {
            return Ok(());
        };
        let burst = (rate * BURST_SECONDS).max(1.0);
        let filled = self.tokens + now.since(self.filled_at).as_secs_f64() * rate;
        self.refilled_full |= filled > burst + 1.0;
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
            hold.canary = None;
        }
    }

    /// A message that was begun at `started` was delivered.
    pub fn on_delivered(&mut self, started: Timestamp, now: Timestamp) -> Option<PaceChange> {
        let seconds = now.since(started).as_secs_f64();
        self.latency += (seconds - self.latency) / 20.0;
        self.minute.count(now);
        self.delivered += 1;
        self.counted += u64::from(now >= self.counted_from);
        let hold = self
            .hold
            .filter(|hold| hold.canary.is_some_and(|sent| started >= sent))?;
        self.reopen(hold, now)
    }

    /// A message that was begun at `started` was refused for its rate.
    pub fn on_refused(&mut self, started: Timestamp, now: Timestamp) -> Option<PaceChange> {
        if now < self.cost_until {
            self.cost_now += 1.0;
            self.cost_until = now.plus(COST_FOR);
        }
        if let Some(hold) = &mut self.hold {
            if hold.canary.is_some_and(|sent| started >= sent) {
                hold.canary = None;
                hold.refused += 1;
                hold.pause = (hold.pause * 2).min(self.settings.hold_longest);
                hold.until = now.plus(hold.pause);
            }
            return None;
        }
        if started < self.epoch {
            return None;
        }
        let old = self.cruise;
        let offered = self.cruise.and(self.rate(now));
        let was_probe = self.probe.take().is_some();
        self.begin_epoch(was_probe, now);
        let Some(offered) = offered else {
            self.first_refusal(now);
            return Some((old, self.cruise));
        };
        let dry = self.counted == 0 && now >= self.counted_from;
        let (cruise, depth) = match self.measured(now) {
            Some(rate) => self.after_measuring(rate, offered, was_probe),
            None if was_probe => (old.unwrap_or(offered).min(offered * 0.98), DIP),
            None => (self.guessed(offered, now), DEEP_DIP / 0.95),
        };
        self.cruise = Some(self.pinned(cruise));
        self.remember_lowered(old, now);
        self.refused = Some(self.refused.map_or(offered, |known| known.min(offered)).max(cruise));
        self.dip = Some(Dip { depth, since: now });
        self.schedule_probe(now);
        if self.closed_for > Duration::ZERO {
            self.hold(self.closed_for, now);
        } else if dry {
            self.hold(
                self.settings
                    .hold_first
                    .max(Duration::from_secs_f64((1.0 / cruise).min(600.0))),
                now,
            );
        }
        self.count_from(now.plus(self.settle()), false);
        Some((old, self.cruise))
    }

    /// A message that was begun at `started` met an answer that says nothing about the rate: a canary tells nothing.
    pub fn on_other(&mut self, started: Timestamp, now: Timestamp) {
        if let Some(hold) = self
            .hold
            .as_mut()
            .filter(|hold| hold.canary.is_some_and(|sent| started >= sent))
        {
            hold.canary = None;
            hold.until = now;
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
        self.climb = None;
        self.climbed = None;
        self.schedule_probe(now);
        self.count_from(now, true);
        Some((old, self.cruise))
    }

    fn first_refusal(&mut self, now: Timestamp) {
        let seen = self.sent.per_second(now).max(1.0 / EPOCH_LEAST.as_secs_f64());
        self.cruise = Some(self.pinned(seen * 0.95));
        self.refused = Some(seen);
        self.hold(self.settings.hold_first.max(Duration::from_secs_f64(1.0 / seen)), now);
        self.dip = Some(Dip {
            depth: DEEP_DIP,
            since: now,
        });
        self.tokens = 0.0;
        self.schedule_probe(now);
        self.count_from(now.plus(self.settle()), false);
    }

    /// What the provider let through since its allowance was last used up, a second.
    fn measured(&self, now: Timestamp) -> Option<f64> {
        let seconds = now.since(self.counted_from).as_secs_f64();
        if self.counted < MEASURED_LEAST || seconds < MEASURED_SECONDS.max(1.5 * self.latency) {
            return None;
        }
        // When it began with a full allowance, a second's worth of it is not rate.
        let seconds = seconds + if self.counted_full { 1.0 } else { 0.0 };
        #[expect(clippy::cast_precision_loss, reason = "counts of messages")]
        let rate = (self.counted as f64 - 0.5) / seconds;
        Some(rate)
    }

    fn after_measuring(&mut self, measured: f64, offered: f64, was_probe: bool) -> (f64, f64) {
        let cruise = self.cruise.unwrap_or(offered);
        let kept = measured * (1.0 - self.margin);
        if was_probe {
            let cruise = cruise.max(kept).min(offered * 0.98);
            return (cruise, DIP * offered / cruise);
        }
        // Refused although it was no faster than what went through: its own unevenness did it.
        if offered <= 1.005 * measured {
            self.margin = (self.margin * 1.5).min(MARGIN_MOST);
        }
        let cruise = kept.min(offered * 0.97);
        (cruise, (DIP * offered / cruise).min(1.0))
    }

    fn begin_epoch(&mut self, is_probe: bool, now: Timestamp) {
        let length = EPOCH_LEAST + Duration::from_secs_f64(self.latency.min(60.0));
        self.epoch = now.plus(length);
        if is_probe {
            self.probe_hit = true;
            self.cost_now = 1.0;
            self.cost_until = now.plus(COST_FOR);
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of messages")]
        let climbed = |climb: Climb| {
            let delivered = (self.delivered - climb.delivered) as f64;
            (now.since(climb.since).as_secs_f64(), delivered)
        };
        self.climbed = self.climb.take().map(climbed).or(self.climbed);
        self.step = STEP_FIRST;
    }

    /// Refusals since the last probe are its price, when it was refused: only probes can be made dearer.
    fn settle_cost(&mut self) {
        if self.probe_hit {
            // One dear surprise, as when capacity falls just then, is not the price of probes.
            let price = self.cost_now.min(3.0 * self.cost + 3.0);
            self.cost = (self.cost + (price - self.cost) / 3.0).max(1.0);
        }
        self.probe_hit = false;
        self.cost_now = 0.0;
        // What went through on the last climb beyond the pace that was found afterwards came out of the provider's bucket.
        if let Some((seconds, delivered)) = self.climbed.take() {
            let beyond = (delivered - seconds * self.cruise.unwrap_or(0.0)).max(0.0);
            self.allowance += (beyond - self.allowance) / 2.0;
        }
    }

    /// Too little was delivered for a measurement: less than what is offered, and no more than whole messages allow.
    fn guessed(&self, offered: f64, now: Timestamp) -> f64 {
        let seconds = now.since(self.counted_from).as_secs_f64();
        let less = offered * 0.95;
        if seconds < EPOCH_LEAST.as_secs_f64() || self.counted_full {
            return less;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of messages")]
        let at_most = (self.counted + 1) as f64 / seconds;
        less.min(at_most)
    }

    fn settle(&self) -> Duration {
        Duration::from_secs_f64(self.latency.min(60.0))
    }

    fn count_from(&mut self, from: Timestamp, full: bool) {
        self.counted_from = from;
        self.counted = 0;
        self.counted_full = full;
    }

    fn hold(&mut self, pause: Duration, now: Timestamp) {
        self.hold = Some(Hold {
            since: now,
            until: now.plus(pause),
            pause,
            canary: None,
            refused: 0,
        });
    }

    /// The canary came through.
    fn reopen(&mut self, hold: Hold, now: Timestamp) -> Option<PaceChange> {
        let old = self.cruise;
        self.hold = None;
        self.dip = Some(Dip {
            depth: DEEP_DIP,
            since: now,
        });
        self.tokens = 0.0;
        self.filled_at = now;
        let closed = now.since(hold.since);
        let was_closed = closed >= BOX_LEAST && (hold.refused > 0 || self.closed_for > Duration::ZERO);
        // Where its allowance was full again, the slow start after a hold would pass for a slow provider.
        self.count_from(if was_closed { now.plus(RECOVERY / 2) } else { now }, was_closed);
        let cruise = self.cruise?;
        if was_closed {
            let is_first = self.closed_for.is_zero();
            self.closed_for = hold.pause.max(self.closed_for);
            self.margin = self.margin.max(MARGIN_BOXED);
            let least = 2.0 / hold.pause.as_secs_f64();
            self.cruise = Some(if is_first {
                self.pinned((cruise / 2.0).max(least).min(cruise))
            } else {
                cruise
            });
            self.schedule_probe(now);
        } else if hold.refused > 0 {
            // Its pause was about the time that one message takes to be allowed.
            self.cruise = Some(self.pinned(cruise.min(2.0 / hold.pause.as_secs_f64())));
        }
        Some((old, self.cruise)).filter(|(old, new)| old != new)
    }

    fn schedule_probe(&mut self, now: Timestamp) {
        let Some(cruise) = self.cruise else { return };
        let share = match (cruise < SLOW, self.is_lowered(now)) {
            (true, _) => REFUSED_SHARE_SLOW,
            (false, true) => REFUSED_SHARE_LOWERED,
            (false, false) => REFUSED_SHARE,
        };
        let paid = Duration::from_secs_f64((self.cost / (share * cruise)).min(PROBE_LATEST.as_secs_f64()));
        let mut wait = paid.clamp(PROBE_SOONEST, PROBE_LATEST);
        let far = self.is_far();
        if self.closed_for > Duration::ZERO {
            wait = if far {
                BOXED_SEARCH
            } else {
                wait.max(self.closed_for * BOXED_PARTS)
            };
        } else if far {
            wait = wait.min(RECOVERY);
        }
        self.probe_at = now.plus(wait);
    }

    fn is_lowered(&self, now: Timestamp) -> bool {
        let before = self.lowered.filter(|(_, at)| now.since(*at) < LOWERED_FOR);
        before
            .zip(self.cruise)
            .is_some_and(|((from, _), cruise)| cruise < LOWERED * from)
    }

    /// A pace that was kept for a while and is left for a slower one is remembered.
    fn remember_lowered(&mut self, old: Option<f64>, now: Timestamp) {
        let Some((old, new)) = old.zip(self.cruise) else { return };
        let settled = now.since(self.settled_at) >= PROBE_SOONEST;
        if settled && new < old && !self.is_lowered(now) {
            self.lowered = Some((old, now));
        }
        if new < LOWERED * old || !settled {
            self.settled_at = now;
        }
    }

    /// Whether it is known to be far below what was refused.
    fn is_far(&self) -> bool {
        self.cruise
            .zip(self.refused)
            .is_some_and(|(cruise, refused)| refused > 1.15 * cruise)
    }

    fn turn_probe(&mut self, now: Timestamp) {
        let Some(cruise) = self.cruise else { return };
        if let Some(probe) = self.probe {
            if now < probe.until {
                return;
            }
            self.probe = None;
            if self.refilled_full {
                // There was too little mail to tell.
                self.probe_at = now.plus(PROBE_SOONEST);
                self.climb = None;
                return;
            }
            self.cruise = Some(self.pinned(probe.rate));
            self.change = Some((Some(cruise), self.cruise));
            self.refused = self.refused.filter(|refused| *refused > probe.rate);
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
            .map_or(0.0, |refused| (refused / cruise - 1.0) / 2.0);
        let step = self.step.max(halfway).min(STEP_MOST);
        self.settle_cost();
        let seconds = PROBE_EXTRA * (1.0_f64).max(1.0 / cruise).max(self.allowance / cruise) / step;
        let shortest = PROBE_EXTRA * (1.0_f64).max(1.0 / cruise) / step;
        let seconds = seconds.min(PROBE_LONGEST.as_secs_f64().max(shortest));
        self.climb.get_or_insert(Climb {
            since: now,
            delivered: self.delivered,
        });
        self.probe = Some(Probe {
            rate: (cruise * (1.0 + step)).min(most.unwrap_or(f64::INFINITY)),
            until: now.plus(Duration::from_secs_f64(seconds)),
        });
        self.refilled_full = false;
    }

    fn pinned(&self, rate: f64) -> f64 {
        rate.min(self.settings.most.unwrap_or(f64::INFINITY))
            .max(self.settings.least)
    }
}
