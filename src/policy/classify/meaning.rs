//! A Verdict in words that people compare.
//!
//! Takes a [`Verdict`], gives a [`Meaning`]: what corpus, replay and shadow lists show. Never judges.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Blame, BounceClass, Cause, LaneAction, Verdict};

/// What a refusal was taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// `retry`, `bounce`, `suppress` (a bounce that puts the address on the suppression list) or `ambiguous`.
    pub verdict: &'static str,
    /// What kind.
    pub class: BounceClass,
    /// Whose doing.
    pub blame: Blame,
    /// What the blamed thing does about it.
    pub action: LaneAction,
    /// The earliest time of another attempt.
    pub after: Option<Duration>,
    /// The rule that said so.
    pub rule: Arc<str>,
}

impl Meaning {
    /// The Verdict in words; none for mail that was delivered.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Option<Self> {
        let (word, cause, after) = match verdict {
            Verdict::Delivered => return None,
            Verdict::Retry { cause, after, .. } => ("retry", cause, *after),
            Verdict::Bounce { cause, suppress: true } => ("suppress", cause, None),
            Verdict::Bounce { cause, suppress: false } => ("bounce", cause, None),
            Verdict::Ambiguous { cause } => ("ambiguous", cause, None),
        };
        let Cause {
            class,
            blame,
            action,
            rule,
        } = cause.clone();
        Some(Self {
            verdict: word,
            class,
            blame,
            action,
            after,
            rule,
        })
    }

    /// Whether nothing would be done differently, whichever rule said it.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        (self.verdict, self.class, self.blame, self.action, self.after)
            == (other.verdict, other.class, other.blame, other.action, other.after)
    }

    /// The action as rules and corpus write it: `none`, `slow`, `stop 10m`.
    #[must_use]
    pub fn action_name(&self) -> String {
        match self.action {
            LaneAction::None => "none".to_owned(),
            LaneAction::Slow => "slow".to_owned(),
            LaneAction::FewerConnections => "fewer_connections".to_owned(),
            LaneAction::Reconnect => "reconnect".to_owned(),
            LaneAction::Stop(time) => format!("stop {}", short(time)),
        }
    }

    /// The wait as rules and corpus write it: `2m`, `90s`.
    #[must_use]
    pub fn after_name(&self) -> Option<String> {
        self.after.map(short)
    }
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, blame {}", self.verdict, self.class, self.blame)?;
        if self.action != LaneAction::None {
            write!(f, ", {}", self.action_name())?;
        }
        match self.after_name() {
            Some(after) => write!(f, ", after {after}"),
            None => Ok(()),
        }
    }
}

/// A time in the largest unit that it is whole in.
fn short(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(rule: &str, action: LaneAction, seconds: Option<u64>) -> Verdict {
        Verdict::Retry {
            cause: Cause {
                class: BounceClass::RateLimit,
                blame: Blame::SourceIp,
                action,
                rule: Arc::from(rule),
            },
            after: seconds.map(Duration::from_secs),
            counts: true,
        }
    }

    #[test]
    fn a_verdict_reads_like_a_sentence() {
        for (action, seconds, expected) in [
            (LaneAction::None, None, "retry: rate_limit, blame source_ip"),
            (
                LaneAction::Stop(Duration::from_secs(600)),
                Some(90),
                "retry: rate_limit, blame source_ip, stop 10m, after 90s",
            ),
            (
                LaneAction::Slow,
                Some(7200),
                "retry: rate_limit, blame source_ip, slow, after 2h",
            ),
        ] {
            let meaning = Meaning::of(&retry("a", action, seconds)).expect("a refusal");
            assert_eq!(meaning.to_string(), expected);
        }
        assert_eq!(Meaning::of(&Verdict::Delivered), None);
    }

    #[test]
    fn another_rule_with_the_same_consequence_is_no_difference() {
        let of = |rule, action| Meaning::of(&retry(rule, action, None)).expect("a refusal");
        assert!(of("a", LaneAction::Slow).equals(&of("b", LaneAction::Slow)));
        assert!(!of("a", LaneAction::Slow).equals(&of("a", LaneAction::None)));
    }
}
