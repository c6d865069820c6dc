//! Makes message bytes safe to send after DATA (RFC 5321, 4.5.2).
//!
//! Takes a message in chunks, gives the bytes for the wire. Lines that begin with a dot get another one; every line end
//! becomes CRLF, so that no lone CR or LF ever leaves (a receiver that ends a message at one of them would read the rest of
//! it as commands). The last line end is held back: `CRLF . CRLF` leaves only with [`DotStuffer::finish`], and a message
//! that ends in CRLF does not grow by a line.

use crate::sabotage::{self, Bug};

/// Encodes one message; a new one for each.
#[derive(Debug, Default)]
pub struct DotStuffer {
    /// Something was read.
    begun: bool,
    /// Something of the current line was written.
    in_line: bool,
    /// A line end was read and is held back.
    break_held: bool,
    /// It was a CR at the end of a chunk: an LF that follows belongs to it.
    after_cr: bool,
}

/// The bytes that end a message, counted from the dot itself: `.` CR LF.
pub const DOT_BYTES: usize = 3;

impl DotStuffer {
    /// Encodes the next chunk to the end of `out`. At most twice as many bytes as came, and two.
    pub fn encode(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let mut rest = chunk;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        self.begun |= !chunk.is_empty();
        while let Some(first) = rest.first() {
            if self.break_held {
                out.extend_from_slice(b"\r\n");
                self.break_held = false;
                self.in_line = false;
            }
            if *first == b'.' && !self.in_line {
                out.push(b'.');
            }
            let end = if sabotage::is(Bug::BareLineFeed) {
                memchr::memchr(b'\r', rest).unwrap_or(rest.len())
            } else {
                memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len())
            };
            out.extend_from_slice(&rest[..end]);
            self.in_line |= end > 0;
            rest = match &rest[end..] {
                [] => return,
                [b'\r', b'\n', after @ ..] => after,
                [one, after @ ..] => {
                    self.after_cr = *one == b'\r' && after.is_empty();
                    after
                }
            };
            self.break_held = true;
        }
    }

    /// Ends the message: the held line end, and the dot. The dot is the third byte from the end.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.begun {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(chunks: &[&[u8]]) -> Vec<u8> {
        let mut stuffer = DotStuffer::default();
        let mut out = Vec::new();
        for chunk in chunks {
            stuffer.encode(chunk, &mut out);
        }
        stuffer.finish(&mut out);
        out
    }

    /// What the message should be at the other side: every CRLF, CR or LF is a CRLF, and the last line is ended.
    fn normalised(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut previous = 0;
        for &byte in body {
            match (previous, byte) {
                (b'\r', b'\n') => {}
                (_, b'\r' | b'\n') => out.extend_from_slice(b"\r\n"),
                _ => out.push(byte),
            }
            previous = byte;
        }
        if !out.is_empty() && !out.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    /// A receiver as the RFC has it: lines end at CRLF only, a lone dot ends the message, a first dot is dropped.
    /// Gives the message and what it would read as the next command.
    fn receive(wire: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut message = Vec::new();
        let mut rest = wire;
        loop {
            let end = rest.windows(2).position(|pair| pair == b"\r\n").expect("a line end");
            let (line, after) = (&rest[..end], &rest[end + 2..]);
            if line == b"." {
                return (message, after.to_vec());
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            message.extend_from_slice(b"\r\n");
            rest = after;
        }
    }

    #[track_caller]
    fn check(body: &str, expect: &str) {
        assert_eq!(String::from_utf8_lossy(&encode(&[body.as_bytes()])), expect, "{body:?}");
    }

    #[test]
    fn dots_are_doubled_at_line_starts_only() {
        check("", ".\r\n");
        check("a.b\r\n", "a.b\r\n.\r\n");
        check(".a\r\n..b\r\n", "..a\r\n...b\r\n.\r\n");
        check(".", "..\r\n.\r\n");
        check("a\r\n.\r\nQUIT\r\n", "a\r\n..\r\nQUIT\r\n.\r\n");
    }

    #[test]
    fn a_message_gets_a_last_line_end_only_when_it_lacks_one() {
        check("a", "a\r\n.\r\n");
        check("a\r\n", "a\r\n.\r\n");
        check("a\r\n\r\n", "a\r\n\r\n.\r\n");
        check("\r\n", "\r\n.\r\n");
        check("a\r", "a\r\n.\r\n");
        check("a\n", "a\r\n.\r\n");
    }

    #[test]
    fn ends_that_smugglers_use_become_text() {
        check("a\n.\nMAIL", "a\r\n..\r\nMAIL\r\n.\r\n");
        check("a\r\n.\nMAIL", "a\r\n..\r\nMAIL\r\n.\r\n");
        check("a\n.\r\nMAIL", "a\r\n..\r\nMAIL\r\n.\r\n");
        check("a\r.\rMAIL", "a\r\n..\r\nMAIL\r\n.\r\n");
        check("a\r\r\nb", "a\r\n\r\nb\r\n.\r\n");
    }

    proptest! {
        #[test]
        fn any_body_in_any_chunks_arrives_once_and_whole(
            body in proptest::collection::vec(prop_oneof![
                3 => Just(b'\r'), 3 => Just(b'\n'), 3 => Just(b'.'), 4 => any::<u8>(),
            ], 0..200),
            cuts in proptest::collection::vec(0_usize..200, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            let wire = encode(&chunks);
            prop_assert_eq!(&wire, &encode(&[&body]));
            let (message, commands) = receive(&wire);
            prop_assert_eq!(message, normalised(&body));
            prop_assert!(commands.is_empty());
            for (at, byte) in wire.iter().enumerate() {
                match byte {
                    b'\r' => prop_assert_eq!(wire.get(at + 1), Some(&b'\n')),
                    b'\n' => prop_assert!(at > 0 && wire[at - 1] == b'\r'),
                    _ => {}
                }
            }
        }
    }
}
