//! How many connections a lane may have under way at once: no host is met by a crowd.
//!
//! Takes connections that are up or under way, those that came up or failed, and `now`; gives permits. As many may be under way
//! as are up, or came up of late without a failure (where connecting takes long, few are up at a time), and always one: a dead
//! host is knocked at by one, a live one fills up in a few turns. Beside connections that are up, one more each second is no
//! crowd, so that hosts which never answer do not keep the others from being met. Never counts what a lane may hold in all.

use std::time::Duration;

use crate::domain::Timestamp;
use crate::policy::lane_gate::Live;

/// Connections that came up are counted for one or two of these.
const OF_LATE: Duration = Duration::from_secs(5);
/// One more in this time is no crowd.
const ONE_MORE: Duration = Duration::from_secs(1);

/// What is known of the last few seconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Knock {
    came_up: u32,
    came_up_before: u32,
    window: u64,
    last: Timestamp,
}

impl Knock {
    /// Whether one more may be opened beside these.
    ///
    /// # Errors
    /// Not before this time, or, with none, not until one of them has come up or failed.
    pub fn allowed(&mut self, live: Live, now: Timestamp) -> Result<(), Option<Timestamp>> {
        self.turn(now);
        if live.opening < live.up.max(self.came_up + self.came_up_before).max(1) {
            return Ok(());
        }
        if live.up == 0 {
            return Err(None);
        }
        let at = self.last.plus(ONE_MORE);
        if now < at { Err(Some(at)) } else { Ok(()) }
    }

    /// One is being opened.
    pub fn on_open(&mut self, now: Timestamp) {
        self.last = now;
    }

    /// One came up.
    pub fn on_up(&mut self, now: Timestamp) {
        self.turn(now);
        self.came_up = self.came_up.saturating_add(1);
    }

    /// One failed.
    pub fn on_failed(&mut self) {
        self.came_up = 0;
        self.came_up_before = 0;
    }

    fn turn(&mut self, now: Timestamp) {
        let window = now.since(Timestamp(0)).as_secs() / OF_LATE.as_secs();
        if window > self.window {
            self.came_up_before = if window == self.window + 1 { self.came_up } else { 0 };
            self.came_up = 0;
            self.window = window;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(up: u32, opening: u32) -> Live {
        Live { up, opening }
    }

    #[test]
    fn as_many_as_are_up_or_came_up_of_late_and_always_one() {
        let mut knock = Knock::default();
        let now = Timestamp(100_000);
        knock.on_open(now);
        assert_eq!(knock.allowed(live(0, 0), now), Ok(()));
        assert_eq!(
            knock.allowed(live(0, 1), now),
            Err(None),
            "a dead host is knocked at by one"
        );
        assert_eq!(knock.allowed(live(4, 3), now), Ok(()));
        assert!(knock.allowed(live(4, 4), now).is_err());
        (0..6).for_each(|_| knock.on_up(now));
        assert_eq!(knock.allowed(live(1, 5), now), Ok(()), "connecting takes long here");
        assert!(knock.allowed(live(1, 6), now).is_err());
        assert!(
            knock.allowed(live(1, 5), Timestamp(111_000)).is_ok(),
            "a second later one more"
        );
        assert_eq!(
            knock.allowed(live(0, 5), Timestamp(111_000)),
            Err(None),
            "that was long ago"
        );
        (0..6).for_each(|_| knock.on_up(Timestamp(111_000)));
        knock.on_failed();
        assert_eq!(
            knock.allowed(live(0, 1), Timestamp(111_000)),
            Err(None),
            "and one has failed since"
        );
    }

    #[test]
    fn beside_hosts_that_never_answer_one_more_is_met_each_second() {
        let mut knock = Knock::default();
        knock.on_open(Timestamp(5_000));
        assert_eq!(knock.allowed(live(2, 2), Timestamp(5_500)), Err(Some(Timestamp(6_000))));
        assert_eq!(knock.allowed(live(2, 2), Timestamp(6_000)), Ok(()));
        assert_eq!(
            knock.allowed(live(0, 1), Timestamp(60_000)),
            Err(None),
            "but never where none is up"
        );
    }
}
