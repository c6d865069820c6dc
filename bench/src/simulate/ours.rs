//! Posthaste in the simulation: the engine's own waiting room, gate and controller, with endless work.
//!
//! Takes what happens in the world, tells it to the room in the words of the engine; gives the room's steps as wishes.

use std::sync::Arc;
use std::time::Duration;

use posthaste::domain::{Class, LaneAction, LaneLimits, TenantId, Timestamp};
use posthaste::policy::lane_gate::{LaneGate, LaneGateSettings, Live};
use posthaste::policy::lane_room::{LaneRoom, Report, Step};
use posthaste::policy::shares::OfTenant;
use provider_sim::model::{ConnectAnswer, Refusal};

use super::world::{Algorithm, News, Wish};

/// Work that waits at any time.
const BACKLOG: usize = 64;
/// Sessions without work quit after this long, as in the engine's defaults.
const IDLE_LONGEST: Duration = Duration::from_secs(10);

/// One message of the endless work; a code knows when it came in.
pub(crate) struct Piece(Option<Timestamp>);

impl OfTenant for Piece {
    fn tenant(&self) -> TenantId {
        TenantId::FIRST
    }
}

/// The engine's part.
pub(crate) struct Ours {
    /// Of work it knows when it came in, if it is a code.
    room: LaneRoom<Piece>,
    site: Arc<str>,
    codes: Option<Codes>,
}

/// Codes among the news: one comes in every so often.
struct Codes {
    every: Duration,
    next: Timestamp,
    waited: Vec<Duration>,
}

impl Ours {
    /// A lane that knows nothing, within these limits.
    pub(crate) fn new(limits: LaneLimits, now: Timestamp) -> Self {
        let gate = LaneGate::new(limits, LaneGateSettings::default(), now);
        Self {
            room: LaneRoom::new(gate, IDLE_LONGEST),
            site: Arc::from("sim"),
            codes: None,
        }
    }

    /// The same, with a code among the news every so often.
    #[cfg(test)]
    pub(crate) fn with_codes(limits: LaneLimits, now: Timestamp, every: Duration) -> Self {
        let codes = Codes {
            every,
            next: now.plus(every),
            waited: Vec::new(),
        };
        Self {
            codes: Some(codes),
            ..Self::new(limits, now)
        }
    }

    /// How long each code waited for a session and a permit, in order.
    #[cfg(test)]
    pub(crate) fn codes_waited(&self) -> &[Duration] {
        self.codes.as_ref().map_or(&[], |codes| &codes.waited)
    }

    fn take_codes_in(&mut self, now: Timestamp) {
        let Some(codes) = &mut self.codes else { return };
        while codes.next <= now {
            self.room.offer(&self.site, Class::Critical, Piece(Some(codes.next)));
            codes.next = codes.next.plus(codes.every);
        }
    }

    /// Its room, to see what it learnt.
    pub(crate) fn room(&self) -> &LaneRoom<Piece> {
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
            News::Opened(begun) => self.room.opened(&site, begun, live.up, now),
            News::OpenFailed(answer, begun) => {
                let action = match answer {
                    ConnectAnswer::TooMany => LaneAction::FewerConnections,
                    _ => LaneAction::None,
                };
                self.room.open_failed(&site, begun, action, live.up, now);
            }
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
            self.room.offer(&self.site, Class::Broadcast, Piece(None));
        }
        self.take_codes_in(now);
        let steps = self.room.steps(live, now);
        let mut waited = Vec::new();
        let wish = |step: Step<Piece>| match step {
            Step::Give { ticket, work } => {
                waited.extend(work.0.map(|came_in| now.since(came_in)));
                Some(Wish::Give(ticket))
            }
            Step::Open { .. } => Some(Wish::Open),
            Step::Close { ticket } => Some(Wish::Close(ticket)),
            Step::AskAgainAt(at) => Some(Wish::AskAt(at)),
            Step::HandBack { .. } => None,
        };
        let wishes = steps
            .into_iter()
            .filter_map(wish)
            .chain(shut.map(Wish::AskAt))
            .collect();
        if let Some(codes) = &mut self.codes {
            codes.waited.append(&mut waited);
        }
        wishes
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
