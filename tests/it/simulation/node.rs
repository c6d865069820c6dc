//! One engine with all its actors, in a set of tasks of its own: it can be frozen, and it can die.
//!
//! Takes the world, gives a [`Node`]. A frozen one is not polled: nothing in it runs. One that dies is dropped with all its
//! tasks at once, as by `kill -9`; its connections close.

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use posthaste::actors::crafter::Crafter;
use posthaste::actors::engine::Engine;
use posthaste::actors::in_use::{Figures, RulesInUse};
use posthaste::actors::lane_book::LaneBook;
use posthaste::actors::ownership::Ownership;
use posthaste::actors::spawner::Spawner;
use posthaste::actors::supervisor::Surroundings;
use posthaste::actors::tools::{Draining, EngineSettings, SourceSettings, Tools};
use posthaste::actors::warmups::{WarmupSettings, Warmups};
use posthaste::clock::Clock;
use posthaste::current::Current;
use posthaste::domain::{NodeId, SourceId};
use posthaste::mail::return_path::ReturnPathKey;
use posthaste::observe::Observer;
use posthaste::policy::breaker::BreakerSettings;
use posthaste::policy::classify::Classifier;
use posthaste::policy::fairness::LookAhead;
use posthaste::policy::lane_gate::LaneGateSettings;
use posthaste::policy::pins::Pins;
use posthaste::policy::restart::RestartSettings;
use posthaste::policy::retry::RetrySettings;
use posthaste::policy::routing::SourceRoom;
use posthaste::policy::settlement::SettlementSettings;
use posthaste::queue::Queue;
use posthaste::resolver::{DestinationSettings, Destinations};
use posthaste::store::faulty::Faulty;
use posthaste::transport::{Deadlines, Dialer, DialerSettings};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::LocalSet;

use super::book::NodeFacts;
use super::names::{Doors, Names};
use super::network::{Incoming, Network};
use super::watched::{Watched, World};

/// How long a lease lasts here.
pub(super) const LEASE: Duration = Duration::from_secs(20);
/// A provider that asks for a pause gets no longer one.
const ASKED_PAUSE_MAX: Duration = Duration::from_secs(20);
/// For how long ambiguous broadcast mail is held.
pub(super) const HOLD: Duration = Duration::from_secs(90);
/// Deliveries of one class between queue and lane.
pub(super) const LOOK_AHEAD: usize = 40;

/// One engine.
pub(super) struct Node {
    pub(super) number: usize,
    pub(super) engine: Engine,
    pub(super) observer: Arc<Observer>,
    /// Its store, whose records can be made unreadable.
    pub(super) store: Arc<Faulty>,
    tasks: Rc<RefCell<Option<LocalSet>>>,
    stirred: Rc<Notify>,
}

impl Node {
    /// Starts one. Must be called inside the outer set of tasks.
    pub(super) fn start(world: &Arc<World>, clock: Clock, receivers: &UnboundedSender<Incoming>) -> Self {
        let number = {
            let mut book = world.book();
            book.nodes.push(NodeFacts {
                clock: clock.clone(),
                frozen: false,
                alive: true,
            });
            book.nodes.len() - 1
        };
        world.tell(&format!("n{number} starts, its clock shows {}", clock.now()));
        let observer = Arc::new(Observer::new());
        let store = Arc::new(Faulty::around(Arc::clone(&world.memory)));
        let tools = tools(world, number, &clock, &observer, &store, receivers);
        let tasks = LocalSet::new();
        let engine = {
            let _inside = tasks.enter();
            Engine::start(&tools)
        };
        let tasks = Rc::new(RefCell::new(Some(tasks)));
        let stirred = Rc::new(Notify::new());
        tokio::task::spawn_local(drive(Arc::clone(world), number, Rc::clone(&tasks), Rc::clone(&stirred)));
        Self {
            number,
            engine,
            observer,
            store,
            tasks,
            stirred,
        }
    }

    /// Dies.
    pub(super) fn kill(self, world: &World) {
        world.tell(&format!("n{} dies", self.number));
        let tasks = self.tasks.borrow_mut().take();
        drop(tasks);
        self.stirred.notify_one();
        self.over(world);
    }

    /// Goes on after a freeze.
    pub(super) fn thaw(&self, world: &World) {
        world.tell(&format!("n{} thaws", self.number));
        world.book().nodes[self.number].frozen = false;
        world.disturb();
        world.thawed.notify_waiters();
        self.stirred.notify_one();
    }

    /// Nothing in it runs from now on.
    pub(super) fn freeze(&self, world: &World) {
        world.tell(&format!("n{} freezes", self.number));
        world.book().nodes[self.number].frozen = true;
        world.disturb();
    }

    fn over(&self, world: &World) {
        let mut book = world.book();
        book.nodes[self.number].alive = false;
        let metrics = self.observer.render();
        let panics = posthaste_panics(&metrics);
        if let Some(line) = panics {
            book.breaks("panic", &format!("node {}: {line}", self.number));
        }
        drop(book);
        world.disturb();
    }
}

/// The first line that counts a panic.
fn posthaste_panics(metrics: &str) -> Option<&str> {
    let counts = metrics
        .lines()
        .filter(|line| line.starts_with("posthaste_actor_restarts"));
    counts.into_iter().find(|line| !line.ends_with(" 0"))
}

