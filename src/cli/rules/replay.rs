//! `posthaste rules replay FILE`: what other rules would have made of recorded replies.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::lint::name;
use super::recorded;
use crate::cli::{output, serve};
use crate::config::RuleFiles;
use crate::policy::classify::Meaning;
use crate::policy::classify::replay::{Change, Comparison, compare};

/// Which rules are compared.
#[derive(Debug)]
pub(in crate::cli) struct Replay {
    /// The replies.
    pub(in crate::cli) file: PathBuf,
    /// The new rules; those of the config when none are named.
    pub(in crate::cli) rules: Option<PathBuf>,
    /// The old rules; those that are built in when none are named.
    pub(in crate::cli) against: Option<PathBuf>,
    /// Print JSON.
    pub(in crate::cli) json: bool,
}

pub(in crate::cli) fn run(config: Option<PathBuf>, replay: &Replay) -> Result<ExitCode> {
    let read = |folder: &Option<PathBuf>| folder.as_deref().map(RuleFiles::read).transpose();
    let old = read(&replay.against)?.unwrap_or_default();
    let new = match read(&replay.rules)? {
        Some(files) => files,
        None => serve::settings(config)?.0.rules,
    };
    if old == new {
        bail!(
            "old and new are both {}: name a directory with --rules or --against",
            name(&old)
        );
    }
    let recorded = recorded::read(&replay.file)?;
    let found = compare(&old.classifier()?, &new.classifier()?, &recorded);
    if replay.json {
        output::say(&view(&found, &old, &new).to_string());
    } else {
        tell(&found, &replay.file, &old, &new);
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(found: &Comparison, file: &Path, old: &RuleFiles, new: &RuleFiles) {
    for change in &found.changes {
        output::say(&of_change(change));
    }
    output::say(&format!(
        "{}: {} replies, given {} times, by {} and by {}: {} times another meaning. Unknown: {} → {}.",
        file.display(),
        found.replies,
        found.count,
        name(old),
        name(new),
        found.changed(),
        found.unknown_before,
        found.unknown_now,
    ));
}

fn of_change(change: &Change) -> String {
    let reply = &change.example.reply;
    let enhanced = reply.enhanced.map(|code| format!(" {code}")).unwrap_or_default();
    format!(
        "{} times at {} ({} different), e.g. to {}: {}{enhanced} {}\n  was {} ({})\n  is  {} ({})",
        change.count,
        change.example.provider,
        change.replies,
        change.example.stage.name(),
        reply.code,
        reply.text,
        change.old,
        change.old.rule,
        change.new,
        change.new.rule,
    )
}

fn view(found: &Comparison, old: &RuleFiles, new: &RuleFiles) -> Value {
    let meaning = |meaning: &Meaning| {
        json!({
            "verdict": meaning.verdict,
            "class": meaning.class.name(),
            "blame": meaning.blame.name(),
            "action": meaning.action_name(),
            "after": meaning.after_name(),
            "rule": &*meaning.rule,
        })
    };
    let changes = found.changes.iter().map(|change| {
        json!({
            "provider": change.example.provider.as_str(),
            "stage": change.example.stage.name(),
            "code": change.example.reply.code,
            "enhanced": change.example.reply.enhanced.map(|code| code.to_string()),
            "text": change.example.reply.text,
            "replies": change.replies,
            "count": change.count,
            "old": meaning(&change.old),
            "new": meaning(&change.new),
        })
    });
    json!({
        "old_rules": name(old),
        "new_rules": name(new),
        "replies": found.replies,
        "count": found.count,
        "changed": found.changed(),
        "unknown_old": found.unknown_before,
        "unknown_new": found.unknown_now,
        "changes": changes.collect::<Vec<_>>(),
    })
}
