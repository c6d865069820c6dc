//! Which session gets which Delivery, and when a session is opened or closed: the waiting room of one lane.
//!
//! Takes offers, sessions that ask for work, the number of live connections and `now`; gives [`Step`]s to carry out. Work is
//! bound to a session only when that session is up and asks (late binding), so a refused connection defers no message.
//! Sessions belong to a site: the same provider may serve other domains on other hosts. More urgent classes go first; every
//! twelfth turn goes to the least urgent one, so that nothing starves; within a class tenants share by weight
//! ([`crate::policy::shares`]). While codes come through a lane of some width, one of its sessions is kept for them: a code
//! then waits for no newsletter, unless codes alone fill the lane. A connection that hangs holds no place of the lane, within the
//! pins. A shut lane hands everything back.
//!
//! Generic over the work, so that it knows nothing of leases. Never opens, sends or sleeps itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Class, LaneAction, Timestamp};
use crate::policy::controller::{Answer, Evidence};
use crate::policy::lane_gate::{LaneGate, Live, Permit};
use crate::policy::openings::{ConnectTime, Openings};
use crate::policy::shares::{OfTenant, Shares, Weights};
use crate::policy::shelves::order_of_classes;

/// A lane with so many sessions up keeps one of them for codes; in a smaller one it would be too large a part.
const WIDTH_TO_KEEP_ONE: u32 = 5;
/// After so many codes in a row on the session that is kept, codes fill the lane: then it has turns like all others.
const CODES_IN_A_ROW: u64 = 5;
/// A session is kept for so long after the last code.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// So many connections that hang hold no place of the lane, for each one that is up.
const HANGING_BESIDE_ONE: usize = 4;
/// So many where none is up: the next host is knocked at while the first two do not answer.
const HANGING_ALONE: usize = 2;

/// What the owner of the room should do.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// Give this work to the session that asked under this ticket.
    Give {
        /// Names the waiting session.
        ticket: u64,
        /// The work.
        work: T,
    },
    /// Open a session to this site.
    Open {
        /// Names the set of hosts.
        site: Arc<str>,
    },
    /// Tell the session that asked under this ticket to quit.
    Close {
        /// Names the waiting session.
        ticket: u64,
    },
    /// The lane is shut: give the work back to the queue.
    HandBack {
        /// All of it.
        work: Vec<T>,
    },
    /// Nothing more to do before this time.
    AskAgainAt(Timestamp),
}

/// What the provider answered to a message of this lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Its wish for the lane.
    pub action: LaneAction,
    /// Whether that was a delivery.
    pub delivered: bool,
    /// When the attempt began.
    pub started: Timestamp,
    /// Messages that its connection had carried before it, if that is known.
    pub before: Option<u32>,
}

/// The waiting room of one lane.
#[derive(Debug)]
pub struct LaneRoom<T> {
    gate: LaneGate,
    sites: BTreeMap<Arc<str>, Site<T>>,
    queued: usize,
    turns: u64,
    /// Codes given since other work was.
    codes_in_a_row: u64,
    idle_longest: Duration,
    weights: Weights,
    /// Since when codes have come without a long pause: when the last one was seen to wait.
    code_at: Option<Timestamp>,
    connect_time: ConnectTime,
}

#[derive(Debug)]
struct Site<T> {
    queues: [Shares<T>; 3],
    idle: VecDeque<(u64, Timestamp)>,
    opening: Openings,
}

impl<T> Default for Site<T> {
    fn default() -> Self {
        Self {
            queues: [Shares::default(), Shares::default(), Shares::default()],
            idle: VecDeque::new(),
            opening: Openings::default(),
        }
    }
}

impl<T> Site<T> {
    fn queued(&self) -> usize {
        self.queues.iter().map(Shares::len).sum()
    }

    fn codes(&self) -> usize {
        self.queues[Class::Critical.index()].len()
    }

    fn take(&mut self, turn: u64, weights: &Weights) -> Option<T> {
        let classes = order_of_classes(turn).into_iter();
        classes
            .map(Class::index)
            .find_map(|class| self.queues[class].pop_front(weights))
    }

    fn is_unused(&self) -> bool {
        self.opening.is_empty() && self.idle.is_empty() && self.queues.iter().all(Shares::is_empty)
    }
}

