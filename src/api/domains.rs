//! `/v1/domains`: declares sending domains, shows the DNS records they need, and looks for them.
//!
//! Takes a name, makes its DKIM keys. A domain may send once its DKIM records were seen. A verified domain stays verified
//! when a later look fails: name servers have bad days, and mail must not stop for that.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::answer::{self, time};
use super::caller::Caller;
use super::problem::ApiError;
use super::state::ApiState;
use super::{body, query, reader};
use crate::domain::{DkimKey, DomainStatus, SendingDomain, TenantId};
use crate::resolver::{DomainCheck, check_domain};
use crate::store::dkim_keys;

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
    let prefix = dkim_keys::selector_prefix(now);
    let keys = tokio::task::spawn_blocking(move || dkim_keys::generate_keys(&prefix)).await;
    let dkim = keys
        .map_err(|error| ApiError::Internal(error.to_string()))?
        .map_err(|error| ApiError::Internal(error.to_string()))?;
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
    let check = check_domain(&domain, state.resolver.as_ref()).await;
    domain.checked_at = Some(state.clock.now());
    domain.status = next_status(domain.status, &check);
    let stored = state.store.put_domain(domain.clone()).await;
    stored.map_err(|error| state.refuse(error))?;
    state.domains.forget(&(domain.tenant, domain.name.clone()));
    answer::json(StatusCode::ACCEPTED, &view(&domain, &state, Some(&check)))
}

/// What a look means: no answer changes nothing, and a verified domain stays verified.
fn next_status(before: DomainStatus, check: &DomainCheck) -> DomainStatus {
    match before {
        DomainStatus::Verified => before,
        DomainStatus::Pending | DomainStatus::Failed => check.status().unwrap_or(before),
    }
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

/// A domain with the records to publish. `check` says what was seen of the DKIM records just now.
fn view(domain: &SendingDomain, state: &ApiState, check: Option<&DomainCheck>) -> Value {
    let name = &domain.name;
    let mut records = Vec::new();
    for (index, key) in domain.dkim.iter().enumerate() {
        let seen = check.and_then(|check| check.records.get(index));
        records.push(json!({
            "record": "DKIM", "type": "TXT", "name": record_name(key, name), "value": key.record,
            "ttl": "Auto", "required": true,
            "status": seen.map_or("not_checked", |seen| seen.status.name()),
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
    use crate::resolver::{RecordCheck, RecordStatus};

    #[test]
    fn a_bad_day_of_a_name_server_changes_nothing() {
        use DomainStatus::{Failed, Pending, Verified};
        use RecordStatus::{Found, Missing, NoAnswer};
        let table = [
            (Pending, [Found, Found], Verified),
            (Pending, [Found, Missing], Failed),
            (Pending, [NoAnswer, Found], Pending),
            (Failed, [Found, Found], Verified),
            (Verified, [Missing, Missing], Verified),
            (Verified, [NoAnswer, NoAnswer], Verified),
        ];
        for (before, statuses, expect) in table {
            let records = statuses.map(|status| RecordCheck {
                name: String::new(),
                expected: String::new(),
                status,
            });
            let check = DomainCheck {
                records: records.into(),
            };
            assert_eq!(next_status(before, &check), expect, "{before:?} {statuses:?}");
        }
    }
}
