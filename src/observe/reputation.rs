//! What the engine knows of names, good and bad: the book of reputation and the standing of tenants, shared by all parts.
//!
//! Takes what became durable from the settler, orders of operators from the API, notes from the store; gives the grade of a
//! tenant's stream to whoever sends or accepts, lanes to be avoided to routing, lists to the API. `policy::reputation` counts
//! and `policy::tenant_policy` decides, from what all nodes counted (`others`); this holds the lock. Readers of grades and lanes never wait for a writer that counts.

mod others;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::RandomState;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::domain::{
    Blame, Cause, Class, Delivery, Lane, LaneAction, Next, Settlement, State, Stream, TenantId, Timestamp,
};
use crate::policy::engagement::{Engagement, Interest};
use crate::policy::reputation::{Book, Happening, Subject, Tally, complaint, evidence};
use crate::policy::shares::Weights;
use crate::policy::tenant_policy::{Grade, OneTenant, Policy, Record, Standing, TenantSettings, concerns, judge};

pub use others::Counted;
use others::Others;

/// Changes of a stream's standing that are remembered.
pub const HISTORY_MAX: usize = 20;
/// A block that nobody hears of any more is over after this: no stop lasts longer.
const BLOCK_LONGEST: Duration = Duration::from_secs(4 * 3600 + 600);
/// Streams of tenants whose standing is kept.
const STREAMS_MAX: usize = 100_000;

/// A Settlement that is durable, and what was known when it was made.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// Of this Delivery.
    pub delivery: &'a Delivery,
    /// What became of it.
    pub settlement: &'a Settlement,
    /// Why, unless it was delivered.
    pub cause: Option<&'a Cause>,
    /// Through which lane.
    pub lane: Option<&'a Lane>,
    /// The domain that it was sent from, where that is known.
    pub domain: Option<&'a Arc<str>>,
}

/// A stream of a tenant that is treated otherwise from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub stream: Stream,
    /// How.
    pub standing: Standing,
}

/// Who stands where, as the hot paths see it.
#[derive(Debug, Default)]
struct View {
    grades: BTreeMap<(TenantId, Stream), (Grade, f64)>,
    avoided: BTreeSet<Lane>,
    blocked: BTreeMap<Lane, Blocked>,
}

/// A block of a lane that is about our address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// Whether it is about the addresses around it too.
    pub netblock: bool,
    /// When the provider said so last.
    pub at: Timestamp,
}

/// What a Settlement tells of its recipient; nothing where mail did not come as far as the mailbox.
fn interest_of(told: &Told<'_>) -> Option<Interest> {
    let is_about_the_recipient = told.cause.is_some_and(|cause| cause.blame == Blame::Recipient);
    match told.settlement.next {
        Next::Final(State::Delivered) => Some(Interest::Took),
        Next::Final(State::Bounced) if is_about_the_recipient => Some(Interest::TurnedAway),
        _ => None,
    }
}

#[derive(Debug, Default)]
struct Inner {
    settings: Arc<TenantSettings>,
    book: Book,
    /// The last one is how it stands.
    standings: BTreeMap<(TenantId, Stream), VecDeque<Standing>>,
    blocked: BTreeMap<Lane, Blocked>,
    others: Others,
    /// Not in the store yet.
    unsaved: BTreeSet<Subject>,
    unsaved_standings: BTreeSet<(TenantId, Stream)>,
}

/// The reputation of everybody. One for each engine.
#[derive(Debug, Default)]
pub struct Reputation {
    inner: Mutex<Inner>,
    view: RwLock<Arc<View>>,
    /// Apart from the rest: it is asked for each newsletter that has to wait.
    engagement: Mutex<Engagement<RandomState>>,
}

impl Reputation {
    /// Nothing is known of anybody.
    #[must_use]
    pub fn new(settings: TenantSettings) -> Self {
        let reputation = Self::default();
        reputation.configure(settings);
        reputation
    }

