//! Mail addresses as callers write them: `a@b`, `Name <a@b>`, `"Last, First" <a@b>`.
//!
//! Takes text, gives a Mailbox whose domain is an A-label in lower case (IDNA, UTS 46) and whose local part is as written.
//! What an address is, `lettre::Address` decides; on top of it we refuse what no customer can mean: address literals,
//! domains of one label, lists of addresses in one string.

use std::fmt;

use idna::AsciiDenyList;
use lettre::Address;

use super::walk::is_forbidden;
use crate::domain::Mailbox;

/// Longest address (RFC 5321, section 4.5.3.1.3, without its angle brackets).
const ADDRESS_BYTES_MAX: usize = 254;
/// Longest display name that is taken.
const NAME_BYTES_MAX: usize = 255;
/// Longest domain and longest label (RFC 1035).
const DOMAIN_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Why text is no mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressError {
    /// Control characters, CR, LF or NUL in it.
    Control,
    /// Not `local@domain`.
    Syntax,
    /// The domain is no name that mail can go to.
    Domain,
    /// Longer than allowed.
    Long,
    /// More than one address, or a name with an unquoted comma.
    List,
}

impl AddressError {
    /// Stable code for API problems.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Control => "invalid_character",
            _ => "invalid_email",
        }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "CR, LF, NUL and other control characters are not allowed here.",
            Self::Syntax => "This is not an email address.",
            Self::Domain => "This is not an email address: its domain is not one that mail can go to.",
            Self::Long => "An address has at most 254 bytes, a name at most 255.",
            Self::List => "One address only; a name with a comma goes into quotes.",
        })
    }
}

/// A mailbox with or without a display name.
pub fn parse_mailbox(text: &str) -> Result<Mailbox, AddressError> {
    if text.chars().any(is_forbidden) {
        return Err(AddressError::Control);
    }
    let text = text.trim();
    let Some(before) = text.strip_suffix('>') else {
        let address = parse_address(text).map_err(|error| match error {
            AddressError::Syntax if text.contains(',') => AddressError::List,
            other => other,
        })?;
        return Ok(Mailbox { name: None, address });
    };
    let (name, address) = before.rsplit_once('<').ok_or(AddressError::Syntax)?;
    Ok(Mailbox {
        name: parse_name(name.trim())?,
        address: parse_address(address.trim())?,
    })
}

/// A bare address.
pub fn parse_address(text: &str) -> Result<String, AddressError> {
    let (local, domain) = text.rsplit_once('@').ok_or(AddressError::Syntax)?;
    if local.chars().any(is_forbidden) {
        return Err(AddressError::Control);
    }
    let domain = domain_to_ascii(domain).ok_or(AddressError::Domain)?;
    if local.len() + 1 + domain.len() > ADDRESS_BYTES_MAX {
        return Err(AddressError::Long);
    }
    let address = Address::new(local, &domain).map_err(|_| AddressError::Syntax)?;
    Ok(address.to_string())
}

/// A domain name as it is stored and compared: A-labels, lower case, no dot at the end. None for address literals, single
/// labels and whatever else mail cannot go to.
#[must_use]
pub fn domain_to_ascii(text: &str) -> Option<String> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'));
    let ascii = if plain && !text.contains("xn--") {
        text.to_owned()
    } else {
        let converted = idna::domain_to_ascii_cow(text.as_bytes(), AsciiDenyList::STD3).ok()?;
        converted.into_owned()
    };
    let labels_fit = ascii
        .split('.')
        .all(|label| (1..=LABEL_BYTES_MAX).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-'));
    let (_, top) = ascii.rsplit_once('.')?;
    let numeric = top.bytes().all(|byte| byte.is_ascii_digit());
    (labels_fit && !numeric && ascii.len() <= DOMAIN_BYTES_MAX).then_some(ascii)
}

