//! `/v1/domains`: declares sending domains, shows the DNS records they need, and looks for them.
//!
//! Takes a name, makes its DKIM keys. A domain may send once one of its DKIM records was seen. A verified domain stays
//! verified when a later look fails: name servers have bad days, and mail must not stop for that.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::answer::{self, time};
use super::caller::Caller;
use super::problem::ApiError;
use super::state::ApiState;
use super::{body, query, reader};
use crate::domain::{DkimKey, DomainStatus, SendingDomain, TenantId};
use crate::resolver::Answer;

/// `POST /v1/domains`.
pub(crate) async fn create(
    state: web::Data<ApiState>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    state.open()?;
    query::none(&request)?;
    let body = body::read(&state, &request, payload, state.settings.small_body_bytes_max).await?;
    let now = state.clock.now();
    let (value, _hold) = body.into_json(&state)?;
    let draft = reader::read_domain(value, &state.settings.limits, now).map_err(ApiError::Invalid)?;
    let known = state.store.domain(caller.tenant, &draft.name).await;
    if known.map_err(|error| state.refuse(error))?.is_some() {
        return Err(ApiError::Conflict(format!(
            "The domain '{}' is declared already.",
            draft.name
        )));
    }
    let (make, name) = (state.make_dkim_keys, draft.name.clone());
    let keys = tokio::task::spawn_blocking(move || make(&name, now)).await;
    let dkim = keys
        .map_err(|error| ApiError::Internal(error.to_string()))?
        .map_err(ApiError::Internal)?;
    let domain = SendingDomain {
        tenant: caller.tenant,
        name: draft.name,
        status: DomainStatus::Pending,
        return_path_subdomain: draft.return_path_subdomain,
        dkim,
        created_at: now,
        checked_at: None,
    };
    let stored = state.store.put_domain(domain.clone()).await;
    stored.map_err(|error| state.refuse(error))?;
    let location = format!("/v1/domains/{}", domain.name);
    let bytes = answer::to_bytes(&view(&domain, &state, None))?;
    Ok(answer::ready(StatusCode::CREATED, bytes, Some(location)))
}

/// `GET /v1/domains`.
pub(crate) async fn list(
    state: web::Data<ApiState>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    query::none(&request)?;
    let domains = state.store.domains(caller.tenant).await;
    let domains = domains.map_err(|error| state.refuse(error))?;
    let views: Vec<Value> = domains.iter().map(summary).collect();
    answer::list(&views, false)
}

/// `GET /v1/domains/{name}`.
pub(crate) async fn get(
    state: web::Data<ApiState>,
    caller: Caller,
    request: HttpRequest,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    query::none(&request)?;
    let domain = find(&state, caller.tenant, &name).await?;
    answer::json(StatusCode::OK, &view(&domain, &state, None))
}

/// `POST /v1/domains/{name}/verify`: looks for the DKIM records now.
pub(crate) async fn verify(
    state: web::Data<ApiState>,
    caller: Caller,
    request: HttpRequest,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    state.open()?;
    query::none(&request)?;
    let mut domain = find(&state, caller.tenant, &name).await?;
    let mut found = Vec::with_capacity(domain.dkim.len());
    for key in &domain.dkim {
        let answer = state.resolver.txt(&record_name(key, &domain.name)).await;
        found.push(judge(key, &answer));
    }
    domain.checked_at = Some(state.clock.now());
    domain.status = next_status(domain.status, &found);
    let stored = state.store.put_domain(domain.clone()).await;
    stored.map_err(|error| state.refuse(error))?;
    state.domains.forget(&(domain.tenant, domain.name.clone()));
    answer::json(StatusCode::ACCEPTED, &view(&domain, &state, Some(&found)))
}

/// What was seen of one DKIM record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Found,
    Wrong,
    Missing,
    NoAnswer,
}

impl Seen {
    fn name(self) -> &'static str {
        match self {
            Self::Found => "verified",
            Self::Wrong => "wrong_value",
            Self::Missing => "not_found",
            Self::NoAnswer => "no_answer",
        }
    }
}

fn judge(key: &DkimKey, answer: &Answer<String>) -> Seen {
    match answer {
        Answer::Found(records, _) if records.iter().any(|record| same_key(record, &key.record)) => Seen::Found,
        Answer::Found(_, _) => Seen::Wrong,
        Answer::Empty(_) | Answer::NoDomain(_) => Seen::Missing,
        Answer::Loop | Answer::Failed => Seen::NoAnswer,
    }
}

