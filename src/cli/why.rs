//! `posthaste why <id>`: what became of a message, or why and until when it waits.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;

use super::{beside, output};

pub(super) fn run(config: Option<PathBuf>, id: &str, json: bool) -> Result<ExitCode> {
    let answer = beside::call(config, "GET", &format!("/why/{}", percent(id)), None)?;
    if json {
        output::say(&answer.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let text = |value: &Value| value.as_str().unwrap_or("–").to_owned();
    output::say(&format!(
        "{}  {}  \"{}\"",
        text(&answer["created_at"]),
        text(&answer["class"]),
        text(&answer["subject"])
    ));
    for delivery in answer["deliveries"].as_array().into_iter().flatten() {
        output::say(&line(delivery));
    }
    Ok(ExitCode::SUCCESS)
}

fn line(delivery: &Value) -> String {
    let text = |name: &str| delivery[name].as_str();
    let mut line = format!(
        "  {}: {}",
        text("recipient").unwrap_or("?"),
        text("state").unwrap_or("?")
    );
    if let Some(why) = text("why") {
        line += &format!(", because {why}");
    }
    if let (Some(provider), Some(source)) = (text("provider"), text("source")) {
        line += &format!(" at {provider} via {source}");
    }
    if let Some(ahead) = delivery["ahead"].as_u64().filter(|ahead| *ahead > 0) {
        line += &format!(", {ahead} before it");
    }
    if let Some(until) = text("until") {
        line += &format!(", until {until}");
    }
    if let Some(projected) = text("projected") {
        line += &format!(", probably goes at {projected}");
    } else if delivery["expires_first"] == true {
        line += ", its time runs out before that";
    }
    let reply = &delivery["last_reply"];
    if let Some(said) = reply["text"].as_str() {
        let code = reply["code"]
            .as_u64()
            .filter(|code| *code > 0)
            .map(|code| format!("{code} "))
            .unwrap_or_default();
        line += &format!(
            "\n    {} said: {code}{said}",
            reply["host"]
                .as_str()
                .filter(|host| !host.is_empty())
                .unwrap_or("nobody")
        );
    }
    line + &format!(
        "\n    attempts: {}, of these ambiguous: {}",
        delivery["attempts"], delivery["ambiguous"]
    )
}

/// Ids are hex and hyphens; anything else is spelt out, so that it cannot change the path.
fn percent(id: &str) -> String {
    id.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
