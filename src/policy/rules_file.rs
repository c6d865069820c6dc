//! What the files in `rules/` have in common: one way to read them and one kind of error that names rule and line.
//!
//! Takes the text of a file, gives typed records. Never opens a file: the defaults are built in, and `config/` reads others.

use std::time::Duration;

use serde::de::DeserializeOwned;
use thiserror::Error;

/// Largest rules file that is read.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Longest time a rule may name.
pub const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is wrong with a rules file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RulesError {
    /// Not YAML, or not the fields that such a file has; the text names line and column.
    #[error("{0}")]
    Shape(String),
    /// Readable and wrong.
    #[error("line {line}, {name}: {problem}")]
    Rule {
        /// Name of the rule or id of the provider.
        name: String,
        /// Line of the file, from 1; 0 when it is about the file as a whole.
        line: u64,
        /// What to change.
        problem: String,
    },
    /// Larger than [`FILE_BYTES_MAX`].
    #[error("a rules file has at most {FILE_BYTES_MAX} bytes")]
    TooLarge,
}

impl RulesError {
    /// An error in one rule.
    pub(super) fn rule(name: &str, line: u64, problem: impl Into<String>) -> Self {
        Self::Rule {
            name: name.to_owned(),
            line,
            problem: problem.into(),
        }
    }
}

/// Reads a rules file of the form `T`.
pub(super) fn read<T: DeserializeOwned>(yaml: &str) -> Result<T, RulesError> {
    if yaml.len() > FILE_BYTES_MAX {
        return Err(RulesError::TooLarge);
    }
    serde_saphyr::from_str(yaml).map_err(|error| RulesError::Shape(error.to_string()))
}

/// `90s`, `10m`, `2h` or `1d`; above zero and at most [`DURATION_MAX`].
pub(super) fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return None,
    };
    let digits = &text[..text.len() - unit.len_utf8()];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    let duration = Duration::from_secs(number.checked_mul(seconds)?);
    (!duration.is_zero() && duration <= DURATION_MAX).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604_800)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for bad in [
            "",
            "m",
            "10",
            "0s",
            "8d",
            "-1m",
            "+1m",
            "1.5h",
            "1 h",
            "10min",
            "1é",
            "99999999999999999999d",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_file_of_any_size_is_not_read() {
        let text = " ".repeat(FILE_BYTES_MAX + 1);
        assert_eq!(read::<Vec<String>>(&text), Err(RulesError::TooLarge));
    }
}
