//! The linter of `warmup.yaml`: whether each ladder is climbed by somebody, and gently.
//!
//! Takes the text of the file and the providers that there are; gives findings. What the loader refuses is a finding, and the
//! other ladders are looked at all the same.

use std::collections::BTreeSet;

use serde_saphyr::Spanned;

use super::{Ladder, RawLadder, climbable, read_raw};
use crate::domain::ProviderId;
use crate::policy::rules_lint::{Fault, Finding, RulesFile};

const FILE: RulesFile = RulesFile::Warmup;
/// A day's mail that is more than this many times the day's before is a burst to a receiver.
const GROWTH_GENTLE_MAX: u64 = 2;
/// So few are no burst, whatever was before.
const SMALL: u64 = 100;

/// Looks at the file.
#[must_use]
pub(in crate::policy) fn lint_ladders(yaml: &str, providers: &BTreeSet<ProviderId>) -> Vec<Finding> {
    let raw = match read_raw(yaml) {
        Ok(raw) => raw,
        Err(error) => return vec![Finding::of_error(FILE, &error)],
    };
    let (default, mut findings) = look("default", &raw.default);
    findings.extend(look("sites", &raw.sites).1);
    let mut named: Vec<_> = raw.providers.iter().collect();
    named.sort_by_key(|(id, ladder)| (ladder.defined.line(), *id));
    for (id, ladder) in named {
        let (climbed, found) = look(id, ladder);
        findings.extend(found);
        let is_default = climbed.is_some() && climbed == default;
        findings.extend(unclimbed(id, ladder.defined.line(), is_default, providers));
    }
    findings
}

/// A ladder, if it can be climbed, and what is wrong with it alone.
fn look(name: &str, ladder: &Spanned<RawLadder>) -> (Option<Ladder>, Vec<Finding>) {
    match climbable(name, ladder) {
        Ok(climbed) => {
            let found = steep(name, ladder.defined.line(), &climbed);
            (Some(climbed), found.into_iter().collect())
        }
        Err(error) => (None, vec![Finding::of_error(FILE, &error)]),
    }
}

fn finding(name: &str, line: u64, fault: Fault, problem: String) -> Finding {
    Finding {
        file: FILE,
        line,
        name: name.to_owned(),
        fault,
        problem,
    }
}

/// Where a ladder takes a step that receivers take for a burst.
fn steep(name: &str, line: u64, ladder: &Ladder) -> Option<Finding> {
    let is_burst = |pair: &&[u64]| pair[1] > (pair[0] * GROWTH_GENTLE_MAX).max(SMALL);
    let pair = ladder.0.windows(2).find(is_burst)?;
    let problem = format!("from {} to {} in a day is more than twice as much", pair[0], pair[1]);
    Some(finding(name, line, Fault::Steep, problem))
}

/// Why the ladder of a provider changes nothing.
fn unclimbed(id: &str, line: u64, is_default: bool, providers: &BTreeSet<ProviderId>) -> Option<Finding> {
    if id.starts_with("route:") {
        let problem = "a route to a smart host is never warmed up".to_owned();
        return Some(finding(id, line, Fault::Unreachable, problem));
    }
    if id.starts_with("site:") {
        return None;
    }
    if !providers.contains(&ProviderId::from(id)) {
        let problem = format!("there is no provider {id} in providers.yaml");
        return Some(finding(id, line, Fault::UnknownProvider, problem));
    }
    is_default.then(|| finding(id, line, Fault::Duplicate, "is the same ladder as default".to_owned()))
}
