//! Keeps the book of reputation: in the store, in the metrics, and in step with other nodes.
//!
//! Takes ticks; gives notes to the store, scores to the observer, and pauses that other nodes' notes tell of to the book.
//! Decides nothing: `policy::reputation` and `policy::tenant_policy` do. What the store does not take is written again later:
//! a crash loses the evidence of some seconds, never a pause that an operator was told of.

use std::time::Duration;

use super::supervisor::{Part, PartContext};
use super::tools::Tools;
use crate::domain::{Note, NoteKind, SourceId, Timestamp};
use crate::observe::reputation_notes::{
    standing_key, standing_of_key, standing_value, standings_of, subject_of, tally_key, tally_of, tally_value,
};
use crate::policy::reputation::{SUBJECTS_MAX, Subject};
use crate::policy::tenant_policy::Grade;
use crate::store::StoreError;

/// Between two looks.
const TICK: Duration = Duration::from_secs(5);
/// Counts that are written in one tick at most.
const NOTES_PER_TICK: usize = 1_000;
/// Standings that are read and written in one tick at most.
const STANDINGS_MAX: usize = 10_000;
/// Scores that are shown as metrics.
const SCORES_MAX: usize = 1_000;

/// What the bookkeeper can be told.
#[derive(Debug)]
pub enum BookkeeperMessage {
    /// Time passed.
    Tick,
    /// What was asked of the store is done.
    Done,
}

/// The bookkeeper. One for each engine.
#[derive(Debug)]
pub struct Bookkeeper {
    tools: Tools,
}

impl Bookkeeper {
    /// A bookkeeper that goes on with the book that is there.
    #[must_use]
    pub fn new(tools: Tools) -> Self {
        Self { tools }
    }

    fn tick(&self, context: &PartContext<'_, Self>) {
        let now = self.tools.surroundings.clock.now();
        for change in self.tools.reputation.on_time(now) {
            self.tools.surroundings.observer.tenant_graded(&change);
        }
        self.show(now);
        let (tools, me) = (self.tools.clone(), context.handle());
        actix::spawn(async move {
            if let Err(error) = keep(&tools, &[], now).await {
                tools.surroundings.observer.store_error(&error);
            }
            if let Err(error) = me.send(BookkeeperMessage::Done).await {
                tracing::debug!(%error, "the bookkeeper did not take an answer");
            }
        });
    }

    fn show(&self, now: Timestamp) {
        let all = self.tools.reputation.all(now).into_iter();
        let mut scores: Vec<_> = all
            .filter(|(subject, _)| !matches!(subject, Subject::Stream(..)))
            .map(|(subject, tally)| (subject.kind(), subject.key(), tally.score().unwrap_or(1.0)))
            .collect();
        scores.sort_by(|(_, _, one), (_, _, other)| one.total_cmp(other));
        scores.truncate(SCORES_MAX);
        let observer = &self.tools.surroundings.observer;
        observer.reputation(&scores);
        for (tenant, stream, history) in self.tools.reputation.standings() {
            let is_paused = history.last().is_some_and(|last| last.grade == Grade::Paused);
            observer.tenant_paused(tenant, stream.name(), is_paused);
        }
    }
}

/// Reads what was known before; to be done before the engine takes work.
pub async fn restore(tools: &Tools) -> Result<(), StoreError> {
    let me = &tools.ownership.me.id;
    let notes = tools.store.notes(NoteKind::Reputation, SUBJECTS_MAX).await?;
    let known = notes
        .iter()
        .filter_map(|note| Some((subject_of(note.key(), me)?, tally_of(note.value())?)));
    tools.reputation.restore(known.collect());
    adopt(tools).await
}

/// These Sources came to us: what the node before us counted of them goes on here.
pub(super) async fn on_gained(tools: &Tools, sources: &[SourceId]) -> Result<(), StoreError> {
    let me = &tools.ownership.me.id;
    let notes = tools.store.notes(NoteKind::Reputation, SUBJECTS_MAX).await?;
    let known = notes.iter().filter_map(|note| {
        let subject = subject_of(note.key(), me)?;
        let came = subject.source().is_some_and(|source| sources.contains(source));
        came.then(|| Some((subject, tally_of(note.value())?)))?
    });
    tools.reputation.restore(known.collect());
    Ok(())
}

/// Follows what other nodes did about tenants, and what was done before a restart.
async fn adopt(tools: &Tools) -> Result<(), StoreError> {
    for note in tools.store.notes(NoteKind::TenantPause, STANDINGS_MAX).await? {
        if let (Some((tenant, stream)), Some(history)) = (standing_of_key(note.key()), standings_of(note.value())) {
            tools.reputation.adopt(tenant, stream, history);
        }
    }
    Ok(())
}

/// Writes what the store has not seen, pauses first. Of a Source that is another node's by now, that node writes.
pub(super) async fn keep(tools: &Tools, leaving: &[SourceId], now: Timestamp) -> Result<(), StoreError> {
    let standings = tools.reputation.take_unsaved_standings(NOTES_PER_TICK);
    let notes = standings.iter().map(|(tenant, stream, history)| {
        let (key, value) = (standing_key(*tenant, *stream), standing_value(history));
        Note::new(NoteKind::TenantPause, key, value, now)
    });
    if let Err(error) = put(tools, notes.filter_map(Result::ok).collect()).await {
        let streams = standings.into_iter().map(|(tenant, stream, _)| (tenant, stream));
        tools.reputation.save_again(Vec::new(), streams.collect());
        return Err(error);
    }
    let me = &tools.ownership.me.id;
    let mut tallies = tools.reputation.take_unsaved(NOTES_PER_TICK, now);
    let ours = |source: &SourceId| leaving.contains(source) || tools.ownership.is_ours(source, now);
    tallies.retain(|(subject, _)| subject.source().is_none_or(ours));
    let notes = tallies.iter().map(|(subject, tally)| {
        // What is forgotten has no value: that takes its note away.
        let value = tally.as_ref().map(tally_value).unwrap_or_default();
        Note::new(NoteKind::Reputation, tally_key(subject, me), value, now)
    });
    if let Err(error) = put(tools, notes.filter_map(Result::ok).collect()).await {
        let subjects = tallies.into_iter().map(|(subject, _)| subject);
        tools.reputation.save_again(subjects.collect(), Vec::new());
        return Err(error);
    }
    adopt(tools).await
}

async fn put(tools: &Tools, notes: Vec<Note>) -> Result<(), StoreError> {
    match notes.is_empty() {
        true => Ok(()),
        false => tools.store.put_notes(notes).await,
    }
}

impl Part for Bookkeeper {
    type Message = BookkeeperMessage;
    const KIND: &'static str = "bookkeeper";

    fn started(&mut self, context: &mut PartContext<'_, Self>) {
        context.after(TICK, BookkeeperMessage::Tick);
    }

    fn handle(&mut self, message: BookkeeperMessage, context: &mut PartContext<'_, Self>) {
        fail::fail_point!("bookkeeper");
        match message {
            BookkeeperMessage::Tick => self.tick(context),
            BookkeeperMessage::Done => context.after(TICK, BookkeeperMessage::Tick),
        }
    }
}
