//! `posthaste migrate`: a whole store into another one, with a bar and a balance.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use comfy_table::Table;
use indicatif::{ProgressBar, ProgressStyle};

use super::{output, serve};
use crate::app::secret_key;
use crate::clock::Clock;
use crate::migration::{Census, Movable, PAGE_ITEMS, Progress, Side, migrate};
use crate::store::{Embedded, EmbeddedSettings, Redis, RedisSettings, Seal};

/// How the embedded store is written.
const EMBEDDED: &str = "embedded:";

pub(super) fn run(config: Option<PathBuf>, from: &str, to: &str) -> Result<ExitCode> {
    if from == to {
        bail!("--from and --to are the same store");
    }
    let (settings, _) = serve::settings(config)?;
    let folders: Vec<&Path> = [from, to].into_iter().filter_map(folder).collect();
    // The embedded side knows the key; where there is none, the data directory of the config does.
    let seal = secret_key(folders.first().copied().unwrap_or(&settings.data), &serve::variable)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let census = runtime.block_on(async {
        let source = open(from, &seal, true).await.with_context(|| from.to_owned())?;
        let target = open(to, &seal, false).await.with_context(|| to.to_owned())?;
        let bar = ProgressBar::no_length();
        bar.set_style(ProgressStyle::with_template("{msg:10} {wide_bar} {pos}/{len}")?);
        let mut show = |progress| match progress {
            Progress::Counted(items) => {
                bar.set_length(items * 2);
                bar.set_message("moving");
            }
            Progress::Moved(items) => bar.inc(items),
            Progress::Checked(items) => {
                bar.set_message("checking");
                bar.inc(items);
            }
        };
        let (source, target) = (side(&*source, from), side(&*target, to));
        let census = migrate(source, target, PAGE_ITEMS, Clock::system().now(), &mut show).await;
        bar.finish_and_clear();
        anyhow::Ok(census?)
    })?;
    output::say(&table(&census));
    output::say(&format!(
        "All of it is in {to} now, and balances. {from} is marked as moved; no engine starts on it."
    ));
    Ok(ExitCode::SUCCESS)
}

fn side<'a>(store: &'a dyn Movable, name: &'a str) -> Side<'a> {
    Side { store, name }
}

/// The directory of an embedded store.
fn folder(store: &str) -> Option<&Path> {
    store.strip_prefix(EMBEDDED).map(Path::new)
}

async fn open(store: &str, seal: &Seal, is_source: bool) -> Result<Arc<dyn Movable>> {
    let Some(folder) = folder(store) else {
        let settings = RedisSettings {
            node: "migrate".to_owned(),
            ..RedisSettings::at(store)
        };
        return Ok(Arc::new(Redis::open(settings, seal.clone()).await?));
    };
    if is_source && !folder.join("posthaste.redb").exists() {
        bail!("there is no store in {}", folder.display());
    }
    let settings = EmbeddedSettings::in_directory(folder);
    Ok(Arc::new(Embedded::open(settings, seal.clone())?))
}

fn table(census: &Census) -> String {
    let mut table = Table::new();
    table.set_header(["tenant", "state", "deliveries"]);
    for ((tenant, state), count) in &census.deliveries {
        table.add_row([tenant.to_string(), state.to_string(), count.to_string()]);
    }
    let others = census.others.iter().map(|(name, count)| format!("{name}: {count}"));
    format!("{table}\n{}", others.collect::<Vec<_>>().join(", "))
}
