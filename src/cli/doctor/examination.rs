//! One examination: everything that is looked at, in order, and the exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::super::{output, serve};
use super::report::{Line, Mark, Report};
use super::{machine, names};

pub(in crate::cli) fn run(config: Option<PathBuf>, json: bool) -> Result<ExitCode> {
    let report = match serve::settings(config) {
        Err(error) => Report {
            lines: vec![
                Line::new("config", "file", Mark::Bad, format!("{error:#}"))
                    .remedy("Put it right; `posthaste check-config` says when it is."),
            ],
        },
        Ok((settings, from)) => {
            let mut lines = vec![Line::new("config", "file", Mark::Good, from)];
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let engine = machine::engine(&settings).await;
                lines.extend(machine::look(&settings, &engine).await);
                lines.extend(names::look(&settings, &engine).await);
            });
            Report { lines }
        }
    };
    match json {
        true => output::say(&report.json().to_string()),
        false => report.text().iter().for_each(|line| output::say(line)),
    }
    Ok(match report.is_good() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
