//! How urgent mail is, and what its sender sees of that.

use std::fmt;
use std::str::FromStr;

/// How urgent a Delivery is. The order is the order of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Codes and alerts: worth nothing when late, so they have a short life.
    Critical,
    /// Receipts, notices: one person waits for it.
    Transactional,
    /// Newsletters: many, patient.
    Broadcast,
}

impl Class {
    /// All classes, most urgent first.
    pub const ALL: [Self; 3] = [Self::Critical, Self::Transactional, Self::Broadcast];

    /// The name that API, metrics and config use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Transactional => "transactional",
            Self::Broadcast => "broadcast",
        }
    }

    /// Position in [`Class::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Critical => 0,
            Self::Transactional => 1,
            Self::Broadcast => 2,
        }
    }

    /// The Stream that mail of this class belongs to.
    #[must_use]
    pub fn stream(self) -> Stream {
        match self {
            Self::Critical | Self::Transactional => Stream::Transactional,
            Self::Broadcast => Stream::Broadcast,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Class {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|class| class.name() == text).ok_or(())
    }
}

/// What a sender sees of the class: suppressions, unsubscribes and reputation are kept per stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Mail that somebody asked for by doing something.
    Transactional,
    /// Mail to a list.
    Broadcast,
}

impl Stream {
    /// The name that the API uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Transactional => "transactional",
            Self::Broadcast => "broadcast",
        }
    }
}

/// What to do with a Delivery that may or may not have reached its mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnAmbiguous {
    /// Send again: a second copy is better than none.
    Resend,
    /// Wait for evidence, then settle as unknown: none is better than a second copy.
    Hold,
}
