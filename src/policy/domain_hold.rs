//! Mail of one tenant domain to one provider, after the provider blamed the domain: it stands still, and the lane goes on.
//!
//! Takes "may this message go", answers that blame the domain, deliveries, and `now`; gives passage or a time to come back.
//! A block lasts ten minutes and doubles, "too fast" one minute; then one message goes out as a canary, and each delivery lets
//! one more be under way at the same time, until there are so many that it is free again. What has to wait is spread over
//! some minutes, so that it does not come back in one heap. A stop that another node met holds here too, and a little longer,
//! so that its canary comes first. Knows nothing of lanes.

use std::time::Duration;

use crate::domain::{LaneAction, Timestamp};
use crate::policy::standstill::{Standing, Standstill, StandstillSettings};

/// A block lasts at least this long.
const BLOCK_LEAST: Duration = Duration::from_secs(600);
/// A stop for its rate begins with this.
const SLOW: Duration = Duration::from_secs(60);
/// With so many under way at once it is free.
const FREE_AT: u32 = 64;
/// A message that is not heard of for so long is forgotten.
const LOST: Duration = Duration::from_secs(660);
/// How long its doublings are remembered when it is free.
const REMEMBERED: Duration = Duration::from_secs(4 * 3600);
/// Between two messages that come back to ask again,
const SPACING: Duration = Duration::from_millis(50);
/// which are spread over this time.
const SPREAD: Duration = Duration::from_secs(300);
/// So much later than the node that met a stop another one sends its canary: by then the first one's has told. Not longer
/// than a part of the stop,
const OTHERS_LATER: Duration = Duration::from_secs(60);
/// which is one in this many.
const OTHERS_LATER_PARTS: u32 = 5;
/// When somebody else is under way: time until it is worth asking again.
const BUSY: Duration = Duration::from_secs(5);

/// Whether a message may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// Yes; it is counted until it is heard of.
    Go,
    /// Not before this time.
    Wait(Timestamp),
}

/// What is remembered of a hold over a restart, and told to other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldMemory {
    /// How often stops have doubled.
    pub doublings: u32,
    /// The end of a stop that no delivery has ended yet.
    pub until: Option<Timestamp>,
    /// So many may be under way at once.
    pub window: u32,
    /// When the last stop began, or was ended by a delivery.
    pub turned: Timestamp,
}

/// The hold of one domain at one provider.
#[derive(Debug, Clone)]
pub struct DomainHold {
    standstill: Standstill,
    window: u32,
    under_way: Vec<Timestamp>,
    longest: Duration,
    spread: Duration,
    changed: Timestamp,
    turned: Timestamp,
}

impl DomainHold {
    /// Of a domain that was not blamed yet. No stop is longer than `longest`.
    #[must_use]
    pub fn new(longest: Duration, now: Timestamp) -> Self {
        let settings = StandstillSettings {
            least: SLOW.min(longest),
            longest,
            ..StandstillSettings::default()
        };
        Self {
            standstill: Standstill::new(settings),
            window: FREE_AT,
            under_way: Vec::new(),
            longest,
            spread: Duration::ZERO,
            changed: now,
            turned: Timestamp(0),
        }
    }

    /// What to remember over a restart, and to tell other nodes.
    #[must_use]
    pub fn memory(&self) -> HoldMemory {
        let (doublings, until) = self.standstill.memory();
        HoldMemory {
            doublings,
            until,
            window: self.window,
            turned: self.turned,
        }
    }

    /// Another node knows this, or this one knew it before a restart. Gives the end of a stop that was not known here.
    pub fn hear(&mut self, memory: &HoldMemory, now: Timestamp) -> Option<Timestamp> {
        if memory.turned <= self.turned {
            return None;
        }
        self.turned = memory.turned;
        let until = memory.until.map(|until| {
            let later = OTHERS_LATER.min(until.since(now) / OTHERS_LATER_PARTS);
            until.plus(later).min(now.plus(self.longest))
        });
        let stood = self.standstill.memory().1.is_some();
        self.standstill.restore(memory.doublings, until);
        self.standstill.on_canary_lost();
        if until.is_some() || stood || memory.window < self.window {
            // As much as the other node lets out would be twice as much over both.
            let half = (memory.window / 2).clamp(1, FREE_AT);
            self.window = if until.is_some() { 1 } else { half };
            self.spread = Duration::ZERO;
            self.under_way.clear();
        }
        self.changed = now;
        until.filter(|until| *until > now)
    }

