//! What is wrong with a pattern by itself.
//!
//! Takes a regular expression, gives faults with a sentence each. The engine that matches is linear, so that nothing here is
//! a danger; what looks like one has never been what its author meant.

use regex::bytes::RegexSetBuilder;
use regex_syntax::ast::{Ast, RepetitionKind, RepetitionRange, parse::Parser};

use super::examples::examples;
use crate::policy::rules_lint::Fault;

/// Characters of a pattern that somebody can still read.
const PATTERN_CHARACTERS_MAX: usize = 2000;
/// Repetitions that one may write down, one in another multiplied.
const REPEATS_MAX: u32 = 100;

/// All that is wrong.
pub(super) fn look(pattern: &str) -> Vec<(Fault, String)> {
    let mut faults = Vec::new();
    let length = pattern.chars().count();
    if length > PATTERN_CHARACTERS_MAX {
        let problem = format!("{length} characters, more than {PATTERN_CHARACTERS_MAX}: make two rules of it");
        faults.push((Fault::TooLong, problem));
    }
    if let Ok(ast) = Parser::new().parse(pattern) {
        walk(&ast, pattern, 1, &mut faults);
        dead_alternatives(&ast, pattern, true, &mut faults);
    }
    faults
}

/// Looks at repetitions; `times` is how often what is around this part is repeated.
fn walk(ast: &Ast, pattern: &str, times: u32, faults: &mut Vec<(Fault, String)>) {
    match ast {
        Ast::Concat(concat) => {
            for pair in concat.asts.windows(2) {
                letter_repeated(&pair[0], &pair[1], pattern, faults);
            }
            concat.asts.iter().for_each(|part| walk(part, pattern, times, faults));
        }
        Ast::Alternation(alternation) => alternation
            .asts
            .iter()
            .for_each(|part| walk(part, pattern, times, faults)),
        Ast::Group(group) => walk(&group.ast, pattern, times, faults),
        Ast::Repetition(repetition) => {
            let all = times.saturating_mul(most(&repetition.op.kind));
            if all > REPEATS_MAX && most(&repetition.op.kind) > 1 {
                let problem = format!("{} repeats up to {all} times", source(ast, pattern));
                faults.push((Fault::Repetition, problem));
            } else if is_open(&repetition.op.kind) && is_open_repetition(&repetition.ast) {
                let problem = format!("{} repeats what repeats already", source(ast, pattern));
                faults.push((Fault::Repetition, problem));
            }
            walk(&repetition.ast, pattern, all.min(REPEATS_MAX), faults);
        }
        Ast::Empty(_)
        | Ast::Flags(_)
        | Ast::Literal(_)
        | Ast::Dot(_)
        | Ast::Assertion(_)
        | Ast::ClassUnicode(_)
        | Ast::ClassPerl(_)
        | Ast::ClassBracketed(_) => {}
    }
}

/// `SPM*` is S, P, and any number of M.
fn letter_repeated(before: &Ast, ast: &Ast, pattern: &str, faults: &mut Vec<(Fault, String)>) {
    let is_letter = |ast: &Ast| matches!(ast, Ast::Literal(literal) if literal.c.is_alphanumeric());
    if let Ast::Repetition(repetition) = ast
        && is_letter(before)
        && is_letter(&repetition.ast)
        && is_open(&repetition.op.kind)
    {
        let both = format!("{}{}", source(before, pattern), source(ast, pattern));
        faults.push((
            Fault::LetterRepeated,
            format!("{both} repeats its last letter alone; for any text write .*"),
        ));
    }
}

fn is_open(kind: &RepetitionKind) -> bool {
    match kind {
        RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => true,
        RepetitionKind::Range(RepetitionRange::AtLeast(_)) => true,
        RepetitionKind::ZeroOrOne | RepetitionKind::Range(_) => false,
    }
}

/// Whether it is, but for groups around it, a repetition without an end.
fn is_open_repetition(ast: &Ast) -> bool {
    match ast {
        Ast::Group(group) => is_open_repetition(&group.ast),
        Ast::Repetition(repetition) => is_open(&repetition.op.kind),
        _ => false,
    }
}

/// The number that a repetition names.
fn most(kind: &RepetitionKind) -> u32 {
    match kind {
        RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => 1,
        RepetitionKind::Range(
            RepetitionRange::Exactly(count) | RepetitionRange::AtLeast(count) | RepetitionRange::Bounded(_, count),
        ) => *count,
    }
}

