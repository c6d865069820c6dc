//! Mail transactions on an open session, one after the other.
//!
//! Takes an envelope and bytes, gives commands and a [`Transaction`] each time. The rules, and why:
//!
//! - MAIL, RCPT and DATA go in one flight where PIPELINING was offered, else one at a time. All replies of a flight are read
//!   before anything is done about them.
//! - Nothing is sent behind the final dot before its reply: a garbled reply followed by the answer to another command would
//!   be read as the reply to the dot, and mail would be lost.
//! - A refusal at any stage is definite and stays, whatever happens to the connection afterwards. From the dot on a missing
//!   reply is no refusal: a copy may exist.
//! - When every recipient was refused and DATA was granted all the same, a lone dot ends it (RFC 2920, 3.1). When a
//!   recipient was accepted after a refused MAIL, the lone dot would deliver an empty message: the connection is closed.
//! - Bytes that nobody asked for make the session unusable: the next reply could not be told from them.
//! - RSET goes first in the next flight, and only after a transaction that failed.

use super::machine::fits_in_brackets;
use super::{Capabilities, Machine, Next, Progress, ReplyParser, Wait};
use crate::domain::{Failure, Reply, Stage};
use crate::sabotage::{self, Bug};

/// Who, to whom and how much.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// Return path; empty for the null sender.
    pub mail_from: &'a str,
    /// The recipient.
    pub rcpt_to: &'a str,
    /// Octets of the message, as RFC 1870 counts them: without stuffed dots and the final one.
    pub octets: u64,
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// How far it came.
    pub stage: Stage,
    /// How it ended.
    pub outcome: TransactionOutcome,
    /// Whether the final dot left: if it did not, no copy exists.
    pub dot_sent: bool,
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionOutcome {
    /// A 2xx after the final dot.
    Accepted(Reply),
    /// A 4xx or 5xx at the stage.
    Refused(Reply),
    /// No usable reply at the stage.
    Failed(Failure),
    /// We did not want it to leave any more: no dot was sent.
    Withheld,
}

/// The commands of a flight, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Reset,
    MailFrom,
    RcptTo,
    Data,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between transactions.
    Idle,
    /// The command of this step, or in a pipelined flight all from it on, are to be sent.
    Writing(Step),
    /// Its reply is awaited.
    Reading(Step),
    /// 354 came: the body is being sent.
    Body,
    /// The final dot left.
    Dot,
    /// A dot that ends a DATA which should not have been granted is to be sent.
    WritingLoneDot,
    /// It left.
    LoneDot,
    /// It is over.
    Done,
}

/// The machine.
#[derive(Debug)]
pub struct Conversation {
    capabilities: Capabilities,
    parser: ReplyParser,
    phase: Phase,
    /// All commands of the transaction, and where each ends.
    commands: Vec<u8>,
    ends: [usize; 4],
    /// Stage and outcome, once they are certain.
    decided: Option<(Stage, TransactionOutcome)>,
    rcpt_accepted: bool,
    dot_sent: bool,
    /// The last transaction failed and left its envelope behind.
    reset_needed: bool,
    /// Nothing more can be sent or understood on this connection.
    unusable: bool,
}

