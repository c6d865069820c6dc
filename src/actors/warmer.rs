//! Keeps the warm-ups of our Sources in step with the store: reads them when a Source comes to us, writes what has changed.
//!
//! Takes ticks and whose the Sources are; gives notes to the store and figures to the observer. Decides nothing, and what it
//! loses costs little: the counters are the store's, and are charged without it.

use std::time::Duration;

use super::supervisor::{Part, PartContext};
use super::tools::Tools;
use super::warmups::LANES_MAX;
use crate::domain::{NOTES_PER_CALL_MAX, NoteKind, SourceId};
use crate::queue::QueueError;

/// Between two looks at whose the Sources are.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Looks between two times that what has changed is written down; what came to another stage is at the next look.
const LOOKS_BETWEEN_NOTES: u64 = 10;
/// Looks between two times that it is shown how far warm-ups are.
const LOOKS_BETWEEN_FIGURES: u64 = 4;

/// What the warmer can be told.
#[derive(Debug)]
pub enum WarmerMessage {
    /// Time passed.
    Look,
    /// The store answered, or did not.
    HasRead(Result<(), QueueError>),
}

/// The warmer. One for each engine.
#[derive(Debug)]
pub struct Warmer {
    tools: Tools,
    reading: bool,
    looks: u64,
}

impl Warmer {
    /// A warmer.
    #[must_use]
    pub fn new(tools: Tools) -> Self {
        Self {
            tools,
            reading: false,
            looks: 0,
        }
    }

    fn look(&mut self, context: &mut PartContext<'_, Self>) {
        let now = self.tools.surroundings.clock.now();
        let unread = self.tools.warmups.unread(&self.tools.ownership.ours(now));
        if !unread.is_empty() && !self.reading {
            self.reading = true;
            let (tools, me) = (self.tools.clone(), context.handle());
            actix::spawn(async move {
                let answer = read(&tools, &unread).await;
                if let Err(error) = me.send(WarmerMessage::HasRead(answer)).await {
                    tracing::debug!(%error, "the warmer did not take an answer of the store");
                }
            });
        }
        self.looks += 1;
        if self.looks.is_multiple_of(LOOKS_BETWEEN_FIGURES) {
            let observer = &self.tools.surroundings.observer;
            observer.warmups(self.tools.warmups.list(now));
        }
        let urgent = self.tools.warmups.take_urgent();
        if urgent || self.looks.is_multiple_of(LOOKS_BETWEEN_NOTES) {
            let tools = self.tools.clone();
            actix::spawn(async move { write(&tools).await });
        }
        context.after(LOOK_EVERY, WarmerMessage::Look);
    }
}

async fn read(tools: &Tools, sources: &[SourceId]) -> Result<(), QueueError> {
    let notes = tools.store.notes(NoteKind::Warmup, LANES_MAX).await?;
    let charges = tools.store.charges(LANES_MAX).await?;
    let now = tools.surroundings.clock.now();
    // Whoever was given them meanwhile has read them by itself.
    tools.warmups.read(sources, &notes, charges, now);
    Ok(())
}

/// Writes down what has changed. What does not fit into one call comes with the next.
pub(super) async fn write(tools: &Tools) {
    let changed = tools.warmups.notes(NOTES_PER_CALL_MAX, tools.surroundings.clock.now());
    if changed.is_empty() {
        return;
    }
    let notes = changed.iter().map(|(_, _, note)| note.clone()).collect();
    match tools.store.put_notes(notes).await {
        Ok(()) => tools.warmups.remembered(&changed),
        Err(error) => tools.surroundings.observer.store_error(&error),
    }
}

impl Part for Warmer {
    type Message = WarmerMessage;
    const KIND: &'static str = "warmer";

    fn started(&mut self, context: &mut PartContext<'_, Self>) {
        if !self.tools.warmups.is_empty() {
            context.after(Duration::ZERO, WarmerMessage::Look);
        }
    }

    fn handle(&mut self, message: WarmerMessage, context: &mut PartContext<'_, Self>) {
        match message {
            WarmerMessage::Look => self.look(context),
            WarmerMessage::HasRead(answer) => {
                self.reading = false;
                if let Err(error) = answer {
                    self.tools.surroundings.observer.store_error(&error);
                }
            }
        }
    }
}
