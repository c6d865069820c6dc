//! Nodes and their Sources: one owner at a time.

use std::collections::BTreeMap;

use posthaste::domain::{Board, Fence, Node, NodeId, SourceId, Timestamp};
use posthaste::queue::{Claim, QueueError};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};

use super::bed::{Bed, at};

fn node(id: &str, run: u64) -> Node {
    Node {
        id: NodeId::from(id),
        run,
    }
}

fn sources(names: &[&str]) -> Vec<SourceId> {
    names.iter().map(|name| SourceId::from(*name)).collect()
}

/// The node asks for `claim` at `now`, for a minute.
fn claim(node: &Node, claim: &[&str], now: u64) -> Claim {
    Claim {
        node: node.clone(),
        wants: sources(claim),
        claim: sources(claim),
        release: Vec::new(),
        now: at(now),
        until: at(now + 60),
    }
}

async fn ask(bed: &Bed, asked: Claim) -> Board {
    bed.queue().claim(asked).await.expect("claims")
}

/// Owners by Source.
fn owners(board: &Board) -> Vec<(&str, &str)> {
    let claims = board.claims.iter();
    claims
        .map(|claim| (claim.source.as_str(), claim.node.as_str()))
        .collect()
}

fn fence(board: &Board, source: &str) -> Fence {
    let mut claims = board.claims.iter();
    let found = claims.find(|claim| claim.source == SourceId::from(source));
    found.expect("it has an owner").fence
}

pub(crate) async fn a_source_belongs_to_the_first_who_asks(bed: Bed) {
    let (a, b) = (node("a", 1), node("b", 1));
    assert_eq!(bed.queue().board(at(0)).await, Ok(Board::default()));
    let board = ask(&bed, claim(&a, &["ip1", "ip2"], 0)).await;
    assert_eq!(owners(&board), [("ip1", "a"), ("ip2", "a")]);
    let board = ask(&bed, claim(&b, &["ip2", "ip3"], 1)).await;
    assert_eq!(owners(&board), [("ip1", "a"), ("ip2", "a"), ("ip3", "b")]);
    assert_eq!(bed.queue().board(at(1)).await, Ok(board));
}

pub(crate) async fn a_claim_lasts_until_its_time_unless_renewed(bed: Bed) {
    let (a, b) = (node("a", 1), node("b", 1));
    let first = ask(&bed, claim(&a, &["ip1", "ip2"], 0)).await;
    let renewed = ask(&bed, claim(&a, &["ip1"], 20)).await;
    assert_eq!(
        fence(&renewed, "ip1"),
        fence(&first, "ip1"),
        "a renewal is no new owner"
    );
    let ends: Vec<Timestamp> = renewed.claims.iter().map(|claim| claim.until).collect();
    assert_eq!(ends, [at(80), at(60)], "what is not asked for again is not renewed");

    let board = ask(&bed, claim(&b, &["ip1", "ip2"], 60)).await;
    assert_eq!(owners(&board), [("ip1", "a"), ("ip2", "b")]);
    assert!(
        fence(&board, "ip2") > fence(&first, "ip2"),
        "a higher fence for the next owner"
    );
    let board = ask(&bed, claim(&b, &["ip1"], 80)).await;
    assert_eq!(owners(&board), [("ip1", "b"), ("ip2", "b")]);
    let late = ask(&bed, claim(&a, &["ip1", "ip2"], 81)).await;
    assert_eq!(owners(&late), owners(&board), "who comes late gets nothing back");
}

pub(crate) async fn what_is_released_is_free_at_once(bed: Bed) {
    let (a, b) = (node("a", 1), node("b", 1));
    ask(&bed, claim(&a, &["ip1", "ip2"], 0)).await;
    let others = Claim {
        release: sources(&["ip1"]),
        ..claim(&b, &[], 1)
    };
    assert_eq!(
        owners(&ask(&bed, others).await),
        [("ip1", "a"), ("ip2", "a")],
        "not another's"
    );
    let own = Claim {
        release: sources(&["ip1"]),
        ..claim(&a, &["ip2"], 1)
    };
    assert_eq!(owners(&ask(&bed, own).await), [("ip2", "a")]);
    let board = ask(&bed, claim(&b, &["ip1"], 1)).await;
    assert_eq!(owners(&board), [("ip1", "b"), ("ip2", "a")]);
}

pub(crate) async fn who_leaves_owns_nothing(bed: Bed) {
    let (a, b) = (node("a", 1), node("b", 1));
    let before = ask(&bed, claim(&a, &["ip1"], 0)).await;
    ask(&bed, claim(&b, &["ip2"], 0)).await;
    assert_eq!(bed.queue().leave(&a).await, Ok(()));
    let board = bed.queue().board(at(1)).await.expect("a board");
    assert_eq!(owners(&board), [("ip2", "b")]);
    assert_eq!(board.nodes.len(), 1);
    let board = ask(&bed, claim(&b, &["ip1"], 1)).await;
    assert!(fence(&board, "ip1") > fence(&before, "ip1"));
}