/// Polls the tasks of a node unless it is frozen.
async fn drive(world: Arc<World>, number: usize, tasks: Rc<RefCell<Option<LocalSet>>>, stirred: Rc<Notify>) {
    loop {
        let over = {
            let thawed = stirred.notified();
            let mut thawed = std::pin::pin!(thawed);
            poll_fn(|context| {
                if thawed.as_mut().poll(context).is_ready() {
                    return Poll::Ready(false);
                }
                if world.book().nodes[number].frozen {
                    return Poll::Pending;
                }
                match tasks.borrow_mut().as_mut() {
                    None => Poll::Ready(true),
                    Some(tasks) => Pin::new(tasks).poll(context).map(|()| true),
                }
            })
            .await
        };
        if over {
            return;
        }
    }
}

fn tools(
    world: &Arc<World>,
    node: usize,
    clock: &Clock,
    observer: &Arc<Observer>,
    store: &Arc<Faulty>,
    receivers: &UnboundedSender<Incoming>,
) -> Tools {
    let queue: Arc<dyn Queue> = Arc::new(Watched {
        world: Arc::clone(world),
        node,
    });
    let network = Network {
        world: Arc::clone(world),
        node,
        receivers: receivers.clone(),
    };
    let destinations = Destinations::new(
        Arc::new(Names(Arc::clone(world))),
        None,
        Vec::new(),
        Arc::new(Doors(Arc::clone(world))),
        DestinationSettings {
            lookup_timeout: Duration::from_secs(10),
            ..DestinationSettings::default()
        },
        clock.clone(),
    );
    let escalated = Arc::clone(world);
    let settings = settings(world.book().plan.pauses);
    Tools {
        queue,
        store: Arc::clone(store) as Arc<dyn posthaste::store::Store>,
        destinations: Arc::new(destinations),
        dialer: Arc::new(dialer().over(Arc::new(network), clock.clone())),
        classifier: classifier(),
        figures: Arc::new(Current::new(Figures::of(&settings))),
        crafter: Arc::new(Crafter::new(
            Arc::clone(store) as Arc<dyn posthaste::store::Store>,
            clock.clone(),
            ReturnPathKey::new(&[7; 32]),
            "mta.example".to_owned(),
        )),
        spawner: Spawner::Local,
        surroundings: Surroundings {
            clock: clock.clone(),
            observer: Arc::clone(observer),
            restarts: RestartSettings::default(),
            escalate: Arc::new(move |kind| escalated.book().breaks("panic", kind)),
        },
        settings: Arc::new(settings),
        // The first node has it; another one sends when that is gone.
        sources: Arc::new(vec![source("ip1")]),
        live: Arc::default(),
        reputation: Arc::default(),
        lanes: Arc::new(LaneBook::new(Pins::default(), &LaneGateSettings::default())),
        ownership: Arc::new(Ownership::of(posthaste::domain::Node {
            id: NodeId::from(&*format!("n{node}")),
            run: 1,
        })),
        warmups: Arc::new(Warmups::new(WarmupSettings::default())),
        draining: Draining::default(),
    }
}

fn source(name: &str) -> SourceSettings {
    SourceSettings {
        room: SourceRoom::shared(SourceId::from(name)),
        ip: None,
        ehlo: "mta.example".to_owned(),
    }
}

/// Made once: it reads the certificates of the system.
fn dialer() -> &'static Dialer {
    static DIALER: OnceLock<Dialer> = OnceLock::new();
    DIALER.get_or_init(|| {
        let short = Duration::from_secs(10);
        let deadlines = Deadlines {
            connect: Duration::from_secs(5),
            tls: short,
            banner: short,
            ehlo: short,
            mail: short,
            rcpt: short,
            data: short,
            block: short,
            dot: Duration::from_secs(60),
            quit: Duration::from_secs(2),
            ..Deadlines::default()
        };
        let settings = DialerSettings {
            deadlines,
            ..DialerSettings::default()
        };
        Dialer::new(settings, Clock::system()).expect("the roots are good")
    })
}

/// Made once: it reads all rules.
fn classifier() -> Arc<RulesInUse> {
    static RULES: OnceLock<Arc<RulesInUse>> = OnceLock::new();
    Arc::clone(RULES.get_or_init(|| Arc::new(RulesInUse::new(Arc::new(Classifier::built_in())))))
}

fn settings((first_pause, longest_pause): (Duration, Duration)) -> EngineSettings {
    let seconds = |all: &[u64]| all.iter().copied().map(Duration::from_secs).collect::<Vec<_>>();
    EngineSettings {
        lease: LEASE,
        look_ahead: LookAhead {
            per_class: LOOK_AHEAD,
            batch: 20,
        },
        gate: LaneGateSettings {
            breaker: BreakerSettings {
                failures_to_open: 3,
                first_pause,
                longest_pause,
            },
            slow_pause: Duration::from_secs(2),
            slow_pause_longest: ASKED_PAUSE_MAX,
            stop_longest: ASKED_PAUSE_MAX,
            ..LaneGateSettings::default()
        },
        settlement: SettlementSettings {
            retry: RetrySettings {
                schedule: [seconds(&[2, 4, 8]), seconds(&[10, 20, 40]), seconds(&[15, 30, 60])],
                greylist_wait_min: Duration::from_secs(10),
                connection_wait: Duration::from_secs(5),
                session_limit_wait: Duration::from_secs(1),
                named_wait_max: Duration::from_secs(20),
            },
            hold: HOLD,
            no_address_max: Duration::from_secs(600),
            ..SettlementSettings::default()
        },
        // A list for people: no promise rests on it, and its writes would only move the faults.
        reviews_every: Duration::from_secs(30 * 24 * 3600),
        ..EngineSettings::default()
    }
}
