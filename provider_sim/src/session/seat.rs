//! A connection's place at its receiver: counted from accept to end, however it ends.
//!
//! Takes a peer, gives what the session must know of it. Dropping it frees the place, also when the task is aborted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::gate::Refusal;
use crate::hidden::{Door, Guest};
use crate::receiver::{Recorder, Shared};
use crate::transcript::Ended;

/// A place, taken or refused.
#[derive(Debug)]
pub(crate) struct Seat {
    shared: Arc<Shared>,
    recorder: Recorder,
    peer: SocketAddr,
    number: u64,
    admitted: bool,
    opening: Opening,
}

/// What a client meets first.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// What it is told instead of the banner.
    pub(super) refusal: Option<Refusal>,
    /// How long that takes.
    pub(super) after: Duration,
    /// Nothing is said at all.
    pub(super) silent: bool,
    /// Its place under hidden limits.
    pub(super) guest: Option<Guest>,
}

impl Seat {
    pub(crate) fn take(shared: &Arc<Shared>, peer: SocketAddr, number: u64, recorder: Recorder) -> Self {
        shared.counts.opened();
        let refusal = shared.gate.connect(peer.ip());
        let seat = Self {
            shared: Arc::clone(shared),
            recorder,
            peer,
            number,
            admitted: refusal.is_none(),
            opening: Opening::of(shared, peer, refusal),
        };
        shared.changed.notify_waiters();
        seat
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// How the conversation begins.
    pub(super) fn opening(&mut self) -> Opening {
        std::mem::take(&mut self.opening)
    }

    /// Notes how it ended; the first note stands.
    pub(super) fn leave(&self, ended: Ended) {
        self.recorder.with(|transcript| {
            transcript.ended.get_or_insert(ended);
        });
    }
}

impl Opening {
    fn of(shared: &Shared, peer: SocketAddr, refusal: Option<Refusal>) -> Self {
        let Some(hidden) = shared.hidden.as_ref().filter(|_| refusal.is_none()) else {
            return Self {
                refusal,
                ..Self::default()
            };
        };
        match hidden.connect(peer.ip(), shared.clock.age()) {
            Door::Open(guest, after) => Self {
                after,
                guest: Some(guest),
                ..Self::default()
            },
            Door::Refused(reason, after) => Self {
                refusal: Some(shared.gate.refuse(reason, peer.ip(), "", "")),
                after,
                ..Self::default()
            },
            Door::Shut(after) => Self {
                after,
                silent: true,
                ..Self::default()
            },
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave(Ended::Shutdown);
        if self.admitted {
            self.shared.gate.disconnect(self.peer.ip());
        }
        self.shared.counts.closed();
        self.shared.changed.notify_waiters();
    }
}
