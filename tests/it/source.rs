//! Reads the project's own source text for the tests of its shape (`layers`, `tidy`).
//!
//! Takes nothing but the checkout; gives files with their comments and literals blanked out, so that a word in prose is
//! not taken for code. It is a scanner, no parser: macros that build paths from pieces escape it.

use std::path::{Path, PathBuf};

/// One Rust file.
pub(crate) struct RustFile {
    /// Its path from the root, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
    /// Its text with comments, strings and characters blanked; the lines are the same.
    pub(crate) code: String,
}

impl RustFile {
    /// Whether it holds tests only.
    pub(crate) fn is_tests(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.starts_with("tests/") || self.path.contains("/tests/")
    }

    /// The code without the tests at its bottom.
    pub(crate) fn shipped(&self) -> &str {
        let end = self.code.find("#[cfg(test)]\nmod ").unwrap_or(self.code.len());
        &self.code[..end]
    }
}

/// The root of the checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder of the root, without build output and hidden folders' insides.
pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let entry = entry.unwrap();
            let name = entry.file_name();
            let skipped = ["target", "data", ".git"].iter().any(|skipped| name == *skipped);
            match entry.file_type().unwrap() {
                kind if kind.is_dir() && !skipped => folders.push(entry.path()),
                kind if kind.is_file() && !skipped => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// All Rust files below these folders of the root.
pub(crate) fn rust_files(folders: &[&str]) -> Vec<RustFile> {
    let files: Vec<RustFile> = folders
        .iter()
        .flat_map(|folder| files(folder))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            RustFile {
                path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(),
                code: code_only(&text),
                text,
            }
        })
        .collect();
    assert!(!files.is_empty(), "no Rust files below {folders:?}");
    files
}

/// The text with comments and literals blanked by spaces, line for line.
pub(crate) fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = prose_length(rest, code.chars().next_back());
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    code
}

/// Length of the comment or literal that `rest` starts with; 0 when it starts with code.
fn prose_length(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    let in_a_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with('r') && !in_a_word || rest.starts_with("br") && !in_a_word {
        let body = rest.trim_start_matches(['b', 'r']);
        let hashes = body.len() - body.trim_start_matches('#').len();
        if body[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let start = rest.len() - body.len() + hashes + 1;
            return rest[start..]
                .find(&close)
                .map_or(rest.len(), |end| start + end + close.len());
        }
    }
    if let Some(inner) = rest.strip_prefix('\'') {
        let mut characters = inner.chars();
        let (first, second) = (characters.next(), characters.next());
        if first == Some('\\') || second == Some('\'') {
            return quoted(rest, '\'');
        }
    }
    0
}

/// Length of a literal between quotes, escapes heeded.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + character.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// The words of code with the line each stands on.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().flat_map(|(line, text)| {
        text.split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty())
            .map(move |word| (line + 1, word))
    })
}

#[test]
fn comments_and_literals_are_not_code() {
    let check = |text: &str, expect: &[&str]| {
        let code = code_only(text);
        assert_eq!(code.lines().count(), text.lines().count(), "{text}");
        assert_eq!(words(&code).map(|(_, word)| word).collect::<Vec<_>>(), expect, "{text}");
    };
    check("let a = 1; // tokio\nb", &["let", "a", "1", "b"]);
    check("/* tokio\n */ b", &["b"]);
    check(r#"say("tokio \" async"); b"#, &["say", "b"]);
    check(r##"say(r#"tokio " async"#); b"##, &["say", "b"]);
    check(
        r"match c { '\'' => x, '\u{20}' => y, 'z' => w }",
        &["match", "c", "x", "y", "w"],
    );
    check(
        "fn f<'a>(b: &'a str) -> &'static str",
        &["fn", "f", "a", "b", "a", "str", "static", "str"],
    );
    check(
        "let r = br\"async\"; let hour = \"x\"; b",
        &["let", "r", "let", "hour", "b"],
    );
}
