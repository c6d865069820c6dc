//! `/v1/admin/domains`: the sending domains of all tenants, with the DKIM records that belong to them.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::answer::{self, time};
use super::super::problem::ApiError;
use super::super::query;
use super::super::state::ApiState;
use super::operator::Operator;

/// Domains in one answer.
const DOMAINS_MAX: usize = 1_000;

/// `GET /v1/admin/domains`.
pub(super) async fn list(
    state: web::Data<ApiState>,
    _: Operator,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    query::none(&request)?;
    let mut views: Vec<Value> = Vec::new();
    for tenant in state.store.tenants().await.map_err(|error| state.refuse(error))? {
        let domains = state.store.domains(tenant.id).await;
        for domain in domains.map_err(|error| state.refuse(error))? {
            let dkim = domain.dkim.iter().map(|key| {
                json!({
                    "selector": key.selector,
                    "name": format!("{}._domainkey.{}", key.selector, domain.name),
                    "value": key.record,
                })
            });
            views.push(json!({
                "tenant": tenant.id.0,
                "name": domain.name,
                "status": domain.status.name(),
                "return_path": format!("{}.{}", domain.return_path_subdomain, domain.name),
                "dkim": dkim.collect::<Vec<_>>(),
                "last_checked_at": domain.checked_at.and_then(time),
            }));
        }
    }
    let more = views.len() > DOMAINS_MAX;
    views.truncate(DOMAINS_MAX);
    answer::list(&views, more)
}
