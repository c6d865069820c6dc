//! A look at a Handlebars source before the parser sees it: bounds that the parser lacks.
//!
//! Takes the source, gives nothing or the line and what is wrong there. The parser recurses once per nested block and bracket
//! and walks the source once per tag, so depth and number of tags are bounded here; what runs code or reads other templates
//! (partials, decorators, raw blocks) is refused. It follows the parser's own rules on escapes, comments and strings, and
//! refuses a tag that it could read differently. Never says that a template is right: `template_needs` and the parser do.

/// Longest source of one part, in bytes.
pub const SOURCE_MAX: usize = 512 * 1024;
/// Most tags in one part.
pub const TAGS_MAX: usize = 2_000;
/// Most tags times bytes: the parser counts lines from the start of the source for each tag.
const TAGS_TIMES_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Most backslashes in a row: the parser looks at the rest of the row from each of them.
const BACKSLASHES_MAX: usize = 32;
/// Deepest nesting of blocks; each `{{else if}}` counts as one level until its block ends.
pub const NESTING_MAX: usize = 32;
/// Most brackets of any kind in one tag.
const BRACKETS_MAX: usize = 16;
/// Longest tag, in bytes.
const TAG_MAX: usize = 1_024;

/// Where a source is wrong and how. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) detail: String,
}

/// What one tag is.
enum Tag<'a> {
    Comment,
    Inside(&'a str),
}

/// Checks the bounds.
pub(super) fn scan(source: &str) -> Result<(), Fault> {
    if source.len() > SOURCE_MAX {
        return Err(fault(source, 0, format!("longer than {SOURCE_MAX} bytes")));
    }
    if let Some(start) = source.find(&"\\".repeat(BACKSLASHES_MAX + 1)) {
        let detail = format!("more than {BACKSLASHES_MAX} backslashes in a row");
        return Err(fault(source, start, detail));
    }
    let tags_max = TAGS_MAX.min(TAGS_TIMES_BYTES_MAX / source.len().max(1));
    let mut tags = 0;
    // Levels that each open block stands for.
    let mut blocks: Vec<usize> = Vec::new();
    let mut position = 0;
    while let Some(start) = next_tag(source, position) {
        tags += 1;
        if tags > tags_max {
            let detail = format!("more than {tags_max} tags in a part of this length");
            return Err(fault(source, start, detail));
        }
        let (tag, end) = read_tag(&source[start..]).map_err(|detail| fault(source, start, detail))?;
        position = start + end;
        let Tag::Inside(inside) = tag else { continue };
        let inside = inside.trim_start_matches(['~', ' ', '\t', '\r', '\n']);
        match inside.as_bytes().first() {
            Some(b'#') => blocks.push(1),
            Some(b'/') => {
                blocks.pop();
            }
            _ if is_chained_else(inside) => {
                if let Some(levels) = blocks.last_mut() {
                    *levels += 1;
                }
            }
            _ => {}
        }
        if blocks.iter().sum::<usize>() > NESTING_MAX {
            return Err(fault(source, start, format!("nested deeper than {NESTING_MAX}")));
        }
    }
    Ok(())
}

/// `{{else if …}}` or `{{^ if …}}`: the parser nests these.
fn is_chained_else(inside: &str) -> bool {
    let rest = inside.strip_prefix("else").or_else(|| inside.strip_prefix('^'));
    rest.is_some_and(|rest| rest.starts_with([' ', '\t', '\r', '\n']) && !rest.trim_end_matches('~').trim().is_empty())
        || rest.is_some_and(|rest| inside.starts_with('^') && !rest.trim_end_matches('~').trim().is_empty())
}

/// The start of the next `{{` that is a tag; one behind a single backslash is text.
fn next_tag(source: &str, from: usize) -> Option<usize> {
    let mut position = from;
    loop {
        let start = position + source[position..].find("{{")?;
        let backslashes = source[position..start]
            .bytes()
            .rev()
            .take_while(|byte| *byte == b'\\')
            .count();
        if backslashes != 1 {
            return Some(start);
        }
        // The parser takes a second pair of braces along.
        position = start + if source[start + 2..].starts_with("{{") { 4 } else { 2 };
    }
}

/// Reads the tag that `rest` begins with; gives its inside and where it ends.
fn read_tag(rest: &str) -> Result<(Tag<'_>, usize), String> {
    if rest.starts_with("{{{{") {
        return Err("raw blocks are not supported".to_owned());
    }
    if let Some(comment) = rest.strip_prefix("{{!") {
        // The long form may contain braces; the parser tries it first and falls back to the short one.
        let long = comment
            .strip_prefix("--")
            .and_then(|inside| inside.find("--}}").map(|end| 5 + end + 4));
        let end = long.or_else(|| comment.find("}}").map(|end| 3 + end + 2));
        return end
            .map(|end| (Tag::Comment, end))
            .ok_or_else(|| "a comment has no end".to_owned());
    }
    let end = rest.find("}}").ok_or("a tag has no end")?;
    let inside = &rest[2..end];
    check_inside(inside)?;
    let braces = rest[end..].bytes().take_while(|byte| *byte == b'}').count();
    // `{{{x}}}` and `{{~{x}~}}` close with one brace more.
    Ok((Tag::Inside(inside), end + braces.min(3)))
}

