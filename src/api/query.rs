//! Query strings: few parameters, and unknown ones are refused, since a typo must not change what is listed.

use actix_web::HttpRequest;

use super::problem::ApiError;
use crate::domain::Problem;

/// Refuses any query.
pub(crate) fn none(request: &HttpRequest) -> Result<(), ApiError> {
    limit(request, None).map(|_| ())
}

/// `limit`, from 1 to the maximum; other parameters are refused. `bounds` are default and maximum, none refuses `limit` too.
pub(crate) fn limit(request: &HttpRequest, bounds: Option<(usize, usize)>) -> Result<usize, ApiError> {
    let (mut limit, max) = bounds.unwrap_or_default();
    let mut problems = Vec::new();
    for pair in request.query_string().split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("limit", value) if bounds.is_some() => match value.parse() {
                Ok(number) if (1..=max).contains(&number) => limit = number,
                _ => problems.push(Problem::new(
                    "/limit",
                    "out_of_range",
                    format!("The parameter 'limit' is a whole number from 1 to {max}."),
                )),
            },
            (_, _) => problems.push(Problem::new(
                "",
                "unknown_parameter",
                "There is no such query parameter.",
            )),
        }
    }
    if problems.is_empty() {
        Ok(limit)
    } else {
        problems.truncate(10);
        Err(ApiError::Invalid(problems))
    }
}

/// The parameter `name`, which is one of `choices`; the first of these when it is not there. Others are refused.
pub(crate) fn choice(request: &HttpRequest, name: &str, choices: &[&'static str]) -> Result<&'static str, ApiError> {
    let mut chosen = choices.first().copied().unwrap_or_default();
    for pair in request.query_string().split('&').filter(|pair| !pair.is_empty()) {
        let (given, value) = pair.split_once('=').unwrap_or((pair, ""));
        let known = choices.iter().find(|choice| given == name && **choice == value);
        chosen = known.copied().ok_or_else(|| {
            let detail = format!("The one query parameter here is '{name}': {}.", choices.join(", "));
            ApiError::Invalid(vec![Problem::new(format!("/{name}"), "unknown_parameter", detail)])
        })?;
    }
    Ok(chosen)
}
