//! What sessions and the settler tell of a provider's answers, brought to its lanes.
//!
//! Takes connections that did not come up and answers to messages; changes rooms. A block of a netblock stops the lanes of
//! all Sources in it: the lane that was told tries first, the others a minute later. Decides nothing.

use std::sync::Arc;
use std::time::Duration;

use super::{Isp, tell};
use crate::actors::lane_state::{Held, LaneState};
use crate::actors::returns;
use crate::actors::scheduler::{Credit, SchedulerMessage};
use crate::actors::settler::SettlerMessage;
use crate::actors::supervisor::PartContext;
use crate::actors::told::Told;
use crate::domain::{Attempt, AttemptOutcome, Failure, LaneAction, SourceId, Timestamp};
use crate::policy::netblock::Netblock;

/// So much later than the lane that was blamed its neighbours send their canaries: by then its own has told. Not longer than
/// a part of the stop,
const NEIGHBOURS_LATER: Duration = Duration::from_secs(60);
/// which is one in this many.
const NEIGHBOURS_LATER_PARTS: u32 = 5;

impl Isp {
    /// The provider answered a message of this Source.
    pub(super) fn signal(&mut self, source: &SourceId, told: &Told, context: &mut PartContext<'_, Self>) {
        let (now, report) = (self.now(), told.report);
        let Some(state) = self.lanes.get_mut(source) else {
            return;
        };
        let up = self.tools.live.of(&state.lane).up;
        state
            .room
            .because(told.evidence.as_ref(), |room| room.answered(report, up, now));
        let shut_until = state.room.shut_until(now);
        if report.delivered && shut_until.is_none() {
            state.works_again(&self.scheduler);
        }
        if let (true, LaneAction::Stop(_), Some(until)) = (told.is_netblock, report.action, shut_until) {
            self.stop_neighbours(source, told, until, context);
        }
        if report.action != LaneAction::None || !report.delivered {
            self.pump(source, context);
        }
    }

    /// The addresses around this one are blocked as well.
    fn stop_neighbours(
        &mut self,
        source: &SourceId,
        told: &Told,
        until: Timestamp,
        context: &mut PartContext<'_, Self>,
    ) {
        let now = self.now();
        let Some(block) = self.netblock(source) else { return };
        let until = until.plus(NEIGHBOURS_LATER.min(until.since(now) / NEIGHBOURS_LATER_PARTS));
        self.blocks.retain(|_, known| *known > now);
        self.blocks.insert(block, until);
        for other in self.sources() {
            if other == *source || self.netblock(&other) != Some(block) {
                continue;
            }
            if let Some(state) = self.lanes.get_mut(&other) {
                state.room.because(told.evidence.as_ref(), |room| {
                    room.gate_mut().controller_mut().on_neighbour_blocked(until, now);
                });
            }
            self.pump(&other, context);
        }
    }

    /// A lane that begins inside a blocked netblock begins with the stop.
    pub(super) fn stopped_by_neighbours(&self, state: &mut LaneState, now: Timestamp) {
        let until = self
            .netblock(&state.lane.source)
            .and_then(|block| self.blocks.get(&block));
        if let Some(until) = until.filter(|until| **until > now) {
            state.room.gate_mut().controller_mut().on_neighbour_blocked(*until, now);
        }
    }

    fn netblock(&self, source: &SourceId) -> Option<Netblock> {
        let mut sources = self.tools.sources.iter();
        let settings = sources.find(|settings| settings.room.id == *source)?;
        settings.ip.map(Netblock::of)
    }

    /// Lanes of Sources that came to us go on at half of what the node before us has learnt.
    pub(super) fn take_over(&mut self) {
        let now = self.now();
        for state in self.lanes.values_mut() {
            if self.tools.ownership.is_ours(&state.lane.source, now) {
                state.remember(&self.tools, now);
            }
        }
    }

    /// A session did not come up.
    pub(super) fn open_failed(&mut self, source: &SourceId, site: &Arc<str>, attempt: &Attempt) {
        let now = self.now();
        let judgement = self.tools.classifier.judge(&self.provider, attempt);
        let told = Told::of(attempt, &judgement.verdict, 0);
        let Some(state) = self.lanes.get_mut(source) else {
            return;
        };
        let up = self.tools.live.of(&state.lane).up;
        if up > 0 && matches!(attempt.outcome, AttemptOutcome::Failed(Failure::Local(_))) {
            return state.room.open_withdrawn(site);
        }
        state.room.because(told.evidence.as_ref(), |room| {
            room.open_failed(site, attempt.started_at, told.report.action, up, now);
        });
        if up > 0 {
            let observer = &self.tools.surroundings.observer;
            return observer.judged(&self.provider, attempt, &judgement, now);
        }
        // Nothing else is up: one Delivery tells its sender why the others wait.
        if let Some(Held { leased, .. }) = state.room.take_one(site) {
            let said = SettlerMessage::Attempted(
                Box::new(Attempt {
                    delivery: leased.delivery.id,
                    fence: leased.fence,
                    ..attempt.clone()
                }),
                Box::new(leased),
                None,
            );
            returns::settle(&self.crew, said);
            tell(
                &self.scheduler,
                SchedulerMessage::Credit(state.lane.clone(), Credit::Add(1)),
            );
        }
    }
}
