//! Other algorithms in the same simulation, so that a comparison is one: Postfix's scheduler, AIMD, a rule with a cliff.
//!
//! Each is written from its published rule: Postfix's `SCHEDULER_README` (feedback 1 or 1/N on connections and handshakes
//! only, hysteresis of one, limit 100), Netflix's AIMD limiter (+1 when at least half is in flight, times 0.9 on any
//! refusal), and the kind of regex rule that KumoMTA's community files hold (ten connections; two refusals in an hour: one
//! connection for an hour, or ten messages a minute for half an hour). All bind a message before the connection is up.

use std::collections::VecDeque;

use posthaste::domain::Timestamp;
use posthaste::policy::lane_gate::Live;
use posthaste::policy::token_bucket::TokenBucket;
use provider_sim::model::Refusal;

use super::world::{Algorithm, News, Wish};

/// How the number of connections moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Postfix, feedback 1.
    PostfixOne,
    /// Postfix, feedback 1/N.
    PostfixShare,
    /// Additive increase, multiplicative decrease.
    Aimd,
    /// Fixed, with a cliff.
    Cliff,
}

const LIMIT: f64 = 100.0;
const POSTFIX_START: f64 = 5.0;
const CLIFF_CONNECTIONS: f64 = 10.0;
const HOUR_MS: u64 = 3_600_000;

/// One of them.
#[derive(Debug)]
pub(crate) struct Other {
    rule: Rule,
    window: f64,
    success: f64,
    failure: f64,
    idle: VecDeque<u64>,
    messages_max: u32,
    hits: VecDeque<u64>,
    rate_hits: VecDeque<u64>,
    one_until: Timestamp,
    slow_until: Timestamp,
    slow: TokenBucket,
    stopped_until: Timestamp,
}

impl Other {
    /// One that knows nothing.
    pub(crate) fn new(rule: Rule, messages_max: u32, now: Timestamp) -> Self {
        let window = match rule {
            Rule::PostfixOne | Rule::PostfixShare => POSTFIX_START,
            Rule::Aimd => 2.0,
            Rule::Cliff => CLIFF_CONNECTIONS,
        };
        Self {
            rule,
            window,
            success: 0.0,
            failure: 0.0,
            idle: VecDeque::new(),
            messages_max,
            hits: VecDeque::new(),
            rate_hits: VecDeque::new(),
            one_until: Timestamp(0),
            slow_until: Timestamp(0),
            slow: TokenBucket::new(10.0 / 60.0, now),
            stopped_until: Timestamp(0),
        }
    }

    fn feedback(&self) -> f64 {
        match self.rule {
            Rule::PostfixShare => 1.0 / self.window,
            Rule::PostfixOne | Rule::Aimd | Rule::Cliff => 1.0,
        }
    }

    fn good(&mut self, live: Live) {
        match self.rule {
            Rule::PostfixOne | Rule::PostfixShare => {
                self.failure = 0.0;
                self.success += self.feedback();
                if self.success >= 1.0 {
                    self.success -= 1.0;
                    self.window = (self.window + 1.0).min(LIMIT);
                }
            }
            Rule::Aimd if f64::from(live.up + live.opening) * 2.0 >= self.window => {
                self.window = (self.window + 1.0).min(LIMIT);
            }
            Rule::Aimd | Rule::Cliff => {}
        }
    }

    /// A connection was refused or failed.
    fn bad(&mut self, now: Timestamp) {
        match self.rule {
            Rule::PostfixOne | Rule::PostfixShare => {
                self.success = 0.0;
                self.failure -= self.feedback();
                if self.failure < 0.0 {
                    self.failure += 1.0;
                    self.window = (self.window - 1.0).max(1.0);
                }
            }
            Rule::Aimd => self.window = (self.window * 0.9).max(1.0),
            Rule::Cliff => {
                if twice_an_hour(&mut self.hits, now) {
                    self.one_until = Timestamp(now.0 + HOUR_MS);
                }
            }
        }
    }

    fn refused(&mut self, refusal: Refusal, now: Timestamp) {
        match (self.rule, refusal) {
            (Rule::Aimd, Refusal::Rate | Refusal::Reputation) => self.bad(now),
            (Rule::Cliff, Refusal::Rate) if twice_an_hour(&mut self.rate_hits, now) => {
                self.slow_until = Timestamp(now.0 + HOUR_MS / 2);
            }
            (Rule::Cliff, Refusal::Reputation) => self.stopped_until = Timestamp(now.0 + 2 * HOUR_MS),
            _ => {}
        }
    }
}

fn twice_an_hour(hits: &mut VecDeque<u64>, now: Timestamp) -> bool {
    hits.push_back(now.0);
    while hits.front().is_some_and(|at| now.0 - at > HOUR_MS) || hits.len() > 2 {
        hits.pop_front();
    }
    hits.len() >= 2
}

impl Algorithm for Other {
    fn on_news(&mut self, news: News, live: Live, now: Timestamp) {
        match news {
            News::Opened(_) | News::Lost(..) => {}
            News::OpenFailed(..) => self.bad(now),
            News::Delivered(_) => self.good(live),
            News::Refused(refusal, ..) => self.refused(refusal, now),
            News::Idle(session) => self.idle.push_back(session),
        }
    }

    fn wishes(&mut self, live: Live, now: Timestamp) -> Vec<Wish> {
        if now < self.stopped_until {
            let mut wishes: Vec<Wish> = self.idle.drain(..).map(Wish::Close).collect();
            wishes.push(Wish::AskAt(self.stopped_until));
            return wishes;
        }
        let mut wishes = Vec::new();
        let allowed = self.connections();
        let mut open = live.up + live.opening;
        let mut busy = open.saturating_sub(u32::try_from(self.idle.len()).unwrap_or(0));
        while busy < allowed {
            if now < self.slow_until
                && let Err(until) = self.slow.take(now)
            {
                wishes.push(Wish::AskAt(until));
                break;
            }
            match self.idle.pop_back() {
                Some(session) => wishes.push(Wish::Give(session)),
                None => {
                    wishes.push(Wish::Open);
                    open += 1;
                }
            }
            busy += 1;
        }
        while open > allowed
            && let Some(session) = self.idle.pop_front()
        {
            wishes.push(Wish::Close(session));
            open -= 1;
        }
        wishes
    }

    fn binds_early(&self) -> bool {
        true
    }

    fn messages_max(&self) -> u32 {
        self.messages_max
    }

    fn connections(&self) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most the limit"
        )]
        let window = self.window.max(1.0) as u32;
        window
    }
}
