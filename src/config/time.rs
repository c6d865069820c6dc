//! Times as people write them: `500ms`, `30s`, `15m`, `72h`.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A length of time in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub Duration);

/// The longest that makes sense anywhere: a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom(format!("{text:?} is not a time such as 500ms, 30s, 15m or 72h"));
        let time = jiff::SignedDuration::from_str(&text).map_err(|_| wrong())?;
        let time = Duration::try_from(time).map_err(|_| wrong())?;
        if time > LONGEST {
            return Err(de::Error::custom(format!("{text:?} is longer than a year")));
        }
        Ok(Self(time))
    }
}

/// Shorthand for defaults.
pub(super) const fn seconds(seconds: u64) -> Time {
    Time(Duration::from_secs(seconds))
}
