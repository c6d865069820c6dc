//! What the promises are tested on: a backend, and short ways to put mail into it and to settle it.
//!
//! Takes a [`Backend`]; gives ids, leases and answers. All times are made up: [`at`] counts seconds from a fixed day.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use posthaste::domain::{
    Body, BounceClass, Class, Content, Delivery, DeliveryId, Event, EventKind, Lane, LastReply, Mailbox, Message,
    MessageId, Next, ProviderId, Recipient, Role, Settlement, SourceId, State, TenantId, Timestamp, Why,
};
use posthaste::queue::{
    Accept, Accepted, IdempotencyKey, Intent, IntentAnswer, Leased, Parking, Queue, Release, SettleAnswer,
    StoredResponse,
};
use posthaste::store::Store;
use uuid::Uuid;

/// How long a lease lasts here.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// A backend under test.
#[async_trait]
pub(crate) trait Backend: Send + Sync {
    /// Its queue. Tests hold it for one call only, so that a crash can close it.
    fn queue(&self) -> Arc<dyn Queue>;
    /// Its store, held likewise.
    fn store(&self) -> Arc<dyn Store>;
    /// Dies as by `kill -9`, with whatever is not durable, and starts again on what is left.
    async fn crash(&mut self);
    /// Whether leases are kept outside the process, so that they outlive a crash.
    fn leases_outlive_a_crash(&self) -> bool {
        false
    }
    /// Whether deliveries come strictly by due time, then by order of acceptance. One whose line is a stream hands them out
    /// in the order in which they became due for those who asked.
    fn strict_line(&self) -> bool {
        true
    }
    /// Whether those under a lane, too, come strictly in their order. Where a store has partitions each has an order of its own.
    fn strict_lanes(&self) -> bool {
        true
    }
    /// The id that a Message must get so that it can be accepted with this key.
    fn place(&self, id: MessageId, _key: Option<&IdempotencyKey>) -> MessageId {
        id
    }
    /// Panics when the backend finds itself inconsistent, if it can tell.
    fn check(&self) {}
}

/// `seconds` after the day on which all tests begin.
pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp(1_800_000_000_000 + seconds * 1000)
}

/// A lane by its two names.
pub(crate) fn lane(source: &str, provider: &str) -> Lane {
    Lane {
        source: SourceId::from(source),
        provider: ProviderId::from(provider),
    }
}

/// Mail to be accepted: by default one transactional recipient, at 0 s, due at once, with a life of an hour.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) tenant: TenantId,
    pub(crate) class: Class,
    pub(crate) created_at: Timestamp,
    pub(crate) due_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) addresses: Vec<String>,
    pub(crate) state: State,
}

impl Mail {
    pub(crate) fn to(addresses: &[&str]) -> Self {
        Self {
            tenant: TenantId(1),
            class: Class::Transactional,
            created_at: at(0),
            due_at: at(0),
            expires_at: at(3600),
            addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
            state: State::Queued,
        }
    }

    pub(crate) fn class(self, class: Class) -> Self {
        Self { class, ..self }
    }

    pub(crate) fn accepted_at(self, created_at: Timestamp) -> Self {
        Self { created_at, ..self }
    }

    pub(crate) fn due(self, due_at: Timestamp) -> Self {
        Self { due_at, ..self }
    }

    pub(crate) fn expires(self, expires_at: Timestamp) -> Self {
        Self { expires_at, ..self }
    }

    pub(crate) fn tenant(self, tenant: u32) -> Self {
        let tenant = TenantId(tenant);
        Self { tenant, ..self }
    }

    pub(crate) fn state(self, state: State) -> Self {
        Self { state, ..self }
    }

    /// What the queue is asked to accept under `id`.
    pub(crate) fn accept(&self, id: MessageId) -> Accept {
        let message = self.message(id);
        let deliveries: Vec<Delivery> = (0..)
            .zip(&self.addresses)
            .map(|(n, to)| self.delivery(id, n, to))
            .collect();
        let kind = match self.state {
            State::Suppressed => EventKind::Suppressed,
            _ => EventKind::Accepted,
        };
        let events = deliveries.iter().map(|delivery| Event {
            sequence: 0,
            delivery: delivery.id,
            at: self.created_at,
            kind: kind.clone(),
        });
        Accept {
            events: events.collect(),
            messages: vec![(Arc::new(message), Arc::new(body()))],
            deliveries,
            idempotency: None,
            at: self.created_at,
        }
    }

