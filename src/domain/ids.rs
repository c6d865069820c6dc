//! Names of things: newtypes, so that two kinds of id cannot be mixed up.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id! {
    /// A Message. UUID version 7, so ids sort by the time of acceptance.
    MessageId
}
uuid_id! {
    /// A template, over all its versions.
    TemplateId
}

impl MessageId {
    /// The byte that chooses the partition of a store that has some: all messages of one call share it, so that they are
    /// accepted in one step.
    #[must_use]
    pub fn partition_byte(self) -> u8 {
        self.0.as_bytes()[15]
    }

    /// The same id in the partition of `byte`. Two different random ids stay different: 66 other bits are random.
    #[must_use]
    pub fn in_partition(self, byte: u8) -> Self {
        let mut bytes = self.0.into_bytes();
        bytes[15] = byte;
        Self(Uuid::from_bytes(bytes))
    }
}

/// One Message to one Recipient. `recipient` is the index into `Message::recipients`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    /// The Message.
    pub message: MessageId,
    /// Index of the Recipient in the Message.
    pub recipient: u16,
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.message, self.recipient)
    }
}

/// A tenant: one customer or business system with its own keys, domains, templates and suppressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(pub u32);

impl TenantId {
    /// The tenant that the first start makes.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Fencing token of a Lease: grows with each lease of a Delivery, so that a stale holder can be told from the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_id! {
    /// Who runs the mailbox: an id of `rules/providers.yaml`, `route:<name>`, or the site of the MX hosts.
    ProviderId
}
name_id! {
    /// An identity we send from, as named in `config.yaml`.
    SourceId
}

name_id! {
    /// A node: one process that delivers. Unique among those that share a store, and the same after a restart.
    NodeId
}

/// Source × Provider: one pace, one set of connections. A key, never a string to be parsed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// From where.
    pub source: SourceId,
    /// To whom.
    pub provider: ProviderId,
}

impl fmt::Display for Lane {
    /// For people only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.source, self.provider)
    }
}
