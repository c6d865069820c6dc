//! Keeps house: ends what expired while parked, deletes what is past its retention, keeps gauges fresh, writes the list of
//! unknown replies.
//!
//! Takes ticks; gives expired deliveries to the settler and depths to the observer. Every round is bounded; what is left
//! comes with the next one.

use std::time::Duration;

use super::reviews;
use super::settler::{Settler, SettlerMessage};
use super::supervisor::{Handle, Part, PartContext};
use super::tools::Tools;
use crate::policy::settlement::{self, Waiting};
use crate::sabotage::{self, Bug};

/// Between two looks at the depth of the queue.
const GAUGES_EVERY: Duration = Duration::from_secs(2);
/// Between two looks for parked deliveries that expired: each gets its verdict well within a minute.
const EXPIRY_EVERY: Duration = Duration::from_secs(5);
/// Between two purges.
const PURGE_EVERY: Duration = Duration::from_secs(60);
/// Deliveries or messages in one round.
const ROUND_MAX: usize = 500;

/// What the janitor can be told.
#[derive(Debug)]
pub enum JanitorMessage {
    /// Refresh the gauges.
    Gauges,
    /// End what expired.
    Expiry,
    /// Delete what is old.
    Purge,
    /// Write what reviewers of rules look at.
    Reviews,
}

/// The janitor.
#[derive(Debug)]
pub struct Janitor {
    tools: Tools,
    settler: Handle<Settler>,
}

impl Janitor {
    /// A janitor.
    #[must_use]
    pub fn new(tools: Tools, settler: Handle<Settler>) -> Self {
        Self { tools, settler }
    }
}

async fn gauges(tools: Tools) {
    let now = tools.surroundings.clock.now();
    let observer = &tools.surroundings.observer;
    match tools.queue.depth(now).await {
        Ok(depth) => observer.depth(&depth, now),
        Err(error) => observer.store_error(&error),
    }
    observer.upkeep();
}

async fn expiry(tools: Tools, settler: Handle<Settler>) {
    if sabotage::is(Bug::ExpiryOnlyAtAttempt) {
        return;
    }
    let now = tools.surroundings.clock.now();
    match tools
        .queue
        .lease_expired(ROUND_MAX, now, now.plus(tools.settings.lease))
        .await
    {
        Ok(expired) => {
            for leased in expired {
                // One with an open INTENT may have gone out before its holder died: it does not just expire.
                let open_intent = leased.open_intent.as_ref().map(|open| &*open.host);
                let open_intent = open_intent.filter(|_| !sabotage::is(Bug::ExpiryHidesIntent));
                let figures = tools.figures.get();
                let settings = &figures.settlement;
                let Waiting::Settle(settlement) =
                    settlement::waiting(&leased.delivery, leased.fence, open_intent, settings, now)
                else {
                    continue;
                };
                if settler
                    .send(SettlerMessage::Settle(settlement, leased.delivery))
                    .await
                    .is_err()
                {
                    break;
                }
            }
        }
        Err(error) => tools.surroundings.observer.store_error(&error),
    }
}

async fn purge(tools: Tools) {
    let before = tools.surroundings.clock.now().minus(tools.settings.retention);
    match tools.store.purge(before, ROUND_MAX).await {
        Ok(0) => {}
        Ok(purged) => tracing::info!(purged, "deleted messages past their retention"),
        Err(error) => tools.surroundings.observer.store_error(&error),
    }
}

impl Part for Janitor {
    type Message = JanitorMessage;
    const KIND: &'static str = "janitor";

    fn started(&mut self, context: &mut PartContext<'_, Self>) {
        context.after(Duration::ZERO, JanitorMessage::Gauges);
        context.after(EXPIRY_EVERY, JanitorMessage::Expiry);
        context.after(PURGE_EVERY, JanitorMessage::Purge);
        context.after(self.tools.settings.reviews_every, JanitorMessage::Reviews);
    }

    fn handle(&mut self, message: JanitorMessage, context: &mut PartContext<'_, Self>) {
        fail::fail_point!("janitor");
        match message {
            JanitorMessage::Gauges => {
                actix::spawn(gauges(self.tools.clone()));
                context.after(GAUGES_EVERY, JanitorMessage::Gauges);
            }
            JanitorMessage::Expiry => {
                actix::spawn(expiry(self.tools.clone(), self.settler.clone()));
                context.after(EXPIRY_EVERY, JanitorMessage::Expiry);
            }
            JanitorMessage::Purge => {
                actix::spawn(purge(self.tools.clone()));
                context.after(PURGE_EVERY, JanitorMessage::Purge);
            }
            JanitorMessage::Reviews => {
                let tools = self.tools.clone();
                actix::spawn(async move { reviews::exchange(&tools).await });
                context.after(self.tools.settings.reviews_every, JanitorMessage::Reviews);
            }
        }
    }
}