    /// Other settings from now on; what is known stays.
    pub fn configure(&self, settings: TenantSettings) {
        self.engagement().keep_at_most(settings.engaged_max);
        self.inner().settings = Arc::new(settings);
    }

    fn engagement(&self) -> MutexGuard<'_, Engagement<RandomState>> {
        self.engagement.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A recipient took the tenant's mail, or turned away from it. Settlements are noted by [`Self::settled`] already.
    pub fn note_interest(&self, tenant: TenantId, address: &str, interest: Interest) {
        self.engagement().note(tenant, address, interest);
    }

    /// Whether the recipient of a Delivery is engaged, as far as is known.
    #[must_use]
    pub fn is_engaged(&self, delivery: &Delivery) -> bool {
        self.engagement().is_engaged(delivery.tenant, &delivery.address)
    }

    /// What is configured for tenants.
    #[must_use]
    pub fn settings(&self) -> Arc<TenantSettings> {
        Arc::clone(&self.inner().settings)
    }

    /// What is configured for one.
    #[must_use]
    pub fn tenant(&self, tenant: TenantId) -> OneTenant {
        self.settings().each.get(&tenant).cloned().unwrap_or_default()
    }

    /// The weights of tenants.
    #[must_use]
    pub fn weights(&self) -> Weights {
        self.settings().weights()
    }

    /// How mail of this class and tenant is treated, and at which pace while it is slow (messages a second).
    #[must_use]
    pub fn grade(&self, tenant: TenantId, class: Class) -> (Grade, f64) {
        match concerns(class) {
            true => self.grade_of(tenant, class.stream()),
            false => (Grade::Free, 0.0),
        }
    }

    /// The same of a stream.
    #[must_use]
    pub fn grade_of(&self, tenant: TenantId, stream: Stream) -> (Grade, f64) {
        let known = self.view().grades.get(&(tenant, stream)).copied();
        known.unwrap_or((Grade::Free, 0.0))
    }

    /// Whether new mail rather takes another lane.
    #[must_use]
    pub fn avoids(&self, lane: &Lane) -> bool {
        self.view().avoided.contains(lane)
    }

    /// The block of a lane, if the provider blocks our address there.
    #[must_use]
    pub fn blocked(&self, lane: &Lane) -> Option<Blocked> {
        self.view().blocked.get(lane).copied()
    }

    /// All lanes that are blocked for our address.
    #[must_use]
    pub fn blocked_lanes(&self) -> Vec<Lane> {
        self.view().blocked.keys().cloned().collect()
    }

