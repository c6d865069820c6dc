//! The ladders that Sources climb while they are warmed up: daily caps, one after the other, by provider.
//!
//! Takes `rules/warmup.yaml` once; gives the ladder of a provider, and of a ladder the cap that follows another one. Never
//! knows what was sent: `warmup` does.

mod lint;

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_saphyr::Spanned;

pub(super) use lint::lint_ladders;

use super::rules_file::{RulesError, read};
use crate::domain::ProviderId;

/// The form of the file that this program reads.
const VERSION: u32 = 1;
/// Steps of one ladder.
const STEPS_MAX: usize = 400;
/// Ladders in a file.
const LADDERS_MAX: usize = 2_000;
/// No cap is larger: beyond it nothing is warmed up any more.
const CAP_MAX: u64 = 1_000_000_000;
/// The least and the most that each step of a ladder may grow by.
const GROWTH: std::ops::RangeInclusive<f64> = 1.05..=2.0;
/// A cap that is no step of its ladder, because a block halved it, grows by this at most.
const GROWTH_BETWEEN_STEPS: f64 = 1.4;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLadders {
    version: u32,
    default: Spanned<RawLadder>,
    sites: Spanned<RawLadder>,
    #[serde(default)]
    providers: HashMap<String, Spanned<RawLadder>>,
}

/// The file in its raw form, with what is wrong about it as a whole.
fn read_raw(yaml: &str) -> Result<RawLadders, RulesError> {
    let raw: RawLadders = read(yaml)?;
    if raw.version != VERSION {
        let problem = format!("is {}, and this program reads {VERSION}", raw.version);
        return Err(RulesError::rule("version", 0, problem));
    }
    if raw.providers.len() > LADDERS_MAX {
        return Err(RulesError::rule("providers", 0, format!("at most {LADDERS_MAX}")));
    }
    Ok(raw)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLadder {
    start: Option<u64>,
    growth: Option<f64>,
    end: Option<u64>,
    steps: Option<Vec<u64>>,
}

/// Daily caps, each larger than the one before. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder(Arc<[u64]>);

impl Ladder {
    /// A ladder of these steps; none unless there is one, they grow, and all are from 1 to a thousand million.
    #[must_use]
    pub fn of(steps: &[u64]) -> Option<Self> {
        let grow = steps.windows(2).all(|pair| pair[0] < pair[1]);
        let within = steps.iter().all(|step| (1..=CAP_MAX).contains(step));
        let fits = !steps.is_empty() && steps.len() <= STEPS_MAX && grow && within;
        fits.then(|| Self(steps.into()))
    }

    /// From `start` to `end`, each step `growth` times the one before and at least one more.
    fn growing(start: u64, growth: f64, end: u64) -> Option<Self> {
        if !GROWTH.contains(&growth) || start == 0 || start > end || end > CAP_MAX {
            return None;
        }
        let (mut steps, mut step) = (Vec::new(), start);
        while step < end && steps.len() < STEPS_MAX {
            steps.push(step);
            step = times(step, growth).max(step + 1);
        }
        steps.push(end);
        Self::of(&steps)
    }

    /// The cap of the first day.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.0.first().copied().unwrap_or(1)
    }

    /// The cap after which the warm-up is done.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.0.last().copied().unwrap_or(1)
    }

    /// The cap that follows a day that went well with this one; none when that was the end.
    #[must_use]
    pub fn above(&self, cap: u64) -> Option<u64> {
        let next = self.0.iter().copied().find(|step| *step > cap)?;
        if self.0.contains(&cap) {
            return Some(next);
        }
        Some(next.min(times(cap, GROWTH_BETWEEN_STEPS).max(cap + 1)))
    }
}

/// A cap times a factor, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "caps are at most a thousand million, factors between 0 and 2"
)]
pub(super) fn times(cap: u64, factor: f64) -> u64 {
    // Less a hair: what is a whole number in decimals is not always one in binary.
    (cap as f64 * factor - 1e-6).ceil().max(0.0) as u64
}

/// The ladders of all providers. Made once, shared by all.
#[derive(Debug, Clone, PartialEq)]
pub struct Ladders {
    default: Ladder,
    sites: Ladder,
    providers: HashMap<ProviderId, Ladder>,
}

impl Ladders {
    /// The text of the ladders that are built in.
    pub const BUILT_IN: &str = include_str!("../../rules/warmup.yaml");

    /// The ladders that are built in.
    #[must_use]
    pub fn built_in() -> Self {
        Self::from_yaml(Self::BUILT_IN).expect("tests read the built-in ladders")
    }

