//! What becomes of one entry.
//!
//! Takes an entry, has its mail read and admitted as that of a call, and carries out the decision in one step with the end of the
//! entry. Gives an error only for what may go away by itself: then the entry is left as it is. Logs no content.

use std::sync::Arc;

use actix_web::http::StatusCode;

use super::fields::{self, Fields};
use crate::api::body::Body;
use crate::api::idempotency::{self, Ticket, Turn};
use crate::api::problem::ApiError;
use crate::api::state::ApiState;
use crate::api::{emails, prepare, reader};
use crate::domain::TenantId;
use crate::policy::admission::Admitted;
use crate::queue::{Accepted, IdempotencyKey};
use crate::store::{Entries, Entry, EntryAnswer, EntryContent};

/// Bytes of a reason's detail at most.
const DETAIL_BYTES_MAX: usize = 4096;

/// Why an entry became a dead letter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Stable code: those of the API, and those of `fields`.
    pub(super) code: &'static str,
    /// For people.
    pub(super) detail: String,
}

impl Refused {
    pub(super) fn new(code: &'static str, mut detail: String) -> Self {
        let end = detail.floor_char_boundary(DETAIL_BYTES_MAX);
        detail.truncate(end);
        Self { code, detail }
    }

    /// The reason in an error of a call; the error itself when it may go away.
    fn of(error: ApiError) -> Result<Self, ApiError> {
        match &error {
            ApiError::IdempotencyInProgress
            | ApiError::RequestTimeout
            | ApiError::RateLimited(_)
            | ApiError::Overloaded(_)
            | ApiError::Draining(_)
            | ApiError::StorageFull(_)
            | ApiError::StoreUnavailable(_) => Err(error),
            ApiError::Internal(detail) => {
                tracing::error!(%detail, "an entry of the intake stream cannot be taken");
                Ok(Self::new(error.code(), "The log has the details.".to_owned()))
            }
            ApiError::Invalid(problems) | ApiError::InvalidBatch(problems) => {
                let lines = problems.iter();
                let lines = lines.map(|problem| format!("{} {}: {}", problem.pointer, problem.code, problem.detail));
                Ok(Self::new(error.code(), lines.collect::<Vec<_>>().join("\n")))
            }
            _ => Ok(Self::new(error.code(), error.to_string())),
        }
    }
}

/// Why an entry was not accepted.
enum Trouble {
    Refused(Refused),
    Call(ApiError),
}

impl From<ApiError> for Trouble {
    fn from(error: ApiError) -> Self {
        Self::Call(error)
    }
}

/// Decides on an entry. `Err` leaves it to be taken again.
pub(super) async fn decide(
    state: &Arc<ApiState>,
    entries: &Entries,
    mut entry: Entry,
    tenants: &[TenantId],
) -> Result<(), ApiError> {
    let content = std::mem::replace(&mut entry.content, EntryContent::Fields(Vec::new()));
    let refused = match accept(state, entries, &entry, content, tenants).await {
        Ok(()) => return Ok(()),
        Err(Trouble::Refused(refused)) => refused,
        Err(Trouble::Call(error)) => Refused::of(error)?,
    };
    refuse(state, entries, &entry, refused).await
}

/// Moves an entry to the dead letters.
pub(super) async fn refuse(
    state: &ApiState,
    entries: &Entries,
    entry: &Entry,
    refused: Refused,
) -> Result<(), ApiError> {
    let Refused { code, detail } = refused;
    let buried = entries.bury(entry, code, &detail, state.clock.now()).await;
    if buried.map_err(|error| state.refuse(error))? {
        state.observer.entry_refused(code);
        tracing::warn!(entry = %entry.id, partition = entry.partition, code, "an entry of the intake stream is a dead letter");
    }
    Ok(())
}

