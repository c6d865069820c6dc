//! Reading our own answers: which digit decides, and does the connection close.
//!
//! Takes the bytes of an answer, usual or scripted, however odd; gives what a receiver means by it. Never does I/O.

/// The first digit of the answer's last line, or 0 when that line begins with no digit. Blank lines do not count.
pub(crate) fn digit(answer: &[u8]) -> u8 {
    let filled = |line: &&[u8]| !line.trim_ascii().is_empty();
    let last = answer.split(|byte| *byte == b'\n').rfind(filled);
    match last.and_then(|line| line.first()) {
        Some(byte) if byte.is_ascii_digit() => byte - b'0',
        _ => 0,
    }
}

/// Whether the answer says that the connection closes.
pub(crate) fn closes(answer: &[u8]) -> bool {
    answer.starts_with(b"421")
}

/// Fills `{name}` placeholders of a reply text and gives its lines CR LF ends.
pub(crate) fn render(text: &str, values: &[(&str, &str)]) -> Vec<u8> {
    let mut filled = text.to_owned();
    for (name, value) in values {
        if filled.contains('{') {
            filled = filled.replace(&format!("{{{name}}}"), value);
        }
    }
    let mut bytes = Vec::with_capacity(filled.len() + 8);
    for line in filled.lines() {
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_decides_what_an_answer_means() {
        for (answer, expect) in [
            (&b"250 ok\r\n"[..], 2),
            (b"250-ok\r\n451 hmm\r\n", 4),
            (b"\r\n250 late\r\n", 2),
            (b"250\n", 2),
            (b"OK queued\r\n", 0),
            (b"", 0),
        ] {
            assert_eq!(digit(answer), expect, "{:?}", String::from_utf8_lossy(answer));
        }
    }

    #[test]
    fn placeholders_are_filled_and_lines_get_their_ends() {
        let got = render("421-no {ip}\n421 {other}", &[("ip", "127.0.0.1")]);
        assert_eq!(got, b"421-no 127.0.0.1\r\n421 {other}\r\n");
    }
}
