//! Plans, standings and margins, with made-up boards.

use super::*;
use crate::domain::{Fence, Presence, SourceClaim};
use proptest::prelude::*;

const LEASE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Timestamp {
    Timestamp(1_000_000 + seconds * 1000)
}

fn node(id: &str) -> Node {
    Node {
        id: NodeId::from(id),
        run: 1,
    }
}

fn names(text: &str) -> Vec<SourceId> {
    text.split_whitespace().map(SourceId::from).collect()
}

/// A board from "node: wanted sources" and "source: owner" lists; all of it lasts until 60 s.
fn board(nodes: &[(&str, &str)], owners: &[(&str, &str)]) -> Board {
    let presence = |(id, wants): &(&str, &str)| Presence {
        node: node(id),
        wants: names(wants),
        until: at(60),
    };
    let claim = |(source, owner): &(&str, &str)| SourceClaim {
        source: SourceId::from(*source),
        node: NodeId::from(*owner),
        fence: Fence(1),
        until: at(60),
    };
    Board {
        nodes: nodes.iter().map(presence).collect(),
        claims: owners.iter().map(claim).collect(),
    }
}

#[test]
fn free_sources_are_shared_out_evenly_and_a_rich_node_gives_up_one() {
    let check = |wants: &str, nodes: &[(&str, &str)], owners: &[(&str, &str)], claim: &str, hand_over: &str| {
        let expect = Plan {
            claim: names(claim),
            hand_over: names(hand_over),
        };
        let planned = plan(&NodeId::from("a"), &names(wants), &board(nodes, owners));
        assert_eq!(planned, expect, "{wants:?} {nodes:?} {owners:?}");
    };
    // Alone: everything, before and after it is known to the board.
    check("1 2 3", &[], &[], "1 2 3", "");
    check("1 2 3", &[("a", "1 2 3")], &[("1", "a")], "2 3 1", "");
    // Two with the same list share.
    check("1 2 3 4", &[("a", "1 2 3 4"), ("b", "1 2 3 4")], &[], "1 3", "");
    // Two with different lists keep their own.
    check("1 2", &[("a", "1 2"), ("b", "3 4")], &[], "1 2", "");
    check(
        "1 2",
        &[("a", "1 2"), ("b", "3 4")],
        &[("1", "a"), ("2", "a")],
        "1 2",
        "",
    );
    // Somebody else's stays theirs.
    check("1 2", &[("a", "1 2"), ("b", "1 2")], &[("1", "b"), ("2", "b")], "", "");
    // One who comes late is given a share, not more.
    let all_ours = [("1", "a"), ("2", "a"), ("3", "a"), ("4", "a")];
    check(
        "1 2 3 4",
        &[("a", "1 2 3 4"), ("b", "1 2 3 4")],
        &all_ours,
        "3 4",
        "1 2",
    );
    check("1 2", &[("a", "1 2"), ("b", "1 2")], &[("1", "a"), ("2", "b")], "1", "");
    check("1", &[("a", "1"), ("b", "1")], &[("1", "a")], "1", "");
    // The one who comes late does not want it.
    check("1 2", &[("a", "1 2"), ("b", "")], &[("1", "a"), ("2", "a")], "1 2", "");
    // An address that is gone.
    check("1", &[("a", "1 2")], &[("1", "a"), ("2", "a")], "1", "2");
}

#[test]
fn a_source_is_ours_until_the_margin_before_its_end_and_never_of_two_minds() {
    let me = node("a");
    let board = board(&[("a", "1 2"), ("b", "3")], &[("1", "a"), ("2", "a"), ("3", "b")]);
    let standings = Standings::new(&me, &board, &names("2"), LEASE);
    let check = |source: &str, second: u64, expect: Standing| {
        assert_eq!(
            standings.of(&SourceId::from(source), at(second)),
            expect,
            "{source} at {second}"
        );
    };
    check("1", 44, Standing::Ours);
    // Frozen past its time: nobody has to be asked.
    check("1", 45, Standing::Others);
    check("1", 4000, Standing::Others);
    // Given up: not used, and still ours for all others.
    check("2", 0, Standing::Others);
    // Another's clock may be behind.
    check("3", 0, Standing::Others);
    check("3", 74, Standing::Others);
    check("3", 75, Standing::Nobodys);
    check("4", 0, Standing::Nobodys);
    assert_eq!(standings.ours(at(1)).cloned().collect::<Vec<_>>(), names("1"));
    assert_eq!(Standings::default().of(&SourceId::from("1"), at(0)), Standing::Others);
}

