//! `posthaste serve`: the engine until a signal comes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::ServeArgs;
use super::{logging, output};
use crate::app;
use crate::config::{Settings, StoreSettings};

/// The file that is read when none is named and it is there.
const DEFAULT_FILE: &str = "config.yaml";

pub(super) fn run(config: Option<PathBuf>, args: ServeArgs) -> Result<ExitCode> {
    let (mut settings, from) = settings(config)?;
    if let StoreSettings::Redis { guard, .. } = &mut settings.store {
        guard.allow_volatile = args.allow_volatile_queue;
        guard.accept_new_store = args.accept_new_store;
    }
    logging::init(settings.log_format, &settings.log_level)?;
    actix::System::new().block_on(serve(settings, from))
}

/// Settings from the named file, else from `./config.yaml`, else the defaults; and where they are from.
pub(super) fn settings(config: Option<PathBuf>) -> Result<(Settings, String)> {
    let path = config.or_else(|| Path::new(DEFAULT_FILE).exists().then(|| PathBuf::from(DEFAULT_FILE)));
    match path {
        Some(path) => {
            let settings =
                Settings::load(&path, &variable).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            Ok((settings, path.display().to_string()))
        }
        None => Ok((Settings::from_yaml("", &variable)?, "defaults".to_owned())),
    }
}

/// An environment variable.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

async fn serve(settings: Settings, from: String) -> Result<ExitCode> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let data = settings.data.clone();
    let running = app::start(settings, &variable).await?;
    if let Some(key) = &running.first_key {
        output::say(&format!(
            "First start: made tenant \"default\". Its API key, shown this once:\n\n    {key}\n"
        ));
    }
    let metrics = running
        .metrics
        .map_or_else(|| "off".to_owned(), |address| format!("http://{address}/metrics"));
    tracing::info!(config = from, data = %data.display(), api = %format!("http://{}", running.api), metrics, "serving");
    either(&mut interrupt, &mut terminate).await;
    tracing::info!("stopping: no new mail; sessions past the final dot may finish");
    tokio::select! {
        clean = running.stop() => {
            tracing::info!(clean, "stopped");
            Ok(ExitCode::SUCCESS)
        }
        () = either(&mut interrupt, &mut terminate) => {
            tracing::warn!("stopped at once, as asked; what was under way is in the journal");
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