    /// These are durable. Gives streams that are treated otherwise from now on.
    pub fn settled<'a>(&self, told: impl IntoIterator<Item = Told<'a>>, now: Timestamp) -> Vec<Change> {
        let mut inner = self.inner();
        let mut changes = Vec::new();
        let mut turned = false;
        for one in told {
            if let Some(interest) = interest_of(&one) {
                self.note_interest(one.delivery.tenant, &one.delivery.address, interest);
            }
            turned |= inner.blocks(&one, now);
            let evidence = evidence(one.delivery, one.settlement, one.cause, one.lane, one.domain);
            turned |= inner.count(&evidence, now);
            if evidence.iter().any(|(subject, _)| subject.tenant().is_some()) {
                changes.extend(inner.judge(one.delivery.tenant, now));
            }
        }
        if turned || !changes.is_empty() {
            self.show(&inner);
        }
        changes
    }

    /// Somebody complained about mail of this tenant.
    pub fn complained(
        &self,
        tenant: TenantId,
        stream: Stream,
        domain: Option<&Arc<str>>,
        lane: Option<&Lane>,
        now: Timestamp,
    ) -> Vec<Change> {
        let mut inner = self.inner();
        let turned = inner.count(&complaint(tenant, stream, domain, lane), now);
        let changes = inner.judge(tenant, now);
        if turned || !changes.is_empty() {
            self.show(&inner);
        }
        changes
    }

    /// Time passed. Gives streams that are treated otherwise from now on.
    pub fn on_time(&self, now: Timestamp) -> Vec<Change> {
        let mut inner = self.inner();
        let forgotten = inner.book.on_time(now);
        inner.unsaved.extend(forgotten);
        inner.blocked.retain(|_, blocked| now.since(blocked.at) < BLOCK_LONGEST);
        let slow: BTreeSet<TenantId> = inner.slow().collect();
        let changes = slow.into_iter().flat_map(|tenant| inner.judge(tenant, now)).collect();
        self.show(&inner);
        changes
    }

    /// An operator decides about a stream. Resuming begins its count anew.
    pub fn set_by_hand(
        &self,
        tenant: TenantId,
        stream: Stream,
        grade: Grade,
        reason: String,
        now: Timestamp,
    ) -> Change {
        let mut inner = self.inner();
        let standing = Standing {
            grade,
            since: now,
            reason,
            by_hand: true,
            slow_rate: 0.0,
        };
        if grade == Grade::Free {
            inner.resume(tenant, stream, now);
        }
        inner.stand(tenant, stream, standing.clone());
        self.show(&inner);
        Change {
            tenant,
            stream,
            standing,
        }
    }

    /// Where all streams stand that ever stood otherwise, oldest change first.
    #[must_use]
    pub fn standings(&self) -> Vec<(TenantId, Stream, Vec<Standing>)> {
        let inner = self.inner();
        let standings = inner.standings.iter();
        standings
            .map(|((tenant, stream), history)| (*tenant, *stream, history.iter().cloned().collect()))
            .collect()
    }

    /// The policy of a tenant.
    #[must_use]
    pub fn policy(&self, tenant: TenantId) -> Policy {
        self.inner().settings.policy(tenant)
    }

    /// What is known of one: of a tenant and its streams over all nodes.
    #[must_use]
    pub fn tally(&self, subject: &Subject, now: Timestamp) -> Option<Tally> {
        self.inner().sum(subject, now)
    }

    /// What is known of everybody, in the same way.
    #[must_use]
    pub fn all(&self, now: Timestamp) -> Vec<(Subject, Tally)> {
        self.inner().everybody(now)
    }

    /// Up to `max` subjects that the store has not seen yet: none as tally means that it is forgotten.
    #[must_use]
    pub fn take_unsaved(&self, max: usize, now: Timestamp) -> Vec<(Subject, Option<Tally>)> {
        let mut inner = self.inner();
        let subjects: Vec<Subject> = inner.unsaved.iter().take(max).cloned().collect();
        let saved = subjects.into_iter().map(|subject| {
            inner.unsaved.remove(&subject);
            let tally = inner.book.tally(&subject, now);
            (subject, tally)
        });
        saved.collect()
    }

    /// Up to `max` streams whose standing the store has not seen yet, with their changes.
    #[must_use]
    pub fn take_unsaved_standings(&self, max: usize) -> Vec<(TenantId, Stream, Vec<Standing>)> {
        let mut inner = self.inner();
        let keys: Vec<_> = inner.unsaved_standings.iter().take(max).copied().collect();
        let mut saved = Vec::with_capacity(keys.len());
        for key in keys {
            inner.unsaved_standings.remove(&key);
            let history = inner.standings.get(&key);
            let history = history.map(|history| history.iter().cloned().collect());
            saved.push((key.0, key.1, history.unwrap_or_default()));
        }
        saved
    }

    /// These could not be saved: they are to be saved again.
    pub fn save_again(&self, subjects: Vec<Subject>, streams: Vec<(TenantId, Stream)>) {
        let mut inner = self.inner();
        inner.unsaved.extend(subjects);
        inner.unsaved_standings.extend(streams);
    }

    /// Takes in what was known before a restart.
    pub fn restore(&self, tallies: Vec<(Subject, Tally)>) {
        let mut inner = self.inner();
        for (subject, tally) in tallies {
            inner.book.restore(subject, tally);
        }
        self.show(&inner);
    }

    /// Takes in the changes of a stream as the store has them, unless ours are newer. So all nodes that share a store follow
    /// each other's pauses.
    pub fn adopt(&self, tenant: TenantId, stream: Stream, history: Vec<Standing>) {
        let mut inner = self.inner();
        let key = (tenant, stream);
        let since = |standing: Option<&Standing>| standing.map(|standing| standing.since);
        let ours = inner.standings.get(&key).and_then(VecDeque::back);
        if inner.unsaved_standings.contains(&key) || since(ours) >= since(history.last()) {
            return;
        }
        inner.look_for_resume(tenant, stream, &history);
        inner.standings.insert(key, history.into_iter().collect());
        self.show(&inner);
    }

    fn show(&self, inner: &Inner) {
        let standings = inner.standings.iter();
        let grades = standings.filter_map(|(key, history)| {
            let standing = history.back().filter(|standing| standing.grade != Grade::Free)?;
            // Each node lets its part of a slowed stream through.
            Some((*key, (standing.grade, standing.slow_rate / inner.others.nodes())))
        });
        let view = Arc::new(View {
            grades: grades.collect(),
            avoided: inner.book.avoided().cloned().collect(),
            blocked: inner.blocked.clone(),
        });
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view;
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn count(&mut self, evidence: &[(Subject, Happening)], now: Timestamp) -> bool {
        self.unsaved.extend(evidence.iter().map(|(subject, _)| subject.clone()));
        self.book.count(evidence, now)
    }

    /// Notes that a lane is blocked for our address, or is not any more. Says whether that changed.
    fn blocks(&mut self, told: &Told<'_>, now: Timestamp) -> bool {
        let Some(lane) = told.lane else { return false };
        if told.settlement.next == Next::Final(State::Delivered) {
            return self.blocked.remove(lane).is_some();
        }
        let blamed = told.cause.filter(|cause| {
            matches!(cause.blame, Blame::SourceIp | Blame::Netblock) && matches!(cause.action, LaneAction::Stop(_))
        });
        let Some(cause) = blamed else { return false };
        let blocked = Blocked {
            netblock: cause.blame == Blame::Netblock,
            at: now,
        };
        self.blocked.insert(lane.clone(), blocked) != Some(blocked)
    }

    fn judge(&mut self, tenant: TenantId, now: Timestamp) -> Vec<Change> {
        let policy = self.settings.policy(tenant);
        let mut changes = Vec::new();
        if policy == Policy::None {
            return changes;
        }
        let of_tenant = self.sum(&Subject::Tenant(tenant), now).unwrap_or_default();
        for stream in [Stream::Transactional, Stream::Broadcast] {
            let of_stream = self.sum(&Subject::Stream(tenant, stream), now);
            let record = Record {
                stream: of_stream.unwrap_or_default(),
                tenant: of_tenant,
            };
            let before = self.standings.get(&(tenant, stream)).and_then(VecDeque::back);
            let before = before.cloned().unwrap_or_default();
            let next = judge(policy, stream, &record, &before, &self.settings.thresholds, now);
            if let Some(standing) = next {
                self.stand(tenant, stream, standing.clone());
                changes.push(Change {
                    tenant,
                    stream,
                    standing,
                });
            }
        }
        changes
    }

    fn stand(&mut self, tenant: TenantId, stream: Stream, standing: Standing) {
        let key = (tenant, stream);
        if self.standings.len() >= STREAMS_MAX && !self.standings.contains_key(&key) {
            return;
        }
        let history = self.standings.entry(key).or_default();
        if history.len() >= HISTORY_MAX {
            history.pop_front();
        }
        history.push_back(standing);
        self.unsaved_standings.insert(key);
    }

    fn slow(&self) -> impl Iterator<Item = TenantId> + '_ {
        let standings = self.standings.iter();
        let slow = standings.filter(|(_, history)| history.back().is_some_and(|last| last.grade == Grade::Slow));
        slow.map(|((tenant, _), _)| *tenant)
    }
}

#[cfg(test)]
mod tests;
