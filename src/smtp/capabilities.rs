//! What the other side offered in its answer to EHLO (RFC 5321, 4.1.1.1).
//!
//! Takes the lines of the answer, gives flags. Never guesses: what was not offered is off, and an answer before STARTTLS
//! says nothing about the session after it.

/// The extensions we care about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// RFC 2920: commands may be sent in groups.
    pub pipelining: bool,
    /// RFC 1870: sizes may be declared, and larger messages than this are refused; 0 means that there is no fixed limit.
    pub size: Option<u64>,
    /// RFC 6531: addresses may contain more than ASCII.
    pub smtputf8: bool,
    /// RFC 6152. Noted only: we make 7-bit mail.
    pub eight_bit_mime: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 4954 with PLAIN.
    pub auth_plain: bool,
    /// RFC 4954 with LOGIN.
    pub auth_login: bool,
    /// RFC 2034. Noted only: enhanced codes are read wherever they stand.
    pub enhanced_status_codes: bool,
    /// RFC 3030. Noted only: we send DATA.
    pub chunking: bool,
}

impl Capabilities {
    /// Reads the lines of a 250 to EHLO, without their codes. The first one is a greeting.
    #[must_use]
    pub fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut all = Self::default();
        for line in lines.skip(1) {
            all.take(&String::from_utf8_lossy(line).to_ascii_uppercase());
        }
        all
    }

    /// Whether a message of `octets` is larger than what is accepted.
    #[must_use]
    pub fn refuses_size(&self, octets: u64) -> Option<u64> {
        self.size.filter(|limit| *limit != 0 && octets > *limit)
    }

    fn take(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        match words.next().unwrap_or_default() {
            "PIPELINING" => self.pipelining = true,
            // A limit that is no number, or none that fits, is no limit.
            "SIZE" => self.size = Some(words.next().and_then(|limit| limit.parse().ok()).unwrap_or(0)),
            "SMTPUTF8" => self.smtputf8 = true,
            "8BITMIME" => self.eight_bit_mime = true,
            "STARTTLS" => self.starttls = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "CHUNKING" => self.chunking = true,
            "AUTH" => self.take_mechanisms(words),
            // As servers for very old clients say it.
            first => {
                if let Some(mechanism) = first.strip_prefix("AUTH=") {
                    self.take_mechanisms(std::iter::once(mechanism).chain(words));
                }
            }
        }
    }

    fn take_mechanisms<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names {
            self.auth_plain |= name == "PLAIN";
            self.auth_login |= name == "LOGIN";
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, expect: Capabilities) {
        assert_eq!(
            Capabilities::read(answer.split('\n').map(str::as_bytes)),
            expect,
            "{answer:?}"
        );
    }

    #[test]
    fn keywords_count_in_any_case_and_the_greeting_does_not() {
        check(
            "SIZE PIPELINING at your service\npipelining\nSize 1000\nAuth PLAIN login\nSTARTTLS\nDSN",
            Capabilities {
                pipelining: true,
                size: Some(1000),
                auth_plain: true,
                auth_login: true,
                starttls: true,
                ..Capabilities::default()
            },
        );
        check("PIPELINING", Capabilities::default());
        check(
            "mx\nAUTH=LOGIN CRAM-MD5",
            Capabilities {
                auth_login: true,
                ..Capabilities::default()
            },
        );
    }

    #[test]
    fn a_size_that_is_missing_zero_or_no_number_is_no_limit() {
        for (line, limit) in [
            ("SIZE", Some(0)),
            ("SIZE 0", Some(0)),
            ("SIZE many", Some(0)),
            ("SIZE 99999999999999999999999", Some(0)),
            ("SIZE 10", Some(10)),
            ("SIZES 10", None),
        ] {
            let read = Capabilities::read(["mx", line].into_iter().map(str::as_bytes));
            assert_eq!(read.size, limit, "{line}");
            assert_eq!(read.refuses_size(11), limit.filter(|limit| *limit == 10), "{line}");
            assert_eq!(read.refuses_size(10), None, "{line}");
        }
    }
}
