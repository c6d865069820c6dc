//! Makes sessions: guard, connect, greeting, STARTTLS, AUTH.
//!
//! Takes an Endpoint (one address, one set of terms), gives a Session or how far it came and why not. Never tries another
//! address and never tries again, but for one case: where encryption is welcome and not required, a host that offers TLS
//! and fails at it gets a second connection, in clear, and is not asked for TLS for an hour.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;

use super::connection::Connection;
use super::connector::{Connector, Tcp};
use super::stopwatch::Stopwatch;
use super::tls::Tls;
use super::tls_memory::TlsMemory;
use super::wire::{Raw, Wire};
use super::{ByteStream, Deadlines, Session};
use crate::clock::Clock;
use crate::domain::{AttemptOutcome, Credentials, DnsFailure, Failure, PhaseTimes, Stage, TlsPolicy};
use crate::policy::dial_guard;
use crate::smtp::{Encryption, Next, Opening, OpeningEnd, Terms};

/// What is the same for all sessions.
#[derive(Debug, Clone, Default)]
pub struct DialerSettings {
    /// How long we wait for what.
    pub deadlines: Deadlines,
    /// Networks that may be dialled although they are private.
    pub allowed: Vec<IpNet>,
    /// Certificate authorities that are trusted besides those of the system.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

/// Whom to dial, as whom and on which terms.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Our address; the kernel's choice if none is given.
    pub source: Option<IpAddr>,
    /// The name we give.
    pub ehlo: String,
    /// The host's name, for certificates.
    pub host: String,
    /// Its address.
    pub address: SocketAddr,
    /// Whether private and loopback addresses may be dialled, because an operator wrote one into a route.
    pub allow_private: bool,
    /// Encryption.
    pub tls: TlsPolicy,
    /// For smart hosts.
    pub auth: Option<Credentials>,
}

/// No session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenError {
    /// How far it came.
    pub stage: Stage,
    /// A refusal, or what went wrong.
    pub outcome: AttemptOutcome,
    /// Whether the connection was encrypted by then.
    pub tls: bool,
}

/// Makes sessions. Cheap to clone; all share what is known about hosts.
#[derive(Clone)]
pub struct Dialer {
    inner: Arc<Inner>,
}

struct Inner {
    deadlines: Deadlines,
    allowed: Vec<IpNet>,
    tls: Tls,
    tls_memory: TlsMemory,
    clock: Clock,
    connector: Arc<dyn Connector>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("deadlines", &self.inner.deadlines)
            .field("allowed", &self.inner.allowed)
            .finish_non_exhaustive()
    }
}

impl Dialer {
    /// Fails if one of the extra roots is no certificate authority. Reads the roots of the system.
    pub fn new(settings: DialerSettings, clock: Clock) -> Result<Self, rustls::Error> {
        let DialerSettings {
            deadlines,
            allowed,
            extra_roots,
        } = settings;
        Ok(Self {
            inner: Arc::new(Inner {
                deadlines,
                allowed,
                tls: Tls::new(&extra_roots)?,
                tls_memory: TlsMemory::default(),
                clock,
                connector: Arc::new(Tcp),
            }),
        })
    }

    /// One with the same settings that makes its connections in another way, and remembers nothing yet.
    #[must_use]
    pub fn over(&self, connector: Arc<dyn Connector>, clock: Clock) -> Self {
        Self {
            inner: Arc::new(Inner {
                deadlines: self.inner.deadlines,
                allowed: self.inner.allowed.clone(),
                tls: self.inner.tls.clone(),
                tls_memory: TlsMemory::default(),
                clock,
                connector,
            }),
        }
    }

    /// Opens a session.
    pub async fn open(&self, endpoint: &Endpoint) -> Result<Session, OpenError> {
        let guarded = !endpoint.allow_private;
        if guarded && dial_guard::forbidden(endpoint.address.ip(), &self.inner.allowed).is_some() {
            return Err(failed(Stage::Connect, Failure::Dns(DnsFailure::Forbidden)));
        }
        let encryption = self.encryption(endpoint);
        let mut watch = self.watch();
        let raw = self.connect(endpoint).await?;
        match Box::pin(self.greet(raw, endpoint, encryption, Some(watch.lap()))).await {
            Ok(session) => Ok(session),
            Err(Shut::Handshake(_)) if encryption == Encryption::IfOffered && endpoint.auth.is_none() => {
                self.inner.tls_memory.remember(&endpoint.host, self.inner.clock.now());
                let mut watch = self.watch();
                let raw = self.connect(endpoint).await?;
                let second = Box::pin(self.greet(raw, endpoint, Encryption::NotNow, Some(watch.lap()))).await;
                second.map_err(Shut::into_error)
            }
            Err(shut) => Err(shut.into_error()),
        }
    }

