//! How much mail is let through: token buckets with a penalty box, and a reputation memory with a block.
//!
//! Takes times in seconds that never go back; gives yes or no. Knows nothing of connections but their number.

use std::collections::VecDeque;

use crate::scenario::{Bucket, PenaltyBox, Reputation};

/// All token buckets of a receiver, and the box behind them.
#[derive(Debug)]
pub(crate) struct Buckets {
    buckets: Vec<(Bucket, f64)>,
    filled_at: f64,
    penalty: Option<PenaltyBox>,
    closed_until: f64,
}

impl Buckets {
    pub(crate) fn new(rates: &[Bucket], penalty: Option<PenaltyBox>) -> Self {
        Self {
            buckets: rates.iter().map(|bucket| (*bucket, bucket.burst())).collect(),
            filled_at: 0.0,
            penalty,
            closed_until: 0.0,
        }
    }

    pub(crate) fn set_rates(&mut self, rates: &[Bucket], now: f64) {
        self.buckets = rates.iter().map(|bucket| (*bucket, bucket.burst())).collect();
        self.filled_at = now;
    }

    /// Whether a message may pass; takes a token of each bucket if so.
    pub(crate) fn pass(&mut self, now: f64) -> bool {
        let passed = (now - self.filled_at).max(0.0);
        self.filled_at = self.filled_at.max(now);
        for (bucket, tokens) in &mut self.buckets {
            *tokens = (*tokens + passed * bucket.per_second).min(bucket.burst());
        }
        if now < self.closed_until {
            if let Some(penalty) = self.penalty.filter(|penalty| penalty.extends) {
                self.closed_until = now + penalty.seconds;
            }
            return false;
        }
        if self.buckets.iter().any(|(_, tokens)| *tokens < 1.0) {
            if let Some(penalty) = self.penalty {
                self.closed_until = now + penalty.seconds;
            }
            return false;
        }
        self.buckets.iter_mut().for_each(|(_, tokens)| *tokens -= 1.0);
        true
    }
}

/// What a receiver remembers of a client's volume.
#[derive(Debug)]
pub(crate) struct Memory {
    rules: Reputation,
    passed: VecDeque<f64>,
    blocked_until: Option<f64>,
    recovering_since: Option<f64>,
    pub(crate) blocks: u64,
    pub(crate) tries_while_blocked: u64,
}

impl Memory {
    pub(crate) fn new(rules: Reputation) -> Self {
        Self {
            rules,
            passed: VecDeque::new(),
            blocked_until: None,
            recovering_since: None,
            blocks: 0,
            tries_while_blocked: 0,
        }
    }

    /// Whether a message may pass with this many connections up.
    pub(crate) fn pass(&mut self, connections: u32, now: f64) -> bool {
        if let Some(until) = self.blocked_until {
            if now < until {
                self.tries_while_blocked += 1;
                self.blocked_until = Some(now + self.rules.block_seconds);
                return false;
            }
            self.blocked_until = None;
            self.recovering_since = Some(now);
            self.passed.clear();
        }
        while self
            .passed
            .front()
            .is_some_and(|at| now - at > self.rules.window_seconds)
        {
            self.passed.pop_front();
        }
        let allowed = self.recovering_since.map_or(f64::INFINITY, |since| {
            1.0 + ((now - since) / self.rules.recovery_seconds.max(0.001)).floor()
        });
        if self.passed.len() >= self.rules.messages as usize || f64::from(connections) > allowed {
            self.blocks += 1;
            self.blocked_until = Some(now + self.rules.block_seconds);
            return false;
        }
        self.passed.push_back(now);
        true
    }
}
