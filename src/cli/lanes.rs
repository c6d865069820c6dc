//! `posthaste lanes`: how lanes stand, or what was decided for one of them and why.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;

use super::{beside, output};

/// Shows all lanes, or the decisions of one.
pub(super) fn run(config: Option<PathBuf>, lane: Option<(&str, &str)>, json: bool) -> Result<ExitCode> {
    let path = match lane {
        None => "/v1/admin/lanes".to_owned(),
        Some((source, provider)) => {
            format!("/v1/admin/lanes/{}/{}/decisions", percent(source), percent(provider))
        }
    };
    let answer = beside::call(config, "GET", &path, None)?;
    if json {
        output::say(&answer.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    match lane {
        None => {
            let lanes = answer["lanes"].as_array().map_or(&[][..], Vec::as_slice);
            output::say(&format!(
                "{:<16} {:<24} {:<12} {:>16} {:>9} {:>12} {:>8}",
                "source", "provider", "state", "connections", "ceiling", "messages/s", "waiting"
            ));
            for lane in lanes {
                output::say(&line(lane));
                trial(lane).iter().for_each(|would| output::say(would));
            }
            for held in answer["held_domains"].as_array().into_iter().flatten() {
                output::say(&format!(
                    "{} stands still at {} until {}",
                    text(&held["domain"]),
                    text(&held["provider"]),
                    text(&held["until"])
                ));
            }
        }
        Some(_) => {
            output::say(&line(&answer));
            trial(&answer).iter().for_each(|would| output::say(would));
            let decisions = answer["decisions"].as_array().into_iter().flatten();
            decisions.for_each(|decision| output::say(&decided(decision)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(lane: &Value) -> String {
    let connections = &lane["connections"];
    let used = format!("{} of {}", connections["up"], connections["limit"]);
    let state = match lane["until"].as_str() {
        Some(until) => format!("{} until {until}", text(&lane["state"])),
        None => text(&lane["state"]),
    };
    format!(
        "{:<16} {:<24} {:<12} {:>16} {:>9} {:>12} {:>8}",
        text(&lane["source"]),
        text(&lane["provider"]),
        state,
        used,
        number(&connections["ceiling"]),
        number(&lane["messages_per_second"]["limit"]),
        number(&lane["waiting"]),
    )
}

/// What pins on trial would change: a line for each.
fn trial(lane: &Value) -> Vec<String> {
    let pins = &lane["shadow_pins"];
    let would = |one: &Value| {
        format!(
            "  a pin on trial would have: {} {} -> {} ({} such changes so far)",
            text(&one["what"]),
            number(&one["from"]),
            number(&one["to"]),
            pins["count"],
        )
    };
    pins["would_have"].as_array().into_iter().flatten().map(would).collect()
}

fn decided(decision: &Value) -> String {
    if decision["signal"] == "would_have" {
        return format!(
            "  {}  a pin on trial would have: {} {} -> {}",
            text(&decision["at"]),
            text(&decision["what"]),
            number(&decision["from"]),
            number(&decision["to"]),
        );
    }
    let mut line = format!(
        "  {}  {} from {}: {} -> {}",
        text(&decision["at"]),
        text(&decision["what"]),
        text(&decision["signal"]),
        number(&decision["from"]),
        number(&decision["to"]),
    );
    let reply = &decision["reply"];
    if let Some(said) = reply["text"].as_str() {
        let code = reply["code"]
            .as_u64()
            .map_or_else(String::new, |code| format!("{code} "));
        line += &format!("\n    {code}{said}\n    rule {}", text(&reply["rule"]));
    }
    line
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("–").to_owned()
}

/// Three digits behind the point are enough; what is not known is a dash.
fn number(value: &Value) -> String {
    match (value.as_u64(), value.as_f64()) {
        (Some(whole), _) => whole.to_string(),
        (None, Some(value)) => format!("{value:.3}"),
        (None, None) => "–".to_owned(),
    }
}

/// Names are spelt out where they could change the path.
fn percent(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_decision_tells_when_what_from_which_reply_and_by_which_rule() {
        let decision = json!({
            "at": "2026-01-01T00:00:00.000Z", "what": "stop", "signal": "blocked", "from": 0.0, "to": 600.0,
            "reply": {"code": 421, "text": "4.7.28 unusual rate", "rule": "google-ip-rate"},
        });
        let line = decided(&decision);
        for part in ["2026-01-01", "stop from blocked", "600", "421 4.7.28", "google-ip-rate"] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        let would = json!({
            "at": "2026-01-01T00:00:00.000Z", "what": "connections", "signal": "would_have", "from": 12.0, "to": 5.0,
        });
        assert!(decided(&would).contains("a pin on trial would have: connections 12.000 -> 5.000"));
        let lane = json!({"shadow_pins": {"count": 3, "would_have": [{"what": "rate", "from": null, "to": 5.0}]}});
        assert_eq!(
            trial(&lane),
            ["  a pin on trial would have: rate – -> 5.000 (3 such changes so far)"]
        );
        assert_eq!(number(&Value::Null), "–");
        assert_eq!(percent("site:a/b"), "site%3Aa%2Fb");
    }
}
