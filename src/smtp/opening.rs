//! From the greeting to a session that can carry mail.
//!
//! Takes bytes, gives commands and at the end [`Capabilities`] or why there is no session. Never goes on in clear when TLS
//! was agreed and then failed (the driver may make a new connection), never sends a password in clear unless encryption is
//! off by an operator's word, and forgets before TLS what it was told before TLS (RFC 3207, 4.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::machine::fits_in_a_command;
use super::{Capabilities, Machine, Next, Progress, ReplyParser, Wait};
use crate::domain::{AttemptOutcome, Credentials, Failure, Reply, Stage};

/// Whether STARTTLS is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// Never, by an operator's word.
    Off,
    /// Not this time, although it would be better: it failed here before.
    NotNow,
    /// When it is offered.
    IfOffered,
    /// Or there is no session.
    Required,
    /// It was on from the first byte.
    Already,
}

/// On which terms a session is opened.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The name we give: of our source address, or an address literal.
    pub ehlo: String,
    /// Whether STARTTLS is used.
    pub encryption: Encryption,
    /// For smart hosts.
    pub auth: Option<Credentials>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpeningEnd {
    /// A session, and what it can do.
    Open(Capabilities),
    /// None, how far it came, and why.
    Shut(Stage, AttemptOutcome),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Banner,
    Ehlo,
    Helo,
    StartTls,
    Handshake,
    AuthPlain,
    AuthUser,
    AuthPassword,
    Over(OpeningEnd),
}

/// The machine.
#[derive(Debug)]
pub struct Opening {
    terms: Terms,
    state: State,
    encrypted: bool,
    /// What is to be sent before the state's reply can come; empty when it was.
    outgoing: Vec<u8>,
    parser: ReplyParser,
    capabilities: Capabilities,
    /// What they said to EHLO, in case HELO gets no answer at all.
    ehlo_refusal: Option<Reply>,
    /// They asked for the response of AUTH PLAIN again.
    response_repeated: bool,
}

