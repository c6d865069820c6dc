//! More than the engine can take: it says so early, with a time to come back, and costs neither memory nor CPU.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::bed::{Answer, config, eventually, mail};
use super::process::{Home, Process};

/// Bytes of a large file; its Base64 makes a body of 24 MB.
const FILE_BYTES: usize = 18_000_000;
/// Calls with a large body at the same time.
const FLOOD: usize = 12;
/// Bodies in hand, pages of the database and mail kept in memory: what the config below allows, in MiB.
const BUDGET_MIB: [u64; 3] = [96, 16, 16];
/// What one large mail may be at the same time: JSON, values, record, and pages that wait for their commit.
const COPIES: u64 = 3;
/// Clock ticks of CPU that a spinning process is given before the engine is held against it.
const SPIN_TICKS: u64 = 100;

fn tight_config() -> String {
    let [bodies, pages, mails] = BUDGET_MIB;
    config(&[])
        .replace(
            "store: {reserve_mib: 1}",
            &format!("store: {{reserve_mib: 1, cache_mib: {pages}, message_cache_mib: {mails}}}"),
        )
        .replace("workers: 1}", &format!("workers: 1, body_memory_mib: {bodies}}}"))
}

/// A number that the kernel shows of a process, in KiB.
fn kib(process: &Process, field: &str) -> u64 {
    let path = format!("/proc/{}/status", process.id());
    let text = std::fs::read_to_string(path).expect("it runs");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .expect("is shown");
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

/// Clock ticks of CPU that a process had so far.
fn ticks(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let fields: Vec<&str> = text.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    // User and system time, the 14th and 15th field (proc(5)); those before the name are gone.
    [11, 12]
        .iter()
        .map(|at| fields[*at].parse::<u64>().expect("a number"))
        .sum()
}

/// A mail that waits for a day, with a large file.
fn large_mail(scheduled_at: &str) -> Value {
    let mut large = mail("jacky@example.test");
    large["scheduled_at"] = json!(scheduled_at);
    large["attachments"] = json!([{"filename": "a.bin", "content": "QUJD".repeat(FILE_BYTES / 3)}]);
    large
}

#[actix_web::test]
async fn a_flood_of_large_bodies_is_refused_before_memory_grows() {
    let mut home = Home::with(&tight_config());
    let process = home.start().await;
    let before = kib(&process, "VmRSS:");
    let tomorrow = posthaste::clock::Clock::system()
        .now()
        .plus(Duration::from_secs(24 * 3600));
    let large = bytes::Bytes::from(large_mail(&tomorrow.to_string()).to_string());
    let calls = (0..FLOOD).map(|_| process.http.post_text(large.clone()));
    let answers = futures_util::future::join_all(calls).await;
    // A call that is refused before its body is read may not hear it: the connection closes while it still sends.
    let answers: Vec<Answer> = answers.into_iter().filter_map(Result::ok).collect();
    let refused = answers.iter().filter(|answer| answer.status == 503).count();
    let accepted = answers.iter().filter(|answer| answer.status == 202).count();
    assert_eq!(refused + accepted, answers.len(), "{answers:?}");
    assert!(refused > 0 && accepted > 0, "{refused} refused, {accepted} accepted");
    for answer in answers.iter().filter(|answer| answer.status == 503) {
        assert_eq!(answer.body["code"], "overloaded");
        assert!(answer.retry_after.is_some(), "{answer:?}");
    }
    let [bodies, pages, mails] = BUDGET_MIB;
    let allowed = before + (bodies * COPIES + pages + mails) * 1024;
    let peak = kib(&process, "VmHWM:");
    println!(
        "{} MiB at first, {} MiB at most, {} MiB allowed",
        before / 1024,
        peak / 1024,
        allowed / 1024
    );
    assert!(peak <= allowed, "{peak} KiB at most, {allowed} KiB are allowed");
    process.http.send(&mail("jacky@example.test")).await;
}

#[actix_web::test]
async fn a_process_without_file_descriptors_does_not_spin_and_recovers() {
    let mut home = Home::with(&config(&[]));
    let process = home.start().await;
    process.http.send(&mail("jacky@example.test")).await;
    let folder = format!("/proc/{}/fd", process.id());
    let open = || std::fs::read_dir(&folder).expect("it runs").count();
    let limit = async |most: usize| {
        let limited = Command::new("prlimit")
            .args(["--pid", &process.id().to_string(), &format!("--nofile={most}:{most}")])
            .status()
            .await;
        assert!(limited.is_ok_and(|status| status.success()), "prlimit is there");
    };
    let most = open() + 4;
    limit(most).await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(
            TcpStream::connect(process.http.api())
                .await
                .expect("the kernel takes it"),
        );
    }
    eventually("its file descriptors are used up", async || open() >= most).await;

    let mut spinner = Command::new("sh")
        .args(["-c", "while :; do :; done"])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("starts");
    let (its, ours) = (spinner.id().expect("runs"), ticks(process.id()));
    eventually("the spinner had its time", async || ticks(its) >= SPIN_TICKS).await;
    let (its, ours) = (ticks(its), ticks(process.id()) - ours);
    spinner.kill().await.expect("ends");
    assert!(ours * 4 < its, "{ours} ticks, where one that spins had {its}");

    drop(waiting);
    let accepted = async || {
        let answer = process.http.post("/v1/emails", &mail("jacky@example.test")).await;
        answer.is_ok_and(|answer| answer.status == 202)
    };
    eventually("mail is accepted again", accepted).await;
}
