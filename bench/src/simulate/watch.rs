//! What must hold at every moment of a run, whoever the receiver is: the invariants of a lane.
//!
//! Takes what happens in the world, in order; gives the worst that was seen. Never steers anything.

use std::collections::VecDeque;
use std::time::Duration;

use posthaste::domain::Timestamp;
use posthaste::policy::lane_gate::Live;
use provider_sim::model::Refusal;

/// The worst that was seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    /// Connections under way beyond as many as were up or came up in the last ten seconds, and one; those aside that were
    /// opened a second after the last, beside others that were up.
    pub(crate) herd_max: u32,
    /// Messages that were sent in one break after a block for reputation, those aside whose fate was never known.
    pub(crate) canaries_max: u32,
    /// Times that nothing was under way although there was work, and no time to ask again was named.
    pub(crate) stuck: u64,
    /// Connections opened in each second.
    pub(crate) connects: Vec<u32>,
    /// Seconds at which connections came up, of the last ten.
    came_up: VecDeque<usize>,
    /// When the last connection was opened.
    opened_at: Duration,
    /// Messages in hand.
    busy: u32,
    /// Since when it is blocked, and messages sent since.
    blocked: Option<(Timestamp, u32)>,
}

impl Watch {
    /// A connection is to be opened while there are so many.
    pub(crate) fn opening(&mut self, live: Live, at: Duration) {
        let second = usize::try_from(at.as_secs()).unwrap_or(usize::MAX);
        while self.came_up.front().is_some_and(|then| then + 10 < second) {
            self.came_up.pop_front();
        }
        let is_slow = live.up > 0 && at >= self.opened_at + Duration::from_millis(999);
        self.opened_at = at;
        if !is_slow {
            let known = live.up.max(u32::try_from(self.came_up.len()).unwrap_or(u32::MAX));
            self.herd_max = self.herd_max.max((live.opening + 1).saturating_sub(known.max(1)));
        }
        if self.connects.len() <= second {
            self.connects.resize(second + 1, 0);
        }
        self.connects[second] += 1;
    }

    /// A connection came up.
    pub(crate) fn opened(&mut self, at: Duration) {
        self.came_up
            .push_back(usize::try_from(at.as_secs()).unwrap_or(usize::MAX));
    }

    /// A message is given to a session.
    pub(crate) fn given(&mut self) {
        self.busy += 1;
        if let Some((_, sent)) = &mut self.blocked {
            *sent += 1;
            self.canaries_max = self.canaries_max.max(*sent);
        }
    }

    /// A message that was given at `started` was delivered or refused.
    pub(crate) fn answered(&mut self, started: Timestamp, refused: Option<Refusal>, now: Timestamp) {
        self.busy -= 1;
        match (refused, self.blocked) {
            (Some(Refusal::Reputation), Some((since, _))) if started <= since => {}
            (Some(Refusal::Reputation), _) => self.blocked = Some((now, 0)),
            (None, Some((since, _))) if started > since => self.blocked = None,
            (Some(_), Some((since, sent))) if started > since => self.blocked = Some((since, sent.saturating_sub(1))),
            _ => {}
        }
    }

    /// Nobody will ever know what became of a message that was given at `started`.
    pub(crate) fn lost(&mut self, started: Timestamp) {
        self.busy -= 1;
        if let Some((_, sent)) = self.blocked.as_mut().filter(|(since, _)| started > *since) {
            *sent = sent.saturating_sub(1);
        }
    }

    /// All that was wanted now is under way; whether a time to ask again is known.
    pub(crate) fn settled(&mut self, live: Live, asks_again: bool) {
        self.stuck += u64::from(self.busy == 0 && live.opening == 0 && !asks_again);
    }
}
