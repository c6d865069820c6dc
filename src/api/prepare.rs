//! From Submissions to what is committed: look-ups, admission, and the one durable step.
//!
//! Takes Submissions of one tenant, gives for each what is to be stored or what stands against it; then stores. Looks up in
//! few steps for many mails: one question about suppressions for a whole batch and stream. Never speaks HTTP.

use std::collections::HashMap;
use std::sync::Arc;

use super::problem::ApiError;
use super::rendering::KnownTemplate;
use super::state::ApiState;
use crate::actors::intake::{IntakeHandle, Refusal};
use crate::domain::{
    Class, MessageId, Problem, Recipient, Role, Stream, Submission, SubmittedContent, TenantId, Timestamp, Variables,
};
use crate::policy::admission::{Admitted, Arrival, Facts, admit, class_of};
use crate::policy::tenant_policy::Grade;
use crate::queue::{Accept, Accepted, IdempotencyKey, StoredResponse};

/// Prepares mails; gives an answer for each, in their order. All get ids in one partition of the store, that of `partition` or
/// any, so that they can be stored in one step.
pub(crate) async fn prepare(
    state: &ApiState,
    tenant: TenantId,
    submissions: Vec<Submission>,
    partition: Option<u8>,
    now: Timestamp,
) -> Result<Vec<Result<Admitted, Vec<Problem>>>, ApiError> {
    let partition = match partition {
        Some(byte) => byte,
        None => MessageId(ApiState::new_id(now)?).partition_byte(),
    };
    let mut suppressed = suppressed(state, tenant, &submissions).await?.into_iter();
    let mut answers = Vec::with_capacity(submissions.len());
    for submission in submissions {
        let suppressed = suppressed.by_ref().take(submission.recipients.len()).collect();
        let arrival = Arrival {
            id: MessageId(ApiState::new_id(now)?).in_partition(partition),
            tenant,
            now,
        };
        answers.push(prepare_one(state, submission, suppressed, arrival).await?);
    }
    Ok(answers)
}

/// Stores what was admitted, together with the answer to a repeated call. Gives that of an earlier call, if this one turns
/// out to have been made before.
pub(crate) async fn commit(
    state: &ApiState,
    intake: &IntakeHandle,
    admitted: Vec<Admitted>,
    idempotency: Option<(IdempotencyKey, StoredResponse)>,
    now: Timestamp,
) -> Result<Option<StoredResponse>, ApiError> {
    match intake.accept(accept_of(admitted, idempotency, now)).await {
        Ok(Accepted::New) => Ok(None),
        Ok(Accepted::Replay(earlier)) => Ok(Some(earlier)),
        Ok(Accepted::KeyMismatch) => Err(ApiError::IdempotencyKeyMismatch),
        Err(Refusal::Overloaded) => Err(ApiError::Overloaded(state.settings.retry_after)),
        Err(Refusal::Store(error)) => Err(state.refuse(error)),
        Err(Refusal::Lost) => Err(ApiError::Internal("the answer of the store got lost in a panic".into())),
    }
}

/// What is stored of admitted mails, in one step.
pub(crate) fn accept_of(
    admitted: Vec<Admitted>,
    idempotency: Option<(IdempotencyKey, StoredResponse)>,
    now: Timestamp,
) -> Accept {
    let mut accept = Accept {
        messages: Vec::with_capacity(admitted.len()),
        deliveries: Vec::with_capacity(admitted.len()),
        events: Vec::with_capacity(admitted.len()),
        idempotency,
        at: now,
    };
    for one in admitted {
        accept.messages.push((Arc::new(one.message), Arc::new(one.body)));
        accept.deliveries.extend(one.deliveries);
        accept.events.extend(one.events);
    }
    accept
}

async fn prepare_one(
    state: &ApiState,
    submission: Submission,
    suppressed: Vec<bool>,
    arrival: Arrival,
) -> Result<Result<Admitted, Vec<Problem>>, ApiError> {
    let (tenant, now) = (arrival.tenant, arrival.now);
    let status = state.domain_status(tenant, submission.from.domain(), now).await;
    let domain = status.map_err(|error| state.refuse(error))?;
    let template = find_template(state, tenant, &submission.content, now).await?;
    let mut facts = Facts {
        domain,
        suppressed,
        pinned: template.as_ref().map(|template| template.pinned.clone()),
        subject: String::new(),
    };
    let mut problems: Vec<Problem> = paused(state, tenant, &submission).into_iter().collect();
    match (&submission.content, template) {
        (SubmittedContent::Inline { subject, .. }, _) => facts.subject.clone_from(subject),
        (SubmittedContent::Template { subject, variables, .. }, Some(template)) => {
            match try_out(&template, variables, &submission.recipients) {
                Ok(rendered) => facts.subject = subject.clone().unwrap_or(rendered),
                Err(found) => problems.extend(found),
            }
        }
        (SubmittedContent::Template { .. }, None) => {}
    }
    Ok(match admit(submission, facts, arrival, &state.admission) {
        Ok(admitted) if problems.is_empty() => Ok(admitted),
        Ok(_) => Err(problems),
        Err(mut found) => {
            found.extend(problems);
            Err(found)
        }
    })
}

