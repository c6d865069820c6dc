//! What the ledger is about: one accepted copy, how much of it is kept, and what makes two copies the same.
//!
//! Takes content, gives its Message-ID and identity. Plain data; never does I/O.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

/// How much of each copy is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Counts only: for load.
    Counts,
    /// A record per copy, without its bytes.
    Records {
        /// Copies after this many are counted but not recorded.
        records_max: usize,
    },
    /// A record per copy with its bytes.
    Everything {
        /// Copies after this many are counted but not recorded.
        records_max: usize,
        /// Once this many bytes are kept, further records come without bytes.
        bytes_max: usize,
    },
}

impl Default for Keep {
    fn default() -> Self {
        Self::Everything {
            records_max: 100_000,
            bytes_max: 64 << 20,
        }
    }
}

/// One accepted copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Name of the receiver that took it.
    pub provider: Arc<str>,
    /// Envelope sender; empty for `<>`.
    pub sender: Arc<str>,
    /// Envelope recipient, as spelt by the client.
    pub recipient: String,
    /// The Message-ID header with its angle brackets.
    pub message_id: Option<Arc<str>>,
    /// When it was accepted, in milliseconds since 1970.
    pub at_ms: u64,
    /// Bytes of the content after unstuffing.
    pub size_bytes: u64,
    /// The content after unstuffing, if kept.
    pub bytes: Option<Arc<[u8]>>,
    /// The client's address.
    pub peer: SocketAddr,
    /// Number of the connection at its receiver, from 1.
    pub connection: u64,
    /// What the client said in EHLO or HELO.
    pub helo: Arc<str>,
    /// Whether the copy came over TLS.
    pub tls: bool,
}

/// Sums over all accepted copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Copies accepted.
    pub total: u64,
    /// Different (recipient, Message-ID) pairs.
    pub unique: u64,
    /// Copies beyond the first of each pair: `total - unique`.
    pub duplicates: u64,
}

/// A condition that did not come true in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the condition did not hold within {within:?}; the ledger holds {totals:?}")]
pub struct TimedOut {
    /// How long was waited.
    pub within: Duration,
    /// What the ledger held at the end.
    pub totals: Totals,
}

/// What makes two copies the same. Recipients differ by more than case; the content counts only without a Message-ID.
pub(super) fn identity(recipient: &str, message_id: Option<&str>, content_hash: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    for byte in recipient.bytes() {
        hasher.write_u8(byte.to_ascii_lowercase());
    }
    message_id.hash(&mut hasher);
    if message_id.is_none() {
        content_hash.hash(&mut hasher);
    }
    hasher.finish()
}

/// A hash of content, for messages that have no Message-ID.
pub(crate) fn content_hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

/// The value of the first Message-ID header, unfolded and trimmed.
pub(crate) fn message_id_of(content: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"message-id:";
    let mut position = 0;
    while position < content.len() {
        let line_end = memchr::memchr(b'\n', &content[position..]).map_or(content.len(), |at| position + at + 1);
        let line = &content[position..line_end];
        if line == b"\r\n" || line == b"\n" {
            return None;
        }
        if line.len() >= NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            let mut end = line_end;
            while matches!(content.get(end), Some(b' ' | b'\t')) {
                end = memchr::memchr(b'\n', &content[end..]).map_or(content.len(), |at| end + at + 1);
            }
            let value = String::from_utf8_lossy(&content[position + NAME.len()..end]);
            return Some(value.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
        }
        position = line_end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_id_is_found_in_the_header_only_and_unfolded() {
        let check = |content: &str, expect: Option<&str>| {
            assert_eq!(message_id_of(content.as_bytes()).as_deref(), expect, "{content:?}");
        };
        check("From: a\r\nMessage-ID: <1@x>\r\n\r\nbody", Some("<1@x>"));
        check("message-id:\r\n <1@x>\r\nTo: b\r\n\r\n", Some("<1@x>"));
        check("Message-ID: <1@x>", Some("<1@x>"));
        check("From: a\r\n\r\nMessage-ID: <1@x>\r\n", None);
        check("X-Message-ID: <1@x>\r\n\r\n", None);
        check("", None);
    }
}
