//! Whether a Submission is accepted, and as what.
//!
//! Takes a Submission whose syntax is checked, the [`Facts`] that were looked up for it, the time and an id; gives the
//! Message, its Body, one Delivery a recipient and the first events, or every reason why not. Never looks anything up.
//!
//! The rules: mail goes out only from a verified domain of the tenant, by its exact name. The class decides how long mail
//! lives (a code is worthless after a quarter of an hour) unless the caller says so; a scheduled mail begins its life at its
//! time. A suppressed recipient refuses nothing: its Delivery is settled at once, in the same durable step, so that the
//! ledger balances and the caller is told.

use std::time::Duration;

use crate::domain::{
    Body, Class, Content, Delivery, DeliveryId, DomainStatus, Event, EventKind, Message, MessageId, Problem, State,
    Stream, Submission, SubmittedContent, TemplateId, TenantId, Timestamp, Why,
};

/// A time asked for that lies at most this far in the past means "now": clocks differ.
const PAST_TOLERATED: Duration = Duration::from_secs(3600);

/// What admission goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct AdmissionSettings {
    /// How long mail lives when its caller does not say, by [`Class::index`].
    pub life: [Duration; 3],
    /// The longest life a caller may ask for.
    pub life_max: Duration,
    /// How far ahead mail may be scheduled.
    pub schedule_max: Duration,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self {
            life: [
                Duration::from_secs(15 * 60),
                Duration::from_secs(5 * 24 * 3600),
                Duration::from_secs(72 * 3600),
            ],
            life_max: Duration::from_secs(7 * 24 * 3600),
            schedule_max: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// Which template a Submission means, found when it is accepted and never changed after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pinned {
    /// A stored one.
    Stored {
        /// Which.
        id: TemplateId,
        /// Which version.
        version: u32,
    },
    /// One that is built into the binary.
    BuiltIn {
        /// Its name.
        name: String,
    },
}

/// What was looked up for a Submission.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Status of the domain of `from`; none when the tenant has no such domain.
    pub domain: Option<DomainStatus>,
    /// Which recipients are on the suppression list, by position.
    pub suppressed: Vec<bool>,
    /// The template that the call names; none when it names none, or when there is none of this name.
    pub pinned: Option<Pinned>,
    /// The subject as the first recipient gets it.
    pub subject: String,
}

/// Who and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// Id for the Message.
    pub id: MessageId,
    /// Whose.
    pub tenant: TenantId,
    /// When.
    pub now: Timestamp,
}

/// A Submission that is accepted once this is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// The Message.
    pub message: Message,
    /// Its content.
    pub body: Body,
    /// One a recipient, in their order.
    pub deliveries: Vec<Delivery>,
    /// Oldest first.
    pub events: Vec<Event>,
}

/// The class a Submission gets: what it asks for, else what its stream says, else transactional.
pub fn class_of(submission: &Submission) -> Result<Class, Problem> {
    match (submission.class, submission.stream) {
        (None, None | Some(Stream::Transactional)) => Ok(Class::Transactional),
        (None, Some(Stream::Broadcast)) => Ok(Class::Broadcast),
        (Some(class), None) => Ok(class),
        (Some(class), Some(stream)) if class.stream() == stream => Ok(class),
        (Some(class), Some(stream)) => Err(Problem::new(
            "/class",
            "conflict",
            format!(
                "Class '{class}' belongs to stream '{}', not to '{}'.",
                class.stream().name(),
                stream.name()
            ),
        )),
    }
}

/// Whether mail may go out from the domain of `from`.
#[must_use]
pub fn check_domain(name: &str, status: Option<DomainStatus>) -> Option<Problem> {
    let detail = match status {
        Some(DomainStatus::Verified) => return None,
        Some(DomainStatus::Pending) => format!(
            "The domain '{name}' is not verified yet; publish its DKIM record and call POST /v1/domains/{name}/verify."
        ),
        Some(DomainStatus::Failed) => {
            format!("The DKIM record of '{name}' was not found; publish it and call POST /v1/domains/{name}/verify.")
        }
        None => format!("'{name}' is not one of your domains; declare it with POST /v1/domains."),
    };
    Some(Problem::new("/from", "domain_not_verified", detail))
}

/// Accepts a Submission, or says all that stands against it.
pub fn admit(
    submission: Submission,
    facts: Facts,
    arrival: Arrival,
    settings: &AdmissionSettings,
) -> Result<Admitted, Vec<Problem>> {
    let mut problems = Vec::new();
    problems.extend(check_domain(submission.from.domain(), facts.domain));
    let class = class_of(&submission).unwrap_or_else(|problem| {
        problems.push(problem);
        Class::Transactional
    });
    let (scheduled_at, expires_at) = life(&submission, class, arrival.now, settings, &mut problems);
    if u16::try_from(submission.recipients.len()).is_err() {
        problems.push(Problem::new("/to", "too_many", "Too many recipients."));
    }
    let content = content(submission.content, facts.pinned).map_err(|problem| problems.push(problem));
    let (Ok(content), true) = (content, problems.is_empty()) else {
        return Err(problems);
    };
    let message = Message {
        id: arrival.id,
        tenant: arrival.tenant,
        class,
        created_at: arrival.now,
        scheduled_at,
        expires_at,
        from: submission.from,
        reply_to: submission.reply_to,
        recipients: submission.recipients,
        subject: facts.subject,
        headers: submission.headers,
        tags: submission.tags,
        metadata: submission.metadata,
    };
    let body = Body {
        content,
        attachments: submission.attachments,
    };
    let mut deliveries = Vec::with_capacity(message.recipients.len());
    let mut events = Vec::with_capacity(message.recipients.len());
    for index in 0..message.recipients.len() {
        let suppressed = facts.suppressed.get(index).copied().unwrap_or(false);
        let delivery = delivery(&message, index, suppressed);
        events.extend(first_events(&delivery));
        deliveries.push(delivery);
    }
    Ok(Admitted {
        message,
        body,
        deliveries,
        events,
    })
}

