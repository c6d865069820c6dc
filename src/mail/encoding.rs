//! Content transfer encodings: any text or file as 7-bit lines of at most 998 octets (RFC 2045).
//!
//! Takes text or bytes, gives which encoding fits and appends the encoded lines, every one ended by CRLF. Line breaks of
//! texts become CRLF, whichever of CR, LF, CRLF they were, and what is blank at the end of a text is cut down to one CRLF:
//! relaxed body canonicalisation ignores it, and signers have had bugs there. Never leaves a bare CR or LF.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// What encoded lines do not exceed (RFC 2045, 6.7 and 6.8).
const ENCODED_LINE_MAX: usize = 76;
/// Longest line that is sent as it is. Below the 998 of RFC 5322, since some relays count CRLF or add a dot.
const PLAIN_LINE_MAX: usize = 990;
/// Bytes in one line of base64.
const BASE64_BYTES: usize = ENCODED_LINE_MAX / 4 * 3;

/// How content is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is: ASCII without control characters, lines short enough.
    SevenBit,
    /// Mostly ASCII.
    QuotedPrintable,
    /// Anything.
    Base64,
}

impl Encoding {
    /// The value of `Content-Transfer-Encoding`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SevenBit => "7bit",
            Self::QuotedPrintable => "quoted-printable",
            Self::Base64 => "base64",
        }
    }

    /// The encoding that suits a text.
    #[must_use]
    pub fn for_text(text: &str) -> Self {
        let bytes = text.as_bytes();
        // One pass without branches over the common case; the details are looked at only when something is odd.
        let mut eight_bit = 0_usize;
        let mut controls = 0_usize;
        for &byte in bytes {
            eight_bit += usize::from(byte >= 0x80);
            let control = byte < b' ' && byte != b'\n' && byte != b'\r' && byte != b'\t';
            controls += usize::from(control || byte == 0x7f);
        }
        if eight_bit == 0 && controls == 0 && lines_are_plain(text) {
            return Self::SevenBit;
        }
        // Quoted-printable needs three characters for such a byte, base64 four for any three.
        if (eight_bit + controls) * 6 > bytes.len() {
            Self::Base64
        } else {
            Self::QuotedPrintable
        }
    }
}

/// No line is too long, none can be taken for one of our boundaries or for the start of a message in a mailbox file.
fn lines_are_plain(text: &str) -> bool {
    let is_plain = |line: &str| line.len() <= PLAIN_LINE_MAX && !line.starts_with("--=_") && !line.starts_with("From ");
    if text.contains('\r') {
        text.split(['\n', '\r']).all(is_plain)
    } else {
        // The same, and faster: the search for one byte looks at a word at a time.
        text.split('\n').all(is_plain)
    }
}

/// Cuts off what is blank at the end: spaces, tabs and line breaks.
#[must_use]
pub fn without_blank_tail(text: &str) -> &str {
    let kept = text.trim_end_matches([' ', '\t', '\r', '\n']);
    // Spaces behind the last word are part of its line, unless nothing but blanks follows on further lines too.
    let tail = &text[kept.len()..];
    let same_line = tail.find(['\r', '\n']).unwrap_or(tail.len());
    if kept.is_empty() {
        kept
    } else {
        &text[..kept.len() + same_line]
    }
}

/// Appends a text in the given encoding, ended by CRLF.
pub fn write_text(out: &mut Vec<u8>, text: &str, encoding: Encoding) {
    let text = without_blank_tail(text);
    match encoding {
        Encoding::SevenBit => write_lines(out, text, |out, line| out.extend_from_slice(line)),
        Encoding::QuotedPrintable => write_lines(out, text, write_quoted_printable_line),
        Encoding::Base64 => {
            let mut normal = Vec::with_capacity(text.len() + 64);
            write_lines(&mut normal, text, |out, line| out.extend_from_slice(line));
            write_base64(out, &normal);
        }
    }
}

/// Appends bytes as lines of base64.
pub fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len().div_ceil(BASE64_BYTES) * (ENCODED_LINE_MAX + 2));
    for chunk in bytes.chunks(BASE64_BYTES) {
        let mut line = [0_u8; ENCODED_LINE_MAX];
        let written = BASE64
            .encode_slice(chunk, &mut line)
            .expect("57 bytes give 76 characters");
        out.extend_from_slice(&line[..written]);
        out.extend_from_slice(b"\r\n");
    }
}

/// Calls `write` for each line and ends it with CRLF. A final line break does not begin another line.
fn write_lines(out: &mut Vec<u8>, text: &str, write: impl Fn(&mut Vec<u8>, &[u8])) {
    out.reserve(text.len() + text.len() / 16 + 64);
    let mut rest = text;
    // Most texts have one kind of line break, and one byte is found faster than either of two.
    let bare_returns = rest.contains('\r');
    loop {
        let end = if bare_returns {
            rest.find(['\n', '\r'])
        } else {
            rest.find('\n')
        };
        write(out, &rest.as_bytes()[..end.unwrap_or(rest.len())]);
        out.extend_from_slice(b"\r\n");
        let Some(end) = end else { return };
        let length = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[end + length..];
        if rest.is_empty() {
            return;
        }
    }
}

