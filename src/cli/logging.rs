//! Log lines: text or JSON, on standard error.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Sets up logging for the process. Only commands call this; libraries and tests do not.
pub(super) fn init(format: LogFormat, level: &str) -> Result<()> {
    // The web server's own start lines say nothing that ours do not.
    let filter = EnvFilter::try_new(format!("actix_server=warn,{level}"))
        .with_context(|| format!("log.level: {level:?} is no filter"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Colours are for a terminal, not for a file.
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let done = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    done.map_err(|error| anyhow::anyhow!("logging: {error}"))
}
