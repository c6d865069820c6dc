//! `/v1/emails/batch`: many mails in one call and one durable step, with an answer for each.
//!
//! Takes JSON; permissive accepts the good ones (202, or 422 when there is none), strict accepts all or nothing.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::answer;
use super::caller::Caller;
use super::emails::overall;
use super::idempotency::{self, Ticket, Turn};
use super::problem::{ApiError, ProblemView};
use super::reader::{Batch, Mode};
use super::state::ApiState;
use super::{body, prepare, query, reader};
use crate::actors::intake::IntakeHandle;
use crate::domain::{Problem, TenantId, Timestamp};
use crate::policy::admission::Admitted;

const CANONICAL_PATH: &str = "/v1/emails/batch";

/// What became of one mail of the batch.
type Outcome = Result<Admitted, Vec<Problem>>;

/// `POST /v1/emails/batch`.
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
    let batch = reader::read_batch(value, &state.settings.limits, now).map_err(ApiError::InvalidBatch)?;
    let mode = batch.mode;
    let partition = ticket.as_ref().map(Ticket::partition_byte);
    let outcomes = decide(&state, caller.tenant, batch, partition, now).await?;
    let accepted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let all = accepted == outcomes.len();
    if accepted == 0 || (mode == Mode::Strict && !all) {
        let problems = outcomes.into_iter().filter_map(Result::err).flatten();
        return Err(ApiError::InvalidBatch(
            problems.take(state.settings.limits.problems).collect(),
        ));
    }
    let bytes = answer::to_bytes(&BatchView::of(&outcomes, accepted))?;
    let idempotency = ticket
        .as_ref()
        .map(|ticket| ticket.record(StatusCode::ACCEPTED, &bytes, now));
    let admitted = outcomes.into_iter().filter_map(Result::ok).collect();
    if let Some(earlier) = prepare::commit(&state, &intake, admitted, idempotency, now).await? {
        return Ok(idempotency::replay(earlier));
    }
    Ok(answer::ready(StatusCode::ACCEPTED, bytes, None))
}

/// Prepares the mails that could be read; all pointers count from the root of the call.
async fn decide(
    state: &ApiState,
    tenant: TenantId,
    batch: Batch,
    partition: Option<u8>,
    now: Timestamp,
) -> Result<Vec<Outcome>, ApiError> {
    let base = batch.base;
    let mut readable = Vec::with_capacity(batch.items.len());
    let mut unreadable = Vec::with_capacity(batch.items.len());
    for item in batch.items {
        match item {
            Ok(submission) => {
                readable.push(submission);
                unreadable.push(None);
            }
            Err(problems) => unreadable.push(Some(problems)),
        }
    }
    let mut prepared = prepare::prepare(state, tenant, readable, partition, now)
        .await?
        .into_iter();
    let each = unreadable.into_iter().enumerate();
    let outcomes = each.filter_map(|(index, problems)| match problems {
        Some(problems) => Some(Err(problems)),
        None => prepared
            .next()
            .map(|outcome| outcome.map_err(|problems| rebase(problems, base, index))),
    });
    Ok(outcomes.collect())
}

fn rebase(mut problems: Vec<Problem>, base: &str, index: usize) -> Vec<Problem> {
    for problem in &mut problems {
        problem.pointer = format!("{base}/{index}{}", problem.pointer);
    }
    problems
}

#[derive(Serialize)]
struct BatchView<'o> {
    object: &'static str,
    accepted: usize,
    rejected: usize,
    data: Vec<ItemView<'o>>,
}

#[derive(Serialize)]
struct ItemView<'o> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    status: &'static str,
    /// The first problem; `errors` has all when there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ProblemView<'o>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ProblemView<'o>>,
}

impl<'o> BatchView<'o> {
    fn of(outcomes: &'o [Outcome], accepted: usize) -> Self {
        let items = outcomes.iter().enumerate();
        let data = items.map(|(index, outcome)| match outcome {
            Ok(admitted) => ItemView {
                index,
                id: Some(admitted.message.id.to_string()),
                status: overall(admitted.deliveries.iter().map(|delivery| delivery.state)).name(),
                error: None,
                errors: Vec::new(),
            },
            Err(problems) => ItemView {
                index,
                id: None,
                status: "rejected",
                error: problems.first().map(ProblemView::from),
                errors: match problems.as_slice() {
                    [_] => Vec::new(),
                    several => several.iter().map(ProblemView::from).collect(),
                },
            },
        });
        Self {
            object: "batch",
            accepted,
            rejected: outcomes.len() - accepted,
            data: data.collect(),
        }
    }
}
