//! Which header fields a caller may add to a mail, and what may stand in them.
//!
//! Takes a name and a value, gives a refusal or nothing. The list of reserved names keeps exactly one `From`, `Date` and
//! `Message-ID` in every mail, and keeps our own trace, MIME and signature fields ours. Never folds or encodes: `mail/` does.

use std::fmt;

/// Longest name that is taken; real ones have less than 40 characters.
pub const NAME_BYTES_MAX: usize = 76;
/// Longest value that is taken: what fits one line of RFC 5322, section 2.1.1.
pub const VALUE_BYTES_MAX: usize = 998;

/// Names that only we write. In lower case.
const RESERVED: [&str; 15] = [
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "subject",
    "date",
    "message-id",
    "return-path",
    "received",
    "received-spf",
    "mime-version",
    "delivered-to",
    "authentication-results",
];

/// Families of names that only we write. In lower case.
const RESERVED_PREFIXES: [&str; 5] = ["dkim-", "arc-", "content-", "resent-", "domainkey-"];

/// Why a header field is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderRefusal {
    /// Not a field name: RFC 5322 allows visible ASCII without the colon.
    Name,
    /// We write this one.
    Reserved,
    /// CR, LF, NUL or another control character in the value.
    Control,
    /// Longer than [`VALUE_BYTES_MAX`].
    Long,
}

impl HeaderRefusal {
    /// Stable code for API problems.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Name => "invalid_header_name",
            Self::Reserved => "reserved_header",
            Self::Control => "invalid_character",
            Self::Long => "too_long",
        }
    }
}

impl fmt::Display for HeaderRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => write!(
                f,
                "A header name is 1 to {NAME_BYTES_MAX} visible ASCII characters without ':'."
            ),
            Self::Reserved => f.write_str("This header is written by Posthaste; use the field of the call instead."),
            Self::Control => f.write_str("CR, LF, NUL and other control characters are not allowed here."),
            Self::Long => write!(f, "A header value has at most {VALUE_BYTES_MAX} bytes."),
        }
    }
}

/// Whether a caller may add this field.
pub fn check(name: &str, value: &str) -> Result<(), HeaderRefusal> {
    let token =
        (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    if !token {
        return Err(HeaderRefusal::Name);
    }
    let lower = name.to_ascii_lowercase();
    let family = RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
    if family || RESERVED.contains(&lower.as_str()) {
        return Err(HeaderRefusal::Reserved);
    }
    if value.chars().any(is_forbidden) {
        return Err(HeaderRefusal::Control);
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(HeaderRefusal::Long);
    }
    Ok(())
}

/// Whether a character must not stand in anything that becomes part of a header: controls, and the two Unicode line ends
/// that some programs treat as line feeds.
#[must_use]
pub fn is_forbidden(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_callers_need_and_nothing_that_is_ours() {
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        let table = [
            ("X-Entity-Ref-ID", "42", Ok(())),
            ("List-Unsubscribe", "<https://example.com/u>", Ok(())),
            ("In-Reply-To", "<a@b>", Ok(())),
            ("X-Name", "Grüße an alle", Ok(())),
            ("", "x", Err(HeaderRefusal::Name)),
            ("X Y", "x", Err(HeaderRefusal::Name)),
            ("X:Y", "x", Err(HeaderRefusal::Name)),
            ("X\r\nBcc", "x", Err(HeaderRefusal::Name)),
            ("Ü", "x", Err(HeaderRefusal::Name)),
            ("BCC", "x", Err(HeaderRefusal::Reserved)),
            ("date", "x", Err(HeaderRefusal::Reserved)),
            ("Message-Id", "x", Err(HeaderRefusal::Reserved)),
            ("DKIM-Signature", "x", Err(HeaderRefusal::Reserved)),
            ("Content-Type", "text/html", Err(HeaderRefusal::Reserved)),
            ("Resent-From", "x", Err(HeaderRefusal::Reserved)),
            ("X-A", "a\r\nBcc: b@c", Err(HeaderRefusal::Control)),
            ("X-A", "a\nb", Err(HeaderRefusal::Control)),
            ("X-A", "a\0b", Err(HeaderRefusal::Control)),
            ("X-A", "a\u{2028}b", Err(HeaderRefusal::Control)),
            ("X-A", "a\u{85}b", Err(HeaderRefusal::Control)),
            ("X-A", long.as_str(), Err(HeaderRefusal::Long)),
        ];
        for (name, value, expect) in table {
            assert_eq!(check(name, value), expect, "{name:?}: {value:?}");
        }
    }
}
