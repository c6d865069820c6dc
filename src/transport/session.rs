//! An open session that carries one message after the other.
//!
//! Takes mail and a gate, gives a Transaction. The gate is asked when the receiver granted DATA and answers true once it is
//! on record that the message is about to leave: without it the final dot stays here, and without a dot no receiver keeps a
//! message. A session can be dropped at any time; it then closes without a dot that has not left yet. Never sends a message
//! twice.

use std::pin::pin;

use super::connection::Connection;
use super::stopwatch::Stopwatch;
use crate::domain::{Failure, PhaseTimes};
use crate::sabotage::{self, Bug};
use crate::smtp::{Capabilities, Conversation, DOT_BYTES, DotStuffer, Envelope, Machine as _, Next, Transaction};

/// A body up to this size waits for the gate and leaves in one piece with the dot; a larger one is sent meanwhile.
const WHOLE_BODY_BYTES_MAX: usize = 32 * 1024;
/// Bytes of a larger body that are sent at once, each with a deadline.
const BLOCK_BYTES: usize = 32 * 1024;

/// One message for one recipient.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Return path; empty for the null sender.
    pub mail_from: &'a str,
    /// The recipient.
    pub rcpt_to: &'a str,
    /// The message with CRLF line ends, dots not stuffed.
    pub bytes: &'a [u8],
}

/// A session.
pub struct Session {
    connection: Connection,
    conversation: Conversation,
    /// What is sent: a whole body, or a block of it.
    outgoing: Vec<u8>,
    encrypted: bool,
    watch: Stopwatch,
    opening: PhaseTimes,
    transaction: PhaseTimes,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("encrypted", &self.encrypted)
            .field("reusable", &self.reusable())
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(
        connection: Connection,
        capabilities: Capabilities,
        encrypted: bool,
        watch: Stopwatch,
        opening: PhaseTimes,
    ) -> Self {
        Self {
            connection,
            conversation: Conversation::new(capabilities),
            outgoing: Vec::new(),
            encrypted,
            watch,
            opening,
            transaction: PhaseTimes::default(),
        }
    }

    /// Sends one message. `gate` is called once, when 354 came, and not at all if it never does. If the message cannot be
    /// sent its future is dropped unfinished; [`Transaction::dot_sent`] is then false.
    pub async fn deliver<G, F>(&mut self, mail: Outgoing<'_>, gate: G) -> Transaction
    where
        G: FnOnce() -> F + Send,
        F: Future<Output = bool> + Send,
    {
        self.watch.lap();
        self.transaction = PhaseTimes::default();
        self.conversation.begin(Envelope {
            mail_from: mail.mail_from,
            rcpt_to: mail.rcpt_to,
            octets: u64::try_from(mail.bytes.len()).unwrap_or(u64::MAX),
        });
        if self.conversation.next() == Next::Write {
            // A goodbye that came while nobody listened.
            self.connection.overhear(&mut self.conversation);
        }
        if self.conversation.next() == Next::Write {
            self.connection.say(&mut self.conversation).await;
            self.outgoing.clear();
            if mail.bytes.len() <= WHOLE_BODY_BYTES_MAX {
                // While the replies are on their way.
                let mut stuffer = DotStuffer::default();
                self.outgoing.reserve(mail.bytes.len() + mail.bytes.len() / 32 + 8);
                stuffer.encode(mail.bytes, &mut self.outgoing);
                stuffer.finish(&mut self.outgoing);
            }
        }
        let next = self.connection.drive(&mut self.conversation).await;
        self.transaction.envelope = Some(self.watch.lap());
        if next == Next::Body {
            fail::fail_point!("after-354");
            if mail.bytes.len() <= WHOLE_BODY_BYTES_MAX {
                self.send_whole(gate).await;
            } else {
                self.send_in_blocks(mail.bytes, gate).await;
            }
        }
        self.conversation.take()
    }

    /// Whether another message can be sent.
    #[must_use]
    pub fn reusable(&self) -> bool {
        self.conversation.reusable()
    }

    /// What the phases up to EHLO took.
    #[must_use]
    pub fn opening_times(&self) -> &PhaseTimes {
        &self.opening
    }

    /// What the phases of the last transaction took.
    #[must_use]
    pub fn transaction_times(&self) -> &PhaseTimes {
        &self.transaction
    }

    /// Whether it is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.encrypted
    }

