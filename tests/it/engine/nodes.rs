//! Several engines on one store: they share the sources, take over from one that died, and one that was frozen does no harm.
//!
//! Each node but the test's own client runs on a thread of its own, which can be made to stand still as a stopped process
//! does, or to end as a killed one does.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use posthaste::actors::memories::Memories;
use posthaste::app::{self, Seams};
use posthaste::clock::Clock;
use posthaste::config::Settings;
use posthaste::domain::{Board, Lane, ProviderId, SourceId, State};
use posthaste::observe::Observer;
use posthaste::queue::{Claims, Queue};
use posthaste::resolver::Fixed;
use posthaste::store::{Memory, Store};
use provider_sim::{Behaviour, Receiver};
use tokio::sync::{mpsc as orders, oneshot};

use super::bed::{
    Bed, Door, Http, WITHIN, behaving, config, door, eventually, in_state, mail, numbered, plain, settings, sum,
};
use posthaste::store::faulty::{Calls, Fault, Faulty, Method};

/// What a node is told to do.
enum Order {
    /// Stand still, with everything in it, until the other end is dropped.
    Freeze(mpsc::Receiver<()>),
    /// End at once, without a word to anybody.
    Die,
}

/// An engine on a thread of its own.
struct Node {
    observer: Arc<Observer>,
    api: SocketAddr,
    first_key: Option<String>,
    orders: orders::UnboundedSender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts one that is set up for these sources.
    async fn start(name: &str, sources: &[&str], doors: &[Door], memory: &Arc<Memory>) -> Self {
        let settings = node_settings(name, sources, doors);
        let (memory, observer) = (Arc::clone(memory), Arc::new(Observer::new()));
        let (orders, mut told) = orders::unbounded_channel();
        let (started, up) = oneshot::channel();
        let watched = Arc::clone(&observer);
        let thread = std::thread::spawn(move || {
            actix::System::new().block_on(async move {
                let running = app::start_on(settings, seams(memory), watched, None)
                    .await
                    .expect("starts");
                started
                    .send((running.api, running.first_key.clone()))
                    .expect("waited for");
                while let Some(order) = told.recv().await {
                    match order {
                        // The other end is dropped to end it, which is an error here and no surprise.
                        Order::Freeze(until) => drop(until.recv()),
                        Order::Die => return,
                    }
                }
            });
        });
        let (api, first_key) = up.await.expect("the node starts");
        Self {
            observer,
            api,
            first_key,
            orders,
            thread: Some(thread),
        }
    }

    /// Stands still until the guard is dropped.
    fn freeze(&self) -> mpsc::Sender<()> {
        let (guard, until) = mpsc::channel();
        assert!(self.orders.send(Order::Freeze(until)).is_ok(), "it runs");
        guard
    }

    /// Dies.
    fn die(&mut self) {
        assert!(self.orders.send(Order::Die).is_ok(), "it runs");
        self.thread.take().expect("it runs").join().expect("no panic");
    }

    fn attempts_from(&self, source: &str) -> f64 {
        sum(
            &self.observer.render(),
            "posthaste_attempts_total",
            &[("source", source)],
        )
    }
}

fn node_settings(name: &str, sources: &[&str], doors: &[Door]) -> Settings {
    let mut text = format!("node: {name}\nsources:\n");
    for source in sources {
        let last = source.trim_start_matches("ip");
        text += &format!("  - {{id: {source}, ip: 127.0.0.{last}}}\n");
    }
    let text = text + &config(doors);
    let mut settings = Settings::from_yaml(&text, &|_| None).expect("a good config");
    settings.engine.settlement.fault_wait = Duration::from_millis(200);
    settings.engine.remember_every = Duration::from_millis(100);
    settings
}

fn seams(memory: Arc<Memory>) -> Seams {
    Seams {
        queue: Arc::clone(&memory) as Arc<dyn Queue>,
        store: memory as Arc<dyn Store>,
        resolver: Arc::new(Fixed::new()),
        confirm: None,
        clock: Clock::system(),
        return_path_key: [7; 32],
    }
}

async fn board(memory: &Memory) -> Board {
    memory.board(Clock::system().now()).await.expect("a board")
}

