//! Pins that contradict one another, or can do nothing: what an operator should look at.
//!
//! Takes all pins and the limits of providers; gives a sentence for each finding. A pin that cannot be kept at all (a minimum
//! above its maximum) is refused where the file is read. Changes nothing.

use crate::domain::{Lane, LaneLimits, ProviderId, SourceId};
use crate::policy::pins::{LanePins, LaneRange, Pins};

/// What is odd about these pins, where `limits` are those of a provider for all its lanes.
#[must_use]
pub fn lint(pins: &Pins, limits: impl Fn(&ProviderId) -> LaneLimits) -> Vec<String> {
    let mut findings = Vec::new();
    for (lane, pin) in &pins.by_lane {
        let of_provider = pins.range(&elsewhere(&lane.provider), limits(&lane.provider));
        findings.extend(above(lane, pin, &of_provider));
    }
    for (lane, pin) in pins.by_lane.iter().chain(&pins.shadow_by_lane) {
        if *pin == LanePins::default() {
            findings.push(format!("the pin of {lane} says nothing"));
        }
    }
    for lane in pins.shadow_by_lane.keys() {
        if pins.shadow(lane, limits(&lane.provider)) == Some(pins.range(lane, limits(&lane.provider))) {
            findings.push(format!(
                "the pin on trial of {lane} would change nothing: that range holds already"
            ));
        }
    }
    for provider in pins.shadow_by_provider.keys() {
        let lane = elsewhere(provider);
        if pins.shadow(&lane, limits(provider)) == Some(pins.range(&lane, limits(provider))) {
            findings.push(format!(
                "the limits on trial of {provider} would change nothing: that range holds already"
            ));
        }
    }
    findings
}

/// A lane that has no pin of its own.
fn elsewhere(provider: &ProviderId) -> Lane {
    Lane {
        source: SourceId::from(""),
        provider: provider.clone(),
    }
}

/// A lane's pin wins over its provider's. That may be meant; it may be forgotten as well.
fn above(lane: &Lane, pin: &LanePins, of_provider: &LaneRange) -> Vec<String> {
    let mut findings = Vec::new();
    let most = of_provider.connections.1;
    if let Some(own) = pin.connections.most.filter(|own| *own > most) {
        findings.push(format!(
            "the pin of {lane} allows {own} connections, and its provider {most} for every lane: the pin wins"
        ));
    }
    let fastest = of_provider.messages_per_second.1;
    if let Some((own, most)) = pin
        .messages_per_second
        .most
        .zip(fastest)
        .filter(|(own, most)| own > most)
    {
        findings.push(format!(
            "the pin of {lane} allows {own} messages a second, and its provider {most} for every lane: the pin wins"
        ));
    }
    let fewest = of_provider.connections.0;
    if let Some(own) = pin.connections.most.filter(|own| *own < fewest) {
        findings.push(format!(
            "the pin of {lane} allows {own} connections, and its provider has at least {fewest} on every lane: the pin wins"
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::pins::Pin;
    use std::collections::BTreeMap;

    const LIMITS: LaneLimits = LaneLimits {
        connections: 10,
        messages_per_connection: 100,
        messages_per_second: Some(50.0),
    };

    fn lane() -> Lane {
        Lane {
            source: SourceId::from("ip1"),
            provider: ProviderId::from("google"),
        }
    }

    fn connections(least: Option<u32>, most: Option<u32>) -> LanePins {
        LanePins {
            connections: Pin { least, most },
            ..LanePins::default()
        }
    }

    #[test]
    fn what_contradicts_or_does_nothing_is_named_and_nothing_else_is() {
        let check = |pins: Pins, expect: &[&str]| {
            let found = lint(&pins, |_| LIMITS);
            assert_eq!(found.len(), expect.len(), "{pins:?}: {found:?}");
            for (found, expect) in found.iter().zip(expect) {
                assert!(found.contains(expect) && found.contains("google"), "{found}");
            }
        };
        let of_lane = |pin: LanePins| Pins {
            by_lane: BTreeMap::from([(lane(), pin)]),
            ..Pins::default()
        };
        let on_trial = |pin: LanePins| Pins {
            shadow_by_lane: BTreeMap::from([(lane(), pin)]),
            ..Pins::default()
        };
        check(of_lane(connections(Some(2), Some(5))), &[]);
        check(
            of_lane(connections(None, Some(11))),
            &["allows 11 connections, and its provider 10"],
        );
        check(of_lane(LanePins::default()), &["says nothing"]);
        check(on_trial(connections(None, Some(5))), &[]);
        check(on_trial(connections(None, Some(10))), &["would change nothing"]);
        check(
            Pins {
                by_provider: BTreeMap::from([(lane().provider, connections(Some(4), None))]),
                ..of_lane(connections(None, Some(3)))
            },
            &["at least 4"],
        );
        check(
            Pins {
                shadow_by_provider: BTreeMap::from([(lane().provider, connections(Some(1), Some(10)))]),
                ..Pins::default()
            },
            &["limits on trial"],
        );
        let rate = LanePins {
            messages_per_second: Pin {
                least: None,
                most: Some(51.0),
            },
            ..LanePins::default()
        };
        check(of_lane(rate), &["51 messages a second"]);
    }
}
