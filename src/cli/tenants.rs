//! `posthaste tenants`: how tenants are treated; pauses and resumes a stream of one.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use comfy_table::Table;
use serde_json::{Value, json};

use super::{beside, output};

/// What to do with a tenant.
#[derive(Debug, Clone, Subcommand)]
pub enum TenantAction {
    /// Stop a stream of a tenant: new mail of it is refused, what waits stays.
    Pause(TenantOrder),
    /// Let a stream of a tenant go on; its bounces and complaints are counted anew.
    Resume(TenantOrder),
}

/// Which stream, and why.
#[derive(Debug, Clone, clap::Args)]
pub struct TenantOrder {
    /// The tenant's id.
    tenant: u32,
    /// Which of its streams.
    #[arg(long, default_value = "broadcast")]
    stream: StreamWord,
    /// Why. It is kept, and shown to whoever asks.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StreamWord {
    Transactional,
    Broadcast,
}

pub(super) fn run(config: Option<PathBuf>, action: Option<&TenantAction>) -> Result<ExitCode> {
    let shown = match action {
        None => beside::call(config, "GET", "/v1/admin/tenants", None)?["data"].clone(),
        Some(TenantAction::Pause(order)) => json!([told(config, order, "pause")?]),
        Some(TenantAction::Resume(order)) => json!([told(config, order, "resume")?]),
    };
    output::say(&table(&shown).to_string());
    Ok(ExitCode::SUCCESS)
}

fn told(config: Option<PathBuf>, order: &TenantOrder, verb: &str) -> Result<Value> {
    let stream = match order.stream {
        StreamWord::Transactional => "transactional",
        StreamWord::Broadcast => "broadcast",
    };
    let body = json!({"stream": stream, "reason": order.reason});
    let path = format!("/v1/admin/tenants/{}/{verb}", order.tenant);
    beside::call(config, "POST", &path, Some(&body))
}

fn table(tenants: &Value) -> Table {
    let mut table = Table::new();
    table.set_header([
        "tenant",
        "policy",
        "stream",
        "grade",
        "bounces",
        "complaints",
        "since",
        "because",
    ]);
    let text = |value: &Value| value.as_str().unwrap_or("–").to_owned();
    let percent = |value: &Value| format!("{:.2} %", value.as_f64().unwrap_or_default() * 100.0);
    for tenant in tenants.as_array().into_iter().flatten() {
        for (name, stream) in tenant["streams"].as_object().into_iter().flatten() {
            table.add_row([
                format!("{} {}", tenant["id"], text(&tenant["name"])),
                text(&tenant["policy"]),
                name.clone(),
                text(&stream["grade"]),
                percent(&stream["day"]["bounce_rate"]),
                percent(&stream["day"]["complaint_rate"]),
                text(&stream["since"]),
                text(&stream["reason"]),
            ]);
        }
    }
    table
}
