//! `posthaste rules lint [DIR]`: rules that never match, or not as they look.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::cli::{output, serve};
use crate::config::RuleFiles;
use crate::policy::rules_lint::{Finding, Texts, lint};

pub(in crate::cli) fn run(config: Option<PathBuf>, folder: Option<PathBuf>, json: bool) -> Result<ExitCode> {
    let (files, routes) = match folder {
        Some(folder) => (RuleFiles::read(&folder)?, Vec::new()),
        None => {
            let (settings, _) = serve::settings(config)?;
            let named = settings.routes.iter().filter_map(|route| route.provider.clone());
            (settings.rules, named.collect())
        }
    };
    let texts = Texts {
        bounces: files.bounces(),
        providers: files.providers(),
        warmup: files.warmup(),
    };
    let findings = lint(texts, &routes);
    if json {
        let findings: Vec<_> = findings.iter().map(view).collect();
        output::say(&json!({"rules": name(&files), "findings": findings}).to_string());
    } else {
        findings.iter().for_each(|finding| output::say(&finding.to_string()));
        output::say(&format!("{}: {}", name(&files), counted(findings.len())));
    }
    Ok(match findings.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn view(finding: &Finding) -> serde_json::Value {
    json!({
        "file": finding.file.name(),
        "line": finding.line,
        "name": finding.name,
        "fault": finding.fault.name(),
        "problem": finding.problem,
    })
}

fn counted(findings: usize) -> String {
    match findings {
        0 => "nothing to mend".to_owned(),
        1 => "1 thing to mend".to_owned(),
        more => format!("{more} things to mend"),
    }
}

/// Where rules are from, for people.
pub(super) fn name(files: &RuleFiles) -> String {
    match files.folder() {
        Some(folder) => folder.display().to_string(),
        None => "the built-in rules".to_owned(),
    }
}
