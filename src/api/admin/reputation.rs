//! `/v1/admin/reputation`: how good a name Sources, tenants and their domains have, the worst first.
//!
//! Takes nothing; gives scores with the counts they come from. A score is null while there is too little evidence.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::answer;
use super::super::problem::ApiError;
use super::super::query;
use super::super::state::ApiState;
use super::operator::Operator;
use crate::policy::reputation::{Counts, Subject, Tally};

/// Entries of one answer.
const LIST_MAX: usize = 1_000;

/// `GET /v1/admin/reputation`.
pub(super) async fn list(
    state: web::Data<ApiState>,
    _: Operator,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let limit = query::limit(&request, Some((100, LIST_MAX)))?;
    let mut all = state.reputation.all(state.clock.now());
    let rank = |tally: &Tally| tally.score().unwrap_or(2.0);
    all.sort_by(|(one, a), (other, b)| rank(a).total_cmp(&rank(b)).then_with(|| one.cmp(other)));
    let views: Vec<Value> = all
        .iter()
        .take(limit)
        .map(|(subject, tally)| view(subject, tally))
        .collect();
    answer::list(&views, all.len() > limit)
}

fn view(subject: &Subject, tally: &Tally) -> Value {
    let [hour, day] = tally.windows.each_ref().map(counts);
    json!({
        "kind": subject.kind(),
        "key": subject.key(),
        "score": tally.score(),
        "avoided": tally.avoided,
        "hour": hour,
        "day": day,
    })
}

/// Decayed counts, to a tenth: they are no whole numbers.
pub(super) fn counts(counts: &Counts) -> Value {
    let tenth = |count: f64| (count * 10.0).round() / 10.0;
    json!({
        "delivered": tenth(counts.delivered),
        "deferred": tenth(counts.deferred),
        "blocked": tenth(counts.blocked),
        "bounced": tenth(counts.bounced),
        "complained": tenth(counts.complained),
        "bounce_rate": counts.bounce_rate(),
        "complaint_rate": counts.complaint_rate(),
    })
}
