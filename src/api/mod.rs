//! The HTTP API: JSON in, Submissions on to the queue; records out, as JSON.
//!
//! One file per resource (`emails`, `batch`, `templates`, `domains`, `health`, and all of `admin`); what they share stands beside them: `reader`
//! (JSON → Submission), `prepare` (look-ups and admission), `problem` (every error), `caller` (keys and rates), `body` (bytes
//! under a budget), `idempotency`. `entries` takes mail that came by Redis instead of by call. Handlers know the seams (`queue`, `store`, `resolver`) and no actor.

pub mod admin;
pub mod entries;
pub mod problem;
pub mod reader;
pub mod server;
pub mod settings;

mod answer;
mod batch;
mod body;
mod cache;
mod caller;
mod domains;
mod emails;
mod explaining;
mod health;
mod idempotency;
mod json;
mod prepare;
mod query;
mod rate;
mod rendering;
mod state;
mod templates;

pub(crate) use explaining::for_operators;
pub use problem::ApiError;
pub use settings::{ApiSettings, Limits};
pub use state::{ApiParts, ApiState};
