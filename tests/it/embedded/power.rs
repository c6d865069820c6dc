//! Power loss: random traffic on a disk whose plug is pulled in the middle of a sync, hundreds of times.
//!
//! A twin in memory takes the same calls. After the crash the disk must hold what the twin held before the call that was
//! in flight, or after it, and nothing between. What waits must be in its place, with its open INTENT.
//!
//! Three tests run seeds that are always the same, five run fresh ones. Each failure names its seed; `POWER_SEED=` runs
//! that one, `POWER_CRASHES=` says how many fresh ones there are.

use std::collections::BTreeMap;

use posthaste::domain::{Class, Delivery, DeliveryId, Event, MessageId, Settlement, State, TenantId, Timestamp, Why};
use posthaste::queue::{
    Accepted, IdempotencyKey, Intent, IntentAnswer, Leased, Parking, Queue, QueueError, SettleAnswer, StoredResponse,
};
use posthaste::store::{EmbeddedSettings, Store};
use uuid::Uuid;

use super::disk::Disk;
use super::{OnDisk, settings};
use crate::contract::bed::deferred;
use crate::contract::{Backend, InMemory, Mail, at, delivered, in_memory, intent, lane};

/// Crashes with fresh seeds in one test.
const FRESH: u64 = 400;
/// Calls before the plug is pulled, at the most.
const CALLS: usize = 80;
/// Syncs before the plug is pulled, at the most.
const SYNCS: u64 = 50;
/// Enough for all there is.
const ALL: usize = 10_000;
/// Later than all due times, leases and expiries here.
const MUCH_LATER: u64 = 100_000;

/// A call, complete with the lease of the side it goes to.
enum Call {
    Accept(Vec<MessageId>, Mail),
    Lease(Class, usize),
    LeaseParked(usize, usize),
    Park(Parking),
    Intent(Intent),
    Settle(Settlement),
    Cancel(DeliveryId),
}

/// What came back.
enum Answer {
    Accepted(Accepted),
    Leased(Vec<Leased>),
    Parked,
    Intent(IntentAnswer),
    Settled(Vec<SettleAnswer>),
    Cancelled(bool),
}

/// What a store holds, as far as it can be asked.
#[derive(Debug, PartialEq)]
pub(super) struct Held {
    messages: Vec<HeldMessage>,
    by_state: Vec<u64>,
    waiting: Vec<u64>,
    number: u64,
    oldest: Option<Timestamp>,
}

#[derive(Debug, PartialEq)]
struct HeldMessage {
    is_there: bool,
    /// Whether a repeated call would get its answer; kept with the first of a call.
    is_answered: bool,
    has_body: bool,
    deliveries: Vec<Delivery>,
    events: Vec<Event>,
}

/// INTENTs without OUTCOME: the attempt of each.
type Open = BTreeMap<DeliveryId, u32>;

/// The disk, its twin, and who holds which lease on both.
struct World {
    seed: u64,
    draw: fastrand::Rng,
    disk: OnDisk,
    twin: InMemory,
    now: Timestamp,
    ids: Vec<MessageId>,
    leases: Vec<(Leased, Leased)>,
    open: Open,
}

impl World {
    async fn new(seed: u64) -> Self {
        let settings = EmbeddedSettings {
            quick_repair: seed.is_multiple_of(4),
            message_cache_bytes: 0,
            ..settings()
        };
        Self {
            seed,
            draw: fastrand::Rng::with_seed(seed),
            disk: OnDisk::new(settings, seed),
            twin: in_memory().await,
            now: at(0),
            ids: Vec::new(),
            leases: Vec::new(),
            open: Open::new(),
        }
    }

    /// The next call, for the disk and for the twin.
    fn calls(&mut self) -> (Call, Call) {
        let seconds = self.draw.u64(0..4);
        self.now = self.now.plus(std::time::Duration::from_secs(seconds));
        let (now, max) = (self.now, self.draw.usize(1..4));
        let both = |call: &dyn Fn() -> Call| (call(), call());
        let kind = self.draw.u8(0..14);
        match kind {
            0..=3 => self.accept_calls(),
            4..=5 => {
                let class = Class::ALL[self.draw.usize(0..3)];
                both(&|| Call::Lease(class, max))
            }
            6 => {
                let lane = self.draw.usize(0..2);
                both(&|| Call::LeaseParked(lane, max))
            }
            7 if !self.ids.is_empty() => {
                let message = self.ids[self.draw.usize(0..self.ids.len())];
                both(&|| Call::Cancel(DeliveryId { message, recipient: 0 }))
            }
            8.. if !self.leases.is_empty() => {
                let (theirs, ours) = &self.leases[self.draw.usize(0..self.leases.len())];
                let lane = self.draw.usize(0..2);
                let call = |leased: &Leased| match kind {
                    8 => Call::Park(parking(leased, lane)),
                    9..=10 => Call::Intent(intent(leased, now)),
                    11..=12 => Call::Settle(delivered(leased, now)),
                    _ => Call::Settle(deferred(leased, now, now.plus(std::time::Duration::from_secs(5)))),
                };
                (call(theirs), call(ours))
            }
            _ => self.accept_calls(),
        }
    }

