//! How good a name somebody has: a Source, a Source at one Provider, a tenant, a stream of it, a domain of it.
//!
//! Takes what became of attempts; gives a score from 0 to 1, and whether new mail should rather go from another Source.
//!
//! What counts. An answer counts against the key that its [`Blame`] names and nothing else: a wrong address against the
//! tenant that sent to it (and, since providers count those too, in the score of the Source), a blocked address against the
//! Source, a blocked domain or bad content against the tenant. What is our own doing, the network's or a busy provider's
//! counts against nobody. So a tenant with a bad list changes no other tenant's score, and moves no other tenant's mail.
//!
//! How it is counted. Counts decay with half-lives of an hour and of a day; a score needs at least [`EVIDENCE_MIN`] answers in
//! a window and is that of the worse window. It falls with each of the four rates and with nothing else. Without enough
//! evidence there is no score, and everybody is taken for good.
//!
//! Avoiding a Source has two thresholds and a shortest time in between, so that it cannot flap: at most three changes an
//! hour. An avoided Source still gets what began at it, so its score goes on from evidence; without any it is forgiven when
//! its counts have faded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{
    Blame, BounceClass, Cause, Delivery, Lane, LaneAction, Next, Settlement, SourceId, State, Stream, TenantId,
    Timestamp,
};

/// Half-lives of the two windows.
pub const HALF_LIVES: [Duration; 2] = [Duration::from_secs(3_600), Duration::from_secs(24 * 3_600)];
/// Answers in a window below which it says nothing.
pub const EVIDENCE_MIN: f64 = 50.0;
/// Keys that are counted at most; beyond it the faded ones are forgotten, and new ones are not begun.
pub const SUBJECTS_MAX: usize = 100_000;

/// At this rate of blocks the score is 0.
const BLOCKED_WORST: f64 = 0.20;
/// At this rate of hard bounces the score is 0.
const BOUNCED_WORST: f64 = 0.25;
/// At this rate of complaints the score is 0.
const COMPLAINED_WORST: f64 = 0.005;
/// Deferrals alone take this much of the score at most: a slow lane is not a bad name.
const DEFERRED_WEIGHT: f64 = 0.5;
/// A Source of whom the provider says so much ([`Counts::standing`]) is avoided below this.
const AVOID_BELOW: f64 = 0.4;
/// One that is avoided is used again above this.
const USE_ABOVE: f64 = 0.7;
/// Neither lasts shorter than this.
const TURN_SHORTEST: Duration = Duration::from_secs(20 * 60);
/// A count below this has faded.
const FADED: f64 = 0.5;

/// What can be said of a Delivery once it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// The provider took it.
    Delivered,
    /// Put off, because there was too much of it.
    Deferred,
    /// Refused or put off for the sake of a name.
    Blocked,
    /// There is no such mailbox.
    Bounced,
    /// Somebody said that it is spam.
    Complained,
}

/// Whose name it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// An address of ours, everywhere.
    Source(SourceId),
    /// An address of ours at one provider.
    Lane(Lane),
    /// A tenant.
    Tenant(TenantId),
    /// A stream of a tenant.
    Stream(TenantId, Stream),
    /// A domain of a tenant.
    Domain(TenantId, Arc<str>),
}

impl Subject {
    /// The kind that API and metrics use.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Source(_) => "source",
            Self::Lane(_) => "provider_source",
            Self::Tenant(_) => "tenant",
            Self::Stream(..) => "tenant_stream",
            Self::Domain(..) => "tenant_domain",
        }
    }

    /// What API and metrics call it.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Source(source) => source.to_string(),
            Self::Lane(lane) => format!("{}/{}", lane.source, lane.provider),
            Self::Tenant(tenant) => tenant.to_string(),
            Self::Stream(tenant, stream) => format!("{tenant}/{}", stream.name()),
            Self::Domain(tenant, domain) => format!("{tenant}/{domain}"),
        }
    }

    /// The Source, if it is about one of ours.
    #[must_use]
    pub fn source(&self) -> Option<&SourceId> {
        match self {
            Self::Source(source) => Some(source),
            Self::Lane(lane) => Some(&lane.source),
            Self::Tenant(_) | Self::Stream(..) | Self::Domain(..) => None,
        }
    }

    /// The tenant, if it is about one.
    #[must_use]
    pub fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::Tenant(tenant) | Self::Stream(tenant, _) | Self::Domain(tenant, _) => Some(*tenant),
            Self::Source(_) | Self::Lane(_) => None,
        }
    }
}

