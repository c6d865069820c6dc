//! Storage that breaks: a sync that failed, a record that was damaged, a directory that somebody else has.

use std::sync::{Arc, Mutex};

use posthaste::domain::Class;
use posthaste::queue::{Queue, QueueError};
use posthaste::store::{Embedded, EmbeddedSettings, OnFatal, OpenError, Seal};

use super::disk::Disk;
use super::{OnDisk, settings};
use crate::contract::{Bed, Mail, at, intent};

#[tokio::test]
async fn after_a_failed_sync_the_process_is_to_stop_and_nothing_is_acknowledged() {
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&reasons);
    let on_disk = OnDisk::new(
        EmbeddedSettings {
            on_fatal: OnFatal(Arc::new(move |reason| {
                told.lock().expect("nobody panics").push(reason.to_owned());
            })),
            ..settings()
        },
        1,
    );
    let disk = on_disk.disk.clone();
    let mut bed = Bed::new(on_disk);
    let kept = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;

    disk.break_sync();
    let lost = Mail::to(&["b@x.example"]).accept(bed.fresh_id());
    let answer = bed.queue().accept(lost).await;
    assert!(matches!(answer, Err(QueueError::Unavailable(_))), "{answer:?}");
    let syncs = disk.syncs();
    for _ in 0..3 {
        let another = Mail::to(&["c@x.example"]).accept(bed.fresh_id());
        let answer = bed.queue().accept(another).await;
        assert!(matches!(answer, Err(QueueError::Unavailable(_))), "{answer:?}");
        let answer = bed.queue().intent(intent(&leased, at(2))).await;
        assert!(matches!(answer, Err(QueueError::Unavailable(_))), "{answer:?}");
    }
    assert_eq!(disk.syncs(), syncs, "a sync that failed is not repeated");
    let reasons = reasons.lock().expect("nobody panics").clone();
    assert_eq!(reasons, ["syncing: the disk is broken"], "told once, and why");

    bed.crash().await;
    let leased = bed.lease(Class::Transactional, 10, at(100)).await;
    let found: Vec<_> = leased.iter().map(|one| one.delivery.id).collect();
    assert!(
        found.contains(&kept),
        "what was acknowledged before is there: {found:?}"
    );
    assert!(
        leased.iter().all(|one| one.open_intent.is_none()),
        "no INTENT was recorded"
    );
}

#[tokio::test]
async fn a_writer_that_panics_stops_the_process_instead_of_refusing_everything_in_silence() {
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&reasons);
    let on_fatal = OnFatal(Arc::new(move |reason| {
        told.lock().expect("nobody panics").push(reason.to_owned());
    }));
    let on_disk = OnDisk::new(EmbeddedSettings { on_fatal, ..settings() }, 1);
    let disk = on_disk.disk.clone();
    let mut bed = Bed::new(on_disk);
    disk.panic_once();
    let mail = Mail::to(&["b@x.example"]).accept(bed.fresh_id());
    let answer = bed.queue().accept(mail).await;
    assert!(matches!(answer, Err(QueueError::Unavailable(_))), "{answer:?}");
    let stopped = async {
        while reasons.lock().expect("nobody panics").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let stopped = tokio::time::timeout(std::time::Duration::from_secs(40), stopped).await;
    assert!(stopped.is_ok(), "the process is told to stop");
    assert_eq!(*reasons.lock().expect("nobody panics"), ["the writer panicked"]);
    // A process that stops closes nothing, and what panicked in its commit cannot be closed.
    std::mem::forget(bed);
}

/// A store on a disk on which `from` was replaced by `to` while it was closed.
fn reopened_with(disk: &Disk, from: &str, to: &str) -> Bed {
    let places = disk.overwrite(from.as_bytes(), to.as_bytes());
    assert!(places > 0, "{from} is on the disk");
    Bed::new(OnDisk::on(disk.clone(), settings(), 1))
}

#[tokio::test]
async fn a_damaged_record_is_reported_and_left_as_it_is_and_all_others_are_read() {
    let on_disk = OnDisk::new(settings(), 1);
    let disk = on_disk.disk.clone();
    let mut bed = Bed::new(on_disk);
    let damaged = bed.accept(&Mail::to(&["first@x.example"])).await[0];
    let sound = bed.accept(&Mail::to(&["second@x.example"])).await[0];
    drop(bed);

    let bed = reopened_with(&disk, "first@x.example", "fIrst@x.example");
    let message = bed.store().message(damaged.message).await;
    assert!(matches!(message, Err(QueueError::Damaged(_))), "{message:?}");
    let delivery = bed.store().delivery(damaged).await;
    assert!(matches!(delivery, Err(QueueError::Damaged(_))), "{delivery:?}");
    let cancelled = bed.queue().cancel(damaged, at(1)).await;
    assert!(matches!(cancelled, Err(QueueError::Damaged(_))), "{cancelled:?}");
    assert_eq!(
        bed.lease_ids(Class::Transactional, 10, at(1)).await,
        [sound],
        "nobody is stopped by it"
    );
    let depth = bed
        .queue()
        .depth(at(1))
        .await
        .expect("the damaged one does not hide how much waits");
    assert_eq!((depth.messages, depth.oldest), (2, Some(at(0))));
    assert_eq!(bed.delivery(sound).await.address, "second@x.example");
    assert!(bed.has_body(sound.message).await);
    drop(bed);

    let bed = reopened_with(&disk, "fIrst@x.example", "first@x.example");
    assert_eq!(
        bed.lease_ids(Class::Transactional, 10, at(1)).await,
        [damaged, sound],
        "what was damaged was left in its place"
    );
}

#[tokio::test]
async fn a_directory_is_for_one_process_at_a_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = || {
        let settings = EmbeddedSettings {
            path: directory.path().to_owned(),
            ..settings()
        };
        Embedded::open(settings, Seal::new([1; 32]))
    };
    let first = open().expect("opens");
    let refusal = open().expect_err("somebody has it");
    assert!(matches!(refusal, OpenError::InUse(_)), "{refusal}");
    let text = refusal.to_string();
    assert!(text.contains(&directory.path().display().to_string()), "{text}");
    assert!(first.depth(at(0)).await.is_ok(), "the first goes on");
    drop(first);
    assert!(open().is_ok(), "it is free again");
}
