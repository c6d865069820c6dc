//! Hidden limits behind a socket: the model of a scenario, asked at connect, MAIL, RCPT and the dot, with real time.
//!
//! Takes what a client does and the receiver's age; gives what it is answered and after how long. Each client IP has a model
//! of its own, with the same seed, so that a receiver behaves towards each as the model on virtual time does. What the
//! model leaves to its client, who comes back when, is decided here: greylisting by (client, sender, recipient). Its memory
//! is bounded: clients beyond [`CLIENTS_MAX`] share one model, triples beyond [`TRIPLES_MAX`] pass. Never waits or writes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::behaviour::draw;
use crate::counters::Reason;
use crate::model::{ConnectAnswer, DotAnswer, MailAnswer, Model, Refusal};
use crate::scenario::{Limits, Scenario};

/// Client IPs with a model of their own.
const CLIENTS_MAX: usize = 1_000;
/// Greylisted triples that are remembered.
const TRIPLES_MAX: usize = 200_000;
/// Stands for all further clients.
const EVERYBODY_ELSE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The hidden limits of one receiver.
#[derive(Debug)]
pub(crate) struct Hidden {
    scenario: Scenario,
    seed: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    models: HashMap<IpAddr, Model>,
    first_seen: HashMap<(IpAddr, String, String), Duration>,
}

/// What a client meets.
#[derive(Debug)]
pub(crate) enum Door {
    /// It may come in; the banner comes after this long.
    Open(Guest, Duration),
    /// It is told why not, after this long.
    Refused(Reason, Duration),
    /// It is left standing for this long, and the connection closed without a word.
    Shut(Duration),
}

impl Hidden {
    pub(crate) fn new(scenario: Scenario, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            scenario,
            seed,
            state: Mutex::default(),
        })
    }

    /// A client connects.
    pub(crate) fn connect(self: &Arc<Self>, ip: IpAddr, age: Duration) -> Door {
        let (after, answer) = self.ask(ip, |model| model.connect(age));
        match answer {
            ConnectAnswer::Up(place) => {
                let guest = Guest {
                    hidden: Arc::clone(self),
                    ip,
                    place,
                    due: None,
                };
                Door::Open(guest, after)
            }
            ConnectAnswer::TooMany => Door::Refused(Reason::ConnectionLimit, after),
            ConnectAnswer::Refused(refusal) => Door::Refused(reason(refusal), after),
            ConnectAnswer::Dead => Door::Shut(after),
        }
    }

    /// The limits that hold at this age.
    pub(crate) fn limits(&self, age: Duration) -> Limits {
        self.scenario.limits(age.as_secs_f64())
    }

    /// Blocks for reputation so far, and messages that were tried while one was on, of all clients.
    pub(crate) fn blocks(&self) -> (u64, u64) {
        let state = self.state();
        let blocks = state.models.values().map(Model::blocks);
        blocks.fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask<T>(&self, ip: IpAddr, question: impl FnOnce(&mut Model) -> T) -> T {
        let mut state = self.state();
        let full = state.models.len() >= CLIENTS_MAX && !state.models.contains_key(&ip);
        let client = if full { EVERYBODY_ELSE } else { ip };
        let model = state.models.entry(client);
        question(model.or_insert_with(|| Model::new(self.scenario.clone(), self.seed)))
    }

    fn is_greylisted(&self, ip: IpAddr, sender: &str, recipient: &str, age: Duration) -> bool {
        let (sender, recipient) = (sender.to_ascii_lowercase(), recipient.to_ascii_lowercase());
        let Some(greylist) = self.scenario.greylist else {
            return false;
        };
        if draw("greylist", &sender, &recipient) >= greylist.share {
            return false;
        }
        let mut state = self.state();
        let triple = (ip, sender, recipient);
        if state.first_seen.len() >= TRIPLES_MAX && !state.first_seen.contains_key(&triple) {
            return false;
        }
        let first = *state.first_seen.entry(triple).or_insert(age);
        // Even without a delay the first try is refused.
        first == age || age.saturating_sub(first).as_secs_f64() < greylist.delay_seconds
    }
}

/// A client that came in. Dropping it frees its place, with or without a message under way.
#[derive(Debug)]
pub(crate) struct Guest {
    hidden: Arc<Hidden>,
    ip: IpAddr,
    place: u64,
    due: Option<Duration>,
}

