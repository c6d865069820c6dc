//! What a reload replaces while the engine runs.
//!
//! Takes rules and figures, gives those in use to whoever judges or settles. Decides nothing; `reload` puts new ones in.

use std::sync::Arc;

use super::tools::EngineSettings;
use crate::current::Current;
use crate::domain::{Attempt, ProviderId, Verdict};
use crate::policy::classify::{Classifier, Judgement};
use crate::policy::lane_gate::LaneGateSettings;
use crate::policy::settlement::SettlementSettings;

/// The rules that judge replies.
#[derive(Debug)]
pub struct RulesInUse(Current<Classifier>);

impl RulesInUse {
    /// Begins with these.
    #[must_use]
    pub fn new(classifier: Arc<Classifier>) -> Self {
        Self(Current::of(classifier))
    }

    /// What an attempt means.
    #[must_use]
    pub fn verdict(&self, provider: &ProviderId, attempt: &Attempt) -> Verdict {
        self.0.get().verdict(provider, attempt)
    }

    /// The same, with what the reviewers of rules want to know.
    #[must_use]
    pub fn judge(&self, provider: &ProviderId, attempt: &Attempt) -> Judgement {
        self.0.get().judge(provider, attempt)
    }

    /// From now on these judge.
    pub fn replace(&self, classifier: Arc<Classifier>) {
        self.0.replace(classifier);
    }
}

/// Figures that a reload may change.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// How attempts are settled.
    pub settlement: SettlementSettings,
    /// How lanes yield.
    pub gate: LaneGateSettings,
}

impl Figures {
    /// Those of these settings.
    #[must_use]
    pub fn of(settings: &EngineSettings) -> Self {
        Self {
            settlement: settings.settlement.clone(),
            gate: settings.gate,
        }
    }
}