/// One line as quoted-printable with soft line breaks. Blanks at its end are encoded, since relays cut them off.
fn write_quoted_printable_line(out: &mut Vec<u8>, line: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut column = 0;
    if line.starts_with(b"From ") {
        out.extend_from_slice(b"=46");
        return write_quoted_printable_rest(out, &line[1..], 3, HEX);
    }
    if line.starts_with(b".") {
        out.extend_from_slice(b"=2E");
        column = 3;
    }
    write_quoted_printable_rest(out, &line[usize::from(column > 0)..], column, HEX);
}

fn write_quoted_printable_rest(out: &mut Vec<u8>, rest: &[u8], mut column: usize, hex: &[u8; 16]) {
    for (index, &byte) in rest.iter().enumerate() {
        let last = index + 1 == rest.len();
        let plain = matches!(byte, b'!'..=b'<' | b'>'..=b'~') || (matches!(byte, b' ' | b'\t') && !last);
        let width = if plain { 1 } else { 3 };
        // A soft break needs a character of its own, except behind the last character of the line.
        if column + width + usize::from(!last) > ENCODED_LINE_MAX {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if plain {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'=', hex[usize::from(byte >> 4)], hex[usize::from(byte & 15)]]);
        }
        column += width;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(text: &str, encoding: Encoding) -> String {
        let mut out = Vec::new();
        write_text(&mut out, text, encoding);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_shortest_safe_encoding_is_chosen() {
        for (text, expect) in [
            ("", Encoding::SevenBit),
            ("plain\r\ntext\twith tab\n", Encoding::SevenBit),
            ("café au lait, s'il vous plaît", Encoding::QuotedPrintable),
            ("bell \u{7} in a longer line", Encoding::QuotedPrintable),
            ("--=_looks like a boundary of ours", Encoding::QuotedPrintable),
            ("From here on", Encoding::QuotedPrintable),
            ("您的验证码", Encoding::Base64),
        ] {
            assert_eq!(Encoding::for_text(text), expect, "{text:?}");
        }
        assert_eq!(Encoding::for_text(&"x".repeat(990)), Encoding::SevenBit);
        assert_eq!(Encoding::for_text(&"x".repeat(991)), Encoding::QuotedPrintable);
    }

    #[test]
    fn line_breaks_become_crlf_and_blank_tails_go() {
        for (text, expect) in [
            ("", "\r\n"),
            ("a", "a\r\n"),
            ("a\r\n", "a\r\n"),
            ("a\nb\rc\r\nd", "a\r\nb\r\nc\r\nd\r\n"),
            ("a\n\n \n\t\r\n", "a\r\n"),
            ("a  \n \n", "a  \r\n"),
            ("\n\r\n \n", "\r\n"),
            ("\n\ra", "\r\n\r\na\r\n"),
        ] {
            assert_eq!(encoded(text, Encoding::SevenBit), expect, "{text:?}");
        }
    }

    #[test]
    fn quoted_printable_is_by_the_book() {
        for (text, expect) in [
            ("a=b", "a=3Db\r\n"),
            ("trailing \nnext\t", "trailing=20\r\nnext=09\r\n"),
            ("é", "=C3=A9\r\n"),
            (".\n..x\nFrom me", "=2E\r\n=2E.x\r\n=46rom me\r\n"),
        ] {
            assert_eq!(encoded(text, Encoding::QuotedPrintable), expect, "{text:?}");
        }
        assert_eq!(
            encoded(&"x".repeat(76), Encoding::QuotedPrintable),
            format!("{}\r\n", "x".repeat(76))
        );
        assert_eq!(
            encoded(&"x".repeat(77), Encoding::QuotedPrintable),
            format!("{}=\r\nxx\r\n", "x".repeat(75))
        );
    }

    proptest! {
        #[test]
        fn any_text_in_any_encoding_obeys_the_limits(text in "(\\PC|[\r\n\t .=\u{0}-\u{1f}]|From |--=_){0,400}") {
            for encoding in [Encoding::QuotedPrintable, Encoding::Base64] {
                let out = encoded(&text, encoding);
                prop_assert!(out.is_ascii() && out.ends_with("\r\n"));
                for line in out.trim_end_matches("\r\n").split("\r\n") {
                    prop_assert!(line.len() <= 76, "{line:?}");
                    prop_assert!(!line.contains(['\r', '\n', '\0']));
                }
            }
        }
    }
}