    /// What the other side offered.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        self.conversation.capabilities()
    }

    /// Whether the other side closed or talked while nothing was asked of it: then the session must not be used again.
    pub fn idle_check(&mut self) -> bool {
        if self.reusable() {
            self.connection.overhear(&mut self.conversation);
        }
        !self.reusable()
    }

    /// Ends it: with QUIT if nothing is in hand, else by closing.
    pub async fn quit(self) {
        if self.reusable() {
            self.connection.quit().await;
        }
    }

    async fn send_whole<G, F>(&mut self, gate: G)
    where
        G: FnOnce() -> F + Send,
        F: Future<Output = bool> + Send,
    {
        if gate().await {
            self.send_to_the_end().await;
        } else {
            self.conversation.withhold();
        }
    }

    async fn send_in_blocks<G, F>(&mut self, body: &[u8], gate: G)
    where
        G: FnOnce() -> F + Send,
        F: Future<Output = bool> + Send,
    {
        let mut gate = pin!(gate());
        let mut allowed = None;
        let mut streamed = None;
        {
            let Self {
                connection,
                conversation,
                outgoing,
                ..
            } = self;
            let mut streaming = pin!(stream(connection, conversation, outgoing, body));
            while allowed.is_none() || streamed.is_none() {
                tokio::select! {
                    biased;
                    answer = &mut gate, if allowed.is_none() => {
                        allowed = Some(answer);
                        if !answer {
                            break;
                        }
                    }
                    result = &mut streaming, if streamed.is_none() => {
                        let failed = result.is_err();
                        streamed = Some(result);
                        if failed {
                            break;
                        }
                    }
                }
            }
        }
        match (allowed, streamed) {
            (Some(false), _) => self.conversation.withhold(),
            (_, Some(Err(failure))) => self.connection.hear_why(&mut self.conversation, failure).await,
            (Some(true), Some(Ok(stuffer))) => {
                self.outgoing.clear();
                stuffer.finish(&mut self.outgoing);
                self.send_to_the_end().await;
            }
            // Not reached: the loop ends with an answer and a result, or with one of the two above.
            _ => self.conversation.withhold(),
        }
    }

    /// Sends what is in hand, which ends in the final dot, and hears the reply to it.
    async fn send_to_the_end(&mut self) {
        // What was said after 354 is not the reply to a dot that has not left.
        self.connection.overhear(&mut self.conversation);
        if self.connection.drive(&mut self.conversation).await != Next::Body {
            return;
        }
        self.transaction.body = Some(self.watch.lap());
        if sabotage::is(Bug::QuitBehindDot) {
            self.outgoing.extend_from_slice(b"QUIT\r\n");
        }
        let mut sent = 0;
        let limit = self.connection.deadlines.block;
        let result = self.connection.send(&self.outgoing, &mut sent, limit).await;
        let dot_left = sent > self.outgoing.len() - DOT_BYTES;
        if dot_left {
            fail::fail_point!("after-final-dot");
            self.conversation.dot_leaves();
        }
        match result {
            Err(failure) if !dot_left => self.connection.hear_why(&mut self.conversation, failure).await,
            Err(Failure::Timeout) => self.conversation.fail(Failure::Timeout),
            // If the connection broke, reading finds either the reply or the break.
            Ok(()) | Err(_) => {
                let end = self.connection.drive(&mut self.conversation).await;
                debug_assert_eq!(end, Next::Done, "a dot is followed by its reply only");
            }
        }
        if dot_left {
            fail::fail_point!("after-reply");
            self.transaction.dot = Some(self.watch.lap());
        }
    }
}

/// Sends a body but for its last line end and the dot, which the encoder it gives back still holds.
async fn stream(
    connection: &mut Connection,
    conversation: &mut Conversation,
    outgoing: &mut Vec<u8>,
    body: &[u8],
) -> Result<DotStuffer, Failure> {
    let limit = connection.deadlines.body(body.len());
    let all = async {
        let mut stuffer = DotStuffer::default();
        for block in body.chunks(BLOCK_BYTES) {
            outgoing.clear();
            stuffer.encode(block, outgoing);
            let mut sent = 0;
            connection.send(outgoing, &mut sent, connection.deadlines.block).await?;
            connection.overhear(conversation);
            if conversation.next() != Next::Body {
                // They refuse it already.
                return Err(Failure::ConnectionLost);
            }
        }
        Ok(stuffer)
    };
    match tokio::time::timeout(limit, all).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Timeout),
    }
}