impl Conversation {
    /// A session was opened.
    #[must_use]
    pub fn new(capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            parser: ReplyParser::default(),
            phase: Phase::Idle,
            commands: Vec::new(),
            ends: [0; 4],
            decided: None,
            rcpt_accepted: false,
            dot_sent: false,
            reset_needed: false,
            unusable: false,
        }
    }

    /// What the other side offered.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether another transaction can begin, or QUIT be said.
    #[must_use]
    pub fn reusable(&self) -> bool {
        self.phase == Phase::Idle && !self.unusable
    }

    /// Starts a transaction. What the other side cannot take is refused here, without a word to it.
    pub fn begin(&mut self, envelope: Envelope<'_>) {
        self.decided = None;
        self.rcpt_accepted = false;
        self.dot_sent = false;
        self.parser.reset();
        if !self.reusable() {
            self.decide(Stage::MailFrom, TransactionOutcome::Failed(Failure::ConnectionLost));
            self.phase = Phase::Done;
            return;
        }
        if let Err(failure) = self.write_commands(envelope) {
            self.decide(Stage::MailFrom, TransactionOutcome::Failed(failure));
            self.phase = Phase::Done;
            return;
        }
        let first = if self.reset_needed { Step::Reset } else { Step::MailFrom };
        self.phase = Phase::Writing(first);
    }

    /// The first byte of the final dot is about to leave: from here on a copy may exist.
    pub fn dot_leaves(&mut self) {
        debug_assert_eq!(self.phase, Phase::Body, "a dot without a body");
        self.phase = Phase::Dot;
        self.dot_sent = true;
    }

    /// The message must not go after all. The connection has to be closed, without a dot.
    pub fn withhold(&mut self) {
        debug_assert_eq!(self.phase, Phase::Body, "too late to withhold");
        self.decide(Stage::Body, TransactionOutcome::Withheld);
        self.give_up();
    }

    /// What became of the transaction, once [`Next::Done`] was given.
    pub fn take(&mut self) -> Transaction {
        if self.phase != Phase::Done {
            self.fail(Failure::ConnectionLost);
        }
        self.phase = Phase::Idle;
        let (stage, outcome) = self
            .decided
            .take()
            .unwrap_or((Stage::MailFrom, TransactionOutcome::Failed(Failure::ConnectionLost)));
        Transaction {
            stage,
            outcome,
            dot_sent: self.dot_sent,
        }
    }

    fn write_commands(&mut self, envelope: Envelope<'_>) -> Result<(), Failure> {
        let Envelope {
            mail_from,
            rcpt_to,
            octets,
        } = envelope;
        if !fits_in_brackets(mail_from) || !fits_in_brackets(rcpt_to) || rcpt_to.is_empty() {
            return Err(Failure::Local("an address cannot stand in a command".to_owned()));
        }
        if let Some(limit) = self.capabilities.refuses_size(octets) {
            let text = format!("5.3.4 the message has {octets} octets, {limit} are allowed");
            return Err(Failure::Unsupported(text));
        }
        let utf8 = !mail_from.is_ascii() || !rcpt_to.is_ascii();
        if utf8 && !self.capabilities.smtputf8 {
            let text = "5.6.7 an address is not ASCII and SMTPUTF8 is not offered".to_owned();
            return Err(Failure::Unsupported(text));
        }
        let out = &mut self.commands;
        out.clear();
        if self.reset_needed {
            out.extend_from_slice(b"RSET\r\n");
        }
        self.ends[0] = out.len();
        out.extend_from_slice(b"MAIL FROM:<");
        out.extend_from_slice(mail_from.as_bytes());
        out.push(b'>');
        if self.capabilities.size.is_some() {
            out.extend_from_slice(b" SIZE=");
            out.extend_from_slice(octets.to_string().as_bytes());
        }
        if utf8 {
            out.extend_from_slice(b" SMTPUTF8");
        }
        out.extend_from_slice(b"\r\n");
        self.ends[1] = out.len();
        out.extend_from_slice(b"RCPT TO:<");
        out.extend_from_slice(rcpt_to.as_bytes());
        out.extend_from_slice(b">\r\n");
        self.ends[2] = out.len();
        out.extend_from_slice(b"DATA\r\n");
        self.ends[3] = out.len();
        Ok(())
    }

    /// The first certain outcome stays.
    fn decide(&mut self, stage: Stage, outcome: TransactionOutcome) {
        self.decided.get_or_insert((stage, outcome));
    }

    /// Over, and nothing more on this connection.
    fn give_up(&mut self) {
        self.unusable = true;
        self.phase = Phase::Done;
    }

    fn stage(&self) -> Stage {
        match self.phase {
            Phase::Writing(step) | Phase::Reading(step) => step.stage(),
            Phase::Body => Stage::Body,
            Phase::Dot => Stage::Dot,
            Phase::WritingLoneDot | Phase::LoneDot => Stage::Data,
            Phase::Idle | Phase::Done => Stage::MailFrom,
        }
    }

    /// A whole reply in one of the phases that wait for one.
    fn on_reply(&mut self) {
        let code = self.parser.code();
        match self.phase {
            Phase::Reading(step) => self.on_step(step, code),
            Phase::Body => self.on_interruption(code),
            Phase::Dot => self.on_dot(code),
            Phase::LoneDot => self.phase = Phase::Done,
            _ => self.unusable = true,
        }
        if code == 421 || self.parser.overflowed() {
            // They close, or what follows cannot be understood. If that leaves the outcome open, this was it.
            if self.phase != Phase::Done {
                self.fail(Failure::Protocol("a reply without an end".to_owned()));
            }
            self.give_up();
        }
    }

    fn on_step(&mut self, step: Step, code: u16) {
        match (step, code / 100) {
            (Step::Reset, 2) => return self.advance(Step::MailFrom),
            // The message has nothing to do with it.
            (Step::Reset, _) if code != 421 => {
                return self.fail(Failure::Protocol(format!("RSET was refused with {code}")));
            }
            (Step::MailFrom, 2) => return self.advance(Step::RcptTo),
            (Step::RcptTo, 2) => {
                self.rcpt_accepted = true;
                return self.advance(Step::Data);
            }
            (Step::Data, 3) => return self.on_data_granted(),
            (_, 4 | 5) => {}
            _ => return self.fail(Failure::Protocol(format!("an unexpected {code}"))),
        }
        if self.decided.is_none() {
            self.decide(step.stage(), TransactionOutcome::Refused(self.parser.reply()));
        }
        self.reset_needed = true;
        match step {
            _ if code == 421 => self.give_up(),
            // The replies to the rest of the flight are on their way.
            Step::MailFrom if self.capabilities.pipelining => self.advance(Step::RcptTo),
            Step::RcptTo if self.capabilities.pipelining => self.advance(Step::Data),
            _ => self.phase = Phase::Done,
        }
    }

    fn advance(&mut self, step: Step) {
        if step == Step::MailFrom {
            self.reset_needed = false;
        }
        self.phase = if self.capabilities.pipelining {
            Phase::Reading(step)
        } else {
            Phase::Writing(step)
        };
    }

    fn on_data_granted(&mut self) {
        self.phase = match (&self.decided, self.rcpt_accepted) {
            (None, _) => Phase::Body,
            (Some(_), false) => Phase::WritingLoneDot,
            (Some(_), true) => {
                self.unusable = true;
                Phase::Done
            }
        };
    }

    /// A reply while the body is being sent, when none is due.
    fn on_interruption(&mut self, code: u16) {
        if code >= 400 {
            self.decide(Stage::Body, TransactionOutcome::Refused(self.parser.reply()));
            self.give_up();
        } else {
            self.fail(Failure::Protocol(format!("an unexpected {code}")));
        }
    }

    fn on_dot(&mut self, code: u16) {
        let reply = self.parser.reply();
        match code / 100 {
            2 => self.decide(Stage::Dot, TransactionOutcome::Accepted(reply)),
            4 | 5 => {
                self.reset_needed = true;
                self.decide(Stage::Dot, TransactionOutcome::Refused(reply));
            }
            _ => return self.fail(Failure::Protocol(format!("an unexpected {code}"))),
        }
        self.phase = Phase::Done;
    }

    fn waits_for_reply(&self) -> bool {
        matches!(
            self.phase,
            Phase::Reading(_) | Phase::Body | Phase::Dot | Phase::LoneDot
        )
    }
}

