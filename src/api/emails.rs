//! `/send-email` and `/v1/emails`: one mail in; a mail and its timeline out.
//!
//! Takes JSON, answers 202 once mail, deliveries, events and idempotency key are durable. Reading shows for each recipient
//! where it stands, what was said last, why it waits and until when.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::answer::{self, time};
use super::caller::Caller;
use super::explaining::for_senders;
use super::idempotency::{self, Ticket, Turn};
use super::problem::ApiError;
use super::state::ApiState;
use super::{body, prepare, query, reader};
use crate::actors::intake::IntakeHandle;
use crate::domain::{
    Delivery, Event, EventKind, LastReply, Message, MessageId, Recipient, Role, State, TenantId, Timestamp,
};
use crate::policy::admission::Admitted;
use crate::policy::projection::Explanation;
use crate::sabotage::{self, Bug};

/// Both paths have one meaning, so a repeated call may use the other.
pub(crate) const CANONICAL_PATH: &str = "/v1/emails";

/// `POST /send-email`, `POST /v1/emails`.
pub(crate) async fn send(
    state: web::Data<ApiState>,
    intake: web::Data<IntakeHandle>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    state.open()?;
    query::none(&request)?;
    let body = body::read(&state, &request, payload, state.settings.body_bytes_max).await?;
    let now = state.clock.now();
    let ticket = match idempotency::turn(&state, caller, &request, CANONICAL_PATH, &body.bytes, now).await? {
        Turn::Again(earlier) => return Ok(idempotency::replay(earlier)),
        Turn::First(ticket) => Some(ticket),
        Turn::Free => None,
    };
    let (value, _hold) = body.into_json(&state)?;
    let submission = reader::read_email(value, &state.settings.limits, now).map_err(ApiError::Invalid)?;
    let partition = ticket.as_ref().map(Ticket::partition_byte);
    let prepared = prepare::prepare(&state, caller.tenant, vec![submission], partition, now).await?;
    let admitted: Result<Vec<Admitted>, _> = prepared.into_iter().collect();
    let admitted = admitted.map_err(ApiError::Invalid)?;
    let Some(first) = admitted.first() else {
        return Err(ApiError::Internal("a mail got lost on the way to the queue".into()));
    };
    let location = format!("{CANONICAL_PATH}/{}", first.message.id);
    let bytes = accepted(first)?;
    let idempotency = ticket
        .as_ref()
        .map(|ticket| ticket.record(StatusCode::ACCEPTED, &bytes, now));
    if let Some(earlier) = prepare::commit(&state, &intake, admitted, idempotency, now).await? {
        return Ok(idempotency::replay(earlier));
    }
    Ok(answer::ready(StatusCode::ACCEPTED, bytes, Some(location)))
}

/// What the caller is told of an accepted mail.
pub(crate) fn accepted(admitted: &Admitted) -> Result<Vec<u8>, ApiError> {
    answer::to_bytes(&AcceptedView::of(admitted))
}

/// `GET /v1/emails/{id}`.
pub(crate) async fn get(
    state: web::Data<ApiState>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    query::none(&request)?;
    let message = find(&state, caller.tenant, &id).await?;
    let deliveries = state.store.deliveries(message.id).await;
    let deliveries = deliveries.map_err(|error| state.refuse(error))?;
    let events = state.store.events(message.id, state.settings.events_max).await;
    let events = events.map_err(|error| state.refuse(error))?;
    let told = state.explanations(&deliveries, state.clock.now()).await;
    answer::json(
        StatusCode::OK,
        &message_view(&message, &deliveries, &told, events.last()),
    )
}

/// `GET /v1/emails/{id}/events`.
pub(crate) async fn events(
    state: web::Data<ApiState>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let max = state.settings.events_max;
    let limit = query::limit(&request, Some((max, max)))?;
    let message = find(&state, caller.tenant, &id).await?;
    let events = state.store.events(message.id, limit + 1).await;
    let events = events.map_err(|error| state.refuse(error))?;
    let shown = events.iter().take(limit);
    let views: Vec<Value> = shown.map(|event| event_view(event, &message)).collect();
    answer::list(&views, events.len() > limit)
}

/// The tenant's own message of this id. That of somebody else does not exist.
async fn find(state: &ApiState, tenant: TenantId, id: &str) -> Result<Arc<Message>, ApiError> {
    let id: MessageId = id.parse().map_err(|_| ApiError::NotFound)?;
    let mut message = state.store.message(id).await;
    if sabotage::is(Bug::ErrorAsAbsent) {
        message = Ok(message.unwrap_or_default());
    }
    let message = message.map_err(|error| state.refuse(error))?;
    message
        .filter(|message| message.tenant == tenant)
        .ok_or(ApiError::NotFound)
}

/// What a mail's recipients come to: what is still open comes first, then the best end that one of them reached.
pub(crate) fn overall(states: impl IntoIterator<Item = State>) -> State {
    const ORDER: [State; 11] = [
        State::Quarantined,
        State::Held,
        State::Deferred,
        State::Queued,
        State::Scheduled,
        State::Delivered,
        State::Unknown,
        State::Bounced,
        State::Expired,
        State::Suppressed,
        State::Cancelled,
    ];
    let rank = |state: &State| ORDER.iter().position(|other| other == state);
    states.into_iter().min_by_key(rank).unwrap_or(State::Queued)
}

