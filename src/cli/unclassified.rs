//! `posthaste unclassified`: replies that no rule knows, so that a rule can be written for them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;

use super::{beside, output};

pub(super) fn run(config: Option<PathBuf>, json: bool) -> Result<ExitCode> {
    let answer = beside::call(config, "GET", "/v1/admin/unclassified", None)?;
    let replies = answer["data"].as_array().cloned().unwrap_or_default();
    if json {
        // One a line, as `posthaste rules replay` reads them.
        replies.iter().for_each(|reply| output::say(&reply.to_string()));
        return Ok(ExitCode::SUCCESS);
    }
    replies.iter().for_each(|reply| output::say(&line(reply)));
    let forgotten = answer["forgotten"].as_u64().unwrap_or(0);
    let more = match forgotten {
        0 => String::new(),
        forgotten => format!("; {forgotten} rare ones were forgotten"),
    };
    output::say(&format!("{} kinds of replies that no rule knows{more}", replies.len()));
    Ok(ExitCode::SUCCESS)
}

fn line(reply: &Value) -> String {
    let text = |name: &str| reply[name].as_str().unwrap_or("–");
    let enhanced = reply["enhanced"]
        .as_str()
        .map(|code| format!(" {code}"))
        .unwrap_or_default();
    format!(
        "{} times by {} to {}, last {}: {}{enhanced} {}\n  taken by {}",
        reply["count"],
        text("provider"),
        text("stage"),
        text("last_seen"),
        reply["code"],
        text("text"),
        text("rule"),
    )
}