impl Machine for Conversation {
    fn next(&self) -> Next {
        match self.phase {
            Phase::Writing(_) | Phase::WritingLoneDot => Next::Write,
            Phase::Reading(Step::Reset) => Next::Read(Wait::Reset),
            Phase::Reading(Step::MailFrom) => Next::Read(Wait::MailFrom),
            Phase::Reading(Step::RcptTo) => Next::Read(Wait::RcptTo),
            Phase::Reading(Step::Data) => Next::Read(Wait::Data),
            Phase::Body if self.parser.has_begun() => Next::Read(Wait::Interruption),
            Phase::Body => Next::Body,
            Phase::Dot => Next::Read(Wait::Dot),
            Phase::LoneDot => Next::Read(Wait::LoneDot),
            Phase::Idle | Phase::Done => Next::Done,
        }
    }

    fn outgoing(&self) -> &[u8] {
        match self.phase {
            Phase::Writing(step) => {
                let index = step as usize;
                let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
                let end = if self.capabilities.pipelining { 3 } else { index };
                &self.commands[start..self.ends[end]]
            }
            Phase::WritingLoneDot => b".\r\n",
            _ => b"",
        }
    }

    fn written(&mut self) {
        match self.phase {
            Phase::Writing(step) => self.phase = Phase::Reading(step),
            Phase::WritingLoneDot => self.phase = Phase::LoneDot,
            _ => {}
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if !self.waits_for_reply() {
                return self.on_talk_out_of_turn(rest);
            }
            let (used, progress) = self.parser.feed(rest);
            rest = &rest[used..];
            match progress {
                Progress::Partial => return,
                Progress::Complete => {
                    self.on_reply();
                    self.parser.reset();
                }
                Progress::Broken => return self.fail(Failure::Protocol(self.parser.complaint())),
            }
        }
    }

    fn end_of_stream(&mut self) {
        if self.waits_for_reply() && self.parser.end_of_stream() == Progress::Complete {
            self.on_reply();
            self.parser.reset();
        }
        self.fail(Failure::ConnectionLost);
    }

    fn fail(&mut self, failure: Failure) {
        let again = sabotage::is(Bug::ReuseAfterTimeout) && failure == Failure::Timeout;
        if !matches!(self.phase, Phase::Idle | Phase::Done) {
            self.decide(self.stage(), TransactionOutcome::Failed(failure));
            self.phase = Phase::Done;
        }
        self.unusable |= !again;
    }
}

impl Conversation {
    /// Bytes where none are due: between transactions, behind their end, or before a command.
    fn on_talk_out_of_turn(&mut self, bytes: &[u8]) {
        self.unusable = true;
        if matches!(self.phase, Phase::Idle | Phase::Done) {
            return;
        }
        let (_, progress) = self.parser.feed(bytes);
        if progress == Progress::Complete && self.parser.code() >= 400 {
            // A goodbye, as a rule.
            self.decide(self.stage(), TransactionOutcome::Refused(self.parser.reply()));
        }
        self.fail(Failure::Protocol("a reply before its command".to_owned()));
    }
}

impl Step {
    fn stage(self) -> Stage {
        match self {
            Self::Reset | Self::MailFrom => Stage::MailFrom,
            Self::RcptTo => Stage::RcptTo,
            Self::Data => Stage::Data,
        }
    }
}

#[cfg(test)]
mod tests;
