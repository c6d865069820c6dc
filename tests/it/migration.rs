//! A whole store moves into another one: nothing is missing, nothing is changed, wherever it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use posthaste::domain::{Board, Class, Node, NodeId, NoteKind, State, Stream, Tenant, TenantId, Timestamp};
use posthaste::migration::{Census, MigrationError, Movable, Side, migrate};
use posthaste::queue::{Charge, Claim, Claims, Intent, QueueError};
use posthaste::store::archive::{Archive, Archived, Cursor, Mark, Page};
use posthaste::store::{Embedded, EmbeddedSettings, Memory, Seal, StoreError};
use tempfile::TempDir;
use test_rig::RedisOptions;

use crate::contract::notes::note;
use crate::contract::records::{api_key, domain, draft, suppression};
use crate::contract::{Bed, InMemory, Mail, at, delivered, intent, lane};
use crate::redis::contract::InRedis;

const TENANT: TenantId = TenantId(1);

/// A store with one of everything in it, and mail in every state that a move meets.
async fn full() -> Arc<Memory> {
    let memory = Arc::new(Memory::new());
    let mut bed = Bed::new(InMemory(Arc::clone(&memory)));
    for id in [1, 2] {
        let tenant = Tenant {
            id: TenantId(id),
            name: format!("tenant {id}"),
            created_at: at(1),
        };
        bed.store().put_tenant(tenant).await.expect("stores");
        let mut key = api_key(u8::try_from(id).expect("small"), TenantId(id));
        key.revoked_at = (id == 2).then(|| at(2));
        bed.store().put_key(key).await.expect("stores");
        bed.store()
            .put_domain(domain(TenantId(id), "x.example"))
            .await
            .expect("stores");
    }
    for (alias, subject) in [
        ("welcome", "One"),
        ("welcome", "Two"),
        ("bye", "One"),
        ("welcome", "Three"),
    ] {
        let id = u128::try_from(alias.len()).expect("small");
        bed.store()
            .put_template(draft(id, TENANT, alias, subject))
            .await
            .expect("stores");
    }
    for entry in [
        suppression("gone@x.example", None),
        suppression("no@x.example", Some(Stream::Broadcast)),
    ] {
        bed.store().put_suppression(entry).await.expect("stores");
    }
    let learnt = vec![
        note(NoteKind::Lane, b"k", b"1"),
        note(NoteKind::Lane, b"l", b"2"),
        note(NoteKind::Domain, b"k", b"3"),
    ];
    bed.store().put_notes(learnt).await.expect("stores");
    mail(&mut bed).await;
    memory
}

async fn mail(bed: &mut Bed) {
    let several = Mail::to(&["a@x.example", "b@x.example", "c@x.example"]);
    bed.accept(&several).await;
    let mut leased = bed.lease(Class::Transactional, 10, at(1)).await;
    let charged = Intent {
        charge: Some(Charge { day: 7, cap: 9 }),
        ..intent(&leased[1], at(1))
    };
    bed.queue().intent(charged).await.expect("records");
    // One delivered, one with an INTENT that nobody closed, one parked with a fresh lease.
    bed.settle(delivered(&leased[0], at(2))).await;
    bed.intent(&leased[1], at(2)).await;
    bed.park(&leased.remove(2), &lane("ip1", "google")).await;
    bed.accept(&Mail::to(&["d@x.example"]).tenant(2)).await;
    bed.accept(&Mail::to(&["e@x.example"]).class(Class::Broadcast).due(at(900)))
        .await;
    bed.accept(&Mail::to(&["f@x.example"]).state(State::Suppressed)).await;
    bed.accept(&Mail::to(&["g@x.example"])).await;
    let leased = bed.lease(Class::Transactional, 10, at(70)).await;
    let last = leased.last().expect("one is left");
    bed.settle(crate::contract::bed::deferred(last, at(71), at(500))).await;
    let id = bed.fresh_id();
    let mut accept = Mail::to(&["h@x.example"]).accept(id);
    accept.idempotency = Some(crate::contract::bed::idempotency("key", 7, at(100_000)));
    bed.queue().accept(accept).await.expect("accepts");
}

/// Everything that a store holds, in an order that all stores share; events by their order instead of their numbers.
async fn holds(store: &dyn Movable) -> Vec<String> {
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let page = store.export(after.as_ref(), 3).await.expect("exports");
        items.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let mut sequences = Vec::new();
    for item in &items {
        if let Archived::Message(archived) = item {
            sequences.extend(archived.events.iter().map(|event| event.sequence));
        }
    }
    sequences.sort_unstable();
    for item in &mut items {
        if let Archived::Message(archived) = item {
            for event in &mut archived.events {
                event.sequence = sequences.binary_search(&event.sequence).expect("one of them") as u64;
            }
        }
    }
    let mut texts: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
    texts.sort();
    texts
}

async fn moved(from: &dyn Movable, to: &dyn Movable) -> Result<Census, MigrationError> {
    let (from, to) = (
        Side {
            store: from,
            name: "old",
        },
        Side { store: to, name: "new" },
    );
    migrate(from, to, 2, at(1000), &mut |_| ()).await
}