    /// No stop is longer from now on, nor is one that holds already.
    pub fn set_longest(&mut self, longest: Duration, now: Timestamp) {
        self.longest = longest;
        self.standstill.set_lengths(SLOW.min(longest), longest, now);
    }

    /// Whether a message may go now.
    pub fn ask(&mut self, now: Timestamp) -> Passage {
        match self.standstill.standing(now) {
            Standing::Until(until) => return self.later(until),
            Standing::CanaryOut(_) => return self.later(now.plus(BUSY.min(self.longest))),
            Standing::Canary => self.standstill.on_canary_sent(now),
            Standing::Clear if self.window >= FREE_AT => return Passage::Go,
            Standing::Clear => {
                self.under_way.retain(|since| now.since(*since) < LOST);
                if self.under_way.len() >= usize::try_from(self.window).unwrap_or(usize::MAX) {
                    return self.later(now.plus(BUSY.min(self.longest)));
                }
            }
        }
        self.under_way.push(now);
        Passage::Go
    }

    /// The provider blamed the domain for a message that was begun at `started`. Gives the end of a new stop.
    pub fn on_blamed(&mut self, asked: LaneAction, started: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let pause = match asked {
            LaneAction::Stop(asked) => asked.max(BLOCK_LEAST),
            LaneAction::Slow | LaneAction::FewerConnections => SLOW,
            LaneAction::None | LaneAction::Reconnect => {
                self.on_unsent(started);
                return None;
            }
        };
        self.heard_of(started);
        let until = self.standstill.on_stop(pause, started, now)?;
        (self.window, self.spread, self.changed) = (1, Duration::ZERO, now);
        self.turned = now;
        self.under_way.clear();
        Some(until)
    }

    /// A message that was begun at `started` was delivered.
    pub fn on_delivered(&mut self, started: Timestamp, now: Timestamp) {
        self.heard_of(started);
        if self.standstill.on_delivered(started, now) {
            (self.window, self.changed) = (1, now);
            self.turned = now;
        }
        if self.window < FREE_AT && self.standstill.standing(now) == Standing::Clear {
            (self.window, self.changed) = (self.window + 1, now);
        }
    }

    /// A message that was begun at `started` was not sent, or met an answer about something else.
    pub fn on_unsent(&mut self, started: Timestamp) {
        self.heard_of(started);
        self.standstill.on_other(started);
    }

