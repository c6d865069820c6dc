//! Which Sources are warmed up, as the file says it.
//!
//! Takes the sources as written and the ladders; gives their birthdays. A source without one was at work before and is warm.

use serde::{Deserialize, Deserializer, de};

use super::raw;
use super::settings::{ConfigError, unfit};
use crate::actors::warmups::WarmupSettings;
use crate::domain::SourceId;
use crate::policy::warmup_ladder::Ladders;

const SECONDS_OF_A_DAY: i64 = 24 * 3600;

/// A date, in days since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Birthday(u32);

impl<'de> Deserialize<'de> for Birthday {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let day = || {
            let date: jiff::civil::Date = text.parse().ok()?;
            let noon = date.at(12, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
            u32::try_from(noon.timestamp().as_second() / SECONDS_OF_A_DAY).ok()
        };
        let wrong = || de::Error::custom(format!("{text:?} is not a date such as 2026-11-23"));
        day().map(Self).ok_or_else(wrong)
    }
}

/// Whether a source is warmed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum WarmupWord {
    /// From its birthday on, until the end of each ladder.
    Auto,
    /// It has no cap.
    Off,
    /// It is warm and has no cap.
    Done,
}

/// The warm-ups that the file asks for.
pub(super) fn warmup(sources: &[raw::Source], ladders: Ladders) -> Result<WarmupSettings, ConfigError> {
    let mut settings = WarmupSettings {
        ladders,
        ..WarmupSettings::default()
    };
    for (index, source) in sources.iter().enumerate() {
        match (source.warmup, source.born) {
            (Some(WarmupWord::Auto) | None, Some(Birthday(day))) => {
                settings.born.insert(SourceId::from(&*source.id), day);
            }
            (Some(WarmupWord::Auto), None) => {
                return Err(unfit(
                    format!("sources[{index}].warmup"),
                    "auto needs born: the day it began to send",
                ));
            }
            (Some(WarmupWord::Off | WarmupWord::Done) | None, _) => {}
        }
    }
    Ok(settings)
}
