//! One for each Source: opens sessions from its address.
//!
//! Takes orders from ISP actors; gives session tasks. Bounds the connections of the Source over all lanes. The sessions
//! are tasks of their own: a panic here ends none of them, and a panic in one of them touches nothing else.

use std::sync::Arc;

use super::isp::{Isp, IspMessage};
use super::session::{self, SessionPlan};
use super::settler::Settler;
use super::supervisor::{Handle, Part, PartContext};
use super::tools::{LiveGuard, SourceSettings, Tools};
use crate::domain::{
    Attempt, AttemptOutcome, DeliveryId, Destination, Failure, Fence, Lane, MessageId, Stage, Timestamp,
};

/// What an ISP actor orders.
#[derive(Debug)]
pub struct OpenOrder {
    /// For which lane.
    pub lane: Lane,
    /// To which hosts.
    pub destination: Arc<Destination>,
    /// Messages it may carry.
    pub messages_max: u32,
    /// Whom to ask for work.
    pub isp: Handle<Isp>,
    /// When it was ordered.
    pub ordered: Timestamp,
    /// Counts the connection while it lives.
    pub live: LiveGuard,
}

/// What a sender can be told.
#[derive(Debug)]
pub enum SenderMessage {
    /// Open a session.
    Open(Box<OpenOrder>),
}

/// The actor of one Source.
#[derive(Debug)]
pub struct Sender {
    source: SourceSettings,
    tools: Tools,
    settler: Handle<Settler>,
    sessions: Arc<()>,
}

impl Sender {
    /// A sender. `sessions` counts its sessions by its clones and outlives a restart.
    #[must_use]
    pub fn new(source: SourceSettings, tools: Tools, settler: Handle<Settler>, sessions: Arc<()>) -> Self {
        Self {
            source,
            tools,
            settler,
            sessions,
        }
    }

    fn refuse(&self, order: &OpenOrder) {
        let now = self.tools.surroundings.clock.now();
        let attempt = Attempt {
            delivery: DeliveryId {
                message: MessageId(uuid::Uuid::nil()),
                recipient: 0,
            },
            fence: Fence(0),
            number: 0,
            lane: Some(order.lane.clone()),
            host: String::new(),
            address: None,
            tls: false,
            started_at: now,
            ended_at: now,
            stage: Stage::Prepare,
            outcome: AttemptOutcome::Failed(Failure::Local(
                "the source has as many connections as it may".to_owned(),
            )),
        };
        let failed = IspMessage::OpenFailed(
            order.lane.source.clone(),
            Arc::clone(&order.destination.site),
            Box::new(attempt),
        );
        if order.isp.try_send(failed).is_err() {
            tracing::warn!(source = %order.lane.source, "an ISP actor's mailbox is full");
        }
    }
}

impl Part for Sender {
    type Message = SenderMessage;
    const KIND: &'static str = "sender";

    fn started(&mut self, _: &mut PartContext<'_, Self>) {}

    fn handle(&mut self, message: SenderMessage, _: &mut PartContext<'_, Self>) {
        let SenderMessage::Open(order) = message;
        fail::fail_point!("sender");
        let most = usize::try_from(self.tools.settings.connections_per_source_max).unwrap_or(usize::MAX);
        if Arc::strong_count(&self.sessions) > most {
            return self.refuse(&order);
        }
        let plan = SessionPlan {
            order: *order,
            source: self.source.clone(),
            tools: self.tools.clone(),
            settler: self.settler.clone(),
            counted: Arc::clone(&self.sessions),
        };
        self.tools.spawner.spawn(session::run(plan));
    }
}
