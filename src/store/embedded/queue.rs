//! The queue seam: each method hands one operation to the writer; those that write nothing are only asked.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::super::records::encode_intent;
use super::handle::Embedded;
use super::operations::{self, EncodedAccept, EncodedSettlement};
use crate::domain::{Class, DeliveryId, Lane, Settlement, Timestamp};
use crate::queue::{
    Accept, Accepted, Depth, Intent, IntentAnswer, LeaseRef, Leased, Parking, Queue, QueueError, Release, SettleAnswer,
};
use crate::sabotage::{self, Bug};

#[async_trait]
impl Queue for Embedded {
    async fn accept(&self, accept: Accept) -> Result<Accepted, QueueError> {
        let messages = accept.messages.clone();
        let mut encoded = EncodedAccept::new(accept);
        // Cached before it is stored: who is told of it finds it here. Nobody asks for it before that.
        for ((message, body), bytes) in messages.iter().zip(encoded.sizes()) {
            if let Some(bytes) = bytes {
                self.shared.cache.insert(message, body, bytes);
            }
        }
        if sabotage::is(Bug::AnswerOutsideCommit) {
            let answer = encoded.without_mail();
            self.submit(move |turn| operations::accept(turn, &answer)).await?;
        }
        let accepted = self.submit(move |turn| operations::accept(turn, &encoded)).await;
        if !matches!(accepted, Ok(Accepted::New)) {
            messages
                .iter()
                .for_each(|(message, _)| self.shared.cache.remove(message.id));
        }
        accepted
    }

    async fn lease(
        &self,
        class: Class,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Leased>, QueueError> {
        self.ask(move |turn| operations::lease(turn, class, max, now, until))
            .await
    }

    async fn lease_parked(
        &self,
        lane: &Lane,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Leased>, QueueError> {
        let lane = lane.clone();
        self.ask(move |turn| operations::lease_parked(turn, &lane, max, now, until))
            .await
    }

    async fn lease_expired(&self, max: usize, now: Timestamp, until: Timestamp) -> Result<Vec<Leased>, QueueError> {
        self.ask(move |turn| operations::lease_expired(turn, max, now, until))
            .await
    }

    async fn park(&self, parkings: Vec<Parking>) -> Result<(), QueueError> {
        self.submit(move |turn| operations::park(turn, &parkings)).await
    }

    async fn release(&self, releases: Vec<Release>) -> Result<(), QueueError> {
        self.submit(move |turn| operations::release(turn, &releases)).await
    }

    async fn renew(&self, leases: Vec<LeaseRef>, until: Timestamp) -> Result<Vec<LeaseRef>, QueueError> {
        self.ask(move |turn| Ok(operations::renew(turn, &leases, until))).await
    }

    async fn intent(&self, intent: Intent) -> Result<IntentAnswer, QueueError> {
        let encoded = encode_intent(&intent);
        self.submit(move |turn| operations::intent(turn, &intent, &encoded))
            .await
    }

    async fn refund(&self, lane: &Lane, day: u32) -> Result<(), QueueError> {
        let lane = lane.clone();
        self.submit(move |turn| operations::refund(turn, &lane, day)).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<SettleAnswer>, QueueError> {
        let mut encoded: Vec<_> = settlements.into_iter().map(EncodedSettlement::new).collect();
        if sabotage::is(Bug::AckBeforeOutcome) {
            let leases: Vec<LeaseRef> = encoded.iter().map(EncodedSettlement::lease).collect();
            self.submit(move |turn| operations::leave(turn, &leases)).await?;
        }
        if sabotage::is(Bug::EventOutsideCommit) {
            let events: Vec<_> = encoded.iter_mut().map(EncodedSettlement::take_events).collect();
            self.submit(move |turn| operations::tell(turn, &events)).await?;
        }
        let settled = self
            .submit_outcome(move |turn| operations::settle(turn, &encoded))
            .await?;
        settled.finished.iter().for_each(|id| self.shared.cache.remove(*id));
        Ok(settled.answers)
    }

    async fn cancel(&self, delivery: DeliveryId, now: Timestamp) -> Result<bool, QueueError> {
        let (cancelled, body_went) = self.submit(move |turn| operations::cancel(turn, delivery, now)).await?;
        if body_went {
            self.shared.cache.remove(delivery.message);
        }
        Ok(cancelled)
    }

    async fn next_due(&self, class: Class) -> Result<Option<Timestamp>, QueueError> {
        self.ask(move |turn| operations::next_due(turn, class)).await
    }

    async fn parked_lanes(&self, max: usize) -> Result<Vec<(Lane, u64)>, QueueError> {
        self.ask(move |turn| Ok(operations::parked_lanes(turn, max))).await
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, QueueError> {
        self.ask(move |turn| operations::depth(turn, now)).await
    }

    fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.access.wake)
    }
}
