//! A client and a receiver on virtual time: the loop that carries out what an algorithm wants and tells it what came of it.
//!
//! Takes a scenario's model, an algorithm with endless work, a seed and a duration; gives what was delivered, second by
//! second, and what was refused. Never reads a clock and never draws from anything but its seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use posthaste::domain::Timestamp;
use posthaste::policy::lane_gate::Live;
use provider_sim::model::{ConnectAnswer, DotAnswer, MailAnswer, Model, Refusal};

use super::watch::Watch;

/// The virtual clock starts here, so that "long ago" is a time too.
const START_MS: u64 = 1_000_000_000;

/// What an algorithm wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Give a message to this idle session.
    Give(u64),
    /// Open a session.
    Open,
    /// Quit this idle session.
    Close(u64),
    /// Ask again then.
    AskAt(Timestamp),
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// A session whose opening was begun at this time is up.
    Opened(Timestamp),
    /// A session whose opening was begun at this time was refused or failed.
    OpenFailed(ConnectAnswer, Timestamp),
    /// A message that was given at this time was delivered.
    Delivered(Timestamp),
    /// One was refused, on a connection that had carried so many.
    Refused(Refusal, Timestamp, u32),
    /// Nobody will ever know what became of a message that was given at this time; its session is gone. Whether the lane is
    /// told that there was no answer, or has to find out that its session is gone.
    Lost(Timestamp, bool),
    /// This session waits for work.
    Idle(u64),
}

/// A client with endless work.
pub(crate) trait Algorithm {
    /// Something happened.
    fn on_news(&mut self, news: News, live: Live, now: Timestamp);
    /// What to do now.
    fn wishes(&mut self, live: Live, now: Timestamp) -> Vec<Wish>;
    /// Whether a message is bound to a connection before that is up, so that a refusal defers it.
    fn binds_early(&self) -> bool;
    /// Messages that a connection may carry.
    fn messages_max(&self) -> u32;
    /// Most connections that it would use now, one probe aside.
    fn connections(&self) -> u32;
    /// Messages a second that it would send now at most; none: no limit of its own.
    fn rate(&self, _now: Timestamp) -> Option<f64> {
        None
    }
}

/// The state of a run at the end of a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// Connections that are up.
    pub(crate) up: u32,
    /// Connections that the algorithm wants.
    pub(crate) wanted: u32,
    /// Messages a second that it allows itself.
    pub(crate) rate: Option<f64>,
}

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A connection.
    Connection,
    /// A message.
    Message(Refusal),
}

/// Refusals that are remembered with their times, the first ones.
const REFUSED_MAX: usize = 2_000;

/// What one run came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Deliveries in each second.
    pub(crate) delivered: Vec<u32>,
    /// Messages that were refused for the lane's doing and must come back.
    pub(crate) deferred: u64,
    /// Refusals of connections and messages.
    pub(crate) throttled: u64,
    /// Messages that were greylisted.
    pub(crate) greylisted: u64,
    /// Connections, summed over seconds.
    pub(crate) connection_seconds: u64,
    /// Most connections, when one was opened, above what the algorithm said it would use.
    pub(crate) over_target_max: u32,
    /// Blocks for reputation, and messages that were tried while one was on.
    pub(crate) blocks: (u64, u64),
    /// How it stood at the end of each second.
    pub(crate) trace: Vec<Point>,
    /// When it was refused what, in seconds from the start.
    pub(crate) refused: Vec<(f64, Refused)>,
    /// What must hold at every moment.
    pub(crate) watch: Watch,
}

impl Outcome {
    /// All deliveries.
    pub(crate) fn delivered_total(&self) -> u64 {
        self.delivered.iter().map(|count| u64::from(*count)).sum()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Up(u64, u64),
    Failed(u8, u64),
    Replied(u64, u64, Option<u8>),
    Dot(u64, u64),
    Ask,
    Second,
}

/// A failed connection, of those that hung before.
const HUNG: u8 = 2;
/// What fails without a word after so long has hung.
const HANGS: Duration = Duration::from_secs(10);

fn timestamp(at_us: u64) -> Timestamp {
    Timestamp(START_MS + at_us / 1000)
}

struct Session {
    sent: u32,
}

/// The loop.
pub(crate) struct World<'a> {
    model: Model,
    algorithm: &'a mut dyn Algorithm,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    now_us: u64,
    sessions: BTreeMap<u64, Session>,
    opening: u32,
    /// Of those, how many no host will ever answer.
    hanging: u32,
    ask_at: Option<u64>,
    outcome: Outcome,
    faults: Faults,
}