impl Guest {
    /// MAIL: goes on, or is refused after a time.
    pub(crate) fn mail(&mut self, age: Duration) -> Result<(), (Reason, Duration)> {
        self.abandon();
        let answer = self.hidden.ask(self.ip, |model| model.begin(self.place, age));
        match answer {
            MailAnswer::Going(service) => {
                self.due = Some(age + service);
                Ok(())
            }
            MailAnswer::Refused(after, refusal) => Err((reason(refusal), after)),
        }
    }

    /// RCPT: whether it is greylisted.
    pub(crate) fn is_greylisted(&self, sender: &str, recipient: &str, age: Duration) -> bool {
        self.hidden.is_greylisted(self.ip, sender, recipient, age)
    }

    /// The age at which the dot of the message under way is answered.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// The dot.
    pub(crate) fn dot(&mut self, age: Duration) -> Option<Reason> {
        self.due.take()?;
        match self.hidden.ask(self.ip, |model| model.dot(age)) {
            DotAnswer::Accepted => None,
            DotAnswer::Refused(refusal) => Some(reason(refusal)),
        }
    }

    /// The message under way, if any, ends without a dot.
    pub(crate) fn abandon(&mut self) {
        if self.due.take().is_some() {
            self.hidden.ask(self.ip, Model::abandon);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.abandon();
        self.hidden.ask(self.ip, |model| model.close(self.place));
    }
}

fn reason(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::Rate => Reason::Rate,
        Refusal::Reputation => Reason::Reputation,
        Refusal::Greylist => Reason::Greylisted,
        Refusal::MessagesPerConnection => Reason::MessagesPerConnection,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(text: &str) -> Arc<Hidden> {
        Hidden::new(Scenario::parse(&format!("name: test\n{text}")).unwrap(), 1)
    }

    fn client(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(0x7f00_0000 + number))
    }

    fn guest(hidden: &Arc<Hidden>, ip: IpAddr) -> Guest {
        match hidden.connect(ip, Duration::ZERO) {
            Door::Open(guest, _) => guest,
            door => panic!("{door:?}"),
        }
    }

    #[test]
    fn each_client_meets_limits_of_its_own_and_those_beyond_the_bound_share_them() {
        let hidden = hidden("connections: 1");
        let mut guests: Vec<Guest> = (1..=CLIENTS_MAX as u32)
            .map(|number| guest(&hidden, client(number)))
            .collect();
        let further = |number: u32| matches!(hidden.connect(client(5_000 + number), Duration::ZERO), Door::Open(..));
        assert!(further(1), "the first of all others has their place and leaves it");
        guests.push(guest(&hidden, client(5_002)));
        assert!(!further(3), "and then there is none");
        assert!(hidden.state().models.len() <= CLIENTS_MAX + 1);
    }

    #[test]
    fn a_message_that_ends_without_a_dot_leaves_the_knee_as_it_was() {
        let hidden = hidden("latency_knee: 1\nservice: {mean_ms: 1000, distribution: constant}");
        let mut one = guest(&hidden, client(1));
        let mut two = guest(&hidden, client(1));
        let second = Duration::from_secs(1);
        assert_eq!((one.mail(Duration::ZERO), one.due()), (Ok(()), Some(second)));
        assert_eq!((two.mail(Duration::ZERO), two.due()), (Ok(()), Some(2 * second)));
        one.abandon();
        drop(two);
        let mut three = guest(&hidden, client(1));
        assert_eq!((three.mail(second), three.due()), (Ok(()), Some(2 * second)));
        assert_eq!((three.dot(2 * second), three.due()), (None, None));
    }

    #[test]
    fn a_greylisted_triple_passes_after_its_delay_and_the_share_is_kept() {
        let hidden = hidden("greylist: {share: 0.3, delay_seconds: 10}");
        let guest = guest(&hidden, client(1));
        let at = |to: &str, seconds: u64| guest.is_greylisted("a@y", to, Duration::from_secs(seconds));
        let users: Vec<String> = (0..2_000).map(|number| format!("user{number}@x")).collect();
        let refused: Vec<&String> = users.iter().filter(|user| at(user, 1)).collect();
        assert!((500..700).contains(&refused.len()), "{}", refused.len());
        assert!(refused.iter().all(|user| at(user, 10) && !at(user, 11)));
    }
}
