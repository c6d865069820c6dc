//! `/v1/templates`: stores new versions of templates, shows the newest.
//!
//! Takes Handlebars, refuses what does not compile. A version never changes: storing under a known alias makes the next.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::answer::{self, time};
use super::caller::Caller;
use super::problem::ApiError;
use super::rendering::KnownTemplate;
use super::state::ApiState;
use super::{body, query, reader};
use crate::domain::{Template, TemplateId};

/// `POST /v1/templates`.
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
    let draft = reader::read_template(value, &state.settings.limits, now).map_err(ApiError::Invalid)?;
    let template = Template {
        id: TemplateId(ApiState::new_id(now)?),
        tenant: caller.tenant,
        alias: draft.alias,
        version: 0,
        subject: draft.subject,
        html: draft.html,
        text: draft.text,
        created_at: now,
    };
    let known = KnownTemplate::stored(&template).map_err(ApiError::Invalid)?;
    let stored = state.store.put_template(template).await;
    let stored = stored.map_err(|error| state.refuse(error))?;
    for reference in [stored.alias.clone(), stored.id.to_string()] {
        state.templates.forget(&(caller.tenant, reference, None));
    }
    let location = format!("/v1/templates/{}", stored.id);
    let bytes = answer::to_bytes(&view(&stored, &known))?;
    Ok(answer::ready(StatusCode::CREATED, bytes, Some(location)))
}

/// `GET /v1/templates`.
pub(crate) async fn list(
    state: web::Data<ApiState>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let bounds = (state.settings.list_default, state.settings.list_max);
    let limit = query::limit(&request, Some(bounds))?;
    let templates = state.store.templates(caller.tenant, limit + 1).await;
    let templates = templates.map_err(|error| state.refuse(error))?;
    let shown = templates.iter().take(limit);
    let views: Vec<Value> = shown.map(|template| summary(template)).collect();
    answer::list(&views, templates.len() > limit)
}

/// `GET /v1/templates/{id-or-alias}`.
pub(crate) async fn get(
    state: web::Data<ApiState>,
    caller: Caller,
    request: HttpRequest,
    reference: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    query::none(&request)?;
    let template = state.store.template(caller.tenant, &reference, None).await;
    let template = template.map_err(|error| state.refuse(error))?;
    let template = template.ok_or(ApiError::NotFound)?;
    let known = KnownTemplate::stored(&template)
        .map_err(|_| ApiError::Internal(format!("template {} no longer compiles", template.id)))?;
    answer::json(StatusCode::OK, &view(&template, &known))
}

fn summary(template: &Template) -> Value {
    json!({
        "id": template.id.to_string(),
        "object": "template",
        "alias": template.alias,
        "version": template.version,
        "created_at": time(template.created_at),
    })
}

fn view(template: &Template, known: &KnownTemplate) -> Value {
    let mut view = summary(template);
    view["subject"] = json!(template.subject);
    view["html"] = json!(template.html);
    view["text"] = json!(template.text);
    view["variables"] = json!(known.variables());
    view
}
