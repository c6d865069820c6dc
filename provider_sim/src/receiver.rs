//! A simulated provider's SMTP server: listens, gives every connection a task, counts, and can die.
//!
//! Takes a behaviour, a script, a certificate and a ledger; gives a bound address and, afterwards, what happened. What it
//! says is decided in `session.rs`. Every number of it is bounded by [`Bounds`].

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::behaviour::Behaviour;
use crate::clock::Clock;
use crate::counters::{Counters, Counts, add};
use crate::gate::Gate;
use crate::hidden::Hidden;
use crate::ledger::Ledger;
use crate::scenario::{Limits, Scenario};
use crate::script::Script;
use crate::session::{self, Seat};
use crate::tls::TlsIdentity;
use crate::transcript::Transcript;

/// How long [`Receiver::shutdown`] waits for conversations to end.
const GRACE: Duration = Duration::from_secs(5);
/// How long accepting pauses when the system refuses (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Limits of a receiver that protect the process it runs in. What a provider allows is in [`Behaviour`].
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Connections at once; one more is closed without a word.
    pub connections_max: u64,
    /// Bytes of a command line.
    pub line_max: usize,
    /// Bytes of content that are kept in memory; a bigger message is answered 552.
    pub content_max: usize,
    /// Recipients of one message; one more is answered 452.
    pub recipients_max: usize,
    /// Silence after which the receiver closes.
    pub idle: Duration,
    /// Connections whose transcript is kept.
    pub transcripts_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            line_max: 4_096,
            content_max: 64 << 20,
            recipients_max: 1_000,
            idle: Duration::from_secs(300),
            transcripts_max: 1_000,
        }
    }
}

/// What EHLO offers. STARTTLS and AUTH are offered when the receiver has a certificate and users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// PIPELINING.
    pub pipelining: bool,
    /// 8BITMIME.
    pub eight_bit_mime: bool,
    /// SMTPUTF8.
    pub smtp_utf8: bool,
    /// ENHANCEDSTATUSCODES.
    pub enhanced_status_codes: bool,
    /// SIZE.
    pub size: bool,
    /// The number behind SIZE when it is not the true limit.
    pub size_announced: Option<u64>,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            pipelining: true,
            eight_bit_mime: true,
            smtp_utf8: true,
            enhanced_status_codes: true,
            size: true,
            size_announced: None,
        }
    }
}

/// Who may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
    /// MAIL is refused until somebody has.
    pub required: bool,
    /// AUTH is offered and taken over TLS only.
    pub only_over_tls: bool,
}

impl Login {
    /// These credentials, required, over any connection.
    #[must_use]
    pub fn required(user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            required: true,
            only_over_tls: false,
        }
    }
}

/// A receiver that is not listening yet.
#[derive(Debug, Default)]
#[must_use = "a receiver is nothing until it listens"]
pub struct ReceiverBuilder {
    behaviour: Behaviour,
    hidden: Option<Arc<Hidden>>,
    capabilities: Capabilities,
    script: Script,
    tls: Option<TlsIdentity>,
    tls_required: bool,
    login: Option<Login>,
    ledger: Option<Ledger>,
    bounds: Bounds,
    no_transcripts: bool,
}

impl ReceiverBuilder {
    /// How it behaves as a provider.
    pub fn behaviour(mut self, behaviour: Behaviour) -> Self {
        self.behaviour = behaviour;
        self
    }

    /// Has the limits of a scenario, hidden from clients, and its words; what the scenario leaves to chance is drawn from
    /// `seed`. Its time begins when the receiver listens. A behaviour given afterwards adds its own limits and words.
    pub fn scenario(mut self, scenario: Scenario, seed: u64) -> Self {
        self.behaviour = Behaviour {
            name: scenario.name.clone(),
            ..scenario.speaks.behaviour()
        };
        self.hidden = Some(Hidden::new(scenario, seed));
        self
    }

