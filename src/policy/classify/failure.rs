//! What it means when no reply came: by the stage that was reached and the kind of failure.
//!
//! Takes stage and [`Failure`], gives a Verdict. Needs no rules file: there is no text of a provider to read.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Blame, BounceClass, Cause, DnsFailure, Failure, LaneAction, Stage, Verdict};
use crate::sabotage::{self, Bug};

/// A first NXDOMAIN is believed when it is said again this much later.
const NO_DOMAIN_AGAIN: Duration = Duration::from_secs(10 * 60);

/// The Verdict of a failure.
pub(super) fn verdict(stage: Stage, failure: &Failure) -> Verdict {
    // From the first byte of the dot on a copy may exist, whatever broke: our panic as well as their reset.
    if stage == Stage::Dot && !sabotage::is(Bug::LostAfterDotIsPlain) {
        let (class, blame) = match failure {
            Failure::Local(_) | Failure::Panicked => (BounceClass::Internal, Blame::Us),
            Failure::Protocol(_) => (BounceClass::Protocol, Blame::Provider),
            _ => (BounceClass::Network, Blame::Network),
        };
        return Verdict::Ambiguous {
            cause: cause(class, blame, "built-in/lost-after-dot"),
        };
    }
    let counts = stage >= Stage::MailFrom || sabotage::is(Bug::FailedConnectionCounts);
    match failure {
        Failure::Dns(failure) => dns(*failure),
        Failure::ConnectionRefused => retry(BounceClass::Network, Blame::Network, "built-in/refused", false),
        Failure::Network(_) => retry(BounceClass::Network, Blame::Network, "built-in/network", counts),
        Failure::Timeout => retry(BounceClass::Network, Blame::Network, "built-in/timeout", counts),
        Failure::ConnectionLost => retry(BounceClass::Network, Blame::Network, "built-in/lost", counts),
        Failure::Tls(_) => retry(BounceClass::Tls, Blame::Provider, "built-in/tls", counts),
        Failure::Protocol(_) => retry(BounceClass::Protocol, Blame::Provider, "built-in/not-smtp", counts),
        Failure::Unsupported(text) => unsupported(text),
        Failure::Local(_) => retry(BounceClass::Internal, Blame::Us, "built-in/our-fault", false),
        Failure::Panicked => retry(BounceClass::Internal, Blame::Us, "built-in/panic", false),
    }
}

/// Name service failures. Those that bounce do not suppress the address: they are facts about a domain, which its owner may
/// mend tomorrow for all its addresses at once, and asking again costs one cached question and no mail.
fn dns(failure: DnsFailure) -> Verdict {
    let bounce = |rule: &str| Verdict::Bounce {
        cause: cause(BounceClass::BadDomain, Blame::Recipient, rule),
        suppress: false,
    };
    match failure {
        DnsFailure::NoDomain => bounce("built-in/no-domain"),
        DnsFailure::NullMx => bounce("built-in/null-mx"),
        DnsFailure::Forbidden => bounce("built-in/forbidden-address"),
        DnsFailure::NoAnswer => retry(BounceClass::Dns, Blame::Network, "built-in/dns", false),
        // Temporary for a day; `settlement` knows since when.
        DnsFailure::NoAddress => retry(BounceClass::Dns, Blame::Recipient, "built-in/no-address", false),
        DnsFailure::CnameLoop => retry(BounceClass::Dns, Blame::Recipient, "built-in/cname-loop", false),
        DnsFailure::NoDomainUnconfirmed => Verdict::Retry {
            cause: cause(BounceClass::Dns, Blame::Recipient, "built-in/no-domain-yet"),
            after: Some(NO_DOMAIN_AGAIN),
            counts: false,
        },
    }
}

/// The other side cannot take this message, and never will.
fn unsupported(text: &str) -> Verdict {
    let (class, rule) = if is_about_size(text) {
        (BounceClass::TooLarge, "built-in/size")
    } else {
        (BounceClass::Protocol, "built-in/unsupported")
    };
    Verdict::Bounce {
        cause: cause(class, Blame::Message, rule),
        suppress: false,
    }
}

/// Whether [`Failure::Unsupported`] is about the SIZE extension (RFC 1870).
fn is_about_size(text: &str) -> bool {
    text.to_ascii_lowercase().contains("size")
}

fn retry(class: BounceClass, blame: Blame, rule: &str, counts: bool) -> Verdict {
    Verdict::Retry {
        cause: cause(class, blame, rule),
        after: None,
        counts,
    }
}

fn cause(class: BounceClass, blame: Blame, rule: &str) -> Cause {
    Cause {
        class,
        blame,
        action: LaneAction::None,
        rule: Arc::from(rule),
    }
}
