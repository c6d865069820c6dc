//! Header fields as bytes: folding, encoded-words, display names, address lists; and the check for fields callers add.
//!
//! Takes names and values as people write them, gives lines that obey RFC 5322 (folded at 78 octets where there is a space
//! to fold at, never longer than 998) and RFC 2047 (encoded-words of at most 75 characters that never split a character).
//! Never lets CR, LF or NUL of a value through, even when nobody checked it before. All lengths are octets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use thiserror::Error;

use crate::domain::Mailbox;

/// Where lines are folded when there is a place to fold (RFC 5322, 2.1.1), without CRLF.
pub const LINE_SOFT_MAX: usize = 78;
/// What no line may exceed (RFC 5322, 2.1.1), without CRLF.
pub const LINE_HARD_MAX: usize = 998;
/// What a line that holds an encoded-word may not exceed (RFC 2047, 2).
const ENCODED_LINE_MAX: usize = 76;
/// What one encoded-word may not exceed (RFC 2047, 2).
const ENCODED_WORD_MAX: usize = 75;
/// With less room than this on a line, an encoded-word that would have to be split begins on the next one.
const ENCODED_WORD_WORTHWHILE: usize = 36;
/// A quoted display name is not folded inside, so a longer one becomes encoded-words.
const QUOTED_NAME_MAX: usize = 60;
/// Longest name of a header field that a caller may add.
pub const HEADER_NAME_MAX: usize = 64;
/// Longest value of a header field that a caller may add.
pub const HEADER_VALUE_MAX: usize = 998;
/// How many header fields a caller may add.
pub const HEADERS_MAX: usize = 50;

/// What is wrong with a header field that a caller wants to add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderProblem {
    /// Not an RFC 5322 field name.
    #[error("the name must be 1 to {HEADER_NAME_MAX} visible ASCII characters without a colon")]
    Name,
    /// A field that Posthaste writes itself, or that belongs to other systems on the way.
    #[error("this field is set by the service")]
    Reserved,
    /// Nothing to see in the value.
    #[error("the value must not be empty")]
    Empty,
    /// Header injection, or bytes that SMTP cannot carry.
    #[error("the value must not contain line breaks or control characters")]
    Control,
    /// Would not fit on a line.
    #[error("the value must not be longer than {HEADER_VALUE_MAX} bytes")]
    TooLong,
    /// The same field a second time.
    #[error("the field is given twice")]
    Duplicate,
    /// More than [`HEADERS_MAX`].
    #[error("at most {HEADERS_MAX} header fields can be added")]
    TooMany,
}

/// Fields that exist once, with a place of their own in a call, or that only a mail system may write.
const RESERVED: &[&str] = &[
    "from",
    "to",
    "cc",
    "bcc",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "sender",
    "return-path",
    "received",
    "mime-version",
    "authentication-results",
    "delivered-to",
];
/// Families of such fields.
const RESERVED_PREFIXES: &[&str] = &["dkim-", "arc-", "content-", "resent-", "received-"];

/// Whether a caller may add this header field.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_header(name: &str, value: &str) -> Result<(), HeaderProblem> {
    let token = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    if name.is_empty() || name.len() > HEADER_NAME_MAX || !name.bytes().all(token) {
        return Err(HeaderProblem::Name);
    }
    let lower = name.to_ascii_lowercase();
    if RESERVED.contains(&lower.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        return Err(HeaderProblem::Reserved);
    }
    if value.chars().any(char::is_control) {
        return Err(HeaderProblem::Control);
    }
    if value.len() > HEADER_VALUE_MAX {
        return Err(HeaderProblem::TooLong);
    }
    if value.trim().is_empty() {
        return Err(HeaderProblem::Empty);
    }
    Ok(())
}

/// Whether a caller may add these header fields; gives every problem with the position of its field.
#[must_use]
pub fn check_headers(headers: &[(String, String)]) -> Vec<(usize, HeaderProblem)> {
    let mut problems = Vec::new();
    if headers.len() > HEADERS_MAX {
        problems.push((HEADERS_MAX, HeaderProblem::TooMany));
    }
    for (position, (name, value)) in headers.iter().enumerate().take(HEADERS_MAX) {
        if let Err(problem) = check_header(name, value) {
            problems.push((position, problem));
        } else if headers[..position]
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
        {
            problems.push((position, HeaderProblem::Duplicate));
        }
    }
    problems
}

/// Whether text may stand in a subject or display name: no line breaks, no control characters.
#[must_use]
pub fn is_one_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Writes `Name: value` for text in free form (Subject, fields of callers), ended by CRLF.
pub fn write_unstructured(out: &mut Vec<u8>, name: &str, value: &str) {
    let mut line = Line::begin(out, name);
    line.unstructured(value);
    line.end();
}

