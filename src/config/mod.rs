//! What an operator may set: the file as written, and the settings as used.
//!
//! Takes YAML; gives [`Settings`], or what is wrong with which key on which line. `config.yaml` in the root is the manual:
//! a test holds it to be equal to the defaults. Unknown keys are errors. Never opens a socket or the store.

mod difference;
mod health;
mod pins;
mod raw;
mod rules;
mod settings;
mod store;
mod tenants;
mod time;
mod warmup;
mod words;

pub use difference::Difference;
pub use raw::Raw;
pub use rules::RuleFiles;
pub use settings::{ConfigError, DeclaredDomain, OperatorsRules, Origin, Settings};
pub use store::StoreSettings;
pub use words::LogFormat;

/// The manual, which is also the defaults.
pub const MANUAL: &str = include_str!("../../config.yaml");
