//! The receiver itself: which connections come up, how long messages take and what is refused.
//!
//! Takes what the client does, with times from the start that never go back; gives what the receiver answers and after how
//! long. Draws from its own seed only, so that a run can be repeated. Never keeps more than one record per live connection.

use std::collections::HashMap;
use std::time::Duration;

use crate::behaviour::RateAt;
use crate::model::buckets::{Buckets, Memory};
use crate::scenario::{BadAnswer, Distribution, Limits, Scenario, Tarpit};

/// How long a client waits for a banner that does not come.
const GIVE_UP: Duration = Duration::from_secs(30);
/// Of the time that connecting takes, what a single round trip is.
const ROUND_TRIPS_TO_CONNECT: f64 = 4.0;

/// What becomes of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectAnswer {
    /// Up under this number.
    Up(u64),
    /// 421, too many connections.
    TooMany,
    /// 421 that names the rate or the reputation.
    Refused(Refusal),
    /// Refused, closed without a word, or never answered.
    Dead,
}

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Too fast.
    Rate,
    /// Blocked: 4.7.28.
    Reputation,
    /// Greylisted.
    Greylist,
    /// Enough messages on this connection; it is closed.
    MessagesPerConnection,
}

/// What becomes of a MAIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailAnswer {
    /// Go on; the answer after the dot comes after this long: ask [`Model::dot`] then.
    Going(Duration),
    /// Refused after this long.
    Refused(Duration, Refusal),
}

/// What becomes of the dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DotAnswer {
    /// 250.
    Accepted,
    /// 4xx.
    Refused(Refusal),
}

/// A receiver on virtual time.
#[derive(Debug)]
pub struct Model {
    scenario: Scenario,
    random: fastrand::Rng,
    connections: HashMap<u64, u32>,
    next: u64,
    busy: u32,
    buckets: Buckets,
    memory: Option<Memory>,
    round: f64,
    steps_done: usize,
    limits: Limits,
    connections_max: u32,
}