    /// Ladders of an operator; the form is described at the head of `rules/warmup.yaml`.
    ///
    /// # Errors
    /// When it is not of this form, or a ladder does not grow.
    pub fn from_yaml(yaml: &str) -> Result<Self, RulesError> {
        let raw = read_raw(yaml)?;
        let providers = raw.providers.iter();
        let providers = providers.map(|(id, ladder)| Ok((ProviderId::from(id.as_str()), climbable(id, ladder)?)));
        Ok(Self {
            default: climbable("default", &raw.default)?,
            sites: climbable("sites", &raw.sites)?,
            providers: providers.collect::<Result<_, RulesError>>()?,
        })
    }

    /// The ladder of a provider; none for a route to a smart host.
    #[must_use]
    pub fn of(&self, provider: &ProviderId) -> Option<&Ladder> {
        let id = provider.as_str();
        if id.starts_with("route:") {
            return None;
        }
        let named = self.providers.get(provider);
        Some(named.unwrap_or(if id.starts_with("site:") {
            &self.sites
        } else {
            &self.default
        }))
    }

    /// The providers that the file names.
    pub fn providers(&self) -> impl Iterator<Item = &ProviderId> {
        self.providers.keys()
    }
}

/// A ladder as it is written, made ready. An error names it and its line.
fn climbable(name: &str, raw: &Spanned<RawLadder>) -> Result<Ladder, RulesError> {
    let wrong = |problem: &str| RulesError::rule(name, raw.defined.line(), problem);
    let ladder = &raw.value;
    match (ladder.start, ladder.growth, ladder.end, &ladder.steps) {
        (None, None, None, Some(steps)) => {
            Ladder::of(steps).ok_or_else(|| wrong("its steps must grow, from 1 to 1,000,000,000, and be 400 at most"))
        }
        (Some(start), Some(growth), Some(end), None) => Ladder::growing(start, growth, end).ok_or_else(|| {
            wrong("start must be 1 or more and not above end, growth 1.05 to 2, end 1,000,000,000 at most")
        }),
        _ => Err(wrong("either steps, or start, growth and end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::provider_map::ProviderMap;

    #[test]
    fn the_built_in_ladders_are_for_providers_that_exist_and_reach_their_end_in_weeks() {
        let (ladders, map) = (Ladders::built_in(), ProviderMap::built_in());
        for provider in ladders.providers() {
            assert!(map.knows(provider), "{provider}");
        }
        for id in ["google", "outlook-consumer", "comcast", "site:example.com"] {
            let ladder = ladders.of(&ProviderId::from(id)).expect("is warmed up");
            let steps = ladder.0.len();
            assert!((10..=45).contains(&steps), "{id} takes {steps} days");
            let steep = ladder.0.windows(2).find(|pair| pair[1] > times(pair[0], 1.4));
            assert_eq!(steep, None, "{id}");
        }
        assert_eq!(ladders.of(&ProviderId::from("route:smarthost")), None);
    }

    #[test]
    fn the_next_cap_is_the_next_step_and_between_steps_a_gentle_one() {
        let ladder = Ladder::of(&[50, 100, 250]).expect("grows");
        let check = |cap, expect| assert_eq!(ladder.above(cap), expect, "{cap}");
        check(50, Some(100));
        check(100, Some(250));
        check(250, None);
        check(300, None);
        check(125, Some(175));
        check(90, Some(100));
        check(25, Some(35));
        check(1, Some(2));
        let grown = Ladder::growing(50, 1.35, 100).expect("grows");
        assert_eq!(*grown.0, [50, 68, 92, 100]);
        assert_eq!((grown.first(), grown.last()), (50, 100));
        assert_eq!(*Ladder::growing(1, 1.05, 4).expect("grows").0, [1, 2, 3, 4]);
    }

    #[test]
    fn a_ladder_that_cannot_be_climbed_is_refused_and_named() {
        let file = |ladder: &str| {
            format!("version: 1\ndefault: {{steps: [1]}}\nsites: {{steps: [1]}}\nproviders:\n  x: {ladder}")
        };
        assert!(Ladders::from_yaml(&file("{steps: [1, 2]}")).is_ok());
        for bad in [
            "{steps: []}",
            "{steps: [0, 1]}",
            "{steps: [2, 2]}",
            "{steps: [1, 1000000001]}",
            "{start: 50, growth: 1.01, end: 100}",
            "{start: 50, growth: 3, end: 100}",
            "{start: 0, growth: 1.3, end: 100}",
            "{start: 200, growth: 1.3, end: 100}",
            "{start: 50, growth: .nan, end: 100}",
            "{start: 50, growth: 1.3}",
            "{start: 50, growth: 1.3, end: 100, steps: [1]}",
            "{}",
        ] {
            match Ladders::from_yaml(&file(bad)) {
                Err(RulesError::Rule { name, line, .. }) => assert_eq!((name.as_str(), line), ("x", 5), "{bad}"),
                other => panic!("{bad}: {other:?}"),
            }
        }
        assert!(Ladders::from_yaml("version: 2\ndefault: {steps: [1]}\nsites: {steps: [1]}").is_err());
    }
}
