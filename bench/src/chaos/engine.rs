//! What this program does when it is an engine: `posthaste serve`, with failpoints that its parent can set off.
//!
//! Takes a config file; on standard input, lines `NAME HITS`: at its HITS-th pass from then on, the failpoint kills the
//! process as `kill -9` does. Dies with its parent.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use clap::{Args, Parser};
use posthaste::cli::Cli;
use rustix::process::{Signal, getpid, kill_process, set_parent_process_death_signal};

use super::plan::{StoreKind, failpoints};
use crate::output;

/// Arguments of the hidden command `engine`.
#[derive(Debug, Clone, Args)]
pub(crate) struct EngineArguments {
    /// The engine's config file.
    #[arg(long)]
    config: PathBuf,
}

pub(crate) fn serve(arguments: EngineArguments) -> ExitCode {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        output::note(&format!("an engine may outlive its run: {error}"));
    }
    if let Err(error) = listen_for_faults() {
        output::note(&format!("failpoints cannot be set: {error}"));
        return ExitCode::FAILURE;
    }
    let words = [OsStr::new("posthaste"), OsStr::new("serve"), OsStr::new("--config")];
    posthaste::cli::run(Cli::parse_from(words.into_iter().chain([arguments.config.as_os_str()])))
}

/// Every failpoint counts down once it is told a number, and kills at zero.
fn listen_for_faults() -> Result<(), String> {
    let mut left: HashMap<&str, Arc<AtomicU32>> = HashMap::new();
    for name in [StoreKind::Embedded, StoreKind::Redis].into_iter().flat_map(failpoints) {
        let hits = Arc::clone(left.entry(name).or_default());
        // A name that comes again is set again, on the same counter.
        fail::cfg_callback(name, move || pass(&hits))?;
    }
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let told = line
                .split_once(' ')
                .and_then(|(name, hits)| Some((left.get(name)?, hits.parse().ok()?)));
            if let Some((hits, count)) = told {
                hits.store(count, Ordering::SeqCst);
            }
        }
    });
    Ok(())
}

fn pass(left: &AtomicU32) {
    let count_down = |count: u32| count.checked_sub(1);
    if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down) != Ok(1) {
        return;
    }
    // Nothing else may run on: what comes next must not happen.
    while kill_process(getpid(), Signal::KILL).is_ok() {
        std::thread::park();
    }
    std::process::abort();
}
