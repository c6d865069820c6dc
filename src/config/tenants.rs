//! `tenants:` and `pools:` of the file: who is watched how closely, shares with whom, and sends from where.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};

use super::raw::ByClass;
use super::settings::{ConfigError, unfit};
use super::words::{Positive, word};
use crate::actors::tools::SourceSettings;
use crate::domain::{Class, TenantId};
use crate::policy::engagement::ENGAGED_MAX;
use crate::policy::routing::SHARED_POOL;
use crate::policy::shares::WEIGHT_MAX;
use crate::policy::tenant_policy::{OneTenant, Policy, TenantSettings, Thresholds};

word! {
    /// `tenants.policy`.
    PolicyWord(Policy) { "none" => Policy::None, "standard" => Policy::Standard, "strict" => Policy::Strict, }
}

/// A part of a hundred, above 0 and at most 100.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Percent(f64);

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let percent = f64::deserialize(deserializer)?;
        if !percent.is_finite() || percent <= 0.0 || percent > 100.0 {
            return Err(de::Error::custom(format!(
                "{percent} must be above 0 and at most 100 (per cent)"
            )));
        }
        Ok(Self(percent))
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TwoRates {
    slow: Percent,
    pause: Percent,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTenants {
    policy: PolicyWord,
    bounces: TwoRates,
    complaints: TwoRates,
    sends_min: Positive,
    slow_share: Percent,
    engaged_max: u32,
    each: Vec<RawTenant>,
}

impl Default for RawTenants {
    fn default() -> Self {
        let rates = |slow, pause| TwoRates {
            slow: Percent(slow),
            pause: Percent(pause),
        };
        Self {
            policy: PolicyWord(Policy::Standard),
            bounces: rates(5.0, 10.0),
            complaints: rates(0.1, 0.3),
            sends_min: Positive(200),
            slow_share: Percent(10.0),
            engaged_max: ENGAGED_MAX.try_into().unwrap_or(u32::MAX),
            each: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTenant {
    id: u32,
    #[serde(default)]
    policy: Option<PolicyWord>,
    #[serde(default)]
    weight: Option<Positive>,
    #[serde(default)]
    pool: Option<String>,
    #[serde(default)]
    region: Option<String>,
}

/// What is used of `tenants:`.
pub(super) fn settings(raw: &RawTenants) -> Result<TenantSettings, ConfigError> {
    for (name, rates) in [("bounces", &raw.bounces), ("complaints", &raw.complaints)] {
        if rates.slow.0 > rates.pause.0 {
            return Err(unfit(format!("tenants.{name}"), "slow must not be above pause"));
        }
    }
    let mut each = BTreeMap::new();
    for (index, one) in raw.each.iter().enumerate() {
        if one.weight.is_some_and(|weight| weight.0 > WEIGHT_MAX) {
            let problem = format!("must be at most {WEIGHT_MAX}");
            return Err(unfit(format!("tenants.each[{index}].weight"), &problem));
        }
        let tenant = OneTenant {
            policy: one.policy.map(|word| word.0),
            weight: one.weight.map(|weight| weight.0),
            pool: one.pool.clone(),
            region: one.region.clone(),
        };
        if each.insert(TenantId(one.id), tenant).is_some() {
            return Err(unfit(
                format!("tenants.each[{index}].id"),
                "this tenant stands here twice",
            ));
        }
    }
    Ok(TenantSettings {
        policy: raw.policy.0,
        thresholds: Thresholds {
            bounce_slow: raw.bounces.slow.0 / 100.0,
            bounce_pause: raw.bounces.pause.0 / 100.0,
            complaint_slow: raw.complaints.slow.0 / 100.0,
            complaint_pause: raw.complaints.pause.0 / 100.0,
            sends_min: f64::from(raw.sends_min.0),
            slow_share: raw.slow_share.0 / 100.0,
        },
        each,
        engaged_max: usize::try_from(raw.engaged_max).unwrap_or(usize::MAX),
    })
}

/// The pool of each class, by [`Class::index`], if every pool that is named can carry what is sent to it.
pub(super) fn pools(
    raw: &ByClass<String>,
    tenants: &TenantSettings,
    sources: &[SourceSettings],
) -> Result<[String; 3], ConfigError> {
    let carries = |pool: &str, class: Class| {
        let mut rooms = sources.iter().map(|source| &source.room);
        rooms.any(|room| room.pool == pool && room.classes.contains(&class))
    };
    let pools = [&raw.critical, &raw.transactional, &raw.broadcast].map(Clone::clone);
    for (class, pool) in Class::ALL.into_iter().zip(&pools) {
        if !carries(pool, class) {
            let problem = format!("no source of pool {pool:?} carries class {class}");
            let key = if pool == SHARED_POOL {
                "sources".to_owned()
            } else {
                format!("pools.{class}")
            };
            return Err(unfit(key, &problem));
        }
    }
    for (tenant, one) in &tenants.each {
        let Some(pool) = &one.pool else { continue };
        if let Some(class) = Class::ALL.into_iter().find(|class| !carries(pool, *class)) {
            let problem = format!("no source of pool {pool:?} carries class {class}");
            return Err(unfit(format!("tenants.each: pool of tenant {tenant}"), &problem));
        }
    }
    Ok(pools)
}
