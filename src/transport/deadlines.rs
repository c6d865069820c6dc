//! How long we wait for what.
//!
//! Takes nothing, gives durations. Each is for a whole step, not for a single read: a peer that sends one byte now and then
//! gets no more time than one that sends none.

use std::time::Duration;

use crate::sabotage::{self, Bug};
use crate::smtp::Wait;

/// Deadlines of one connection. The defaults are the minimums of RFC 5321, 4.5.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// TCP connect.
    pub connect: Duration,
    /// TLS handshake.
    pub tls: Duration,
    /// The greeting.
    pub banner: Duration,
    /// The reply to EHLO or HELO, STARTTLS and each step of AUTH.
    pub ehlo: Duration,
    /// The reply to MAIL FROM, RSET.
    pub mail: Duration,
    /// The reply to RCPT TO.
    pub rcpt: Duration,
    /// The reply to DATA.
    pub data: Duration,
    /// Until one block of the body (32 KiB) is taken.
    pub block: Duration,
    /// The body as a whole may take [`Deadlines::block`] and a second for each so many bytes. Never 0.
    pub body_bytes_per_second: u32,
    /// The reply to the final dot. A shorter one makes duplicates at slow scanners (RFC 1047).
    pub dot: Duration,
    /// The reply to QUIT; and for what a peer may still say when it hung up on us.
    pub quit: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            tls: Duration::from_secs(60),
            banner: Duration::from_secs(300),
            ehlo: Duration::from_secs(300),
            mail: Duration::from_secs(300),
            rcpt: Duration::from_secs(300),
            data: Duration::from_secs(120),
            block: Duration::from_secs(180),
            body_bytes_per_second: 500,
            dot: Duration::from_secs(600),
            quit: Duration::from_secs(5),
        }
    }
}

impl Deadlines {
    pub(super) fn of(&self, wait: Wait) -> Duration {
        match wait {
            Wait::Banner => self.banner,
            Wait::Ehlo | Wait::StartTls | Wait::Auth => self.ehlo,
            Wait::Reset | Wait::MailFrom => self.mail,
            Wait::RcptTo => self.rcpt,
            // What the answer to a lone dot is does not matter, so it gets no more patience than the DATA before it.
            Wait::Data | Wait::LoneDot => self.data,
            Wait::Interruption => self.quit,
            Wait::Dot if sabotage::is(Bug::DotTimeoutShort) => self.dot / 10,
            Wait::Dot => self.dot,
        }
    }

    pub(super) fn body(&self, bytes: usize) -> Duration {
        let seconds = u64::try_from(bytes).unwrap_or(u64::MAX) / u64::from(self.body_bytes_per_second.max(1));
        self.block.saturating_add(Duration::from_secs(seconds))
    }
}
