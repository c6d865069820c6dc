//! Whether a Source is fit to send from.
//!
//! Takes what was seen of it (can a socket be bound to its address, what do the name servers say of its names, is the address
//! on a list of senders of spam); gives whether it is healthy, suspect, or to be taken out. A look that gave no clear answer
//! changes nothing: name servers have bad days. A check turns bad and good again only when it was seen so several times in
//! a row, so that a Source does not come and go. An address that is not on this machine is bad at once.
//!
//! Only what can never work takes a Source out unless the operator wants more. A missing name or a listing costs some
//! providers only, lists err, and a list that answers "yes" to everybody would take all Sources out in one night.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// A socket can be bound to the address.
    Bind,
    /// The EHLO name resolves to the address.
    Ehlo,
    /// The address has a name, and that name resolves to the address (forward-confirmed).
    Pointer,
    /// The address is on none of the configured lists.
    Dnsbl,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bind, Self::Ehlo, Self::Pointer, Self::Dnsbl];

    /// The name that config, API and metrics use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Ehlo => "ehlo",
            Self::Pointer => "pointer",
            Self::Dnsbl => "dnsbl",
        }
    }

    /// The check of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.name() == name)
    }

    /// What an operator does about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Bind => "Give the address to this machine, or take the source out of config.yaml.",
            Self::Ehlo => {
                "Publish an A or AAAA record of the EHLO name with this address, or set `ehlo` to a name that has one."
            }
            Self::Pointer => "Have whoever owns the address set its PTR record to the EHLO name.",
            Self::Dnsbl => "Look the address up at the list, end the cause, ask to be taken off.",
        }
    }

    /// Looks in a row after which it counts as bad.
    fn bad_after(self) -> u32 {
        match self {
            Self::Bind => 1,
            Self::Ehlo | Self::Pointer | Self::Dnsbl => 2,
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Looks in a row after which a bad check counts as good again.
const GOOD_AFTER: u32 = 2;

/// What a name server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<T> {
    /// These records.
    Found(Vec<T>),
    /// There are none.
    None,
    /// Nothing worth believing.
    Unknown,
}

/// What a look at one thing gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// As it should be.
    Good,
    /// Not so, in words.
    Bad(String),
    /// It cannot be told, in words.
    Unclear(String),
}

/// Whether the EHLO name leads to the address.
#[must_use]
pub fn ehlo(name: &str, address: IpAddr, forward: &Seen<IpAddr>) -> Finding {
    match forward {
        Seen::Found(found) if found.contains(&address) => Finding::Good,
        Seen::Found(found) => Finding::Bad(format!("{name} resolves to {}, not to {address}", joined(found))),
        Seen::None => Finding::Bad(format!("{name} has no address")),
        Seen::Unknown => Finding::Unclear(format!("the name servers of {name} do not answer")),
    }
}

/// Whether the address has a name that leads back to it. `back` holds for each name of `names` where it leads.
#[must_use]
pub fn pointer(address: IpAddr, names: &Seen<String>, back: &[Seen<IpAddr>]) -> Finding {
    let Seen::Found(names) = names else {
        return match names {
            Seen::None => Finding::Bad(format!("{address} has no name (PTR)")),
            _ => Finding::Unclear(format!("the name servers for {address} do not answer")),
        };
    };
    let leads_back = |seen: &Seen<IpAddr>| matches!(seen, Seen::Found(found) if found.contains(&address));
    if back.iter().any(leads_back) {
        Finding::Good
    } else if back.contains(&Seen::Unknown) {
        Finding::Unclear(format!("the name servers of {} do not answer", names.join(", ")))
    } else {
        Finding::Bad(format!(
            "{address} has the name {}, which does not lead back",
            names.join(", ")
        ))
    }
}

/// Whether an address is on lists: each zone with what it said to [`dnsbl_name`].
#[must_use]
pub fn dnsbl<'a>(answers: impl IntoIterator<Item = (&'a str, &'a Seen<IpAddr>)>) -> Finding {
    let (mut listed, mut unclear) = (Vec::new(), Vec::new());
    for (zone, seen) in answers {
        match seen {
            Seen::None => {}
            Seen::Unknown => unclear.push(format!("{zone} does not answer")),
            Seen::Found(codes) if codes.iter().any(|code| refuses(*code)) => {
                // Spamhaus and others: 127.255.255.0/24 is an error, e.g. for a public resolver. Never a listing.
                unclear.push(format!("{zone} does not answer this resolver ({})", joined(codes)));
            }
            Seen::Found(codes) if codes.iter().all(is_code) => listed.push(format!("{zone} ({})", joined(codes))),
            Seen::Found(codes) => unclear.push(format!("{zone} answers with {}: it is no list", joined(codes))),
        }
    }
    if !listed.is_empty() {
        Finding::Bad(format!("listed at {}", listed.join(", ")))
    } else if !unclear.is_empty() {
        Finding::Unclear(unclear.join(", "))
    } else {
        Finding::Good
    }
}