/// When it may go and when it is worthless, with what is wrong about the times asked for.
fn life(
    submission: &Submission,
    class: Class,
    now: Timestamp,
    settings: &AdmissionSettings,
    problems: &mut Vec<Problem>,
) -> (Option<Timestamp>, Timestamp) {
    let scheduled_at = submission.scheduled_at.filter(|at| *at > now);
    if submission.scheduled_at.is_some_and(|at| at < now.minus(PAST_TOLERATED)) {
        problems.push(Problem::new("/scheduled_at", "out_of_range", "This time has passed."));
    }
    if scheduled_at.is_some_and(|at| at > now.plus(settings.schedule_max)) {
        problems.push(Problem::new(
            "/scheduled_at",
            "out_of_range",
            format!("Mail can be scheduled up to {} ahead.", spoken(settings.schedule_max)),
        ));
    }
    let begins = scheduled_at.unwrap_or(now);
    let expires_at = submission
        .expires_at
        .unwrap_or_else(|| begins.plus(settings.life[class.index()]));
    if expires_at <= begins {
        let detail = match scheduled_at {
            Some(_) => "It would expire before it may go.",
            None => "This time has passed.",
        };
        problems.push(Problem::new("/expires_at", "out_of_range", detail));
    }
    if expires_at > begins.plus(settings.life_max) {
        problems.push(Problem::new(
            "/expires_at",
            "out_of_range",
            format!("Mail lives at most {} from when it may go.", spoken(settings.life_max)),
        ));
    }
    (scheduled_at, expires_at)
}

/// A duration for people: the largest unit that fits evenly.
fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (number, unit) = match seconds {
        day if day > 0 && day % 86_400 == 0 => (day / 86_400, "day"),
        hour if hour > 0 && hour % 3_600 == 0 => (hour / 3_600, "hour"),
        minute if minute > 0 && minute % 60 == 0 => (minute / 60, "minute"),
        second => (second, "second"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

fn content(submitted: SubmittedContent, pinned: Option<Pinned>) -> Result<Content, Problem> {
    let (reference, subject, variables) = match submitted {
        SubmittedContent::Inline { subject, html, text } => return Ok(Content::Inline { subject, html, text }),
        SubmittedContent::Template {
            reference,
            subject,
            variables,
            ..
        } => (reference, subject, variables),
    };
    match pinned {
        Some(Pinned::Stored { id, version }) => Ok(Content::Template {
            id,
            version,
            subject,
            variables,
        }),
        Some(Pinned::BuiltIn { name }) => Ok(Content::BuiltIn {
            name,
            subject,
            variables,
        }),
        None => Err(Problem::new(
            "/template",
            "template_not_found",
            format!("There is no template '{reference}'."),
        )),
    }
}

fn delivery(message: &Message, index: usize, suppressed: bool) -> Delivery {
    let (state, due_at, why) = match message.scheduled_at {
        _ if suppressed => (State::Suppressed, message.created_at, None),
        Some(at) => (State::Scheduled, at, Some(Why::NotDue)),
        None => (State::Queued, message.created_at, Some(Why::Queued)),
    };
    Delivery {
        id: DeliveryId {
            message: message.id,
            recipient: u16::try_from(index).expect("a call names far fewer than 65,536 recipients"),
        },
        tenant: message.tenant,
        class: message.class,
        address: message.recipients[index].mailbox.address.clone(),
        state,
        created_at: message.created_at,
        due_at,
        expires_at: message.expires_at,
        attempts: 0,
        ambiguous: 0,
        panics: 0,
        source: None,
        why,
        last_reply: None,
        bounce: None,
        updated_at: message.created_at,
    }
}

/// What customers are told of a new Delivery. A suppressed one was accepted too, so that accepted equals the sum of ends.
fn first_events(delivery: &Delivery) -> impl Iterator<Item = Event> {
    let (first, second) = match delivery.state {
        State::Suppressed => (EventKind::Accepted, Some(EventKind::Suppressed)),
        State::Scheduled => (EventKind::Scheduled { until: delivery.due_at }, None),
        _ => (EventKind::Accepted, None),
    };
    let (id, at) = (delivery.id, delivery.created_at);
    std::iter::once(first).chain(second).map(move |kind| Event {
        sequence: 0,
        delivery: id,
        at,
        kind,
    })
}

#[cfg(test)]
mod tests;
