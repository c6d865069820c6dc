//! `posthaste warmup`: how far the warm-ups of this node's sources are.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use comfy_table::Table;
use serde_json::Value;

use super::{beside, output};

pub(super) fn run(config: Option<PathBuf>, json: bool) -> Result<ExitCode> {
    let answer = beside::call(config, "GET", "/v1/admin/warmup", None)?;
    if json {
        output::say(&answer.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let rows = answer["data"].as_array().cloned().unwrap_or_default();
    if rows.is_empty() {
        output::say(
            "Nothing is warmed up: no source of this node has a birthday (sources[].born), or none has sent yet.",
        );
        return Ok(ExitCode::SUCCESS);
    }
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        other => other.to_string(),
    };
    let columns = [
        "source", "provider", "state", "day", "cap", "used", "next_cap", "more_at",
    ];
    let mut table = Table::new();
    table.set_header(columns.map(|column| column.replace('_', " ")));
    for row in &rows {
        table.add_row(columns.map(|column| text(&row[column])));
    }
    output::say(&table.to_string());
    Ok(ExitCode::SUCCESS)
}
