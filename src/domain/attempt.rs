//! One try of a Delivery, as it was: no judgement in here.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{DeliveryId, Fence, Lane, Timestamp};

/// How far an Attempt came. The order is the order of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Before a session: content missing, not renderable, not signable.
    Prepare,
    /// Finding the MX hosts.
    Resolve,
    /// TCP.
    Connect,
    /// Waiting for the greeting.
    Banner,
    /// EHLO or HELO.
    Ehlo,
    /// STARTTLS and the handshake.
    StartTls,
    /// AUTH at a smart host.
    Auth,
    /// MAIL FROM.
    MailFrom,
    /// RCPT TO.
    RcptTo,
    /// DATA, up to its 354.
    Data,
    /// The message itself, without the final dot.
    Body,
    /// From the first byte of the final dot on: here a copy may exist.
    Dot,
}

impl Stage {
    /// All of them, in the order of the conversation.
    pub const ALL: [Self; 12] = [
        Self::Prepare,
        Self::Resolve,
        Self::Connect,
        Self::Banner,
        Self::Ehlo,
        Self::StartTls,
        Self::Auth,
        Self::MailFrom,
        Self::RcptTo,
        Self::Data,
        Self::Body,
        Self::Dot,
    ];

    /// The stage of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    /// Whether the other side replies at it.
    #[must_use]
    pub fn has_replies(self) -> bool {
        self >= Self::Banner
    }

    /// The name that API and metrics use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Banner => "banner",
            Self::Ehlo => "ehlo",
            Self::StartTls => "starttls",
            Self::Auth => "auth",
            Self::MailFrom => "mail_from",
            Self::RcptTo => "rcpt_to",
            Self::Data => "data",
            Self::Body => "body",
            Self::Dot => "dot",
        }
    }
}

/// Enhanced mail system status code, RFC 3463: class.subject.detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnhancedCode(pub u8, pub u16, pub u16);

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for EnhancedCode {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.');
        let mut next = |digits: usize| -> Result<u16, ()> {
            let part = parts.next().ok_or(())?;
            let fits = !part.is_empty() && part.len() <= digits;
            if !fits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(());
            }
            part.parse().map_err(|_| ())
        };
        let (class, subject, detail) = (next(1)?, next(3)?, next(3)?);
        if parts.next().is_some() || !matches!(class, 2 | 4 | 5) {
            return Err(());
        }
        Ok(Self(u8::try_from(class).map_err(|_| ())?, subject, detail))
    }
}

/// What the other side said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Three digits, 200 to 599.
    pub code: u16,
    /// Enhanced status code, if the text began with one.
    pub enhanced: Option<EnhancedCode>,
    /// The text without codes, lines joined by a space; bytes that are not UTF-8 replaced; at most 2 KiB.
    pub text: String,
    /// Whether it broke the protocol in a way we forgave.
    pub odd: bool,
}

/// Why the domain of a recipient gave no host to talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DnsFailure {
    /// No answer worth believing: SERVFAIL, REFUSED, timeout, bogus. Temporary.
    NoAnswer,
    /// The domain does not exist, said twice (another resolver, or ten minutes later). Permanent.
    NoDomain,
    /// `NXDOMAIN`, said once so far. Temporary.
    NoDomainUnconfirmed,
    /// RFC 7505: it accepts no mail. Permanent.
    NullMx,
    /// None of the MX hosts has an address. Temporary for 24 hours.
    NoAddress,
    /// A loop of CNAMEs. Temporary for 24 hours.
    CnameLoop,
    /// All addresses are private, loopback or our own: never dialled. Permanent.
    Forbidden,
}

/// What went wrong without the other side saying so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No host to talk to.
    Dns(DnsFailure),
    /// Nothing listens there.
    ConnectionRefused,
    /// No route, unreachable, or another error of TCP.
    Network(String),
    /// The deadline of the stage passed.
    Timeout,
    /// The other side closed or reset the connection.
    ConnectionLost,
    /// The handshake failed, or TLS was required and not offered.
    Tls(String),
    /// What came was not SMTP.
    Protocol(String),
    /// The other side cannot take it: SIZE too small, no SMTPUTF8.
    Unsupported(String),
    /// Our fault: the source address is gone, the content cannot be read or rendered, the signature failed.
    Local(String),
    /// Our fault: a panic while this Delivery was in hand.
    Panicked,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(DnsFailure::NoAnswer) => f.write_str("the domain's name servers did not answer"),
            Self::Dns(DnsFailure::NoDomain) => f.write_str("the domain does not exist"),
            Self::Dns(DnsFailure::NoDomainUnconfirmed) => f.write_str("the domain seems not to exist; asking again"),
            Self::Dns(DnsFailure::NullMx) => f.write_str("the domain accepts no mail (null MX, RFC 7505)"),
            Self::Dns(DnsFailure::NoAddress) => f.write_str("no mail host of the domain has an address"),
            Self::Dns(DnsFailure::CnameLoop) => f.write_str("the domain's CNAMEs do not end"),
            Self::Dns(DnsFailure::Forbidden) => f.write_str("the domain's mail hosts have private or local addresses"),
            Self::ConnectionRefused => f.write_str("connection refused"),
            Self::Network(text) => write!(f, "network error: {text}"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::ConnectionLost => f.write_str("connection lost"),
            Self::Tls(text) => write!(f, "TLS: {text}"),
            Self::Protocol(text) => write!(f, "not SMTP: {text}"),
            Self::Unsupported(text) => write!(f, "not supported by the other side: {text}"),
            Self::Local(text) => write!(f, "our side: {text}"),
            Self::Panicked => f.write_str("our side: a panic"),
        }
    }
}

/// How an Attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// A 2xx after the final dot.
    Accepted(Reply),
    /// A 4xx or 5xx at the stage.
    Refused(Reply),
    /// No usable reply at the stage.
    Failed(Failure),
}

/// One try of a Delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Of which Delivery.
    pub delivery: DeliveryId,
    /// Under which lease.
    pub fence: Fence,
    /// Counts from 1.
    pub number: u32,
    /// Through which door; none when routing failed.
    pub lane: Option<Lane>,
    /// MX host, as named in DNS or config; empty before one was chosen.
    pub host: String,
    /// Its address.
    pub address: Option<IpAddr>,
    /// Whether the session was encrypted.
    pub tls: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How far it came.
    pub stage: Stage,
    /// How it ended.
    pub outcome: AttemptOutcome,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_codes_parse_only_when_whole() {
        assert_eq!("5.7.26".parse(), Ok(EnhancedCode(5, 7, 26)));
        assert_eq!("4.16.1".parse(), Ok(EnhancedCode(4, 16, 1)));
        for bad in [
            "", "5", "5.7", "5.7.", "5.7.1.2", "6.1.1", "1.0.0", "5.x.1", "5.1000.1", "+5.1.1", "554.1.1",
        ] {
            assert_eq!(bad.parse::<EnhancedCode>(), Err(()), "{bad:?}");
        }
    }
}