/// What became of one Delivery, against whom.
#[must_use]
pub fn evidence(
    delivery: &Delivery,
    settlement: &Settlement,
    cause: Option<&Cause>,
    lane: Option<&Lane>,
    domain: Option<&Arc<str>>,
) -> Vec<(Subject, Happening)> {
    let (ours, theirs) = against(settlement, cause);
    let mut evidence = Vec::with_capacity(5);
    if let (Some(happening), Some(lane)) = (ours, lane) {
        evidence.push((Subject::Source(lane.source.clone()), happening));
        evidence.push((Subject::Lane(lane.clone()), happening));
    }
    if let Some(happening) = theirs {
        evidence.extend(of_tenant(delivery.tenant, delivery.stream(), domain, happening));
    }
    evidence
}

/// Somebody complained about mail of this tenant, which went out through this lane if that is known.
#[must_use]
pub fn complaint(
    tenant: TenantId,
    stream: Stream,
    domain: Option<&Arc<str>>,
    lane: Option<&Lane>,
) -> Vec<(Subject, Happening)> {
    let mut evidence: Vec<_> = of_tenant(tenant, stream, domain, Happening::Complained).collect();
    if let Some(lane) = lane {
        evidence.push((Subject::Source(lane.source.clone()), Happening::Complained));
        evidence.push((Subject::Lane(lane.clone()), Happening::Complained));
    }
    evidence
}

fn of_tenant(
    tenant: TenantId,
    stream: Stream,
    domain: Option<&Arc<str>>,
    happening: Happening,
) -> impl Iterator<Item = (Subject, Happening)> {
    let subjects = [Subject::Tenant(tenant), Subject::Stream(tenant, stream)];
    let domain = domain.map(|domain| Subject::Domain(tenant, Arc::clone(domain)));
    subjects
        .into_iter()
        .chain(domain)
        .map(move |subject| (subject, happening))
}

/// What it says about the Source and about the tenant.
fn against(settlement: &Settlement, cause: Option<&Cause>) -> (Option<Happening>, Option<Happening>) {
    let is_final = match settlement.next {
        Next::Final(State::Delivered) => return (Some(Happening::Delivered), Some(Happening::Delivered)),
        Next::Final(State::Bounced) => true,
        Next::Final(_) => return (None, None),
        Next::Wait { .. } => false,
    };
    let Some(cause) = cause else { return (None, None) };
    match cause.blame {
        Blame::Recipient | Blame::Mailbox if is_final => match cause.class {
            BounceClass::InvalidRecipient | BounceClass::InactiveMailbox | BounceClass::BadDomain => {
                (Some(Happening::Bounced), Some(Happening::Bounced))
            }
            _ => (None, None),
        },
        Blame::SourceIp | Blame::Netblock => match (cause.class, cause.action) {
            (BounceClass::IpReputation, _) | (_, LaneAction::Stop(_)) => (Some(Happening::Blocked), None),
            _ if is_final => (Some(Happening::Blocked), None),
            (BounceClass::RateLimit | BounceClass::ConnectionLimit, _) => (Some(Happening::Deferred), None),
            _ => (None, None),
        },
        Blame::TenantDomain | Blame::Message | Blame::Url => match cause.class {
            BounceClass::TooLarge | BounceClass::Protocol => (None, None),
            BounceClass::RateLimit => (None, Some(Happening::Deferred)),
            _ => (None, Some(Happening::Blocked)),
        },
        Blame::Recipient | Blame::Mailbox | Blame::Provider | Blame::Network | Blame::Us => (None, None),
    }
}

