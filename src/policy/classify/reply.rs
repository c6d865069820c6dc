//! Finds the rule for a refusal.
//!
//! Takes the rules in order, gives the first that matches a [`Question`], and a shadow rule that would have come before it. The rules stand on shelves, one for each provider
//! and one for each first digit, so that a reply is held against some dozens of rules and not against all; the texts of a
//! shelf are matched in one pass, and only when a rule that fits otherwise asks for its text.

use std::borrow::Cow;

use regex::bytes::{RegexSet, RegexSetBuilder, SetMatches};

use super::rule::Rule;
use crate::domain::{EnhancedCode, Reply, Stage};
use crate::policy::rules_file::RulesError;

/// Bytes of a reply's text that are looked at.
const TEXT_BYTES_MAX: usize = 1024;
/// Largest compiled form of one pattern, and of all patterns of a shelf.
pub(super) const PATTERN_BYTES_MAX: usize = 8 << 20;
/// Memory that matching on one shelf may use in one thread.
pub(super) const MATCHER_BYTES_MAX: usize = 8 << 20;

/// What is asked about a reply.
#[derive(Debug, Clone)]
pub(super) struct Question<'a> {
    pub(super) code: u16,
    pub(super) enhanced: Option<EnhancedCode>,
    pub(super) stage: Stage,
    pub(super) text: Cow<'a, [u8]>,
}

impl<'a> Question<'a> {
    pub(super) fn new(reply: &'a Reply, stage: Stage) -> Self {
        let bytes = reply.text.as_bytes();
        Self {
            code: reply.code,
            enhanced: reply.enhanced,
            stage,
            text: without_repeats(&bytes[..bytes.len().min(TEXT_BYTES_MAX)], reply.enhanced),
        }
    }
}

/// Takes out the enhanced code where the text repeats it: servers put it on each line of a reply, in the middle of words
/// that belong together.
fn without_repeats(text: &[u8], enhanced: Option<EnhancedCode>) -> Cow<'_, [u8]> {
    let Some(code) = enhanced else {
        return Cow::Borrowed(text);
    };
    let repeat = format!("{code} ").into_bytes();
    let starts = |at: usize| text[at..].starts_with(&repeat) && (at == 0 || text[at - 1] == b' ');
    if !(0..text.len()).any(starts) {
        return Cow::Borrowed(text);
    }
    let mut kept = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        if starts(at) {
            at += repeat.len();
        } else {
            kept.push(text[at]);
            at += 1;
        }
    }
    Cow::Owned(kept)
}

/// Rules that belong together, in order, with their texts compiled as one.
#[derive(Debug)]
pub(super) struct Shelf {
    rules: Vec<Place>,
    texts: RegexSet,
}

/// A rule on a shelf.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Index into the rules.
    rule: usize,
    /// Index into the texts of the shelf.
    text: Option<usize>,
}

impl Shelf {
    /// A shelf with those of `rules` that `belongs` says.
    pub(super) fn new(rules: &[Rule], belongs: impl Fn(&Rule) -> bool) -> Result<Self, RulesError> {
        let mut places = Vec::new();
        let mut patterns = Vec::new();
        for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| belongs(rule)) {
            let text = rule.text.as_ref().map(|pattern| {
                patterns.push(pattern.as_str());
                patterns.len() - 1
            });
            places.push(Place { rule: index, text });
        }
        let texts = builder(&patterns)
            .build()
            .map_err(|error| RulesError::rule("rules", 0, error.to_string()))?;
        Ok(Self { rules: places, texts })
    }

    /// The first rule that matches, and the first shadow rule before it that would have.
    pub(super) fn find(&self, rules: &[Rule], question: &Question<'_>) -> Found {
        let mut matches: Option<SetMatches> = None;
        let mut found = Found::default();
        for place in self.rules.iter().filter(|place| rules[place.rule].fits(question)) {
            let matched = place.text.is_none_or(|text| {
                matches
                    .get_or_insert_with(|| self.texts.matches(&question.text))
                    .matched(text)
            });
            if !matched {
                continue;
            }
            if !rules[place.rule].shadow {
                found.rule = Some(place.rule);
                break;
            }
            found.shadow.get_or_insert(place.rule);
        }
        found
    }

    /// Indexes of its rules, in their order.
    pub(super) fn rules(&self) -> impl Iterator<Item = usize> + '_ {
        self.rules.iter().map(|place| place.rule)
    }
}

/// What a shelf has for a reply: indexes of rules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The rule that judges.
    pub(super) rule: Option<usize>,
    /// The shadow rule that would have.
    pub(super) shadow: Option<usize>,
}

/// Checks the text of one rule by itself, so that an error can name the rule.
pub(super) fn check_pattern(pattern: &str) -> Result<(), String> {
    let set = builder(&[pattern]).build().map_err(|error| error.to_string())?;
    if set.is_match(b"") {
        return Err("matches every text".to_owned());
    }
    Ok(())
}

/// Upper and lower case alike; bytes, not characters, so that replies in any encoding are matched and the classes are small.
fn builder(patterns: &[&str]) -> RegexSetBuilder {
    let mut builder = RegexSetBuilder::new(patterns);
    builder
        .case_insensitive(true)
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(MATCHER_BYTES_MAX);
    builder
}
