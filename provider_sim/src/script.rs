//! A scripted receiver: what it does differently, at which stage, on which connection. Everything else it does well.
//!
//! ```text
//! Script::new()
//!     .at(Stage::Rcpt, Act::reply("450 4.2.1 busy"))          // always, everywhere
//!     .on_connection(2).at(Stage::Dot, [Act::Keep, Act::Reset]) // but the second connection keeps the message and dies
//!     .times(1).at(Stage::Mail, Act::reply("421 later"))       // once, whoever comes first
//! ```
//!
//! `on_connection`, `on_message`, `to` and `times` say when the next `at` applies and are forgotten after it; the last
//! rule that applies wins. Takes rules, gives acts. Never does I/O itself: the session performs the acts.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::tls::{TlsIdentity, tls_1_0_server_hello};

/// Where in the conversation a rule applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Instead of or around the greeting.
    Banner,
    /// The answer to EHLO.
    Ehlo,
    /// The answer to HELO.
    Helo,
    /// The answer to STARTTLS. A scripted answer that begins with `220` is followed by the handshake.
    StartTls,
    /// Before the handshake. A scripted answer is sent instead of it, and the connection closed.
    TlsHandshake,
    /// The final answer to AUTH.
    Auth,
    /// The answer to MAIL.
    Mail,
    /// The answer to RCPT.
    Rcpt,
    /// The answer to DATA. Content is read only after an answer that begins with `354`.
    Data,
    /// While content arrives, once this many bytes of it have been read (dots and all, as sent).
    Body(u64),
    /// The answer to the final dot. See [`Act::Keep`] for what then counts as accepted.
    Dot,
    /// The answer to RSET.
    Rset,
    /// The answer to NOOP.
    Noop,
    /// The answer to QUIT.
    Quit,
}

/// One thing to do. A rule's acts are done in order; if none of them answers, the usual answer follows.
#[derive(Debug, Clone)]
pub enum Act {
    /// Answers with this text and CR LF. An answer that begins with `421` closes the connection, as RFC 5321 has it.
    Reply(Vec<u8>),
    /// Answers with exactly these bytes.
    Raw(Vec<u8>),
    /// Answers with exactly these bytes, one at a time, this long apart.
    Drip(Vec<u8>, Duration),
    /// Answers as a receiver that behaves well would; for acts that belong after the answer.
    Usual,
    /// Sends these bytes besides the answer: in the same segment as what stands next to it, unless flushed apart.
    Extra(Vec<u8>),
    /// Sends what has been answered so far.
    Flush,
    /// Waits.
    Delay(Duration),
    /// Waits until the test opens the gate.
    Wait(Gate),
    /// Waits until the client has sent something more (or closed).
    Listen,
    /// At the dot: the message is accepted and in the ledger, whatever is answered. Without this, it is when the usual
    /// answer is a 250 and given, or when the scripted answer's last line begins with `2`. The ledger has the message
    /// before any act of the rule is done.
    Keep,
    /// Presents this certificate (at [`Stage::TlsHandshake`] only).
    Present(TlsIdentity),
    /// Closes the connection with a FIN, after what has been answered so far.
    Close,
    /// Resets the connection: the client sees ECONNRESET and may lose what it has not read yet.
    Reset,
    /// Never answers. Reads on until the client goes away.
    Silence,
}

impl Act {
    /// Answers with `text` and CR LF.
    pub fn reply(text: impl AsRef<[u8]>) -> Self {
        Self::Reply(text.as_ref().to_vec())
    }

    /// Answers with exactly these bytes.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Self::Raw(bytes.as_ref().to_vec())
    }

    /// Sends these bytes besides the answer.
    pub fn extra(bytes: impl AsRef<[u8]>) -> Self {
        Self::Extra(bytes.as_ref().to_vec())
    }

    /// Answers with exactly these bytes, one at a time, `interval` apart.
    pub fn drip(bytes: impl AsRef<[u8]>, interval: Duration) -> Self {
        Self::Drip(bytes.as_ref().to_vec(), interval)
    }

    /// At [`Stage::TlsHandshake`]: a server that knows nothing newer than TLS 1.0.
    #[must_use]
    pub fn tls_1_0_only() -> Vec<Self> {
        vec![
            Self::Listen,
            Self::Raw(tls_1_0_server_hello()),
            Self::Flush,
            Self::Listen,
            Self::Close,
        ]
    }
}

impl From<Act> for Vec<Act> {
    fn from(act: Act) -> Self {
        vec![act]
    }
}

/// A gate that a test opens, and at which it can see the receiver arrive. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    open: Arc<watch::Sender<bool>>,
    arrived: Arc<Notify>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self {
            open: Arc::new(watch::Sender::new(false)),
            arrived: Arc::new(Notify::new()),
        }
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until a receiver stands before the gate. Each arrival answers one call.
    pub async fn reached(&self) {
        self.arrived.notified().await;
    }

    pub(crate) async fn pass(&self) {
        self.arrived.notify_one();
        let mut open = self.open.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = open.wait_for(|open| *open).await;
    }
}

/// Rules for a receiver. See the top of this file.
#[derive(Debug, Clone, Default)]
pub struct Script {
    rules: Vec<Arc<Rule>>,
    next: Scope,
    one_byte_segments: bool,
}

#[derive(Debug)]
struct Rule {
    stage: Stage,
    scope: Scope,
    used: AtomicU64,
    acts: Arc<[Act]>,
}

#[derive(Debug, Clone, Default)]
struct Scope {
    connections: Option<RangeInclusive<u64>>,
    message: Option<u64>,
    recipient: Option<String>,
    times: Option<u64>,
}

/// What a rule is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) connection: u64,
    pub(crate) message: u64,
    pub(crate) recipient: Option<&'a str>,
}

