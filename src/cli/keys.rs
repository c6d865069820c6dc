//! `posthaste keys`: API keys of a running engine.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use comfy_table::Table;
use serde_json::json;

use super::args::KeyAction;
use super::{beside, output};

pub(super) fn run(config: Option<PathBuf>, action: &KeyAction) -> Result<ExitCode> {
    match action {
        KeyAction::List => {
            let keys = beside::call(config, "GET", "/keys", None)?;
            let mut table = Table::new();
            table.set_header(["id", "name", "may", "last 4", "created", "revoked"]);
            for key in keys.as_array().into_iter().flatten() {
                let field = |name: &str| key[name].as_str().unwrap_or("–").to_owned();
                table.add_row([
                    field("id"),
                    field("name"),
                    field("scope"),
                    field("last4"),
                    field("created_at"),
                    field("revoked_at"),
                ]);
            }
            output::say(&table.to_string());
        }
        KeyAction::Create { name, admin } => {
            let made = beside::call(config, "POST", "/keys", Some(&json!({"name": name, "admin": admin})))?;
            output::say(made["key"].as_str().unwrap_or_default());
            output::note("Shown this once; only its hash is stored.");
        }
        KeyAction::Revoke { id } => {
            let revoked = beside::call(config, "DELETE", &format!("/keys/{id}"), None)?;
            output::say(&format!(
                "{} no longer works since {}.",
                id,
                revoked["revoked_at"].as_str().unwrap_or("now")
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}
