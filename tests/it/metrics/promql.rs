//! The queries of dashboards and alerts, and what they name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// One query and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) place: String,
    pub(super) text: String,
}

impl std::fmt::Display for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// A metric as a query selects it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector {
    /// As written, with `_bucket`, `_sum` or `_count`.
    pub(super) series: String,
    /// Label and the values asked for.
    pub(super) matchers: Vec<(String, String)>,
}

/// A path inside the repository.
pub(super) fn path(inside: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(inside)
}

fn read(inside: &str) -> String {
    std::fs::read_to_string(path(inside)).unwrap_or_else(|error| panic!("{inside}: {error}"))
}

/// All dashboards: file name and content.
pub(super) fn dashboards() -> Vec<(String, Value)> {
    let folder = std::fs::read_dir(path("grafana/dashboards")).expect("the folder of dashboards");
    let mut found: Vec<(String, Value)> = folder
        .map(|entry| {
            let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
            let text = read(&format!("grafana/dashboards/{name}"));
            let dashboard = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, dashboard)
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(!found.is_empty());
    found
}

/// The panels of a dashboard that show something.
pub(super) fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().expect("panels");
    panels.iter().filter(|panel| panel["type"] != "row").collect()
}

/// All alerting rules.
pub(super) fn alerts() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&read("grafana/alerts.yaml")).expect("YAML");
    let groups = file["groups"].as_array().expect("groups");
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().expect("rules").clone())
        .collect()
}

/// The queries of all panels.
pub(super) fn panel_queries() -> Vec<Query> {
    let mut queries = Vec::new();
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().expect("targets") {
                queries.push(Query {
                    place: format!("{file}: {}", panel["title"].as_str().expect("a title")),
                    text: target["expr"].as_str().expect("an expression").to_owned(),
                });
            }
        }
    }
    queries
}

/// The expressions of all alerts.
pub(super) fn alert_queries() -> Vec<Query> {
    let query = |rule: Value| Query {
        place: format!("alert {}", rule["alert"].as_str().expect("a name")),
        text: rule["expr"].as_str().expect("an expression").to_owned(),
    };
    alerts().into_iter().map(query).collect()
}

/// The query with the variables of dashboards filled in: everything, over this window.
pub(super) fn filled(query: &str, window: &str) -> String {
    let filled = query
        .replace("$__rate_interval", window)
        .replace("$provider", ".*")
        .replace("$source", ".*")
        .replace("$class", ".*");
    assert!(!filled.contains('$'), "an unknown variable: {filled}");
    filled
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == ':'
}

/// What a query selects: every name of ours with its matchers.
pub(super) fn selectors(query: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(start) = rest.find("posthaste") {
        let name = &rest[start..];
        let end = name.find(|character| !is_name(character)).unwrap_or(name.len());
        let (series, after) = name.split_at(end);
        let mut matchers = Vec::new();
        rest = after;
        if let Some(inside) = after.strip_prefix('{') {
            let (inside, after) = inside.split_once('}').expect("a closing brace");
            for matcher in inside.split(',').map(str::trim).filter(|matcher| !matcher.is_empty()) {
                let end = matcher.find(|character| !is_name(character)).expect("an operator");
                let value = matcher[end..].trim_start_matches(['=', '~', '!']).trim_matches('"');
                matchers.push((matcher[..end].to_owned(), value.to_owned()));
            }
            rest = after;
        }
        found.push(Selector {
            series: series.to_owned(),
            matchers,
        });
    }
    found
}

/// The labels by which a query groups or joins.
pub(super) fn grouped_by(query: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for word in ["by", "without", "on", "ignoring"] {
        for (index, _) in query.match_indices(word) {
            let whole = !query[..index].ends_with(is_name);
            let after = query[index + word.len()..].trim_start();
            let Some(inside) = after.strip_prefix('(').filter(|_| whole) else {
                continue;
            };
            let (inside, _) = inside.split_once(')').expect("a closing parenthesis");
            found.extend(inside.split(',').map(|label| label.trim().to_owned()));
        }
    }
    found
}

#[test]
fn names_matchers_and_groups_are_found() {
    let query = r#"sum by (le, class) (rate(posthaste_a_bucket{class=~"x|y", le!="1"}[5m])) / on(class) posthaste_b"#;
    let selector = |series: &str, matchers: &[(&str, &str)]| Selector {
        series: series.to_owned(),
        matchers: matchers
            .iter()
            .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
            .collect(),
    };
    let expected = [
        selector("posthaste_a_bucket", &[("class", "x|y"), ("le", "1")]),
        selector("posthaste_b", &[]),
    ];
    assert_eq!(selectors(query), expected);
    assert_eq!(grouped_by(query), BTreeSet::from(["le".to_owned(), "class".to_owned()]));
}
