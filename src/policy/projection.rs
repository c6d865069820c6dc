//! Why a Delivery waits at this moment, until when, and when it will probably go.
//!
//! Takes the Delivery as stored, where it stands, what is known of its lane, and `now`; gives an [`Explanation`]. What is
//! stored says why it began to wait. A lane changes its mind more often than records are written, so for whoever stands
//! under a lane the lane's own word counts. A projection is arithmetic with what is known now: those before it, one by one,
//! at the speed that the lane is allowed. Where no speed is known, none is made up. Never promises.

use std::time::Duration;

use crate::domain::{Delivery, Lane, Place, Shelf, State, Timestamp, Why};

/// A day of a warm-up.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// An hour of it.
const HOUR: Duration = Duration::from_secs(3600);
/// Nobody is told a time further away than this: so far ahead it is only a guess that sounds exact.
const HORIZON: Duration = Duration::from_secs(14 * 24 * 3600);

/// What is known of a lane.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneStanding {
    /// What holds back those who wait for it.
    pub why: Why,
    /// It sends nothing before this.
    pub until: Option<Timestamp>,
    /// Connections that it may hold.
    pub connections: u32,
    /// Messages per second that it may send, where that is limited.
    pub rate: Option<f64>,
    /// How long a message keeps a connection busy, where that was measured.
    pub service: Option<Duration>,
    /// What is left of today's share, while its Source is being warmed up.
    pub share: Option<WarmupShare>,
}

impl LaneStanding {
    /// Whether a lane with these figures is held back by its rate rather than by its connections.
    #[must_use]
    pub fn is_paced(connections: u32, rate: Option<f64>, service: Option<Duration>) -> bool {
        let Some(rate) = rate else { return false };
        let seconds = service.map_or(0.0, |service| service.as_secs_f64());
        rate * seconds < f64::from(connections)
    }

    /// A lane that has not said a word yet and that its warm-up holds back; none while its warm-up lets it send.
    #[must_use]
    pub fn over_cap(share: WarmupShare) -> Option<Self> {
        (share.left == 0).then_some(Self {
            why: Why::WarmupCap,
            until: Some(share.renewed_at),
            connections: 0,
            rate: None,
            service: None,
            share: Some(share),
        })
    }
}

/// What a Source that is being warmed up may still send to a provider: so much each hour, and each day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmupShare {
    /// Messages left before `renewed_at`.
    pub left: u64,
    /// Messages left of this day, `left` among them.
    pub left_today: u64,
    /// Messages of an hour of this day.
    pub hourly: u64,
    /// When there are more: the next hour, or day.
    pub renewed_at: Timestamp,
    /// When the next day begins.
    pub tomorrow: Timestamp,
    /// Messages of the next day, if this one goes well; those after it are taken to be like it.
    pub then: u64,
    /// Messages of an hour of the next day.
    pub then_hourly: u64,
}

/// When a Delivery will probably go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// About then.
    At(Timestamp),
    /// Not before its time runs out.
    ExpiresFirst,
    /// It cannot be told.
    Unknown,
}

/// The answer to "why has this not gone out?".
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Why it waits.
    pub why: Why,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When that ends or is looked at again, where it is known.
    pub until: Option<Timestamp>,
    /// The lane that it waits for, where it is known.
    pub lane: Option<Lane>,
    /// How many stand before it there.
    pub ahead: Option<u64>,
    /// When it will probably go.
    pub projected: Projection,
}

