//! What all nodes counted of tenants: each node writes its own counts under its name, and reads what the others wrote.
//!
//! Takes notes of the store; gives them to the book of reputation, which judges tenants by the sums. So a tenant whose list
//! is spread over nodes is slowed and paused as if there were one. Counts of a node that is gone count until they have
//! faded; then whoever sees it takes their notes away. Decides nothing.

use std::collections::BTreeMap;

use super::tools::Tools;
use crate::domain::{NOTES_PER_CALL_MAX, NodeId, Note, NoteKind, Timestamp};
use crate::observe::reputation::Counted;
use crate::observe::reputation_notes::{counted_of, counted_value, of_key, tally_key};
use crate::policy::reputation::{Subject, Tally};
use crate::store::StoreError;

/// Notes that are read at most, over all nodes: three for each tenant and node. Beyond it the nodes that are last by name
/// are left out, and the log says so.
const NOTES_MAX: usize = 100_000;

/// Counts as notes have them, by who counted what.
type Known = Vec<(NodeId, Subject, Counted)>;

/// The note about what this node counted of a tenant or a stream of it; of no counts, the one that takes it away.
pub(super) fn note(tools: &Tools, subject: &Subject, tally: Option<&Tally>, now: Timestamp) -> Option<Note> {
    let since = tools.reputation.counted_since(subject);
    let value = tally.map(|tally| counted_value(&Counted { tally: *tally, since }));
    let key = tally_key(subject, &tools.ownership.me.id);
    Note::new(NoteKind::TenantCounts, key, value.unwrap_or_default(), now).ok()
}

/// Goes on with what this node had counted before a restart.
pub(super) async fn restore(tools: &Tools) -> Result<(), StoreError> {
    let known = read(tools).await?.into_iter();
    let own = known.filter(|(node, ..)| *node == tools.ownership.me.id);
    tools
        .reputation
        .restore_counted(own.map(|(_, subject, counted)| (subject, counted)).collect());
    Ok(())
}

/// Hears what other nodes have counted by now.
pub(super) async fn hear(tools: &Tools, now: Timestamp) -> Result<(), StoreError> {
    let known = read(tools).await?.into_iter();
    let others = known.filter(|(node, ..)| *node != tools.ownership.me.id);
    let (faded, fresh): (Known, Known) = others.partition(|(_, _, counted)| counted.tally.as_of(now).has_faded());
    let mut counted: BTreeMap<Subject, Vec<Counted>> = BTreeMap::new();
    for (_, subject, of_node) in fresh {
        counted.entry(subject).or_default().push(of_node);
    }
    let nodes = tools.ownership.board().nodes.len();
    for change in tools.reputation.hear(counted, nodes, now) {
        tools.surroundings.observer.tenant_graded(&change);
    }
    let gone = faded.iter().take(NOTES_PER_CALL_MAX);
    let gone: Vec<Note> = gone
        .filter_map(|(node, subject, _)| {
            Note::new(NoteKind::TenantCounts, tally_key(subject, node), Vec::new(), now).ok()
        })
        .collect();
    match gone.is_empty() {
        true => Ok(()),
        false => tools.store.put_notes(gone).await,
    }
}

async fn read(tools: &Tools) -> Result<Known, StoreError> {
    let notes = tools.store.notes(NoteKind::TenantCounts, NOTES_MAX).await?;
    if notes.len() >= NOTES_MAX {
        tracing::warn!(most = NOTES_MAX, "not all that nodes counted of tenants is read");
    }
    let known = notes.iter().filter_map(|note| {
        let (node, subject) = of_key(note.key())?;
        Some((node?, subject, counted_of(note.value())?))
    });
    Ok(known.collect())
}
