//! How lanes stand and what was decided for them: `/v1/admin/lanes` and `/v1/admin/lanes/{source}/{provider}/decisions`.
//!
//! Takes nothing but names; gives what the board of this node shows. Numbers that are not known are null.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::operator::Operator;
use crate::api::problem::ApiError;
use crate::api::state::ApiState;
use crate::domain::{Lane, ProviderId, SourceId};
use crate::observe::LaneView;
use crate::policy::controller::Decision;
use crate::policy::pin_trial::{TrialView, WouldHave};

/// The lanes of this node, and sending domains that providers blame.
pub(super) async fn list(state: web::Data<ApiState>, _: Operator) -> HttpResponse {
    let lanes = state.observer.lanes();
    let lanes: Vec<Value> = lanes.iter().map(|(lane, view)| of_lane(lane, view)).collect();
    let held = state.observer.held_domains(state.clock.now());
    let held: Vec<Value> = held
        .iter()
        .map(|((provider, domain), until)| {
            json!({"provider": provider.as_str(), "domain": &**domain, "until": until.to_string()})
        })
        .collect();
    HttpResponse::Ok().json(json!({"lanes": lanes, "held_domains": held}))
}

/// The latest decisions of a lane, newest first.
pub(super) async fn decisions(
    state: web::Data<ApiState>,
    path: web::Path<(String, String)>,
    _: Operator,
) -> Result<HttpResponse, ApiError> {
    let (source, provider) = path.into_inner();
    let lane = Lane {
        source: SourceId::from(source.as_str()),
        provider: ProviderId::from(provider.as_str()),
    };
    let view = state.observer.lane_view(&lane).ok_or(ApiError::NotFound)?;
    let mut shown = of_lane(&lane, &view);
    shown["decisions"] = view.decisions.iter().rev().map(of_decision).collect();
    Ok(HttpResponse::Ok().json(shown))
}

fn of_lane(lane: &Lane, view: &LaneView) -> Value {
    json!({
        "source": lane.source.as_str(),
        "provider": lane.provider.as_str(),
        "state": view.standing.name(),
        "until": view.until.map(|until| until.to_string()),
        "waiting": view.waiting,
        "connections": {
            "up": view.live.up,
            "opening": view.live.opening,
            "limit": view.connections,
            "ceiling": view.ceiling,
            "min": view.range.connections.0,
            "max": view.range.connections.1,
        },
        "messages_per_second": {
            "limit": view.rate,
            "min": view.range.messages_per_second.0,
            "max": view.range.messages_per_second.1,
        },
        "messages_per_connection": view.messages_per_connection,
        "shadow_pins": view.trial.as_ref().map(of_trial),
        "decided": view.decided,
        "last_decision": view.decisions.last().map(of_decision),
    })
}

/// What pins on trial would change now, and how often they would have begun to.
fn of_trial(trial: &TrialView) -> Value {
    let would = |one: &WouldHave| json!({"what": one.what.name(), "from": number(one.from), "to": number(one.to)});
    json!({
        "would_have": trial.now.iter().map(would).collect::<Vec<_>>(),
        "count": trial.count,
    })
}

fn number(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn of_decision(decision: &Decision) -> Value {
    json!({
        "at": decision.at.to_string(),
        "what": decision.what.name(),
        "signal": decision.signal.name(),
        "from": number(decision.from),
        "to": number(decision.to),
        "reply": decision.evidence.as_ref().map(|evidence| json!({
            "code": evidence.code,
            "text": evidence.said,
            "rule": &*evidence.rule,
        })),
    })
}