/// A display name, out of its quotes.
fn parse_name(text: &str) -> Result<Option<String>, AddressError> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(AddressError::Long);
    }
    let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(quoted) = quoted.filter(|_| text.len() >= 2) else {
        return match text {
            bare if bare.contains(',') => Err(AddressError::List),
            bare if bare.contains(['<', '>', '"']) => Err(AddressError::Syntax),
            bare => Ok(Some(bare.to_owned())),
        };
    };
    let mut name = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => name.push(characters.next().ok_or(AddressError::Syntax)?),
            '"' => return Err(AddressError::Syntax),
            other => name.push(other),
        }
    }
    let name = name.trim();
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expect: Result<(Option<&str>, &str), AddressError>) {
        let got = parse_mailbox(text);
        let got = got
            .as_ref()
            .map(|mailbox| (mailbox.name.as_deref(), mailbox.address.as_str()));
        assert_eq!(got.map_err(|error| *error), expect, "{text:?}");
    }

    #[test]
    fn reads_the_forms_that_callers_write() {
        check("jacky@example.com", Ok((None, "jacky@example.com")));
        check(" <jacky@example.com> ", Ok((None, "jacky@example.com")));
        check("Acme <no-reply@acme.com>", Ok((Some("Acme"), "no-reply@acme.com")));
        check("\"Doe, \\\"J\\\"\" <j@x.org>", Ok((Some("Doe, \"J\""), "j@x.org")));
        check("李雷 <li@例え.jp>", Ok((Some("李雷"), "li@xn--r8jz45g.jp")));
        check("MiXed@EXAMPLE.Com", Ok((None, "MiXed@example.com")));
        check("a+b.c@sub.example.co.uk", Ok((None, "a+b.c@sub.example.co.uk")));
        check("\"odd one\"@example.com", Ok((None, "\"odd one\"@example.com")));
        check("a@b@c.com <x@example.com>", Ok((Some("a@b@c.com"), "x@example.com")));
        check("jörg@example.com", Ok((None, "jörg@example.com")));
    }

    #[test]
    fn refuses_what_is_no_single_deliverable_address() {
        for text in [
            "",
            "nope",
            "@example.com",
            "a b@example.com",
            "a@@example.com",
            "x>",
            "<a@b.c",
            "a..b@example.com",
        ] {
            check(text, Err(AddressError::Syntax));
        }
        for text in [
            "a@localhost",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "a@",
            "a@-x.com",
            "a@x-.com",
            "a@x..com",
            "a@.com",
            "a@exa mple.com",
            "a@foo_bar.com",
            "a@x.com.",
        ] {
            check(text, Err(AddressError::Domain));
        }
        for text in [
            "a@x.com\r\nBcc: b@x.com",
            "N\nx <a@x.com>",
            "a\0@x.com",
            "a@x.com\u{2028}",
        ] {
            check(text, Err(AddressError::Control));
        }
        check("a@x.com, b@x.com <c@x.com>", Err(AddressError::List));
        check(&format!("{}@x.com", "a".repeat(65)), Err(AddressError::Syntax));
        check(&format!("a@{}.com", "a".repeat(64)), Err(AddressError::Domain));
        check(&format!("{} <a@x.com>", "n".repeat(256)), Err(AddressError::Long));
        check("\"a\"b\" <a@x.com>", Err(AddressError::Syntax));
        check("\"a\\\" <a@x.com>", Err(AddressError::Syntax));
        check("\" <a@x.com>", Err(AddressError::Syntax));
    }

    proptest! {
        #[test]
        fn whatever_is_taken_can_be_written_and_read_again(text in "[\"<>@,.a-cÜ \\\\\\[\\]-]{0,24}") {
            if let Ok(mailbox) = parse_mailbox(&text) {
                let again = parse_mailbox(&mailbox.address);
                prop_assert_eq!(again.map(|again| again.address), Ok(mailbox.address.clone()));
                prop_assert!(!mailbox.address.contains(['\r', '\n', '\0']));
                prop_assert_eq!(mailbox.domain().to_lowercase(), mailbox.domain());
            }
        }

        #[test]
        fn never_panics(text in ".{0,80}") {
            let _ = parse_mailbox(&text);
        }
    }
}
