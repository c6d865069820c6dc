//! Reads replies from bytes, however they are cut and however odd they are.
//!
//! Takes chunks, gives a code, an enhanced code and text. Never panics, never keeps more than its caps, looks at each byte
//! once. What counts is the code: after the final dot a reply we cannot read is a message we may send twice, so whatever
//! still has a code is a reply (marked odd), and only what has none is a failure.
//!
//! | what comes | what it is |
//! |---|---|
//! | bytes that are not UTF-8, a line without CR, an over-long line | the reply, odd |
//! | a code without text | the reply |
//! | up to four blank lines before it | the reply, odd |
//! | lines with different codes | the last line's code, odd |
//! | a line without a code inside a multi-line reply | text, odd |
//! | more than 64 KiB or 512 lines | the first line's code, odd; the connection must be closed |
//! | a first line without a code | a failure |

use crate::domain::{EnhancedCode, Reply};
use crate::sabotage::{self, Bug};

/// Most bytes of one reply.
const REPLY_BYTES_MAX: usize = 64 * 1024;
/// Most lines of one reply, blank ones included.
const LINES_MAX: usize = 512;
/// Most bytes of a line that are kept; the rest is read and dropped.
const LINE_BYTES_MAX: usize = 2 * 1024;
/// Most blank lines that are skipped before a reply.
const BLANK_LINES_MAX: usize = 4;
/// Most bytes of text in a [`Reply`].
const TEXT_BYTES_MAX: usize = 2 * 1024;

/// How far a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Partial,
    /// It is complete.
    Complete,
    /// It is no reply: [`ReplyParser::complaint`] says why.
    Broken,
}

/// Reads one reply after the other; [`ReplyParser::reset`] between them.
#[derive(Debug, Default)]
pub struct ReplyParser {
    /// A line that has not ended yet.
    line: Vec<u8>,
    /// Text of the lines so far, each ended by a line feed.
    text: Vec<u8>,
    bytes: usize,
    lines: usize,
    blank_lines: usize,
    first_code: u16,
    code: u16,
    enhanced: Option<EnhancedCode>,
    odd: bool,
    overflowed: bool,
}

impl ReplyParser {
    /// Forgets everything but its memory.
    pub fn reset(&mut self) {
        let (mut line, mut text) = (std::mem::take(&mut self.line), std::mem::take(&mut self.text));
        line.clear();
        text.clear();
        *self = Self {
            line,
            text,
            ..Self::default()
        };
    }

    /// Reads until the reply ends; says how many bytes of `input` belong to it.
    pub fn feed(&mut self, input: &[u8]) -> (usize, Progress) {
        let mut used = 0;
        while used < input.len() {
            let rest = &input[used..];
            let room = REPLY_BYTES_MAX - self.bytes;
            if room == 0 || self.lines == LINES_MAX {
                return (used, self.overflow());
            }
            let rest = &rest[..rest.len().min(room)];
            let Some(end) = memchr::memchr(b'\n', rest) else {
                self.bytes += rest.len();
                used += rest.len();
                self.keep(rest);
                continue;
            };
            self.bytes += end + 1;
            self.lines += 1;
            used += end + 1;
            let progress = if self.line.is_empty() && end <= LINE_BYTES_MAX {
                self.end_line(&rest[..end])
            } else {
                self.keep(&rest[..end]);
                let line = std::mem::take(&mut self.line);
                let progress = self.end_line(&line);
                self.line = line;
                self.line.clear();
                progress
            };
            if progress != Progress::Partial {
                return (used, progress);
            }
        }
        (used, Progress::Partial)
    }

    /// The stream ended. A last line that has a code and a blank behind it was a reply, but for its end.
    pub fn end_of_stream(&mut self) -> Progress {
        let line = std::mem::take(&mut self.line);
        match read_prefix(&line) {
            Some((_, Ending::Text | Ending::Tab)) => {
                self.odd = true;
                self.end_line(&line)
            }
            _ => Progress::Broken,
        }
    }

