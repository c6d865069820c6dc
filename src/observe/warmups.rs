//! How far the warm-ups of this engine are: kept for the API, and as metrics.
//!
//! Takes the views that the warmer gives every few seconds; the last ones replace those before.

use std::sync::PoisonError;

use super::names;
use super::observer::{Observer, number};
use crate::policy::warmup::WarmupView;

/// Lanes that have series; the others are in the API only.
const LANES_SHOWN_MAX: usize = 1_000;

impl Observer {
    /// The warm-ups are this far. Lanes to providers that are known by their mail hosts only have no series.
    pub fn warmups(&self, views: Vec<WarmupView>) {
        let named = views
            .iter()
            .filter(|view| !view.lane.provider.as_str().starts_with("site:"));
        for view in named.take(LANES_SHOWN_MAX) {
            let labels = [
                ("source", view.lane.source.as_str()),
                ("provider", view.lane.provider.as_str()),
            ];
            let (cap, used) = view.window.map_or((0, 0), |window| (window.cap, window.used));
            let day = f64::from(view.progress.days_sent) + 1.0;
            self.registry.gauge(names::WARMUP_DAY, &labels).set(day);
            self.registry.gauge(names::WARMUP_CAP, &labels).set(number(cap));
            self.registry.gauge(names::WARMUP_USED, &labels).set(number(used));
        }
        *self.warmups.lock().unwrap_or_else(PoisonError::into_inner) = views;
    }

    /// The warm-ups as they were a few seconds ago, by lane.
    #[must_use]
    pub fn known_warmups(&self) -> Vec<WarmupView> {
        self.warmups.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Lane, ProviderId, SourceId, Timestamp};
    use crate::policy::warmup::Warmup;
    use crate::policy::warmup_ladder::Ladder;

    #[test]
    fn warm_ups_are_shown_as_they_were_told_of_last() {
        let now = Timestamp(20_000 * 86_400_000);
        let view = |provider: &str, used: u64| {
            let ladder = Ladder::of(&[24, 31]).expect("grows");
            let mut warmup = Warmup::begin(ladder, 20_000, now);
            WarmupView {
                lane: Lane {
                    source: SourceId::from("new"),
                    provider: ProviderId::from(provider),
                },
                window: warmup.window(Some((20_000, used)), now),
                progress: warmup.progress(),
                next_cap: warmup.next_cap(),
            }
        };
        let observer = Observer::new();
        observer.warmups(vec![view("google", 3), view("site:a.example", 1)]);
        observer.warmups(vec![view("google", 7), view("site:a.example", 1)]);
        let text = observer.render();
        let line = |name: &str, value: &str| {
            let series = format!("{name}{{source=\"new\",provider=\"google\"}} {value}");
            assert!(text.lines().any(|line| line == series), "{series} is not in\n{text}");
        };
        line("posthaste_warmup_cap", "24");
        line("posthaste_warmup_used", "7");
        line("posthaste_warmup_day", "1");
        assert!(!text.contains("site:a.example"), "sites would be without number");
        assert_eq!(observer.known_warmups().len(), 2);
    }
}