/// Explains a Delivery that stands at `place`. `lane` is the lane in whose hands it is, if it is in one's; `standing` what is
/// known of the lane that it waits for. None for a final one.
#[must_use]
pub fn explain(
    delivery: &Delivery,
    place: &Place,
    lane: Option<Lane>,
    standing: Option<&LaneStanding>,
    now: Timestamp,
) -> Option<Explanation> {
    if delivery.state.is_final() {
        return None;
    }
    let stored = delivery.why.unwrap_or(Why::Queued);
    let later = |at: Timestamp| Some(at).filter(|at| *at > now && *at != Timestamp::NEVER);
    let told = |why, until, lane, ahead, projected| Explanation {
        why,
        since: delivery.updated_at,
        until,
        lane,
        ahead,
        projected,
    };
    if matches!(delivery.state, State::Held | State::Quarantined) {
        let until = later(delivery.due_at);
        return Some(told(stored, until, None, None, Projection::Unknown));
    }
    Some(match place {
        Place::InLine => {
            let until = later(delivery.due_at);
            let projected = match until {
                Some(due_at) => project(due_at, delivery.expires_at, 0, standing, now),
                None => Projection::Unknown,
            };
            // Its wait is over: what is stored told why it came into line.
            let why = if until.is_some() { stored } else { Why::Queued };
            told(why, until, None, None, projected)
        }
        Place::Parked { lane, ahead } => {
            let own = is_its_own(stored) && (delivery.due_at > now);
            let (why, until) = match standing.filter(|_| !own) {
                Some(standing) => (standing.why, standing.until.and_then(later)),
                None => (stored, later(delivery.due_at)),
            };
            let begins = until.unwrap_or(now);
            let shelf = Shelf::of(lane);
            // What is held back for its tenant goes when somebody decides so.
            let projected = match shelf.lane() {
                Some(_) => project(begins, delivery.expires_at, *ahead, standing, now),
                None => Projection::Unknown,
            };
            told(why, until, shelf.lane().cloned(), Some(*ahead), projected)
        }
        Place::Leased(_) => match (lane, standing) {
            (Some(lane), Some(standing)) => {
                let until = standing.until.and_then(later);
                let projected = project(until.unwrap_or(now), delivery.expires_at, 0, Some(standing), now);
                told(standing.why, until, Some(lane), None, projected)
            }
            // In the lane's room, and the lane has not said a word yet.
            (Some(lane), None) => told(Why::LaneFull, None, Some(lane), None, Projection::Unknown),
            (None, _) => told(Why::InProgress, None, None, None, Projection::At(now)),
        },
    })
}

/// Whether a reason is the Delivery's own rather than that of its lane: then it holds until its time, whatever the lane says.
fn is_its_own(why: Why) -> bool {
    matches!(
        why,
        Why::WarmupCap | Why::DomainHeld | Why::TenantPaused | Why::Quota | Why::SourceElsewhere
    )
}

/// When one goes that may go from `begins` on and has `ahead` before it.
#[must_use]
pub fn project(
    begins: Timestamp,
    expires_at: Timestamp,
    ahead: u64,
    standing: Option<&LaneStanding>,
    now: Timestamp,
) -> Projection {
    let shut_until = standing.and_then(|standing| standing.until).unwrap_or(now);
    let begins = begins.max(shut_until).max(now);
    let share = standing.and_then(|standing| standing.share);
    let Some((begins, ahead)) = after_warmup(begins, ahead, share) else {
        return Projection::Unknown;
    };
    let in_a_later_hour = share.is_some_and(|share| begins >= share.renewed_at);
    let wait = match (ahead, standing.and_then(speed)) {
        (0, _) => Duration::ZERO,
        // The hour is known, and what is let out in it is little.
        (_, None) if in_a_later_hour => Duration::ZERO,
        (_, None) => return Projection::Unknown,
        (ahead, Some(speed)) => {
            #[expect(
                clippy::cast_precision_loss,
                reason = "nobody counts to 2^52 here, and it is a guess"
            )]
            let seconds = ahead as f64 / speed;
            match Duration::try_from_secs_f64(seconds) {
                Ok(wait) => wait,
                Err(_) => return Projection::Unknown,
            }
        }
    };
    let at = begins.plus(wait);
    if at >= expires_at {
        Projection::ExpiresFirst
    } else if at.since(now) > HORIZON {
        Projection::Unknown
    } else {
        Projection::At(at)
    }
}

/// Messages per second that a lane gets through, where that can be told.
fn speed(standing: &LaneStanding) -> Option<f64> {
    let seconds = standing.service.map(|service| service.as_secs_f64());
    let by_connections = seconds
        .filter(|seconds| *seconds > 0.0 && standing.connections > 0)
        .map(|seconds| f64::from(standing.connections) / seconds);
    let by_rate = standing.rate.filter(|rate| *rate > 0.0);
    match (by_connections, by_rate) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// When the hour begins in which one with `ahead` before it gets its turn, and how many are before it in that hour.
fn after_warmup(begins: Timestamp, ahead: u64, share: Option<WarmupShare>) -> Option<(Timestamp, u64)> {
    let Some(share) = share else {
        return Some((begins, ahead));
    };
    let Some(beyond) = ahead.checked_sub(share.left) else {
        return Some((begins, ahead));
    };
    let (first_hour, at, hourly) = match ahead.checked_sub(share.left_today) {
        None => (share.renewed_at, beyond, share.hourly),
        Some(beyond_today) => {
            let days = u32::try_from(beyond_today.checked_div(share.then)?).ok()?;
            let day = share.tomorrow.plus(DAY.saturating_mul(days));
            (day, beyond_today % share.then, share.then_hourly)
        }
    };
    let hours = u32::try_from(at.checked_div(hourly)?).ok()?;
    let hour = first_hour.plus(HOUR.saturating_mul(hours));
    Some((begins.max(hour), at % hourly))
}

#[cfg(test)]
mod tests;
