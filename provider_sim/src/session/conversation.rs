//! One conversation: what a receiver says to each command, as its behaviour and its script have it.
//!
//! Takes a connection, gives accepted copies to the ledger and notes to the transcript. The order is fixed: decide, enter
//! into the ledger, answer. Answers are collected and leave before the next read. Never holds a lock while waiting.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::command::{self, Command};
use crate::counters::add;
use crate::hidden::Guest;
use crate::receiver::{Phase, Recorder, Shared};
use crate::reply;
use crate::script::{Act, Place, Stage};
use crate::transcript::{Ended, Violation};
use crate::wire::Wire;

use super::seat::{Opening, Seat};

/// A conversation. `Err(Ended)` is how its parts say that it is over.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) wire: Wire,
    pub(super) recorder: Recorder,
    pub(super) peer: SocketAddr,
    pub(super) number: u64,
    pub(super) greeting: Option<Arc<str>>,
    pub(super) offered: Vec<String>,
    pub(super) tls: bool,
    pub(super) logged_in: bool,
    pub(super) transactions: u64,
    pub(super) envelope: Option<Envelope>,
    pub(super) line: Vec<u8>,
    pub(super) content: Vec<u8>,
    /// Its place under hidden limits, if there are any.
    pub(super) guest: Option<Guest>,
}

#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) sender: Arc<str>,
    pub(super) recipients: Vec<String>,
    pub(super) declared_size: Option<u64>,
    pub(super) eight_bit: bool,
}

/// Holds one conversation from banner to end.
pub(crate) async fn serve(mut seat: Seat, stream: TcpStream, phase: watch::Receiver<Phase>) {
    let shared = Arc::clone(seat.shared());
    let mut opening = seat.opening();
    let single_bytes = shared.script.sends_single_bytes();
    let recorder = seat.recorder().clone();
    let wire = Wire::new(stream, single_bytes, shared.bounds.idle, phase, recorder.clone());
    let mut session = Session {
        shared,
        wire,
        recorder,
        peer: seat.peer(),
        number: seat.number(),
        greeting: None,
        offered: Vec::new(),
        tls: false,
        logged_in: false,
        transactions: 0,
        envelope: None,
        line: Vec::new(),
        content: Vec::new(),
        guest: opening.guest.take(),
    };
    let ended = match Box::pin(session.converse(opening)).await {
        Ok(never) => match never {},
        Err(ended) => ended,
    };
    // The last words leave before the place is free, so that a client never hears 421 after it saw room.
    if matches!(ended, Ended::Quit | Ended::Closed) && session.wire.flush().await.is_err() {
        seat.leave(Ended::Broken);
    }
    seat.leave(ended);
    drop(session.guest.take());
    drop(seat);
    match ended {
        Ended::Reset => session.wire.reset(),
        _ => session.wire.close().await,
    }
}

impl Session {
    async fn converse(&mut self, opening: Opening) -> Result<std::convert::Infallible, Ended> {
        self.banner(opening).await?;
        loop {
            let line = self.read_line().await?;
            let command = command::parse(&line);
            if !matches!(command, Command::Auth { .. }) {
                self.recorder.with(|transcript| transcript.note_command(&line));
            } else {
                self.recorder.with(|transcript| transcript.note_command(b"AUTH"));
            }
            self.check_waiting(&command, &line);
            self.line = line;
            self.obey(command).await?;
            self.shared.changed.notify_waiters();
        }
    }

    async fn banner(&mut self, opening: Opening) -> Result<(), Ended> {
        let behaviour = self.shared.gate.behaviour();
        let delay = Duration::from_millis(behaviour.banner_delay_ms);
        let banner = reply::render(&behaviour.replies.banner, &[("host", &behaviour.host)]);
        self.wire.pause(delay + opening.after).await?;
        if opening.silent {
            add(&self.shared.counts.silent, 1);
            return Err(Ended::Closed);
        }
        self.answer_or_refuse(Stage::Banner, opening.refusal, &banner, None)
            .await?;
        // The banner has not left yet: it does before the first read.
        if self.wire.peek_early() {
            self.violated(Violation::BeforeBanner);
        }
        Ok(())
    }

