//! `posthaste why --all`: how many wait for what.
//!
//! Takes the answer of `/v1/admin/why`; gives lines like `9,000 warm-up cap at google via 203.0.113.5 until 00:00 UTC`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;

use super::{beside, output};

pub(super) fn run(config: Option<PathBuf>, by: &str, json: bool) -> Result<ExitCode> {
    let answer = beside::call(config, "GET", &format!("/v1/admin/why?by={by}"), None)?;
    if json {
        output::say(&answer.to_string());
    } else {
        lines(&answer).iter().for_each(|line| output::say(line));
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(answer: &Value) -> Vec<String> {
    let waiting = answer["waiting"].as_u64().unwrap_or(0);
    if waiting == 0 {
        return vec!["Nothing waits.".to_owned()];
    }
    let now = answer["at"].as_str();
    let mut lines = vec![format!("{} wait:", grouped(waiting))];
    let rows = answer["data"].as_array();
    lines.extend(rows.into_iter().flatten().map(|row| format!("  {}", line(row, now))));
    if answer["more"] == true {
        lines.push("  and others".to_owned());
    }
    match (answer["without_reason"].as_u64(), answer["as_of"].as_str()) {
        (Some(0), Some(_)) => {}
        (Some(count), Some(at)) => lines.push(format!(
            "{} of them wait for nothing, as of {at}: this is a defect, the log names them.",
            grouped(count)
        )),
        _ => lines.push("The watchdog has not been round yet: who stands in line is not counted here.".to_owned()),
    }
    lines
}

fn line(row: &Value, now: Option<&str>) -> String {
    let text = |name: &str| row[name].as_str();
    let mut line = grouped(row["deliveries"].as_u64().unwrap_or(0));
    line += &match text("why") {
        Some("warmup_cap") => " warm-up cap".to_owned(),
        Some(why) => format!(" {}", why.replace('_', " ")),
        None => " for no reason".to_owned(),
    };
    if let Some(provider) = text("provider") {
        line += &format!(" at {provider}");
    }
    if let Some(source) = text("address").or(text("source")) {
        line += &format!(" via {source}");
    }
    if let Some(tenant) = row["tenant"].as_u64() {
        line += &format!(" of tenant {tenant}");
        line += &text("name").map(|name| format!(" ({name})")).unwrap_or_default();
    }
    if let Some(until) = text("until") {
        line += &format!(" until {}", short(until, now));
    }
    line
}

/// `12480` as `12,480`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A time of the next 24 hours as `00:00 UTC`, another one with its day.
fn short(time: &str, now: Option<&str>) -> String {
    let parse = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let Some(at) = parse(time) else {
        return time.to_owned();
    };
    let soon = now
        .and_then(parse)
        .is_some_and(|now| (at - now).get_seconds() < 24 * 3600);
    let format = if soon { "%H:%M UTC" } else { "%Y-%m-%d %H:%M UTC" };
    at.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_say_how_many_wait_for_what_and_until_when() {
        let answer = json!({
            "waiting": 12_480, "at": "2026-11-23T20:00:00.000Z", "as_of": "2026-11-23T19:59:00.000Z",
            "without_reason": 0, "more": false,
            "data": [
                {"deliveries": 9_000, "why": "warmup_cap", "provider": "google", "source": "a",
                 "address": "203.0.113.5", "until": "2026-11-24T00:00:00.000Z"},
                {"deliveries": 3_000, "why": "breaker_open", "provider": "yahoo", "source": "a", "address": null},
                {"deliveries": 480, "why": "not_due", "until": "2026-11-30T08:30:00.000Z"},
            ],
        });
        assert_eq!(
            lines(&answer),
            [
                "12,480 wait:",
                "  9,000 warm-up cap at google via 203.0.113.5 until 00:00 UTC",
                "  3,000 breaker open at yahoo via a",
                "  480 not due until 2026-11-30 08:30 UTC",
            ]
        );
    }

    #[test]
    fn what_is_wrong_or_not_known_is_said() {
        assert_eq!(lines(&json!({"waiting": 0})), ["Nothing waits."]);
        let answer = json!({
            "waiting": 2, "as_of": "2026-11-23T19:59:00.000Z", "without_reason": 1, "more": true,
            "data": [{"deliveries": 1, "why": null, "tenant": 7, "name": "Shop"}],
        });
        assert_eq!(
            lines(&answer),
            [
                "2 wait:",
                "  1 for no reason of tenant 7 (Shop)",
                "  and others",
                "1 of them wait for nothing, as of 2026-11-23T19:59:00.000Z: this is a defect, the log names them.",
            ]
        );
        let unknown = lines(&json!({"waiting": 1, "data": []}));
        assert!(
            unknown[1].starts_with("The watchdog has not been round yet"),
            "{unknown:?}"
        );
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, expect) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expect);
        }
    }
}
