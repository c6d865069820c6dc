//! What the engine itself can tell of a Delivery: in whose hands it is, and where it would go.
//!
//! Takes a Delivery; asks the actor of its provider, at most for [`ANSWER_LONGEST`]. Starts no look-up and changes nothing:
//! whoever asks why something waits must not make it move.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::isp::IspMessage;
use super::isps::Isps;
use super::lane_state::LaneState;
use super::ownership::Ownership;
use super::tools::{SourceSettings, Tools};
use super::warmups::Warmups;
use crate::domain::{Class, Delivery, DeliveryId, Lane, SourceId, Timestamp, Why};
use crate::observe::Observer;
use crate::policy::ownership;
use crate::policy::projection::{LaneStanding, WarmupShare};
use crate::policy::routing::SourceRoom;
use crate::policy::standstill::Standing;
use crate::policy::warmup::{HOURS_OF_A_CAP, day_begins};
use crate::resolver::Destinations;

/// Nobody waits longer for an actor that has much to do.
const ANSWER_LONGEST: Duration = Duration::from_millis(500);

/// The way to those who know.
#[derive(Debug, Clone)]
pub struct Inquiries {
    isps: Isps,
    destinations: Arc<Destinations>,
    sources: Arc<Vec<SourceSettings>>,
    rooms: Arc<[SourceRoom]>,
    ownership: Arc<Ownership>,
    standings: LanesSay,
}

/// What lanes say of themselves, and what is known of one that has not spoken since the start.
#[derive(Debug, Clone)]
pub(super) struct LanesSay {
    observer: Arc<Observer>,
    warmups: Arc<Warmups>,
}

impl LanesSay {
    pub(super) fn new(tools: &Tools) -> Self {
        Self {
            observer: Arc::clone(&tools.surroundings.observer),
            warmups: Arc::clone(&tools.warmups),
        }
    }

    /// How a lane stands: its own word; before that, what its warm-up says. Mail that waits for more of a warm-up is not
    /// shown to a lane, so after a start nobody else would say why it waits.
    pub(super) fn of(&self, lane: &Lane, now: Timestamp) -> Option<LaneStanding> {
        let told = self.observer.standings().of(lane, now);
        told.or_else(|| LaneStanding::over_cap(share(&self.warmups, lane, now)?))
    }
}

impl Inquiries {
    /// To the actors of one engine.
    #[must_use]
    pub fn new(tools: &Tools, isps: Isps) -> Self {
        Self {
            isps,
            destinations: Arc::clone(&tools.destinations),
            sources: Arc::clone(&tools.sources),
            rooms: tools.sources.iter().map(|source| source.room.clone()).collect(),
            ownership: Arc::clone(&tools.ownership),
            standings: LanesSay::new(tools),
        }
    }

    /// How a lane stands, as far as anybody here knows.
    #[must_use]
    pub fn standing(&self, lane: &Lane, now: Timestamp) -> Option<LaneStanding> {
        self.standings.of(lane, now)
    }

    /// The lane in whose room a leased Delivery waits; none when a session has it, or its domain is being looked up.
    pub async fn in_hand(&self, delivery: &Delivery) -> Option<Lane> {
        let destination = self.destinations.cached(delivery.domain())?.ok()?;
        let isp = self.isps.of(&destination.provider)?;
        let (answer, answered) = oneshot::channel();
        isp.try_send(IspMessage::Where(delivery.id, answer)).ok()?;
        tokio::time::timeout(ANSWER_LONGEST, answered).await.ok()?.ok()?
    }

    /// The lane that a Delivery goes back to when its time comes, where that is known.
    #[must_use]
    pub fn lane_of(&self, delivery: &Delivery) -> Option<Lane> {
        let destination = self.destinations.cached(delivery.domain())?.ok()?;
        Some(Lane {
            source: delivery.source.clone()?,
            provider: destination.provider.clone(),
        })
    }

    /// Whether work of this class is taken from the queue here: some Source of ours carries it.
    #[must_use]
    pub fn may_take(&self, class: Class, now: Timestamp) -> bool {
        self.ownership.may_take(class, &self.rooms, now)
    }

    /// Whether a Source is another node's, so that its lanes say nothing here.
    #[must_use]
    pub fn is_elsewhere(&self, source: &SourceId, now: Timestamp) -> bool {
        self.ownership.standing(source, now) == ownership::Standing::Others
    }

    /// The address of a Source, where one is configured.
    #[must_use]
    pub fn address(&self, source: &SourceId) -> Option<IpAddr> {
        self.sources.iter().find(|one| one.room.id == *source)?.ip
    }
}

/// The lane in whose room a Delivery waits.
pub(super) fn find<'a>(lanes: impl IntoIterator<Item = &'a LaneState>, delivery: DeliveryId) -> Option<Lane> {
    let holds = |state: &&LaneState| state.room.work().any(|held| held.leased.delivery.id == delivery);
    lanes.into_iter().find(holds).map(|state| state.lane.clone())
}

/// What is left of the warm-up of a lane, if it is warmed up.
fn share(warmups: &Warmups, lane: &Lane, now: Timestamp) -> Option<WarmupShare> {
    if warmups.is_empty() {
        return None;
    }
    let view = warmups.of(lane, now)?;
    let (window, then) = (view.window?, view.next_cap);
    let then = then.unwrap_or(window.cap);
    Some(WarmupShare {
        left: window.left(),
        left_today: window.cap.saturating_sub(window.used),
        hourly: window.cap.div_ceil(HOURS_OF_A_CAP),
        renewed_at: window.until,
        tomorrow: day_begins(window.day.saturating_add(1)),
        then,
        then_hourly: then.div_ceil(HOURS_OF_A_CAP),
    })
}

/// Tells everybody how a lane stands.
pub(super) fn tell_standing(tools: &Tools, state: &LaneState, now: Timestamp) {
    let standings = tools.surroundings.observer.standings();
    let controller = state.room.gate().controller();
    let service = standings.service(&state.lane);
    let (connections, rate) = (controller.connections(), controller.rate(now));
    let until = state.room.shut_until(now);
    let stopped = !matches!(controller.standing(now), Standing::Clear);
    let share = share(&tools.warmups, &state.lane, now);
    let used_up = share.filter(|share| share.left == 0).map(|share| share.renewed_at);
    let why = match until {
        _ if stopped => Why::Stopped,
        Some(_) => Why::BreakerOpen,
        None if used_up.is_some() => Why::WarmupCap,
        None if LaneStanding::is_paced(connections, rate, service) => Why::Rate,
        None => Why::LaneFull,
    };
    let standing = LaneStanding {
        why,
        until: until.or(used_up),
        connections,
        rate,
        service,
        share,
    };
    standings.told(&state.lane, standing, now);
}
