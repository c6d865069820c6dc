//! A receiver as a file: what it lets through, what it refuses, and how that changes over time.
//!
//! Takes YAML (the format is in `SCENARIOS.md`), gives a checked [`Scenario`]: for the model on virtual time (`model`), for
//! the socket receiver (`hidden`) and for whoever wants to know what the best of all clients could reach
//! ([`Limits::messages_per_second`]). Unknown keys are errors. Never simulates anything itself.

use serde::{Deserialize, Serialize};

use crate::behaviour::RateAt;
use crate::speaks::Speaks;

/// One receiver. What is left out does not limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Name in tables.
    pub name: String,
    /// In whose words it answers (sockets only).
    #[serde(default)]
    pub speaks: Speaks,
    /// Connections at once from one client.
    #[serde(default)]
    pub connections: Option<u32>,
    /// One connection too many is closed without a word instead of `421 too many connections`.
    #[serde(default)]
    pub silent_close: bool,
    /// Messages on one connection; the next MAIL is answered with 421 and a close.
    #[serde(default)]
    pub messages_per_connection: Option<u32>,
    /// Token buckets; a message needs a token of each.
    #[serde(default)]
    pub rates: Vec<Bucket>,
    /// Where the buckets are asked.
    #[serde(default)]
    pub rate_at: RateAt,
    /// What happens after a bucket ran dry.
    #[serde(default)]
    pub penalty_box: Option<PenaltyBox>,
    /// What happens to a client whose volume looks bad.
    #[serde(default)]
    pub reputation: Option<Reputation>,
    /// First contacts wait.
    #[serde(default)]
    pub greylist: Option<GreylistShare>,
    /// Some connections meet a host that does not work.
    #[serde(default)]
    pub bad_backends: Option<BadBackends>,
    /// Deliberate slowness.
    #[serde(default)]
    pub tarpit: Option<Tarpit>,
    /// From this number of busy connections on, each message takes longer, so that more connections carry no more mail.
    #[serde(default)]
    pub latency_knee: Option<u32>,
    /// How long a message takes, from MAIL to the answer after the dot.
    #[serde(default)]
    pub service: Service,
    /// From the first packet to the end of EHLO, in milliseconds.
    #[serde(default = "connect_ms")]
    pub connect_ms: f64,
    /// Changes over time, in order.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// After this time everything is as at the start, and the steps come again: a day.
    #[serde(default)]
    pub repeat_seconds: Option<f64>,
}

/// No time in a scenario is longer: some thirty years.
const SECONDS_MAX: f64 = 1e9;

fn connect_ms() -> f64 {
    100.0
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Tokens that come in a second.
    pub per_second: f64,
    /// Tokens that fit, at least 1; left out: one second's worth. The bucket starts full.
    #[serde(default)]
    pub burst: Option<f64>,
}

impl Bucket {
    /// Tokens that fit.
    #[must_use]
    pub fn burst(&self) -> f64 {
        self.burst.unwrap_or(self.per_second).max(1.0)
    }
}

/// After a bucket ran dry everything is refused for a while.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PenaltyBox {
    /// For this long.
    pub seconds: f64,
    /// Each message that is tried meanwhile starts the time again.
    #[serde(default)]
    pub extends: bool,
}

/// A memory of volume, with a block and a recovery like Google's 421 4.7.28.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reputation {
    /// More messages than this within `window_seconds` are a block.
    pub messages: u32,
    /// The window.
    pub window_seconds: f64,
    /// A block ends after this long without a try; each try starts it again.
    pub block_seconds: f64,
    /// After a block: one connection at first, and one more after each of these. More than that is another block.
    #[serde(default = "recovery_seconds")]
    pub recovery_seconds: f64,
}

fn recovery_seconds() -> f64 {
    60.0
}

/// Some messages are refused the first time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GreylistShare {
    /// From 0 to 1.
    pub share: f64,
    /// For how long (the model's clients come back late enough).
    #[serde(default)]
    pub delay_seconds: f64,
}

/// A share of all connections that fails.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BadBackends {
    /// From 0 to 1.
    pub share: f64,
    /// How.
    #[serde(default)]
    pub answer: BadAnswer,
}

/// How a bad backend fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadAnswer {
    /// The connection is refused, or closed without a word.
    #[default]
    Refused,
    /// Nothing comes; the client gives up after 30 s.
    Timeout,
    /// It says `421 too many connections`, whatever the number.
    TooManyConnections,
}

/// Deliberate slowness.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tarpit {
    /// The banner comes this much later.
    #[serde(default)]
    pub banner_ms: f64,
    /// Each message takes this much longer,
    #[serde(default)]
    pub message_ms: f64,
    /// after this many on the connection.
    #[serde(default)]
    pub after_messages: u32,
}

/// The time that messages take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    /// The mean.
    pub mean_ms: f64,
    /// The shape.
    pub distribution: Distribution,
    /// Standard deviation of the logarithm (`lognormal` only).
    pub spread: f64,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            mean_ms: 500.0,
            distribution: Distribution::Lognormal,
            spread: 0.5,
        }
    }
}