/// Counts of one window. They decay, so they are no whole numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    /// Taken by the provider.
    pub delivered: f64,
    /// Put off, because there was too much of it.
    pub deferred: f64,
    /// Refused or put off for the sake of a name.
    pub blocked: f64,
    /// No such mailbox.
    pub bounced: f64,
    /// Complained about.
    pub complained: f64,
}

impl Counts {
    /// Everything that was answered. A complaint is no answer: its mail was delivered before.
    #[must_use]
    pub fn answered(&self) -> f64 {
        self.delivered + self.deferred + self.blocked + self.bounced
    }

    /// Answers that were the last ones: delivered, or refused for the mailbox or the name.
    #[must_use]
    pub fn sent(&self) -> f64 {
        self.delivered + self.blocked + self.bounced
    }

    /// Hard bounces in all that was sent.
    #[must_use]
    pub fn bounce_rate(&self) -> f64 {
        rate(self.bounced, self.sent())
    }

    /// Complaints in what was delivered.
    #[must_use]
    pub fn complaint_rate(&self) -> f64 {
        rate(self.complained, self.delivered)
    }

    /// From 0 to 1; none below [`EVIDENCE_MIN`] answers.
    #[must_use]
    pub fn score(&self) -> Option<f64> {
        let answered = self.answered();
        if answered < EVIDENCE_MIN {
            return None;
        }
        let complaints = rate(self.complained, self.delivered.max(EVIDENCE_MIN));
        let score =
            self.standing()? * good(rate(self.bounced, answered), BOUNCED_WORST) * good(complaints, COMPLAINED_WORST);
        Some(score.clamp(0.0, 1.0))
    }

    /// What the provider itself says of the key: the part of the score that comes from blocks and deferrals. Bounces and
    /// complaints are some tenant's doing; as long as the provider does not mind, they take nobody else's mail elsewhere.
    #[must_use]
    pub fn standing(&self) -> Option<f64> {
        let answered = self.answered();
        if answered < EVIDENCE_MIN {
            return None;
        }
        let standing =
            good(rate(self.blocked, answered), BLOCKED_WORST) * (1.0 - DEFERRED_WEIGHT * rate(self.deferred, answered));
        Some(standing.clamp(0.0, 1.0))
    }

    fn all_mut(&mut self) -> [&mut f64; 5] {
        [
            &mut self.delivered,
            &mut self.deferred,
            &mut self.blocked,
            &mut self.bounced,
            &mut self.complained,
        ]
    }

    fn add(&mut self, happening: Happening) {
        let [delivered, deferred, blocked, bounced, complained] = self.all_mut();
        *match happening {
            Happening::Delivered => delivered,
            Happening::Deferred => deferred,
            Happening::Blocked => blocked,
            Happening::Bounced => bounced,
            Happening::Complained => complained,
        } += 1.0;
    }
}

fn good(rate: f64, worst: f64) -> f64 {
    (1.0 - rate / worst).max(0.0)
}

fn rate(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).min(1.0) } else { 0.0 }
}

/// What is known of one subject.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// By [`HALF_LIVES`], as of `at`.
    pub windows: [Counts; 2],
    /// When they were brought up to date.
    pub at: Timestamp,
    /// For lanes: whether new mail rather goes from elsewhere.
    pub avoided: bool,
    /// Since when that is so, or is not.
    pub turned_at: Timestamp,
}

impl Tally {
    /// The same as of `now`. A clock that stands still or steps back changes nothing.
    #[must_use]
    pub fn as_of(&self, now: Timestamp) -> Self {
        let elapsed = now.since(self.at).as_secs_f64();
        let mut tally = *self;
        for (window, half_life) in tally.windows.iter_mut().zip(HALF_LIVES) {
            let left = (-elapsed / half_life.as_secs_f64()).exp2();
            window.all_mut().into_iter().for_each(|count| *count *= left);
        }
        tally.at = self.at.max(now);
        tally
    }