/// Refuses what the parser could end elsewhere than we do, and what nests without bound.
fn check_inside(inside: &str) -> Result<(), String> {
    if inside.len() > TAG_MAX {
        return Err(format!("a tag is longer than {TAG_MAX} bytes"));
    }
    if inside.contains("{{") {
        return Err("a tag begins inside of a tag".to_owned());
    }
    let count = |wanted: char| inside.chars().filter(|one| *one == wanted).count();
    // A string or a bracket that stays open could hide the end of the tag.
    if count('"') % 2 != 0 || count('\'') % 2 != 0 || inside.contains('\\') {
        return Err("a tag holds a quotation mark without its partner, or a backslash".to_owned());
    }
    if count('[') != count(']') || count('(') != count(')') {
        return Err("a tag holds a bracket without its partner".to_owned());
    }
    if count('[') + count('(') + count('{') > BRACKETS_MAX {
        return Err(format!("a tag holds more than {BRACKETS_MAX} brackets"));
    }
    let bare = inside.trim_start_matches(['~', ' ', '\t', '\r', '\n', '#']);
    match bare.as_bytes().first() {
        Some(b'>') => Err("partials are not supported".to_owned()),
        Some(b'*') => Err("decorators are not supported".to_owned()),
        _ => Ok(()),
    }
}

fn fault(source: &str, position: usize, detail: String) -> Fault {
    let before = &source.as_bytes()[..position];
    Fault {
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expect: Result<(), (usize, &str)>) {
        let expect = expect.map_err(|(line, detail)| Fault {
            line,
            detail: detail.to_owned(),
        });
        assert_eq!(scan(source), expect, "{source:?}");
    }

    #[test]
    fn ordinary_templates_pass() {
        check("", Ok(()));
        check(
            "{ } }} {{a}} {{{b}}} {{~c~}} {{!-- {{d}} --}} {{! e }} \\{{f}} \\\\{{g}}",
            Ok(()),
        );
        check(
            "{{#if a}}{{#each b as |c d|}}{{c.[0]}}{{/each}}{{else}}x{{/if}}{{#if (eq a \"b\")}}{{/if}}",
            Ok(()),
        );
    }

    #[test]
    fn what_is_not_supported_is_named_with_its_line() {
        check("a\nb {{> footer}}", Err((2, "partials are not supported")));
        check("{{#> layout}}{{/layout}}", Err((1, "partials are not supported")));
        check("{{* inline}}", Err((1, "decorators are not supported")));
        check(
            "{{#*inline \"x\"}}{{/inline}}",
            Err((1, "decorators are not supported")),
        );
        check("{{{{raw}}}}{{{{/raw}}}}", Err((1, "raw blocks are not supported")));
        check("x\n\n{{a", Err((3, "a tag has no end")));
        check("{{! a", Err((1, "a comment has no end")));
    }

    #[test]
    fn tags_that_could_end_elsewhere_are_refused() {
        let quote = "a tag holds a quotation mark without its partner, or a backslash";
        check("{{#if \"}} {{/if}} \"}}", Err((1, quote)));
        check("{{a '}}'}}", Err((1, quote)));
        check("{{[a}}b]}}", Err((1, "a tag holds a bracket without its partner")));
        check("{{a {{b}}", Err((1, "a tag begins inside of a tag")));
    }

    #[test]
    fn depth_and_numbers_are_bounded() {
        check(&"{{#if a}}".repeat(32), Ok(()));
        check(&"{{#if a}}".repeat(33), Err((1, "nested deeper than 32")));
        check(
            &format!("{{{{#if a}}}}{}", "{{else if b}}".repeat(32)),
            Err((1, "nested deeper than 32")),
        );
        check(&format!("{{{{#if a}}}}{}", "{{elsewhere}}".repeat(99)), Ok(()));
        check(&"{{#if a}}{{else}}{{^}}".repeat(32), Ok(()));
        check(&"{{! {{#if a}}".repeat(9), Ok(()));
        check(
            &"{{#if a}}{{!-- {{/if}} --}}".repeat(33),
            Err((1, "nested deeper than 32")),
        );
        check(&"{{#if a}}\\{{/if}}".repeat(33), Err((1, "nested deeper than 32")));
        check(
            &"{{#if a}}{{/if}}".repeat(1_001),
            Err((1, "more than 2000 tags in a part of this length")),
        );
        check(&format!("{{{{a {}}}}}", "(".repeat(9) + &")".repeat(9)), Ok(()));
        check(
            &format!("{{{{a {}}}}}", "(".repeat(17) + &")".repeat(17)),
            Err((1, "a tag holds more than 16 brackets")),
        );
        check(
            &format!("{}{}", "x".repeat(SOURCE_MAX - 5_000), "{{abc}}".repeat(600)),
            Err((1, "more than 512 tags in a part of this length")),
        );
        check(
            &format!("\n{}", "\\".repeat(33)),
            Err((2, "more than 32 backslashes in a row")),
        );
        check(&"x".repeat(SOURCE_MAX + 1), Err((1, "longer than 524288 bytes")));
    }
}