/// What goes wrong on our side.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    /// Share of messages whose session dies with them.
    pub(crate) lost: f64,
    random: fastrand::Rng,
}

impl Faults {
    /// This share of messages is lost, by this seed.
    pub(crate) fn new(lost: f64, seed: u64) -> Self {
        Self {
            lost,
            random: fastrand::Rng::with_seed(seed),
        }
    }
}

const REFUSALS: [Refusal; 4] = [
    Refusal::Rate,
    Refusal::Reputation,
    Refusal::Greylist,
    Refusal::MessagesPerConnection,
];

impl<'a> World<'a> {
    /// Runs the algorithm against the model for this long, with these faults of our own.
    pub(crate) fn run(model: Model, algorithm: &'a mut dyn Algorithm, seconds: u64, faults: Faults) -> Outcome {
        let mut world = Self {
            model,
            algorithm,
            events: BinaryHeap::new(),
            order: 0,
            now_us: 0,
            sessions: BTreeMap::new(),
            opening: 0,
            hanging: 0,
            ask_at: None,
            outcome: Outcome {
                delivered: vec![0; usize::try_from(seconds).unwrap_or(0)],
                ..Outcome::default()
            },
            faults,
        };
        world.at(1_000_000, Event::Second);
        world.carry_out();
        while let Some(Reverse((at, _, event))) = world.events.pop() {
            if at >= seconds * 1_000_000 {
                break;
            }
            world.now_us = at;
            world.happen(event);
            world.carry_out();
        }
        world.outcome.blocks = world.model.blocks();
        world.outcome
    }