    /// The worse score of the windows that have enough evidence.
    #[must_use]
    pub fn score(&self) -> Option<f64> {
        let scores = self.windows.iter().filter_map(Counts::score);
        scores.reduce(f64::min)
    }

    fn add(&mut self, happening: Happening, now: Timestamp) {
        *self = self.as_of(now);
        self.windows.iter_mut().for_each(|window| window.add(happening));
    }

    fn has_faded(&self) -> bool {
        let long = &self.windows[1];
        long.answered() + long.complained < FADED && !self.avoided
    }

    /// Says whether it turned.
    fn turn(&mut self, now: Timestamp) -> bool {
        let standing = self.windows.iter().filter_map(Counts::standing).reduce(f64::min);
        let avoid = match standing {
            Some(score) if score < AVOID_BELOW => true,
            Some(score) if score <= USE_ABOVE => self.avoided,
            Some(_) | None => false,
        };
        let turned_before = self.turned_at > Timestamp(0);
        if avoid == self.avoided || (turned_before && now.since(self.turned_at) < TURN_SHORTEST) {
            return false;
        }
        self.avoided = avoid;
        self.turned_at = now;
        true
    }
}

/// What is known of everybody.
#[derive(Debug, Clone, Default)]
pub struct Book {
    tallies: BTreeMap<Subject, Tally>,
}

impl Book {
    /// Counts evidence. Says whether a lane is avoided now that was not, or the other way round.
    pub fn count(&mut self, evidence: &[(Subject, Happening)], now: Timestamp) -> bool {
        let mut turned = false;
        for (subject, happening) in evidence {
            if self.tallies.len() >= SUBJECTS_MAX && !self.tallies.contains_key(subject) {
                self.forget_faded(now);
                if self.tallies.len() >= SUBJECTS_MAX {
                    continue;
                }
            }
            let tally = self.tallies.entry(subject.clone()).or_default();
            tally.add(*happening, now);
            turned |= matches!(subject, Subject::Lane(_)) && tally.turn(now);
        }
        turned
    }

    /// Time passed: lanes without new evidence may be used again, and counts that have faded are forgotten. Gives those.
    pub fn on_time(&mut self, now: Timestamp) -> Vec<Subject> {
        for (subject, tally) in &mut self.tallies {
            if matches!(subject, Subject::Lane(_)) && tally.avoided {
                *tally = tally.as_of(now);
                tally.turn(now);
            }
        }
        self.forget_faded(now)
    }

    /// What is known of one, as of `now`.
    #[must_use]
    pub fn tally(&self, subject: &Subject, now: Timestamp) -> Option<Tally> {
        self.tallies.get(subject).map(|tally| tally.as_of(now))
    }

    /// Everybody, as of `now`.
    pub fn all(&self, now: Timestamp) -> impl Iterator<Item = (&Subject, Tally)> + '_ {
        self.tallies
            .iter()
            .map(move |(subject, tally)| (subject, tally.as_of(now)))
    }

    /// Lanes that new mail rather does not take.
    pub fn avoided(&self) -> impl Iterator<Item = &Lane> + '_ {
        self.tallies.iter().filter_map(|(subject, tally)| match subject {
            Subject::Lane(lane) if tally.avoided => Some(lane),
            _ => None,
        })
    }

    /// Takes in what was known before a restart.
    pub fn restore(&mut self, subject: Subject, tally: Tally) {
        if self.tallies.len() < SUBJECTS_MAX {
            self.tallies.insert(subject, tally);
        }
    }

    /// Begins anew with a stream of a tenant, and with the tenant.
    pub fn forget_stream(&mut self, tenant: TenantId, stream: Stream) {
        self.tallies.remove(&Subject::Tenant(tenant));
        self.tallies.remove(&Subject::Stream(tenant, stream));
    }

    fn forget_faded(&mut self, now: Timestamp) -> Vec<Subject> {
        let faded = self.tallies.extract_if(.., |_, tally| tally.as_of(now).has_faded());
        faded.map(|(subject, _)| subject).collect()
    }
}

#[cfg(test)]
mod tests;
