//! A whole store moves into another one, and can be stopped and begun again at any point.
//!
//! Takes two stores that can move; gives the balance of both. Nobody works on either meanwhile: a node that is alive on one
//! refuses the move, and what is half-way, or has moved away, is marked, so that no engine starts on it. Sends nothing and
//! deletes nothing: the old store keeps what it had.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::domain::{State, TenantId, Timestamp};
use crate::queue::{Claims, QueueError};
use crate::store::archive::{Archive, Archived, Mark};

/// Items in one page.
pub const PAGE_ITEMS: usize = 256;

/// A store that can move, and that knows who works on it.
pub trait Movable: Archive + Claims {}

impl<S: Archive + Claims> Movable for S {}

/// Why a move was not made, or not finished.
#[derive(Debug, Error)]
pub enum MigrationError {
    /// An engine works on it.
    #[error("{store}: node {node} is alive; stop it and wait until its presence ends")]
    Alive {
        /// Which store.
        store: String,
        /// Which node.
        node: String,
    },
    /// There is something in it, and it is not from an earlier run of this move.
    #[error("{0}: the target is not empty")]
    NotEmpty(String),
    /// It belongs to another move.
    #[error("{store}: {problem}")]
    Marked {
        /// Which store.
        store: String,
        /// What it says about itself.
        problem: String,
    },
    /// A store failed.
    #[error("{store}: {error}")]
    Store {
        /// Which store.
        store: String,
        /// What went wrong.
        error: QueueError,
    },
    /// What arrived is not what left. The target stays marked, so that no engine starts on it.
    #[error("the count does not balance: {0}")]
    Unbalanced(String),
}

/// A store and what its operator calls it.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The store.
    pub store: &'a dyn Movable,
    /// As written on the command line.
    pub name: &'a str,
}

impl Side<'_> {
    fn failed(&self, error: QueueError) -> MigrationError {
        MigrationError::Store {
            store: self.name.to_owned(),
            error,
        }
    }

    fn marked(&self, problem: String) -> MigrationError {
        MigrationError::Marked {
            store: self.name.to_owned(),
            problem,
        }
    }
}

/// What a store holds, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Deliveries by tenant and state.
    pub deliveries: BTreeMap<(TenantId, State), u64>,
    /// Everything else by its name: tenants, keys, messages, events and so on.
    pub others: BTreeMap<&'static str, u64>,
    /// Items of an export.
    pub items: u64,
}

impl Census {
    fn count(&mut self, item: &Archived) {
        self.items += 1;
        let mut add = |name, more: usize| *self.others.entry(name).or_default() += more as u64;
        match item {
            Archived::Tenant(_) => add("tenants", 1),
            Archived::Key(_) => add("keys", 1),
            Archived::Domain(domain) => {
                add("domains", 1);
                add("DKIM keys", domain.dkim.len());
            }
            Archived::Template(_) => add("template versions", 1),
            Archived::Suppression(_) => add("suppressions", 1),
            Archived::Answer(..) => add("idempotency answers", 1),
            Archived::Note(_) => add("notes", 1),
            Archived::Charged(..) => add("warm-up counters", 1),
            Archived::Message(archived) => {
                add("messages", 1);
                add("bodies", usize::from(archived.body.is_some()));
                add("events", archived.events.len());
                let deliveries = &archived.deliveries;
                add(
                    "parked deliveries",
                    deliveries.iter().filter(|one| one.parked.is_some()).count(),
                );
                add(
                    "open intents",
                    deliveries.iter().filter(|one| one.open_intent.is_some()).count(),
                );
                add(
                    "attempts",
                    deliveries.iter().map(|one| one.delivery.attempts as usize).sum(),
                );
                for one in deliveries {
                    let key = (one.delivery.tenant, one.delivery.state);
                    *self.deliveries.entry(key).or_default() += 1;
                }
            }
        }
    }
}

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many items were counted at the source.
    Counted(u64),
    /// So many more have moved.
    Moved(u64),
    /// So many more were counted at the target.
    Checked(u64),
}

