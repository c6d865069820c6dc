//! `posthaste nodes`: who shares the store, and who sends from which source.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use comfy_table::Table;
use serde_json::Value;

use super::{beside, output};

pub(super) fn run(config: Option<PathBuf>) -> Result<ExitCode> {
    let board = beside::call(config, "GET", "/nodes", None)?;
    let text = |value: &Value| value.as_str().unwrap_or("–").to_owned();
    let rows = |name: &str| board[name].as_array().cloned().unwrap_or_default();
    let mut nodes = Table::new();
    nodes.set_header(["node", "this one", "sources", "alive until"]);
    for node in rows("nodes") {
        let owned = rows("sources")
            .into_iter()
            .filter(|source| source["node"] == node["node"]);
        let owned: Vec<String> = owned.map(|source| text(&source["source"])).collect();
        let me = if node["node"] == board["me"] { "yes" } else { "" };
        nodes.add_row([
            text(&node["node"]),
            me.to_owned(),
            owned.join(", "),
            text(&node["until"]),
        ]);
    }
    output::say(&nodes.to_string());
    Ok(ExitCode::SUCCESS)
}
