//! The seam that tells people what happens: metrics, and the log lines that go with them.
//!
//! Takes happenings, one method each; gives Prometheus text. Every metric's name, kind, labels and help stand in
//! `names.rs`. Never decides anything, never puts an address or a subject into a label or an info line, and never lets the
//! number of label values grow with what strangers send: providers without a name of their own are `other`.

mod judged;
mod lanes;
mod names;
mod observer;
mod registry;
pub mod reputation;
pub mod reputation_notes;
mod shadows;
mod standings;
mod unclassified;
mod warmups;

pub use lanes::LaneView;
pub use names::{METRICS, Metric, MetricKind};
pub use observer::{LastRound, Observer};
pub use reputation::Reputation;
pub use shadows::{Shadows, WouldHave};
pub use standings::LaneStandings;
pub use unclassified::{SHAPES_MAX, Unclassified, UnknownReply};