/// Moves everything from one store into another, empty one, `page_items` at a time, or goes on with a move that was stopped.
pub async fn migrate(
    from: Side<'_>,
    to: Side<'_>,
    page_items: usize,
    now: Timestamp,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Census, MigrationError> {
    for side in [from, to] {
        let board = side.store.board(now).await.map_err(|error| side.failed(error))?;
        if let Some(presence) = board.nodes.first() {
            return Err(MigrationError::Alive {
                store: side.name.to_owned(),
                node: presence.node.id.to_string(),
            });
        }
    }
    let mut after = begin(from, to).await?;
    let left = census(from, &mut |_| ()).await?;
    progress(Progress::Counted(left.items));
    loop {
        let page = from
            .store
            .export(after.as_ref(), page_items)
            .await
            .map_err(|error| from.failed(error))?;
        let moved = page.items.len() as u64;
        // The last page has no cursor behind it: whoever begins again takes it in once more, which changes nothing.
        let mark = Mark::Arriving {
            from: from.name.to_owned(),
            after: page.next.clone().or_else(|| after.clone()),
        };
        to.store
            .import(page.items, &mark)
            .await
            .map_err(|error| to.failed(error))?;
        progress(Progress::Moved(moved));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let arrived = census(to, &mut |items| progress(Progress::Checked(items))).await?;
    if arrived != left {
        return Err(MigrationError::Unbalanced(difference(&left, &arrived)));
    }
    // The old store first: between the two, neither may be started on, and the move can be run again.
    let moved = Mark::Moved { to: to.name.to_owned() };
    from.store
        .set_mark(Some(&moved))
        .await
        .map_err(|error| from.failed(error))?;
    to.store.set_mark(None).await.map_err(|error| to.failed(error))?;
    Ok(arrived)
}

/// Whether the move may be made; where it begins.
async fn begin(from: Side<'_>, to: Side<'_>) -> Result<Option<crate::store::archive::Cursor>, MigrationError> {
    let left = from.store.mark().await.map_err(|error| from.failed(error))?;
    match &left {
        None => {}
        // Perhaps stopped between the two marks at the end: then the target still has its own.
        Some(Mark::Moved { to: whereto }) if whereto == to.name => {}
        Some(mark) => return Err(from.marked(problem(mark))),
    }
    match to.store.mark().await.map_err(|error| to.failed(error))? {
        Some(Mark::Arriving { from: origin, after }) if origin == from.name => Ok(after),
        Some(mark) => Err(to.marked(problem(&mark))),
        None => {
            if let Some(mark) = &left {
                return Err(from.marked(problem(mark)));
            }
            let page = to.store.export(None, 1).await.map_err(|error| to.failed(error))?;
            if !page.items.is_empty() {
                return Err(MigrationError::NotEmpty(to.name.to_owned()));
            }
            let mark = Mark::Arriving {
                from: from.name.to_owned(),
                after: None,
            };
            to.store.set_mark(Some(&mark)).await.map_err(|error| to.failed(error))?;
            Ok(None)
        }
    }
}

/// What a mark says to somebody who wants to use the store.
#[must_use]
pub fn problem(mark: &Mark) -> String {
    match mark {
        Mark::Arriving { from, .. } => {
            format!("the move from {from} is not finished; run `posthaste migrate` again")
        }
        Mark::Moved { to } => format!("everything has moved to {to}, and goes out from there"),
    }
}

/// Counts what a store holds by reading all of it.
pub async fn census(side: Side<'_>, read: &mut (dyn FnMut(u64) + Send)) -> Result<Census, MigrationError> {
    let (mut census, mut after) = (Census::default(), None);
    loop {
        let page = side
            .store
            .export(after.as_ref(), PAGE_ITEMS)
            .await
            .map_err(|error| side.failed(error))?;
        page.items.iter().for_each(|item| census.count(item));
        read(page.items.len() as u64);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(census),
        }
    }
}

/// What differs, for people.
fn difference(left: &Census, arrived: &Census) -> String {
    let mut lines = Vec::new();
    for key in left.deliveries.keys().chain(arrived.deliveries.keys()) {
        let (was, is) = (
            left.deliveries.get(key).unwrap_or(&0),
            arrived.deliveries.get(key).unwrap_or(&0),
        );
        let line = format!("tenant {} {}: {was} left, {is} arrived", key.0, key.1);
        if was != is && !lines.contains(&line) {
            lines.push(line);
        }
    }
    for name in left.others.keys().chain(arrived.others.keys()) {
        let (was, is) = (
            left.others.get(name).unwrap_or(&0),
            arrived.others.get(name).unwrap_or(&0),
        );
        let line = format!("{name}: {was} left, {is} arrived");
        if was != is && !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("; ")
}