    /// What EHLO offers.
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// What it does wrong.
    pub fn script(mut self, script: Script) -> Self {
        self.script = script;
        self
    }

    /// Offers STARTTLS with this certificate.
    pub fn tls(mut self, identity: TlsIdentity) -> Self {
        self.tls = Some(identity);
        self
    }

    /// Refuses MAIL without TLS.
    pub fn require_tls(mut self) -> Self {
        self.tls_required = true;
        self
    }

    /// Offers AUTH PLAIN and LOGIN.
    pub fn login(mut self, login: Login) -> Self {
        self.login = Some(login);
        self
    }

    /// Counts into this ledger, which other receivers may share. Without it the receiver has one of its own.
    pub fn ledger(mut self, ledger: Ledger) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// Other bounds.
    pub fn bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Keeps no transcripts: for load.
    pub fn without_transcripts(mut self) -> Self {
        self.no_transcripts = true;
        self
    }

    /// Binds `address` (port 0 for any) and begins to accept, on the tokio runtime that this is called on.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn listen(self, address: SocketAddr) -> io::Result<Receiver> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (phase, watching) = watch::channel(Phase::Running);
        let shared = Arc::new(Shared {
            name: self.behaviour.name.as_str().into(),
            gate: Gate::new(self.behaviour),
            hidden: self.hidden,
            capabilities: self.capabilities,
            script: self.script,
            tls: self.tls,
            tls_required: self.tls_required,
            login: self.login,
            ledger: self.ledger.unwrap_or_default(),
            bounds: self.bounds,
            clock: Clock::start(),
            counts: Counts::default(),
            transcripts: (!self.no_transcripts).then(Mutex::default),
            message_number: AtomicU64::new(0),
            changed: Notify::new(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared), watching));
        Ok(Receiver {
            shared,
            address,
            phase,
            accepting,
        })
    }
}

/// A listening receiver. Dropping it kills it.
#[derive(Debug)]
pub struct Receiver {
    shared: Arc<Shared>,
    address: SocketAddr,
    phase: watch::Sender<Phase>,
    accepting: JoinHandle<()>,
}

impl Receiver {
    /// A receiver to be.
    pub fn builder() -> ReceiverBuilder {
        ReceiverBuilder::default()
    }