/// The sources of a node.
async fn owned(memory: &Memory, node: &str) -> Vec<String> {
    let board = board(memory).await;
    let claims = board.claims.iter().filter(|claim| claim.node.as_str() == node);
    claims.map(|claim| claim.source.to_string()).collect()
}

async fn owns(memory: &Memory, node: &str, sources: &[&str]) {
    let what = format!("{node} owns {sources:?}");
    eventually(&what, async || owned(memory, node).await == sources).await;
}

async fn shares(memory: &Memory, counts: [(&str, usize); 2]) {
    let fair = async || {
        let mut fair = true;
        for (node, count) in counts {
            fair &= owned(memory, node).await.len() == count;
        }
        fair
    };
    eventually(&format!("shares of {counts:?}"), fair).await;
}

async fn all_settled(memory: &Memory) {
    let waiting = async || {
        let depth = memory.depth(Clock::system().now()).await.expect("a depth");
        depth.waiting_by_class.iter().sum::<u64>() == 0
    };
    eventually("everything comes to its end", waiting).await;
}

/// Sends mail to so many addresses; gives what the API calls them.
async fn send(http: &Http, count: usize) -> Vec<(String, String)> {
    send_to(http, numbered(count, "example.test")).await
}

async fn send_to(http: &Http, addresses: Vec<String>) -> Vec<(String, String)> {
    let mut ids = Vec::new();
    for batch in addresses.chunks(100) {
        ids.extend(http.send_batch(batch.iter().map(|to| mail(to)).collect()).await);
    }
    addresses.into_iter().zip(ids).collect()
}

/// Everything was delivered, and a second copy exists only where we say that it may.
async fn no_unreported_duplicate(http: &Http, receiver: &Receiver, sent: &[(String, String)]) {
    for (address, id) in sent {
        let copies = receiver.ledger().records_for(address).len();
        let shown = http.email(id).await;
        assert_eq!(shown["status"], "delivered", "{shown:#}");
        assert!(copies >= 1, "{address} has no copy: {shown:#}");
        let ambiguous = shown["recipients"][0]["ambiguous"].as_u64().unwrap_or(0);
        assert!(
            copies as u64 <= 1 + ambiguous,
            "{copies} copies for {address}, {ambiguous} of them reported: {shown:#}"
        );
    }
}

async fn slow_receiver() -> (Receiver, Door) {
    let receiver = behaving(Behaviour {
        message_delay_ms: 10,
        ..Behaviour::default()
    })
    .await;
    let mut door = door("example.test", &receiver);
    door.connections = 2;
    (receiver, door)
}

/// Times that mail is sent until every source has had some.
const ROUNDS_MAX: u32 = 20;

#[actix_web::test]
async fn two_nodes_with_the_same_sources_share_them_and_each_sends_from_its_own() {
    let (receiver, door) = slow_receiver().await;
    let memory = Arc::new(Memory::new());
    let sources = ["ip2", "ip3", "ip4", "ip5"];
    let doors = [door];
    let first = Node::start("a", &sources, &doors, &memory).await;
    owns(&memory, "a", &sources).await;
    // The second comes late and is given its share.
    let second = Node::start("b", &sources, &doors, &memory).await;
    shares(&memory, [("a", 2), ("b", 2)]).await;

    let http = Http::new(second.api, first.first_key.clone().expect("the first makes a key"));
    let mut owners = Vec::new();
    for source in sources {
        let from_first = owned(&memory, "a").await.contains(&source.to_owned());
        owners.push((
            source,
            if from_first {
                [&first, &second]
            } else {
                [&second, &first]
            },
        ));
    }
    // Who is quicker takes more: mail comes until each owner has had some for each of its sources.
    let mut sent = Vec::new();
    for round in 0..ROUNDS_MAX {
        let addresses = numbered(100, "example.test").into_iter();
        sent.extend(send_to(&http, addresses.map(|address| format!("r{round}-{address}")).collect()).await);
        all_settled(&memory).await;
        if owners
            .iter()
            .all(|(source, [owner, _])| owner.attempts_from(source) > 0.0)
        {
            break;
        }
    }
    no_unreported_duplicate(&http, &receiver, &sent).await;
    assert_eq!(receiver.ledger().totals().duplicates, 0);
    for (source, [owner, other]) in owners {
        assert!(owner.attempts_from(source) > 0.0, "{source} is used by its owner");
        assert!(
            (other.attempts_from(source)).abs() < 0.5,
            "{source} is used by its owner only"
        );
    }
}

