//! Texts that a pattern matches, made up from the pattern itself.
//!
//! Takes a regular expression, gives a bounded number of texts, each of which it matches: every alternative is in one of
//! them, every optional part is there in one and missing in another. A pattern none of whose texts can be made up (one that
//! looks at the words around it in an unusual way) gives none, and nothing is said of it then.

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind, Repetition};

use super::super::reply::PATTERN_BYTES_MAX;

/// Texts for one pattern.
const EXAMPLES_MAX: usize = 256;
/// Texts for one part of it.
const PART_MAX: usize = 96;
/// Members of a class that are all tried.
const CLASS_MAX: usize = 10;
/// Bytes of a text.
const TEXT_BYTES_MAX: usize = 1024;

/// The pattern as rules are matched: cases alike, bytes.
pub(super) fn regex(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern)
        .case_insensitive(true)
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .ok()
}

/// Texts that `pattern` matches.
pub(super) fn examples(pattern: &str) -> Vec<Vec<u8>> {
    let parsed = ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true)
        .build()
        .parse(pattern);
    let (Ok(hir), Some(regex)) = (parsed, regex(pattern)) else {
        return Vec::new();
    };
    let mut texts = of(&hir);
    texts.retain(|text| text.len() <= TEXT_BYTES_MAX && regex.is_match(text));
    texts.sort_unstable();
    texts.dedup();
    // Shorter texts say less that other rules might hear.
    texts.sort_by_key(Vec::len);
    texts.truncate(EXAMPLES_MAX);
    texts
}

fn of(hir: &Hir) -> Vec<Vec<u8>> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![Vec::new()],
        HirKind::Literal(literal) => vec![literal.0.to_vec()],
        HirKind::Class(class) => of_class(class),
        HirKind::Repetition(repetition) => of_repetition(repetition),
        HirKind::Capture(capture) => of(&capture.sub),
        HirKind::Concat(parts) => of_concat(parts),
        HirKind::Alternation(parts) => {
            let mut texts = Vec::new();
            for part in parts {
                texts.extend(of(part));
            }
            texts.truncate(EXAMPLES_MAX);
            texts
        }
    }
}

/// All members of a small class; else a blank, a letter and a digit where the class has them, or its first members.
fn of_class(class: &Class) -> Vec<Vec<u8>> {
    let ranges: Vec<(u8, u8)> = match class {
        Class::Bytes(bytes) => bytes.iter().map(|range| (range.start(), range.end())).collect(),
        Class::Unicode(characters) => characters
            .iter()
            .filter_map(|range| {
                let start = u8::try_from(u32::from(range.start())).ok()?;
                Some((start, u8::try_from(u32::from(range.end())).unwrap_or(0x7f).min(0x7f)))
            })
            .collect(),
    };
    let has = |byte: u8| ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte));
    let size: usize = ranges
        .iter()
        .map(|(low, high)| usize::from(high.saturating_sub(*low)) + 1)
        .sum();
    if size <= CLASS_MAX {
        return ranges
            .iter()
            .flat_map(|(low, high)| *low..=*high)
            .map(|byte| vec![byte])
            .collect();
    }
    let mut members: Vec<u8> = [b' ', b'a', b'1', b'x'].into_iter().filter(|byte| has(*byte)).collect();
    if members.is_empty() {
        members = ranges.iter().map(|(low, _)| *low).take(3).collect();
    }
    members.truncate(3);
    members.into_iter().map(|byte| vec![byte]).collect()
}

/// As often as it must be, and once more.
fn of_repetition(repetition: &Repetition) -> Vec<Vec<u8>> {
    let once = of(&repetition.sub);
    let least = repetition.min;
    let most = repetition.max.unwrap_or(u32::MAX);
    let mut texts = Vec::new();
    for count in [least, least.saturating_add(1)] {
        if count > most || usize::try_from(count).map_or(true, |count| count > TEXT_BYTES_MAX) {
            continue;
        }
        if count == 0 {
            texts.push(Vec::new());
            continue;
        }
        for text in &once {
            texts.push(text.repeat(usize::try_from(count).unwrap_or(1)));
        }
    }
    texts.truncate(PART_MAX);
    texts
}

/// Each choice of each part with some choice of the others; all choices where these are few.
fn of_concat(parts: &[Hir]) -> Vec<Vec<u8>> {
    let choices: Vec<Vec<Vec<u8>>> = parts.iter().map(of).collect();
    if choices.iter().any(Vec::is_empty) {
        return Vec::new();
    }
    let all = choices
        .iter()
        .try_fold(1usize, |product, part| product.checked_mul(part.len()));
    let widest = choices.iter().map(Vec::len).max().unwrap_or(1);
    let count = match all {
        Some(all) if all <= PART_MAX => all,
        _ => (3 * widest).min(EXAMPLES_MAX),
    };
    let mut texts = Vec::with_capacity(count);
    for turn in 0..count {
        let mut text = Vec::new();
        let mut left = turn;
        for (place, part) in choices.iter().enumerate() {
            // All of them: a number with one digit a part. Else: each part goes round at its own pace.
            let pick = if all.is_some_and(|all| all <= PART_MAX) {
                let digit = left % part.len();
                left /= part.len();
                digit
            } else {
                (turn + turn / widest * place) % part.len()
            };
            text.extend_from_slice(&part[pick]);
        }
        texts.push(text);
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, expected: &[&str]) {
        let texts = examples(pattern);
        let texts: Vec<&str> = texts
            .iter()
            .map(|text| std::str::from_utf8(text).expect("text"))
            .collect();
        for expected in expected {
            assert!(texts.contains(expected), "{pattern}: {expected:?} is not in {texts:?}");
        }
    }

    #[test]
    fn every_alternative_and_every_optional_part_is_in_an_example() {
        check("a|bc|d", &["a", "bc", "d"]);
        check("mail ?box", &["mailbox", "mail box"]);
        check(
            "(?:user|account) (?:unknown|closed)",
            &["user unknown", "account closed", "user closed"],
        );
        check(r"\brl0\d+\b", &["rl01"]);
        check("one.*two", &["onetwo", "one two"]);
        check("gr[ae]y", &["gray"]);
        check("a{3}", &["aaa"]);
        check(r"foo\b.*\bbar", &["foo bar"]);
    }

    #[test]
    fn what_is_made_up_is_matched_and_bounded() {
        let many = "(?:a|b|c|d|e|f|g|h|i|j) ?(?:a|b|c|d|e|f|g|h|i|j) ?(?:a|b|c|d|e|f|g|h|i|j)";
        let texts = examples(many);
        assert!(!texts.is_empty() && texts.len() <= EXAMPLES_MAX);
        for letter in b'a'..=b'j' {
            assert!(texts.iter().any(|text| text.first() == Some(&letter)), "{letter}");
            assert!(texts.iter().any(|text| text.last() == Some(&letter)), "{letter}");
        }
        assert!(examples(r"a\Bb{2000}").is_empty());
        assert!(examples("(").is_empty());
    }
}
