//! Pins and pauses of a pace.
//!
//! Plain data; what they mean is in `pace`.

use std::time::Duration;

/// Pins of the rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PaceSettings {
    /// Never slower, in messages a second, while the door is open.
    pub least: f64,
    /// Never faster.
    pub most: Option<f64>,
    /// The first pause before a canary.
    pub hold_first: Duration,
    /// No such pause is longer.
    pub hold_longest: Duration,
}

impl Default for PaceSettings {
    fn default() -> Self {
        Self {
            least: 1.0 / 3600.0,
            most: None,
            hold_first: Duration::from_millis(300),
            hold_longest: Duration::from_secs(600),
        }
    }
}

/// No pace is slower, in messages a second: about one a day.
const SLOWEST: f64 = 1e-5;

impl PaceSettings {
    /// The same, with pins that a pace can keep.
    pub(super) fn checked(self) -> Self {
        let least = if self.least.is_finite() {
            self.least.max(SLOWEST)
        } else {
            SLOWEST
        };
        let most = self.most.filter(|most| most.is_finite()).map(|most| most.max(least));
        Self { least, most, ..self }
    }
}