impl Model {
    /// A receiver that nobody has seen yet.
    #[must_use]
    pub fn new(scenario: Scenario, seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            connections: HashMap::new(),
            next: 0,
            busy: 0,
            buckets: Buckets::new(&scenario.rates, scenario.penalty_box),
            memory: scenario.reputation.map(Memory::new),
            round: 0.0,
            steps_done: 0,
            limits: scenario.limits(0.0),
            connections_max: 0,
            scenario,
        }
    }

    /// The file it comes from.
    #[must_use]
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Connections that are up.
    #[must_use]
    pub fn live(&self) -> u32 {
        u32::try_from(self.connections.len()).unwrap_or(u32::MAX)
    }

    /// Most connections that were up at once.
    #[must_use]
    pub fn live_max(&self) -> u32 {
        self.connections_max
    }

    /// Blocks for reputation so far, and messages that were tried while one was on.
    #[must_use]
    pub fn blocks(&self) -> (u64, u64) {
        self.memory
            .as_ref()
            .map_or((0, 0), |memory| (memory.blocks, memory.tries_while_blocked))
    }

    /// A client connects; the answer is known after the time that stands with it.
    pub fn connect(&mut self, at: Duration) -> (Duration, ConnectAnswer) {
        self.advance(at);
        let connect = Duration::from_secs_f64(self.scenario.connect_ms / 1000.0 * (0.8 + 0.4 * self.random.f64()));
        let half = connect / 2;
        if self.random.f64() < self.limits.bad_share {
            return match self.scenario.bad_backends.map(|bad| bad.answer).unwrap_or_default() {
                BadAnswer::Refused => (half, ConnectAnswer::Dead),
                BadAnswer::Timeout => (GIVE_UP, ConnectAnswer::Dead),
                BadAnswer::TooManyConnections => (half, ConnectAnswer::TooMany),
            };
        }
        if self.limits.connections.is_some_and(|most| self.live() >= most) {
            let answer = match self.scenario.silent_close {
                true => ConnectAnswer::Dead,
                false => ConnectAnswer::TooMany,
            };
            return (half, answer);
        }
        self.next += 1;
        self.connections.insert(self.next, 0);
        self.connections_max = self.connections_max.max(self.live());
        let banner = self.tarpit().map_or(0.0, |tarpit| tarpit.banner_ms / 1000.0);
        (connect + Duration::from_secs_f64(banner), ConnectAnswer::Up(self.next))
    }

    /// A connection that was up has gone.
    pub fn close(&mut self, connection: u64) {
        self.connections.remove(&connection);
    }

    /// A message begins on a connection that is up. Some are greylisted: their clients come back late enough.
    pub fn mail(&mut self, connection: u64, at: Duration) -> MailAnswer {
        let answer = self.begin(connection, at);
        let greylist = self
            .scenario
            .greylist
            .filter(|_| matches!(answer, MailAnswer::Going(_)));
        if greylist.is_some_and(|greylist| self.random.f64() < greylist.share) {
            self.abandon();
            return MailAnswer::Refused(self.round_trip(), Refusal::Greylist);
        }
        answer
    }

    /// The same, but greylisting is left to whoever asks, who knows which messages come back.
    pub fn begin(&mut self, connection: u64, at: Duration) -> MailAnswer {
        self.advance(at);
        let now = at.as_secs_f64();
        let round_trip = self.round_trip();
        let before = self.connections.get(&connection).copied().unwrap_or(u32::MAX);
        if self.scenario.messages_per_connection.is_some_and(|most| before >= most) {
            self.connections.remove(&connection);
            return MailAnswer::Refused(round_trip, Refusal::MessagesPerConnection);
        }
        let live = self.live();
        if self.memory.as_mut().is_some_and(|memory| !memory.pass(live, now)) {
            return MailAnswer::Refused(round_trip, Refusal::Reputation);
        }
        if self.scenario.rate_at == RateAt::Mail && !self.buckets.pass(now) {
            return MailAnswer::Refused(round_trip, Refusal::Rate);
        }
        if let Some(count) = self.connections.get_mut(&connection) {
            *count += 1;
        }
        self.busy += 1;
        let crowded = self
            .limits
            .latency_knee
            .map_or(1.0, |knee| f64::from(self.busy) / f64::from(knee))
            .max(1.0);
        let tarpit = self.tarpit().filter(|tarpit| before >= tarpit.after_messages);
        let more = tarpit.map_or(0.0, |tarpit| tarpit.message_ms / 1000.0);
        let service = self.service_seconds(self.limits.service_mean_ms / 1000.0) * crowded + more;
        MailAnswer::Going(Duration::from_secs_f64(service))
    }

    /// The dot of a message that went on.
    pub fn dot(&mut self, at: Duration) -> DotAnswer {
        self.advance(at);
        self.busy = self.busy.saturating_sub(1);
        if self.scenario.rate_at == RateAt::Dot && !self.buckets.pass(at.as_secs_f64()) {
            return DotAnswer::Refused(Refusal::Rate);
        }
        DotAnswer::Accepted
    }

    /// A message that went on ends without its dot: refused at RCPT, taken back, or its client is gone.
    pub fn abandon(&mut self) {
        self.busy = self.busy.saturating_sub(1);
    }

    fn round_trip(&self) -> Duration {
        Duration::from_secs_f64(self.scenario.connect_ms / 1000.0 / ROUND_TRIPS_TO_CONNECT)
    }

    fn tarpit(&self) -> Option<Tarpit> {
        self.scenario.tarpit
    }

    fn advance(&mut self, at: Duration) {
        let seconds = at.as_secs_f64();
        let (round, within) = self.scenario.round(seconds);
        if round > self.round {
            self.round = round;
            self.steps_done = 0;
            self.limits = self.scenario.limits(seconds);
            if self.scenario.steps.iter().any(|step| step.rates.is_some()) {
                self.buckets.set_rates(&self.scenario.rates, seconds);
            }
        }
        while let Some(step) = self
            .scenario
            .steps
            .get(self.steps_done)
            .filter(|step| step.at_seconds <= within)
        {
            if let Some(rates) = &step.rates {
                self.buckets.set_rates(rates, seconds);
            }
            self.steps_done += 1;
            self.limits = self.scenario.limits(seconds);
        }
    }

    fn service_seconds(&mut self, mean: f64) -> f64 {
        let service = self.scenario.service;
        match service.distribution {
            Distribution::Constant => mean,
            Distribution::Exponential => -mean * (1.0 - self.random.f64()).ln(),
            Distribution::Lognormal => {
                let angle = std::f64::consts::TAU * self.random.f64();
                let normal = (-2.0 * (1.0 - self.random.f64()).ln()).sqrt() * angle.cos();
                mean * (service.spread * normal - service.spread * service.spread / 2.0).exp()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(text: &str) -> Model {
        Model::new(Scenario::parse(&format!("name: test\n{text}")).unwrap(), 1)
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn up(model: &mut Model) -> u64 {
        match model.connect(Duration::ZERO).1 {
            ConnectAnswer::Up(id) => id,
            answer => panic!("{answer:?}"),
        }
    }

    #[test]
    fn one_connection_too_many_is_refused_until_one_ends() {
        let mut model = model("connections: 2");
        let first = up(&mut model);
        up(&mut model);
        assert_eq!(model.connect(seconds(1.0)).1, ConnectAnswer::TooMany);
        model.close(first);
        assert!(matches!(model.connect(seconds(2.0)).1, ConnectAnswer::Up(_)));
        assert_eq!(model.live_max(), 2);
    }

    #[test]
    fn over_an_hour_no_more_goes_through_than_rate_and_burst() {
        let mut model = model("rates: [{per_second: 2, burst: 10}]");
        let connection = up(&mut model);
        let passed = (0..36_000)
            .filter(|tenth| {
                matches!(
                    model.mail(connection, seconds(f64::from(*tenth) / 10.0)),
                    MailAnswer::Going(_)
                )
            })
            .count();
        assert!((7_200..=7_210).contains(&passed), "{passed}");
    }

    #[test]
    fn a_box_that_extends_stays_shut_while_somebody_knocks() {
        for (extends, expect) in [(false, true), (true, false)] {
            let text = format!("rates: [{{per_second: 1}}]\npenalty_box: {{seconds: 10, extends: {extends}}}");
            let mut model = model(&text);
            let connection = up(&mut model);
            assert!(matches!(model.mail(connection, seconds(0.0)), MailAnswer::Going(_)));
            (0..12).for_each(|second| {
                model.mail(connection, seconds(0.1 + f64::from(second)));
            });
            let open = matches!(model.mail(connection, seconds(13.5)), MailAnswer::Going(_));
            assert_eq!(open, expect, "extends: {extends}");
        }
    }

    #[test]
    fn enough_messages_on_a_connection_end_it() {
        let mut model = model("messages_per_connection: 2");
        let connection = up(&mut model);
        for _ in 0..2 {
            assert!(matches!(model.mail(connection, seconds(1.0)), MailAnswer::Going(_)));
            assert_eq!(model.dot(seconds(2.0)), DotAnswer::Accepted);
        }
        assert!(matches!(
            model.mail(connection, seconds(3.0)),
            MailAnswer::Refused(_, Refusal::MessagesPerConnection)
        ));
        assert_eq!(model.live(), 0);
    }

    #[test]
    fn a_block_ends_after_quiet_and_then_takes_one_connection() {
        let mut model = model("reputation: {messages: 3, window_seconds: 60, block_seconds: 100}");
        let connection = up(&mut model);
        let mut pass = |at: f64| matches!(model.mail(connection, seconds(at)), MailAnswer::Going(_));
        assert!(pass(0.0) && pass(1.0) && pass(2.0) && !pass(3.0));
        assert!(!pass(90.0), "a try starts it again");
        assert!(!pass(150.0) && pass(251.0));
        up(&mut model);
        assert!(
            !matches!(model.mail(connection, seconds(252.0)), MailAnswer::Going(_)),
            "two are too many"
        );
        assert_eq!(model.blocks(), (2, 2));
    }

    #[test]
    fn limits_change_with_the_steps_and_come_again_with_the_day() {
        let mut model = model("connections: 2\nsteps: [{at_seconds: 60, connections: 1}]\nrepeat_seconds: 100");
        let mut room_at = |at: f64| {
            let ups: Vec<u64> = (0..5)
                .filter_map(|_| match model.connect(seconds(at)).1 {
                    ConnectAnswer::Up(id) => Some(id),
                    _ => None,
                })
                .collect();
            ups.iter().for_each(|id| model.close(*id));
            ups.len()
        };
        for (at, expect) in [
            (0.0, 2),
            (59.0, 2),
            (60.0, 1),
            (100.0, 2),
            (159.0, 2),
            (165.0, 1),
            (1000.0, 2),
        ] {
            assert_eq!(room_at(at), expect, "{at}");
        }
    }

    #[test]
    fn service_times_have_their_mean_whatever_their_shape() {
        for shape in ["lognormal", "exponential", "constant"] {
            let mut model = model(&format!("service: {{mean_ms: 400, distribution: {shape}}}"));
            let connection = up(&mut model);
            let mut sum = 0.0;
            for _ in 0..20_000 {
                if let MailAnswer::Going(time) = model.mail(connection, seconds(1.0)) {
                    sum += time.as_secs_f64();
                }
                model.dot(seconds(1.0));
            }
            assert!((sum / 20_000.0 - 0.4).abs() < 0.02, "{shape}: {}", sum / 20_000.0);
        }
    }
}