    fn message(&self, id: MessageId) -> Message {
        let recipient = |address: &String| Recipient {
            mailbox: mailbox(address),
            role: Role::To,
            variables: None,
        };
        Message {
            id,
            tenant: self.tenant,
            class: self.class,
            created_at: self.created_at,
            scheduled_at: None,
            expires_at: self.expires_at,
            from: mailbox("shop@sender.example"),
            reply_to: vec![mailbox("help@sender.example")],
            recipients: self.addresses.iter().map(recipient).collect(),
            subject: "Your order".to_owned(),
            headers: vec![("X-Order".to_owned(), "17".to_owned())],
            tags: vec![("kind".to_owned(), "order".to_owned())],
            metadata: vec![("order".to_owned(), "17".to_owned())],
        }
    }

    fn delivery(&self, message: MessageId, recipient: u16, address: &str) -> Delivery {
        Delivery {
            id: DeliveryId { message, recipient },
            tenant: self.tenant,
            class: self.class,
            address: address.to_owned(),
            state: self.state,
            created_at: self.created_at,
            due_at: self.due_at,
            expires_at: self.expires_at,
            attempts: 0,
            ambiguous: 0,
            panics: 0,
            source: None,
            why: (!self.state.is_final()).then_some(Why::Queued),
            last_reply: None,
            bounce: None,
            updated_at: self.created_at,
        }
    }
}

fn mailbox(address: &str) -> Mailbox {
    Mailbox {
        name: Some("Zoë, \"Z\"".to_owned()),
        address: address.to_owned(),
    }
}

/// The body of all mail here.
pub(crate) fn body() -> Body {
    Body {
        content: Content::Inline {
            subject: "Your order".to_owned(),
            html: Some("<p>Köszönjük</p>".to_owned()),
            text: Some("Thank you".to_owned()),
        },
        attachments: Vec::new(),
    }
}

/// An idempotency key with the answer to store; `hash` stands for the request.
pub(crate) fn idempotency(key: &str, hash: u8, expires_at: Timestamp) -> (IdempotencyKey, StoredResponse) {
    let key = IdempotencyKey {
        tenant: TenantId(1),
        key: key.to_owned(),
    };
    let answer = StoredResponse {
        request_hash: [hash; 32],
        status: 202,
        body: vec![b'{', hash, b'}'],
        expires_at,
    };
    (key, answer)
}

/// A backend with mail in it.
pub(crate) struct Bed {
    backend: Box<dyn Backend>,
    last_id: u128,
}

impl Bed {
    pub(crate) fn new(backend: impl Backend + 'static) -> Self {
        Self {
            backend: Box::new(backend),
            last_id: 0x0190_0000_0000_7000_8000_0000_0000_0000,
        }
    }

    pub(crate) fn queue(&self) -> Arc<dyn Queue> {
        self.backend.queue()
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.backend.store()
    }

    pub(crate) async fn crash(&mut self) {
        self.backend.crash().await;
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }

    /// An id that was not used before; later ones are greater.
    pub(crate) fn fresh_id(&mut self) -> MessageId {
        self.last_id += 1;
        MessageId(Uuid::from_u128(self.last_id))
    }

    /// Accepts mail and gives the ids of its deliveries.
    pub(crate) async fn accept(&mut self, mail: &Mail) -> Vec<DeliveryId> {
        let accept = mail.accept(self.fresh_id());
        let ids = accept.deliveries.iter().map(|delivery| delivery.id).collect();
        assert_eq!(self.queue().accept(accept).await, Ok(Accepted::New));
        ids
    }

    /// Accepts one default Delivery.
    pub(crate) async fn accept_one(&mut self) -> DeliveryId {
        self.accept(&Mail::to(&["a@x.example"])).await[0]
    }

    /// Leases of a class until [`LEASE`] from `now`.
    pub(crate) async fn lease(&self, class: Class, max: usize, now: Timestamp) -> Vec<Leased> {
        let leased = self.queue().lease(class, max, now, now.plus(LEASE)).await;
        leased.expect("the backend leases")
    }

    /// Leases the one transactional Delivery that is due.
    pub(crate) async fn lease_one(&self, now: Timestamp) -> Leased {
        let mut leased = self.lease(Class::Transactional, 2, now).await;
        assert_eq!(leased.len(), 1, "exactly one is due: {leased:?}");
        leased.remove(0)
    }

    /// Ids of those leased.
    pub(crate) async fn lease_ids(&self, class: Class, max: usize, now: Timestamp) -> Vec<DeliveryId> {
        ids(&self.lease(class, max, now).await)
    }

    /// [`Backend::strict_line`].
    pub(crate) fn strict_line(&self) -> bool {
        self.backend.strict_line()
    }

    /// Leases of a lane until [`LEASE`] from `now`.
    pub(crate) async fn lease_parked(&self, lane: &Lane, max: usize, now: Timestamp) -> Vec<Leased> {
        let leased = self.queue().lease_parked(lane, max, now, now.plus(LEASE)).await;
        leased.expect("the backend leases")
    }

