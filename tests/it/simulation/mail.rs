//! The mail of a run: messages of every class to numbered addresses, and their only sender.
//!
//! Takes numbers, gives what the queue is asked to accept. The number of a Delivery is in its address and in its id, so that
//! receivers and trace can name it.

use std::sync::Arc;
use std::time::Duration;

use posthaste::domain::{
    Body, Class, Content, Delivery, DeliveryId, DomainStatus, Event, EventKind, Mailbox, Message, MessageId, Recipient,
    Role, SendingDomain, State, TenantId, Timestamp, Why,
};
use posthaste::queue::Accept;
use uuid::Uuid;

/// Whose mail it is.
pub(super) const TENANT: TenantId = TenantId(1);
/// The domain that it comes from.
const SENDER: &str = "sender.example";

/// The name of a recipient domain.
pub(super) fn domain(door: usize) -> String {
    format!("door{door}.example")
}

/// The number of a recipient domain or of its host.
pub(super) fn door_of(name: &str) -> Option<usize> {
    let name = name.strip_prefix("mx.").unwrap_or(name);
    name.strip_prefix("door")?.strip_suffix(".example")?.parse().ok()
}

/// The id of a Delivery by its number.
pub(super) fn id(number: u32) -> DeliveryId {
    DeliveryId {
        message: MessageId(Uuid::from_u128(
            0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(number),
        )),
        recipient: 0,
    }
}

/// The number of a Delivery by its id.
pub(super) fn number(id: DeliveryId) -> u32 {
    u32::try_from(id.message.0.as_u128() & 0xffff_ffff).expect("32 bits")
}

/// The number of a Delivery by the address in a command.
pub(super) fn number_in(command: &str) -> Option<u32> {
    let start = command.find("<u")? + 2;
    command[start..].split('@').next()?.parse().ok()
}

/// One mail.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mail {
    pub(super) number: u32,
    pub(super) door: usize,
    pub(super) class: Class,
    pub(super) due_in: Duration,
    pub(super) life: Duration,
    /// Larger than what leaves in one piece with its dot.
    pub(super) large: bool,
}

impl Mail {
    /// What the queue is asked to accept.
    pub(super) fn accept(self, now: Timestamp) -> Accept {
        let address = format!("u{}@{}", self.number, domain(self.door));
        let id = id(self.number);
        let due_at = now.plus(self.due_in);
        let expires_at = due_at.plus(self.life);
        let later = !self.due_in.is_zero();
        let message = Message {
            id: id.message,
            tenant: TENANT,
            class: self.class,
            created_at: now,
            scheduled_at: later.then_some(due_at),
            expires_at,
            from: mailbox(&format!("shop@{SENDER}")),
            reply_to: Vec::new(),
            recipients: vec![Recipient {
                mailbox: mailbox(&address),
                role: Role::To,
                variables: None,
            }],
            subject: "Hello".to_owned(),
            headers: Vec::new(),
            tags: Vec::new(),
            metadata: Vec::new(),
        };
        let (state, why, kind) = if later {
            (State::Scheduled, Why::NotDue, EventKind::Scheduled { until: due_at })
        } else {
            (State::Queued, Why::Queued, EventKind::Accepted)
        };
        let delivery = Delivery {
            id,
            tenant: TENANT,
            class: self.class,
            address,
            state,
            created_at: now,
            due_at,
            expires_at,
            attempts: 0,
            ambiguous: 0,
            panics: 0,
            source: None,
            why: Some(why),
            last_reply: None,
            bounce: None,
            updated_at: now,
        };
        Accept {
            messages: vec![(Arc::new(message), Arc::new(self.body()))],
            deliveries: vec![delivery],
            events: vec![Event {
                sequence: 0,
                delivery: id,
                at: now,
                kind,
            }],
            idempotency: None,
            at: now,
        }
    }

    fn body(self) -> Body {
        let text = if self.large {
            "0123456789\n".repeat(4_000)
        } else {
            "Hello".to_owned()
        };
        Body {
            content: Content::Inline {
                subject: "Hello".to_owned(),
                html: None,
                text: Some(text),
            },
            attachments: Vec::new(),
        }
    }
}

fn mailbox(address: &str) -> Mailbox {
    Mailbox {
        name: None,
        address: address.to_owned(),
    }
}

/// The domain that all mail comes from; nothing is signed, since a signature takes longer than all the rest.
pub(super) fn sending_domain() -> SendingDomain {
    SendingDomain {
        tenant: TENANT,
        name: SENDER.to_owned(),
        status: DomainStatus::Verified,
        return_path_subdomain: "bounce".to_owned(),
        dkim: Vec::new(),
        created_at: Timestamp(0),
        checked_at: None,
    }
}
