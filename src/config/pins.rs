//! `providers` and `pins` of the file: what operators fix for the lanes of a provider, or for one lane.
//!
//! Takes what is written; gives the limits of providers and the pins. A plain number is a maximum. What is written with
//! `shadow: true` is on trial: it is in neither of them, but beside. Checks what needs two
//! keys at once: that names exist, and that a minimum is not above its maximum.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::raw::Raw;
use super::settings::{ConfigError, limits_over, unfit};
use super::words::{Positive, Rate};
use crate::domain::{Lane, ProviderId, SourceId};
use crate::policy::pins::{LanePins, Pin, Pins};
use crate::policy::provider_map::ProviderMap;

/// A maximum, or a map of `min`, `max` and `exact`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds<T> {
    min: Option<T>,
    max: Option<T>,
    exact: Option<T>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Bounds<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BoundsVisitor(std::marker::PhantomData))
    }
}

struct BoundsVisitor<T>(std::marker::PhantomData<T>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBounds<T> {
    min: Option<T>,
    max: Option<T>,
    exact: Option<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for BoundsVisitor<T> {
    type Value = Bounds<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, which is a maximum, or {min: …, max: …} or {exact: …}")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        maximum(de::value::U64Deserializer::new(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        maximum(de::value::I64Deserializer::new(number))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        maximum(de::value::F64Deserializer::new(number))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let RawBounds { min, max, exact } = RawBounds::deserialize(MapAccessDeserializer::new(map))?;
        if exact.is_some() && (min.is_some() || max.is_some()) {
            return Err(de::Error::custom("exact goes without min and max"));
        }
        Ok(Bounds { min, max, exact })
    }
}

fn maximum<'de, T: Deserialize<'de>, E: de::Error>(number: impl Deserializer<'de, Error = E>) -> Result<Bounds<T>, E> {
    Ok(Bounds {
        min: None,
        max: Some(T::deserialize(number)?),
        exact: None,
    })
}

/// Of a provider, for each of its lanes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    connections: Option<Bounds<Positive>>,
    messages_per_connection: Option<Positive>,
    messages_per_second: Option<Bounds<Rate>>,
    shadow: bool,
}

/// Of one lane.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LanePin {
    source: String,
    provider: String,
    #[serde(default)]
    connections: Option<Bounds<Positive>>,
    #[serde(default)]
    messages_per_connection: Option<Positive>,
    #[serde(default)]
    messages_per_second: Option<Bounds<Rate>>,
    #[serde(default)]
    shadow: bool,
}

/// The providers with the operator's limits, and all pins.
pub(super) fn read(raw: &Raw, mut map: ProviderMap, sources: &[SourceId]) -> Result<(ProviderMap, Pins), ConfigError> {
    let mut pins = Pins::default();
    for (name, limits) in &raw.providers {
        let (key, id) = (format!("providers.{name}"), ProviderId::from(name.as_str()));
        if !map.knows(&id) {
            return Err(unfit(key, "there is no such provider in rules/providers.yaml"));
        }
        if limits.shadow {
            let own = (limits.connections, limits.messages_per_second);
            let pin = pinned(own, limits.messages_per_connection);
            let known = map.limits(&id);
            let most = pin.connections.most.unwrap_or(known.connections);
            check(
                &key,
                &pin,
                most,
                pin.messages_per_second.most.or(known.messages_per_second),
            )?;
            pins.shadow_by_provider.insert(id, pin);
            continue;
        }
        let connections = limits.connections.map(|bounds| bounds.pin(|number| number.0));
        let rate = limits.messages_per_second.map(|bounds| bounds.pin(|rate| rate));
        let most = connections.and_then(|pin| pin.most).map(Positive);
        let most_rate = rate.and_then(|pin| pin.most);
        let known = limits_over(map.limits(&id), most, limits.messages_per_connection, most_rate);
        map.set_limits(&id, known);
        let pin = LanePins {
            connections: Pin {
                least: connections.and_then(|pin| pin.least),
                most: None,
            },
            messages_per_second: Pin {
                least: rate.and_then(|pin| pin.least).and_then(|rate| rate.0),
                most: None,
            },
            messages_per_connection: None,
        };
        check(&key, &pin, known.connections, known.messages_per_second)?;
        if pin != LanePins::default() {
            pins.by_provider.insert(id, pin);
        }
    }
    lanes(raw, sources, &map, &mut pins)?;
    Ok((map, pins))
}

fn lanes(raw: &Raw, sources: &[SourceId], map: &ProviderMap, pins: &mut Pins) -> Result<(), ConfigError> {
    for (index, written) in raw.pins.iter().enumerate() {
        let key = format!("pins[{index}]");
        let lane = Lane {
            source: SourceId::from(written.source.as_str()),
            provider: ProviderId::from(written.provider.as_str()),
        };
        if !sources.contains(&lane.source) {
            return Err(unfit(format!("{key}.source"), "there is no source of this id"));
        }
        let of_route = |route: &super::raw::Route| route.is_for(&lane.provider);
        if !map.knows(&lane.provider) && !raw.routes.iter().any(of_route) {
            let problem = "there is no such provider in rules/providers.yaml, and no route has it";
            return Err(unfit(format!("{key}.provider"), problem));
        }
        let own = (written.connections, written.messages_per_second);
        let pin = pinned(own, written.messages_per_connection);
        let range = pins.range(&lane, map.limits(&lane.provider));
        let most = pin.connections.most.unwrap_or(range.connections.1);
        let fastest = pin.messages_per_second.most.or(range.messages_per_second.1);
        check(&key, &pin, most, fastest)?;
        let by_lane = match written.shadow {
            true => &mut pins.shadow_by_lane,
            false => &mut pins.by_lane,
        };
        if by_lane.insert(lane, pin).is_some() {
            return Err(unfit(key, "another pin is for the same source and provider"));
        }
    }
    Ok(())
}

/// All of a pin, both sides of each value.
fn pinned(
    (connections, rate): (Option<Bounds<Positive>>, Option<Bounds<Rate>>),
    messages_per_connection: Option<Positive>,
) -> LanePins {
    let rate = rate.map(|bounds| bounds.pin(|rate| rate)).unwrap_or_default();
    LanePins {
        connections: connections.map_or_else(Pin::default, |bounds| bounds.pin(|number| number.0)),
        messages_per_second: Pin {
            least: rate.least.and_then(|rate| rate.0),
            most: rate.most.and_then(|rate| rate.0),
        },
        messages_per_connection: messages_per_connection.map(|number| number.0),
    }
}

fn check(key: &str, pin: &LanePins, most: u32, fastest: Option<f64>) -> Result<(), ConfigError> {
    if let Some(least) = pin.connections.least.filter(|least| *least > most) {
        let problem = format!("min is {least}, and max is {most}");
        return Err(unfit(format!("{key}.connections"), &problem));
    }
    let slowest = pin.messages_per_second.least;
    if let Some((least, most)) = slowest.zip(fastest).filter(|(least, most)| least > most) {
        let problem = format!("min is {least}, and max is {most}");
        return Err(unfit(format!("{key}.messages_per_second"), &problem));
    }
    Ok(())
}

impl<T: Copy> Bounds<T> {
    fn pin<U>(self, of: impl Fn(T) -> U) -> Pin<U> {
        Pin {
            least: self.exact.or(self.min).map(&of),
            most: self.exact.or(self.max).map(&of),
        }
    }
}
