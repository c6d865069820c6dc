//! A full disk with a reserve: what has left is recorded all the same, nothing else is, and everything goes on by itself.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use posthaste::domain::Class;
use posthaste::queue::{Accepted, IntentAnswer, Leased, Queue, QueueError, SettleAnswer};
use posthaste::store::{Embedded, EmbeddedSettings, Seal, Store};

use super::disk::Disk;
use super::{OnDisk, settings};
use crate::contract::{Backend, Bed, Mail, at, delivered, intent};

/// No condition here takes longer.
const WITHIN: Duration = Duration::from_secs(40);
/// The reserve of these tests.
const RESERVE: u64 = 1 << 20;
/// ACCEPTs that fill any disk here.
const ENOUGH: usize = 2_000;

fn with_reserve() -> EmbeddedSettings {
    EmbeddedSettings {
        reserve_bytes: RESERVE,
        reopen_after: Duration::from_millis(1),
        ..settings()
    }
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(WITHIN, wait).await.is_ok(), "{what}");
}

/// Deliveries whose dots have left.
async fn in_the_air(bed: &mut Bed, count: usize) -> Vec<Leased> {
    for _ in 0..count {
        bed.accept_one().await;
    }
    let leased = bed.lease(Class::Transactional, count, at(1)).await;
    for one in &leased {
        assert_eq!(bed.intent(one, at(2)).await, IntentAnswer::Recorded);
    }
    leased
}

/// Accepts until the disk is full.
async fn fill(bed: &mut Bed) -> usize {
    for accepted in 0..ENOUGH {
        let mail = Mail::to(&["filler@x.example"]).accept(bed.fresh_id());
        match bed.queue().accept(mail).await {
            Ok(Accepted::New) => {}
            other => {
                assert_eq!(other, Err(QueueError::Full));
                return accepted;
            }
        }
    }
    panic!("the disk never fills up");
}

/// What has left is recorded; nothing is accepted and no dot leaves.
async fn only_outcomes_are_taken(bed: &mut Bed, air: &[Leased]) {
    let (last, others) = air.split_last().expect("some");
    for one in others {
        assert_eq!(bed.settle(delivered(one, at(3))).await, SettleAnswer::Settled);
        let mail = Mail::to(&["b@x.example"]).accept(bed.fresh_id());
        assert_eq!(bed.queue().accept(mail).await, Err(QueueError::Full));
        assert_eq!(bed.queue().intent(intent(last, at(3))).await, Err(QueueError::Full));
    }
    assert_eq!(
        bed.delivery(others[0].delivery.id).await.state,
        posthaste::domain::State::Delivered
    );
}

#[tokio::test]
async fn outcomes_of_what_has_left_are_recorded_in_the_reserve_and_all_goes_on_by_itself() {
    let on_disk = OnDisk::new(with_reserve(), 1);
    let (disk, store): (Disk, Embedded) = (on_disk.disk.clone(), on_disk.store().clone());
    let reserved = disk.reserved();
    assert_eq!(reserved, RESERVE / 4096);
    let mut bed = Bed::new(on_disk);
    let air = in_the_air(&mut bed, 30).await;
    disk.set_room(Some(20));
    let filled = fill(&mut bed).await;
    assert_eq!(disk.reserved(), 0, "its room was given to those who write");
    only_outcomes_are_taken(&mut bed, &air).await;
    assert_eq!(
        store.stats().full.load(Ordering::Relaxed),
        1,
        "and it is not opened again and again"
    );

    // Nobody asks for anything: the reserve is made again all the same.
    disk.set_room(Some(10_000));
    until("the reserve is made again", async || disk.reserved() == reserved).await;
    let mail = Mail::to(&["b@x.example"]).accept(bed.fresh_id());
    assert_eq!(bed.queue().accept(mail).await, Ok(Accepted::New));
    let last = air.last().expect("some");
    assert_eq!(bed.settle(delivered(last, at(4))).await, SettleAnswer::Settled);
    drop(store);
    bed.crash().await;
    let depth = bed.queue().depth(at(5)).await.expect("counts");
    assert_eq!(depth.messages, 31 + filled as u64, "what was refused was not stored");
}

#[tokio::test]
async fn a_start_without_room_for_the_reserve_takes_outcomes_only() {
    let disk = Disk::default();
    let mut bed = Bed::new(OnDisk::on(disk.clone(), settings(), 1));
    let air = in_the_air(&mut bed, 3).await;
    drop(bed);
    disk.set_room(Some(100));
    let mut bed = Bed::new(OnDisk::on(disk.clone(), with_reserve(), 1));
    let mail = Mail::to(&["b@x.example"]).accept(bed.fresh_id());
    assert_eq!(bed.queue().accept(mail).await, Err(QueueError::Full));
    let again = bed.lease(Class::Transactional, 3, at(100)).await;
    assert!(again.iter().all(|one| one.open_intent.is_some()), "{air:?}");
    only_outcomes_are_taken(&mut bed, &again).await;
    disk.set_room(None);
    until("mail is accepted again", async || {
        let mail = Mail::to(&["b@x.example"]).accept(bed.fresh_id());
        bed.queue().accept(mail).await == Ok(Accepted::New)
    })
    .await;
}

/// The embedded store in a directory of a real file system.
struct InDirectory(Option<Embedded>, EmbeddedSettings);

impl InDirectory {
    fn open(settings: EmbeddedSettings) -> Self {
        let store = Embedded::open(settings.clone(), Seal::new([1; 32])).expect("opens");
        Self(Some(store), settings)
    }

    fn store(&self) -> Embedded {
        self.0.clone().expect("is open")
    }
}

#[async_trait]
impl Backend for InDirectory {
    fn queue(&self) -> Arc<dyn Queue> {
        Arc::new(self.store())
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(Self::store(self))
    }

    async fn crash(&mut self) {
        self.0 = None;
        *self = Self::open(self.1.clone());
    }
}

/// A file system in memory; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// None where mounting is not permitted.
    fn mount(options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(directory.path())
            .output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        mounted.then_some(Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "unmounts");
    }
}

#[tokio::test]
async fn a_real_file_system_that_is_full_records_what_has_left_and_goes_on_when_there_is_room() {
    let Some(small) = SmallDisk::mount("size=12m") else {
        println!("mounting is not permitted here; the simulated disk says the same");
        return;
    };
    let reserve = small.path().join("data/posthaste.reserve");
    let in_directory = InDirectory::open(EmbeddedSettings {
        path: small.path().join("data"),
        ..with_reserve()
    });
    assert_eq!(std::fs::metadata(&reserve).expect("is there").len(), RESERVE);
    let mut bed = Bed::new(in_directory);
    let air = in_the_air(&mut bed, 30).await;
    let ballast = small.path().join("ballast");
    let too_much = vec![1; 16 << 20];
    assert!(std::fs::write(&ballast, &too_much).is_err(), "the file system is full");
    let filled = fill(&mut bed).await;
    assert!(!reserve.exists(), "its room was given to those who write");
    only_outcomes_are_taken(&mut bed, &air).await;
    std::fs::remove_file(&ballast).expect("removed");
    until("the reserve is made again", async || reserve.exists()).await;
    until("mail is accepted again", async || {
        let mail = Mail::to(&["b@x.example"]).accept(bed.fresh_id());
        bed.queue().accept(mail).await == Ok(Accepted::New)
    })
    .await;
    bed.crash().await;
    let depth = bed.queue().depth(at(5)).await.expect("counts");
    assert_eq!(
        depth.messages,
        31 + filled as u64,
        "nothing was lost and nothing that was refused was stored"
    );
}
