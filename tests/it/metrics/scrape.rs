//! A real Prometheus scrapes a running engine and answers every query of the dashboards and alerts.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::bed::{Bed, PATIENCE};
use super::promql::{Query, alert_queries, filled, panel_queries, path};

/// Panels that may have nothing to show in a test, and why.
const MAY_BE_EMPTY: &[(&str, &str)] = &[
    (
        "posthaste_commit_",
        "the store's commits are not told to the observer yet",
    ),
    ("posthaste_warmup_", "the sources of these tests are warm"),
    ("posthaste_redis_", "the engine of these tests keeps its store itself"),
    (
        "posthaste_lane_connections_ceiling",
        "no receiver of these tests has a limit of connections",
    ),
    ("posthaste_lane_rate_limit", "no receiver of these tests has a rate"),
    ("posthaste_source_healthy", "nobody looks at the sources of these tests"),
    (
        "posthaste_unclassified_total",
        "every reply of these receivers is known",
    ),
    ("posthaste_tenant_paused", "nobody is paused in these tests"),
];

fn tool(name: &str) -> PathBuf {
    let tool = path("target/tools/prometheus/usr/bin").join(name);
    assert!(
        tool.exists(),
        "{} is missing: run tests/tools/setup.sh first",
        tool.display()
    );
    tool
}

/// A Prometheus of our own on any port; it ends with this value.
struct Prometheus {
    address: String,
    client: reqwest::Client,
    _process: Child,
    _data: TempDir,
}