    fn at(&mut self, at_us: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at_us, self.order, event)));
    }

    fn after(&mut self, wait: Duration, event: Event) {
        let wait = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX / 2);
        self.at(self.now_us + wait, event);
    }

    fn now(&self) -> Timestamp {
        timestamp(self.now_us)
    }

    fn live(&self) -> Live {
        Live {
            up: u32::try_from(self.sessions.len()).unwrap_or(u32::MAX),
            opening: self.opening,
        }
    }

    /// The same without those that no host will ever answer: they hold no place and crowd nobody.
    fn live_but_hanging(&self) -> Live {
        let live = self.live();
        Live {
            opening: live.opening - self.hanging,
            ..live
        }
    }

    fn tell(&mut self, news: News) {
        let (live, now) = (self.live(), self.now());
        self.algorithm.on_news(news, live, now);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Up(id, begun) => {
                self.opening -= 1;
                self.sessions.insert(id, Session { sent: 0 });
                self.outcome.watch.opened(Duration::from_micros(self.now_us));
                self.tell(News::Opened(timestamp(begun)));
                self.tell(News::Idle(id));
            }
            Event::Failed(which, begun) => {
                self.opening -= 1;
                self.hanging -= u32::from(which == HUNG);
                self.outcome.throttled += 1;
                self.outcome.deferred += u64::from(self.algorithm.binds_early());
                self.note(Refused::Connection);
                let answer = match which {
                    0 => ConnectAnswer::TooMany,
                    _ => ConnectAnswer::Dead,
                };
                self.tell(News::OpenFailed(answer, timestamp(begun)));
            }
            Event::Dot(id, started) => {
                let refused = match self.model.dot(Duration::from_micros(self.now_us)) {
                    DotAnswer::Accepted => None,
                    DotAnswer::Refused(refusal) => Some(refusal),
                };
                self.replied(id, started, refused);
            }
            Event::Replied(id, started, which) => {
                self.replied(id, started, which.map(|which| REFUSALS[usize::from(which)]));
            }
            // One that was superseded by an earlier one means nothing: else each would ask for another, for ever.
            Event::Ask => self.ask_at = self.ask_at.filter(|at| *at > self.now_us),
            Event::Second => {
                self.outcome.connection_seconds += u64::from(self.live().up);
                self.outcome.trace.push(Point {
                    up: self.live().up,
                    wanted: self.algorithm.connections(),
                    rate: self.algorithm.rate(self.now()),
                });
                self.after(Duration::from_secs(1), Event::Second);
            }
        }
    }

    fn replied(&mut self, id: u64, started_us: u64, refused: Option<Refusal>) {
        let started = Timestamp(START_MS + started_us / 1000);
        let before = self.sessions.get(&id).map_or(0, |session| session.sent);
        if self.faults.lost > 0.0 && self.faults.random.f64() < self.faults.lost {
            self.outcome.watch.lost(started);
            self.quit(id);
            let is_told = self.faults.random.bool();
            return self.tell(News::Lost(started, is_told));
        }
        self.outcome.watch.answered(started, refused, self.now());
        match refused {
            None => {
                let second = usize::try_from(self.now_us / 1_000_000).unwrap_or(usize::MAX);
                self.outcome.delivered[second] += 1;
                self.tell(News::Delivered(started));
            }
            Some(refusal) => {
                match refusal {
                    Refusal::Greylist => self.outcome.greylisted += 1,
                    Refusal::Rate | Refusal::Reputation | Refusal::MessagesPerConnection => {
                        self.outcome.deferred += 1;
                        self.outcome.throttled += 1;
                    }
                }
                self.note(Refused::Message(refusal));
                self.tell(News::Refused(refusal, started, before));
            }
        }
        let closes = matches!(refused, Some(Refusal::MessagesPerConnection | Refusal::Reputation));
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.sent += 1;
        if closes || session.sent >= self.algorithm.messages_max() {
            self.quit(id);
        } else {
            self.tell(News::Idle(id));
        }
    }

    fn note(&mut self, what: Refused) {
        if self.outcome.refused.len() < REFUSED_MAX {
            let at = Duration::from_micros(self.now_us).as_secs_f64();
            self.outcome.refused.push((at, what));
        }
    }

    fn quit(&mut self, id: u64) {
        self.sessions.remove(&id);
        self.model.close(id);
    }

    fn carry_out(&mut self) {
        let (live, now) = (self.live(), self.now());
        let wishes = self.algorithm.wishes(live, now);
        let at = Duration::from_micros(self.now_us);
        for wish in wishes {
            match wish {
                Wish::Open => self.open(at),
                Wish::Close(id) => self.quit(id),
                Wish::Give(id) => match self.given(id, at) {
                    MailAnswer::Going(service) => self.after(service, Event::Dot(id, self.now_us)),
                    MailAnswer::Refused(wait, refusal) => {
                        let which = REFUSALS.iter().position(|known| *known == refusal).unwrap_or(0);
                        let which = u8::try_from(which).unwrap_or(0);
                        self.after(wait, Event::Replied(id, self.now_us, Some(which)));
                    }
                },
                Wish::AskAt(when) => {
                    let when_us = when
                        .0
                        .saturating_sub(START_MS)
                        .saturating_mul(1000)
                        .max(self.now_us + 1000);
                    if self.ask_at.is_none_or(|known| when_us < known || known <= self.now_us) {
                        self.ask_at = Some(when_us);
                        self.at(when_us, Event::Ask);
                    }
                }
            }
        }
        let live = self.live();
        self.outcome.watch.settled(live, self.ask_at.is_some());
    }

    fn given(&mut self, id: u64, at: Duration) -> MailAnswer {
        self.outcome.watch.given();
        self.model.mail(id, at)
    }

    fn open(&mut self, at: Duration) {
        self.outcome.watch.opening(self.live_but_hanging(), at);
        self.opening += 1;
        let live = self.live_but_hanging();
        let over = (live.up + live.opening).saturating_sub(self.algorithm.connections());
        self.outcome.over_target_max = self.outcome.over_target_max.max(over);
        let (wait, answer) = self.model.connect(at);
        let begun = self.now_us;
        let event = match answer {
            ConnectAnswer::Up(id) => Event::Up(id, begun),
            ConnectAnswer::TooMany => Event::Failed(0, begun),
            ConnectAnswer::Dead if wait >= HANGS => Event::Failed(HUNG, begun),
            ConnectAnswer::Refused(_) | ConnectAnswer::Dead => Event::Failed(1, begun),
        };
        self.hanging += u32::from(matches!(event, Event::Failed(HUNG, _)));
        self.after(wait, event);
    }
}
