//! One look at the whole file.
//!
//! Takes the text of `bounces.yaml`; gives findings. A rule that cannot be read is a finding and left out; the others are
//! looked at as if it were not there.

use std::collections::BTreeSet;

use super::super::classifier::{Classifier, check, read_raw};
use super::super::reply::check_pattern;
use super::super::rule::{CodePattern, EnhancedPattern, Permanence, Rule};
use super::{patterns, reach};
use crate::domain::{Blame, LaneAction, ProviderId};
use crate::policy::rules_lint::{Fault, Finding, RulesFile};

const FILE: RulesFile = RulesFile::Bounces;

/// Looks at the rules; `providers` are those that exist.
#[must_use]
pub fn lint_bounces(yaml: &str, providers: &BTreeSet<ProviderId>) -> Vec<Finding> {
    let raw = match read_raw(yaml) {
        Ok(raw) => raw,
        Err(error) => return vec![Finding::of_error(FILE, &error)],
    };
    let mut findings = Vec::new();
    let mut rules = Vec::with_capacity(raw.rules.len());
    for spanned in raw.rules {
        let line = spanned.defined.line();
        match Rule::new(spanned.value, line) {
            Ok(rule) => rules.push(rule),
            Err(error) => findings.push(Finding::of_error(FILE, &error)),
        }
    }
    rules.retain(|rule| {
        let problem = rule.text.as_deref().and_then(|text| check_pattern(text).err());
        if let Some(problem) = &problem {
            findings.push(finding(rule, Fault::Refused, format!("text: {problem}")));
        }
        problem.is_none()
    });
    for rule in &rules {
        findings.extend(alone(rule, providers));
    }
    findings.extend(
        patterns::look(&raw.never_suppress_text)
            .into_iter()
            .map(|(fault, problem)| Finding {
                file: FILE,
                line: 0,
                name: "never_suppress_text".to_owned(),
                fault,
                problem,
            }),
    );
    if let Err(error) = check(&rules) {
        findings.push(Finding::of_error(FILE, &error));
        return findings;
    }
    match Classifier::of_rules(rules, &raw.never_suppress_text) {
        Ok(classifier) => findings.extend(reach::look(&classifier)),
        Err(error) => findings.push(Finding::of_error(FILE, &error)),
    }
    findings
}

pub(super) fn finding(rule: &Rule, fault: Fault, problem: impl Into<String>) -> Finding {
    Finding {
        file: FILE,
        line: rule.line,
        name: rule.cause.rule.to_string(),
        fault,
        problem: problem.into(),
    }
}

/// What is wrong with one rule by itself.
fn alone(rule: &Rule, providers: &BTreeSet<ProviderId>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for provider in rule.providers.iter().filter(|provider| !providers.contains(*provider)) {
        let problem = format!("there is no provider {provider}, so it never applies to one");
        findings.push(finding(rule, Fault::UnknownProvider, problem));
    }
    if !rule.codes.is_empty() && !rule.enhanced.is_empty() {
        let agrees = |code: &CodePattern, enhanced: &EnhancedPattern| {
            enhanced
                .class
                .is_none_or(|class| (code.0 / 100..=code.1 / 100).contains(&u16::from(class)))
        };
        let any = |code| rule.enhanced.iter().any(|enhanced| agrees(code, enhanced));
        if !rule.codes.iter().any(any) {
            let problem = "code and enhanced code are of different classes: no server says both";
            findings.push(finding(rule, Fault::ClassesDiffer, problem));
        }
    }
    let nobody_acts = match rule.cause.blame {
        Blame::Recipient | Blame::Mailbox | Blame::Message | Blame::Url => rule.cause.action != LaneAction::None,
        Blame::TenantDomain | Blame::SourceIp | Blame::Netblock | Blame::Provider | Blame::Network | Blame::Us => false,
    };
    if nobody_acts {
        let problem = format!("nothing is slowed for blame {}: leave out the action", rule.cause.blame);
        findings.push(finding(rule, Fault::IdleAction, problem));
    }
    if rule.permanence == Permanence::Bounce && matches!(rule.cause.action, LaneAction::Slow | LaneAction::Reconnect) {
        let problem = "it bounces for ever what it calls a passing limit";
        findings.push(finding(rule, Fault::Contradiction, problem));
    }
    if let Some(text) = &rule.text {
        let looked = patterns::look(text).into_iter();
        findings.extend(looked.map(|(fault, problem)| finding(rule, fault, format!("text: {problem}"))));
    }
    findings
}
