//! What random histories are made of.
//!
//! Gives a proptest strategy for single steps; `model` plays them. Times are whole seconds, a lease lasts sixty.

use posthaste::domain::Stream;
use proptest::prelude::*;

/// One call, or something that happens. Indices are taken modulo what there is.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Accept {
        class: usize,
        recipients: usize,
        due_in: u64,
        life: u64,
        suppressed: bool,
        key: Option<(u8, u8)>,
    },
    Lease {
        class: usize,
        max: usize,
    },
    LeaseParked {
        lane: usize,
        max: usize,
    },
    LeaseExpired {
        max: usize,
    },
    Park {
        lease: usize,
        lane: usize,
    },
    Release {
        lease: usize,
        due_in: u64,
    },
    Renew {
        leases: [usize; 2],
    },
    Intent {
        lease: usize,
        charged: bool,
    },
    Settle {
        lease: usize,
        end: End,
    },
    Cancel {
        delivery: usize,
    },
    Suppress {
        address: usize,
        stream: Option<Stream>,
    },
    Forgive {
        address: usize,
    },
    Purge {
        age: u64,
    },
    Pass {
        seconds: u64,
    },
    Crash,
}

/// How an Attempt ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Delivered,
    Bounced { suppress: bool },
    Deferred { due_in: u64 },
    Held { due_in: u64 },
}

/// A step, likely ones more often.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    let index = any::<usize>;
    let end = prop_oneof![
        2 => Just(End::Delivered),
        1 => any::<bool>().prop_map(|suppress| End::Bounced { suppress }),
        2 => (0..90_u64).prop_map(|due_in| End::Deferred { due_in }),
        1 => (0..90_u64).prop_map(|due_in| End::Held { due_in }),
    ];
    let stream = prop_oneof![
        Just(None),
        Just(Some(Stream::Transactional)),
        Just(Some(Stream::Broadcast))
    ];
    let key = proptest::option::weighted(0.3, (0..3_u8, 0..2_u8));
    prop_oneof![
        6 => (0..3_usize, 1..4_usize, 0..40_u64, 1..400_u64, proptest::bool::weighted(0.1), key).prop_map(
            |(class, recipients, due_in, life, suppressed, key)| Step::Accept {
                class, recipients, due_in, life, suppressed, key,
            }
        ),
        8 => (0..3_usize, 0..4_usize).prop_map(|(class, max)| Step::Lease { class, max }),
        4 => (index(), 0..4_usize).prop_map(|(lane, max)| Step::LeaseParked { lane, max }),
        1 => (0..4_usize).prop_map(|max| Step::LeaseExpired { max }),
        5 => (index(), index()).prop_map(|(lease, lane)| Step::Park { lease, lane }),
        2 => (index(), 0..90_u64).prop_map(|(lease, due_in)| Step::Release { lease, due_in }),
        2 => [index(), index()].prop_map(|leases| Step::Renew { leases }),
        4 => (index(), any::<bool>()).prop_map(|(lease, charged)| Step::Intent { lease, charged }),
        6 => (index(), end).prop_map(|(lease, end)| Step::Settle { lease, end }),
        1 => index().prop_map(|delivery| Step::Cancel { delivery }),
        1 => (index(), stream).prop_map(|(address, stream)| Step::Suppress { address, stream }),
        1 => index().prop_map(|address| Step::Forgive { address }),
        1 => (0..200_u64).prop_map(|age| Step::Purge { age }),
        5 => (1..80_u64).prop_map(|seconds| Step::Pass { seconds }),
        1 => Just(Step::Crash),
    ]
}