    /// The next command line without its end.
    pub(super) async fn read_line(&mut self) -> Result<Vec<u8>, Ended> {
        let mut searched = 0;
        loop {
            let pending = self.wire.pending();
            if let Some(at) = memchr::memchr(b'\n', &pending[searched..]) {
                let end = searched + at;
                let mut line = std::mem::take(&mut self.line);
                line.clear();
                line.extend_from_slice(&pending[..end]);
                self.wire.consume(end + 1);
                if line.last() == Some(&b'\r') {
                    line.pop();
                } else {
                    self.violated(Violation::BareLfInCommand);
                }
                return Ok(line);
            }
            searched = pending.len();
            if searched > self.shared.bounds.line_max {
                self.wire.push(b"500 5.5.2 Line too long\r\n");
                return Err(Ended::Closed);
            }
            match self.wire.fill_idle().await {
                Err(Ended::Shutdown) => {
                    self.wire.push(b"421 4.3.2 Shutting down\r\n");
                    // Should the words not get through, the close that follows says the same.
                    let _ = self.wire.flush().await;
                    return Err(Ended::Shutdown);
                }
                other => other?,
            }
        }
    }

    async fn obey(&mut self, command: Command) -> Result<(), Ended> {
        match command {
            Command::Ehlo(name) => self.ehlo(&name).await,
            Command::Helo(name) => self.helo(&name).await,
            Command::Mail { sender, parameters } => self.mail(&sender, &parameters).await,
            Command::Rcpt { recipient, parameters } => self.rcpt(recipient, &parameters).await,
            Command::Data => self.data().await,
            Command::StartTls => self.starttls().await,
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial).await,
            Command::Rset => {
                self.envelope = None;
                self.hidden_reset();
                self.answer(Stage::Rset, b"250 2.0.0 Flushed\r\n").await.map(|_| ())
            }
            Command::Noop => self.answer(Stage::Noop, b"250 2.0.0 Ok\r\n").await.map(|_| ()),
            Command::Quit => {
                self.answer(Stage::Quit, b"221 2.0.0 Bye\r\n").await?;
                Err(Ended::Quit)
            }
            Command::Vrfy => {
                self.wire.push(b"252 2.0.0 Send some mail, I will try\r\n");
                Ok(())
            }
            Command::Malformed(why) => self.malformed(why),
            Command::Unknown => {
                self.violated_by_line();
                self.wire.push(b"500 5.5.1 Command unrecognized\r\n");
                Ok(())
            }
        }
    }

    async fn ehlo(&mut self, name: &str) -> Result<(), Ended> {
        let usual = self.capabilities();
        let given = self.answer(Stage::Ehlo, usual.as_bytes()).await?;
        if given.digit == 2 {
            self.greet(name);
            self.offered = given.keywords;
        }
        Ok(())
    }

    async fn helo(&mut self, name: &str) -> Result<(), Ended> {
        let usual = format!("250 {}\r\n", self.shared.gate.behaviour().host);
        if self.answer(Stage::Helo, usual.as_bytes()).await?.digit == 2 {
            self.greet(name);
            self.offered.clear();
        }
        Ok(())
    }

    fn greet(&mut self, name: &str) {
        self.greeting = Some(name.into());
        self.envelope = None;
        self.recorder.with(|transcript| transcript.helo = Some(name.to_owned()));
    }

    fn capabilities(&self) -> String {
        let behaviour = self.shared.gate.behaviour();
        let able = &self.shared.capabilities;
        let mut words = vec![format!("{} at your service", behaviour.host)];
        let mut offer = |when: bool, word: &str| {
            if when {
                words.push(word.to_owned());
            }
        };
        offer(able.pipelining, "PIPELINING");
        offer(able.eight_bit_mime, "8BITMIME");
        offer(able.smtp_utf8, "SMTPUTF8");
        offer(able.enhanced_status_codes, "ENHANCEDSTATUSCODES");
        offer(self.shared.tls.is_some() && !self.tls, "STARTTLS");
        offer(self.takes_login(), "AUTH PLAIN LOGIN");
        let size = able.size_announced.or(behaviour.size_max_bytes);
        let size = size.unwrap_or(self.shared.bounds.content_max as u64);
        offer(able.size, &format!("SIZE {size}"));
        let last = words.len() - 1;
        let line = |(index, word): (usize, &String)| format!("250{}{word}\r\n", if index == last { ' ' } else { '-' });
        words.iter().enumerate().map(line).collect()
    }

    async fn mail(&mut self, sender: &str, parameters: &[(String, Option<String>)]) -> Result<(), Ended> {
        if let Some(refusal) = self.not_ready_for_mail() {
            self.wire.push(refusal);
            return Ok(());
        }
        self.check_parameters(parameters);
        let value = |key: &str| {
            parameters
                .iter()
                .find(|(name, _)| name == key)
                .and_then(|(_, value)| value.as_deref())
        };
        let declared_size = value("SIZE").and_then(|size| size.parse().ok());
        let eight_bit = value("BODY").is_some_and(|body| body.eq_ignore_ascii_case("8BITMIME"));
        let before = self.transactions;
        self.transactions += 1;
        add(&self.shared.counts.transactions, 1);
        let refusal = self
            .shared
            .gate
            .mail(self.peer.ip(), before, declared_size, self.shared.clock.age());
        let refusal = match refusal {
            Some(refusal) => Some(refusal),
            None => self.hidden_mail().await?,
        };
        let given = self
            .answer_or_refuse(Stage::Mail, refusal, b"250 2.1.0 Sender ok\r\n", None)
            .await?;
        if given.digit == 2 {
            self.envelope = Some(Envelope {
                sender: sender.into(),
                recipients: Vec::new(),
                declared_size,
                eight_bit,
            });
        }
        Ok(())
    }

    fn not_ready_for_mail(&mut self) -> Option<&'static [u8]> {
        if self.greeting.is_none() {
            self.violated_by_line();
            return Some(b"503 5.5.1 Say hello first\r\n");
        }
        if self.envelope.is_some() {
            self.violated_by_line();
            return Some(b"503 5.5.1 Nested MAIL\r\n");
        }
        if self.shared.tls_required && !self.tls {
            return Some(b"530 5.7.0 Must issue a STARTTLS command first\r\n");
        }
        if self.shared.login.as_ref().is_some_and(|login| login.required) && !self.logged_in {
            return Some(b"530 5.7.0 Authentication required\r\n");
        }
        None
    }

    async fn rcpt(&mut self, recipient: String, parameters: &[(String, Option<String>)]) -> Result<(), Ended> {
        self.check_parameters(parameters);
        let Some(envelope) = &self.envelope else {
            self.wire.push(b"503 5.5.1 Need MAIL first\r\n");
            return Ok(());
        };
        if envelope.recipients.len() >= self.shared.bounds.recipients_max {
            self.wire.push(b"452 4.5.3 Too many recipients\r\n");
            return Ok(());
        }
        let age = self.shared.clock.age();
        let refusal = self.shared.gate.rcpt(self.peer.ip(), &envelope.sender, &recipient, age);
        let refusal = refusal.or_else(|| self.hidden_rcpt(&recipient));
        let usual = b"250 2.1.5 Recipient ok\r\n";
        let given = self
            .answer_or_refuse(Stage::Rcpt, refusal, usual, Some(&recipient))
            .await?;
        if let (2, Some(envelope)) = (given.digit, &mut self.envelope) {
            envelope.recipients.push(recipient);
        }
        Ok(())
    }

    async fn data(&mut self) -> Result<(), Ended> {
        let ready = self
            .envelope
            .as_ref()
            .is_some_and(|envelope| !envelope.recipients.is_empty());
        if !ready {
            self.wire.push(b"554 5.5.1 No valid recipients\r\n");
            return Ok(());
        }
        if self
            .answer(Stage::Data, b"354 Go ahead, end with a dot\r\n")
            .await?
            .digit
            == 3
        {
            self.take_content().await?;
        }
        Ok(())
    }

    async fn starttls(&mut self) -> Result<(), Ended> {
        let Some(identity) = self.shared.tls.clone().filter(|_| !self.tls) else {
            self.violated_by_line();
            self.wire.push(b"503 5.5.1 TLS not available\r\n");
            return Ok(());
        };
        let given = self
            .answer(Stage::StartTls, b"220 2.0.0 Ready to start TLS\r\n")
            .await?;
        if !given.ready {
            return Ok(());
        }
        if self.wire.discard_pending() {
            self.violated(Violation::PlaintextAfterStartTls);
        }
        self.wire.flush().await?;
        let mut config = identity.config;
        if let Some(acts) = self.scripted(Stage::TlsHandshake, None) {
            if let Some(Act::Present(other)) = acts.iter().find(|act| matches!(act, Act::Present(_))) {
                config = Arc::clone(&other.config);
            }
            if self.perform(&acts, b"").await?.answered {
                return Err(Ended::Closed);
            }
        }
        let server_name = self.wire.start_tls(config).await?;
        self.tls = true;
        self.greeting = None;
        self.envelope = None;
        self.offered.clear();
        self.recorder.with(|transcript| {
            transcript.tls = true;
            transcript.server_name = server_name;
        });
        Ok(())
    }

    fn malformed(&mut self, why: &str) -> Result<(), Ended> {
        self.violated_by_line();
        self.wire.push(format!("501 5.5.4 {why}\r\n").as_bytes());
        Ok(())
    }

    fn offers(&self, keyword: &str) -> bool {
        self.offered.iter().any(|word| word == keyword)
    }

    fn check_parameters(&self, parameters: &[(String, Option<String>)]) {
        for (name, _) in parameters {
            let keyword = if name == "BODY" { "8BITMIME" } else { name.as_str() };
            if !self.offers(keyword) {
                self.violated(Violation::ParameterNotOffered(name.clone()));
            }
        }
    }

    /// Notes a client that sent on although it had to wait. Only what came in the same read can be seen.
    fn check_waiting(&self, command: &Command, line: &[u8]) {
        let last_of_group = matches!(
            command,
            Command::Ehlo(_) | Command::Helo(_) | Command::Data | Command::Quit | Command::Noop | Command::Vrfy
        );
        // What stands behind STARTTLS is a violation of its own, and what answers AUTH is not a command.
        let other = matches!(command, Command::StartTls | Command::Auth { .. });
        if !other && !self.wire.pending().is_empty() && (last_of_group || !self.offers("PIPELINING")) {
            self.violated(Violation::DidNotWait(String::from_utf8_lossy(line).into_owned()));
        }
    }

    pub(super) fn violated(&self, violation: Violation) {
        self.recorder.with(|transcript| transcript.note_violation(violation));
    }

    pub(super) fn violated_by_line(&self) {
        self.violated(Violation::Syntax(String::from_utf8_lossy(&self.line).into_owned()));
    }

    pub(super) fn place<'a>(&self, recipient: Option<&'a str>) -> Place<'a> {
        Place {
            connection: self.number,
            message: self.transactions,
            recipient,
        }
    }

    pub(super) fn scripted(&self, stage: Stage, recipient: Option<&str>) -> Option<Arc<[Act]>> {
        let acts = self.shared.script.acts(stage, self.place(recipient))?;
        self.shared.counts.scripted.fetch_add(1, Ordering::Relaxed);
        Some(acts)
    }
}