impl Script {
    /// A receiver that behaves well.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Does `acts` at `stage`, within what was said since the last `at`.
    #[must_use]
    pub fn at(mut self, stage: Stage, acts: impl Into<Vec<Act>>) -> Self {
        self.rules.push(Arc::new(Rule {
            stage,
            scope: std::mem::take(&mut self.next),
            used: AtomicU64::new(0),
            acts: acts.into().into(),
        }));
        self
    }

    /// The next rule applies to the receiver's `number`-th connection only, from 1.
    #[must_use]
    pub fn on_connection(self, number: u64) -> Self {
        self.on_connections(number..=number)
    }

    /// The next rule applies to these connections only, from 1.
    #[must_use]
    pub fn on_connections(mut self, numbers: RangeInclusive<u64>) -> Self {
        self.next.connections = Some(numbers);
        self
    }

    /// The next rule applies to the `number`-th MAIL of each connection and what belongs to it, from 1.
    #[must_use]
    pub fn on_message(mut self, number: u64) -> Self {
        self.next.message = Some(number);
        self
    }

    /// The next rule applies to recipients whose address contains `part` only. For [`Stage::Rcpt`].
    #[must_use]
    pub fn to(mut self, part: &str) -> Self {
        self.next.recipient = Some(part.to_owned());
        self
    }

    /// The next rule applies `count` times and never again.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.next.times = Some(count);
        self
    }

    /// Sends every byte in a segment of its own.
    #[must_use]
    pub fn one_byte_segments(mut self) -> Self {
        self.one_byte_segments = true;
        self
    }

    pub(crate) fn sends_single_bytes(&self) -> bool {
        self.one_byte_segments
    }

    /// The acts at a stage, if a rule applies; uses the rule up once.
    pub(crate) fn acts(&self, stage: Stage, place: Place<'_>) -> Option<Arc<[Act]>> {
        let applies = |rule: &&Arc<Rule>| rule.stage == stage && rule.applies(place) && rule.take();
        self.rules.iter().rev().find(applies).map(|rule| Arc::clone(&rule.acts))
    }

    /// The next place in the content, after `read` bytes, where something is to be done.
    pub(crate) fn body_stop(&self, read: u64, place: Place<'_>) -> Option<u64> {
        let stop = |rule: &Arc<Rule>| match rule.stage {
            Stage::Body(after) if after >= read && rule.applies(place) && rule.is_left() => Some(after),
            _ => None,
        };
        self.rules.iter().filter_map(stop).min()
    }
}

impl Rule {
    fn applies(&self, place: Place<'_>) -> bool {
        let scope = &self.scope;
        scope
            .connections
            .as_ref()
            .is_none_or(|numbers| numbers.contains(&place.connection))
            && scope.message.is_none_or(|number| number == place.message)
            && scope
                .recipient
                .as_ref()
                .is_none_or(|part| place.recipient.is_some_and(|to| to.contains(part)))
    }

    fn is_left(&self) -> bool {
        self.scope
            .times
            .is_none_or(|times| self.used.load(Ordering::Relaxed) < times)
    }

    fn take(&self) -> bool {
        let Some(times) = self.scope.times else { return true };
        let take_one = |used| (used < times).then_some(used + 1);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(connection: u64, message: u64) -> Place<'static> {
        Place {
            connection,
            message,
            recipient: Some("bob@x.test"),
        }
    }

    fn check(script: &Script, stage: Stage, place: Place<'_>, expect: Option<&str>) {
        let acts = script.acts(stage, place);
        let got = acts.map(|acts| match &acts[0] {
            Act::Reply(text) => String::from_utf8_lossy(text).into_owned(),
            other => format!("{other:?}"),
        });
        assert_eq!(got.as_deref(), expect, "{stage:?} {place:?}");
    }

    #[test]
    fn the_last_rule_that_applies_wins_and_scopes_end_with_their_rule() {
        let script = Script::new()
            .at(Stage::Dot, Act::reply("250 always"))
            .on_connection(2)
            .at(Stage::Dot, Act::reply("451 second"))
            .on_message(3)
            .at(Stage::Mail, Act::reply("421 third"))
            .to("bob@")
            .at(Stage::Rcpt, Act::reply("550 bob"))
            .to("eve@")
            .at(Stage::Rcpt, Act::reply("550 eve"));
        check(&script, Stage::Dot, place(1, 1), Some("250 always"));
        check(&script, Stage::Dot, place(2, 1), Some("451 second"));
        check(&script, Stage::Mail, place(2, 1), None);
        check(&script, Stage::Mail, place(9, 3), Some("421 third"));
        check(&script, Stage::Rcpt, place(1, 1), Some("550 bob"));
        check(&script, Stage::Quit, place(1, 1), None);
    }

    #[test]
    fn a_rule_that_is_used_up_makes_room_for_the_one_before_it() {
        let script = Script::new()
            .at(Stage::Dot, Act::reply("250 then"))
            .times(2)
            .at(Stage::Dot, Act::reply("451 first"));
        let clone = script.clone();
        check(&script, Stage::Dot, place(1, 1), Some("451 first"));
        check(&clone, Stage::Dot, place(2, 1), Some("451 first"));
        check(&script, Stage::Dot, place(3, 1), Some("250 then"));
    }

    #[test]
    fn stops_in_the_content_are_found_in_order() {
        let script = Script::new()
            .at(Stage::Body(100), Act::Close)
            .at(Stage::Body(10), Act::Flush);
        assert_eq!(script.body_stop(0, place(1, 1)), Some(10));
        assert_eq!(script.body_stop(11, place(1, 1)), Some(100));
        assert_eq!(script.body_stop(101, place(1, 1)), None);
    }
}