/// Writes `Name: value` for a value that is ready for the wire, folded at its spaces, ended by CRLF.
pub fn write_ready(out: &mut Vec<u8>, name: &str, value: &str) {
    let mut line = Line::begin(out, name);
    line.plain_words(&clean(value));
    line.end();
}

/// Writes `Name: ` and a list of addresses, folded between them, ended by CRLF. Writes nothing for an empty list.
pub fn write_addresses<'a>(out: &mut Vec<u8>, name: &str, mailboxes: impl IntoIterator<Item = &'a Mailbox>) {
    let mut mailboxes = mailboxes.into_iter().peekable();
    if mailboxes.peek().is_none() {
        return;
    }
    let mut line = Line::begin(out, name);
    while let Some(mailbox) = mailboxes.next() {
        line.mailbox(mailbox, mailboxes.peek().is_some());
    }
    line.end();
}

/// A header field being written: knows how long its current line is.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    /// Where the current line begins in `out`.
    start: usize,
    /// Whether a space is owed before the next word.
    space: bool,
}

impl<'a> Line<'a> {
    fn begin(out: &'a mut Vec<u8>, name: &str) -> Self {
        let start = out.len();
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        Self {
            out,
            start,
            space: true,
        }
    }

    fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    fn column(&self) -> usize {
        self.out.len() - self.start
    }

    /// Ends the line; the next word begins a continuation line.
    fn fold(&mut self) {
        self.out.extend_from_slice(b"\r\n");
        self.start = self.out.len();
        self.space = true;
    }

    /// Writes a word that cannot be broken, on a new line if it does not fit on this one.
    fn word(&mut self, word: &[u8], reserve: usize) {
        if self.space {
            let fresh = self.column() == 0;
            if !fresh && self.column() + 1 + word.len() + reserve > LINE_SOFT_MAX && self.may_fold(word.len()) {
                self.fold();
            }
            self.out.push(b' ');
            self.space = false;
        }
        self.out.extend_from_slice(word);
    }

    /// A first word that is too long for the line anyway stays behind the name, as long as the hard limit allows:
    /// some readers take a first line without a value for an empty one.
    fn may_fold(&self, length: usize) -> bool {
        let at_name = self.out[self.start..].last() == Some(&b':');
        !at_name || self.column() + 1 + length > LINE_HARD_MAX
    }

    /// ASCII words with their spaces as they are. Folds only where a single space stands between two words, so that no
    /// line consists of spaces only.
    fn plain_words(&mut self, text: &str) {
        for (index, word) in text.split(' ').enumerate() {
            if index == 0 {
                self.word(word.as_bytes(), 0);
            } else if word.is_empty() || self.out.last() == Some(&b' ') {
                self.out.push(b' ');
                self.out.extend_from_slice(word.as_bytes());
            } else {
                self.space = true;
                self.word(word.as_bytes(), 0);
            }
        }
    }

    fn unstructured(&mut self, value: &str) {
        let value = clean(value);
        let value = value.trim_matches([' ', '\t']);
        let Some((first, last)) = encoding_span(value) else {
            self.plain_words(value);
            return;
        };
        let (before, rest) = value.split_at(first);
        let (run, after) = rest.split_at(last - first);
        if !before.is_empty() {
            self.plain_words(&before[..before.len() - 1]);
            self.space = true;
        }
        self.encoded_words(run);
        if !after.is_empty() {
            self.space = true;
            self.plain_words(&after[1..]);
        }
    }

    /// One run of encoded-words. Spaces of the run are inside of them, since those between them do not count.
    fn encoded_words(&mut self, run: &str) {
        let base64 = prefers_base64(run);
        let mut rest = run;
        while !rest.is_empty() {
            let column = self.column() + usize::from(self.space);
            let room = ENCODED_LINE_MAX.saturating_sub(column).min(ENCODED_WORD_MAX);
            let mut taken = fitting(rest, room, base64);
            if taken < rest.len() && room < ENCODED_WORD_WORTHWHILE {
                self.fold();
                taken = fitting(rest, ENCODED_WORD_MAX, base64);
            }
            if self.space {
                self.out.push(b' ');
                self.space = false;
            }
            let (piece, later) = rest.split_at(taken);
            write_encoded_word(self.out, piece, base64);
            rest = later;
            if !rest.is_empty() {
                self.fold();
            }
        }
    }

