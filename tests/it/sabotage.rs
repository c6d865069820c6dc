//! The list of deliberate bugs, its call sites, the table of tests that catch them, and the document: all say the same.
//!
//! That each test does catch its bug is what `tests/sabotage.sh` proves, by running it with and without.

use std::collections::BTreeSet;

use super::source::{root, rust_files};

/// A line of `tests/sabotage.tsv`.
struct Line {
    bug: String,
    binary: String,
    test: String,
    because: String,
}

fn table() -> Vec<Line> {
    let text = std::fs::read_to_string(root().join("tests/sabotage.tsv")).expect("there is a table");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parts = lines.map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    let read = |parts: Vec<String>| match <[String; 4]>::try_from(parts) {
        Ok([bug, binary, test, because]) => Line {
            bug,
            binary,
            test,
            because,
        },
        Err(parts) => panic!("not four columns: {parts:?}"),
    };
    parts.map(read).collect()
}

/// Names and variants, as the list has them: `Variant = "name",`.
fn bugs() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("src/sabotage.rs")).expect("there is a list");
    let pairs = text.lines().filter_map(|line| line.trim().split_once(" = \""));
    let pairs = pairs.filter_map(|(variant, rest)| Some((variant.to_owned(), rest.strip_suffix("\",")?.to_owned())));
    pairs.collect()
}

#[test]
fn each_deliberate_bug_has_a_test_that_catches_it_and_no_line_is_about_nothing() {
    let known: BTreeSet<String> = bugs().into_iter().map(|(_, name)| name).collect();
    assert!(known.len() >= 30, "the search for bugs found only {known:?}");
    let caught: BTreeSet<String> = table().into_iter().map(|line| line.bug).collect();
    assert_eq!(known, caught);
}

#[test]
fn each_deliberate_bug_is_built_in_somewhere() {
    let files = rust_files(&["src"]);
    let others: Vec<_> = files.iter().filter(|file| file.path != "src/sabotage.rs").collect();
    for (variant, name) in bugs() {
        let call = format!("sabotage::is(Bug::{variant})");
        assert!(
            others.iter().any(|file| file.shipped().contains(&call)),
            "{name} is on the list only"
        );
    }
}

#[test]
fn the_document_is_the_table() {
    let document = std::fs::read_to_string(root().join("tests/SABOTAGE.md")).expect("there is a document");
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    let row = |line: &Line| {
        format!(
            "| `{}` | `{}` ({}) | {} |",
            line.bug, line.test, line.binary, line.because
        )
    };
    let expected: Vec<String> = table().iter().map(row).collect();
    assert_eq!(rows, expected, "tests/sabotage.sh --table writes it anew");
}
