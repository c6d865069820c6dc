//! `/v1/admin/why`: how many wait for what, by lane or by tenant.
//!
//! By lane: who is parked is counted by the store at this moment, and the reason is the lane's own word now; who stands in
//! line comes from the last round of the watchdog. By tenant: all from that round; `as_of` says when it ended. Bounded to
//! the [`ROWS_MAX`] largest rows; `more` says that there are others. Reads counters, never the queue itself.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::answer::{self, time};
use super::super::problem::ApiError;
use super::super::query;
use super::super::state::ApiState;
use super::operator::Operator;
use crate::domain::{Lane, Shelf, TenantId, Timestamp, Why};
use crate::observe::LastRound;
use crate::policy::census::Crowd;
use crate::policy::tenant_policy::Grade;

/// Rows of one answer.
const ROWS_MAX: usize = 100;
/// Lanes that are looked at to find the largest.
const LANES_MAX: usize = 10_000;
/// What rows may be about.
const BY: [&str; 2] = ["lane", "tenant"];

/// One row: how many wait for this.
#[derive(Debug)]
struct Row {
    deliveries: u64,
    about: Value,
}

/// `GET /v1/admin/why?by=lane|tenant`.
pub(super) async fn get(
    state: web::Data<ApiState>,
    _: Operator,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let by = query::choice(&request, "by", &BY)?;
    let now = state.clock.now();
    let depth = state.queue.depth(now).await.map_err(|error| state.refuse(error))?;
    let last = state.observer.last_round();
    let mut rows = match by {
        "tenant" => by_tenant(&state, last.as_deref(), now).await?,
        _ => by_lane(&state, last.as_deref(), depth.leased, now).await?,
    };
    rows.sort_by_key(|row| Reverse(row.deliveries));
    let more = rows.len() > ROWS_MAX;
    rows.truncate(ROWS_MAX);
    answer::json(
        StatusCode::OK,
        &json!({
            "object": "why",
            "by": by,
            "at": time(now),
            "waiting": depth.waiting_by_class.iter().sum::<u64>(),
            "parked": depth.parked,
            "in_hand": depth.leased,
            "without_reason": last.as_deref().map(|last| last.round.senseless),
            "as_of": last.as_deref().and_then(|last| time(last.ended)),
            "more": more,
            "data": rows.into_iter().map(view).collect::<Vec<_>>(),
        }),
    )
}

fn view(row: Row) -> Value {
    let mut view = row.about;
    view["deliveries"] = json!(row.deliveries);
    view
}

async fn by_lane(
    state: &ApiState,
    last: Option<&LastRound>,
    leased: u64,
    now: Timestamp,
) -> Result<Vec<Row>, ApiError> {
    let parked = state.queue.parked_lanes(LANES_MAX).await;
    let parked = parked.map_err(|error| state.refuse(error))?;
    let mut rows: Vec<Row> = Shelf::by_lane(&parked)
        .into_iter()
        .map(|(lane, deliveries)| Row {
            deliveries,
            about: of_lane(state, &lane, last, now),
        })
        .collect();
    rows.extend(
        parked
            .iter()
            .filter_map(|(name, deliveries)| of_held(state, name, *deliveries)),
    );
    if leased > 0 {
        rows.push(Row {
            deliveries: leased,
            about: json!({"why": Why::InProgress.name()}),
        });
    }
    let in_line = last.iter().flat_map(|last| &last.round.by_lane);
    rows.extend(
        in_line
            .filter(|((lane, _), _)| lane.is_none())
            .map(|((_, why), crowd)| Row {
                deliveries: crowd.deliveries,
                about: of_crowd(*why, crowd, now),
            }),
    );
    Ok(rows)
}

/// What holds a lane back: its own word, else what the watchdog read.
fn of_lane(state: &ApiState, lane: &Lane, last: Option<&LastRound>, now: Timestamp) -> Value {
    let told = state.standing(lane, now);
    let ask = state.inquiries.as_ref();
    let mut about = match (&told, last.and_then(|last| largest(last, lane))) {
        (Some(told), _) => {
            let share = told.share.map(|share| share.renewed_at);
            let until = told.until.or(share).filter(|until| *until > now);
            json!({"why": told.why.name(), "until": until.and_then(time)})
        }
        (None, _) if ask.is_some_and(|ask| ask.is_elsewhere(&lane.source, now)) => {
            json!({"why": Why::SourceElsewhere.name()})
        }
        (None, Some((why, crowd))) => of_crowd(why, crowd, now),
        (None, None) => json!({"why": Why::LaneFull.name()}),
    };
    let address = ask.and_then(|ask| ask.address(&lane.source));
    about["source"] = json!(lane.source.as_str());
    about["address"] = json!(address.map(|address| address.to_string()));
    about["provider"] = json!(lane.provider.as_str());
    about
}

/// Mail that waits for no lane: its tenant is paused, or slowed down.
fn of_held(state: &ApiState, name: &Lane, deliveries: u64) -> Option<Row> {
    let Shelf::Held(tenant, stream) = Shelf::of(name) else {
        return None;
    };
    let why = match state.reputation.grade_of(tenant, stream).0 {
        Grade::Paused => Why::TenantPaused,
        Grade::Slow => Why::Quota,
        // It goes on again: what is left here is on its way.
        Grade::Free => Why::Queued,
    };
    let about = json!({"why": why.name(), "tenant": tenant.0, "stream": stream.name()});
    Some(Row { deliveries, about })
}

/// The reason that most of those under a lane had.
fn largest<'a>(last: &'a LastRound, lane: &Lane) -> Option<(Option<Why>, &'a Crowd)> {
    let own = last
        .round
        .by_lane
        .iter()
        .filter(|((of, _), _)| of.as_ref().is_some_and(|of| Shelf::of(of).lane() == Some(lane)));
    let largest = own.max_by_key(|(_, crowd)| crowd.deliveries);
    largest.map(|((_, why), crowd)| (*why, crowd))
}

async fn by_tenant(state: &ApiState, last: Option<&LastRound>, now: Timestamp) -> Result<Vec<Row>, ApiError> {
    let tenants = state.store.tenants().await.map_err(|error| state.refuse(error))?;
    let names: BTreeMap<TenantId, &str> = tenants.iter().map(|tenant| (tenant.id, tenant.name.as_str())).collect();
    let rows = last.iter().flat_map(|last| &last.round.by_tenant);
    Ok(rows
        .map(|((tenant, why), crowd)| {
            let mut about = of_crowd(*why, crowd, now);
            about["tenant"] = json!(tenant.map(|tenant| tenant.0));
            about["name"] = json!(tenant.and_then(|tenant| names.get(&tenant).copied()));
            Row {
                deliveries: crowd.deliveries,
                about,
            }
        })
        .collect())
}

/// A reason with the span of times at which those who have it are looked at again.
fn of_crowd(why: Option<Why>, crowd: &Crowd, now: Timestamp) -> Value {
    let ahead = |at: Timestamp| Some(at).filter(|at| *at > now).and_then(time);
    json!({
        "why": why.map(Why::name),
        "from": ahead(crowd.first_until),
        "until": ahead(crowd.last_until),
        "oldest": time(crowd.oldest),
    })
}
