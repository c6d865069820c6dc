//! Moves a protocol machine along a wire: writes what it has to say, reads what it waits for, keeps its deadlines.
//!
//! Takes a machine, gives what it wants next that is not plain talk. Never knows what the bytes mean.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

use super::Deadlines;
use super::wire::{Wire, failure_of};
use crate::domain::Failure;
use crate::sabotage::{self, Bug};
use crate::smtp::{Machine, Next};

/// Bytes that are read at once. Replies are small; a flight of them fits.
const READ_BYTES: usize = 4096;

/// A wire, its read buffer and its deadlines.
pub(super) struct Connection {
    pub(super) wire: Wire,
    pub(super) deadlines: Deadlines,
    incoming: Box<[u8]>,
}

impl Connection {
    pub(super) fn new(wire: Wire, deadlines: Deadlines) -> Self {
        Self {
            wire,
            deadlines,
            incoming: vec![0; READ_BYTES].into_boxed_slice(),
        }
    }

    /// Writes and reads until the machine wants something else.
    pub(super) async fn drive<M: Machine>(&mut self, machine: &mut M) -> Next {
        loop {
            match machine.next() {
                Next::Write => self.say(machine).await,
                Next::Read(_) => self.hear(machine).await,
                other => return other,
            }
        }
    }

    /// Writes what is due.
    pub(super) async fn say<M: Machine>(&mut self, machine: &mut M) {
        let mut sent = 0;
        match self.send(machine.outgoing(), &mut sent, self.deadlines.block).await {
            Err(Failure::Timeout) => machine.fail(Failure::Timeout),
            // A peer that hung up may have said why: reading tells.
            Ok(()) | Err(_) => machine.written(),
        }
    }

    /// Reads until the machine waits for something else, within the one deadline of what it waits for.
    async fn hear<M: Machine>(&mut self, machine: &mut M) {
        let waited_for = machine.next();
        let Next::Read(wait) = waited_for else { return };
        let limit = self.deadlines.of(wait);
        let per_read = sabotage::is(Bug::TimeoutPerRead);
        let heard = timeout(if per_read { Duration::MAX } else { limit }, async {
            loop {
                if !per_read {
                    self.hear_once(machine).await;
                } else if timeout(limit, self.hear_once(machine)).await.is_err() {
                    machine.fail(Failure::Timeout);
                }
                if machine.next() != waited_for {
                    break;
                }
                self.wire.acknowledge();
            }
        });
        if heard.await.is_err() {
            machine.fail(Failure::Timeout);
        } else if matches!(machine.next(), Next::Read(_)) {
            // The replies to one flight come one by one.
            self.wire.acknowledge();
        }
    }

    async fn hear_once<M: Machine>(&mut self, machine: &mut M) {
        match self.wire.read(&mut self.incoming).await {
            Ok(0) => machine.end_of_stream(),
            Ok(count) => machine.receive(&self.incoming[..count]),
            Err(error) => machine.fail(failure_of(&error)),
        }
    }

    /// Passes on what has come already, without waiting.
    pub(super) fn overhear<M: Machine>(&mut self, machine: &mut M) {
        let mut context = Context::from_waker(Waker::noop());
        let mut buffer = ReadBuf::new(&mut self.incoming);
        match Pin::new(&mut self.wire).poll_read(&mut context, &mut buffer) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => machine.end_of_stream(),
            Poll::Ready(Ok(())) => machine.receive(buffer.filled()),
            Poll::Ready(Err(error)) => machine.fail(failure_of(&error)),
        }
    }

    /// Sends `bytes`. `sent` counts those that may have left, also when this fails or is dropped half-way.
    pub(super) async fn send(&mut self, bytes: &[u8], sent: &mut usize, limit: Duration) -> Result<(), Failure> {
        let hidden = self.wire.hides_what_was_sent();
        let wire = &mut self.wire;
        let all = async {
            let mut taken = 0;
            while taken < bytes.len() {
                if hidden {
                    *sent = bytes.len();
                }
                let count = poll_fn(|context| Pin::new(&mut *wire).poll_write(context, &bytes[taken..])).await?;
                if count == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                taken += count;
                *sent = (*sent).max(taken);
            }
            wire.flush().await
        };
        match timeout(limit, all).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failure_of(&error)),
            Err(_) => Err(Failure::Timeout),
        }
    }

    /// The body could not be sent: hears whether the other side said why, then gives up with `failure`.
    pub(super) async fn hear_why<M: Machine>(&mut self, machine: &mut M, failure: Failure) {
        let heard = timeout(self.deadlines.quit, async {
            while matches!(machine.next(), Next::Body | Next::Read(_)) {
                match self.wire.read(&mut self.incoming).await {
                    Ok(0) => machine.end_of_stream(),
                    Ok(count) => machine.receive(&self.incoming[..count]),
                    Err(_) => machine.fail(failure.clone()),
                }
            }
        });
        if heard.await.is_err() {
            machine.fail(failure);
        }
    }

    /// Says goodbye, and waits a moment for the answer.
    pub(super) async fn quit(mut self) {
        let limit = self.deadlines.quit;
        let goodbye = async {
            self.wire.write_all(b"QUIT\r\n").await?;
            self.wire.flush().await?;
            // Whatever it is, or that nothing comes: we are leaving.
            let answer = self.wire.read(&mut self.incoming).await?;
            debug_assert!(answer <= READ_BYTES, "a read gives no more than it was given room for");
            self.wire.shutdown().await
        };
        // There is nobody to tell that a goodbye failed.
        let _: Result<io::Result<()>, _> = timeout(limit, goodbye).await;
    }
}
