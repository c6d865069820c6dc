//! Dashboards and alerts name what exists, all of it, and say what it means.

use std::collections::BTreeSet;

use posthaste::domain::{BounceClass, Class, State};
use posthaste::observe::{METRICS, Metric, MetricKind};
use serde_json::Value;

use super::promql::{Query, alert_queries, alerts, dashboards, grouped_by, panel_queries, panels, selectors};

/// Metrics that no dashboard shows, and why.
const NOT_SHOWN: &[(&str, &str)] = &[(
    "posthaste_rules_shadow_total",
    "rules on trial are looked at in /v1/admin/rules/shadow",
)];

fn all_queries() -> Vec<Query> {
    let mut queries = panel_queries();
    queries.extend(alert_queries());
    queries
}

/// The metric that a series belongs to: histograms are read by their parts, all others by their name.
fn metric_of(series: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| match metric.kind {
        MetricKind::Histogram(_) => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|part| series.strip_suffix(part) == Some(metric.name)),
        MetricKind::Counter | MetricKind::Gauge => series == metric.name,
    })
}

fn has_label(metric: &Metric, series: &str, label: &str) -> bool {
    metric.labels.contains(&label) || (label == "le" && series.ends_with("_bucket"))
}

/// States of a lane.
const LANE_STATES: [&str; 5] = ["open", "slow", "stopped", "canary", "unreachable"];

/// Every value that a label of ours can have, where they are known beforehand.
fn known_values(series: &str, label: &str) -> Option<Vec<&'static str>> {
    match label {
        "state" if series == "posthaste_lane_state" => Some(LANE_STATES.to_vec()),
        "class" => Some(Class::ALL.map(Class::name).to_vec()),
        "state" => Some(State::ALL.map(State::name).to_vec()),
        "reason" => Some(BounceClass::ALL.iter().map(|class| class.name()).collect()),
        _ => None,
    }
}

#[test]
fn every_metric_that_a_query_names_exists() {
    for query in all_queries() {
        let selectors = selectors(&query.text);
        assert!(!selectors.is_empty(), "{query} names no metric of ours");
        for selector in selectors {
            assert!(metric_of(&selector.series).is_some(), "{}: {query}", selector.series);
        }
    }
}

#[test]
fn every_metric_is_shown_or_says_why_not() {
    let shown: BTreeSet<&str> = panel_queries()
        .iter()
        .flat_map(|query| selectors(&query.text))
        .filter_map(|selector| metric_of(&selector.series))
        .map(|metric| metric.name)
        .collect();
    for metric in METRICS {
        let excused = NOT_SHOWN.iter().any(|(name, _)| *name == metric.name);
        assert_ne!(shown.contains(metric.name), excused, "{}", metric.name);
    }
    for (name, why) in NOT_SHOWN {
        assert!(METRICS.iter().any(|metric| metric.name == *name), "{name}");
        assert!(!why.is_empty(), "{name}");
    }
}

#[test]
fn every_label_that_a_query_uses_exists() {
    for query in all_queries() {
        let selectors = selectors(&query.text);
        for selector in &selectors {
            let metric = metric_of(&selector.series).expect("every metric exists");
            for (label, _) in &selector.matchers {
                assert!(has_label(metric, &selector.series, label), "{label}: {query}");
            }
        }
        for label in grouped_by(&query.text) {
            let known = selectors.iter().any(|selector| {
                let metric = metric_of(&selector.series).expect("every metric exists");
                has_label(metric, &selector.series, &label)
            });
            assert!(known, "{label}: {query}");
        }
    }
}

#[test]
fn every_label_value_that_a_query_asks_for_can_come() {
    for query in all_queries() {
        let selectors = selectors(&query.text);
        let asked = selectors.iter().flat_map(|selector| {
            let matchers = selector.matchers.iter();
            matchers.map(move |(label, asked)| (&selector.series, label, asked))
        });
        for (series, label, asked) in asked {
            let Some(known) = known_values(series, label) else {
                continue;
            };
            for value in asked.split('|').filter(|value| !value.starts_with('$')) {
                assert!(known.contains(&value), "{label}={value}: {query}");
            }
        }
    }
}

#[test]
fn legends_name_labels_that_their_query_leaves() {
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().expect("targets") {
                let left = grouped_by(target["expr"].as_str().expect("an expression"));
                let legend = target["legendFormat"].as_str().expect("a legend");
                for part in legend.split("{{").skip(1) {
                    let (label, _) = part.split_once("}}").expect("closing braces");
                    assert!(left.contains(label), "{file}: {label} in {target}");
                }
            }
        }
    }
}

#[test]
fn every_panel_has_a_title_a_description_and_a_unit() {
    let said = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let title = &panel["title"];
            assert!(said(title), "{file}: {panel}");
            assert!(said(&panel["description"]), "{file}: {title}");
            assert!(said(&panel["fieldConfig"]["defaults"]["unit"]), "{file}: {title}");
        }
    }
}

#[test]
fn panels_do_not_overlap_and_have_ids_of_their_own() {
    for (file, dashboard) in dashboards() {
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in dashboard["panels"].as_array().expect("panels") {
            assert!(
                ids.insert(panel["id"].as_u64().expect("an id")),
                "{file}: {}",
                panel["id"]
            );
            let place = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
            assert!(place("x") + place("w") <= 24, "{file}: {}", panel["title"]);
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(taken.insert((x, y)), "{file}: {} lies on another", panel["title"]);
                }
            }
        }
    }
}

#[test]
fn every_alert_says_what_is_wrong_how_bad_it_is_and_in_which_unit() {
    let mut names = BTreeSet::new();
    for rule in alerts() {
        let name = rule["alert"].as_str().expect("a name").to_owned();
        for key in ["summary", "description", "unit"] {
            let text = rule["annotations"][key].as_str();
            assert!(text.is_some_and(|text| !text.is_empty()), "{name}: {key}");
        }
        let severity = rule["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("page" | "ticket")), "{name}: {severity:?}");
        assert!(names.insert(name.clone()), "{name} twice");
    }
    assert!(!names.is_empty());
}

#[test]
fn every_metric_is_well_named_and_explained() {
    let mut names = BTreeSet::new();
    for metric in METRICS {
        let name = metric.name;
        assert!(names.insert(name), "{name} twice");
        assert!(name.starts_with("posthaste_"), "{name}");
        let counter = metric.kind == MetricKind::Counter;
        assert_eq!(name.ends_with("_total"), counter, "{name}");
        assert!(
            metric.help.ends_with('.') && metric.help.len() > 20,
            "{name}: {}",
            metric.help
        );
        if let MetricKind::Histogram(bounds) = metric.kind {
            assert!(bounds.is_sorted_by(|one, next| one < next), "{name}: {bounds:?}");
        }
    }
}
