//! Words and numbers of the file that have a meaning: checked where they stand, so that an error names its line.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, de};

use crate::domain::{Class, OnAmbiguous, TlsPolicy};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

macro_rules! word {
    ($(#[$doc:meta])* $name:ident($inner:ty) { $($word:literal => $value:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) struct $name(pub(super) $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                match text.as_str() {
                    $($word => Ok(Self($value)),)*
                    _ => Err(de::Error::custom(format!("{text:?} is none of {}", [$($word),*].join(", ")))),
                }
            }
        }
    };
}

word! {
    /// `log.format`.
    LogWord(LogFormat) { "text" => LogFormat::Text, "json" => LogFormat::Json, }
}
word! {
    /// `tls` of a route or of delivery.
    TlsWord(TlsPolicy) {
        "off" => TlsPolicy::Off,
        "opportunistic" => TlsPolicy::Opportunistic,
        "required" => TlsPolicy::Required,
        "verified" => TlsPolicy::Verified,
        "implicit" => TlsPolicy::Implicit,
    }
}
word! {
    /// A class.
    ClassWord(Class) {
        "critical" => Class::Critical,
        "transactional" => Class::Transactional,
        "broadcast" => Class::Broadcast,
    }
}
word! {
    /// `delivery.on_ambiguous`.
    AmbiguousWord(OnAmbiguous) { "resend" => OnAmbiguous::Resend, "hold" => OnAmbiguous::Hold, }
}

pub(super) use word;

/// An address to listen on, or empty for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listen(pub(super) Option<SocketAddr>);

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        let address = text
            .parse()
            .map_err(|_| de::Error::custom(format!("{text:?} is not an address such as 127.0.0.1:9464")))?;
        Ok(Self(Some(address)))
    }
}

/// A number above zero and below a billion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Positive(pub(super) u32);

impl<'de> Deserialize<'de> for Positive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        if number == 0 || number > 1_000_000_000 {
            return Err(de::Error::custom(format!("{number} must be between 1 and 1000000000")));
        }
        Ok(Self(number))
    }
}

/// A rate; 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate(pub(super) Option<f64>);

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rate = f64::deserialize(deserializer)?;
        if !rate.is_finite() || rate < 0.0 {
            return Err(de::Error::custom(format!("{rate} must be 0 or more a second")));
        }
        Ok(Self((rate > 0.0).then_some(rate)))
    }
}

/// A domain name: A-label, lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DomainName(pub(super) String);

impl<'de> Deserialize<'de> for DomainName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom(format!("{text:?} is not a domain name"));
        let name = idna::domain_to_ascii_strict(&text).map_err(|_| wrong())?;
        if name.is_empty() || name.len() > 253 || name.starts_with('.') || name.ends_with('.') {
            return Err(wrong());
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}