/// What stands against mail of a stream that is paused. Codes are never refused.
fn paused(state: &ApiState, tenant: TenantId, submission: &Submission) -> Option<Problem> {
    let class = class_of(submission).ok()?;
    let (grade, _) = state.reputation.grade(tenant, class);
    let stream = class.stream().name();
    let detail = || {
        let standings = state.reputation.standings().into_iter();
        let mut own = standings.filter(|(other, of, _)| *other == tenant && *of == class.stream());
        let reason = own.next().and_then(|(_, _, mut history)| history.pop());
        let reason = reason.map(|standing| standing.reason).unwrap_or_default();
        format!("Your {stream} mail is paused: {reason}. Whoever runs this service can resume it.")
    };
    (grade == Grade::Paused).then(|| Problem::new("/class", "tenant_paused", detail()))
}

/// The template that a mail names: one of the tenant's, else a built-in one; compiled.
async fn find_template(
    state: &ApiState,
    tenant: TenantId,
    content: &SubmittedContent,
    now: Timestamp,
) -> Result<Option<Arc<KnownTemplate>>, ApiError> {
    let SubmittedContent::Template { reference, version, .. } = content else {
        return Ok(None);
    };
    let key = (tenant, reference.clone(), *version);
    if let Some(known) = state.templates.get(&key, now) {
        return Ok(Some(known));
    }
    let found = state.store.template(tenant, reference, *version).await;
    let known = match found.map_err(|error| state.refuse(error))? {
        Some(template) => KnownTemplate::stored(&template)
            .map_err(|_| ApiError::Internal(format!("template {} no longer compiles", template.id)))?,
        None if version.is_none() => match KnownTemplate::built_in(reference) {
            Some(built_in) => built_in,
            None => return Ok(None),
        },
        None => return Ok(None),
    };
    let known = Arc::new(known);
    state.templates.put(key, Arc::clone(&known), now);
    Ok(Some(known))
}

/// Makes the mail for every recipient whose variables differ; gives the subject of the first.
fn try_out(template: &KnownTemplate, variables: &Variables, recipients: &[Recipient]) -> Result<String, Vec<Problem>> {
    let mut subject = None;
    let mut problems = Vec::new();
    let mut common_done = false;
    for (index, recipient) in recipients.iter().enumerate() {
        let made = match &recipient.variables {
            None if common_done => continue,
            None => {
                common_done = true;
                template.try_out(variables, "/variables")
            }
            Some(own) => {
                let mut merged = variables.clone();
                merged.extend(own.clone());
                template.try_out(&merged, &format!("{}/variables", pointer(recipients, index)))
            }
        };
        match made {
            Ok(made) => {
                subject.get_or_insert(made);
            }
            Err(found) => problems.extend(found),
        }
    }
    match subject {
        Some(subject) if problems.is_empty() => Ok(subject),
        _ => Err(problems),
    }
}

/// Where a recipient stands in the call.
fn pointer(recipients: &[Recipient], index: usize) -> String {
    let role = recipients[index].role;
    let place = recipients[..index].iter().filter(|other| other.role == role).count();
    let field = match role {
        Role::To => "to",
        Role::Cc => "cc",
        Role::Bcc => "bcc",
    };
    format!("/{field}/{place}")
}

/// Which recipients are suppressed: one flag each, over all mails in their order.
async fn suppressed(state: &ApiState, tenant: TenantId, submissions: &[Submission]) -> Result<Vec<bool>, ApiError> {
    let mut questions: HashMap<Stream, (Vec<String>, Vec<usize>)> = HashMap::with_capacity(1);
    let mut position = 0;
    for submission in submissions {
        let stream = class_of(submission).unwrap_or(Class::Transactional).stream();
        let (addresses, positions) = questions.entry(stream).or_default();
        for recipient in &submission.recipients {
            addresses.push(recipient.mailbox.address.to_lowercase());
            positions.push(position);
            position += 1;
        }
    }
    let mut flags = vec![false; position];
    for (stream, (addresses, positions)) in questions {
        let answer = state.store.suppressed(tenant, stream, &addresses).await;
        let answer = answer.map_err(|error| state.refuse(error))?;
        for (position, flag) in positions.into_iter().zip(answer) {
            flags[position] = flag;
        }
    }
    Ok(flags)
}