pub(crate) async fn the_board_shows_who_is_there_and_what_it_wants(bed: Bed) {
    let (a, b) = (node("a", 7), node("b", 8));
    ask(&bed, claim(&a, &["ip1"], 0)).await;
    let wants = Claim {
        wants: sources(&["ip1", "ip2"]),
        ..claim(&b, &[], 30)
    };
    let board = ask(&bed, wants).await;
    let shown = |board: &Board| -> Vec<(Node, Vec<SourceId>, Timestamp)> {
        let nodes = board.nodes.iter();
        nodes
            .map(|presence| (presence.node.clone(), presence.wants.clone(), presence.until))
            .collect()
    };
    let second = (b, sources(&["ip1", "ip2"]), at(90));
    assert_eq!(shown(&board), [(a, sources(&["ip1"]), at(60)), second.clone()]);
    let board = bed.queue().board(at(60)).await.expect("a board");
    assert_eq!(shown(&board), [second], "who does not say so again is not there");
}

pub(crate) async fn a_later_run_takes_the_place_of_an_earlier_one_at_once(bed: Bed) {
    let (old, new, other) = (node("a", 1), node("a", 2), node("b", 1));
    let before = ask(&bed, claim(&old, &["ip1", "ip2"], 0)).await;
    let board = ask(&bed, claim(&new, &["ip1"], 1)).await;
    assert_eq!(owners(&board), [("ip1", "a")]);
    assert!(fence(&board, "ip1") > fence(&before, "ip1"));

    let board = ask(&bed, claim(&old, &["ip2"], 2)).await;
    assert_eq!(owners(&board), [("ip1", "a")], "an earlier run gets nothing");
    let release = Claim {
        release: sources(&["ip1"]),
        ..claim(&old, &[], 2)
    };
    ask(&bed, release).await;
    assert_eq!(bed.queue().leave(&old).await, Ok(()));
    let board = ask(&bed, claim(&other, &["ip1"], 3)).await;
    assert_eq!(owners(&board), [("ip1", "a")], "and takes nothing away");
    assert_eq!(board.nodes[0].node, new);
}

pub(crate) async fn fences_of_sources_grow_over_a_crash(mut bed: Bed) {
    let a = node("a", 1);
    let before = fence(&ask(&bed, claim(&a, &["ip1"], 0)).await, "ip1");
    bed.crash().await;
    let after = fence(&ask(&bed, claim(&node("b", 1), &["ip1"], 60)).await, "ip1");
    assert!(after > before, "{after:?} after {before:?}");
}

pub(crate) async fn of_two_who_ask_at_the_same_time_exactly_one_gets_it(bed: Bed) {
    for round in 0..20 {
        let name = format!("ip{round}");
        let (a, b) = (node("a", 1), node("b", 1));
        let (first, second) = tokio::join!(
            tokio::spawn({
                let (queue, asked) = (bed.queue(), claim(&a, &[&name], 0));
                async move { queue.claim(asked).await }
            }),
            tokio::spawn({
                let (queue, asked) = (bed.queue(), claim(&b, &[&name], 0));
                async move { queue.claim(asked).await }
            }),
        );
        let boards: Vec<Board> = [first, second]
            .into_iter()
            .map(|answer: Result<Result<Board, QueueError>, _>| answer.expect("no panic").expect("claims"))
            .collect();
        assert_eq!(fence(&boards[0], &name), fence(&boards[1], &name));
    }
}

/// What a node believes: its own until then.
type Beliefs = BTreeMap<(usize, &'static str), u64>;

/// Random claims, releases and ends of three nodes: no two believe at the same time that a Source is theirs.
pub(crate) async fn ownership_never_overlaps(bed: Bed) {
    const NAMES: [&str; 3] = ["ip1", "ip2", "ip3"];
    let step = (0..3_usize, 0..3_usize, 0..6_u8, 0..45_u64);
    let schedule = proptest::collection::vec(step, 1..30);
    let mut runner = TestRunner::new_with_rng(
        Config::with_cases(1),
        proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &[7; 32]),
    );
    let mut now = 0;
    for _ in 0..12 {
        let steps = schedule.new_tree(&mut runner).expect("a schedule").current();
        let nodes: Vec<Node> = (0..3).map(|n| node(&format!("node{n}"), 1)).collect();
        let mut beliefs = Beliefs::new();
        for (who, which, what, wait) in steps {
            now += wait;
            let name = NAMES[which];
            let asked = match what {
                0 => Claim {
                    release: sources(&[name]),
                    ..claim(&nodes[who], &[], now)
                },
                1 => {
                    beliefs.retain(|(owner, _), _| *owner != who);
                    assert_eq!(bed.queue().leave(&nodes[who]).await, Ok(()));
                    continue;
                }
                _ => claim(&nodes[who], &[name], now),
            };
            let board = ask(&bed, asked).await;
            beliefs.retain(|(owner, _), _| *owner != who);
            for held in board.claims.iter().filter(|held| held.node == nodes[who].id) {
                let name = NAMES.into_iter().find(|name| *name == held.source.as_str());
                let until = (held.until.0 - at(0).0) / 1000;
                beliefs.insert((who, name.expect("one of ours")), until);
            }
            for name in NAMES {
                let owners = beliefs
                    .iter()
                    .filter(|((_, held), until)| *held == name && **until > now);
                assert!(owners.count() <= 1, "{name} at {now}: {beliefs:?}");
            }
        }
        // The next schedule begins when all claims of this one have ended.
        now += 1_000;
    }
}
