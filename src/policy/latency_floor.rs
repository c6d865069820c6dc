//! How many connections must be in use to keep a lane as fast as it has ever been: bandwidth times latency.
//!
//! Takes deliveries with their latency and the connections in use; gives the product of the best bandwidth and the least
//! time that a connection was in use for a message (its own latency, and its share of connecting). The mean of a
//! window counts with its statistical error on top, so that a few quick messages do not make the lane look faster than it
//! is. Old knowledge fades: bandwidth within minutes, the floor within hours. Never shrinks anything by itself.

use std::time::Duration;

use crate::domain::Timestamp;

/// Messages that a window needs.
const SAMPLES_LEAST: f64 = 8.0;
/// The shortest window.
const WINDOW_LEAST: Duration = Duration::from_secs(1);
/// Standard errors on top of a mean.
const ERRORS: f64 = 2.5;
/// The floor doubles in this time unless it is met again.
const FLOOR_FADES: f64 = 7.0 * 3600.0;
/// The best bandwidth halves in this time unless it is met again.
const BANDWIDTH_FADES: f64 = 300.0;

/// Bandwidth and latency of one lane.
#[derive(Debug, Clone, Copy, Default)]
pub struct LatencyFloor {
    window: Option<Window>,
    floor: Option<f64>,
    bandwidth: f64,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since: Timestamp,
    count: f64,
    sum: f64,
    squares: f64,
    busy: f64,
}

impl LatencyFloor {
    /// A message was delivered this long after it was given to a session.
    /// So many connections had a message in hand or were being opened.
    pub fn on_delivered(&mut self, latency: Duration, busy: u32, now: Timestamp) {
        let seconds = latency.as_secs_f64();
        let window = self.window.get_or_insert(Window {
            since: now,
            count: 0.0,
            sum: 0.0,
            squares: 0.0,
            busy: 0.0,
        });
        window.count += 1.0;
        window.sum += seconds;
        window.squares += seconds * seconds;
        window.busy += f64::from(busy);
        let length = now.since(window.since);
        let mean = window.sum / window.count;
        if window.count >= SAMPLES_LEAST && length >= WINDOW_LEAST && length.as_secs_f64() >= mean {
            let window = *window;
            self.window = None;
            self.close(window, length.as_secs_f64());
        }
    }

    /// Connections that must be in use for the best bandwidth at the lowest latency.
    #[must_use]
    pub fn in_flight_needed(&self) -> Option<f64> {
        self.floor.map(|floor| floor * self.bandwidth)
    }

    fn close(&mut self, window: Window, seconds: f64) {
        let mean = window.sum / window.count;
        let variance = (window.squares / window.count - mean * mean).max(0.0);
        let error = (variance / window.count).sqrt() / mean.max(1e-6);
        // Connection-seconds for each message (Little's law).
        let used = window.busy / window.count * seconds / window.count;
        let likely = used * (1.0 + ERRORS * error);
        let faded = self.floor.map(|floor| floor * (1.0 + seconds / FLOOR_FADES));
        self.floor = Some(faded.map_or(likely, |floor| floor.min(likely)));
        let faded = self.bandwidth * 0.5_f64.powf(seconds / BANDWIDTH_FADES);
        self.bandwidth = faded.max(window.count / seconds);
    }
}
