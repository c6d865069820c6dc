//! `posthaste check-config`: reads the file as `serve` would, says what is odd about it, and starts nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::{output, serve};

pub(super) fn run(config: Option<PathBuf>) -> Result<ExitCode> {
    let (settings, from) = serve::settings(config)?;
    output::say(&format!(
        "{from}: good. Data in {}, queue in {}, API on {}, {} source(s), {} route(s), {} declared domain(s).",
        settings.data.display(),
        settings.store.name(),
        settings.api_listen,
        settings.sources.len(),
        settings.routes.len(),
        settings.domains.len(),
    ));
    let odd = settings.odd_pins();
    odd.iter().for_each(|finding| output::say(&format!("note: {finding}")));
    Ok(ExitCode::SUCCESS)
}
