//! The content after DATA: read, judged, entered into the ledger, answered.
//!
//! Takes the bytes up to the final dot; gives copies to the ledger before the client hears of it. Memory is bounded by
//! `Bounds::content_max`; what is longer is counted and refused.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::counters::{Reason, add};
use crate::dot::{DotDecoder, Oddities};
use crate::gate::Refusal;
use crate::ledger::{Received, content_hash, message_id_of};
use crate::reply;
use crate::script::Stage;
use crate::transcript::{Ended, Violation};

use super::conversation::{Envelope, Session};
use super::perform::keeps;

/// Line length that RFC 5321 section 4.5.3.1.6 allows, without CR LF.
const LINE_LENGTH_MAX: u64 = 998;

impl Session {
    /// Reads content up to its end and answers the dot.
    pub(super) async fn take_content(&mut self) -> Result<(), Ended> {
        let decoder = self.read_content().await?;
        let (content, size, odd) = decoder.finish();
        let Some(envelope) = self.envelope.take() else {
            return Ok(());
        };
        self.check_content(&envelope, size, odd);
        let answered = self.settle(envelope, &content, size).await;
        self.content = content;
        answered
    }

    async fn read_content(&mut self) -> Result<DotDecoder, Ended> {
        let buffer = std::mem::take(&mut self.content);
        let mut decoder = DotDecoder::new(buffer, self.shared.bounds.content_max);
        let (mut read, mut from) = (0, 0);
        loop {
            let stop = self.shared.script.body_stop(from, self.place(None));
            if stop == Some(read) {
                from = read + 1;
                if let Some(acts) = self.scripted(Stage::Body(read), None) {
                    self.perform(&acts, b"").await?;
                }
                continue;
            }
            if self.wire.pending().is_empty() {
                self.wire.fill().await?;
            }
            let pending = self.wire.pending();
            let until_stop = stop.map_or(u64::MAX, |stop| stop - read);
            let take = pending.len().min(usize::try_from(until_stop).unwrap_or(usize::MAX));
            let end = decoder.feed(&pending[..take]);
            let used = end.unwrap_or(take);
            self.wire.consume(used);
            read += used as u64;
            if end.is_some() {
                return Ok(decoder);
            }
        }
    }

    async fn settle(&mut self, envelope: Envelope, content: &[u8], size: u64) -> Result<(), Ended> {
        let shared = Arc::clone(&self.shared);
        let behaviour = shared.gate.behaviour();
        if behaviour.message_delay_ms > 0 {
            self.wire.flush().await?;
            tokio::time::sleep(Duration::from_millis(behaviour.message_delay_ms)).await;
        }
        self.hidden_service().await?;
        let message_id = message_id_of(content);
        let drops = |to: &String| behaviour.drops_lost(to, message_id.as_deref());
        if envelope.recipients.iter().any(drops) && self.wire.client_is_gone() {
            return Err(Ended::ClientClosed);
        }
        let mut refusal = if size > shared.bounds.content_max as u64 {
            Some(Refusal::too_big())
        } else {
            let age = shared.clock.age();
            shared
                .gate
                .dot(self.peer.ip(), &envelope.recipients, message_id.as_deref(), size, age)
        };
        let hidden = self.hidden_dot();
        refusal = refusal.or(hidden);
        let acts = self.scripted(Stage::Dot, None);
        let kept = acts
            .as_deref()
            .map_or(refusal.is_none(), |acts| keeps(acts, refusal.is_none()));
        if kept {
            let copies = self.copies(envelope, content, size, message_id.as_deref());
            let hash = if message_id.is_none() { content_hash(content) } else { 0 };
            if shared.ledger.make_durable(&copies, hash).await.is_ok() {
                // Counted before the ledger tells who waits for it, for they may look at the counters next.
                add(&shared.counts.messages_accepted, 1);
                add(&shared.counts.accepted, copies.len() as u64);
                self.recorder.with(|transcript| transcript.messages_accepted += 1);
                shared.ledger.enter(copies, hash);
            } else {
                refusal = Some(Refusal::storage());
            }
        }
        if let (Some(refusal), None) = (&refusal, &acts) {
            shared.counts.refused(refusal.reason, reply::digit(&refusal.answer));
        }
        let accepted;
        let usual = match &refusal {
            Some(refusal) => &refusal.answer,
            None => {
                let number = shared.next_message_number().to_string();
                accepted = reply::render(
                    &behaviour.replies.accepted,
                    &[("id", &number), ("host", &behaviour.host)],
                );
                &accepted
            }
        };
        match acts {
            Some(acts) => self.perform(&acts, usual).await?,
            None => self.say(Stage::Dot, usual)?,
        };
        Ok(())
    }

    fn copies(&self, envelope: Envelope, content: &[u8], size: u64, message_id: Option<&str>) -> Vec<Received> {
        let bytes: Option<Arc<[u8]>> = self.shared.ledger.wants_bytes().then(|| content.into());
        let message_id: Option<Arc<str>> = message_id.map(Into::into);
        let helo = self.greeting.clone().unwrap_or_default();
        let at_ms = clock::unix_ms();
        let copy = |recipient| Received {
            provider: Arc::clone(&self.shared.name),
            sender: Arc::clone(&envelope.sender),
            recipient,
            message_id: message_id.clone(),
            at_ms,
            size_bytes: size,
            bytes: bytes.clone(),
            peer: self.peer,
            connection: self.number,
            helo: Arc::clone(&helo),
            tls: self.tls,
        };
        envelope.recipients.into_iter().map(copy).collect()
    }

    fn check_content(&self, envelope: &Envelope, size: u64, odd: Oddities) {
        let bad = odd.bare_lf > 0
            || odd.bare_cr > 0
            || odd.longest_line > LINE_LENGTH_MAX
            || (odd.eight_bit && !envelope.eight_bit);
        if bad {
            self.violated(Violation::Content(odd));
        }
        if let Some(declared) = envelope.declared_size.filter(|declared| *declared < size) {
            self.violated(Violation::SizeUnderstated { declared, actual: size });
        }
    }
}

impl Refusal {
    fn too_big() -> Self {
        Self {
            reason: Reason::TooBig,
            answer: b"552 5.3.4 Message too big\r\n".to_vec(),
        }
    }

    fn storage() -> Self {
        Self {
            reason: Reason::Storage,
            answer: b"452 4.3.1 Insufficient system storage\r\n".to_vec(),
        }
    }
}