impl<T: OfTenant> LaneRoom<T> {
    /// An empty room behind `gate`; sessions without work are closed after `idle_longest`.
    #[must_use]
    pub fn new(gate: LaneGate, idle_longest: Duration) -> Self {
        Self {
            gate,
            sites: BTreeMap::new(),
            queued: 0,
            turns: 0,
            codes_in_a_row: 0,
            idle_longest,
            weights: Weights::default(),
            code_at: None,
            connect_time: ConnectTime::default(),
        }
    }

    /// Tenants share by these weights from now on.
    pub fn set_weights(&mut self, weights: Weights) {
        self.weights = weights;
    }

    /// Work that waits here.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Whether there is neither work nor a session that waits or is being opened.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.sites.values().all(Site::is_unused)
    }

    /// Until when the lane is shut, if it is.
    #[must_use]
    pub fn shut_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.gate.shut_until(now)
    }

    /// Messages that one connection may carry.
    #[must_use]
    pub fn messages_per_connection(&self) -> u32 {
        self.gate.messages_per_connection()
    }

    /// All work that waits here, e.g. to renew its leases.
    pub fn work(&self) -> impl Iterator<Item = &T> {
        self.sites
            .values()
            .flat_map(|site| site.queues.iter().flat_map(Shares::iter))
    }

    /// The same, to change what is known of it.
    pub fn work_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.sites
            .values_mut()
            .flat_map(|site| site.queues.iter_mut().flat_map(Shares::iter_mut))
    }

    /// New work for a site.
    pub fn offer(&mut self, site: &Arc<str>, class: Class, work: T) {
        self.sites.entry(Arc::clone(site)).or_default().queues[class.index()].push_back(work);
        self.queued += 1;
    }

    /// Work that was given and could not be begun: it goes first again.
    pub fn put_back(&mut self, site: &Arc<str>, class: Class, work: T) {
        self.sites.entry(Arc::clone(site)).or_default().queues[class.index()].push_front(work);
        self.queued += 1;
        self.gate.on_unused();
    }

    /// A session of a site is up and asks for work.
    pub fn ask(&mut self, site: &Arc<str>, ticket: u64, now: Timestamp) {
        self.sites
            .entry(Arc::clone(site))
            .or_default()
            .idle
            .push_back((ticket, now));
    }

    /// A session whose opening was `begun` then is up; `up` counts it.
    pub fn opened(&mut self, site: &Arc<str>, begun: Timestamp, up: u32, now: Timestamp) {
        self.no_longer_opening(site, begun);
        self.connect_time.on_up(now.since(begun));
        self.gate.on_opened(self.live(up, now), now);
    }

    /// A session whose opening was `begun` then could not be opened while `up` others are up. One that hung without a word
    /// held no place, and tells nothing of how many there are.
    pub fn open_failed(&mut self, site: &Arc<str>, begun: Timestamp, action: LaneAction, up: u32, now: Timestamp) {
        self.no_longer_opening(site, begun);
        let hung = now.since(begun) > self.connect_time.patience();
        let live = self.live(up, now);
        if hung && action == LaneAction::None && up > 0 {
            self.gate.on_open_hung();
        } else {
            self.gate.on_open_failed(action, live, now);
        }
    }

    /// A session was not opened after all, and the provider has no part in it.
    pub fn open_withdrawn(&mut self, site: &Arc<str>) {
        if let Some(site) = self.sites.get_mut(site) {
            site.opening.withdraw();
        }
        self.gate.on_open_lost();
    }

    /// The provider answered a message. Its session is busy until it asks again.
    pub fn answered(&mut self, report: Report, up: u32, now: Timestamp) {
        let idle = self.sites.values().map(|site| site.idle.len()).sum::<usize>();
        let live = self.live(up, now);
        let answer = Answer {
            action: report.action,
            delivered: report.delivered,
            started: report.started,
            busy: (up + live.opening).saturating_sub(u32::try_from(idle).unwrap_or(u32::MAX)),
            before: report.before,
        };
        self.gate.on_answer(answer, live, now);
    }

    /// What the lane has learnt and decided.
    #[must_use]
    pub fn gate(&self) -> &LaneGate {
        &self.gate
    }

    /// The same, to move its pins or to tell it what concerns no work.
    pub fn gate_mut(&mut self) -> &mut LaneGate {
        &mut self.gate
    }

    /// Does something; what is decided by it was decided because the other side said this.
    pub fn because(&mut self, said: Option<&Arc<Evidence>>, does: impl FnOnce(&mut Self)) {
        let decided = self.gate.controller().decided();
        does(self);
        if let Some(evidence) = said {
            self.gate.controller_mut().explain(decided, evidence);
        }
    }

    /// Work that was given will not be answered: its dot was withheld, or its session died.
    pub fn unanswered(&mut self, started: Timestamp) {
        self.gate.controller_mut().on_unanswered(started);
    }

    /// One piece of work that waits for the site, e.g. to tell its sender why it waits.
    pub fn take_one(&mut self, site: &Arc<str>) -> Option<T> {
        let work = self.sites.get_mut(site)?.take(1, &self.weights)?;
        self.queued -= 1;
        Some(work)
    }

    /// All work for which this holds, e.g. because its time ran out.
    pub fn take_where(&mut self, holds: impl Fn(&T) -> bool) -> Vec<T> {
        let queues = self.sites.values_mut().flat_map(|site| &mut site.queues);
        let taken: Vec<T> = queues.flat_map(|queue| queue.take_where(&holds)).collect();
        self.queued -= taken.len();
        taken
    }

    /// Whether there is work or a session of this site.
    #[must_use]
    pub fn uses(&self, site: &Arc<str>) -> bool {
        self.sites.get(site).is_some_and(|site| !site.is_unused())
    }

    /// No connection of the lane is up or being opened: whoever was thought to open one has died without a word.
    pub fn nobody_is_coming(&mut self) {
        self.sites.values_mut().for_each(|site| site.opening.clear());
        self.gate.on_nobody_left();
    }

    /// Everything, when the owner stops.
    pub fn drain(&mut self) -> Vec<T> {
        self.queued = 0;
        self.sites
            .values_mut()
            .flat_map(|site| site.queues.iter_mut().flat_map(Shares::drain))
            .collect()
    }

    /// Tickets of all waiting sessions, when the owner stops.
    pub fn dismiss(&mut self) -> Vec<u64> {
        self.sites
            .values_mut()
            .flat_map(|site| site.idle.drain(..).map(|(ticket, _)| ticket))
            .collect()
    }

    /// What to do now, with these connections.
    pub fn steps(&mut self, live: Live, now: Timestamp) -> Vec<Step<T>> {
        let mut steps = Vec::new();
        if self.gate.shut_until(now).is_some() {
            if self.queued > 0 {
                steps.push(Step::HandBack { work: self.drain() });
            }
            self.close_idle(now, Duration::ZERO, &mut steps);
            return steps;
        }
        let mut again = None;
        let kept = self.kept_for_codes(live, now);
        self.give(kept, now, &mut steps, &mut again);
        self.open(live, kept, now, &mut steps, &mut again);
        self.close_idle(now, self.idle_longest, &mut steps);
        self.sites.retain(|_, site| !site.is_unused());
        steps.extend(again.map(Step::AskAgainAt));
        steps
    }

    /// How many of its sessions the lane keeps for codes: one, while codes come through it and it has some.
    fn kept_for_codes(&mut self, live: Live, now: Timestamp) -> usize {
        if self.sites.values().any(|site| site.codes() > 0) {
            self.code_at = Some(now);
        }
        let lately = self.code_at.is_some_and(|at| now.since(at) < KEPT_FOR);
        usize::from(lately && live.up >= WIDTH_TO_KEEP_ONE)
    }

    fn give(&mut self, kept: usize, now: Timestamp, steps: &mut Vec<Step<T>>, again: &mut Option<Timestamp>) {
        let mut idle: usize = self.sites.values().map(|site| site.idle.len()).sum();
        for site in self.sites.values_mut() {
            while !site.idle.is_empty() && site.queued() > 0 {
                let for_codes = idle <= kept;
                if for_codes && site.codes() == 0 {
                    break;
                }
                if let Permit::Wait(until) = self.gate.send(now) {
                    *again = earliest(*again, until);
                    return;
                }
                self.turns += 1;
                // The session that was used last is the one the other side has not timed out. One that is kept would be
                // timed out if it were always the same.
                let session = match kept {
                    0 => site.idle.pop_back(),
                    _ => site.idle.pop_front(),
                };
                let turn = if for_codes && self.codes_in_a_row < CODES_IN_A_ROW {
                    1
                } else {
                    self.turns
                };
                let codes = site.codes();
                let (Some((ticket, _)), Some(work)) = (session, site.take(turn, &self.weights)) else {
                    break;
                };
                self.codes_in_a_row = if site.codes() < codes {
                    self.codes_in_a_row + 1
                } else {
                    0
                };
                idle -= 1;
                self.queued -= 1;
                steps.push(Step::Give { ticket, work });
            }
        }
    }

    fn open(
        &mut self,
        live: Live,
        kept: usize,
        now: Timestamp,
        steps: &mut Vec<Step<T>>,
        again: &mut Option<Timestamp>,
    ) {
        let patience = self.connect_time.patience();
        let pin = self.gate.connections_most();
        let mut spare = pin.saturating_sub(live.up.saturating_add(live.opening));
        let mut live = self.without_hanging(live, now);
        let mut short_of_connections = false;
        for (name, site) in &mut self.sites {
            let hanging = site.opening.hanging(patience, now);
            // Where a session waits for the pace of the lane, another one would only wait beside it.
            let wanted = match site.idle.len() <= kept {
                true => site.queued().saturating_sub(site.opening.len() - hanging),
                false => 0,
            };
            for _ in 0..wanted {
                let permit = match spare {
                    0 => Permit::Full,
                    _ => self.gate.open(live, now),
                };
                match permit {
                    Permit::Go => {
                        live.opening += 1;
                        spare -= 1;
                        site.opening.begin(now);
                        steps.push(Step::Open { site: Arc::clone(name) });
                    }
                    Permit::Wait(until) => {
                        *again = earliest(*again, until);
                        break;
                    }
                    Permit::Full => {
                        short_of_connections |= site.opening.is_empty();
                        if let Some(hangs_at) = site.opening.next_hangs_at(patience, now) {
                            *again = earliest(*again, hangs_at);
                        }
                        break;
                    }
                }
            }
        }
        if short_of_connections {
            let idle = self
                .sites
                .values_mut()
                .filter(|site| site.queued() == 0)
                .find_map(|site| site.idle.pop_front());
            steps.extend(idle.map(|(ticket, _)| Step::Close { ticket }));
        }
    }

    fn close_idle(&mut self, now: Timestamp, longest: Duration, steps: &mut Vec<Step<T>>) {
        for site in self.sites.values_mut() {
            while site.idle.front().is_some_and(|&(_, since)| now.since(since) >= longest) {
                steps.extend(site.idle.pop_front().map(|(ticket, _)| Step::Close { ticket }));
            }
        }
    }

    /// Those up, and those that this room believes are on their way and do not hang.
    fn live(&self, up: u32, now: Timestamp) -> Live {
        let opening = self.sites.values().map(|site| site.opening.len()).sum::<usize>();
        let opening = u32::try_from(opening).unwrap_or(u32::MAX);
        self.without_hanging(Live { up, opening }, now)
    }

    fn without_hanging(&self, live: Live, now: Timestamp) -> Live {
        let patience = self.connect_time.patience();
        let hanging = |site: &Site<T>| site.opening.hanging(patience, now);
        let hanging = self.sites.values().map(hanging).sum::<usize>();
        let up = usize::try_from(live.up).unwrap_or(usize::MAX);
        let at_most = up.saturating_mul(HANGING_BESIDE_ONE).max(HANGING_ALONE);
        let hanging = u32::try_from(hanging.min(at_most)).unwrap_or(u32::MAX);
        Live {
            opening: live.opening.saturating_sub(hanging),
            ..live
        }
    }

    fn no_longer_opening(&mut self, site: &Arc<str>, begun: Timestamp) {
        if let Some(site) = self.sites.get_mut(site) {
            site.opening.end(begun);
        }
    }
}

fn earliest(known: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(known.map_or(other, |known| known.min(other)))
}

#[cfg(test)]
mod tests;