/// One record is enough: providers need one valid signature, and not every DNS host takes Ed25519 records.
fn next_status(before: DomainStatus, found: &[Seen]) -> DomainStatus {
    if before == DomainStatus::Verified || found.contains(&Seen::Found) {
        DomainStatus::Verified
    } else if found.contains(&Seen::NoAnswer) {
        before
    } else {
        DomainStatus::Failed
    }
}

/// Whether two DKIM records publish the same key. DNS hosts add spaces and change the order of tags.
fn same_key(published: &str, ours: &str) -> bool {
    let tag = |record: &str, name: &str| {
        let mut tags = record.split(';').filter_map(|tag| tag.split_once('='));
        let value = tags.find(|(key, _)| key.trim() == name).map(|(_, value)| value);
        value.map(|value| value.split_ascii_whitespace().collect::<String>())
    };
    let kind = |record: &str| tag(record, "k").unwrap_or_else(|| "rsa".to_owned());
    let key = tag(published, "p");
    key.as_ref().is_some_and(|key| !key.is_empty()) && key == tag(ours, "p") && kind(published) == kind(ours)
}

async fn find(state: &ApiState, tenant: TenantId, name: &str) -> Result<SendingDomain, ApiError> {
    let name = reader::domain_to_ascii(name).ok_or(ApiError::NotFound)?;
    let domain = state.store.domain(tenant, &name).await;
    domain.map_err(|error| state.refuse(error))?.ok_or(ApiError::NotFound)
}

fn record_name(key: &DkimKey, domain: &str) -> String {
    format!("{}._domainkey.{domain}", key.selector)
}

fn summary(domain: &SendingDomain) -> Value {
    json!({
        "id": domain.name,
        "object": "domain",
        "name": domain.name,
        "status": domain.status.name(),
        "return_path_subdomain": domain.return_path_subdomain,
        "created_at": time(domain.created_at),
        "last_checked_at": domain.checked_at.and_then(time),
    })
}

/// A domain with the records to publish. `found` says what was seen of the DKIM records just now.
fn view(domain: &SendingDomain, state: &ApiState, found: Option<&[Seen]>) -> Value {
    let name = &domain.name;
    let mut records = Vec::new();
    for (index, key) in domain.dkim.iter().enumerate() {
        let seen = found.and_then(|found| found.get(index));
        records.push(json!({
            "record": "DKIM", "type": "TXT", "name": record_name(key, name), "value": key.record,
            "ttl": "Auto", "required": index == 0,
            "status": seen.map_or("not_checked", |seen| seen.name()),
        }));
    }
    let return_path = format!("{}.{name}", domain.return_path_subdomain);
    if let Some(spf) = &state.settings.spf_record {
        records.push(json!({
            "record": "SPF", "type": "TXT", "name": return_path, "value": spf,
            "ttl": "Auto", "required": false, "status": "not_checked",
        }));
    }
    if let Some(host) = &state.settings.return_path_host {
        records.push(json!({
            "record": "SPF", "type": "MX", "name": return_path, "value": host, "priority": 10,
            "ttl": "Auto", "required": false, "status": "not_checked",
        }));
    }
    records.push(json!({
        "record": "DMARC", "type": "TXT", "name": format!("_dmarc.{name}"), "value": "v=DMARC1; p=none",
        "ttl": "Auto", "required": false, "status": "not_checked",
    }));
    let mut view = summary(domain);
    view["records"] = Value::Array(records);
    view
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_ours_when_key_and_kind_are() {
        let ours = "v=DKIM1; k=rsa; p=MIIB";
        let table = [
            ("v=DKIM1; k=rsa; p=MIIB", true),
            ("v=DKIM1;p=MI IB;k=rsa", true),
            ("p=MIIB", true),
            ("v=DKIM1; k=ed25519; p=MIIB", false),
            ("v=DKIM1; k=rsa; p=", false),
            ("v=DKIM1; k=rsa; p=OTHER", false),
            ("hello", false),
        ];
        for (published, expect) in table {
            assert_eq!(same_key(published, ours), expect, "{published:?}");
        }
        assert!(!same_key("p=", "p="));
    }

    #[test]
    fn a_bad_day_of_a_name_server_changes_nothing() {
        use DomainStatus::{Failed, Pending, Verified};
        let table = [
            (Pending, &[Seen::Found, Seen::Missing][..], Verified),
            (Pending, &[Seen::Missing, Seen::Missing], Failed),
            (Pending, &[Seen::NoAnswer, Seen::Missing], Pending),
            (Failed, &[Seen::Wrong, Seen::Found], Verified),
            (Verified, &[Seen::Missing, Seen::Missing], Verified),
        ];
        for (before, found, expect) in table {
            assert_eq!(next_status(before, found), expect, "{before:?} {found:?}");
        }
    }
}
