//! What the demo shows while it runs: one bar for what was accepted, one for each provider.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::world::{Provider, World};

const REDRAW_EVERY: Duration = Duration::from_millis(100);

/// The bars; redrawn by a task of their own until finished.
pub(super) struct Drawing {
    accepted: ProgressBar,
    redrawing: tokio::task::JoinHandle<()>,
    bars: Arc<Vec<ProgressBar>>,
    providers: Arc<Vec<Provider>>,
}

impl Drawing {
    pub(super) fn start(world: &World, messages: u64) -> Self {
        let all = MultiProgress::new();
        let style =
            |template: &str| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let accepted = all.add(ProgressBar::new(messages).with_prefix("accepted"));
        accepted.set_style(style("{prefix:>10} {bar:30} {pos:>6}/{len}  {per_sec}"));
        let share = messages.div_ceil(u64::try_from(world.providers.len()).unwrap_or(1));
        let bars = world.providers.iter().map(|provider| {
            let bar = all.add(ProgressBar::new(share).with_prefix(provider.name));
            bar.set_style(style("{prefix:>10} {bar:30} {pos:>6} received  {msg}"));
            bar
        });
        let bars: Arc<Vec<ProgressBar>> = Arc::new(bars.collect());
        let (drawn, providers) = (Arc::clone(&bars), Arc::clone(&world.providers));
        let redrawing = tokio::task::spawn_local(async move {
            loop {
                draw(&drawn, &providers);
                tokio::time::sleep(REDRAW_EVERY).await;
            }
        });
        Self {
            accepted,
            redrawing,
            bars,
            providers: Arc::clone(&world.providers),
        }
    }

    pub(super) fn accepted(&self, more: u64) {
        self.accepted.inc(more);
    }

    pub(super) fn finish(self) {
        self.redrawing.abort();
        draw(&self.bars, &self.providers);
        self.accepted.abandon();
        self.bars.iter().for_each(ProgressBar::abandon);
    }
}

fn draw(bars: &[ProgressBar], providers: &[Provider]) {
    for (bar, provider) in bars.iter().zip(providers) {
        let counters = provider.receiver.counters();
        bar.set_position(provider.receiver.ledger().total());
        bar.set_message(format!(
            "{} told to wait, {} refused, {} connections  ({})",
            counters.deferred_total(),
            counters.rejected_total(),
            provider.receiver.open_connections(),
            provider.habit,
        ));
    }
}
