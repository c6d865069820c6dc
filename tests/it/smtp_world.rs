//! What the tests of the SMTP client share: a dialer, endpoints, mail, and short words for how things ended.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use posthaste::clock::Clock;
use posthaste::domain::{AttemptOutcome, Failure, Stage, TlsPolicy};
use posthaste::transport::{
    Deadlines, Dialer, DialerSettings, Endpoint, OpenError, Outgoing, Session, Transaction, TransactionOutcome,
};
use provider_sim::Receiver;

/// For conditions that come true by themselves. Only a broken test waits for it.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A deadline that is meant to pass.
pub(crate) const SCALED: Duration = Duration::from_millis(150);

pub(crate) fn dialer(deadlines: Deadlines) -> Dialer {
    let settings = DialerSettings {
        deadlines,
        ..DialerSettings::default()
    };
    Dialer::new(settings, Clock::system()).expect("no extra roots")
}

pub(crate) fn endpoint(receiver: &Receiver) -> Endpoint {
    endpoint_at(receiver.address())
}

/// For an address on loopback, or for none: then the stream is given.
pub(crate) fn endpoint_at(address: SocketAddr) -> Endpoint {
    Endpoint {
        source: None,
        ehlo: "out.test".to_owned(),
        host: "mx.test".to_owned(),
        address,
        allow_private: true,
        tls: TlsPolicy::Opportunistic,
        auth: None,
    }
}

pub(crate) async fn open(receiver: &Receiver) -> Session {
    let opened = dialer(Deadlines::default()).open(&endpoint(receiver)).await;
    opened.expect("a session")
}

/// A message with its own Message-ID, so that the receiver's ledger can tell copies apart.
pub(crate) fn message() -> Vec<u8> {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("Message-ID: <{number}@out.test>\r\nSubject: test\r\n\r\n.a line with a dot\r\nend\r\n").into_bytes()
}

/// One that is sent in blocks: more than 32 KiB.
pub(crate) fn large_message() -> Vec<u8> {
    let mut bytes = message();
    for number in 0..4000 {
        bytes.extend_from_slice(format!("{number:05}: forty bytes of text, more or less.\r\n").as_bytes());
    }
    bytes
}

pub(crate) fn to<'a>(rcpt_to: &'a str, bytes: &'a [u8]) -> Outgoing<'a> {
    Outgoing {
        mail_from: "bounce@out.test",
        rcpt_to,
        bytes,
    }
}

/// Sends to bob with a gate that is open.
pub(crate) async fn deliver(session: &mut Session, bytes: &[u8]) -> Transaction {
    session.deliver(to("bob@mx.test", bytes), || async { true }).await
}

/// `"250 accepted"`, `"451 refused"`, `"timeout"` and so on.
pub(crate) fn short(transaction: &Transaction) -> String {
    match &transaction.outcome {
        TransactionOutcome::Accepted(reply) => format!("{} accepted", reply.code),
        TransactionOutcome::Refused(reply) => format!("{} refused", reply.code),
        TransactionOutcome::Failed(failure) => short_failure(failure),
        TransactionOutcome::Withheld => "withheld".to_owned(),
    }
}

pub(crate) fn short_failure(failure: &Failure) -> String {
    match failure {
        Failure::Timeout => "timeout".to_owned(),
        Failure::ConnectionLost => "lost".to_owned(),
        Failure::Protocol(_) => "protocol".to_owned(),
        Failure::Tls(_) => "tls".to_owned(),
        Failure::Unsupported(_) => "unsupported".to_owned(),
        Failure::Local(_) => "local".to_owned(),
        other => other.to_string(),
    }
}

pub(crate) fn short_error(error: &OpenError) -> (Stage, String) {
    let outcome = match &error.outcome {
        AttemptOutcome::Accepted(_) => unreachable!("nothing was sent"),
        AttemptOutcome::Refused(reply) => format!("{} refused", reply.code),
        AttemptOutcome::Failed(failure) => short_failure(failure),
    };
    (error.stage, outcome)
}

/// Stage, outcome and whether the dot left.
#[track_caller]
pub(crate) fn check(transaction: &Transaction, stage: Stage, outcome: &str, dot_sent: bool) {
    assert_eq!(
        (transaction.stage, short(transaction).as_str(), transaction.dot_sent),
        (stage, outcome, dot_sent),
        "{transaction:?}"
    );
}

/// The client never did anything that RFC 5321 forbids.
#[track_caller]
pub(crate) fn assert_well_behaved(receiver: &Receiver) {
    for transcript in receiver.transcripts() {
        assert_eq!(transcript.violations, [], "{:?}", transcript.commands);
    }
}
