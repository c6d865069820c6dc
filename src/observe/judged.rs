//! What replies were taken for: signals by blame, replies that no rule knows, shadow rules.
//!
//! Takes an Attempt with its Judgement, and what a reload did; counts, and keeps the two lists for reviewers of rules.

use super::names;
use super::observer::Observer;
use super::shadows::Shadows;
use super::unclassified::Unclassified;
use crate::domain::{Attempt, AttemptOutcome, ProviderId, Timestamp};
use crate::policy::classify::{Judgement, Meaning};

/// How a reload can end.
pub(super) const RELOADS: [&str; 2] = ["ok", "refused"];

/// The lists for reviewers of rules.
#[derive(Debug, Default)]
pub(super) struct Reviews {
    pub(super) unclassified: Unclassified,
    pub(super) shadows: Shadows,
}

impl Observer {
    /// An attempt at this provider was judged.
    pub fn judged(&self, provider: &ProviderId, attempt: &Attempt, judgement: &Judgement, now: Timestamp) {
        let Some(meaning) = Meaning::of(&judgement.verdict) else {
            return;
        };
        let label = self.provider_label(provider);
        let labels = [
            ("provider", label.as_str()),
            ("blame", meaning.blame.name()),
            ("class", meaning.class.name()),
        ];
        self.count(names::SIGNALS, &labels, 1);
        let AttemptOutcome::Refused(reply) = &attempt.outcome else {
            return;
        };
        if judgement.is_unknown {
            self.count(names::UNCLASSIFIED, &[("provider", label.as_str())], 1);
            let list = &self.reviews.unclassified;
            list.note(provider, attempt.stage, reply, &meaning.rule, now);
        }
        if let Some(shadow) = judgement.shadow.as_ref().and_then(Meaning::of) {
            self.count(names::RULES_SHADOW, &[("rule", &*shadow.rule)], 1);
            self.reviews.shadows.note(provider, reply, shadow, meaning, now);
        }
    }

    /// Replies that no rule knows.
    #[must_use]
    pub fn unclassified(&self) -> &Unclassified {
        &self.reviews.unclassified
    }

    /// What shadow rules would have done.
    #[must_use]
    pub fn shadows(&self) -> &Shadows {
        &self.reviews.shadows
    }

    /// Config and rules were read again; whether they are used now.
    pub fn reloaded(&self, is_used: bool) {
        let result = RELOADS[usize::from(!is_used)];
        self.count(names::CONFIG_RELOADS, &[("result", result)], 1);
    }
}
