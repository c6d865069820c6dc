//! Numbers that stand for the domain's enums in stored records.
//!
//! Takes domain values, gives numbers, and back. A number once given is never used for anything else: what was written
//! by an older version must read the same for ever. A new variant gets the next free number (the compiler asks for it).

use crate::domain::{
    BounceClass, Class, Disposition, DkimAlgorithm, DomainStatus, KeyScope, NoteKind, Role, State, Stream,
    SuppressionReason, Why,
};

/// An enum with a number for each variant.
pub(crate) trait Coded: Sized {
    /// Its number.
    fn code(self) -> u8;
    /// The variant of a number; none for one that this version does not know.
    fn from_code(code: u8) -> Option<Self>;
}

macro_rules! coded {
    ($type:ident { $($variant:ident = $code:literal,)* }) => {
        impl Coded for $type {
            fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)* }
            }
            fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

coded!(Class { Critical = 0, Transactional = 1, Broadcast = 2, });
coded!(Stream { Transactional = 1, Broadcast = 2, });
coded!(State {
    Scheduled = 0, Queued = 1, Deferred = 2, Held = 3, Quarantined = 4, Delivered = 5, Bounced = 6, Expired = 7,
    Suppressed = 8, Cancelled = 9, Unknown = 10,
});
coded!(SuppressionReason { HardBounce = 0, Complaint = 1, Unsubscribe = 2, Manual = 3, });
coded!(DomainStatus { Pending = 0, Verified = 1, Failed = 2, });
coded!(DkimAlgorithm { Rsa2048 = 0, Ed25519 = 1, });
coded!(KeyScope { Send = 0, Admin = 1, });
coded!(NoteKind {
    Lane = 0, Warmup = 1, Reputation = 2, TenantPause = 3, Unclassified = 4, Domain = 5, TenantCounts = 6,
});
coded!(Role { To = 0, Cc = 1, Bcc = 2, });
coded!(Disposition { Attachment = 0, Inline = 1, });
coded!(BounceClass {
    InvalidRecipient = 0, InactiveMailbox = 1, MailboxFull = 2, RecipientRate = 3, BadDomain = 4, Dns = 5, Network = 6,
    ConnectionLimit = 7, RateLimit = 8, SessionLimit = 9, Greylisted = 10, Capacity = 11, IpReputation = 12,
    DomainReputation = 13, SpamContent = 14, Attachment = 15, TooLarge = 16, Authentication = 17, Policy = 18,
    Relaying = 19, Tls = 20, SourceSetup = 21, Protocol = 22, Internal = 23, Unclassified = 24,
});

/// [`Why::Deferred`] is this number and the bounce class's added.
const DEFERRED: u8 = 128;

impl Coded for Why {
    fn code(self) -> u8 {
        match self {
            Self::NotDue => 0,
            Self::Queued => 1,
            Self::LaneFull => 2,
            Self::BreakerOpen => 3,
            Self::InProgress => 4,
            Self::Dns => 5,
            Self::HeldAmbiguous => 6,
            Self::ResendAmbiguous => 7,
            Self::Quarantined => 8,
            Self::StoreUnavailable => 9,
            Self::Rate => 10,
            Self::WarmupCap => 11,
            Self::Stopped => 12,
            Self::DomainHeld => 13,
            Self::TenantPaused => 14,
            Self::Quota => 15,
            Self::SourceElsewhere => 16,
            Self::NoSource => 17,
            Self::Deferred(class) => DEFERRED + class.code(),
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::NotDue,
            1 => Self::Queued,
            2 => Self::LaneFull,
            3 => Self::BreakerOpen,
            4 => Self::InProgress,
            5 => Self::Dns,
            6 => Self::HeldAmbiguous,
            7 => Self::ResendAmbiguous,
            8 => Self::Quarantined,
            9 => Self::StoreUnavailable,
            10 => Self::Rate,
            11 => Self::WarmupCap,
            12 => Self::Stopped,
            13 => Self::DomainHeld,
            14 => Self::TenantPaused,
            15 => Self::Quota,
            16 => Self::SourceElsewhere,
            17 => Self::NoSource,
            DEFERRED.. => Self::Deferred(BounceClass::from_code(code - DEFERRED)?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_bounce_class_and_reason_comes_back_from_its_number() {
        for state in State::ALL {
            assert_eq!(State::from_code(state.code()), Some(state));
        }
        for class in BounceClass::ALL.iter().copied() {
            assert_eq!(BounceClass::from_code(class.code()), Some(class));
            assert_eq!(Why::from_code(Why::Deferred(class).code()), Some(Why::Deferred(class)));
        }
        for kind in NoteKind::ALL {
            assert_eq!(NoteKind::from_code(kind.code()), Some(kind));
        }
        for code in 0..=17 {
            assert_eq!(Why::from_code(code).map(Why::code), Some(code));
        }
    }

    #[test]
    fn a_number_of_a_later_version_is_not_guessed() {
        assert_eq!(State::from_code(11), None);
        assert_eq!(Why::from_code(18), None);
        assert_eq!(Why::from_code(DEFERRED + 25), None);
        assert_eq!(BounceClass::from_code(25), None);
    }
}
