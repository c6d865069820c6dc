//! What was said on one connection, for assertions: bytes, commands, violations, how it ended.
//!
//! Takes what the session saw, gives it to tests. Bounded: a long connection's record stops growing, it never fails.

use std::net::SocketAddr;

use crate::dot::Oddities;

/// Bytes kept of each direction of one connection.
const BYTES_MAX: usize = 256 << 10;
/// Commands, violations and AUTH attempts kept of one connection.
const ENTRIES_MAX: usize = 10_000;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The client said QUIT and was answered.
    Quit,
    /// The client closed (FIN), without QUIT.
    ClientClosed,
    /// The client reset the connection, or it broke.
    Broken,
    /// The receiver closed it: a 421, or the script.
    Closed,
    /// The receiver reset it.
    Reset,
    /// The client was silent for too long.
    Idle,
    /// The TLS handshake failed.
    TlsFailed,
    /// The receiver was shut down.
    Shutdown,
}

/// Something a client must not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// It spoke before the greeting.
    BeforeBanner,
    /// A command that RFC 5321 does not allow, or out of order.
    Syntax(String),
    /// A command line without CR before its LF.
    BareLfInCommand,
    /// It sent on without waiting: PIPELINING was not offered, or this command must be the last of its group.
    DidNotWait(String),
    /// Plaintext stood in the buffer behind STARTTLS.
    PlaintextAfterStartTls,
    /// A MAIL or RCPT parameter that was not offered.
    ParameterNotOffered(String),
    /// Content with a bare CR or LF, a line over 998 bytes, or 8-bit bytes without `BODY=8BITMIME`.
    Content(Oddities),
    /// The declared SIZE was smaller than the content.
    SizeUnderstated {
        /// What MAIL said.
        declared: u64,
        /// What came.
        actual: u64,
    },
}

/// One AUTH attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthAttempt {
    /// `PLAIN` or `LOGIN`.
    pub mechanism: String,
    /// The user it named.
    pub user: String,
    /// The password it gave.
    pub password: String,
    /// Whether it was let in.
    pub accepted: bool,
    /// Whether it came over TLS.
    pub tls: bool,
}

/// One connection.
#[derive(Debug, Clone)]
pub struct Transcript {
    /// Number of the connection at its receiver, from 1.
    pub connection: u64,
    /// The client.
    pub peer: SocketAddr,
    /// What the client said in its last EHLO or HELO.
    pub helo: Option<String>,
    /// Whether TLS was established.
    pub tls: bool,
    /// The host name that the client asked for in its TLS handshake.
    pub server_name: Option<String>,
    /// Bytes from the client, decrypted, in order (the first 256 KiB).
    pub received: Vec<u8>,
    /// Bytes to the client, before encryption, in order (the first 256 KiB).
    pub sent: Vec<u8>,
    /// Command lines, without AUTH responses and content.
    pub commands: Vec<String>,
    /// What the client did wrong.
    pub violations: Vec<Violation>,
    /// AUTH attempts.
    pub auth: Vec<AuthAttempt>,
    /// Messages accepted on this connection.
    pub messages_accepted: u64,
    /// How it ended; `None` while it lasts.
    pub ended: Option<Ended>,
}

impl Transcript {
    pub(crate) fn new(connection: u64, peer: SocketAddr) -> Self {
        Self {
            connection,
            peer,
            helo: None,
            tls: false,
            server_name: None,
            received: Vec::new(),
            sent: Vec::new(),
            commands: Vec::new(),
            violations: Vec::new(),
            auth: Vec::new(),
            messages_accepted: 0,
            ended: None,
        }
    }

    pub(crate) fn note_received(&mut self, bytes: &[u8]) {
        note(&mut self.received, bytes);
    }

    pub(crate) fn note_sent(&mut self, bytes: &[u8]) {
        note(&mut self.sent, bytes);
    }

    pub(crate) fn note_command(&mut self, line: &[u8]) {
        if self.commands.len() < ENTRIES_MAX {
            self.commands.push(String::from_utf8_lossy(line).into_owned());
        }
    }

    pub(crate) fn note_violation(&mut self, violation: Violation) {
        if self.violations.len() < ENTRIES_MAX {
            self.violations.push(violation);
        }
    }

    pub(crate) fn note_auth(&mut self, attempt: AuthAttempt) {
        if self.auth.len() < ENTRIES_MAX {
            self.auth.push(attempt);
        }
    }

    /// The verbs of the commands, in capitals: `["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]`.
    #[must_use]
    pub fn verbs(&self) -> Vec<String> {
        let verb = |line: &String| line.split(' ').next().unwrap_or("").to_ascii_uppercase();
        self.commands.iter().map(verb).collect()
    }
}

fn note(buffer: &mut Vec<u8>, bytes: &[u8]) {
    let room = BYTES_MAX.saturating_sub(buffer.len());
    buffer.extend_from_slice(&bytes[..bytes.len().min(room)]);
}