/// The shape of the service time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Most are quick, a few are very slow.
    #[default]
    Lognormal,
    /// No memory.
    Exponential,
    /// All alike.
    Constant,
}

/// A change at a time. What is left out stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When, in seconds from the start.
    pub at_seconds: f64,
    /// The new limit of connections; those that are up above it may live out.
    #[serde(default)]
    pub connections: Option<u32>,
    /// New buckets (full).
    #[serde(default)]
    pub rates: Option<Vec<Bucket>>,
    /// New mean service time.
    #[serde(default)]
    pub service_mean_ms: Option<f64>,
    /// New share of bad backends.
    #[serde(default)]
    pub bad_share: Option<f64>,
    /// New knee.
    #[serde(default)]
    pub latency_knee: Option<u32>,
}

/// The limits that hold at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Connections at once.
    pub connections: Option<u32>,
    /// Buckets.
    pub rates: Vec<Bucket>,
    /// Mean service time in milliseconds.
    pub service_mean_ms: f64,
    /// Share of bad backends.
    pub bad_share: f64,
    /// Busy connections that are served at full speed.
    pub latency_knee: Option<u32>,
}

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ScenarioError(String);

impl Scenario {
    /// Reads and checks a file's text.
    ///
    /// # Errors
    /// The text is no YAML of this form, or a number in it makes no sense.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = serde_saphyr::from_str(text).map_err(|error| ScenarioError(error.to_string()))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Whether its numbers make sense.
    ///
    /// # Errors
    /// Names the first one that does not.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let above_zero = |what: &str, value: f64| match value.is_finite() && value > 0.0 {
            true => Ok(()),
            false => Err(ScenarioError(format!("{what} must be above 0, not {value}"))),
        };
        let share = |what: &str, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(ScenarioError(format!("{what} must be from 0 to 1, not {value}"))),
        };
        above_zero("service.mean_ms", self.service.mean_ms)?;
        above_zero("connect_ms", self.connect_ms)?;
        self.check_times()?;
        for bucket in self
            .rates
            .iter()
            .chain(self.steps.iter().filter_map(|step| step.rates.as_ref()).flatten())
        {
            above_zero("rates.per_second", bucket.per_second)?;
        }
        share("greylist.share", self.greylist.map_or(0.0, |greylist| greylist.share))?;
        let bad = self
            .steps
            .iter()
            .filter_map(|step| step.bad_share)
            .chain(self.bad_backends.map(|bad| bad.share));
        bad.into_iter()
            .try_for_each(|value| share("the share of bad backends", value))?;
        if !self.steps.is_sorted_by(|one, two| one.at_seconds <= two.at_seconds) {
            return Err(ScenarioError("steps must be in the order of time".to_owned()));
        }
        let zero = self.connections == Some(0) || self.steps.iter().any(|step| step.connections == Some(0));
        if zero || self.messages_per_connection == Some(0) || self.latency_knee == Some(0) {
            return Err(ScenarioError("a limit of 0 lets nothing through".to_owned()));
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), ScenarioError> {
        let time = |what: &str, seconds: f64, least: f64| match (least..=SECONDS_MAX).contains(&seconds) {
            true => Ok(()),
            false => Err(ScenarioError(format!(
                "{what} must be from {least} to {SECONDS_MAX} seconds, not {seconds}"
            ))),
        };
        time("service.mean_ms", self.service.mean_ms / 1000.0, 0.0)?;
        time("connect_ms", self.connect_ms / 1000.0, 0.0)?;
        time("service.spread", self.service.spread, 0.0)?;
        time(
            "penalty_box.seconds",
            self.penalty_box.map_or(0.0, |penalty| penalty.seconds),
            0.0,
        )?;
        time(
            "greylist.delay_seconds",
            self.greylist.map_or(0.0, |greylist| greylist.delay_seconds),
            0.0,
        )?;
        time("repeat_seconds", self.repeat_seconds.unwrap_or(1.0), 1.0)?;
        if let Some(memory) = self.reputation {
            time("reputation.window_seconds", memory.window_seconds, 0.001)?;
            time("reputation.block_seconds", memory.block_seconds, 0.0)?;
            time("reputation.recovery_seconds", memory.recovery_seconds, 0.0)?;
        }
        if let Some(tarpit) = self.tarpit {
            time("tarpit.banner_ms", tarpit.banner_ms / 1000.0, 0.0)?;
            time("tarpit.message_ms", tarpit.message_ms / 1000.0, 0.0)?;
        }
        for step in &self.steps {
            time("steps.at_seconds", step.at_seconds, 0.0)?;
            time(
                "steps.service_mean_ms",
                step.service_mean_ms.unwrap_or(1.0) / 1000.0,
                0.000_001,
            )?;
        }
        Ok(())
    }

    /// Which round of its steps `seconds` after the start are in, and how far.
    pub(crate) fn round(&self, seconds: f64) -> (f64, f64) {
        match self.repeat_seconds {
            Some(length) => ((seconds / length).floor(), seconds % length),
            None => (0.0, seconds),
        }
    }

    /// The limits `seconds` after the start.
    #[must_use]
    pub fn limits(&self, seconds: f64) -> Limits {
        let (_, seconds) = self.round(seconds);
        let mut limits = Limits {
            connections: self.connections,
            rates: self.rates.clone(),
            service_mean_ms: self.service.mean_ms,
            bad_share: self.bad_backends.map_or(0.0, |bad| bad.share),
            latency_knee: self.latency_knee,
        };
        for step in self.steps.iter().filter(|step| step.at_seconds <= seconds) {
            limits.connections = step.connections.or(limits.connections);
            limits.rates = step.rates.clone().unwrap_or(limits.rates);
            limits.service_mean_ms = step.service_mean_ms.unwrap_or(limits.service_mean_ms);
            limits.bad_share = step.bad_share.unwrap_or(limits.bad_share);
            limits.latency_knee = step.latency_knee.or(limits.latency_knee);
        }
        limits
    }

    /// Messages a second that a client could get through which knows every limit and opens each connection at once, with
    /// `messages_max` messages on each; no limit: `None`.
    #[must_use]
    pub fn capacity(&self, seconds: f64, messages_max: u32) -> Option<f64> {
        let limits = self.limits(seconds);
        let messages = f64::from(
            self.messages_per_connection
                .unwrap_or(u32::MAX)
                .min(messages_max)
                .max(1),
        );
        let tarpit = self.tarpit.unwrap_or(Tarpit {
            banner_ms: 0.0,
            message_ms: 0.0,
            after_messages: 0,
        });
        let slow = (messages - f64::from(tarpit.after_messages)).max(0.0) * tarpit.message_ms;
        let busy_ms = messages * limits.service_mean_ms + slow;
        let whole_ms = busy_ms + self.connect_ms + tarpit.banner_ms;
        let by_connections = limits
            .connections
            .map(|count| f64::from(count) * messages / whole_ms * 1000.0);
        let by_knee = limits
            .latency_knee
            .map(|knee| f64::from(knee) / limits.service_mean_ms * 1000.0);
        let by_rate = limits.rates.iter().map(|bucket| bucket.per_second);
        let by_reputation = self
            .reputation
            .map(|memory| f64::from(memory.messages) / memory.window_seconds);
        by_rate
            .chain(by_connections)
            .chain(by_knee)
            .chain(by_reputation)
            .reduce(f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Scenario, ScenarioError> {
        Scenario::parse(&format!("name: test\n{text}"))
    }

    #[test]
    fn a_whole_file_is_read_and_typos_and_nonsense_are_errors() {
        let manual = include_str!("../SCENARIOS.md");
        let example = manual
            .split("```yaml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .unwrap();
        let scenario = Scenario::parse(example).unwrap();
        assert_eq!((scenario.connections, scenario.steps.len()), (Some(24), 2));
        for bad in [
            "conections: 3",
            "connections: 0",
            "rates: [{per_second: 0}]",
            "rates: [{per_second: .nan}]",
            "bad_backends: {share: 1.5}",
            "steps: [{at_seconds: 9}, {at_seconds: 3}]",
            "service: {mean_ms: -1}",
            "service: {mean_ms: 1e300}",
            "tarpit: {banner_ms: -5}",
            "penalty_box: {seconds: .inf}",
            "steps: [{at_seconds: 1, service_mean_ms: 0}]",
            "repeat_seconds: 0",
            "speaks: hotmail",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn capacity_is_the_least_of_all_limits_and_follows_the_steps() {
        let close = |scenario: &Scenario, seconds: f64, expect: Option<f64>| {
            let capacity = scenario.capacity(seconds, 100);
            let is_close = capacity.zip(expect).is_some_and(|(one, two)| (one - two).abs() < 0.01);
            assert!(is_close || capacity == expect, "{capacity:?}, not {expect:?}");
        };
        let scenario =
            parse("connections: 10\nsteps: [{at_seconds: 60, connections: 5, rates: [{per_second: 2}]}]").unwrap();
        close(&scenario, 0.0, Some(10.0 * 100.0 / 50.1));
        close(&scenario, 60.0, Some(2.0));
        close(
            &parse("messages_per_connection: 5\nconnections: 1").unwrap(),
            0.0,
            Some(5.0 / 2.6),
        );
        let day =
            parse("rates: [{per_second: 4}]\nsteps: [{at_seconds: 60, rates: [{per_second: 2}]}]\nrepeat_seconds: 100");
        let day = day.unwrap();
        for (seconds, expect) in [
            (0.0, 4.0),
            (60.0, 2.0),
            (100.0, 4.0),
            (159.0, 4.0),
            (160.0, 2.0),
            (1060.0, 2.0),
        ] {
            close(&day, seconds, Some(expect));
        }
        close(&parse("latency_knee: 8").unwrap(), 0.0, Some(16.0));
        close(&parse("silent_close: true").unwrap(), 0.0, None);
    }
}
