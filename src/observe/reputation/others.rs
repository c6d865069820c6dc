//! What other nodes counted of tenants, and what all nodes together make of it.
//!
//! Takes the counts that each other node wrote, with the last resume that it knew of; gives sums, which tenants are judged
//! by. What was counted before an operator resumed a stream counts no more, on whichever node it was counted: a node that
//! has not heard of the resume yet is left out until it has. Everything is bounded by what the caller read.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Inner, Reputation};
use crate::domain::{Stream, TenantId, Timestamp};
use crate::policy::reputation::{Subject, Tally};
use crate::policy::tenant_policy::{Grade, Standing};

/// What one node counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counted {
    /// The counts.
    pub tally: Tally,
    /// Nothing in them is from before this time: somebody resumed the stream then. 0: nobody ever did.
    pub since: Timestamp,
}

/// What is known of other nodes.
#[derive(Debug, Default)]
pub(super) struct Others {
    counted: BTreeMap<Subject, Vec<Counted>>,
    resumed: BTreeMap<(TenantId, Stream), Timestamp>,
    /// Nodes that are there, this one too.
    nodes: u32,
}

impl Others {
    /// The nodes that share what a slowed stream may send.
    pub(super) fn nodes(&self) -> f64 {
        f64::from(self.nodes.max(1))
    }

    fn since(&self, subject: &Subject) -> Timestamp {
        let of = |tenant: TenantId, stream: Stream| self.resumed.get(&(tenant, stream)).copied().unwrap_or_default();
        match subject {
            Subject::Stream(tenant, stream) => of(*tenant, *stream),
            Subject::Tenant(tenant) => of(*tenant, Stream::Transactional).max(of(*tenant, Stream::Broadcast)),
            Subject::Source(_) | Subject::Lane(_) | Subject::Domain(..) => Timestamp(0),
        }
    }
}

impl Inner {
    /// What is known of one over all nodes, as of `now`.
    pub(super) fn sum(&self, subject: &Subject, now: Timestamp) -> Option<Tally> {
        let (own, since) = (self.book.tally(subject, now), self.others.since(subject));
        let others = self.others.counted.get(subject).into_iter().flatten();
        others.filter(|one| one.since >= since).fold(own, |sum, one| {
            let more = || one.tally.as_of(now);
            Some(sum.map_or_else(more, |sum| sum.plus(&one.tally, now)))
        })
    }

    /// Everybody of whom something is known, here or elsewhere.
    pub(super) fn everybody(&self, now: Timestamp) -> Vec<(Subject, Tally)> {
        let own = self.book.all(now).map(|(subject, _)| subject);
        let all: BTreeSet<&Subject> = own.chain(self.others.counted.keys()).collect();
        all.into_iter()
            .filter_map(|subject| Some((subject.clone(), self.sum(subject, now)?)))
            .collect()
    }

    /// The stream goes on since then, and is counted anew.
    pub(super) fn resume(&mut self, tenant: TenantId, stream: Stream, at: Timestamp) {
        self.book.forget_stream(tenant, stream);
        self.unsaved
            .extend([Subject::Tenant(tenant), Subject::Stream(tenant, stream)]);
        self.know_resumed(tenant, stream, at);
    }

    /// The changes of a stream came from another node, or from before a restart: it may have been resumed.
    pub(super) fn look_for_resume(&mut self, tenant: TenantId, stream: Stream, history: &[Standing]) {
        let mut latest = history.iter().rev();
        let resumed = latest.find(|standing| standing.by_hand && standing.grade == Grade::Free);
        let known = self.others.resumed.get(&(tenant, stream)).copied().unwrap_or_default();
        if let Some(resumed) = resumed.filter(|resumed| resumed.since > known) {
            self.resume(tenant, stream, resumed.since);
        }
    }

    fn know_resumed(&mut self, tenant: TenantId, stream: Stream, at: Timestamp) {
        let known = self.others.resumed.entry((tenant, stream)).or_default();
        *known = (*known).max(at);
    }
}

impl Reputation {
    /// What the other nodes have counted by now; `nodes` of them are there, this one too. Gives streams that are treated
    /// otherwise from now on: a node judges those whose mail it sends, the others follow it.
    pub fn hear(&self, counted: BTreeMap<Subject, Vec<Counted>>, nodes: usize, now: Timestamp) -> Vec<Change> {
        let mut inner = self.inner();
        let new = counted
            .iter()
            .filter(|(subject, of_nodes)| inner.others.counted.get(subject) != Some(of_nodes));
        let ours = new.filter(|(subject, _)| inner.book.tally(subject, now).is_some());
        let tenants: BTreeSet<TenantId> = ours.filter_map(|(subject, _)| subject.tenant()).collect();
        inner.others.counted = counted;
        inner.others.nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
        let changes = tenants
            .into_iter()
            .flat_map(|tenant| inner.judge(tenant, now))
            .collect();
        self.show(&inner);
        changes
    }

    /// Since when this node has counted one anew: what it writes for other nodes.
    #[must_use]
    pub fn counted_since(&self, subject: &Subject) -> Timestamp {
        self.inner().others.since(subject)
    }

    /// Takes in what this node had counted before a restart.
    pub fn restore_counted(&self, known: Vec<(Subject, Counted)>) {
        let mut inner = self.inner();
        for (subject, counted) in known {
            if let Subject::Stream(tenant, stream) = &subject {
                inner.know_resumed(*tenant, *stream, counted.since);
            }
            inner.book.restore(subject, counted.tally);
        }
    }
}
