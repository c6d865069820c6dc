//! What an operator takes upon himself, and why a Redis was refused.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::policy::redis_safety::Risk;
use crate::store::redis::{RedisOpenError, RedisSettings};

/// What an operator takes upon himself. By default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuardSettings {
    /// Settings that the server does not show are good: `store.trust_server_settings`.
    pub trust_server_settings: bool,
    /// Start although accepted mail can be lost: `serve --allow-volatile-queue`.
    pub allow_volatile: bool,
    /// The store may be another one than before, or a new one: `serve --accept-new-store`.
    pub accept_new_store: bool,
}

/// Why a Redis was refused.
#[derive(Debug, Error)]
pub enum GuardError {
    /// Its settings.
    #[error("this Redis must not hold the queue:{}", lines(.risks, *.can_be_allowed))]
    Unsafe {
        /// All of them.
        risks: Vec<Risk>,
        /// Whether `--allow-volatile-queue` would help.
        can_be_allowed: bool,
    },
    /// It does not show its settings.
    #[error(
        "this Redis does not show all settings (CONFIG and INFO are forbidden to this user, or renamed):{}\n\
         Check them with whoever runs it, then set store.trust_server_settings: true",
        lines(.0, false)
    )]
    Hidden(Vec<Risk>),
    /// Not the store that this data directory belongs to.
    #[error(
        "Redis holds {found}, but {path} says that this engine worked on store {remembered}. Is this the right server, \
         database and prefix, and was it not flushed? If this is meant, start once with --accept-new-store; mail of the \
         former store is then not delivered from here"
    )]
    OtherStore {
        /// What is there.
        found: String,
        /// The file.
        path: PathBuf,
        /// What it says.
        remembered: String,
    },
    /// The file with the remembered epoch.
    #[error("{path}: {error}")]
    EpochFile {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It does not answer, or not as it should.
    #[error("Redis cannot be used: {0}")]
    Unavailable(String),
    /// The store in it.
    #[error(transparent)]
    Open(#[from] RedisOpenError),
}

fn lines(risks: &[Risk], can_be_allowed: bool) -> String {
    let mut text = String::new();
    for risk in risks {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  - {risk}");
    }
    if can_be_allowed {
        text += "\nOr start with --allow-volatile-queue, and accept that accepted mail can be lost.";
    }
    text
}

impl RedisSettings {
    /// Whether these settings can be used at all, without connecting.
    ///
    /// # Errors
    /// With what is wrong. Does not repeat urls: they may hold passwords.
    pub fn check(&self) -> Result<(), RedisOpenError> {
        self.connections().map(|_| ())
    }
}
