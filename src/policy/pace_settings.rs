//! Pins and pauses of a pace.
//!
//! Plain data; what they mean is in `pace`. Checks nothing.

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