/// Alternatives that match nothing which another one does not match: anywhere at the top, where any surroundings fit; from
/// end to end inside, where what stands around them counts.
fn dead_alternatives(ast: &Ast, pattern: &str, at_top: bool, faults: &mut Vec<(Fault, String)>) {
    match ast {
        Ast::Alternation(alternation) => {
            let parts: Vec<&str> = alternation.asts.iter().map(|part| source(part, pattern)).collect();
            for (index, part) in parts.iter().enumerate() {
                if let Some(other) = covered_by(&parts, index, at_top) {
                    let problem = format!("the alternative {part:?} is dead: {other:?} matches all that it matches");
                    faults.push((Fault::DeadAlternative, problem));
                }
            }
            for part in &alternation.asts {
                dead_alternatives(part, pattern, false, faults);
            }
        }
        Ast::Group(group) => dead_alternatives(&group.ast, pattern, false, faults),
        Ast::Repetition(repetition) => dead_alternatives(&repetition.ast, pattern, false, faults),
        Ast::Concat(concat) => concat
            .asts
            .iter()
            .for_each(|part| dead_alternatives(part, pattern, false, faults)),
        _ => {}
    }
}

/// The one other alternative that matches every example of this one. Of two equal ones the later is the dead one.
fn covered_by<'a>(parts: &[&'a str], index: usize, anywhere: bool) -> Option<&'a str> {
    let texts = examples(parts[index]);
    if texts.is_empty() {
        return None;
    }
    let patterns: Vec<String> = parts
        .iter()
        .map(|part| match anywhere {
            true => (*part).to_owned(),
            false => format!(r"\A(?:{part})\z"),
        })
        .collect();
    let set = RegexSetBuilder::new(patterns)
        .case_insensitive(true)
        .unicode(false)
        .dot_matches_new_line(true)
        .build()
        .ok()?;
    let mut covering: Vec<bool> = (0..parts.len()).map(|other| other != index).collect();
    for text in &texts {
        let matches = set.matches(text);
        for (other, covers) in covering.iter_mut().enumerate() {
            *covers = *covers && matches.matched(other);
        }
    }
    let mutual = |other: usize| {
        let texts = examples(parts[other]);
        !texts.is_empty() && texts.iter().all(|text| set.matches(text).matched(index))
    };
    let other = (0..parts.len()).find(|other| covering[*other] && (*other < index || !mutual(*other)))?;
    Some(parts[other])
}

/// The part of the pattern that was written for this.
fn source<'a>(ast: &Ast, pattern: &'a str) -> &'a str {
    let span = ast.span();
    pattern.get(span.start.offset..span.end.offset).unwrap_or(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, expected: &[Fault]) {
        let found = look(pattern);
        let faults: Vec<Fault> = found.iter().map(|(fault, _)| *fault).collect();
        assert_eq!(faults, expected, "{pattern}: {found:?}");
    }

    #[test]
    fn a_repetition_of_the_last_letter_is_told_from_one_of_a_group() {
        check("SPM*", &[Fault::LetterRepeated]);
        check("dt:spm+ now", &[Fault::LetterRepeated]);
        check("messages?", &[]);
        check(r"rl0\d+", &[]);
        check("(?:spam)* here", &[]);
        check("spam.* here", &[]);
    }

    #[test]
    fn repetitions_that_nobody_means_are_told() {
        check("(?:a+)+b", &[Fault::Repetition]);
        check("(?:.*)*b", &[Fault::Repetition]);
        check("a{5000}", &[Fault::Repetition]);
        check("(?:ab{50}){50}", &[Fault::Repetition]);
        check(r"(?: \w+)* of", &[]);
        check("[0-9]{1,6}", &[]);
        check(&"word ".repeat(500), &[Fault::TooLong]);
    }

    #[test]
    fn alternatives_that_others_cover_are_dead() {
        check("spam|junk|spam", &[Fault::DeadAlternative]);
        check("spam|spam message", &[Fault::DeadAlternative]);
        check(r"gr[ae]y-?list|\bgreylisted\b", &[Fault::DeadAlternative]);
        check("(?:mail ?box|account|mailbox) full", &[Fault::DeadAlternative]);
        check("(?:user|users) full", &[]);
        check("mail full|mailbox full", &[]);
        check("(?:a|b) c|(?:a|b) d", &[]);
    }
}