impl Opening {
    /// A connection was made; the greeting is awaited.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        let encrypted = terms.encryption == Encryption::Already;
        let mut opening = Self {
            terms,
            state: State::Banner,
            encrypted,
            outgoing: Vec::new(),
            parser: ReplyParser::default(),
            capabilities: Capabilities::default(),
            ehlo_refusal: None,
            response_repeated: false,
        };
        if !fits_in_a_command(&opening.terms.ehlo) || opening.terms.ehlo.contains(' ') {
            opening.fail(Failure::Local("the EHLO name cannot stand in a command".to_owned()));
        }
        opening
    }

    /// The handshake succeeded.
    pub fn tls_started(&mut self) {
        debug_assert_eq!(self.state, State::Handshake, "nobody asked for a handshake");
        self.encrypted = true;
        self.capabilities = Capabilities::default();
        self.ehlo_refusal = None;
        self.send_ehlo();
    }

    /// Whether the session is encrypted.
    #[must_use]
    pub fn encrypted(&self) -> bool {
        self.encrypted
    }

    /// How it ended, once [`Next::Done`] was given; until then, nothing came of it.
    #[must_use]
    pub fn into_end(self) -> OpeningEnd {
        let stage = self.stage();
        match self.state {
            State::Over(end) => end,
            _ => OpeningEnd::Shut(stage, AttemptOutcome::Failed(Failure::ConnectionLost)),
        }
    }

    fn stage(&self) -> Stage {
        match &self.state {
            State::Banner => Stage::Banner,
            State::Ehlo | State::Helo => Stage::Ehlo,
            State::StartTls | State::Handshake => Stage::StartTls,
            State::AuthPlain | State::AuthUser | State::AuthPassword => Stage::Auth,
            State::Over(OpeningEnd::Shut(stage, _)) => *stage,
            State::Over(OpeningEnd::Open(_)) => Stage::MailFrom,
        }
    }

    fn command(&mut self, state: State, line: &str) {
        self.state = state;
        self.outgoing.clear();
        self.outgoing.extend_from_slice(line.as_bytes());
        self.outgoing.extend_from_slice(b"\r\n");
    }

    fn send_ehlo(&mut self) {
        self.command(State::Ehlo, &format!("EHLO {}", self.terms.ehlo));
    }

    fn refuse(&mut self, reply: Reply) {
        let stage = self.stage();
        self.state = State::Over(OpeningEnd::Shut(stage, AttemptOutcome::Refused(reply)));
    }

    fn fail_at(&mut self, stage: Stage, failure: Failure) {
        self.state = State::Over(OpeningEnd::Shut(stage, AttemptOutcome::Failed(failure)));
    }

    /// A whole reply, and what came behind it in the same read.
    fn on_reply(&mut self, behind: &[u8]) {
        if self.parser.overflowed() {
            self.fail(Failure::Protocol("a reply without an end".to_owned()));
            return;
        }
        let code = self.parser.code();
        match (&self.state, code / 100) {
            (State::Banner, 2) => self.send_ehlo(),
            (State::Ehlo, 2) => {
                self.capabilities = Capabilities::read(self.parser.text_lines());
                self.after_ehlo();
            }
            (State::Ehlo, 5) => {
                self.ehlo_refusal = Some(self.parser.reply());
                self.command(State::Helo, &format!("HELO {}", self.terms.ehlo));
            }
            (State::Helo, 2) => self.after_ehlo(),
            (State::StartTls, 2) => self.state = State::Handshake,
            (State::StartTls, 4 | 5) if code != 421 => self.on_starttls_refused(),
            (State::AuthPlain | State::AuthPassword, 2) => self.open(),
            (State::AuthPlain | State::AuthUser | State::AuthPassword, 3) => self.on_auth_challenge(),
            (_, 4 | 5) => self.refuse(self.parser.reply()),
            _ => self.fail(Failure::Protocol(format!("an unexpected {code}"))),
        }
        // Only the reply to what we send next may come next. After STARTTLS somebody in between may have put it there.
        if !behind.is_empty() && !matches!(self.state, State::Over(OpeningEnd::Shut(..))) {
            if self.state == State::Handshake {
                self.fail(Failure::Tls("bytes behind the reply to STARTTLS".to_owned()));
            } else {
                self.on_talk_out_of_turn(behind);
            }
        }
    }

    /// Often it is the refusal that should have been there in the first place.
    fn on_talk_out_of_turn(&mut self, bytes: &[u8]) {
        self.parser.reset();
        let (_, progress) = self.parser.feed(bytes);
        if progress == Progress::Complete && self.parser.code() >= 400 {
            self.refuse(self.parser.reply());
        } else {
            self.fail(Failure::Protocol("a reply before its command".to_owned()));
        }
    }

    fn after_ehlo(&mut self) {
        if self.encrypted {
            return self.authenticate();
        }
        match (self.terms.encryption, self.capabilities.starttls) {
            (Encryption::IfOffered | Encryption::Required, true) => self.command(State::StartTls, "STARTTLS"),
            (Encryption::Required, false) => self.fail_at(
                Stage::StartTls,
                Failure::Tls("required, but STARTTLS is not offered".to_owned()),
            ),
            _ => self.authenticate(),
        }
    }

    fn on_starttls_refused(&mut self) {
        if self.terms.encryption == Encryption::Required {
            let reply = self.parser.reply();
            let text = format!("STARTTLS was refused: {} {}", reply.code, reply.text);
            self.fail(Failure::Tls(text));
        } else {
            self.authenticate();
        }
    }

    fn authenticate(&mut self) {
        let Some(Credentials { user, password }) = &self.terms.auth else {
            return self.open();
        };
        if !self.encrypted && self.terms.encryption != Encryption::Off {
            let text = "a password is not sent in clear".to_owned();
            return self.fail_at(Stage::Auth, Failure::Tls(text));
        }
        if user.contains('\0') || password.contains('\0') {
            let text = "user or password has a NUL in it".to_owned();
            return self.fail_at(Stage::Auth, Failure::Local(text));
        }
        if self.capabilities.auth_plain {
            let response = BASE64.encode(format!("\0{user}\0{password}"));
            self.command(State::AuthPlain, &format!("AUTH PLAIN {response}"));
        } else if self.capabilities.auth_login {
            self.command(State::AuthUser, "AUTH LOGIN");
        } else {
            let text = "neither AUTH PLAIN nor AUTH LOGIN is offered".to_owned();
            self.fail_at(Stage::Auth, Failure::Unsupported(text));
        }
    }

    fn on_auth_challenge(&mut self) {
        let Some(Credentials { user, password }) = self.terms.auth.clone() else {
            return;
        };
        match self.state {
            State::AuthUser => self.command(State::AuthPassword, &BASE64.encode(user)),
            State::AuthPassword if !self.response_repeated => {
                self.response_repeated = true;
                self.command(State::AuthPassword, &BASE64.encode(password));
            }
            State::AuthPlain if !self.response_repeated => {
                self.response_repeated = true;
                let response = BASE64.encode(format!("\0{user}\0{password}"));
                self.command(State::AuthPlain, &response);
            }
            _ => self.fail(Failure::Protocol("AUTH does not end".to_owned())),
        }
    }

    fn open(&mut self) {
        self.state = State::Over(OpeningEnd::Open(self.capabilities));
    }
}

impl Machine for Opening {
    fn next(&self) -> Next {
        match &self.state {
            State::Over(_) => Next::Done,
            State::Handshake => Next::Handshake,
            _ if !self.outgoing.is_empty() => Next::Write,
            State::Banner => Next::Read(Wait::Banner),
            State::Ehlo | State::Helo => Next::Read(Wait::Ehlo),
            State::StartTls => Next::Read(Wait::StartTls),
            State::AuthPlain | State::AuthUser | State::AuthPassword => Next::Read(Wait::Auth),
        }
    }

    fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    fn written(&mut self) {
        self.outgoing.clear();
        self.parser.reset();
    }

    fn receive(&mut self, bytes: &[u8]) {
        if !matches!(self.next(), Next::Read(_)) {
            self.fail(Failure::Protocol("a reply before its command".to_owned()));
            return;
        }
        let (used, progress) = self.parser.feed(bytes);
        match progress {
            Progress::Partial => {}
            Progress::Complete => self.on_reply(&bytes[used..]),
            Progress::Broken => self.fail(Failure::Protocol(self.parser.complaint())),
        }
    }

    fn end_of_stream(&mut self) {
        if matches!(self.next(), Next::Read(_)) && self.parser.end_of_stream() == Progress::Complete {
            self.on_reply(&[]);
        }
        // Whatever is to be done next needs a connection.
        self.fail(Failure::ConnectionLost);
    }

    fn fail(&mut self, failure: Failure) {
        if matches!(self.state, State::Over(OpeningEnd::Shut(..))) {
            return;
        }
        match self.ehlo_refusal.take() {
            // They refused EHLO and hung up instead of waiting for HELO.
            Some(refusal) if self.state == State::Helo && failure == Failure::ConnectionLost => self.refuse(refusal),
            _ => self.fail_at(self.stage(), failure),
        }
    }
}

#[cfg(test)]
mod tests;