    /// Whether more than blank lines was read.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.first_code != 0 || !self.line.trim_ascii().is_empty()
    }

    /// The code of the complete reply, 200 to 599.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Whether the reply was cut off, so that what follows on this connection cannot be understood.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// The complete reply.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let (text, clean) = readable(&self.text);
        Reply {
            code: self.code,
            enhanced: self.enhanced,
            text,
            odd: self.odd || !clean,
        }
    }

    /// The lines of the complete reply without code and separator.
    pub fn text_lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split(|byte| *byte == b'\n')
    }

    /// What came instead of a reply, for a log or an event.
    #[must_use]
    pub fn complaint(&self) -> String {
        if self.blank_lines > BLANK_LINES_MAX {
            return "only blank lines".to_owned();
        }
        let seen = if self.text.is_empty() { &self.line } else { &self.text };
        let (mut text, _) = readable(seen);
        text.truncate(text.floor_char_boundary(200));
        format!("no code in {text:?}")
    }

    fn keep(&mut self, part: &[u8]) {
        let room = LINE_BYTES_MAX - self.line.len();
        self.odd |= part.len() > room;
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    /// One line, without its line feed.
    fn end_line(&mut self, line: &[u8]) -> Progress {
        if sabotage::is(Bug::ReplyAsUtf8) && std::str::from_utf8(line).is_err() {
            return Progress::Broken;
        }
        let content = line.trim_ascii_end();
        let carriage_returns = line.iter().rev().take_while(|byte| **byte == b'\r').count();
        // A line that was too long to be kept lost its CR with the rest; it is odd already.
        self.odd |= carriage_returns != 1;
        if content.is_empty() && self.first_code == 0 {
            self.odd = true;
            self.blank_lines += 1;
            return if self.blank_lines > BLANK_LINES_MAX {
                Progress::Broken
            } else {
                Progress::Partial
            };
        }
        match read_prefix(content) {
            Some((code, ending)) => {
                self.take_code(code);
                self.odd |= ending == Ending::Tab;
                self.take_text(content.get(4..).unwrap_or_default());
                if ending == Ending::More {
                    Progress::Partial
                } else {
                    Progress::Complete
                }
            }
            None if self.first_code == 0 => {
                self.text.extend_from_slice(content);
                Progress::Broken
            }
            None => {
                self.odd = true;
                self.take_text(content);
                Progress::Partial
            }
        }
    }

    fn take_code(&mut self, code: u16) {
        if self.first_code == 0 {
            self.first_code = code;
        } else if code != self.code {
            // Another answer than before: what belonged to the old code goes with it.
            self.odd = true;
            self.enhanced = None;
        }
        self.code = code;
    }

    fn take_text(&mut self, text: &[u8]) {
        let mut text = text.trim_ascii_start();
        if let Some((enhanced, rest)) = read_enhanced(text) {
            let known = *self.enhanced.get_or_insert(enhanced);
            if known == enhanced {
                text = rest;
            }
        }
        self.text.extend_from_slice(text);
        self.text.push(b'\n');
    }

    /// Too much: the first code decides, if there is one.
    fn overflow(&mut self) -> Progress {
        if self.first_code == 0 {
            let line = std::mem::take(&mut self.line);
            let Some((code, _)) = read_prefix(&line) else {
                self.line = line;
                return Progress::Broken;
            };
            self.take_code(code);
            self.take_text(line.get(4..).unwrap_or_default());
        }
        self.code = self.first_code;
        self.odd = true;
        self.overflowed = true;
        Progress::Complete
    }
}

/// What stands behind a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Nothing: the last line.
    Nothing,
    /// A blank: the last line, with text.
    Text,
    /// A tab, where a blank should be.
    Tab,
    /// A hyphen: more lines follow.
    More,
}

fn read_prefix(line: &[u8]) -> Option<(u16, Ending)> {
    let digits = line.get(..3)?;
    if !matches!(digits[0], b'2'..=b'5') || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits
        .iter()
        .fold(0, |code: u16, digit| code * 10 + u16::from(digit - b'0'));
    let ending = match line.get(3) {
        None => Ending::Nothing,
        Some(b' ') => Ending::Text,
        Some(b'\t') => Ending::Tab,
        Some(b'-') => Ending::More,
        Some(_) => return None,
    };
    Some((code, ending))
}

/// An enhanced status code at the start of `text`, and what follows it. Some appliances put a `#` before it.
fn read_enhanced(text: &[u8]) -> Option<(EnhancedCode, &[u8])> {
    let text = text.strip_prefix(b"#").unwrap_or(text);
    let end = text
        .iter()
        .take(10)
        .position(|byte| !byte.is_ascii_digit() && *byte != b'.')
        .unwrap_or(text.len().min(10));
    let (code, rest) = text.split_at(end);
    if !matches!(rest.first(), None | Some(b' ' | b'\t' | b':')) {
        return None;
    }
    let code = std::str::from_utf8(code).ok()?.parse().ok()?;
    Some((code, rest.get(1..).unwrap_or_default().trim_ascii_start()))
}

/// Text that can be shown: one line, no control characters, at most [`TEXT_BYTES_MAX`]; and whether it was UTF-8.
fn readable(bytes: &[u8]) -> (String, bool) {
    let mut text = String::with_capacity(bytes.len().min(TEXT_BYTES_MAX));
    let mut clean = true;
    'chunks: for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            // Line feeds between lines among them.
            let character = if character.is_control() { ' ' } else { character };
            if text.len() + character.len_utf8() > TEXT_BYTES_MAX {
                break 'chunks;
            }
            text.push(character);
        }
        if !chunk.invalid().is_empty() {
            clean = false;
            if text.len() + char::REPLACEMENT_CHARACTER.len_utf8() > TEXT_BYTES_MAX {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text.truncate(text.trim_end().len());
    (text, clean)
}

#[cfg(test)]
mod tests;
