//! Connections that are cut between a command and its answer, at every byte (R7), and a Redis that is not there (R1).

use posthaste::domain::{Class, MessageId, State};
use posthaste::queue::{Accepted, IntentAnswer, Leased, Queue, SettleAnswer};
use posthaste::store::{Redis, RedisSettings, Store};
use test_rig::{RedisOptions, RedisServer};
use uuid::Uuid;

use super::contract::open;
use super::front::{Front, Side};
use crate::contract::bed::{LEASE, delivered, intent};
use crate::contract::{Mail, at};
use crate::engine::bed::{WITHIN, in_state};

/// A step of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Accept,
    Intent,
    Settle,
}

struct Bed {
    _server: RedisServer,
    front: Front,
    store: Redis,
    runs: u64,
}

impl Bed {
    async fn new() -> Self {
        let server = RedisServer::start(&RedisOptions::new()).unwrap();
        let front = Front::of(&server).await;
        let store = open(&RedisSettings::at(front.url())).await;
        Self {
            _server: server,
            front,
            store,
            runs: 0,
        }
    }

    /// One message from ACCEPT to OUTCOME, its connection cut in one step. Gives the bytes of that step on this side, and
    /// whether it was cut.
    async fn run(&mut self, step: Step, side: Side, cut: Option<u64>) -> (u64, bool) {
        self.runs += 1;
        let id = MessageId(Uuid::from_u128(
            0x0190_0000_0000_7000_8000_0000_0000_0000 + (u128::from(self.runs) << 8),
        ));
        let arm = |here: Step| {
            let is_here = here == step;
            if let Some(cut) = cut.filter(|_| is_here) {
                self.front.cut_after(side, cut);
            }
            is_here.then(|| self.front.passed(side))
        };
        let mut seen = (0, false);
        let mut note = |before: Option<u64>| {
            if let Some(before) = before {
                seen = (self.front.passed(side) - before, cut.is_some() && self.front.has_cut());
            }
        };
        let before = arm(Step::Accept);
        let accepted = self.store.accept(Mail::to(&["a@x.example"]).accept(id)).await;
        note(before);
        assert_eq!(accepted, Ok(Accepted::New), "{step:?} cut at {cut:?} of {side:?}");
        let leased = self.lease().await;
        let before = arm(Step::Intent);
        let answer = self.store.intent(intent(&leased, at(1))).await;
        note(before);
        assert_eq!(
            answer,
            Ok(IntentAnswer::Recorded),
            "{step:?} cut at {cut:?} of {side:?}"
        );
        let before = arm(Step::Settle);
        let answers = self.store.settle(vec![delivered(&leased, at(2))]).await;
        note(before);
        assert_eq!(
            answers,
            Ok(vec![SettleAnswer::Settled]),
            "{step:?} cut at {cut:?} of {side:?}"
        );
        let events = self.store.events(id, 100).await.unwrap();
        let names: Vec<&str> = events.iter().map(|event| event.kind.name()).collect();
        assert_eq!(names, ["accepted", "delivered"], "{step:?} cut at {cut:?} of {side:?}");
        seen
    }

    async fn lease(&self) -> Leased {
        let leased = self
            .store
            .lease(Class::Transactional, 5, at(0), at(0).plus(LEASE))
            .await;
        let mut leased = leased.unwrap();
        assert_eq!(leased.len(), 1, "exactly one waits: {leased:?}");
        leased.remove(0)
    }

    /// Whatever was cut: each message was accepted once and delivered once, and nothing is left.
    async fn assert_balanced(&self) {
        let depth = self.store.depth(at(3)).await.unwrap();
        assert_eq!(
            (depth.messages, in_state(&depth, State::Delivered)),
            (self.runs, self.runs)
        );
        assert_eq!((depth.leased, depth.parked, depth.waiting_by_class), (0, 0, [0; 3]));
    }
}

/// Cuts a step at each of its bytes, both ways.
async fn check(step: Step) {
    let mut bed = Bed::new().await;
    for side in [Side::ToRedis, Side::ToClient] {
        let (bytes, _) = bed.run(step, side, None).await;
        assert!(bytes > 0, "the step is seen");
        let mut cuts = 0;
        for at in 0..bytes {
            let (_, is_cut) = bed.run(step, side, Some(at)).await;
            cuts += u64::from(is_cut);
        }
        assert_eq!(cuts, bytes, "{side:?}");
    }
    bed.assert_balanced().await;
}

#[tokio::test]
async fn an_accept_that_is_cut_at_any_byte_is_made_once() {
    check(Step::Accept).await;
}

#[tokio::test]
async fn an_intent_that_is_cut_at_any_byte_is_recorded_once() {
    check(Step::Intent).await;
}

#[tokio::test]
async fn a_settlement_that_is_cut_at_any_byte_is_made_once() {
    check(Step::Settle).await;
}

#[tokio::test]
async fn a_redis_that_is_gone_is_not_besieged() {
    let mut server = RedisServer::start(&RedisOptions::new().set("appendfsync", "always")).unwrap();
    let front = Front::of(&server).await;
    let store = open(&RedisSettings::at(front.url())).await;
    let id = MessageId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000));
    let accepted = store.accept(Mail::to(&["a@x.example"]).accept(id)).await;
    assert_eq!(accepted, Ok(Accepted::New));
    server.kill().unwrap();
    let before = front.connections();
    for _ in 0..1_000 {
        assert!(
            store
                .delivery(posthaste::domain::DeliveryId {
                    message: id,
                    recipient: 0
                })
                .await
                .is_err()
        );
    }
    let tried = front.connections() - before;
    assert!(tried <= 50, "{tried} connections for 1000 calls");
    server.restart().unwrap();
    let back = async {
        while store.depth(at(0)).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WITHIN, back).await.expect("connects again");
    let found = store.deliveries(id).await.unwrap();
    assert_eq!(found.len(), 1, "what was acknowledged is there");
}
