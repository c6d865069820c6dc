//! How long the phases of an SMTP session took: measured by the transport, told to the observer.

use std::time::Duration;

/// What each phase took; none if it was not reached, or not needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PhaseTimes {
    /// TCP.
    pub connect: Option<Duration>,
    /// Greeting, EHLO and AUTH, without the handshake between them.
    pub greeting: Option<Duration>,
    /// The TLS handshake.
    pub starttls: Option<Duration>,
    /// From MAIL to the reply to DATA, or to the refusal before it.
    pub envelope: Option<Duration>,
    /// From 354 to the final dot: recording the INTENT, and sending a large message meanwhile.
    pub body: Option<Duration>,
    /// From the final dot to the reply to it.
    pub dot: Option<Duration>,
}