#[actix_web::test]
async fn nodes_with_different_sources_keep_their_own() {
    let receiver = plain().await;
    let memory = Arc::new(Memory::new());
    let doors = [door("example.test", &receiver)];
    let first = Node::start("a", &["ip2"], &doors, &memory).await;
    let second = Node::start("b", &["ip3"], &doors, &memory).await;
    owns(&memory, "a", &["ip2"]).await;
    owns(&memory, "b", &["ip3"]).await;
    let http = Http::new(second.api, first.first_key.clone().expect("the first makes a key"));
    send(&http, 50).await;
    all_settled(&memory).await;
    assert!(first.attempts_from("ip3").abs() < 0.5 && second.attempts_from("ip2").abs() < 0.5);
}

#[actix_web::test]
async fn a_source_whose_address_is_elsewhere_is_not_claimed() {
    let receiver = plain().await;
    let memory = Arc::new(Memory::new());
    let mut settings = node_settings("a", &["ip2", "ip3"], &[door("example.test", &receiver)]);
    settings.sources[0].ip = Some(SocketAddr::from(([203, 0, 113, 5], 0)).ip());
    let bed = Bed::on(settings, Arc::clone(&memory)).await;
    owns(&memory, "a", &["ip3"]).await;
    let id = bed.send(&mail("a@example.test")).await;
    bed.until(&id, "delivered").await;
    assert_eq!(
        bed.metric("posthaste_source_owner", &[("source", "ip3"), ("node", "a")]),
        1.0
    );
    assert_eq!(owned(&memory, "a").await, ["ip3"]);
}

#[actix_web::test]
async fn what_a_dead_node_leaves_behind_goes_out_through_the_other() {
    let (receiver, door) = slow_receiver().await;
    let memory = Arc::new(Memory::new());
    let (sources, doors) = (["ip2", "ip3"], [door]);
    let mut first = Node::start("a", &sources, &doors, &memory).await;
    let key = first.first_key.clone().expect("the first makes a key");
    let second = Node::start("b", &sources, &doors, &memory).await;
    shares(&memory, [("a", 1), ("b", 1)]).await;
    let http = Http::new(second.api, key);
    let sent = send(&http, 400).await;
    receiver.ledger().wait_for_total(40, WITHIN).await.expect("it flows");
    first.die();
    owns(&memory, "b", &sources).await;
    all_settled(&memory).await;
    no_unreported_duplicate(&http, &receiver, &sent).await;
}

/// The ceiling that a node shows for the lane of this source.
async fn ceiling(http: &Http, source: &str) -> Option<u64> {
    let answer = http.get("/v1/admin/lanes").await.expect("answers");
    let lanes = answer.body["lanes"].as_array().cloned().unwrap_or_default();
    let lane = lanes.iter().find(|lane| lane["source"] == source)?;
    lane["connections"]["ceiling"].as_u64()
}

