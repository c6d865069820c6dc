//! Posthaste in the simulation: the engine's own waiting room, gate and controller, with endless work.
//!
//! Takes what happens in the world, tells it to the room in the words of the engine; gives the room's steps as wishes.

use std::sync::Arc;
use std::time::Duration;

use posthaste::domain::{Class, LaneAction, LaneLimits, Timestamp};
use posthaste::policy::lane_gate::{LaneGate, LaneGateSettings, Live};
use posthaste::policy::lane_room::{LaneRoom, Report, Step};
use provider_sim::model::{ConnectAnswer, Refusal};

use super::world::{Algorithm, News, Wish};

/// Work that waits at any time.
const BACKLOG: usize = 64;
/// Sessions without work quit after this long, as in the engine's defaults.
const IDLE_LONGEST: Duration = Duration::from_secs(10);

/// The engine's part.
pub(crate) struct Ours {
    room: LaneRoom<()>,
    site: Arc<str>,
}

impl Ours {
    /// A lane that knows nothing, within these limits.
    pub(crate) fn new(limits: LaneLimits, now: Timestamp) -> Self {
        let gate = LaneGate::new(limits, LaneGateSettings::default(), now);
        Self {
            room: LaneRoom::new(gate, IDLE_LONGEST),
            site: Arc::from("sim"),
        }
    }

    /// Its room, to see what it learnt.
    pub(crate) fn room(&self) -> &LaneRoom<()> {
        &self.room
    }

    fn answered(
        &mut self,
        action: LaneAction,
        delivered: bool,
        started: Timestamp,
        before: u32,
        up: u32,
        now: Timestamp,
    ) {
        let report = Report {
            action,
            delivered,
            started,
            before: Some(before),
        };
        self.room.answered(report, up, now);
    }
}

impl Algorithm for Ours {
    fn on_news(&mut self, news: News, live: Live, now: Timestamp) {
        let site = Arc::clone(&self.site);
        match news {
            News::Opened => self.room.opened(&site, live.up, now),
            News::OpenFailed(ConnectAnswer::TooMany) => {
                self.room.open_failed(&site, LaneAction::FewerConnections, live.up, now);
            }
            News::OpenFailed(_) => self.room.open_failed(&site, LaneAction::None, live.up, now),
            News::Delivered(started) => self.answered(LaneAction::None, true, started, 0, live.up, now),
            News::Refused(refusal, started, before) => {
                let action = match refusal {
                    Refusal::Rate => LaneAction::Slow,
                    Refusal::Reputation => LaneAction::Stop(Duration::from_secs(600)),
                    Refusal::Greylist => LaneAction::None,
                    Refusal::MessagesPerConnection => LaneAction::Reconnect,
                };
                self.answered(action, false, started, before, live.up, now);
            }
            // The engine's session reports what it lost; one that panicked does not.
            News::Lost(started, true) => self.room.unanswered(started),
            News::Lost(_, false) if live == Live::default() => self.room.nobody_is_coming(),
            News::Lost(..) => {}
            News::Idle(session) => self.room.ask(&site, session, now),
        }
    }

    fn wishes(&mut self, live: Live, now: Timestamp) -> Vec<Wish> {
        // A shut room takes nothing; the engine offers it one Delivery once the stop is over, and so does this.
        let shut = self.room.shut_until(now);
        while shut.is_none() && self.room.queued() < BACKLOG {
            self.room.offer(&self.site, Class::Broadcast, ());
        }
        let steps = self.room.steps(live, now);
        let wish = |step| match step {
            Step::Give { ticket, .. } => Some(Wish::Give(ticket)),
            Step::Open { .. } => Some(Wish::Open),
            Step::Close { ticket } => Some(Wish::Close(ticket)),
            Step::AskAgainAt(at) => Some(Wish::AskAt(at)),
            Step::HandBack { .. } => None,
        };
        steps
            .into_iter()
            .filter_map(wish)
            .chain(shut.map(Wish::AskAt))
            .collect()
    }

    fn binds_early(&self) -> bool {
        false
    }

    fn messages_max(&self) -> u32 {
        self.room.messages_per_connection()
    }

    fn connections(&self) -> u32 {
        self.room.gate().controller().connections()
    }

    fn rate(&self, now: Timestamp) -> Option<f64> {
        self.room.gate().controller().rate(now)
    }
}