    /// Whether it holds anything back.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.window >= FREE_AT
    }

    /// Whether nothing of it is worth remembering.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.is_free() && now.since(self.changed) >= REMEMBERED
    }

    fn heard_of(&mut self, started: Timestamp) {
        if let Some(at) = self.under_way.iter().position(|since| *since <= started) {
            self.under_way.remove(at);
        }
    }

    fn later(&mut self, from: Timestamp) -> Passage {
        self.spread += SPACING;
        if self.spread >= SPREAD.min(self.longest) {
            self.spread = Duration::ZERO;
        }
        Passage::Wait(from.plus(self.spread))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(4 * 3600);
    const BLOCK: LaneAction = LaneAction::Stop(Duration::from_secs(60));

    fn at(second: u64) -> Timestamp {
        Timestamp(1_000_000 + second * 1_000)
    }

    fn waits(hold: &mut DomainHold, now: Timestamp) -> Option<Timestamp> {
        match hold.ask(now) {
            Passage::Go => None,
            Passage::Wait(until) => Some(until),
        }
    }

    #[test]
    fn a_block_holds_for_ten_minutes_then_one_goes_and_each_delivery_lets_one_more_go() {
        let mut hold = DomainHold::new(LONGEST, at(0));
        assert_eq!(hold.ask(at(0)), Passage::Go);
        assert_eq!(hold.on_blamed(BLOCK, at(0), at(1)), Some(at(601)));
        assert_eq!(hold.on_blamed(BLOCK, at(0), at(2)), None, "it began before the stop");
        let (first, second) = (waits(&mut hold, at(3)), waits(&mut hold, at(3)));
        assert!(first >= Some(at(601)) && second > first, "spread behind the stop");
        assert_eq!(hold.ask(at(601)), Passage::Go, "the canary");
        assert!(waits(&mut hold, at(602)).is_some(), "nothing besides it");
        hold.on_delivered(at(601), at(603));
        assert_eq!(hold.ask(at(604)), Passage::Go);
        assert_eq!(hold.ask(at(604)), Passage::Go);
        assert!(waits(&mut hold, at(604)).is_some(), "two at once");
        for round in 0..FREE_AT.into() {
            hold.ask(at(605 + round));
            hold.on_delivered(at(605 + round), at(605 + round));
        }
        assert!(hold.is_free());
        assert!((0..1_000).all(|_| hold.ask(at(700)) == Passage::Go));
        assert!(!hold.is_over(at(701)) && hold.is_over(at(701 + 4 * 3_600)));
    }

    #[test]
    fn a_stop_that_another_node_met_holds_here_a_little_longer_and_ends_when_its_canary_came_through() {
        let (mut one, mut two) = (DomainHold::new(LONGEST, at(0)), DomainHold::new(LONGEST, at(0)));
        let until = one.on_blamed(BLOCK, at(0), at(1)).expect("a stop");
        assert_eq!(two.hear(&one.memory(), at(2)), Some(until.plus(OTHERS_LATER)));
        assert_eq!(two.hear(&one.memory(), at(3)), None, "the same word once more");
        assert!(
            waits(&mut two, until) >= Some(until.plus(OTHERS_LATER)),
            "the first node's canary first"
        );
        assert_eq!(one.ask(until), Passage::Go);
        one.on_delivered(until, until.plus(Duration::from_secs(1)));
        let heard = until.plus(Duration::from_secs(2));
        assert_eq!(two.hear(&one.memory(), heard), None);
        assert_eq!(two.ask(heard), Passage::Go);
        assert!(
            waits(&mut two, heard).is_some() && !two.is_free(),
            "one at once, as after its own canary"
        );
        // What this node met later counts more than what it hears of an earlier stop.
        let old = one.memory();
        let again = two.on_blamed(BLOCK, heard, heard.plus(Duration::from_secs(9)));
        assert!(again.is_some() && two.hear(&old, heard.plus(Duration::from_secs(10))).is_none());
        assert!(waits(&mut two, heard.plus(Duration::from_secs(10))) >= again);
    }

    #[test]
    fn a_stop_holds_over_a_restart_and_its_doublings_are_remembered() {
        let mut before = DomainHold::new(LONGEST, at(0));
        before.on_blamed(BLOCK, at(0), at(1));
        let mut after = DomainHold::new(LONGEST, at(300));
        assert!(after.hear(&before.memory(), at(300)) >= Some(at(601)));
        assert!(waits(&mut after, at(400)) >= Some(at(601)));
        let canary = at(700);
        assert_eq!(after.ask(canary), Passage::Go);
        assert_eq!(
            after.on_blamed(BLOCK, canary, at(701)),
            Some(at(701 + 1_200)),
            "doubled"
        );
    }

    #[test]
    fn no_stop_is_longer_than_a_shorter_setting() {
        let mut hold = DomainHold::new(LONGEST, at(0));
        hold.on_blamed(BLOCK, at(0), at(1));
        hold.set_longest(Duration::from_secs(30), at(2));
        assert_eq!(hold.memory().until, Some(at(32)));
        assert_eq!(hold.ask(at(33)), Passage::Go, "the canary");
        assert_eq!(hold.on_blamed(BLOCK, at(33), at(34)), Some(at(64)));
    }

    #[test]
    fn a_canary_that_is_refused_doubles_the_stop_and_one_that_tells_nothing_goes_again() {
        let mut hold = DomainHold::new(LONGEST, at(0));
        hold.on_blamed(BLOCK, at(0), at(1));
        assert_eq!(hold.ask(at(601)), Passage::Go);
        hold.on_unsent(at(601));
        assert_eq!(hold.ask(at(602)), Passage::Go);
        assert_eq!(hold.on_blamed(BLOCK, at(602), at(603)), Some(at(603 + 1_200)));
    }

    #[test]
    fn too_fast_holds_for_a_minute_and_what_only_concerns_a_message_holds_nothing() {
        for (asked, expect) in [
            (LaneAction::Slow, Some(at(61))),
            (LaneAction::FewerConnections, Some(at(61))),
            (LaneAction::None, None),
            (LaneAction::Reconnect, None),
        ] {
            let mut hold = DomainHold::new(LONGEST, at(0));
            assert_eq!(hold.on_blamed(asked, at(0), at(1)), expect, "{asked:?}");
        }
    }
}
