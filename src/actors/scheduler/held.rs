//! Mail that is held back for its tenant's sake: the stream is paused, or slowed down.
//!
//! `policy::tenant_policy` decided; this puts such mail on a shelf of its own before it gets to a lane, and takes it off
//! again: all of it once the stream goes on, at the stream's pace while it is slow. Its time runs on meanwhile: what expires
//! there is ended like all that is parked.

use std::collections::{BTreeMap, BTreeSet};

use super::parked::Shelved;
use super::{Origin, Scheduler, SchedulerMessage, report};
use crate::actors::supervisor::PartContext;
use crate::domain::{Shelf, Stream, TenantId, Timestamp, Why};
use crate::policy::tenant_policy::Grade;
use crate::policy::token_bucket::TokenBucket;
use crate::queue::{Leased, Parking, QueueError};

/// Streams with mail that is held back.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Those whose shelf may hold mail.
    streams: BTreeSet<(TenantId, Stream)>,
    /// Those whose shelf is being asked.
    asking: BTreeSet<(TenantId, Stream)>,
    /// The paces of slowed ones.
    paces: BTreeMap<(TenantId, Stream), Pace>,
}

#[derive(Debug)]
struct Pace {
    rate: f64,
    bucket: TokenBucket,
}

impl Held {
    /// There is mail of this stream.
    pub(super) fn add(&mut self, tenant: TenantId, stream: Stream) {
        self.streams.insert((tenant, stream));
    }

    /// How many of up to `max` a stream with this rate may send now.
    fn take(&mut self, stream: (TenantId, Stream), rate: f64, max: usize, now: Timestamp) -> usize {
        let pace = self.paces.entry(stream).or_insert_with(|| Pace::new(rate, now));
        if (pace.rate - rate).abs() > f64::EPSILON {
            *pace = Pace::new(rate, now);
        }
        (0..max).take_while(|_| pace.bucket.take(now).is_ok()).count()
    }

    fn put_back(&mut self, stream: (TenantId, Stream), unused: usize) {
        if let Some(pace) = self.paces.get_mut(&stream) {
            (0..unused).for_each(|_| pace.bucket.put_back());
        }
    }
}

impl Pace {
    fn new(rate: f64, now: Timestamp) -> Self {
        Self {
            rate,
            bucket: TokenBucket::new(rate, now),
        }
    }
}

impl Scheduler {
    /// Holds a Delivery back, if its tenant's stream is paused or has sent what it may.
    pub(super) fn hold(&mut self, leased: &Leased, origin: Origin<'_>, now: Timestamp) -> Option<Shelved> {
        let (tenant, class) = (leased.delivery.tenant, leased.delivery.class);
        let stream = (tenant, class.stream());
        let why = match self.tools.reputation.grade(tenant, class) {
            (Grade::Free, _) => return None,
            (Grade::Paused, _) => Why::TenantPaused,
            // What came off the shelf has been counted; what is new does not pass what waits there.
            (Grade::Slow, _) if matches!(origin, Origin::Held) => return None,
            (Grade::Slow, rate) => {
                if !self.held.streams.contains(&stream) && self.held.take(stream, rate, 1, now) == 1 {
                    return None;
                }
                Why::Quota
            }
        };
        let shelf = Shelf::Held(tenant, class.stream());
        let parking = Parking {
            lease: leased.lease(),
            lane: shelf.name(),
            why,
            until: None,
        };
        Some(Shelved { parking, shelf, class })
    }

    /// What is configured for tenants may have changed, and streams that were held back may go on.
    pub(super) fn look_at_tenants(&mut self, context: &PartContext<'_, Self>) {
        self.tenants = self.tools.reputation.settings();
        self.weights = self.tenants.weights();
        let waiting: Vec<_> = self.held.streams.difference(&self.held.asking).copied().collect();
        waiting.into_iter().for_each(|stream| self.release(stream, context));
    }

    fn release(&mut self, stream: (TenantId, Stream), context: &PartContext<'_, Self>) {
        let now = self.tools.surroundings.clock.now();
        let batch = self.tools.settings.look_ahead.batch;
        let asked = match self.tools.reputation.grade_of(stream.0, stream.1) {
            _ if self.tools.draining.has_begun() => 0,
            (Grade::Paused, _) => 0,
            (Grade::Slow, rate) => self.held.take(stream, rate, batch, now),
            (Grade::Free, _) => batch,
        };
        if asked == 0 {
            return;
        }
        self.held.asking.insert(stream);
        let (tools, me) = (self.tools.clone(), context.handle());
        actix::spawn(async move {
            let shelf = Shelf::Held(stream.0, stream.1).name();
            let now = tools.surroundings.clock.now();
            let until = now.plus(tools.settings.lease);
            let answer = tools.queue.lease_parked(&shelf, asked, now, until).await;
            report(&me, SchedulerMessage::Released(stream, asked, answer)).await;
        });
    }

    /// The queue answered for a stream that was held back.
    pub(super) fn released(
        &mut self,
        stream: (TenantId, Stream),
        asked: usize,
        answer: Result<Vec<Leased>, QueueError>,
        context: &PartContext<'_, Self>,
    ) {
        self.held.asking.remove(&stream);
        let batch = self.taken(answer);
        self.held.put_back(stream, asked - batch.len().min(asked));
        let more = batch.len() >= asked;
        if !more {
            self.held.streams.remove(&stream);
        }
        self.dispatch(batch, Origin::Held, context);
        if more {
            self.release(stream, context);
        }
    }
}
