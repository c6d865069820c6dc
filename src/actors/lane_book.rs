//! What is known of lanes and outlives their actors: pins, what they learnt, domains that providers hold.
//!
//! Takes what operators and providers say; gives it to ISP actors and sessions. One for each engine. Decides nothing:
//! `policy::pins` and `policy::domain_hold` do.

use std::sync::{Arc, PoisonError, RwLock};

use super::domain_holds::DomainHolds;
use super::memories::Memories;
use crate::domain::{Lane, LaneLimits};
use crate::policy::lane_gate::LaneGateSettings;
use crate::policy::pins::{LaneRange, Pins};

/// What is known of lanes.
#[derive(Debug)]
pub struct LaneBook {
    pins: RwLock<Arc<Pins>>,
    /// What lanes learnt.
    pub memories: Memories,
    /// Domains of tenants that providers blamed.
    pub domains: DomainHolds,
}

impl LaneBook {
    /// With these pins, and what the gates are set to.
    #[must_use]
    pub fn new(pins: Pins, gate: &LaneGateSettings) -> Self {
        Self {
            pins: RwLock::new(Arc::new(pins)),
            memories: Memories::default(),
            domains: DomainHolds::new(gate.stop_longest),
        }
    }

    /// The range of a lane whose provider has these limits.
    #[must_use]
    pub fn range(&self, lane: &Lane, limits: LaneLimits) -> LaneRange {
        let pins = Arc::clone(&self.pins.read().unwrap_or_else(PoisonError::into_inner));
        pins.range(lane, limits)
    }

    /// The range that pins on trial would leave it, if there are any for it.
    #[must_use]
    pub fn shadow(&self, lane: &Lane, limits: LaneLimits) -> Option<LaneRange> {
        let pins = Arc::clone(&self.pins.read().unwrap_or_else(PoisonError::into_inner));
        pins.shadow(lane, limits)
    }

    /// Other pins. Lanes take them when their actor is told `IspMessage::Limits`.
    pub fn set_pins(&self, pins: Pins) {
        *self.pins.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pins);
    }
}
