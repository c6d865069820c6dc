//! The disk under Redis is full (R4), with each way of syncing. Needs the right to mount a small file system; without it these
//! tests say that they were skipped.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use posthaste::clock::Clock;
use tempfile::TempDir;
use test_rig::{RedisOptions, RedisServer};

use super::engine::{all_delivered, is_ready, mails, metric, on};
use crate::engine::bed::{door, eventually, mail, numbered, plain, sum};
use crate::engine::process::{Home, Process};

/// A file system of 16 MiB in memory; unmounted when dropped.
struct Small {
    folder: TempDir,
}

impl Small {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
            .arg(folder.path())
            .output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        is_mounted.then_some(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).unwrap();
        for size in [64 << 10, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

/// Posts until a call is refused; gives the ids of those that were not.
async fn until_refused(engine: &Process) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..1_000 {
        let answer = engine
            .http
            .post("/v1/emails", &mail(&format!("more{number}@a.test")))
            .await;
        let answer = answer.unwrap();
        match answer.status {
            202 => ids.push(answer.body["id"].as_str().unwrap().to_owned()),
            status => {
                assert_eq!(status, 503, "{answer:?}");
                return ids;
            }
        }
    }
    panic!("the disk is not full");
}

#[expect(clippy::print_stdout, reason = "a test that cannot run says so")]
async fn check(appendfsync: &str) {
    let Some(small) = Small::mount() else {
        println!("skipped: this user may not mount a file system");
        return;
    };
    let receiver = plain().await;
    let options = RedisOptions::new().data(small.path()).set("appendfsync", appendfsync);
    let mut server = RedisServer::start(&options).unwrap();
    let mut home = Home::with(&on(&server, &[door("a.test", &receiver)]));
    let engine = home.start().await;
    let soon = Clock::system().now().plus(Duration::from_secs(6));
    let scheduled = mails(&numbered(20, "a.test"), Some(&soon.to_string()));
    let mut ids = engine.http.send_batch(scheduled).await;
    small.fill();
    ids.extend(until_refused(&engine).await);
    // The mail that was accepted before falls due while nothing can be recorded. On a very slow machine it was sent before.
    let was_due = Clock::system().now() > soon;
    let errors = async || sum(&engine.metrics().await, "posthaste_store_errors_total", &[]);
    let before = errors().await;
    eventually("the engine feels it", async || errors().await > before).await;
    match appendfsync {
        "always" => assert!(server.ended().unwrap(), "Redis ends rather than lose a write"),
        _ => {
            eventually("the alarm", async || {
                metric(&engine, "posthaste_redis_not_persisting").await == 1.0
            })
            .await
        }
    }
    eventually("the mail is due", async || Clock::system().now() > soon).await;
    let before = errors().await;
    eventually("the engine tries", async || errors().await > before).await;
    let sent = receiver.ledger().records_for("user0@a.test").len();
    assert!(was_due || sent == 0, "nothing is sent that cannot be recorded");
    small.free();
    if server.ended().unwrap() {
        server.restart().unwrap();
    }
    eventually("ready again", async || is_ready(&engine.http).await).await;
    all_delivered(&engine.http, &ids).await;
    eventually("mail is accepted again", async || {
        let answer = engine.http.post("/v1/emails", &mail("later@a.test")).await.unwrap();
        answer.status == 202
    })
    .await;
    assert_eq!(engine.terminate().await, Some(0));
}

#[tokio::test]
async fn a_full_disk_under_a_redis_that_syncs_each_second_loses_nothing() {
    check("everysec").await;
}

#[tokio::test]
async fn a_full_disk_under_a_redis_that_syncs_each_write_loses_nothing() {
    check("always").await;
}
