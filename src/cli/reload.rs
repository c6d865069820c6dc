//! `posthaste reload`: the running engine reads its config and rules again.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;

use super::{beside, output};

pub(super) fn run(config: Option<PathBuf>) -> Result<ExitCode> {
    // A file that is wrong is refused here already, with the words that the engine would use.
    let answer = beside::call(config, "POST", "/reload", None)?;
    let keys = |name: &str| {
        let keys = answer[name].as_array().into_iter().flatten();
        keys.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    match keys("taken").as_str() {
        "" => output::say("nothing new"),
        taken => output::say(&format!("in use now: {taken}")),
    }
    match keys("needs_restart").as_str() {
        "" => {}
        keys => output::say(&format!("needs a restart: {keys}")),
    }
    Ok(ExitCode::SUCCESS)
}