    /// Opens a session on a connection that somebody else made. It cannot be made again, so a handshake that fails is the
    /// end of it under every policy.
    pub async fn open_over(
        &self,
        stream: impl ByteStream + 'static,
        endpoint: &Endpoint,
    ) -> Result<Session, OpenError> {
        let raw = Raw::Other(Box::new(stream));
        let opened = Box::pin(self.greet(raw, endpoint, self.encryption(endpoint), None)).await;
        opened.map_err(Shut::into_error)
    }

    fn watch(&self) -> Stopwatch {
        Stopwatch::start(&self.inner.clock)
    }

    fn encryption(&self, endpoint: &Endpoint) -> Encryption {
        let now = self.inner.clock.now();
        match endpoint.tls {
            TlsPolicy::Off => Encryption::Off,
            TlsPolicy::Opportunistic if self.inner.tls_memory.failed_lately(&endpoint.host, now) => Encryption::NotNow,
            TlsPolicy::Opportunistic => Encryption::IfOffered,
            TlsPolicy::Required | TlsPolicy::Verified => Encryption::Required,
            TlsPolicy::Implicit => Encryption::Already,
        }
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Raw, OpenError> {
        let connecting = timeout(self.inner.deadlines.connect, self.inner.connector.connect(endpoint));
        let connected = connecting.await.unwrap_or(Err(Failure::Timeout));
        connected.map_err(|failure| failed(Stage::Connect, failure))
    }

    /// From the first byte to a session.
    async fn greet(
        &self,
        raw: Raw,
        endpoint: &Endpoint,
        encryption: Encryption,
        connect: Option<Duration>,
    ) -> Result<Session, Shut> {
        let mut watch = self.watch();
        let mut times = PhaseTimes {
            connect,
            ..PhaseTimes::default()
        };
        let wire = match encryption {
            Encryption::Already => {
                let wire = self.start_tls(raw, endpoint).await.map_err(Shut::Handshake)?;
                times.starttls = Some(watch.lap());
                wire
            }
            _ => Wire::Clear(raw),
        };
        let mut greeting = Duration::ZERO;
        let mut connection = Connection::new(wire, self.inner.deadlines);
        let mut opening = Opening::new(Terms {
            ehlo: endpoint.ehlo.clone(),
            encryption,
            auth: endpoint.auth.clone(),
        });
        while connection.drive(&mut opening).await == Next::Handshake {
            greeting += watch.lap();
            // The connection's buffer goes with it: nothing that was read in clear is believed after the handshake.
            let Wire::Clear(raw) = connection.wire else {
                return Err(Shut::Handshake(Failure::Tls("STARTTLS inside TLS".to_owned())));
            };
            let wire = self.start_tls(raw, endpoint).await.map_err(Shut::Handshake)?;
            times.starttls = Some(watch.lap());
            connection = Connection::new(wire, self.inner.deadlines);
            opening.tls_started();
        }
        times.greeting = Some(greeting + watch.lap());
        let encrypted = opening.encrypted();
        match opening.into_end() {
            OpeningEnd::Open(capabilities) => Ok(Session::new(connection, capabilities, encrypted, watch, times)),
            OpeningEnd::Shut(stage, outcome) => Err(Shut::Other(OpenError {
                stage,
                outcome,
                tls: encrypted,
            })),
        }
    }

    async fn start_tls(&self, raw: Raw, endpoint: &Endpoint) -> Result<Wire, Failure> {
        let verify = matches!(endpoint.tls, TlsPolicy::Verified | TlsPolicy::Implicit);
        let address = endpoint.address.ip();
        let handshake = self.inner.tls.start(raw, &endpoint.host, address, verify);
        match timeout(self.inner.deadlines.tls, Box::pin(handshake)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Tls("the handshake took too long".to_owned())),
        }
    }
}

/// Why there is no session, and whether TLS alone is to blame.
enum Shut {
    Handshake(Failure),
    Other(OpenError),
}

impl Shut {
    fn into_error(self) -> OpenError {
        match self {
            Self::Handshake(failure) => failed(Stage::StartTls, failure),
            Self::Other(error) => error,
        }
    }
}

fn failed(stage: Stage, failure: Failure) -> OpenError {
    OpenError {
        stage,
        outcome: AttemptOutcome::Failed(failure),
        tls: false,
    }
}
