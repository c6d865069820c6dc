//! What the README promises is held by tests: each promise names at least one, and each test that it names exists.
//!
//! A promise is a line of a table, or an item of a list, in the README's part about promises. A test is named by the end of
//! its path, with a `::` in it. What tests there are is asked of this very program.

use std::process::Command;

use super::source::root;

/// Where the promises are, up to the next title of this rank.
const TITLE: &str = "\n## What is promised\n";

/// The tests of this program, by their paths.
fn tests_there_are() -> Vec<String> {
    let program = std::env::current_exe().expect("it runs");
    let listed = Command::new(program).args(["--list", "--format", "terse"]).output();
    let text = String::from_utf8(listed.expect("it starts").stdout).expect("names are text");
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    names.map(str::to_owned).collect()
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("there is one")
}

fn promises_part(text: &str) -> &str {
    let part = text.split(TITLE).nth(1).expect("there are promises");
    part.split("\n## ").next().expect("a first part")
}

/// Lines of tables without their heads, and items of lists with their further lines.
fn promises(part: &str) -> Vec<String> {
    let lines: Vec<&str> = part.lines().collect();
    let mut found: Vec<String> = Vec::new();
    let mut in_item = false;
    for (at, line) in lines.iter().enumerate() {
        let rules_off = |line: &str| line.starts_with("|---");
        let head = lines.get(at + 1).is_some_and(|next| rules_off(next));
        if line.starts_with("- ") || (line.starts_with('|') && !rules_off(line) && !head) {
            found.push((*line).to_owned());
        } else if in_item && line.starts_with("  ") {
            let last = found.last_mut().expect("an item has begun");
            *last += line;
        }
        in_item = line.starts_with("- ") || (in_item && line.starts_with("  "));
    }
    found
}

/// Paths of tests among the words in backticks.
fn tests_in(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|word| word.contains("::")).collect()
}

fn is_named(test: &str, name: &str) -> bool {
    test.strip_suffix(name)
        .is_some_and(|before| before.is_empty() || before.ends_with("::"))
}

#[test]
fn each_promise_of_the_readme_names_a_test() {
    let text = readme();
    let promises = promises(promises_part(&text));
    assert!(promises.len() > 15, "only {} promises", promises.len());
    let without: Vec<&String> = promises.iter().filter(|promise| tests_in(promise).is_empty()).collect();
    assert!(without.is_empty(), "{without:#?}");
}

#[test]
fn each_test_that_the_readme_names_exists() {
    let there_are = tests_there_are();
    assert!(there_are.len() > 100, "only {} tests", there_are.len());
    let text = readme();
    let named = tests_in(&text);
    assert!(named.len() > 30, "only {} tests are named", named.len());
    let missing: Vec<&&str> = named
        .iter()
        .filter(|name| !there_are.iter().any(|test| is_named(test, name)))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_tests_of_the_promises_can_fail() {
    let part = "words\n| a | b |\n|---|---|\n| 1 | `x::y` |\n\n- one `t`\n  more `u::v`\n- two\n\nwords";
    assert_eq!(promises(part), ["| 1 | `x::y` |", "- one `t`  more `u::v`", "- two"]);
    assert_eq!(tests_in("`a` b `c::d` e::f"), ["c::d"]);
    for (test, name, expect) in [
        ("a::b::c", "b::c", true),
        ("a::b::c", "a::b::c", true),
        ("a::xb::c", "b::c", false),
        ("a::b::c", "a::b", false),
    ] {
        assert_eq!(is_named(test, name), expect, "{test} {name}");
    }
}
