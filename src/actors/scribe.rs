//! Writes down what lanes learnt, so that a restart goes on from it.
//!
//! Takes ticks; gives notes to the store, at most one a lane in each round, many in one commit. What could not be written is
//! written in the next round. Decides nothing: lanes say what they remember, `policy::controller` what a restart makes of it.

use super::memories::Memories;
use super::supervisor::{Part, PartContext};
use super::tools::Tools;
use crate::domain::{NOTES_PER_CALL_MAX, SourceId};

/// What the scribe can be told.
#[derive(Debug)]
pub enum ScribeMessage {
    /// Write down what has changed.
    Write,
    /// That is done.
    Written,
}

/// The scribe. One for each engine.
#[derive(Debug)]
pub struct Scribe {
    tools: Tools,
    writing: bool,
}

impl Scribe {
    /// A scribe.
    #[must_use]
    pub fn new(tools: Tools) -> Self {
        Self { tools, writing: false }
    }
}

/// Writes down all that has changed at Sources that are ours, or are being given up, in calls of bounded size. What the
/// store does not take stays changed. Of a Source that is another node's by now, that node knows better.
pub(super) async fn write(tools: &Tools, leaving: &[SourceId]) {
    let memories: &Memories = &tools.lanes.memories;
    loop {
        let now = tools.surroundings.clock.now();
        let may = |source: &SourceId| leaving.contains(source) || tools.ownership.is_ours(source, now);
        let notes = memories.changed(NOTES_PER_CALL_MAX, may, now);
        let count = notes.len();
        if count == 0 {
            return;
        }
        let lanes: Vec<Vec<u8>> = notes.iter().map(|note| note.key().to_vec()).collect();
        if let Err(error) = tools.store.put_notes(notes).await {
            tools.surroundings.observer.store_error(&error);
            return memories.not_written(&lanes);
        }
        if count < NOTES_PER_CALL_MAX {
            return;
        }
    }
}

impl Part for Scribe {
    type Message = ScribeMessage;
    const KIND: &'static str = "scribe";

    fn started(&mut self, context: &mut PartContext<'_, Self>) {
        context.after(self.tools.settings.remember_every, ScribeMessage::Write);
    }

    fn handle(&mut self, message: ScribeMessage, context: &mut PartContext<'_, Self>) {
        fail::fail_point!("scribe");
        match message {
            ScribeMessage::Write => {
                context.after(self.tools.settings.remember_every, ScribeMessage::Write);
                if !std::mem::replace(&mut self.writing, true) {
                    let (tools, me) = (self.tools.clone(), context.handle());
                    actix::spawn(async move {
                        write(&tools, &[]).await;
                        // Whoever does not hear of it begins anew, and writes again.
                        let _ = me.send(ScribeMessage::Written).await;
                    });
                }
            }
            ScribeMessage::Written => self.writing = false,
        }
    }
}
