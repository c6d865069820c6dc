//! Replies that are odd but whose meaning is settled: a conformance table for SMTP clients.
//!
//! Takes nothing, gives rows: what a receiver that has the message says after its dot, and what a client must make of it.
//! Measured against real senders, each row made one of them resend, hang or give up. RFC 5321 section 4.2: the client acts
//! on the code and not on the text.

use crate::script::Act;

/// One odd answer to the final dot of a message that the receiver has kept.
#[derive(Debug, Clone)]
pub struct OddReply {
    /// What is odd, in a few words.
    pub name: &'static str,
    /// The bytes sent.
    pub bytes: Vec<u8>,
    /// The code that a client must take from it; `None`: nobody can tell, so the message is ambiguous.
    pub code: Option<u16>,
}

impl OddReply {
    /// For [`Stage::Dot`](crate::Stage::Dot): keeps the message and gives this answer.
    #[must_use]
    pub fn acts(&self) -> Vec<Act> {
        vec![Act::Keep, Act::raw(&self.bytes)]
    }
}

/// Lines of the endless reply.
const MANY_LINES: usize = 10_000;
/// Bytes of the text of the long reply.
const LONG_TEXT_BYTES: usize = 6_000;

/// The table.
#[must_use]
pub fn odd_replies() -> Vec<OddReply> {
    let row = |name, bytes: &[u8], code| OddReply {
        name,
        bytes: bytes.to_vec(),
        code,
    };
    let mut gbk = b"250 2.0.0 ".to_vec();
    gbk.extend([0xd3, 0xca, 0xbc, 0xfe, 0xd2, 0xd1, 0xbd, 0xd3, 0xca, 0xd5]); // "mail received" in GBK
    gbk.extend(b"\r\n");
    let long = format!("250 {}\r\n", "x".repeat(LONG_TEXT_BYTES));
    let mut many = "250-and one more\r\n".repeat(MANY_LINES);
    many.push_str("250 done\r\n");
    vec![
        row("text in GBK, which is not UTF-8", &gbk, Some(250)),
        row("a line of 6,000 bytes", long.as_bytes(), Some(250)),
        row("10,000 lines", many.as_bytes(), Some(250)),
        row("LF without CR", b"250 ok\n", Some(250)),
        row("a code without text", b"250\r\n", Some(250)),
        row("a code and a space", b"250 \r\n", Some(250)),
        row("an unknown code of a known class", b"299 fine\r\n", Some(299)),
        row("letters behind the digits", b"2500K\r\n", None),
        row("no code at all", b"OK queued\r\n", None),
        row("lines that disagree", b"250-ok\r\n451 hmm\r\n", Some(451)),
        row("a blank line first", b"\r\n250 ok\r\n", Some(250)),
    ]
}