async fn accept(
    state: &Arc<ApiState>,
    entries: &Entries,
    entry: &Entry,
    content: EntryContent,
    tenants: &[TenantId],
) -> Result<(), Trouble> {
    let max = state.settings.body_bytes_max;
    let Fields { tenant, body, key } = match content {
        EntryContent::Fields(fields) => fields::read(fields).map_err(Trouble::Refused)?,
        EntryContent::TooLarge(_) => return Err(ApiError::PayloadTooLarge(max).into()),
    };
    if body.len() > max {
        return Err(ApiError::PayloadTooLarge(max).into());
    }
    if !tenants.contains(&tenant) {
        let detail = format!("There is no tenant {tenant}.");
        return Err(Trouble::Refused(Refused::new("unknown_tenant", detail)));
    }
    let now = state.clock.now();
    let ticket = match key {
        None => None,
        Some(key) => {
            // The hash of the same call over HTTP: a mail may come once by each way.
            let hash = idempotency::hash("POST", emails::CANONICAL_PATH, &body);
            match idempotency::turn_of(state, IdempotencyKey { tenant, key }, hash, now).await? {
                Turn::First(ticket) => Some(ticket),
                Turn::Again(_) | Turn::Free => return Ok(known(state, entries, entry).await?),
            }
        }
    };
    let body = Body::in_hand(state, body).ok_or(ApiError::Overloaded(state.settings.retry_after))?;
    let (value, _hold) = body.into_json(state)?;
    let submission = reader::read_email(value, &state.settings.limits, now).map_err(ApiError::Invalid)?;
    // A partition's number is a byte that chooses it: there are at most 256.
    let own = u8::try_from(entry.partition).unwrap_or_default();
    let partition = ticket.as_ref().map_or(own, Ticket::partition_byte);
    let prepared = prepare::prepare(state, tenant, vec![submission], Some(partition), now).await?;
    let admitted: Result<Vec<Admitted>, _> = prepared.into_iter().collect();
    let admitted = admitted.map_err(ApiError::Invalid)?;
    let idempotency = match (&ticket, admitted.first()) {
        (Some(ticket), Some(first)) => Some(ticket.record(StatusCode::ACCEPTED, &emails::accepted(first)?, now)),
        _ => None,
    };
    let classes: Vec<_> = admitted
        .iter()
        .flat_map(|one| &one.deliveries)
        .map(|one| one.class)
        .collect();
    // Closed meanwhile? The entry can wait.
    state.open()?;
    fail::fail_point!("entry-before-accept");
    let answer = entries
        .accept(entry, prepare::accept_of(admitted, idempotency, now))
        .await;
    fail::fail_point!("entry-after-accept");
    match answer.map_err(|error| state.refuse(error))? {
        EntryAnswer::Accepted(Accepted::New) => {
            state.observer.entry_accepted();
            classes.into_iter().for_each(|class| state.observer.accepted(class, 1));
            Ok(())
        }
        EntryAnswer::Accepted(Accepted::Replay(_)) => Ok(known(state, entries, entry).await?),
        EntryAnswer::Accepted(Accepted::KeyMismatch) => Err(ApiError::IdempotencyKeyMismatch.into()),
        EntryAnswer::Gone => Ok(()),
    }
}

/// Ends an entry whose mail was accepted before.
async fn known(state: &ApiState, entries: &Entries, entry: &Entry) -> Result<(), ApiError> {
    let dropped = entries.drop_entry(entry).await;
    dropped.map_err(|error| state.refuse(error))?;
    state.observer.entry_accepted();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::Problem;

    #[test]
    fn what_may_go_away_leaves_the_entry_and_all_else_says_why() {
        let check = |error: ApiError, expect: Option<(&str, &str)>| match (Refused::of(error), expect) {
            (Ok(refused), Some((code, part))) => {
                assert_eq!(refused.code, code);
                assert!(refused.detail.contains(part), "{}", refused.detail);
            }
            (Err(_), None) => {}
            (found, expect) => panic!("{found:?}, not {expect:?}"),
        };
        let soon = Duration::from_secs(1);
        for later in [
            ApiError::IdempotencyInProgress,
            ApiError::Overloaded(soon),
            ApiError::Draining(soon),
            ApiError::StorageFull(soon),
            ApiError::StoreUnavailable(soon),
        ] {
            check(later, None);
        }
        check(
            ApiError::InvalidJson("line 1".to_owned()),
            Some(("invalid_json", "line 1")),
        );
        check(ApiError::PayloadTooLarge(5), Some(("payload_too_large", "5 bytes")));
        check(
            ApiError::Internal("secret".to_owned()),
            Some(("internal_error", "The log")),
        );
        let problems = vec![
            Problem::new("/to/0", "invalid_email", "No."),
            Problem::new("/subject", "required", "Yes."),
        ];
        let lines = "/to/0 invalid_email: No.\n/subject required: Yes.";
        check(ApiError::Invalid(problems), Some(("validation_error", lines)));
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let refused = Refused::new("x", "ä".repeat(DETAIL_BYTES_MAX));
        assert_eq!(refused.detail.len(), DETAIL_BYTES_MAX);
        let refused = Refused::new("x", format!("a{}", "ä".repeat(DETAIL_BYTES_MAX)));
        assert_eq!(refused.detail.len(), DETAIL_BYTES_MAX - 1);
    }
}
