//! The key `health`: how the Sources are looked at, as written and as used.

use std::time::Duration;

use serde::Deserialize;

use super::settings::{ConfigError, unfit};
use super::time::{Time, seconds};
use super::words::DomainName;
use crate::policy::source_health::{Check, HealthSettings};

/// More often would only annoy the lists.
const EVERY_MIN: Duration = Duration::from_secs(60);
/// Lists that may be asked.
const LISTS_MAX: usize = 20;

/// The key as written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHealth {
    every: Time,
    dnsbl: Vec<DomainName>,
    enforce: Vec<String>,
}

impl Default for RawHealth {
    fn default() -> Self {
        Self {
            every: seconds(600),
            dnsbl: ["zen.spamhaus.org", "bl.spamcop.net", "b.barracudacentral.org"]
                .map(|zone| DomainName(zone.to_owned()))
                .to_vec(),
            enforce: vec![Check::Bind.name().to_owned()],
        }
    }
}

impl RawHealth {
    /// What is written, as it is used.
    pub(super) fn settings(&self) -> Result<HealthSettings, ConfigError> {
        if self.every.0 < EVERY_MIN {
            return Err(unfit("health.every".to_owned(), "must be at least 1m"));
        }
        if self.dnsbl.len() > LISTS_MAX {
            return Err(unfit("health.dnsbl".to_owned(), "has at most 20 lists"));
        }
        let check = |name: &String| {
            let names = Check::ALL.map(Check::name).join(", ");
            let problem = format!("{name:?} is none of {names}");
            Check::from_name(name).ok_or_else(|| unfit("health.enforce".to_owned(), &problem))
        };
        Ok(HealthSettings {
            every: self.every.0,
            dnsbl: self.dnsbl.iter().map(|zone| zone.0.clone()).collect(),
            enforced: self.enforce.iter().map(check).collect::<Result<_, _>>()?,
        })
    }
}