impl Prometheus {
    async fn start(target: std::net::SocketAddr) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let config = data.path().join("prometheus.yml");
        let yaml = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\n\
             scrape_configs: [{{job_name: posthaste, static_configs: [{{targets: [\"{target}\"]}}]}}]\n"
        );
        std::fs::write(&config, yaml).expect("written");
        let mut process = Command::new(tool("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.path().join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Prometheus starts");
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await.expect("UTF-8") {
                if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
                    return address.split(' ').next().expect("an address").to_owned();
                }
            }
            panic!("Prometheus ended before it listened");
        };
        let address = tokio::time::timeout(PATIENCE, listening)
            .await
            .expect("it listens in time");
        // Its log must go on being read, or it blocks.
        actix_web::rt::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            address,
            client: reqwest::Client::new(),
            _process: process,
            _data: data,
        }
    }

    /// The samples that a query finds.
    async fn query(&self, query: &Query) -> Vec<Value> {
        let text = filled(&query.text, "30s");
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let response = self
            .client
            .post(format!("http://{}/api/v1/query", self.address))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("query={encoded}"))
            .send()
            .await;
        let answer: Value = response.expect("an answer").json().await.expect("JSON");
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        assert!(answer["warnings"].is_null(), "{query}: {answer}");
        answer["data"]["result"].as_array().expect("samples").clone()
    }
}

/// Whether a sample is a number: a rate over nothing gives NaN, which a panel shows as a gap.
fn is_number(sample: &Value) -> bool {
    let value = sample["value"][1].as_str().expect("a value");
    value.parse::<f64>().is_ok_and(f64::is_finite)
}

fn excused(query: &Query) -> bool {
    MAY_BE_EMPTY.iter().any(|(name, _)| query.text.contains(name))
}

/// Mail of all classes that is delivered, bounced, greylisted, or finds no open door; and calls that fail.
async fn traffic(bed: &Bed, round: usize) {
    for class in ["critical", "transactional", "broadcast"] {
        bed.send(&format!("user{round}@good.test"), "Hello", class).await;
    }
    bed.send(&format!("nobody{round}@good.test"), "Hello", "broadcast")
        .await;
    bed.send(&format!("user{round}@grey.test"), "Hello", "transactional")
        .await;
    bed.send(&format!("user{round}@shut.test"), "Hello", "transactional")
        .await;
    let (status, answer) = bed.post("/v1/emails", &Value::Null).await;
    assert!((400..500).contains(&status), "{status} {answer}");
}

#[actix_web::test]
async fn a_real_prometheus_answers_every_panel_and_every_alert() {
    let bed = Bed::start().await;
    let prometheus = Prometheus::start(bed.running.metrics.expect("an address")).await;
    let mut open: Vec<Query> = panel_queries();
    assert!(open.len() > 30, "{}", open.len());
    let mut round = 0;
    let all_have_data = async {
        // A rate needs a series that grew between two scrapes.
        while open.iter().any(|query| !excused(query)) {
            traffic(&bed, round).await;
            round += 1;
            tokio::time::sleep(Duration::from_millis(300)).await;
            let mut still = Vec::new();
            for query in std::mem::take(&mut open) {
                if !prometheus.query(&query).await.iter().any(is_number) {
                    still.push(query);
                }
            }
            open = still;
        }
    };
    let answered = tokio::time::timeout(PATIENCE, all_have_data).await.is_ok();
    assert!(answered, "no data for {open:#?}\n{}", bed.metrics().await);
    for query in alert_queries() {
        prometheus.query(&query).await;
    }
    bed.stop().await;
}

#[actix_web::test]
async fn the_figures_are_those_of_what_happened() {
    let bed = Bed::start().await;
    traffic(&bed, 0).await;
    bed.wait_for_metrics(&[
        r#"posthaste_accepted_total{class="critical"} 1"#,
        r#"posthaste_accepted_total{class="transactional"} 3"#,
        r#"posthaste_accepted_total{class="broadcast"} 2"#,
        r#"posthaste_delivered_total{provider="route:good",source="default",class="critical"} 1"#,
        r#"posthaste_delivered_total{provider="route:good",source="default",class="broadcast"} 1"#,
        r#"posthaste_bounced_total{provider="route:good",class="broadcast",reason="invalid_recipient"} 1"#,
        r#"posthaste_deferred_total{provider="route:grey",class="transactional",reason="greylisted"} 1"#,
        r#"posthaste_delivery_seconds_count{class="transactional"} 1"#,
        r#"posthaste_smtp_phase_seconds_count{phase="envelope"} 5"#,
        r#"posthaste_smtp_phase_seconds_count{phase="body"} 3"#,
        r#"posthaste_smtp_phase_seconds_count{phase="dot"} 3"#,
        r#"posthaste_api_requests_total{status="202"} 6"#,
        "posthaste_api_request_seconds_count 7",
        r#"posthaste_deliveries{state="delivered"} 3"#,
        r#"posthaste_deliveries{state="bounced"} 1"#,
        r#"posthaste_queue_depth{class="transactional"} 2"#,
        r#"posthaste_ambiguous_total{class="critical"} 0"#,
        r#"posthaste_actor_restarts_total{kind="session"} 0"#,
    ])
    .await;
    let received = [&bed.good, &bed.grey, &bed.shut].map(|receiver| receiver.ledger().total());
    assert_eq!(received, [3, 0, 0]);
    bed.stop().await;
}

#[track_caller]
fn check_promtool(arguments: &[&str]) {
    let mut command = std::process::Command::new(tool("promtool"));
    let output = command
        .args(arguments)
        .current_dir(path(""))
        .output()
        .expect("promtool runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}

#[test]
fn promtool_finds_the_alerts_and_the_configuration_sound() {
    check_promtool(&["check", "rules", "grafana/alerts.yaml"]);
    check_promtool(&["check", "config", "grafana/prometheus.yaml"]);
}

#[test]
fn every_alert_fires_when_it_must_and_none_when_all_is_well() {
    check_promtool(&["test", "rules", "tests/tools/alerts_fire.yaml"]);
}

#[actix_web::test]
async fn promtool_finds_what_the_engine_shows_sound() {
    use std::io::Write as _;
    let bed = Bed::start().await;
    traffic(&bed, 0).await;
    let text = bed.metrics().await;
    bed.stop().await;
    let mut process = std::process::Command::new(tool("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    process
        .stdin
        .take()
        .expect("piped")
        .write_all(text.as_bytes())
        .expect("written");
    let output = process.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{text}");
}