    fn accept_calls(&mut self) -> (Call, Call) {
        let first = self.ids.len();
        let ids: Vec<MessageId> = (0..self.draw.usize(1..4))
            .map(|n| MessageId(Uuid::from_u128((first + n + 1) as u128)))
            .collect();
        self.ids.extend(&ids);
        let mail = Mail {
            addresses: (0..self.draw.usize(1..4))
                .map(|n| format!("user{n}@x.example"))
                .collect(),
            ..Mail::to(&[])
        };
        let mail = mail
            .class(Class::ALL[self.draw.usize(0..3)])
            .accepted_at(self.now)
            .due(self.now);
        (Call::Accept(ids.clone(), mail.clone()), Call::Accept(ids, mail))
    }

    /// Both sides answered: the answers must agree, and leases are noted.
    fn agree(&mut self, theirs: Answer, ours: Answer) {
        let seed = self.seed;
        match (theirs, ours) {
            (Answer::Accepted(theirs), Answer::Accepted(ours)) => assert_eq!(theirs, ours, "seed {seed}"),
            (Answer::Leased(theirs), Answer::Leased(ours)) => {
                let deliveries = |all: &[Leased]| all.iter().map(|one| one.delivery.clone()).collect::<Vec<_>>();
                assert_eq!(deliveries(&theirs), deliveries(&ours), "seed {seed}");
                self.leases.extend(theirs.into_iter().zip(ours));
            }
            (Answer::Intent(theirs), Answer::Intent(ours)) => assert_eq!(theirs, ours, "seed {seed}"),
            (Answer::Settled(theirs), Answer::Settled(ours)) => assert_eq!(theirs, ours, "seed {seed}"),
            (Answer::Cancelled(theirs), Answer::Cancelled(ours)) => assert_eq!(theirs, ours, "seed {seed}"),
            (Answer::Parked, Answer::Parked) => {}
            _ => unreachable!("the same call has the same kind of answer"),
        }
    }

    /// Traffic until the disk fails; what the twin held before and after the last call.
    async fn run_until_the_plug_is_pulled(&mut self) -> [(Held, Open); 2] {
        self.disk.disk.fail_after_syncs(self.draw.u64(1..SYNCS));
        for _ in 0..CALLS {
            let (theirs, ours) = self.calls();
            let answer = make(&theirs, &*self.disk.queue(), self.now).await;
            if let Ok(theirs) = answer {
                let before = self.make_on_the_twin(&ours).await;
                self.agree(theirs, before);
                continue;
            }
            let before = (
                held(&*self.twin.store(), &*self.twin.queue(), &self.ids).await,
                self.open.clone(),
            );
            self.make_on_the_twin(&ours).await;
            let after = (
                held(&*self.twin.store(), &*self.twin.queue(), &self.ids).await,
                self.open.clone(),
            );
            let another = Mail::to(&["a@x.example"]).accept(MessageId(Uuid::max()));
            assert!(
                self.disk.queue().accept(another).await.is_err(),
                "seed {}: nothing works on a broken disk",
                self.seed
            );
            return [before, after];
        }
        let now = (
            held(&*self.twin.store(), &*self.twin.queue(), &self.ids).await,
            self.open.clone(),
        );
        let same = (
            held(&*self.twin.store(), &*self.twin.queue(), &self.ids).await,
            self.open.clone(),
        );
        [now, same]
    }

    async fn make_on_the_twin(&mut self, call: &Call) -> Answer {
        let answer = make(call, &*self.twin.queue(), self.now)
            .await
            .expect("memory does not fail");
        match (call, &answer) {
            (Call::Intent(intent), Answer::Intent(IntentAnswer::Recorded)) => {
                self.open.insert(intent.lease.delivery, intent.attempt);
            }
            (Call::Settle(settlement), Answer::Settled(answers)) if answers == &[SettleAnswer::Settled] => {
                self.open.remove(&settlement.delivery);
            }
            _ => {}
        }
        answer
    }

