//! Config and rules, read again while the engine runs.
//!
//! Takes what a file says now; gives what was taken over and what needs a restart, or what is wrong. Everything is read and
//! checked before anything is changed, so that a bad file changes nothing. What is taken over counts at once and as one: the
//! rules that judge replies, providers and routes, ladders of warm-ups, limits and pauses of lanes, waits. Lanes keep what they
//! have learnt and the sessions that are up; mail in hand goes on with what it began with. Never reads the store, never opens
//! a listener.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use thiserror::Error;

use crate::actors::engine::Engine;
use crate::actors::in_use::{Figures, RulesInUse};
use crate::actors::isp::IspMessage;
use crate::actors::isps::Isps;
use crate::actors::lane_book::LaneBook;
use crate::actors::tools::Tools;
use crate::actors::warmups::Warmups;
use crate::clock::Clock;
use crate::config::{Difference, Raw, RuleFiles, Settings};
use crate::current::Current;
use crate::observe::{Observer, Reputation};
use crate::resolver::Destinations;

/// How settings are read again: the file that the engine was started with.
pub type Read = Arc<dyn Fn() -> Result<Settings, String> + Send + Sync>;

/// Why nothing was changed.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// What is there now cannot be used; the text names file, key and line.
    #[error("nothing is changed: {0}")]
    Wrong(String),
    /// There is nothing to read again.
    #[error("nothing is changed: this engine was not started from a config file")]
    NoFile,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys whose new values count now.
    pub taken: Vec<&'static str>,
    /// Keys that differ from what the engine was started with, and count from its next start on.
    pub needs_restart: Vec<&'static str>,
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.taken.as_slice() {
            [] => f.write_str("nothing new")?,
            taken => write!(f, "in use now: {}", taken.join(", "))?,
        }
        match self.needs_restart.as_slice() {
            [] => Ok(()),
            keys => write!(f, "; needs a restart: {}", keys.join(", ")),
        }
    }
}

/// Takes over what can be taken over. One for each engine.
pub struct Reloader {
    rules: Arc<RulesInUse>,
    figures: Arc<Current<Figures>>,
    destinations: Arc<Destinations>,
    lanes: Arc<LaneBook>,
    reputation: Arc<Reputation>,
    warmups: Arc<Warmups>,
    isps: Isps,
    observer: Arc<Observer>,
    clock: Clock,
    read: OnceLock<Read>,
    used: Mutex<Used>,
}

/// What the file said.
struct Used {
    at_start: Arc<Raw>,
    now: Arc<Raw>,
    rules: RuleFiles,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

impl Reloader {
    /// For an engine that runs with these settings.
    #[must_use]
    pub fn new(settings: &Settings, tools: &Tools, engine: &Engine) -> Self {
        Self {
            rules: Arc::clone(&tools.classifier),
            figures: Arc::clone(&tools.figures),
            destinations: Arc::clone(&tools.destinations),
            lanes: Arc::clone(&tools.lanes),
            reputation: Arc::clone(&tools.reputation),
            warmups: Arc::clone(&tools.warmups),
            isps: engine.isps(),
            observer: Arc::clone(&tools.surroundings.observer),
            clock: tools.surroundings.clock.clone(),
            read: OnceLock::new(),
            used: Mutex::new(Used {
                at_start: Arc::clone(&settings.origin.0),
                now: Arc::clone(&settings.origin.0),
                rules: settings.rules.clone(),
            }),
        }
    }

    /// From now on, this is how settings are read again. Only the first word counts.
    pub fn reads(&self, read: Read) {
        let _ = self.read.set(read);
    }

    /// Reads again and takes over. Bad settings change nothing.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let read = self.read.get().cloned().ok_or(ReloadError::NoFile)?;
        // Rules are compiled while they are read: nobody else should wait for that.
        let read = tokio::task::spawn_blocking(move || read()).await;
        match read.map_err(|error| error.to_string()).and_then(|settings| settings) {
            Ok(settings) => Ok(self.apply(&settings).await),
            Err(problem) => {
                self.observer.reloaded(false);
                tracing::error!("config and rules were read again and are refused: {problem}");
                Err(ReloadError::Wrong(problem))
            }
        }
    }

    /// Takes over what can be taken over of good settings.
    pub async fn apply(&self, settings: &Settings) -> Reloaded {
        let reloaded = self.replace(settings);
        self.observer.reloaded(true);
        for isp in self.isps.all() {
            // One that does not hear of it has ended, or begins anew and asks.
            let _ = isp.send(IspMessage::Limits(None)).await;
        }
        tracing::info!("config and rules were read again: {reloaded}");
        for finding in settings.odd_pins() {
            tracing::warn!("config: {finding}");
        }
        reloaded
    }

    /// All of it under one lock, so that two reloads do not mix.
    fn replace(&self, settings: &Settings) -> Reloaded {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let new = &settings.origin.0;
        let mut taken = Difference::between(&used.now, new).at_once;
        if used.rules != settings.rules && !taken.contains(&"rules") {
            taken.push("rules");
        }
        let needs_restart = Difference::between(&used.at_start, new).with_restart;
        self.rules.replace(settings.classifier());
        self.destinations
            .replace(&settings.routes, Arc::new(settings.providers.clone()));
        self.lanes.set_pins(settings.pins.clone());
        self.reputation.configure(settings.tenants.clone());
        self.warmups.climb(settings.engine.warmup.ladders.clone());
        self.figures.replace(Arc::new(Figures::of(&settings.engine)));
        let longest = settings.engine.gate.stop_longest;
        self.lanes.domains.set_longest(longest, self.clock.now());
        used.now = Arc::clone(new);
        used.rules = settings.rules.clone();
        Reloaded { taken, needs_restart }
    }
}
