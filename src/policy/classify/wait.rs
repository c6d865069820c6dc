//! The time that the other side asked for, read out of its words.
//!
//! Takes the text of a reply ("Greylisted, please try again in 5 minutes"), gives how long to wait. Never believes more
//! than a day and never less than ten seconds: the text is outside input.

use std::time::Duration;

use regex::bytes::{Captures, Regex};

/// The shortest wait that is believed.
pub const WAIT_MIN: Duration = Duration::from_secs(10);
/// The longest wait that is believed.
pub const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// A word that asks for a wait, at most 40 other characters, then `hh:mm:ss` or a number with its unit.
const PATTERN: &str = r"(?i-u)\b(?:again|retry|retrying|resend|back|wait|grey-?list(?:ed|ing)?|gray-?list(?:ed|ing)?|defer(?:red)?|delayed|blocked|unblocked|limited)\b[^0-9]{0,40}(?:(?P<h>[0-9]{1,2}):(?P<m>[0-9]{2}):(?P<s>[0-9]{2})|(?P<n>[0-9]{1,6}) ?(?P<unit>s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?))\b";

/// Finds waits in texts.
#[derive(Debug)]
pub(super) struct WaitReader {
    pattern: Regex,
}

impl WaitReader {
    pub(super) fn new() -> Self {
        Self {
            pattern: Regex::new(PATTERN).expect("the pattern is a constant that tests compile"),
        }
    }

    /// The wait that `text` asks for, if it names one, within [`WAIT_MIN`] and [`WAIT_MAX`].
    pub(super) fn read(&self, text: &[u8]) -> Option<Duration> {
        if !text.iter().any(u8::is_ascii_digit) {
            return None;
        }
        let captures = self.pattern.captures(text)?;
        let number = |name: &str| number(&captures, name);
        let seconds = match captures.name("unit") {
            Some(unit) => {
                let factor = match unit.as_bytes()[0].to_ascii_lowercase() {
                    b's' => 1,
                    b'm' => 60,
                    _ => 3600,
                };
                number("n")?.saturating_mul(factor)
            }
            None => number("h")? * 3600 + number("m")? * 60 + number("s")?,
        };
        Some(Duration::from_secs(seconds).clamp(WAIT_MIN, WAIT_MAX))
    }
}

/// The digits of a group as a number; they are at most six.
fn number(captures: &Captures<'_>, name: &str) -> Option<u64> {
    std::str::from_utf8(captures.name(name)?.as_bytes()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_named_wait_is_read_and_bounded() {
        let reader = WaitReader::new();
        for (text, seconds) in [
            ("Greylisted, please try again in 10 minutes", Some(600)),
            ("Please retry after 300 seconds", Some(300)),
            ("Greylisting in action, please come back in 00:04:59", Some(299)),
            ("greylisted for 300s", Some(300)),
            ("too many messages, wait 1 hour", Some(3600)),
            ("Try again in 5 mins.", Some(300)),
            ("deferred, retry in 3 seconds", Some(10)),
            ("try again in 99 hours", Some(86_400)),
            ("try again in 999999 hours", Some(86_400)),
            ("try again later", None),
            ("try again in a few minutes", None),
            ("you sent 100 messages in 60 minutes", None),
            ("retry: limit is 20 messages per 5 minutes", None),
            ("try again, code 5 mail", None),
            ("try again after 1234567 seconds", None),
            ("", None),
        ] {
            assert_eq!(
                reader.read(text.as_bytes()),
                seconds.map(Duration::from_secs),
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_a_wait_within_bounds(text in "(try again in |retry |\\PC{0,10})[0-9:]{0,12} ?(s|minutes|h|\\PC{0,5})") {
            if let Some(wait) = WaitReader::new().read(text.as_bytes()) {
                prop_assert!((WAIT_MIN..=WAIT_MAX).contains(&wait));
            }
        }
    }
}
