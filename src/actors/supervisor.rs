//! What every actor stands on: a shell that survives panics, and the handle by which others reach it.
//!
//! Takes a [`Part`] (state and one message enum) and a factory for it; gives a [`Handle`]. Every message runs under
//! `catch_unwind`: after a panic the part is thrown away, the shell stops its context, actix's Supervisor restarts it in
//! place with its mailbox, and the factory makes a fresh part, which rebuilds itself from durable data. The message that
//! panicked is answered with [`SendError::Panicked`], so that its sender can try again. Too many restarts in a window
//! escalate to the root, which stops the process: the queue is durable, so that is safe.
//!
//! Never uses `do_send`, never keeps in-flight work in a context (a task of its own does it and reports by message).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use thiserror::Error;

use crate::clock::Clock;
use crate::observe::Observer;
use crate::policy::restart::{AfterPanic, RestartSettings, Restarts};

/// The state of an actor and what it does with a message.
pub trait Part: Sized + Unpin + 'static {
    /// Everything it can be told.
    type Message: Send + 'static;
    /// Its kind, for logs and metrics.
    const KIND: &'static str;

    /// It is running, for the first time or after a panic: set timers, rebuild state.
    fn started(&mut self, context: &mut PartContext<'_, Self>);

    /// One message.
    fn handle(&mut self, message: Self::Message, context: &mut PartContext<'_, Self>);
}

/// Told the kind of an actor that cannot be kept alive.
pub type Escalate = Arc<dyn Fn(&'static str) + Send + Sync>;

/// What all actors share: time, observation, and the way up.
#[derive(Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Clock,
    /// Where happenings are told.
    pub observer: Arc<Observer>,
    /// Bounds of restarting.
    pub restarts: RestartSettings,
    /// Called with the kind of an actor that cannot be kept alive.
    pub escalate: Escalate,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// What a part may do with its own context.
pub struct PartContext<'a, P: Part> {
    inner: &'a mut Context<Shell<P>>,
}

impl<P: Part> PartContext<'_, P> {
    /// Handles `message` after `delay`; forgotten when the part restarts.
    pub fn after(&mut self, delay: Duration, message: P::Message) {
        self.inner.run_later(delay, |shell, context| {
            shell.guarded(context, |part, context| part.handle(message, context));
        });
    }

    /// The handle of this actor.
    pub fn handle(&self) -> Handle<P> {
        Handle {
            address: self.inner.address(),
        }
    }
}

/// Why a message was not handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError {
    /// The mailbox is full.
    #[error("the mailbox is full")]
    Full,
    /// The actor is gone.
    #[error("the actor is gone")]
    Gone,
    /// The actor panicked over it and was restarted.
    #[error("the actor panicked over this message")]
    Panicked,
}

/// Reaches an actor.
pub struct Handle<P: Part> {
    address: Addr<Shell<P>>,
}

impl<P: Part> Clone for Handle<P> {
    fn clone(&self) -> Self {
        Self {
            address: self.address.clone(),
        }
    }
}

impl<P: Part> std::fmt::Debug for Handle<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({})", P::KIND)
    }
}

impl<P: Part> Handle<P> {
    /// Puts a message into the mailbox, or says that it does not fit.
    pub fn try_send(&self, message: P::Message) -> Result<(), SendError> {
        self.address.try_send(Envelope(message)).map_err(|error| match error {
            actix::prelude::SendError::Full(_) => SendError::Full,
            actix::prelude::SendError::Closed(_) => SendError::Gone,
        })
    }

    /// Waits for room in the mailbox and until the message was handled.
    pub async fn send(&self, message: P::Message) -> Result<(), SendError> {
        match self.address.send(Envelope(message)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(SendError::Panicked),
            Err(_) => Err(SendError::Gone),
        }
    }
}

/// Starts a supervised actor on the current thread.
pub fn start<P: Part>(
    surroundings: Surroundings,
    mailbox: usize,
    factory: impl Fn() -> P + Send + Sync + 'static,
) -> Handle<P> {
    surroundings.observer.actor_started(P::KIND);
    let restarts = Restarts::new(surroundings.restarts);
    let factory: Arc<dyn Fn() -> P + Send + Sync> = Arc::new(factory);
    let address = Supervisor::start(move |context: &mut Context<Shell<P>>| {
        context.set_mailbox_capacity(mailbox);
        Shell {
            part: None,
            factory,
            surroundings,
            restarts,
            pause: None,
            lifeline: Lifeline { escalate: None },
        }
    });
    Handle { address }
}

struct Envelope<M>(M);

impl<M: Send> Message for Envelope<M> {
    /// Whether it was handled without a panic.
    type Result = bool;
}

/// Tells the root when a shell dies in a way that its guard did not see.
struct Lifeline {
    escalate: Option<(Escalate, &'static str)>,
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        if let Some((escalate, kind)) = self.escalate.take()
            && std::thread::panicking()
        {
            escalate(kind);
        }
    }
}

struct Shell<P: Part> {
    part: Option<P>,
    factory: Arc<dyn Fn() -> P + Send + Sync>,
    surroundings: Surroundings,
    restarts: Restarts,
    pause: Option<Duration>,
    lifeline: Lifeline,
}

impl<P: Part> Shell<P> {
    /// Runs `body` on the part; after a panic throws the part away and asks for a restart. Says whether it went well.
    fn guarded(&mut self, context: &mut Context<Self>, body: impl FnOnce(&mut P, &mut PartContext<'_, P>)) -> bool {
        let Some(part) = self.part.as_mut() else { return false };
        let outcome = catch_unwind(AssertUnwindSafe(|| body(part, &mut PartContext { inner: context })));
        if outcome.is_ok() {
            return true;
        }
        self.surroundings.observer.actor_panicked(P::KIND);
        // The part may be half-changed: nothing of it is trusted again, and its own drop may panic as well.
        let part = self.part.take();
        let _ = catch_unwind(AssertUnwindSafe(move || drop(part)));
        match self.restarts.on_panic(self.surroundings.clock.now()) {
            AfterPanic::RestartAfter(pause) => {
                self.pause = Some(pause);
                context.stop();
            }
            AfterPanic::Escalate => (self.surroundings.escalate)(P::KIND),
        }
        false
    }

    fn begin(&mut self, context: &mut Context<Self>) {
        let factory = Arc::clone(&self.factory);
        match catch_unwind(AssertUnwindSafe(move || factory())) {
            Ok(part) => self.part = Some(part),
            Err(_) => return (self.surroundings.escalate)(P::KIND),
        }
        self.guarded(context, P::started);
    }
}

impl<P: Part> Actor for Shell<P> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.lifeline.escalate = Some((Arc::clone(&self.surroundings.escalate), P::KIND));
        match self.pause.take() {
            None => self.begin(context),
            Some(pause) => {
                // `wait` blocks the mailbox and keeps it: nothing is handled before the part is whole again.
                let pause = actix::fut::wrap_future::<_, Self>(tokio::time::sleep(pause));
                context.wait(pause.map(|(), shell, context| shell.begin(context)));
            }
        }
    }
}

impl<P: Part> Supervised for Shell<P> {}

impl<P: Part> Handler<Envelope<P::Message>> for Shell<P> {
    type Result = bool;

    fn handle(&mut self, envelope: Envelope<P::Message>, context: &mut Self::Context) -> bool {
        self.guarded(context, |part, context| part.handle(envelope.0, context))
    }
}