    /// Parks a leased one.
    pub(crate) async fn park(&self, leased: &Leased, lane: &Lane) {
        let parking = Parking {
            lease: leased.lease(),
            lane: lane.clone(),
            why: Why::LaneFull,
            until: None,
        };
        self.queue().park(vec![parking]).await.expect("the backend parks");
    }

    /// Releases a leased one to be due at `due_at`.
    pub(crate) async fn release(&self, leased: &Leased, due_at: Timestamp) {
        let release = Release {
            lease: leased.lease(),
            due_at,
            why: Why::Dns,
        };
        self.queue().release(vec![release]).await.expect("the backend releases");
    }

    /// Asks for the dot.
    pub(crate) async fn intent(&self, leased: &Leased, now: Timestamp) -> IntentAnswer {
        let answer = self.queue().intent(intent(leased, now)).await;
        answer.expect("the backend records INTENTs")
    }

    /// Settles one.
    pub(crate) async fn settle(&self, settlement: Settlement) -> SettleAnswer {
        let answers = self
            .queue()
            .settle(vec![settlement])
            .await
            .expect("the backend settles");
        assert_eq!(answers.len(), 1, "one answer each");
        answers[0]
    }

    /// A Delivery that exists.
    pub(crate) async fn delivery(&self, id: DeliveryId) -> Delivery {
        let delivery = self.store().delivery(id).await.expect("the backend reads");
        delivery.expect("it exists")
    }

    /// Names of the events of a Delivery, oldest first.
    pub(crate) async fn event_names(&self, id: DeliveryId) -> Vec<&'static str> {
        let events = self.store().events(id.message, 1000).await.expect("the backend reads");
        let own = events.iter().filter(|event| event.delivery == id);
        own.map(|event| event.kind.name()).collect()
    }

    /// Whether a body is stored.
    pub(crate) async fn has_body(&self, id: MessageId) -> bool {
        self.store().body(id).await.expect("the backend reads").is_some()
    }
}

/// Ids of leased deliveries.
pub(crate) fn ids(leased: &[Leased]) -> Vec<DeliveryId> {
    leased.iter().map(|leased| leased.delivery.id).collect()
}

/// The INTENT of the first attempt under a lease.
pub(crate) fn intent(leased: &Leased, now: Timestamp) -> Intent {
    Intent {
        lease: leased.lease(),
        attempt: leased.delivery.attempts + 1,
        lane: lane("ip1", "google"),
        host: "mx1.google.example".to_owned(),
        at: now,
        charge: None,
    }
}

/// What a host said.
pub(crate) fn reply(code: u16, now: Timestamp) -> LastReply {
    LastReply {
        at: now,
        host: "mx1.google.example".to_owned(),
        code,
        enhanced: "4.2.1".parse().ok(),
        text: "as it were".to_owned(),
    }
}

fn settlement(leased: &Leased, now: Timestamp, next: Next, events: Vec<EventKind>) -> Settlement {
    Settlement {
        delivery: leased.delivery.id,
        fence: leased.fence,
        at: now,
        next,
        attempts: 1,
        ambiguous: 0,
        panics: 0,
        source: None,
        reply: None,
        bounce: None,
        suppress: None,
        events,
    }
}

/// The provider took it.
pub(crate) fn delivered(leased: &Leased, now: Timestamp) -> Settlement {
    let event = EventKind::Delivered {
        reply: reply(250, now),
        address: Some([192, 0, 2, 1].into()),
        tls: true,
        attempts: leased.delivery.attempts + 1,
    };
    let settlement = settlement(leased, now, Next::Final(State::Delivered), vec![event]);
    Settlement {
        reply: Some(reply(250, now)),
        ..settlement
    }
}

/// Refused for good.
pub(crate) fn bounced(leased: &Leased, now: Timestamp) -> Settlement {
    let event = EventKind::Bounced {
        class: BounceClass::InvalidRecipient,
        reply: Some(reply(550, now)),
    };
    let settlement = settlement(leased, now, Next::Final(State::Bounced), vec![event]);
    Settlement {
        reply: Some(reply(550, now)),
        bounce: Some(BounceClass::InvalidRecipient),
        ..settlement
    }
}

/// Another attempt at `due_at`.
pub(crate) fn deferred(leased: &Leased, now: Timestamp, due_at: Timestamp) -> Settlement {
    let why = Why::Deferred(BounceClass::Greylisted);
    let event = EventKind::Deferred {
        why,
        until: due_at,
        reply: Some(reply(451, now)),
    };
    let next = Next::Wait {
        state: State::Deferred,
        due_at,
        why,
    };
    Settlement {
        reply: Some(reply(451, now)),
        source: Some(SourceId::from("ip1")),
        ..settlement(leased, now, next, vec![event])
    }
}
