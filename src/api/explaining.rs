//! Why deliveries wait: asks the queue, the lanes and the actors, and shows what they say.
//!
//! Takes deliveries as stored; gives an explanation for each that is not final, and its JSON. Whoever does not answer makes
//! the explanation poorer, never the call fail: what is stored is told then. Bounded: of a large message only the first
//! [`EXPLAINED_MAX`] that wait are looked for; the others are explained by what is stored.

use serde_json::{Value, json};

use super::answer::time;
use super::state::ApiState;
use crate::actors::inquiries::Inquiries;
use crate::domain::{Delivery, Lane, Place, Shelf, Timestamp, Why};
use crate::policy::projection::{Explanation, LaneStanding, Projection, explain};

/// Deliveries of one message whose places are asked for.
const EXPLAINED_MAX: usize = 100;

impl ApiState {
    /// Why each of these waits; none for final ones. In the order of `deliveries`.
    pub(crate) async fn explanations(&self, deliveries: &[Delivery], now: Timestamp) -> Vec<Option<Explanation>> {
        let mut explanations = Vec::with_capacity(deliveries.len());
        let mut asked = 0;
        for delivery in deliveries {
            if delivery.state.is_final() {
                explanations.push(None);
            } else if asked < EXPLAINED_MAX {
                asked += 1;
                explanations.push(self.explanation(delivery, now).await);
            } else {
                explanations.push(explain(delivery, &Place::InLine, None, None, now));
            }
        }
        explanations
    }

    /// How a lane stands, as far as anybody here knows.
    pub(crate) fn standing(&self, lane: &Lane, now: Timestamp) -> Option<LaneStanding> {
        match &self.inquiries {
            Some(inquiries) => inquiries.standing(lane, now),
            None => self.observer.standings().of(lane, now),
        }
    }

    async fn explanation(&self, delivery: &Delivery, now: Timestamp) -> Option<Explanation> {
        let place = match self.queue.place(delivery.id, now).await {
            Ok(Some(place)) => place,
            // Settled between two questions: what was read is told.
            Ok(None) => Place::InLine,
            Err(error) => {
                tracing::debug!(%error, "the queue does not tell where a delivery stands");
                Place::InLine
            }
        };
        let inquiries = self.inquiries.as_ref();
        let lane = match &place {
            Place::Parked { lane, .. } => Shelf::of(lane).lane().cloned(),
            Place::Leased(_) => match inquiries {
                Some(inquiries) => inquiries.in_hand(delivery).await,
                None => None,
            },
            Place::InLine => inquiries.and_then(|inquiries| inquiries.lane_of(delivery)),
        };
        let standing = lane.as_ref().and_then(|lane| self.standing(lane, now));
        let mut told = explain(delivery, &place, lane, standing.as_ref(), now)?;
        // In line, due, and nobody here asks for it: not the queue is what it waits for.
        let nobody = |inquiries: &Inquiries| !inquiries.may_take(delivery.class, now);
        if told.why == Why::Queued && inquiries.is_some_and(nobody) {
            told.why = Why::NoSource;
        }
        let elsewhere = told.lane.as_ref().zip(inquiries);
        if elsewhere.is_some_and(|(lane, ask)| ask.is_elsewhere(&lane.source, now)) {
            told.why = Why::SourceElsewhere;
        }
        Some(told)
    }
}

/// What a sender is told of a wait.
pub(crate) fn for_senders(explanation: Option<&Explanation>) -> Value {
    json!({
        "why": explanation.map(|told| told.why.name()),
        "since": explanation.and_then(|told| time(told.since)),
        "until": explanation.and_then(|told| told.until).and_then(time),
        "projected": explanation.and_then(projected),
        "expires_first": explanation.is_some_and(|told| told.projected == Projection::ExpiresFirst),
    })
}

/// What an operator is told beside that: the lane, and the place under it.
pub(crate) fn for_operators(explanation: Option<&Explanation>) -> Value {
    let mut view = for_senders(explanation);
    let lane = explanation.and_then(|told| told.lane.as_ref());
    view["source"] = json!(lane.map(|lane| lane.source.as_str()));
    view["provider"] = json!(lane.map(|lane| lane.provider.as_str()));
    view["ahead"] = json!(explanation.and_then(|told| told.ahead));
    view
}

fn projected(told: &Explanation) -> Option<String> {
    match told.projected {
        Projection::At(at) => time(at),
        Projection::ExpiresFirst | Projection::Unknown => None,
    }
}