    /// The power comes back; sometimes it goes again while the store is being opened.
    fn power_comes_back(&mut self) {
        if self.draw.bool() {
            self.disk.lose_power();
            self.disk.disk.fail_after_syncs(self.draw.u64(1..4));
            let _opened_or_not = self.disk.try_open();
        }
        self.disk.pull_the_plug();
    }

    /// Everybody who is not final can be leased, once, from where they stand; and delivered.
    async fn deliver_everything(&self, held: &Held, fits: &[&Open]) {
        let (queue, now) = (self.disk.queue(), at(MUCH_LATER));
        let until = now.plus(crate::contract::bed::LEASE);
        let mut leased = Vec::new();
        for class in Class::ALL {
            leased.extend(queue.lease(class, ALL, now, until).await.expect("leases"));
        }
        for number in 0..2 {
            leased.extend(
                queue
                    .lease_parked(&lane_by(number), ALL, now, until)
                    .await
                    .expect("leases"),
            );
        }
        let mut found: Vec<DeliveryId> = leased.iter().map(|one| one.delivery.id).collect();
        found.sort();
        let deliveries = held.messages.iter().flat_map(|message| &message.deliveries);
        let waiting = deliveries.filter(|delivery| !delivery.state.is_final());
        let mut expected: Vec<DeliveryId> = waiting.map(|delivery| delivery.id).collect();
        expected.sort();
        assert_eq!(found, expected, "seed {}: who waits stands in one place", self.seed);
        let intents = leased
            .iter()
            .filter_map(|one| Some((one.delivery.id, one.open_intent.as_ref()?)));
        let intents: Open = intents.map(|(id, open)| (id, open.attempt)).collect();
        assert!(
            fits.contains(&&intents),
            "seed {}: INTENTs without OUTCOME are kept: {intents:?}, not {fits:?}",
            self.seed
        );
        let settled = queue
            .settle(leased.iter().map(|one| delivered(one, now)).collect())
            .await;
        let settled = settled.expect("settles");
        assert!(
            settled.iter().all(|one| *one == SettleAnswer::Settled),
            "seed {}",
            self.seed
        );
        let after = self::held(self.disk.store(), &*queue, &self.ids).await;
        assert_eq!(after.waiting, [0, 0, 0], "seed {}", self.seed);
        assert!(
            after.messages.iter().all(|message| !message.has_body),
            "seed {}",
            self.seed
        );
    }
}

fn lane_by(number: usize) -> posthaste::domain::Lane {
    lane("ip1", ["google", "yahoo"][number])
}

fn parking(leased: &Leased, number: usize) -> Parking {
    Parking {
        lease: leased.lease(),
        lane: lane_by(number),
        why: Why::LaneFull,
        until: None,
    }
}

/// The key of the call that accepted `id` first.
fn key_of(id: MessageId) -> IdempotencyKey {
    IdempotencyKey {
        tenant: TenantId(1),
        key: id.to_string(),
    }
}

fn answer_of(now: Timestamp) -> StoredResponse {
    StoredResponse {
        request_hash: [7; 32],
        status: 202,
        body: b"{}".to_vec(),
        expires_at: now.plus(std::time::Duration::from_secs(MUCH_LATER)),
    }
}

async fn make(call: &Call, queue: &dyn Queue, now: Timestamp) -> Result<Answer, QueueError> {
    let until = now.plus(crate::contract::bed::LEASE);
    Ok(match call {
        Call::Accept(ids, mail) => {
            let mut all = mail.accept(ids[0]);
            for id in &ids[1..] {
                let one = mail.accept(*id);
                all.messages.extend(one.messages);
                all.deliveries.extend(one.deliveries);
                all.events.extend(one.events);
            }
            all.idempotency = Some((key_of(ids[0]), answer_of(now)));
            Answer::Accepted(queue.accept(all).await?)
        }
        Call::Lease(class, max) => Answer::Leased(queue.lease(*class, *max, now, until).await?),
        Call::LeaseParked(lane, max) => Answer::Leased(queue.lease_parked(&lane_by(*lane), *max, now, until).await?),
        Call::Park(parking) => {
            queue.park(vec![parking.clone()]).await?;
            Answer::Parked
        }
        Call::Intent(intent) => Answer::Intent(queue.intent(intent.clone()).await?),
        Call::Settle(settlement) => Answer::Settled(queue.settle(vec![settlement.clone()]).await?),
        Call::Cancel(id) => Answer::Cancelled(queue.cancel(*id, now).await?),
    })
}

