//! Whose the Sources are, as this node sees it: one view for all its actors and sessions.
//!
//! Takes boards from the keeper; answers by the clock, so that a view that grew old while the process was frozen says no
//! by itself. Decides nothing: `policy::ownership` does.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::{Board, Class, Node, SourceId, Timestamp};
use crate::policy::ownership::{Standing, Standings};
use crate::policy::routing::SourceRoom;

/// The view of one node. Outlives a restarted keeper.
#[derive(Debug)]
pub struct Ownership {
    /// This node.
    pub me: Node,
    view: RwLock<Arc<View>>,
    /// Sources that are not fit to send from.
    out: RwLock<BTreeSet<SourceId>>,
}

#[derive(Debug, Default)]
struct View {
    board: Board,
    standings: Standings,
}

impl Ownership {
    /// Of a node that owns nothing yet.
    #[must_use]
    pub fn of(me: Node) -> Self {
        Self {
            me,
            view: RwLock::default(),
            out: RwLock::default(),
        }
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn put(&self, board: Board, standings: Standings) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(View { board, standings });
    }

    /// Where a Source stands at `now`.
    #[must_use]
    pub fn standing(&self, source: &SourceId, now: Timestamp) -> Standing {
        self.view().standings.of(source, now)
    }

    /// Whether mail may go from a Source at `now`.
    #[must_use]
    pub fn is_ours(&self, source: &SourceId, now: Timestamp) -> bool {
        self.standing(source, now) == Standing::Ours
    }

    /// Whether work of `class` is to be taken at `now`.
    #[must_use]
    pub fn may_take(&self, class: Class, rooms: &[SourceRoom], now: Timestamp) -> bool {
        self.view().standings.may_take(class, rooms, now)
    }

    /// The Sources that are ours at `now`.
    #[must_use]
    pub fn ours(&self, now: Timestamp) -> Vec<SourceId> {
        self.view().standings.ours(now).cloned().collect()
    }

    /// From now on these Sources are not wanted, and no others: the keeper gives them up.
    pub(super) fn take_out(&self, sources: BTreeSet<SourceId>) {
        *self.out.write().unwrap_or_else(PoisonError::into_inner) = sources;
    }

    /// Whether a Source was taken out.
    #[must_use]
    pub fn is_out(&self, source: &SourceId) -> bool {
        self.out.read().unwrap_or_else(PoisonError::into_inner).contains(source)
    }

    /// The board as the store gave it last.
    #[must_use]
    pub fn board(&self) -> Board {
        self.view().board.clone()
    }
}
