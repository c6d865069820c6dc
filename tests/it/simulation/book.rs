//! What happened in a run, and the rules that it must keep.
//!
//! Takes what the queue answered, what receivers saw and the time; gives the first broken rule, and the trace. Knows nothing
//! of how engines work: it looks at them from both of their ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use fastrand::Rng;
use posthaste::clock::Clock;
use posthaste::domain::{Class, DeliveryId, EventKind, Fence, Next, Settlement, State, Timestamp};
use posthaste::queue::{Intent, IntentAnswer, Leased, SettleAnswer};

use super::mail::{self, Mail};
use super::node::LEASE;
use super::plan::Plan;

/// After this, whatever is expired has its verdict, also in a lane that is shut.
const VERDICT_WITHIN: Duration = Duration::from_secs(60);
/// Clocks that were set wrong are wrong by this at most.
pub(super) const CLOCK_JUMP_MAX: Duration = Duration::from_secs(60);
/// Mail that is due and whose lane is open is on its way within this, with its lookup.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(3);
/// Waits of the same kind that are needed before they can be called too regular.
const WAITS_MIN: usize = 6;

/// What a node is to do, said from within a call that it made.
#[derive(Debug, Clone, Copy)]
pub(super) enum Request {
    Kill,
    Freeze,
}

/// An INTENT whose dot was not seen and which has no OUTCOME.
#[derive(Debug)]
struct Intended {
    node: usize,
    fence: Fence,
    at: Timestamp,
}

/// What is known of one Delivery.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) mail: Mail,
    expires_at: Timestamp,
    due_at: Option<Timestamp>,
    fence: Fence,
    /// INTENTs whose dot may still leave.
    intents: Vec<Intended>,
    open_intent: bool,
    ambiguous: u32,
    pub(super) copies: u32,
    /// When the first of them was kept, after it was due.
    pub(super) delay: Option<Duration>,
    first_due_at: Timestamp,
    /// Transactions in which receivers know of it.
    pub(super) in_session: u32,
    end: Option<State>,
}

/// What is known of one node, from its start to its end.
#[derive(Debug)]
pub(super) struct NodeFacts {
    pub(super) clock: Clock,
    pub(super) frozen: bool,
    pub(super) alive: bool,
}

/// What is known of one recipient domain.
#[derive(Debug, Default)]
pub(super) struct DoorFacts {
    pub(super) connections: u32,
    pub(super) active_at: Timestamp,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) plan: Plan,
    pub(super) chance: Rng,
    pub(super) mails: BTreeMap<u32, Facts>,
    pub(super) nodes: Vec<NodeFacts>,
    pub(super) doors: Vec<DoorFacts>,
    pub(super) requests: Vec<(usize, Request)>,
    /// When something last went wrong that no engine can do anything about.
    pub(super) disturbed_at: Timestamp,
    /// By kind, and by Delivery.
    waits: BTreeMap<(Class, u32, String), BTreeMap<u32, u64>>,
    pub(super) trace: Vec<String>,
    pub(super) broken: Option<String>,
}