    /// One on any port of 127.0.0.1 that follows `script` and otherwise behaves well.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn scripted(script: Script) -> io::Result<Self> {
        Self::builder()
            .script(script)
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it holds.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// What it answered.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counts.snapshot()
    }

    /// Connections open now.
    #[must_use]
    pub fn open_connections(&self) -> u64 {
        self.shared.counts.open()
    }

    /// The limits of its scenario that hold now.
    #[must_use]
    pub fn hidden_limits(&self) -> Option<Limits> {
        let hidden = self.shared.hidden.as_ref()?;
        Some(hidden.limits(self.shared.clock.age()))
    }

    /// Blocks for reputation so far, and messages that were tried while one was on.
    #[must_use]
    pub fn blocks(&self) -> (u64, u64) {
        self.shared.hidden.as_ref().map_or((0, 0), |hidden| hidden.blocks())
    }

    /// What was said on each connection so far, in the order of their numbers.
    #[must_use]
    pub fn transcripts(&self) -> Vec<Transcript> {
        let Some(all) = &self.shared.transcripts else {
            return Vec::new();
        };
        let all = all.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|transcript| lock(transcript).clone()).collect()
    }

    /// Waits until `condition` holds. It is looked at now, and whenever a connection begins or ends or a command or
    /// message has been dealt with. False when it does not hold within the time.
    pub async fn wait_until(&self, condition: impl Fn(&Receiver) -> bool, within: Duration) -> bool {
        let wait = async {
            loop {
                let changed = self.shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if condition(self) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(within, wait).await.is_ok()
    }

    /// Stops accepting, says 421 to idle clients, lets running messages end for a few seconds, then closes the rest. Gives the final counts.
    pub async fn shutdown(mut self) -> Counters {
        self.phase.send_replace(Phase::Finishing);
        if tokio::time::timeout(GRACE, &mut self.accepting).await.is_err() {
            self.phase.send_replace(Phase::Killed);
            // The accept task ends by itself once killed; a panic of it would have nothing more to say here.
            let _ = (&mut self.accepting).await;
        }
        self.counters()
    }

    /// Dies at once, as by kill -9: the listener and all connections are gone when this returns. Gives the final
    /// counts.
    pub async fn kill(mut self) -> Counters {
        self.phase.send_replace(Phase::Killed);
        let _ = (&mut self.accepting).await;
        self.counters()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Life of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Running,
    Finishing,
    Killed,
}

/// Waits until a receiver has come to `phase` or further, or is gone.
pub(crate) async fn reached(watching: &mut watch::Receiver<Phase>, phase: Phase) {
    // An error means that the receiver has been dropped, which is the furthest it can come.
    let _ = watching.wait_for(|now| *now >= phase).await;
}

/// What all connections of a receiver share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) gate: Gate,
    pub(crate) hidden: Option<Arc<Hidden>>,
    pub(crate) capabilities: Capabilities,
    pub(crate) script: Script,
    pub(crate) tls: Option<TlsIdentity>,
    pub(crate) tls_required: bool,
    pub(crate) login: Option<Login>,
    pub(crate) ledger: Ledger,
    pub(crate) bounds: Bounds,
    pub(crate) clock: Clock,
    pub(crate) counts: Counts,
    transcripts: Option<Mutex<Vec<Arc<Mutex<Transcript>>>>>,
    message_number: AtomicU64,
    pub(crate) changed: Notify,
}

impl Shared {
    /// A number for the next message, from 1.
    pub(crate) fn next_message_number(&self) -> u64 {
        self.message_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn recorder(&self, connection: u64, peer: SocketAddr) -> Recorder {
        let Some(all) = &self.transcripts else {
            return Recorder(None);
        };
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= self.bounds.transcripts_max {
            return Recorder(None);
        }
        let transcript = Arc::new(Mutex::new(Transcript::new(connection, peer)));
        all.push(Arc::clone(&transcript));
        Recorder(Some(transcript))
    }
}

/// Where a connection writes down what happens, if anywhere.
#[derive(Debug, Clone)]
pub(crate) struct Recorder(Option<Arc<Mutex<Transcript>>>);

impl Recorder {
    pub(crate) fn with(&self, note: impl FnOnce(&mut Transcript)) {
        if let Some(transcript) = &self.0 {
            note(&mut lock(transcript));
        }
    }
}

fn lock(transcript: &Mutex<Transcript>) -> MutexGuard<'_, Transcript> {
    transcript.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let mut sessions = JoinSet::new();
    let mut numbers = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = reached(&mut phase, Phase::Finishing) => break,
            accepted = listener.accept() => accepted,
            Some(_) = sessions.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) if shared.counts.open() < shared.bounds.connections_max => {
                numbers += 1;
                start(&mut sessions, &shared, &phase, stream, peer, numbers);
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    drop(listener);
    tokio::select! {
        biased;
        () = reached(&mut phase, Phase::Killed) => {}
        () = async { while sessions.join_next().await.is_some() {} } => {}
    }
    sessions.shutdown().await;
}

fn start(
    sessions: &mut JoinSet<()>,
    shared: &Arc<Shared>,
    phase: &watch::Receiver<Phase>,
    stream: TcpStream,
    peer: SocketAddr,
    number: u64,
) {
    // Without it answers wait for the client's acknowledgement; a socket that refuses is about to fail anyway.
    let _ = stream.set_nodelay(true);
    add(&shared.counts.connections, 1);
    let recorder = shared.recorder(number, peer);
    let seat = Seat::take(shared, peer, number, recorder);
    sessions.spawn(session::serve(seat, stream, phase.clone()));
}
