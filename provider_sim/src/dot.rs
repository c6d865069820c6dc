//! Reads the content that follows DATA: undoes dot-stuffing and finds the end, byte-exact.
//!
//! Takes bytes as they arrive, in any pieces; gives the content and where it ended. Only `CR LF . CR LF` ends it (RFC
//! 5321 section 4.1.1.4): `LF . LF` and its relatives are content, and are counted, because a receiver that takes them
//! for an end can be made to see a second message (SMTP smuggling). Never does I/O; keeps at most the bytes it is allowed.

/// What was odd about the content of one message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Oddities {
    /// LF without a CR before it.
    pub bare_lf: u64,
    /// CR without an LF after it.
    pub bare_cr: u64,
    /// The longest line without its CR LF, in bytes after unstuffing. RFC 5321 allows 998.
    pub longest_line: u64,
    /// Bytes above 127.
    pub eight_bit: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    InLine,
    AfterCr,
    AfterDot,
    AfterDotCr,
}

/// Decoder of one message's content.
#[derive(Debug)]
pub(crate) struct DotDecoder {
    at: At,
    content: Vec<u8>,
    content_max: usize,
    size: u64,
    line: u64,
    odd: Oddities,
}

impl DotDecoder {
    /// A decoder that stores at most `content_max` bytes in `buffer`, whose capacity is used again, and counts the rest.
    pub(crate) fn new(mut buffer: Vec<u8>, content_max: usize) -> Self {
        buffer.clear();
        Self {
            at: At::LineStart,
            content: buffer,
            content_max,
            size: 0,
            line: 0,
            odd: Oddities::default(),
        }
    }

    /// Takes the next bytes. `Some(n)`: the content ended after the first `n` of them. `None`: all belong to it.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Option<usize> {
        let mut position = 0;
        while position < input.len() {
            if self.at == At::InLine {
                let rest = &input[position..];
                let run = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                self.keep(&rest[..run]);
                position += run;
                if position == input.len() {
                    return None;
                }
            }
            let byte = input[position];
            position += 1;
            if self.step(byte) {
                return Some(position);
            }
        }
        None
    }

    /// One byte at a place where it matters. True when it was the last of the content.
    fn step(&mut self, byte: u8) -> bool {
        match (self.at, byte) {
            (At::LineStart, b'.') => self.at = At::AfterDot,
            (At::AfterDot, b'\r') => self.at = At::AfterDotCr,
            (At::AfterDotCr, b'\n') => return true,
            (At::AfterDotCr, _) => {
                // The dot was stuffed after all and the CR is content.
                self.bare_cr();
                self.in_line(byte);
            }
            (At::AfterCr, b'\n') => {
                self.odd.longest_line = self.odd.longest_line.max(self.line);
                self.line = 0;
                self.store(b"\r\n");
                self.at = At::LineStart;
            }
            (At::AfterCr, _) => {
                self.bare_cr();
                self.in_line(byte);
            }
            (At::LineStart | At::InLine | At::AfterDot, _) => self.in_line(byte),
        }
        false
    }

    fn in_line(&mut self, byte: u8) {
        match byte {
            b'\r' => self.at = At::AfterCr,
            b'\n' => {
                self.odd.bare_lf += 1;
                self.keep(b"\n");
                self.at = At::InLine;
            }
            _ => {
                self.keep(&[byte]);
                self.at = At::InLine;
            }
        }
    }

    fn bare_cr(&mut self) {
        self.odd.bare_cr += 1;
        self.keep(b"\r");
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.line += bytes.len() as u64;
        self.odd.eight_bit |= !bytes.is_ascii();
        self.store(bytes);
    }

    fn store(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        let room = self.content_max.saturating_sub(self.content.len());
        self.content.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The stored content, its true size, and what was odd about it.
    pub(crate) fn finish(mut self) -> (Vec<u8>, u64, Oddities) {
        self.odd.longest_line = self.odd.longest_line.max(self.line);
        (self.content, self.size, self.odd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(pieces: &[&[u8]]) -> (Vec<u8>, Option<usize>, Oddities) {
        let mut decoder = DotDecoder::new(Vec::new(), 1 << 20);
        let mut before = 0;
        for piece in pieces {
            if let Some(end) = decoder.feed(piece) {
                let (content, _, odd) = decoder.finish();
                return (content, Some(before + end), odd);
            }
            before += piece.len();
        }
        let (content, _, odd) = decoder.finish();
        (content, None, odd)
    }

    fn check(input: &[u8], content: &[u8], end: Option<usize>, bare_lf: u64, bare_cr: u64) {
        let (got, got_end, odd) = decode(&[input]);
        let name = String::from_utf8_lossy(input).escape_debug().to_string();
        assert_eq!(got, content, "content of {name}");
        assert_eq!(got_end, end, "end of {name}");
        assert_eq!((odd.bare_lf, odd.bare_cr), (bare_lf, bare_cr), "oddities of {name}");
    }

    #[test]
    fn only_crlf_dot_crlf_ends_the_content() {
        check(b"a\r\n.\r\n", b"a\r\n", Some(6), 0, 0);
        check(b".\r\n", b"", Some(3), 0, 0);
        check(b"a\r\n.\r\nQUIT\r\n", b"a\r\n", Some(6), 0, 0);
        check(b"a\n.\n", b"a\n.\n", None, 2, 0);
        check(b"a\n.\r\n", b"a\n.\r\n", None, 1, 0);
        check(b"a\r\n.\nb", b"a\r\n\nb", None, 1, 0);
        check(b"a\r.\r\n", b"a\r.\r\n", None, 0, 1);
        check(b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n", Some(11), 0, 1);
        check(b"a\r\r\n.\r\n", b"a\r\r\n", Some(7), 0, 1);
    }

    #[test]
    fn a_stuffed_dot_loses_one_dot() {
        check(b"..\r\n.\r\n", b".\r\n", Some(7), 0, 0);
        check(b".a\r\n...b\r\n.\r\n", b"a\r\n..b\r\n", Some(13), 0, 0);
        check(b"a.\r\n.b", b"a.\r\nb", None, 0, 0);
    }

    #[test]
    fn what_is_not_stored_is_still_counted() {
        let mut decoder = DotDecoder::new(Vec::new(), 3);
        assert_eq!(decoder.feed(b"abcdef\r\n.\r\n"), Some(11));
        let (content, size, odd) = decoder.finish();
        assert_eq!((content.as_slice(), size, odd.longest_line), (&b"abc"[..], 8, 6));
    }

    proptest! {
        #[test]
        fn the_pieces_in_which_bytes_arrive_do_not_matter(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..60),
            cut in 0usize..60,
        ) {
            let cut = cut.min(bytes.len());
            let whole = decode(&[&bytes]);
            prop_assert_eq!(&decode(&[&bytes[..cut], &bytes[cut..]]), &whole);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(&decode(&single), &whole);
        }

        #[test]
        fn any_text_in_lines_survives_stuffing(
            lines in proptest::collection::vec("[ -~]{0,12}|\\.{1,3}", 0..10),
        ) {
            let plain: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let stuffed: String = lines
                .iter()
                .map(|line| format!("{}{line}\r\n", if line.starts_with('.') { "." } else { "" }))
                .collect();
            let wire = format!("{stuffed}.\r\n");
            let (content, end, odd) = decode(&[wire.as_bytes()]);
            prop_assert_eq!(content, plain.into_bytes());
            prop_assert_eq!(end, Some(wire.len()));
            prop_assert_eq!((odd.bare_lf, odd.bare_cr), (0, 0));
        }
    }
}
