//! The command listens where it says, ends on a signal and prints what it holds.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::client::{Client, SOON};

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provider_sim"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn it_listens_counts_and_tells_when_it_is_interrupted() {
    let two = [
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.1:0",
        "--profile",
        "yahoo",
    ];
    let mut child = command().args(two).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || -> Value {
        let line = tokio::time::timeout(SOON, lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .expect("a line");
        serde_json::from_str(&line).unwrap()
    };
    let first = next().await;
    let second = next().await;
    assert_eq!(
        (&first["profile"], &second["profile"]),
        (&Value::from("yahoo"), &Value::from("yahoo"))
    );

    let mut client = Client::connect_to(second["listening"].as_str().unwrap().parse().unwrap()).await;
    client.reply().await;
    client.say("EHLO c").await;
    assert_eq!(client.deliver("bob@x.test", "<1>").await.0, "250 ok dirdel\r\n");
    let pid = child.id().unwrap().to_string();
    Command::new("kill").args(["-INT", &pid]).status().await.unwrap();
    let (one, two, ledger) = (next().await, next().await, next().await);
    assert_eq!(
        (&one["counters"]["accepted"], &two["counters"]["accepted"]),
        (&Value::from(0), &Value::from(1))
    );
    assert_eq!(
        ledger.to_string(),
        r#"{"ledger":{"duplicates":0,"total":1,"unique":1}}"#
    );
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_printed_profile_can_be_used_again_and_unknown_names_are_refused() {
    let printed = command().args(["--print-profile", "company"]).output().await.unwrap();
    let behaviour: provider_sim::Behaviour = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(behaviour, provider_sim::Behaviour::company());
    let refused = command().args(["--profile", "hotmail"]).output().await.unwrap();
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && words.contains("there is no profile \"hotmail\"; there are plain"),
        "{words}"
    );
}

#[tokio::test]
async fn scenario_files_are_played_on_ports_of_their_own_and_bad_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let one = file("one.yaml", "name: one\nconnections: 1\nconnect_ms: 1\n");
    let two = file(
        "two.yaml",
        "name: two\nspeaks: google\nconnect_ms: 1\nrates: [{per_second: 0.001}]\n",
    );
    let bad = file("bad.yaml", "name: bad\nconections: 1\n");
    let mut child = command()
        .args(["--listen", "127.0.0.1:0", "--report-every", "1"])
        .arg("--scenario")
        .arg(one)
        .arg("--scenario")
        .arg(two)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || -> Value {
        let line = tokio::time::timeout(SOON, lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .expect("a line");
        serde_json::from_str(&line).unwrap()
    };
    let (first, second) = (next().await, next().await);
    assert_eq!(
        (&first["scenario"], &second["scenario"]),
        (&"one".into(), &"two".into())
    );
    let address = |line: &Value| line["listening"].as_str().unwrap().parse().unwrap();
    let mut client = Client::connect_to(address(&second)).await;
    client.reply().await;
    client.say("EHLO c").await;
    assert_eq!(client.say("MAIL FROM:<a@b.test>").await.code(), "250");
    client.say("RSET").await;
    let refused = client.say("MAIL FROM:<a@b.test>").await;
    assert!(refused.0.starts_with("421 4.7.0 Try again later"), "{refused:?}");
    let mut told = next().await;
    while told["scenario"] != "two" || told["counters"]["deferred"]["rate"] != 1 {
        told = next().await;
    }
    child.kill().await.unwrap();

    let refused = command().arg("--scenario").arg(bad).output().await.unwrap();
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && words.contains("conections"), "{words}");
}