    /// `name <address>`, and a comma if another one follows.
    fn mailbox(&mut self, mailbox: &Mailbox, more: bool) {
        let address = clean(&mailbox.address).replace(['<', '>'], "");
        let comma = if more { "," } else { "" };
        let name = mailbox.name.as_deref().map(clean);
        let Some(name) = name.as_deref().map(str::trim).filter(|name| !name.is_empty()) else {
            self.word(format!("{address}{comma}").as_bytes(), 0);
            self.space = true;
            return;
        };
        let angled = format!("<{address}>{comma}");
        match phrase(name) {
            // A name and its address stay on one line if one line can hold them.
            Some(ready) if ready.len() + angled.len() + 2 <= LINE_SOFT_MAX => self.word(&ready, 1 + angled.len()),
            Some(ready) => self.word(&ready, 0),
            None => self.encoded_words(name),
        }
        self.space = true;
        self.word(angled.as_bytes(), 0);
        self.space = true;
    }
}

/// Control characters never reach the wire: they become spaces.
fn clean(value: &str) -> std::borrow::Cow<'_, str> {
    if is_one_line(value) {
        std::borrow::Cow::Borrowed(value)
    } else {
        std::borrow::Cow::Owned(value.replace(char::is_control, " "))
    }
}

/// From the first to behind the last word that cannot stand as it is: not ASCII, looks like an encoded-word, or too long.
fn encoding_span(value: &str) -> Option<(usize, usize)> {
    // 64 for the name of the field, 2 for colon and space.
    const WORD_MAX: usize = LINE_HARD_MAX - HEADER_NAME_MAX - 2;
    if value.is_ascii() && !value.contains("=?") && value.len() <= WORD_MAX {
        return None;
    }
    let mut span = None;
    let mut position = 0;
    for word in value.split(' ') {
        let end = position + word.len();
        if !word.is_ascii() || word.contains("=?") || word.len() > WORD_MAX {
            span = Some((span.map_or(position, |(first, _)| first), end));
        }
        position = end + 1;
    }
    // A long row of spaces has no place to fold: encode everything.
    if value.contains("  ") && value.len() > WORD_MAX {
        return Some((0, value.len()));
    }
    // Spaces beside an encoded-word are safe only when there is one of them.
    span.map(|(first, last)| {
        let lonely_before = first == 0 || !value[..first - 1].ends_with(' ');
        let lonely_after = last == value.len() || !value[last + 1..].starts_with(' ');
        (
            if lonely_before { first } else { 0 },
            if lonely_after { last } else { value.len() },
        )
    })
}

/// Which of the two encodings is shorter: Q keeps Latin text readable, B is right for other scripts.
fn prefers_base64(run: &str) -> bool {
    let escaped = run.bytes().filter(|byte| *byte != b' ' && !is_q_safe(*byte)).count();
    escaped * 6 > run.len() * 2
}

/// Characters that Q may leave alone everywhere, display names included (RFC 2047, 5 (3)).
fn is_q_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'!' | b'*' | b'+' | b'-' | b'/')
}

/// How many bytes of `rest`, in whole characters, fit into an encoded-word of `room` characters.
fn fitting(rest: &str, room: usize, base64: bool) -> usize {
    let Some(room) = room.checked_sub("=?utf-8?q??=".len()) else {
        return 0;
    };
    let mut taken = 0;
    let mut used = 0;
    for character in rest.chars() {
        let next = taken + character.len_utf8();
        used = if base64 {
            next.div_ceil(3) * 4
        } else {
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).bytes();
            used + bytes
                .map(|byte| if byte == b' ' || is_q_safe(byte) { 1 } else { 3 })
                .sum::<usize>()
        };
        if used > room {
            break;
        }
        taken = next;
    }
    taken
}

fn write_encoded_word(out: &mut Vec<u8>, piece: &str, base64: bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if base64 {
        out.extend_from_slice(b"=?utf-8?b?");
        out.extend_from_slice(BASE64.encode(piece).as_bytes());
    } else {
        out.extend_from_slice(b"=?utf-8?q?");
        for byte in piece.bytes() {
            match byte {
                b' ' => out.push(b'_'),
                byte if is_q_safe(byte) => out.push(byte),
                byte => out.extend_from_slice(&[b'=', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
            }
        }
    }
    out.extend_from_slice(b"?=");
}

/// A display name as atoms or as a quoted-string; none when it needs encoded-words.
fn phrase(name: &str) -> Option<Vec<u8>> {
    let atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    if !name.is_ascii() || name.contains("=?") || name.len() > QUOTED_NAME_MAX {
        return None;
    }
    if !name.contains("  ") && name.bytes().all(|byte| atom(byte) || byte == b' ') {
        return Some(name.as_bytes().to_vec());
    }
    let mut quoted = Vec::with_capacity(name.len() + 4);
    quoted.push(b'"');
    for byte in name.bytes() {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(byte);
    }
    quoted.push(b'"');
    Some(quoted)
}

#[cfg(test)]
mod tests;
