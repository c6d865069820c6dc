//! How a protocol machine and its driver talk to each other.
//!
//! The driver asks [`Machine::next`] and does that; what happened goes back in through the other calls. Never waits or
//! reads a clock: a [`Wait`] names a deadline, the driver knows how long it is.

use crate::domain::Failure;

/// What the driver has to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Send [`Machine::outgoing`], then call [`Machine::written`].
    Write,
    /// Read, and pass on what came. One deadline for as long as this answer stays the same.
    Read(Wait),
    /// Run the TLS handshake, with nothing of what was read before, then call `Opening::tls_started`.
    Handshake,
    /// Send the message: its body, then, when that is allowed, the final dot.
    Body,
    /// Nothing. The outcome can be taken.
    Done,
}

/// Which reply is awaited. Each has a deadline of its own (RFC 5321, 4.5.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wait {
    /// The greeting.
    Banner,
    /// To EHLO or HELO.
    Ehlo,
    /// To STARTTLS.
    StartTls,
    /// To a step of AUTH.
    Auth,
    /// To RSET.
    Reset,
    /// To MAIL FROM.
    MailFrom,
    /// To RCPT TO.
    RcptTo,
    /// To DATA.
    Data,
    /// The rest of a reply that came before its time, while the body was being sent.
    Interruption,
    /// To the final dot of a message.
    Dot,
    /// To the dot after a DATA that should have been refused. Its answer means nothing.
    LoneDot,
}

/// A machine that a driver can move.
pub trait Machine {
    /// What to do now.
    fn next(&self) -> Next;
    /// The bytes to send when [`Next::Write`] is due.
    fn outgoing(&self) -> &[u8];
    /// They were sent, or the other side hung up while they were: what it said last can still be read.
    fn written(&mut self);
    /// These bytes came.
    fn receive(&mut self, bytes: &[u8]);
    /// The other side will send nothing more.
    fn end_of_stream(&mut self);
    /// Something else went wrong: a deadline, the network. The connection is lost to us.
    fn fail(&mut self, failure: Failure);
}

/// Whether `text` can stand in a command: no control character could end the line early.
pub(super) fn fits_in_a_command(text: &str) -> bool {
    text.len() <= ARGUMENT_BYTES_MAX && !text.bytes().any(|byte| byte < b' ' || byte == 0x7f)
}

/// Whether `address` can stand between angle brackets without ending them early.
pub(super) fn fits_in_brackets(address: &str) -> bool {
    fits_in_a_command(address) && (address.starts_with('"') || !address.contains([' ', '<', '>']))
}

/// Longest address or name in a command. RFC 5321 allows a path of 256 octets; the rest is patience.
const ARGUMENT_BYTES_MAX: usize = 512;
