//! Goes round all that wait, without end: counts them by lane and tenant, and finds those who wait for nothing.
//!
//! Takes pages of the queue, at its own pace; gives each round to the observer, which raises the alarm, and every few
//! seconds how many wait for each lane and why. Decides nothing: `policy::census` does. Changes nothing: whoever waits for
//! nothing is a defect that somebody has to look at.

use std::time::Duration;

use super::inquiries::LanesSay;
use super::supervisor::{Handle, Part, PartContext, start};
use super::tools::Tools;
use crate::domain::{Lane, Shelf, Timestamp, Why};
use crate::policy::census::Round;
use crate::queue::{QueueError, WaitersCursor, WaitersPage};

/// Records read for one page.
const PAGE: usize = 1_000;
/// Between two pages: a million that wait are met in a little more than a quarter of an hour.
const PAGES_EVERY: Duration = Duration::from_secs(1);
/// Between two rounds.
const ROUNDS_EVERY: Duration = Duration::from_secs(10);
/// Between two looks at who waits for which lane.
const LANES_EVERY: Duration = Duration::from_secs(5);
/// Lanes in one look.
const LANES_MAX: usize = 10_000;

/// What the watchdog can be told.
#[derive(Debug)]
pub enum WatchdogMessage {
    /// Read the next page.
    Page,
    /// The queue gave one.
    Read(Result<WaitersPage, QueueError>),
    /// See who waits for which lane.
    Lanes,
}

/// The watchdog. One for each engine.
#[derive(Debug)]
pub struct Watchdog {
    tools: Tools,
    round: Round,
    began: Timestamp,
    after: Option<WaitersCursor>,
}

impl Watchdog {
    /// Starts one.
    #[must_use]
    pub fn start(tools: &Tools) -> Handle<Self> {
        let (surroundings, mailbox) = (tools.surroundings.clone(), tools.settings.mailbox);
        let tools = tools.clone();
        start(surroundings, mailbox, move || Self {
            tools: tools.clone(),
            round: Round::default(),
            began: tools.surroundings.clock.now(),
            after: None,
        })
    }

    fn read(&self, context: &PartContext<'_, Self>) {
        let (queue, me, after) = (self.tools.queue.clone(), context.handle(), self.after.clone());
        actix::spawn(async move {
            let page = queue.waiters(after.as_ref(), PAGE).await;
            if let Err(error) = me.send(WatchdogMessage::Read(page)).await {
                tracing::debug!(%error, "the watchdog did not take a page");
            }
        });
    }

    fn met(&mut self, page: Result<WaitersPage, QueueError>, context: &mut PartContext<'_, Self>) {
        let now = self.tools.surroundings.clock.now();
        let mut next = PAGES_EVERY;
        match page {
            Ok(page) => {
                for waiter in &page.waiters {
                    self.round.meet(&waiter.delivery, waiter.parked.as_ref());
                }
                self.after = page.next;
                if self.after.is_none() {
                    let round = std::mem::take(&mut self.round);
                    self.tools.surroundings.observer.round(round, self.began, now);
                    self.began = now.plus(ROUNDS_EVERY);
                    next = ROUNDS_EVERY;
                }
            }
            // The same page again: a round with a hole would say that all is well.
            Err(error) => self.tools.surroundings.observer.store_error(&error),
        }
        context.after(next, WatchdogMessage::Page);
    }
}

/// Lanes with how many are parked there, most first, each with what holds it back now.
async fn lanes(tools: Tools) {
    let now = tools.surroundings.clock.now();
    let observer = &tools.surroundings.observer;
    match tools.queue.parked_lanes(LANES_MAX).await {
        Ok(lanes) => {
            let standings = LanesSay::new(&tools);
            let why = |lane: &Lane| standings.of(lane, now).map_or(Why::LaneFull, |told| told.why);
            let mut rows: Vec<(Lane, Why, u64)> = Shelf::by_lane(&lanes)
                .into_iter()
                .map(|(lane, waiting)| {
                    let why = why(&lane);
                    (lane, why, waiting)
                })
                .collect();
            rows.sort_by_key(|(_, _, waiting)| std::cmp::Reverse(*waiting));
            observer.lanes_waiting(&rows);
        }
        Err(error) => observer.store_error(&error),
    }
}

impl Part for Watchdog {
    type Message = WatchdogMessage;
    const KIND: &'static str = "watchdog";

    fn started(&mut self, context: &mut PartContext<'_, Self>) {
        context.after(Duration::ZERO, WatchdogMessage::Page);
        context.after(LANES_EVERY, WatchdogMessage::Lanes);
    }

    fn handle(&mut self, message: WatchdogMessage, context: &mut PartContext<'_, Self>) {
        fail::fail_point!("watchdog");
        match message {
            WatchdogMessage::Page => self.read(context),
            WatchdogMessage::Read(page) => self.met(page, context),
            WatchdogMessage::Lanes => {
                actix::spawn(lanes(self.tools.clone()));
                context.after(LANES_EVERY, WatchdogMessage::Lanes);
            }
        }
    }
}