/// An answer of a list is in 127.0.0.0/8 (RFC 5782 section 2.1).
fn is_code(code: &IpAddr) -> bool {
    matches!(code, IpAddr::V4(four) if four.octets()[0] == 127)
}

fn refuses(code: IpAddr) -> bool {
    matches!(code, IpAddr::V4(four) if four.octets()[..3] == [127, 255, 255])
}

fn joined(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().take(4).map(ToString::to_string).collect();
    texts.join(", ")
}

/// An address as labels in reverse order: `5.113.0.203`, or 32 nibbles (RFC 3596, RFC 5782).
#[must_use]
pub fn reversed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(four) => {
            let [a, b, c, d] = four.octets();
            format!("{d}.{c}.{b}.{a}")
        }
        IpAddr::V6(six) => {
            let nibbles = six.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let labels: Vec<String> = nibbles.map(|nibble| format!("{nibble:x}")).collect();
            labels.join(".")
        }
    }
}

/// The name whose PTR records are the names of an address.
#[must_use]
pub fn pointer_name(address: IpAddr) -> String {
    let zone = if address.is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" };
    format!("{}.{zone}", reversed(address))
}

/// The name under which a list tells of an address.
#[must_use]
pub fn dnsbl_name(address: IpAddr, zone: &str) -> String {
    format!("{}.{zone}", reversed(address))
}

/// How Sources are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// Between two looks at what name servers say.
    pub every: Duration,
    /// DNS lists that are asked about the addresses.
    pub dnsbl: Vec<String>,
    /// Checks that take a Source out when they are bad; the others only raise an alarm.
    pub enforced: Vec<Check>,
}

/// How a Source stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fitness {
    /// Nothing is known against it.
    Healthy,
    /// Something is wrong; it goes on sending.
    Suspect,
    /// It does not send.
    Out,
}

impl Fitness {
    /// The name that API and log use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Suspect => "suspect",
            Self::Out => "out",
        }
    }
}

/// What is known of one check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckState {
    /// Whether it counts as bad.
    pub bad: bool,
    /// What was seen last that was not good, in words.
    pub detail: Option<String>,
    /// Looks in a row that say the opposite of `bad`.
    against: u32,
}

/// The health of one Source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceHealth {
    checks: [CheckState; 4],
}

impl SourceHealth {
    /// Takes what one look gave. Checks that it does not name stay as they are.
    pub fn on_look(&mut self, findings: &[(Check, Finding)]) {
        for (check, finding) in findings {
            let state = &mut self.checks[*check as usize];
            match finding {
                Finding::Good => state.seen(false, GOOD_AFTER),
                Finding::Bad(_) => state.seen(true, check.bad_after()),
                Finding::Unclear(_) => {}
            }
            match finding {
                Finding::Bad(detail) | Finding::Unclear(detail) => state.detail = Some(detail.clone()),
                Finding::Good if !state.bad => state.detail = None,
                Finding::Good => {}
            }
        }
        self.check_invariants();
    }

    /// What is known of a check.
    #[must_use]
    pub fn of(&self, check: Check) -> &CheckState {
        &self.checks[check as usize]
    }

    /// How it stands, when these checks take a Source out.
    #[must_use]
    pub fn fitness(&self, enforced: &[Check]) -> Fitness {
        let bad = Check::ALL.into_iter().filter(|check| self.of(*check).bad);
        let worst = bad.map(|check| match enforced.contains(&check) {
            true => Fitness::Out,
            false => Fitness::Suspect,
        });
        worst.max().unwrap_or(Fitness::Healthy)
    }

    /// What is wrong, in words.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let bad = Check::ALL
            .into_iter()
            .map(|check| self.of(check))
            .filter(|state| state.bad);
        bad.filter_map(|state| state.detail.clone()).collect()
    }

    fn check_invariants(&self) {
        debug_assert!(
            self.checks.iter().all(|state| !state.bad || state.detail.is_some()),
            "bad is explained"
        );
        debug_assert!(
            self.checks.iter().all(|state| state.against < 10),
            "who is convinced has changed its mind"
        );
    }
}

impl CheckState {
    fn seen(&mut self, bad: bool, enough: u32) {
        if self.bad == bad {
            self.against = 0;
            return;
        }
        self.against += 1;
        if self.against >= enough {
            self.bad = bad;
            self.against = 0;
        }
    }
}

#[cfg(test)]
mod tests;