#[test]
fn a_run_that_a_later_one_replaced_owns_nothing() {
    let board = board(&[("a", "1")], &[("1", "a")]);
    let earlier = Node { run: 0, ..node("a") };
    let standings = Standings::new(&earlier, &board, &[], LEASE);
    assert_eq!(standings.of(&SourceId::from("1"), at(0)), Standing::Others);
}

#[test]
fn work_is_taken_by_who_can_send_it() {
    let room = |id: &str, class| SourceRoom {
        classes: vec![class],
        ..SourceRoom::shared(SourceId::from(id))
    };
    let rooms = [room("1", Class::Critical), room("2", Class::Transactional)];
    let company = [("a", "1 2"), ("b", "2")];
    let check = |nodes: &[(&str, &str)], owners: &[(&str, &str)], second, expect: [bool; 3]| {
        let standings = Standings::new(&node("a"), &board(nodes, owners), &[], LEASE);
        let taken = Class::ALL.map(|class| standings.may_take(class, &rooms, at(second)));
        assert_eq!(taken, expect, "{nodes:?} {owners:?} at {second}");
    };
    let shared = [("1", "a"), ("2", "b")];
    check(&company, &shared, 0, [true, false, false]);
    // What nobody carries waits for its end with the one who is alone.
    check(&[("a", "1 2")], &[("1", "a"), ("2", "a")], 0, [true, true, true]);
    check(&[("a", "")], &[], 0, [true, true, true]);
    // Our claims are running out.
    check(&[("a", "1 2")], &[("1", "a"), ("2", "a")], 50, [false, false, true]);
    assert!(
        !Standings::default().may_take(Class::Critical, &rooms, at(0)),
        "before the first board"
    );
}

#[test]
fn a_lease_may_be_used_until_its_margin() {
    let check = |now: u64, expect: bool| {
        assert_eq!(still_ours(at(60), margin(LEASE), at(now)), expect, "at {now}");
    };
    check(0, true);
    check(44, true);
    check(45, false);
    check(60, false);
    check(1200, false);
    assert!(beat(LEASE) * 3 <= LEASE - margin(LEASE) * 2, "a lost beat does no harm");
}

proptest! {
    /// Nodes that follow their plans, one after the other, come to even shares and then stay.
    #[test]
    fn plans_settle_evenly(nodes in 1..5_usize, sources in 0..9_usize, first in proptest::collection::vec(0..5_usize, 0..9)) {
        let ids: Vec<String> = (0..nodes).map(|n| format!("n{n}")).collect();
        let wants: Vec<String> = (0..sources).map(|n| format!("s{n}")).collect();
        let wanted = wants.join(" ");
        let presences: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), wanted.as_str())).collect();
        let owners: Vec<(&str, &str)> =
            wants.iter().zip(&first).map(|(s, n)| (s.as_str(), ids[n % nodes].as_str())).collect();
        let mut board = board(&presences, &owners);
        for round in 0..4 * (sources + 1) {
            let me = NodeId::from(ids[round % nodes].as_str());
            let planned = plan(&me, &names(&wanted), &board);
            board.claims.retain(|claim| claim.node != me || planned.claim.contains(&claim.source));
            for source in planned.claim {
                if !board.claims.iter().any(|claim| claim.source == source) {
                    board.claims.push(SourceClaim { source, node: me.clone(), fence: Fence(1), until: at(60) });
                }
            }
        }
        let count = |id: &String| board.claims.iter().filter(|claim| claim.node.as_str() == id.as_str()).count();
        let counts: Vec<usize> = ids.iter().map(count).collect();
        prop_assert_eq!(counts.iter().sum::<usize>(), sources);
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        prop_assert!(most - least <= 1, "{:?}", counts);
    }
}