impl Book {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            chance: Rng::with_seed(plan.seed ^ 0x5eed),
            doors: plan.doors.iter().map(|_| DoorFacts::default()).collect(),
            plan,
            mails: BTreeMap::new(),
            nodes: Vec::new(),
            requests: Vec::new(),
            disturbed_at: Timestamp(0),
            waits: BTreeMap::new(),
            trace: Vec::new(),
            broken: None,
        }
    }

    /// Whether a chance of so many in a thousand comes.
    pub(super) fn comes(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.chance.u32(..1_000) < per_mille
    }

    pub(super) fn breaks(&mut self, rule: &str, what: &str) {
        if self.broken.is_none() {
            self.broken = Some(format!("{rule}: {what}"));
        }
    }

    fn rule(&mut self, holds: bool, rule: &str, what: impl FnOnce() -> String) {
        if !holds {
            let what = what();
            self.breaks(rule, &what);
        }
    }

    fn facts(&mut self, id: DeliveryId) -> &mut Facts {
        self.mails.get_mut(&mail::number(id)).expect("all mail is known")
    }

    pub(super) fn accepted(&mut self, mail: Mail, now: Timestamp) {
        let due_at = now.plus(mail.due_in);
        let facts = Facts {
            mail,
            expires_at: due_at.plus(mail.life),
            due_at: Some(due_at),
            delay: None,
            first_due_at: due_at,
            fence: Fence(0),
            intents: Vec::new(),
            open_intent: false,
            ambiguous: 0,
            copies: 0,
            in_session: 0,
            end: None,
        };
        self.mails.insert(mail.number, facts);
    }

    /// I6: nothing comes out of the queue before it is due. Each lease has a fence of its own.
    pub(super) fn leased(&mut self, leased: &[Leased], now: Timestamp, parked: bool) {
        for leased in leased {
            let number = mail::number(leased.delivery.id);
            let facts = self.facts(leased.delivery.id);
            let (due_at, former) = (facts.due_at, facts.fence);
            facts.fence = leased.fence;
            let early = !parked && due_at.is_some_and(|due_at| now < due_at);
            self.rule(!early, "I6", || {
                format!("u{number} was taken at {now}, due at {due_at:?}")
            });
            self.rule(leased.fence > former, "fence", || format!("u{number} has an old fence"));
        }
    }

    /// It waits under its lane, or was given back: the time that it waited for may be another.
    pub(super) fn given_back(&mut self, id: DeliveryId, fence: Fence, due_at: Option<Timestamp>) {
        let facts = self.facts(id);
        if facts.fence == fence && facts.end.is_none() {
            facts.due_at = due_at;
        }
    }

    /// I2, I6, I7: what INTENT lets pass.
    pub(super) fn intended(&mut self, node: usize, intent: &Intent, answer: IntentAnswer) {
        if answer != IntentAnswer::Recorded {
            return;
        }
        let number = mail::number(intent.lease.delivery);
        let at = intent.at;
        let facts = self.facts(intent.lease.delivery);
        let (expires_at, due_at, fence, end) = (facts.expires_at, facts.due_at, facts.fence, facts.end);
        let again = facts.open_intent;
        let of = intent.lease.fence;
        facts.intents.push(Intended { node, fence: of, at });
        facts.open_intent = true;
        self.rule(end.is_none(), "I4", || {
            format!("u{number} is {end:?} and goes out again")
        });
        self.rule(fence == intent.lease.fence, "I2", || {
            format!("INTENT of u{number} under a lost lease")
        });
        self.rule(!again, "I2", || {
            format!("a second INTENT of u{number} beside an open one")
        });
        self.rule(at < expires_at, "I7", || {
            format!("u{number} expired at {expires_at}, INTENT at {at}")
        });
        let early = due_at.is_some_and(|due_at| at < due_at);
        self.rule(!early, "I6", || {
            format!("INTENT of u{number} at {at}, due at {due_at:?}")
        });
    }

    /// I4 and the fence: what OUTCOME lets pass.
    pub(super) fn settled(&mut self, settlement: &Settlement, answer: SettleAnswer, stored: Option<State>) {
        if answer != SettleAnswer::Settled {
            return;
        }
        let number = mail::number(settlement.delivery);
        let facts = self.facts(settlement.delivery);
        let (fence, end, ambiguous_before) = (facts.fence, facts.end, facts.ambiguous);
        facts.open_intent = false;
        facts.intents.retain(|intent| intent.fence != settlement.fence);
        facts.ambiguous += settlement.ambiguous;
        let state = match &settlement.next {
            Next::Final(state) => {
                facts.end = Some(*state);
                facts.due_at = None;
                *state
            }
            Next::Wait { state, due_at, .. } => {
                facts.due_at = Some(*due_at);
                *state
            }
        };
        let class = facts.mail.class;
        self.rule(end.is_none(), "I4", || {
            format!("u{number} was {end:?} and became {state}")
        });
        self.rule(fence == settlement.fence, "fence", || {
            format!("u{number} was settled under a lost lease")
        });
        self.rule(stored == Some(state), "I2", || {
            format!("u{number} is {state} for the engine and {stored:?} in the store")
        });
        self.rule(ambiguous_before + settlement.ambiguous <= 100, "I3", || {
            format!("u{number} is ambiguous without an end")
        });
        if let (Next::Wait { due_at, .. }, [EventKind::Deferred { why, reply, .. }]) =
            (&settlement.next, &settlement.events[..])
        {
            // A wait that somebody named is not ours to spread.
            let text = reply.as_ref().map_or("", |reply| &reply.text).to_owned();
            let wait = u64::try_from(due_at.since(settlement.at).as_millis()).expect("a short wait");
            let key = (class, settlement.attempts, format!("{why} {text}"));
            self.waits.entry(key).or_default().insert(number, wait);
        }
    }

    /// I2, I7: a dot has left, seen from the other side.
    pub(super) fn dot(&mut self, node: usize, number: u32) {
        let now = self.nodes[node].clock.now();
        let facts = self.mails.get_mut(&number).expect("all mail is known");
        let position = facts.intents.iter().rposition(|intent| intent.node == node);
        let intent = position.map(|position| facts.intents.remove(position));
        let Some(Intended { at, .. }) = intent else {
            return self.breaks("I2", &format!("a dot of u{number} from node {node} without an INTENT"));
        };
        // A large body leaves while its INTENT is written; its dot may be a little behind.
        let large = facts.mail.large;
        self.rule(large || now.since(at) < LEASE, "self-fence", || {
            format!("the dot of u{number} left at {now}, its INTENT was at {at}")
        });
    }

    /// I3: a copy is in a mailbox.
    pub(super) fn kept(&mut self, number: u32, now: Timestamp) {
        let facts = self.mails.get_mut(&number).expect("all mail is known");
        facts.delay.get_or_insert(now.since(facts.first_due_at));
        facts.copies += 1;
        let (copies, ambiguous, class) = (facts.copies, facts.ambiguous, facts.mail.class);
        self.rule(copies <= 1 + ambiguous, "I3", || {
            format!("copy {copies} of u{number}, which was ambiguous {ambiguous} times")
        });
        self.rule(copies <= 1 || class != Class::Broadcast, "I3", || {
            format!("copy {copies} of u{number}, which is held when ambiguous")
        });
    }

    /// I7, in calm times: what is expired has its verdict.
    pub(super) fn check_expiry(&mut self, number: u32, state: State, now: Timestamp) {
        let skew = if self.plan.clock_jumps {
            CLOCK_JUMP_MAX
        } else {
            Duration::ZERO
        };
        let calm = now.since(self.disturbed_at) > VERDICT_WITHIN + LEASE;
        let facts = &self.mails[&number];
        let over = now.since(facts.expires_at) > VERDICT_WITHIN + skew;
        let on_its_way = facts.open_intent || facts.in_session > 0 || state == State::Held;
        let expires_at = facts.expires_at;
        self.rule(!calm || !over || on_its_way, "I7", || {
            format!("u{number} expired at {expires_at} and is {state} at {now}")
        });
    }

    /// I12, once everything is healed and the pauses are over: a lane with due mail works.
    pub(super) fn check_work(&mut self, number: u32, due_at: Timestamp, now: Timestamp) {
        let door = self.mails[&number].mail.door;
        if self.plan.doors[door].dead {
            return;
        }
        let door = &self.doors[door];
        let waits = now.since(due_at) > ATTEMPT_WITHIN;
        let works = door.connections > 0 || now.since(door.active_at) <= ATTEMPT_WITHIN;
        let active_at = door.active_at;
        self.rule(!waits || works, "I12", || {
            format!("u{number} is due since {due_at}, its lane has been idle since {active_at}, it is {now}")
        });
    }

    /// I6: what failed together does not come back together.
    pub(super) fn check_waits(&mut self) {
        let regular = self.waits.iter().find(|(_, waits)| {
            let different: BTreeSet<u64> = waits.values().copied().collect();
            waits.len() >= WAITS_MIN && different.len() == 1
        });
        if let Some((kind, waits)) = regular {
            let what = format!("waits of {kind:?} without jitter: {waits:?} ms");
            self.breaks("I6", &what);
        }
    }

    /// The end of a Delivery against what receivers keep.
    pub(super) fn check_end(&mut self, number: u32, state: State, ends: usize, last_is_end: bool) {
        let facts = &self.mails[&number];
        let (copies, ambiguous, end) = (facts.copies, facts.ambiguous, facts.end);
        self.rule(end == Some(state), "I2", || {
            format!("u{number} is {state} without an OUTCOME")
        });
        self.rule(ends == 1 && last_is_end, "I4", || {
            format!("u{number} has {ends} events of its end")
        });
        self.rule(state != State::Delivered || copies > 0, "lost", || {
            format!("u{number} is delivered, and nobody has it")
        });
        self.rule(
            state == State::Delivered || copies == 0 || ambiguous > 0,
            "phantom",
            || format!("u{number} is {state}, was never ambiguous, and {copies} copies are kept"),
        );
    }

    /// The last lines, to look at.
    pub(super) fn tail(&self, lines: usize) -> String {
        let mut text = String::new();
        for line in &self.trace[self.trace.len().saturating_sub(lines)..] {
            let _ = writeln!(text, "  {line}");
        }
        text
    }
}
