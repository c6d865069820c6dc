//! Brings accepted Submissions to stable storage. One for each API worker, on its thread.
//!
//! Takes what admission made; gives the queue's answer after the commit. Bounds how many are on their way at once: what we
//! cannot store soon we refuse. The queue's own batches make one commit of what arrives together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

use super::supervisor::{Handle, Part, PartContext, Surroundings, start};
use crate::queue::{Accept, Accepted, Queue, QueueError};
use crate::sabotage::{self, Bug};

/// Why an accept was not made durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Too many are on their way.
    Overloaded,
    /// The store said no, or nothing.
    Store(QueueError),
    /// The answer got lost in a panic: whether it is stored is not known.
    Lost,
}

/// What an intake can be told.
#[derive(Debug)]
pub enum IntakeMessage {
    /// Make this durable.
    Accept(Box<Accept>, oneshot::Sender<Result<Accepted, Refusal>>),
}

/// What the intakes of one engine share.
#[derive(Debug, Clone)]
pub struct IntakeParts {
    /// Where accepted mail goes.
    pub queue: Arc<dyn Queue>,
    /// Clock, observer, escalation.
    pub surroundings: Surroundings,
    /// Accepts on their way at most.
    pub in_flight_max: usize,
    /// How many are on their way.
    pub in_flight: Arc<AtomicUsize>,
    /// Room in the mailbox of each.
    pub mailbox: usize,
}

/// The intake.
#[derive(Debug)]
pub struct Intake {
    parts: IntakeParts,
}

/// Counts one accept while it is on its way.
struct InFlight(Arc<AtomicUsize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Part for Intake {
    type Message = IntakeMessage;
    const KIND: &'static str = "intake";

    fn started(&mut self, _: &mut PartContext<'_, Self>) {}

    fn handle(&mut self, message: IntakeMessage, _: &mut PartContext<'_, Self>) {
        fail::fail_point!("intake");
        let IntakeMessage::Accept(accept, reply) = message;
        let counted = InFlight(Arc::clone(&self.parts.in_flight));
        if self.parts.in_flight.fetch_add(1, Ordering::Relaxed) >= self.parts.in_flight_max {
            let _ = reply.send(Err(Refusal::Overloaded));
            return;
        }
        let (queue, observer) = (
            Arc::clone(&self.parts.queue),
            Arc::clone(&self.parts.surroundings.observer),
        );
        actix::spawn(async move {
            let _counted = counted;
            let classes: Vec<_> = accept.deliveries.iter().map(|delivery| delivery.class).collect();
            let mut reply = Some(reply);
            if sabotage::is(Bug::AcceptBeforeCommit)
                && let Some(reply) = reply.take()
            {
                let _ = reply.send(Ok(Accepted::New));
            }
            fail::fail_point!("accept-before-write");
            let mut answer = queue.accept(*accept).await;
            fail::fail_point!("accept-before-answer");
            if sabotage::is(Bug::AcceptErrorIgnored) {
                answer = Ok(answer.unwrap_or(Accepted::New));
            }
            match &answer {
                Ok(Accepted::New) => classes.into_iter().for_each(|class| observer.accepted(class, 1)),
                Ok(_) => {}
                Err(error) => observer.store_error(error),
            }
            // The caller may have gone; what is stored stays stored, and its key answers the repeated call.
            let _ = reply.map(|reply| reply.send(answer.map_err(Refusal::Store)));
        });
    }
}

/// The door for the API.
#[derive(Debug, Clone)]
pub struct IntakeHandle(pub Handle<Intake>);

impl IntakeHandle {
    /// Starts an intake on the current thread.
    #[must_use]
    pub fn start(parts: IntakeParts) -> Self {
        let (surroundings, mailbox) = (parts.surroundings.clone(), parts.mailbox);
        Self(start(surroundings, mailbox, move || Intake { parts: parts.clone() }))
    }

    /// Makes an accept durable. A panic of the actor before the store was asked is answered as overload: nothing was stored.
    pub async fn accept(&self, accept: Accept) -> Result<Accepted, Refusal> {
        let (reply, answer) = oneshot::channel();
        if self
            .0
            .send(IntakeMessage::Accept(Box::new(accept), reply))
            .await
            .is_err()
        {
            return Err(Refusal::Overloaded);
        }
        answer.await.unwrap_or(Err(Refusal::Lost))
    }
}