#[derive(Serialize)]
struct AcceptedView<'a> {
    id: String,
    object: &'static str,
    status: &'static str,
    message_id: String,
    created_at: String,
    scheduled_at: Option<String>,
    recipients: Vec<RecipientStatus<'a>>,
}

#[derive(Serialize)]
struct RecipientStatus<'a> {
    email: &'a str,
    status: &'static str,
}

impl<'a> AcceptedView<'a> {
    fn of(admitted: &'a Admitted) -> Self {
        let message = &admitted.message;
        let recipients = admitted.deliveries.iter().map(|delivery| RecipientStatus {
            email: &delivery.address,
            status: delivery.state.name(),
        });
        Self {
            id: message.id.to_string(),
            object: "email",
            status: overall(admitted.deliveries.iter().map(|delivery| delivery.state)).name(),
            message_id: format!("<{}>", message.message_id_header(0)),
            created_at: message.created_at.to_string(),
            scheduled_at: message.scheduled_at.and_then(time),
            recipients: recipients.collect(),
        }
    }
}

fn message_view(
    message: &Message,
    deliveries: &[Delivery],
    told: &[Option<Explanation>],
    last: Option<&Event>,
) -> Value {
    let tags: Vec<Value> = message
        .tags
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let pairs = message.metadata.iter();
    let metadata: Map<String, Value> = pairs.map(|(name, value)| (name.clone(), json!(value))).collect();
    let recipients: Vec<Value> = deliveries
        .iter()
        .zip(told)
        .map(|(delivery, told)| delivery_view(delivery, message, told.as_ref()))
        .collect();
    let reply_to: Vec<String> = message.reply_to.iter().map(ToString::to_string).collect();
    json!({
        "id": message.id.to_string(),
        "object": "email",
        "status": overall(deliveries.iter().map(|delivery| delivery.state)).name(),
        "last_event": last.map(|event| format!("email.{}", event.kind.name())),
        "message_id": format!("<{}>", message.message_id_header(0)),
        "from": message.from.to_string(),
        "to": addresses(message, Role::To),
        "cc": addresses(message, Role::Cc),
        "bcc": addresses(message, Role::Bcc),
        "reply_to": reply_to,
        "subject": message.subject,
        "class": message.class.name(),
        "stream": message.stream().name(),
        "tags": tags,
        "metadata": metadata,
        "created_at": time(message.created_at),
        "scheduled_at": message.scheduled_at.and_then(time),
        "expires_at": time(message.expires_at),
        "recipients": recipients,
    })
}

fn addresses(message: &Message, role: Role) -> Vec<String> {
    let own = message.recipients.iter().filter(|recipient| recipient.role == role);
    own.map(|recipient| recipient.mailbox.to_string()).collect()
}

fn delivery_view(delivery: &Delivery, message: &Message, told: Option<&Explanation>) -> Value {
    let mut view = json!({
        "email": delivery.address,
        "status": delivery.state.name(),
        "message_id": format!("<{}>", message.message_id_header(delivery.id.recipient)),
        "attempts": delivery.attempts,
        "ambiguous": delivery.ambiguous,
        "last_reply": delivery.last_reply.as_ref().map(reply_view),
        "bounce": delivery.bounce.map(|class| class.name()),
        "updated_at": time(delivery.updated_at),
    });
    if let (Value::Object(view), Value::Object(wait)) = (&mut view, for_senders(told)) {
        view.extend(wait);
    }
    view
}

fn reply_view(reply: &LastReply) -> Value {
    json!({
        "code": Some(reply.code).filter(|code| *code != 0),
        "enhanced": reply.enhanced.map(|enhanced| enhanced.to_string()),
        "text": reply.text,
        "host": Some(&reply.host).filter(|host| !host.is_empty()),
        "at": time(reply.at),
    })
}

fn event_view(event: &Event, message: &Message) -> Value {
    let recipient = message.recipients.get(usize::from(event.delivery.recipient));
    let address = recipient.map(|Recipient { mailbox, .. }| mailbox.address.as_str());
    let until = |at: &Timestamp| time(*at);
    let mut view = match &event.kind {
        EventKind::Scheduled { until: at } => json!({"until": until(at)}),
        EventKind::Deferred { why, until: at, reply } => {
            json!({"why": why.name(), "until": until(at), "reply": reply.as_ref().map(reply_view)})
        }
        EventKind::Delivered {
            reply,
            address,
            tls,
            attempts,
        } => json!({"reply": reply_view(reply), "ip": address, "tls": tls, "attempts": attempts}),
        EventKind::Bounced { class, reply } => {
            json!({"bounce": class.name(), "reply": reply.as_ref().map(reply_view)})
        }
        EventKind::Expired { why } => json!({"why": why.map(|why| why.name())}),
        EventKind::Ambiguous { next, until: at, host } => {
            json!({"why": next.name(), "until": until(at), "host": host})
        }
        EventKind::Accepted
        | EventKind::Suppressed
        | EventKind::Cancelled
        | EventKind::Unknown
        | EventKind::Quarantined => json!({}),
    };
    view["type"] = json!(format!("email.{}", event.kind.name()));
    view["at"] = json!(time(event.at));
    view["recipient"] = json!(address);
    view
}
