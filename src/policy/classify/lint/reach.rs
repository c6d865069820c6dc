//! Which rules can be heard among the others.
//!
//! Takes a [`Classifier`]; gives findings. Every rule is asked with replies made up from itself: its codes, its stages, the
//! texts of its pattern. A rule that wins one of them is reachable. Rules with the same texts are held against each other:
//! two that overlap, with different consequences and neither a special case of the other, contradict. A rule without a text
//! that takes "refused by policy" or a bare code away from rules with texts swallows them.

use std::collections::BTreeSet;

use regex::bytes::Regex;

use super::super::classifier::Classifier;
use super::super::reply::Question;
use super::super::rule::{CodePattern, EnhancedPattern, Rule};
use super::examples::{examples, regex};
use super::look::finding;
use crate::domain::{EnhancedCode, ProviderId, Stage};
use crate::policy::rules_lint::{Fault, Finding};

/// Replies that a rule is asked with before it is called unreachable.
const QUESTIONS_MAX: usize = 4_000;
/// Stages for a rule that asks for none.
const STAGES: [Stage; 4] = [Stage::RcptTo, Stage::Dot, Stage::MailFrom, Stage::Banner];
/// Codes for a rule that asks for none, and those that say so little that a rule for them takes everything.
const COMMON_CODES: [u16; 10] = [550, 450, 421, 554, 451, 452, 551, 552, 553, 500];

/// A rule with what is made up from it.
struct Sample<'a> {
    rule: &'a Rule,
    regex: Option<Regex>,
    texts: Vec<Vec<u8>>,
}

/// All findings that are about rules among each other.
pub(super) fn look(classifier: &Classifier) -> Vec<Finding> {
    let samples: Vec<Sample<'_>> = classifier
        .rules
        .iter()
        .map(|rule| Sample {
            rule,
            regex: rule.text.as_deref().and_then(regex),
            texts: match &rule.text {
                Some(text) => examples(text),
                None => vec![b"no".to_vec(), Vec::new()],
            },
        })
        .collect();
    let mut findings = Vec::new();
    let mut told = BTreeSet::new();
    for (index, sample) in samples.iter().enumerate() {
        if let Some(winners) = never_heard(classifier, index, sample) {
            told.insert(index);
            findings.push(unheard(&samples, index, &winners));
        }
    }
    let mut pairs = BTreeSet::new();
    let mut swallowing = BTreeSet::new();
    for shelf in classifier.shelves() {
        for (place, &earlier) in shelf.iter().enumerate() {
            for &later in &shelf[place + 1..] {
                if told.contains(&later) || !pairs.insert((earlier, later)) {
                    continue;
                }
                let found = between(&samples[earlier], &samples[later]);
                // One rule that is swallowed says enough.
                findings.extend(found.filter(|one| one.fault != Fault::Swallows || swallowing.insert(earlier)));
            }
        }
    }
    findings
}

/// Who wins instead, if none of the replies made up from a rule is judged by it. None also when no text could be made up.
fn never_heard(classifier: &Classifier, index: usize, sample: &Sample<'_>) -> Option<BTreeSet<usize>> {
    let mut winners = BTreeSet::new();
    let mut asked = 0;
    let providers: Vec<Option<&ProviderId>> = match sample.rule.providers.is_empty() {
        true => vec![None],
        false => sample.rule.providers.iter().map(Some).collect(),
    };
    for text in &sample.texts {
        for (code, enhanced, stage) in heads(sample.rule) {
            for provider in &providers {
                let question = Question {
                    code,
                    enhanced,
                    stage,
                    text: text.as_slice().into(),
                };
                let found = classifier.find(*provider, &question);
                if found.rule == Some(index) || found.shadow == Some(index) {
                    return None;
                }
                winners.extend(found.rule);
                asked += 1;
            }
            if asked >= QUESTIONS_MAX {
                return Some(winners);
            }
        }
    }
    (asked > 0).then_some(winners)
}

/// Codes, enhanced codes and stages that a rule asks for; in pairs that a server would say, where it names any.
fn heads(rule: &Rule) -> Vec<(u16, Option<EnhancedCode>, Stage)> {
    let codes: Vec<u16> = match rule.codes.is_empty() {
        true => COMMON_CODES.to_vec(),
        false => rule.codes.iter().flat_map(ends).collect(),
    };
    let stages = match rule.stages.is_empty() {
        true => STAGES.to_vec(),
        false => rule.stages.clone(),
    };
    let mut heads = Vec::new();
    for code in codes {
        for stage in &stages {
            if rule.enhanced.is_empty() {
                heads.push((code, None, *stage));
            }
            for pattern in &rule.enhanced {
                heads.push((code, Some(member(pattern, code)), *stage));
            }
        }
    }
    // What a server would not say proves nothing, unless the rule asks for nothing else.
    let agrees =
        |head: &(u16, Option<EnhancedCode>, Stage)| head.1.is_none_or(|code| u16::from(code.0) == head.0 / 100);
    if heads.iter().any(agrees) {
        heads.retain(agrees);
    }
    heads
}

fn ends(pattern: &CodePattern) -> Vec<u16> {
    // Codes that are in use come before the ends of the range.
    let common = COMMON_CODES
        .into_iter()
        .filter(|code| (pattern.0..=pattern.1).contains(code));
    common.chain([pattern.0, pattern.1]).collect()
}

fn member(pattern: &EnhancedPattern, code: u16) -> EnhancedCode {
    let class = pattern.class.unwrap_or(if code < 500 { 4 } else { 5 });
    EnhancedCode(class, pattern.subject, pattern.detail.0)
}

