//! What the standing of tenants means for work that lanes hold already.
//!
//! Takes the lanes of a provider, each second; gives them the weights of tenants, and work of paused streams back to wait in
//! the store: a pause holds from now on, whatever was on its way. What is with a session goes out.

use super::lane_state::{Held, LaneState};
use super::returns;
use super::tools::Tools;
use crate::domain::{Shelf, Why};
use crate::policy::tenant_policy::Grade;
use crate::queue::Parking;

pub(super) fn look<'l>(lanes: impl Iterator<Item = &'l mut LaneState>, tools: &Tools) {
    let weights = tools.reputation.weights();
    let is_paused = |held: &Held| {
        let delivery = &held.leased.delivery;
        tools.reputation.grade(delivery.tenant, delivery.class).0 == Grade::Paused
    };
    for state in lanes {
        state.room.set_weights(weights.clone());
        let paused = state.room.take_where(is_paused);
        state.owed += paused.len();
        let parkings = paused.iter().map(|Held { leased, .. }| Parking {
            lease: leased.lease(),
            lane: Shelf::Held(leased.delivery.tenant, leased.delivery.stream()).name(),
            why: Why::TenantPaused,
            until: None,
        });
        returns::park(tools, parkings.collect());
    }
}