/// Everything about `ids`, and the counters, which must be what counting gives.
pub(super) async fn held(store: &dyn Store, queue: &dyn Queue, ids: &[MessageId]) -> Held {
    let mut messages = Vec::new();
    let mut by_state = vec![0; State::ALL.len()];
    for id in ids {
        let deliveries = store.deliveries(*id).await.expect("reads");
        for delivery in &deliveries {
            let place = State::ALL.iter().position(|state| *state == delivery.state);
            by_state[place.expect("is one of them")] += 1;
        }
        let events = store.events(*id, ALL).await.expect("reads");
        let held = HeldMessage {
            is_there: store.message(*id).await.expect("reads").is_some(),
            is_answered: store.idempotent(&key_of(*id), at(0)).await.expect("reads").is_some(),
            has_body: store.body(*id).await.expect("reads").is_some(),
            deliveries,
            events: events.into_iter().map(|event| Event { sequence: 0, ..event }).collect(),
        };
        assert_eq!(
            held.is_there,
            !held.deliveries.is_empty(),
            "a Message and its deliveries"
        );
        assert_eq!(held.is_there, !held.events.is_empty(), "a Message and its events");
        assert!(
            held.is_there || !held.is_answered,
            "an answer and the Message it tells of"
        );
        let waits = held.deliveries.iter().any(|delivery| !delivery.state.is_final());
        assert_eq!(held.has_body, waits, "a body and those who need it");
        messages.push(held);
    }
    let depth = queue.depth(at(0)).await.expect("counts");
    assert_eq!(depth.by_state.to_vec(), by_state, "counters and recount");
    Held {
        messages,
        by_state,
        waiting: depth.waiting_by_class.to_vec(),
        number: depth.messages,
        oldest: depth.oldest,
    }
}

/// A disk on which a store did this and that and was closed cleanly; what it held, of which messages.
pub(super) async fn closed_store(seed: u64) -> (Disk, Held, Vec<MessageId>) {
    let mut world = World::new(seed).await;
    for _ in 0..CALLS {
        let (theirs, ours) = world.calls();
        let theirs = make(&theirs, &*world.disk.queue(), world.now)
            .await
            .expect("nothing fails");
        let ours = world.make_on_the_twin(&ours).await;
        world.agree(theirs, ours);
    }
    let found = held(world.disk.store(), &*world.disk.queue(), &world.ids).await;
    world.disk.store = None;
    (world.disk.disk.clone(), found, world.ids)
}

async fn lose_power_once(seed: u64) {
    let mut world = World::new(seed).await;
    let [before, after] = world.run_until_the_plug_is_pulled().await;
    world.power_comes_back();
    let found = held(world.disk.store(), &*world.disk.queue(), &world.ids).await;
    let fits: Vec<&Open> = [&before, &after]
        .iter()
        .filter(|(held, _)| *held == found)
        .map(|(_, open)| open)
        .collect();
    assert!(
        !fits.is_empty(),
        "seed {seed}: neither what was acknowledged ({:?}) nor that and the last call ({:?}): {found:?}",
        before.0,
        after.0
    );
    world.deliver_everything(&found, &fits).await;
}

async fn lose_power(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        lose_power_once(seed).await;
    }
}

fn number_from(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn fresh_seeds() -> std::ops::Range<u64> {
    let first = number_from("POWER_SEED").unwrap_or_else(|| fastrand::u64(..u64::MAX / 2));
    let crashes = match number_from("POWER_SEED") {
        Some(_) => 1,
        None => number_from("POWER_CRASHES").unwrap_or(FRESH),
    };
    first..first + crashes
}

macro_rules! fresh_parts {
    ($($name:ident)*) => {$(
        #[tokio::test]
        async fn $name() {
            let seeds = fresh_seeds();
            println!("seeds {seeds:?}");
            lose_power(seeds).await;
        }
    )*};
}

fresh_parts! {
    what_was_acknowledged_survives_power_loss_with_fresh_seeds_first_part
    what_was_acknowledged_survives_power_loss_with_fresh_seeds_second_part
    what_was_acknowledged_survives_power_loss_with_fresh_seeds_third_part
    what_was_acknowledged_survives_power_loss_with_fresh_seeds_fourth_part
    what_was_acknowledged_survives_power_loss_with_fresh_seeds_fifth_part
}

#[tokio::test]
async fn what_was_acknowledged_survives_power_loss_first_part() {
    lose_power(0..100).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_power_loss_second_part() {
    lose_power(100..200).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_power_loss_third_part() {
    lose_power(200..300).await;
}
