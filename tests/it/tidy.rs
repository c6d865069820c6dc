//! Tidiness that no compiler checks: door-plates, sizes, doors without logic, nothing of one machine.
//!
//! Documents are checked for names of files that are not there.
//!
//! The length of functions and missing documentation are clippy's and the compiler's; imports are `layers`'.

use super::source::{RustFile, files, root, rust_files, words};

/// Longest file.
const LINES_MAX: usize = 500;
/// Longest file of tests.
const TEST_LINES_MAX: usize = 700;
/// Files that may be longer, and why.
const LONG: &[(&str, &str)] = &[];

/// All Rust of the repository.
const FOLDERS: [&str; 5] = ["src", "provider_sim", "bench", "test_rig", "tests"];

#[test]
fn every_file_opens_with_its_door_plate() {
    each(|file| match file.text.starts_with("//! ") {
        true => None,
        false => Some("does not open with `//! `: what it does, takes, gives, never does".to_owned()),
    });
}

#[test]
fn no_file_is_too_long_to_read() {
    each(|file| {
        let lines = file.text.lines().count();
        let most = if file.is_tests() { TEST_LINES_MAX } else { LINES_MAX };
        let excepted = LONG.iter().any(|(path, _)| *path == file.path);
        match (lines > most, excepted) {
            (true, false) => Some(format!("has {lines} lines, more than {most}")),
            (false, true) => Some("needs its exception no more".to_owned()),
            _ => None,
        }
    });
}

/// `mod.rs` is a door: documentation, the trait or the drawing, re-exports.
#[test]
fn doors_have_no_logic() {
    each(|file| {
        let door = file.path.ends_with("/mod.rs") && !file.is_tests();
        let bodies = if door {
            functions_with_bodies(file.shipped())
        } else {
            Vec::new()
        };
        (!bodies.is_empty()).then(|| format!("is a door, but holds {}", bodies.join(", ")))
    });
}

#[test]
fn nothing_is_left_for_later_and_no_mailbox_is_overrun() {
    each(|file| {
        let marks = ["TODO", "FIXME", "XXX", "HACK"];
        let words: Vec<&str> = words(file.shipped()).map(|(_, word)| word).collect();
        let mark = file.path != file!() && marks.iter().any(|mark| file.text.contains(mark));
        let word = ["do_send", "todo", "unimplemented", "dbg"]
            .into_iter()
            .find(|banned| words.contains(banned));
        match (mark, word) {
            (true, _) => Some("holds a mark for later".to_owned()),
            (false, Some(word)) => Some(format!("uses {word}")),
            (false, None) => None,
        }
    });
}

/// Lints are not switched off; what must be is expected, with its reason.
#[test]
fn lints_are_expected_not_allowed() {
    each(|file| {
        file.code
            .contains("allow(")
            .then(|| "switches a lint off: use #[expect(…, reason = …)]".to_owned())
    });
}

/// A checkout says nothing of the machine it was made on.
#[test]
fn no_file_names_a_place_of_one_machine() {
    let places = [
        concat!("/", "home/"),
        concat!("/", "root/"),
        concat!("/", "work/"),
        concat!("/", "Users/"),
    ];
    let mut wrong = Vec::new();
    let mut read = 0;
    for path in files(".") {
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        read += 1;
        for place in places {
            if let Some(line) = text.lines().position(|line| names_place(line, place)) {
                wrong.push(format!(
                    "{}:{}: {place}",
                    path.strip_prefix(root()).unwrap().display(),
                    line + 1
                ));
            }
        }
    }
    assert!(read > 100, "only {read} files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the documents send a reader to is there: files, folders and links.
#[test]
fn the_documents_name_only_what_exists() {
    let documents = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "bench/RESULTS.md"];
    let mut wrong = Vec::new();
    let mut named = 0;
    for document in documents {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        for path in paths_in(&text) {
            named += 1;
            let beside = root().join(document).parent().unwrap().join(path);
            if !root().join(path).exists() && !beside.exists() {
                wrong.push(format!("{document} names {path}"));
            }
        }
    }
    assert!(named > 20, "only {named} paths");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Links to files, and words in backticks that look like a place in the repository.
fn paths_in(text: &str) -> Vec<&str> {
    let places = [
        "src/",
        "tests/",
        "rules/",
        "grafana/",
        "bench/",
        "provider_sim/",
        "templates/",
    ];
    let quoted = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| places.iter().any(|place| word.starts_with(place)) && !word.contains(char::is_whitespace));
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links = links.filter(|link| !link.starts_with('#') && !link.contains("://"));
    quoted.chain(links).collect()
}

#[test]
fn the_tests_of_tidiness_can_fail() {
    let check = |code: &str, expect: &[&str]| assert_eq!(functions_with_bodies(code), expect, "{code}");
    check(
        "pub trait T { fn a(&self, key: [u8; 32]) -> Result<(), E>; async fn b(); }",
        &[],
    );
    check("pub trait T { fn a(&self) -> u8 { 1 } }", &["a"]);
    assert_eq!(
        paths_in("see `src/no.rs`, `a b`, [x](y.md) and [z](https://z.example)"),
        ["src/no.rs", "y.md"]
    );
    check("fn a() where A: B { } fn b();", &["a"]);
    assert!(names_place(concat!("see /", "root/x"), concat!("/", "root/")));
    assert!(!names_place(
        concat!("https://a.example/", "root/x"),
        concat!("/", "root/")
    ));
}

/// A place, and not the same letters inside a longer path or an address.
fn names_place(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"._-$}/~".contains(c))
    })
}

/// The names of functions that have a body where they stand.
fn functions_with_bodies(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at]
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || c == '_')
        {
            continue;
        }
        let signature = &code[at + 3..];
        let name: String = signature
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let mut depth = 0_i32;
        let end = signature.chars().find(|c| {
            depth += match c {
                '(' | '[' => 1,
                ')' | ']' => -1,
                _ => 0,
            };
            depth == 0 && (*c == '{' || *c == ';')
        });
        if end == Some('{') && !name.is_empty() {
            found.push(name);
        }
    }
    found
}

fn each(check: impl Fn(&RustFile) -> Option<String>) {
    let wrong: Vec<String> = rust_files(&FOLDERS)
        .iter()
        .filter_map(|file| check(file).map(|wrong| format!("{} {wrong}", file.path)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