fn embedded(folder: &TempDir) -> Embedded {
    Embedded::open(EmbeddedSettings::in_directory(folder.path()), Seal::new([3; 32])).expect("opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_moves_from_memory_to_disk_to_redis_and_back() {
    let first = full().await;
    let expected = holds(&*first).await;
    let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let disk = embedded(&folder);
    let census = moved(&*first, &disk).await.expect("moves");
    assert_eq!(census.deliveries.values().sum::<u64>(), 8, "{census:?}");
    assert_eq!(census.others.get("notes"), Some(&3), "{census:?}");
    assert_eq!(census.others.get("warm-up counters"), Some(&1), "{census:?}");
    let counted = |name| census.others.get(name).copied();
    assert_eq!(
        (counted("template versions"), counted("open intents")),
        (Some(4), Some(1)),
        "{census:?}"
    );
    assert_eq!(
        (counted("parked deliveries"), counted("DKIM keys")),
        (Some(1), Some(4)),
        "{census:?}"
    );
    assert_eq!(holds(&disk).await, expected);

    let redis = InRedis::alone(RedisOptions::new(), 1).await;
    moved(&disk, redis.store()).await.expect("moves");
    assert_eq!(holds(redis.store()).await, expected);

    let back = embedded(&other);
    moved(redis.store(), &back).await.expect("moves");
    drop(back);
    let back = embedded(&other);
    assert_eq!(holds(&back).await, expected, "and is there after the next start");
    let last = Arc::new(Memory::new());
    moved(&back, &*last).await.expect("moves");
    last.check();
    assert_eq!(holds(&*last).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moved_goes_on_where_it_was() {
    let (first, folder) = (full().await, TempDir::new().unwrap());
    let disk = embedded(&folder);
    moved(&*first, &disk).await.expect("moves");
    let redis = InRedis::alone(RedisOptions::new(), 1).await;
    moved(&disk, redis.store()).await.expect("moves");
    let bed = Bed::new(redis);
    let waiting = bed.lease(Class::Transactional, 10, at(1000)).await;
    let open: Vec<_> = waiting.iter().filter(|leased| leased.open_intent.is_some()).collect();
    assert_eq!(open.len(), 1, "what may have been sent is known");
    assert_eq!(waiting.len(), 4, "{waiting:#?}");
    let parked = bed.lease_parked(&lane("ip1", "google"), 10, at(1000)).await;
    assert_eq!(parked.len(), 1);
    let depth = bed.queue().depth(at(1000)).await.expect("a depth");
    assert_eq!(depth.messages, 6);
    assert_eq!(depth.waiting_by_class, [0, 5, 1]);
    for leased in waiting.iter().chain(&parked) {
        bed.settle(delivered(leased, at(1001))).await;
    }
    let depth = bed.queue().depth(at(1001)).await.expect("a depth");
    assert_eq!(depth.waiting_by_class, [0, 0, 1]);
}

/// A target that is gone before, or after, so many of its steps.
#[derive(Debug)]
struct Stopping {
    inner: Embedded,
    steps: AtomicU64,
    after: bool,
}

impl Stopping {
    async fn step<T>(&self, run: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let gone = || StoreError::Unavailable("stopped by the test".to_owned());
        let left = self.steps.load(Ordering::Relaxed);
        self.steps.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 0 && !self.after {
            return Err(gone());
        }
        let answer = run.await;
        if left == 0 { Err(gone()) } else { answer }
    }
}

#[async_trait]
impl Archive for Stopping {
    async fn export(&self, after: Option<&Cursor>, max: usize) -> Result<Page, StoreError> {
        self.inner.export(after, max).await
    }
    async fn import(&self, items: Vec<Archived>, mark: &Mark) -> Result<(), StoreError> {
        self.step(self.inner.import(items, mark)).await
    }
    async fn mark(&self) -> Result<Option<Mark>, StoreError> {
        self.inner.mark().await
    }
    async fn set_mark(&self, mark: Option<&Mark>) -> Result<(), StoreError> {
        self.step(self.inner.set_mark(mark)).await
    }
}

#[async_trait]
impl Claims for Stopping {
    async fn claim(&self, claim: Claim) -> Result<Board, QueueError> {
        self.inner.claim(claim).await
    }
    async fn leave(&self, node: &Node) -> Result<(), QueueError> {
        self.inner.leave(node).await
    }
    async fn board(&self, now: Timestamp) -> Result<Board, QueueError> {
        self.inner.board(now).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_was_stopped_anywhere_goes_on_and_ends_the_same() {
    let expected = holds(&*full().await).await;
    for after in [false, true] {
        for steps in 0.. {
            let (first, folder) = (full().await, TempDir::new().unwrap());
            let stopping = Stopping {
                inner: embedded(&folder),
                steps: AtomicU64::new(steps),
                after,
            };
            let stopped = moved(&*first, &stopping).await;
            let is_marked = stopping.inner.mark().await.expect("looks").is_some();
            drop(stopping);
            let again = embedded(&folder);
            if stopped.is_ok() {
                assert_eq!(holds(&again).await, expected);
                assert!(steps > 5, "there were steps to stop at");
                break;
            }
            // Before the first step nothing has begun; after the last one the move is done.
            let goes_on = moved(&*first, &again).await;
            match goes_on {
                Ok(_) => {}
                Err(MigrationError::Marked { .. }) if !is_marked && after => {}
                Err(error) => panic!("after {steps} steps: {error}"),
            }
            assert_eq!(holds(&again).await, expected, "stopped after {steps} steps");
            assert_eq!(again.mark().await, Ok(None));
            assert!(matches!(first.mark().await, Ok(Some(Mark::Moved { .. }))));
        }
    }
}

#[tokio::test]
async fn what_must_not_move_is_refused() {
    let (first, second) = (full().await, full().await);
    let refused = moved(&*first, &*second).await.expect_err("not empty");
    assert!(matches!(refused, MigrationError::NotEmpty(_)), "{refused}");

    let empty = Memory::new();
    let alive = Claim {
        node: Node {
            id: NodeId::from("mta"),
            run: 1,
        },
        wants: Vec::new(),
        claim: Vec::new(),
        release: Vec::new(),
        now: at(990),
        until: at(1050),
    };
    first.claim(alive.clone()).await.expect("claims");
    let refused = moved(&*first, &empty).await.expect_err("alive");
    assert!(matches!(refused, MigrationError::Alive { .. }), "{refused}");
    first.leave(&alive.node).await.expect("leaves");
    empty.claim(alive.clone()).await.expect("claims");
    let refused = moved(&*first, &empty).await.expect_err("alive");
    assert!(matches!(refused, MigrationError::Alive { .. }), "{refused}");
    empty.leave(&alive.node).await.expect("leaves");

    let foreign = Mark::Arriving {
        from: "another".to_owned(),
        after: None,
    };
    empty.set_mark(Some(&foreign)).await.expect("marks");
    let refused = moved(&*first, &empty).await.expect_err("another move");
    assert!(
        refused.to_string().contains("the move from another is not finished"),
        "{refused}"
    );
    empty.set_mark(None).await.expect("marks");
    moved(&*first, &empty).await.expect("moves");
    let refused = moved(&*first, &Memory::new()).await.expect_err("moved away");
    assert!(refused.to_string().contains("has moved to new"), "{refused}");
}

/// A target that loses what it is given.
#[derive(Debug)]
struct Forgetful(Memory);

#[async_trait]
impl Archive for Forgetful {
    async fn export(&self, after: Option<&Cursor>, max: usize) -> Result<Page, StoreError> {
        self.0.export(after, max).await
    }
    async fn import(&self, mut items: Vec<Archived>, mark: &Mark) -> Result<(), StoreError> {
        for item in &mut items {
            if let Archived::Message(archived) = item
                && archived.deliveries.len() > 1
            {
                archived.deliveries.pop();
            }
        }
        self.0.import(items, mark).await
    }
    async fn mark(&self) -> Result<Option<Mark>, StoreError> {
        self.0.mark().await
    }
    async fn set_mark(&self, mark: Option<&Mark>) -> Result<(), StoreError> {
        self.0.set_mark(mark).await
    }
}

#[async_trait]
impl Claims for Forgetful {
    async fn claim(&self, claim: Claim) -> Result<Board, QueueError> {
        self.0.claim(claim).await
    }
    async fn leave(&self, node: &Node) -> Result<(), QueueError> {
        self.0.leave(node).await
    }
    async fn board(&self, now: Timestamp) -> Result<Board, QueueError> {
        self.0.board(now).await
    }
}

#[tokio::test]
async fn a_count_that_does_not_balance_is_said_and_keeps_the_target_shut() {
    let target = Forgetful(Memory::new());
    let first = full().await;
    let refused = moved(&*first, &target).await.expect_err("one is missing");
    assert!(refused.to_string().contains("tenant 1 queued"), "{refused}");
    assert!(matches!(target.mark().await, Ok(Some(Mark::Arriving { .. }))));
    assert_eq!(first.mark().await, Ok(None), "the old one may go on");
}

#[actix_web::test]
async fn no_engine_starts_on_a_store_that_is_half_way_or_has_moved_away() {
    for mark in [
        Mark::Moved {
            to: "redis://x".to_owned(),
        },
        Mark::Arriving {
            from: "redis://x".to_owned(),
            after: None,
        },
    ] {
        let folder = TempDir::new().unwrap();
        embedded(&folder).set_mark(Some(&mark)).await.expect("marks");
        let text = format!(
            "data: {}\napi: {{listen: \"127.0.0.1:0\"}}\nmetrics: {{listen: \"127.0.0.1:0\"}}\n",
            folder.path().display()
        );
        let settings = posthaste::config::Settings::from_yaml(&text, &|_| None).expect("a good config");
        let refused = posthaste::app::start(settings, &|_| None).await.expect_err("refused");
        assert!(refused.to_string().contains("redis://x"), "{refused}");
    }
}
