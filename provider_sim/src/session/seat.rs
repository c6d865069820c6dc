//! A connection's place at its receiver: counted from accept to end, however it ends.
//!
//! Takes a peer, gives what the session must know of it. Dropping it frees the place, also when the task is aborted.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::gate::Refusal;
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
    refusal: Option<Refusal>,
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
            refusal,
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

    /// What the client must be told instead of the banner.
    pub(super) fn refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    /// Notes how it ended; the first note stands.
    pub(super) fn leave(&self, ended: Ended) {
        self.recorder.with(|transcript| {
            transcript.ended.get_or_insert(ended);
        });
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