#[actix_web::test]
async fn a_source_that_comes_back_brings_what_the_other_node_learnt_of_its_lanes() {
    let receiver = behaving(Behaviour {
        connections_per_ip: Some(4),
        message_delay_ms: 5,
        ..Behaviour::default()
    })
    .await;
    let mut door = door("example.test", &receiver);
    door.connections = 10;
    let memory = Arc::new(Memory::new());
    let (sources, doors) = (["ip2", "ip3"], [door]);
    let first = Node::start("a", &sources, &doors, &memory).await;
    owns(&memory, "a", &sources).await;
    let http = Http::new(first.api, first.first_key.clone().expect("the first makes a key"));
    // Both lanes are there before the other node comes, and have met no limit.
    let both = async || {
        send(&http, 2).await;
        all_settled(&memory).await;
        sources.iter().all(|source| first.attempts_from(source) > 0.5)
    };
    eventually("both sources are used", both).await;
    let mut second = Node::start("b", &sources, &doors, &memory).await;
    shares(&memory, [("a", 1), ("b", 1)]).await;
    let source = owned(&memory, "b").await.remove(0);
    assert_eq!(ceiling(&http, &source).await, None);
    let learnt = async || {
        send(&http, 200).await;
        all_settled(&memory).await;
        let memories = Memories::default();
        memories.load(&*memory).await.expect("reads");
        let lane = Lane {
            source: SourceId::from(source.as_str()),
            provider: ProviderId::from("route:door0"),
        };
        let known = memories.of(&lane);
        known.is_some_and(|known| known.connections.ceiling == Some(4))
    };
    eventually("the other node has learnt the limit", learnt).await;
    assert_eq!(
        ceiling(&http, &source).await,
        None,
        "the lane that stands here saw nothing of it"
    );
    second.die();
    owns(&memory, "a", &sources).await;
    let known = async || ceiling(&http, &source).await == Some(4);
    eventually("it goes on with what was learnt", known).await;
}

#[actix_web::test]
async fn a_node_that_leaves_gives_its_sources_away_at_once() {
    let receiver = plain().await;
    let memory = Arc::new(Memory::new());
    let (sources, doors) = (["ip2", "ip3"], [door("example.test", &receiver)]);
    let mut first = Bed::on(node_settings("a", &sources, &doors), Arc::clone(&memory)).await;
    owns(&memory, "a", &sources).await;
    assert!(first.stop().await);
    assert_eq!(board(&memory).await, Board::default());
}

/// Freezes a node under load until the other has taken everything over; then it goes on where it stood.
async fn frozen_past_its_lease(before: u64) {
    let (receiver, door) = slow_receiver().await;
    let memory = Arc::new(Memory::new());
    let (sources, doors) = (["ip2", "ip3"], [door]);
    let first = Node::start("a", &sources, &doors, &memory).await;
    let key = first.first_key.clone().expect("the first makes a key");
    let second = Node::start("b", &sources, &doors, &memory).await;
    shares(&memory, [("a", 1), ("b", 1)]).await;
    let http = Http::new(second.api, key);
    let sent = send(&http, 300).await;
    receiver
        .ledger()
        .wait_for_total(before, WITHIN)
        .await
        .expect("it flows");
    let frozen = first.freeze();
    owns(&memory, "b", &sources).await;
    all_settled(&memory).await;
    let copies = receiver.ledger().total();
    drop(frozen);
    // It comes to itself, finds that it owns nothing, and is given its share again.
    shares(&memory, [("a", 1), ("b", 1)]).await;
    no_unreported_duplicate(&http, &receiver, &sent).await;
    let late = receiver.ledger().total() - copies;
    assert_eq!(late, 0, "what it held when it was frozen has not gone out since");
}

#[actix_web::test]
async fn a_node_that_was_frozen_past_its_lease_sends_nothing_that_is_not_its_own() {
    for before in [1, 37, 120] {
        frozen_past_its_lease(before).await;
    }
}

#[actix_web::test]
async fn the_dot_is_withheld_when_the_answer_of_the_store_comes_after_the_lease() {
    let receiver = plain().await;
    let faulty = Arc::new(Faulty::around(Arc::new(Memory::new())));
    let bed = Bed::on(settings(&[door("example.test", &receiver)]), Arc::clone(&faulty)).await;
    // The store says yes in time; we hear of it too late, as one hears of it who was frozen meanwhile.
    faulty.order(Method::Renew, Calls::All, Fault::Hang);
    faulty.order(Method::Intent, Calls::Nth(1), Fault::LateAnswer(Duration::from_secs(3)));
    let id = bed.send(&mail("a@example.test")).await;
    bed.until_metric("posthaste_withheld_total", &[("reason", "late")], 1.0)
        .await;
    faulty.heal();
    let shown = bed.until(&id, "delivered").await;
    assert_eq!(receiver.ledger().records_for("a@example.test").len(), 1, "{shown:#}");
    let depth = bed.settled().await;
    assert_eq!(in_state(&depth, State::Delivered), 1);
}
