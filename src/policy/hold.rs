//! Nothing goes out but one message, to see whether the door is open again.
//!
//! Takes the time and answers to the canary; gives "yes" once for each pause, which doubles while canaries are refused. A
//! canary that met another answer may be sent again. Knows nothing of rates.

use std::time::Duration;

use crate::domain::Timestamp;

/// A canary that is not heard of for so long is lost.
const CANARY_LOST: Duration = Duration::from_secs(660);

/// A lane that waits for one message.
#[derive(Debug, Clone, Copy)]
pub struct Hold {
    since: Timestamp,
    until: Timestamp,
    pause: Duration,
    longest: Duration,
    canary: Option<Timestamp>,
    refused: u32,
}

impl Hold {
    /// From now on, with this first pause and no longer one than that.
    #[must_use]
    pub fn new(pause: Duration, longest: Duration, now: Timestamp) -> Self {
        Self {
            since: now,
            until: now.plus(pause),
            pause,
            longest,
            canary: None,
            refused: 0,
        }
    }

    /// Takes the permit for the canary.
    ///
    /// # Errors
    /// Not before this time.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        let until = self.canary.map_or(self.until, |sent| sent.plus(CANARY_LOST));
        if now < until {
            return Err(until);
        }
        self.canary = Some(now);
        Ok(())
    }

    /// Whether what was begun at `started` is the canary.
    #[must_use]
    pub fn is_canary(&self, started: Timestamp) -> bool {
        self.canary.is_some_and(|sent| started >= sent)
    }

    /// The canary was refused.
    pub fn on_refused(&mut self, now: Timestamp) {
        self.canary = None;
        self.refused += 1;
        self.pause = (self.pause * 2).min(self.longest.max(self.pause));
        self.until = now.plus(self.pause);
    }

    /// The canary was not sent, or told nothing: another one may go out.
    pub fn on_lost(&mut self) {
        self.canary = None;
    }

    /// How long it has lasted.
    #[must_use]
    pub fn lasted(&self, now: Timestamp) -> Duration {
        now.since(self.since)
    }

    /// The latest pause.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// Canaries that were refused.
    #[must_use]
    pub fn refused(&self) -> u32 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_canary_for_each_pause_and_pauses_double() {
        let mut hold = Hold::new(Duration::from_secs(1), Duration::from_secs(3), Timestamp(0));
        assert_eq!(hold.take(Timestamp(999)), Err(Timestamp(1_000)));
        assert_eq!(hold.take(Timestamp(1_000)), Ok(()));
        assert!(hold.take(Timestamp(2_000)).is_err(), "one at a time");
        assert!(hold.is_canary(Timestamp(1_000)) && !hold.is_canary(Timestamp(999)));
        hold.on_refused(Timestamp(2_000));
        assert_eq!(hold.take(Timestamp(2_500)), Err(Timestamp(4_000)));
        assert_eq!(hold.take(Timestamp(4_000)), Ok(()));
        hold.on_refused(Timestamp(4_500));
        assert_eq!(
            hold.take(Timestamp(4_500)),
            Err(Timestamp(7_500)),
            "no longer than the longest"
        );
    }

    #[test]
    fn a_lost_canary_is_sent_again() {
        let mut hold = Hold::new(Duration::ZERO, Duration::from_secs(3), Timestamp(0));
        assert_eq!(hold.take(Timestamp(0)), Ok(()));
        hold.on_lost();
        assert_eq!(hold.take(Timestamp(1)), Ok(()));
        assert_eq!(hold.take(Timestamp(700_000)), Ok(()), "and one that was never heard of");
    }
}
