//! `posthaste serve`: the engine until a signal comes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::ServeArgs;
use super::{logging, output};
use crate::app;
use crate::config::{Settings, StoreSettings};
use crate::reload::{Read, Reloader};

/// The file that is read when none is named and it is there.
const DEFAULT_FILE: &str = "config.yaml";

pub(super) fn run(config: Option<PathBuf>, args: ServeArgs) -> Result<ExitCode> {
    let (mut settings, from) = settings(config.clone())?;
    if let StoreSettings::Redis { guard, .. } = &mut settings.store {
        guard.allow_volatile = args.allow_volatile_queue;
        guard.accept_new_store = args.accept_new_store;
    }
    logging::init(settings.log_format, &settings.log_level)?;
    let read = move || self::settings(config.clone()).map(|(settings, _)| settings);
    let read: Read = Arc::new(move || read().map_err(|error| format!("{error:#}")));
    actix::System::new().block_on(serve(settings, from, read))
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

async fn serve(settings: Settings, from: String, read: Read) -> Result<ExitCode> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let hangup = signal(SignalKind::hangup())?;
    let data = settings.data.clone();
    let running = app::start(settings, &variable).await?;
    running.reloader.reads(read);
    actix::spawn(reload_on(hangup, Arc::clone(&running.reloader)));
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

/// Each SIGHUP reads config and rules again. What is wrong with them is logged, and nothing is changed.
async fn reload_on(mut hangup: Signal, reloader: Arc<Reloader>) {
    while hangup.recv().await.is_some() {
        // The reloader has said it all.
        drop(reloader.reload().await);
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