/// The finding for a rule that none of its examples reaches.
fn unheard(samples: &[Sample<'_>], index: usize, winners: &BTreeSet<usize>) -> Finding {
    let sample = &samples[index];
    let twin = winners.iter().find(|winner| same_texts(&samples[**winner], sample));
    let names: Vec<String> = winners
        .iter()
        .take(5)
        .map(|winner| {
            format!(
                "{} (line {})",
                samples[*winner].rule.cause.rule, samples[*winner].rule.line
            )
        })
        .collect();
    let by = names.join(", ");
    match twin {
        Some(twin) if same_consequence(samples[*twin].rule, sample.rule) => finding(
            sample.rule,
            Fault::Duplicate,
            format!("the same as {by}, which comes first"),
        ),
        Some(_) => {
            let problem = format!("the same replies as {by}, which comes first and says otherwise");
            finding(sample.rule, Fault::Contradiction, problem)
        }
        None => finding(
            sample.rule,
            Fault::Unreachable,
            format!("it never matches: what it asks for is taken by {by}"),
        ),
    }
}

/// What is wrong between two rules that are asked in this order.
fn between(earlier: &Sample<'_>, later: &Sample<'_>) -> Option<Finding> {
    let (first, second) = (earlier.rule, later.rule);
    if first.shadow || second.shadow || !overlap(first, second) {
        return None;
    }
    if first.text.is_some() && same_texts(earlier, later) {
        let special = covers(second, first);
        if special || same_consequence(first, second) {
            return None;
        }
        let problem = format!(
            "the same text as {} (line {}), at replies that fit both, with another consequence",
            first.cause.rule, first.line
        );
        return Some(finding(second, Fault::Contradiction, problem));
    }
    if first.text.is_none() && second.text.is_some() && says_little(first) {
        let problem = format!(
            "it asks for no text and takes replies away from {} (line {}): put it behind",
            second.cause.rule, second.line
        );
        return Some(finding(first, Fault::Swallows, problem));
    }
    None
}

/// Whether a rule without a text takes whatever has a common code, or is "refused by policy".
fn says_little(rule: &Rule) -> bool {
    if rule.fallback || !rule.stages.is_empty() {
        return false;
    }
    if rule.enhanced.is_empty() {
        return rule.codes.is_empty() || COMMON_CODES.iter().any(|code| rule.fits_code(*code));
    }
    let of_policy = |pattern: &EnhancedPattern| pattern.subject == 7 && pattern.detail.0 <= 1;
    rule.enhanced.iter().any(of_policy)
}

/// Whether each matches all texts of the other.
fn same_texts(left: &Sample<'_>, right: &Sample<'_>) -> bool {
    let all = |texts: &[Vec<u8>], regex: &Option<Regex>| match regex {
        Some(regex) => !texts.is_empty() && texts.iter().all(|text| regex.is_match(text)),
        None => false,
    };
    match (&left.regex, &right.regex) {
        (None, None) => left.rule.text.is_none() && right.rule.text.is_none(),
        _ => all(&left.texts, &right.regex) && all(&right.texts, &left.regex),
    }
}

fn same_consequence(left: &Rule, right: &Rule) -> bool {
    let of = |rule: &Rule| {
        (
            rule.cause.class,
            rule.cause.blame,
            rule.cause.action,
            rule.permanence,
            rule.suppress,
            rule.after,
        )
    };
    of(left) == of(right)
}

/// Whether some reply fits both, but for its text.
fn overlap(left: &Rule, right: &Rule) -> bool {
    let any = |empty: bool, found: bool| empty || found;
    any(
        left.codes.is_empty() || right.codes.is_empty(),
        left.codes
            .iter()
            .any(|one| right.codes.iter().any(|other| one.0 <= other.1 && other.0 <= one.1)),
    ) && any(
        left.enhanced.is_empty() || right.enhanced.is_empty(),
        left.enhanced
            .iter()
            .any(|one| right.enhanced.iter().any(|other| enhanced_overlap(one, other))),
    ) && any(
        left.stages.is_empty() || right.stages.is_empty(),
        left.stages.iter().any(|stage| right.stages.contains(stage)),
    )
}

fn enhanced_overlap(one: &EnhancedPattern, other: &EnhancedPattern) -> bool {
    one.subject == other.subject
        && one.detail.0 <= other.detail.1
        && other.detail.0 <= one.detail.1
        && (one.class.is_none() || other.class.is_none() || one.class == other.class)
}

/// Whether every reply that fits `inner` fits `outer`, but for its text.
fn covers(outer: &Rule, inner: &Rule) -> bool {
    let codes = outer.codes.is_empty()
        || !inner.codes.is_empty()
            && inner
                .codes
                .iter()
                .all(|one| outer.codes.iter().any(|other| other.0 <= one.0 && one.1 <= other.1));
    let enhanced = outer.enhanced.is_empty()
        || !inner.enhanced.is_empty()
            && inner
                .enhanced
                .iter()
                .all(|one| outer.enhanced.iter().any(|other| within(one, other)));
    let stages = outer.stages.is_empty()
        || !inner.stages.is_empty() && inner.stages.iter().all(|stage| outer.stages.contains(stage));
    codes && enhanced && stages
}

fn within(one: &EnhancedPattern, other: &EnhancedPattern) -> bool {
    other.subject == one.subject
        && other.detail.0 <= one.detail.0
        && one.detail.1 <= other.detail.1
        && (other.class.is_none() || other.class == one.class)
}
