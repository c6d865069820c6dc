//! One run: mail comes, things go wrong, everything is healed, all is done.
//!
//! Takes a plan and the world that was made for it; gives the number of its steps, or panics with the first broken rule.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use posthaste::clock::Clock;
use posthaste::domain::{Class, State, Timestamp};
use posthaste::queue::Queue;
use posthaste::store::Store;
use posthaste::store::faulty::{Calls, Fault, Method};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::spawn_local;

use super::book::{CLOCK_JUMP_MAX, Request};
use super::mail::{self, Mail};
use super::network::Incoming;
use super::node::{LEASE, LOOK_AHEAD, Node};
use super::receiver;
use super::watched::{BEGIN, World};

/// After everything is healed, all mail has come to its end within this.
const END_WITHIN: Duration = Duration::from_secs(600);
/// After the pauses of all lanes, mail is delivered within this.
const PROBE_WITHIN: Duration = Duration::from_secs(40);
/// A name server that failed is not asked again for this long at most.
const NAMES_FAIL_FOR: Duration = Duration::from_secs(60);
/// How often the state of everything is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A node that shuts down has this much time.
const GRACE: Duration = Duration::from_secs(15);

/// A place where a node runs, or is to run again.
enum Place {
    Up(Box<Node>),
    Down(Timestamp),
}

struct Run {
    world: Arc<World>,
    chance: Rng,
    places: Vec<Place>,
    /// When frozen nodes go on, by number.
    frozen: BTreeMap<usize, Timestamp>,
    /// When records can be read again.
    spell_until: Timestamp,
    receivers: UnboundedSender<Incoming>,
    /// Mail that is yet to come, by its second.
    to_come: Vec<(u64, Mail)>,
    healed_at: Option<Timestamp>,
}

/// Runs it all.
pub(super) async fn run(world: Arc<World>) {
    let chaos = world.book().plan.chaos.as_secs();
    let mut run = Run::new(world).await;
    for second in 0..chaos {
        run.arrive(second).await;
        run.chaos();
        run.second().await;
    }
    run.heal();
    run.finish().await;
    run.probe().await;
    run.end();
}

/// Runs mail for so long, without faults but those of the plan's receivers.
pub(super) async fn run_calm(world: Arc<World>, lasts: Duration) {
    let mut run = Run::new(world).await;
    for second in 0..lasts.as_secs() {
        run.arrive(second).await;
        run.second().await;
    }
    run.end();
}

/// The mail of a plan.
fn mails(plan: &super::plan::Plan, chance: &mut Rng) -> Vec<(u64, Mail)> {
    let last = plan.chaos.as_secs() * 2 / 3;
    let mut mails = Vec::new();
    for number in 0..plan.mails + plan.flood {
        let flood = number >= plan.mails;
        let class = if flood {
            Class::Broadcast
        } else {
            Class::ALL[chance.usize(..3)]
        };
        let due_in = if chance.u32(..100) < 15 { chance.u64(1..60) } else { 0 };
        let mail = Mail {
            number: u32::try_from(number).expect("few mails"),
            door: if flood { 0 } else { chance.usize(..plan.doors.len()) },
            class,
            due_in: Duration::from_secs(due_in),
            life: Duration::from_secs(chance.u64(10..150)),
            large: chance.u32(..100) < 5,
        };
        mails.push((if flood { 5 } else { chance.u64(..last) }, mail));
    }
    mails
}

fn stop_if_broken(world: &World) {
    let broken = world.book().broken.clone();
    if let Some(broken) = broken {
        panic!("{broken}");
    }
}

impl Run {
    async fn new(world: Arc<World>) -> Self {
        let (receivers, mut incoming) = unbounded_channel();
        let world_of_receivers = Arc::clone(&world);
        spawn_local(async move {
            while let Some(connection) = incoming.recv().await {
                spawn_local(receiver::serve(Arc::clone(&world_of_receivers), connection));
            }
        });
        let put = world.memory.put_domain(mail::sending_domain()).await;
        put.expect("the memory takes everything");
        let plan = world.book().plan.clone();
        let mut chance = Rng::with_seed(plan.seed ^ 0xc0de);
        Self {
            to_come: mails(&plan, &mut chance),
            world,
            chance,
            places: (0..plan.nodes).map(|_| Place::Down(BEGIN)).collect(),
            frozen: BTreeMap::new(),
            spell_until: BEGIN,
            receivers,
            healed_at: None,
        }
    }

    fn end(self) {
        for place in self.places {
            if let Place::Up(node) = place {
                node.kill(&self.world);
            }
        }
        self.world.book().check_waits();
        stop_if_broken(&self.world);
    }

    /// After this, nothing that went wrong keeps a lane shut any more.
    fn pauses(&self) -> Duration {
        NAMES_FAIL_FOR + self.world.book().plan.pauses.1 + LEASE * 2
    }

    async fn arrive(&mut self, second: u64) {
        let (now_due, later): (Vec<_>, Vec<_>) = self.to_come.drain(..).partition(|(at, _)| *at == second);
        self.to_come = later;
        for (_, mail) in now_due {
            self.accept(mail).await;
        }
    }

    async fn accept(&mut self, mail: Mail) {
        let now = self.world.now();
        let line = format!(
            "accept u{} {} for door{}, due in {:?}, life {:?}",
            mail.number, mail.class, mail.door, mail.due_in, mail.life
        );
        self.world.tell(&line);
        self.world.book().accepted(mail, now);
        let accepted = self.world.memory.accept(mail.accept(now)).await;
        accepted.expect("the memory takes everything");
    }

    /// What goes wrong in this second.
    fn chaos(&mut self) {
        let plan = self.world.book().plan.clone();
        for place in 0..self.places.len() {
            let (kills, freezes, drains) = (
                self.comes(plan.kills),
                self.comes(plan.freezes),
                self.comes(plan.drains),
            );
            let Place::Up(node) = &self.places[place] else { continue };
            let number = node.number;
            if kills {
                self.kill(place);
            } else if freezes && !self.frozen.contains_key(&number) {
                node.freeze(&self.world);
                self.freeze_for_a_while(number);
            } else if drains && !self.frozen.contains_key(&number) {
                self.drain(place);
            }
        }
        if self.comes(plan.store_spells) {
            self.spell_until = self.world.now().plus(Duration::from_secs(self.chance.u64(1..20)));
            for node in self.up() {
                node.store.order(Method::Body, Calls::All, Fault::Unavailable);
                node.store.order(Method::Message, Calls::All, Fault::Unavailable);
            }
        }
        if self.world.now() < self.spell_until {
            self.world.disturb();
        } else {
            self.up().for_each(|node| node.store.heal());
        }
    }

    fn comes(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.chance.u32(..1_000) < per_mille
    }

    fn up(&self) -> impl Iterator<Item = &Node> {
        self.places.iter().filter_map(|place| match place {
            Place::Up(node) => Some(&**node),
            Place::Down(_) => None,
        })
    }

    fn freeze_for_a_while(&mut self, number: usize) {
        let until = self.world.now().plus(Duration::from_secs(self.chance.u64(1..60)));
        self.frozen.insert(number, until);
    }

    fn kill(&mut self, place: usize) {
        let back = self.world.now().plus(Duration::from_millis(self.chance.u64(0..10_000)));
        let Place::Up(node) = std::mem::replace(&mut self.places[place], Place::Down(back)) else {
            return;
        };
        self.frozen.remove(&node.number);
        node.kill(&self.world);
        if self.up().next().is_none() {
            self.world.tell("the last one is dead: leases are forgotten");
            self.world.memory.crash();
        }
    }

    /// As SIGTERM does: what it still has in hand when its grace is over is lost with it.
    fn drain(&mut self, place: usize) {
        let Place::Up(node) = &self.places[place] else { return };
        self.world.tell(&format!("n{} drains", node.number));
        let (engine, world, number) = (node.engine.clone(), Arc::clone(&self.world), node.number);
        spawn_local(async move {
            let clean = engine.drain(GRACE).await;
            world.tell(&format!("n{number} has drained: {clean}"));
            world.book().requests.push((number, Request::Kill));
            world.stirred.notify_one();
        });
    }

    /// One second, with what nodes ask for meanwhile.
    async fn second(&mut self) {
        let end = self.world.clock.instant_of(self.world.now().plus(LOOK_EVERY));
        let world = Arc::clone(&self.world);
        while tokio::time::timeout_at(end, world.stirred.notified()).await.is_ok() {
            self.obey();
        }
        self.obey();
        self.time_passed();
        self.look().await;
    }

    fn obey(&mut self) {
        let requests = std::mem::take(&mut self.world.book().requests);
        for (number, request) in requests {
            let of = |place: &Place| matches!(place, Place::Up(node) if node.number == number);
            let Some(place) = self.places.iter().position(of) else {
                continue;
            };
            match request {
                Request::Kill => self.kill(place),
                Request::Freeze => {
                    self.world.tell(&format!("n{number} freezes in a call"));
                    self.world.disturb();
                    self.freeze_for_a_while(number);
                }
            }
        }
    }

    /// The frozen go on, the dead come back.
    fn time_passed(&mut self) {
        let now = self.world.now();
        let thawed: Vec<usize> = self
            .frozen
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(n, _)| *n)
            .collect();
        for number in thawed {
            self.frozen.remove(&number);
            if let Some(node) = self.up().find(|node| node.number == number) {
                node.thaw(&self.world);
            }
        }
        if !self.frozen.is_empty() {
            self.world.disturb();
        }
        let jumps = self.world.book().plan.clock_jumps;
        for place in 0..self.places.len() {
            let Place::Down(back) = self.places[place] else {
                continue;
            };
            self.world.disturb();
            if back > now {
                continue;
            }
            let wall = if jumps {
                let most = u64::try_from(CLOCK_JUMP_MAX.as_millis()).expect("a short time");
                now.minus(CLOCK_JUMP_MAX / 2)
                    .plus(Duration::from_millis(self.chance.u64(0..most)))
            } else {
                now
            };
            let node = Node::start(&self.world, Clock::starting_at(wall), &self.receivers);
            self.places[place] = Place::Up(Box::new(node));
        }
    }

    /// The state of everything, against the rules.
    async fn look(&mut self) {
        stop_if_broken(&self.world);
        self.world.memory.check();
        let now = self.world.now();
        let depth = self.world.memory.depth(now).await.expect("the memory answers");
        let known: Vec<(u32, usize)> = self
            .world
            .book()
            .mails
            .iter()
            .map(|(n, facts)| (*n, facts.mail.door))
            .collect();
        let total: u64 = depth.by_state.iter().sum();
        assert_eq!(total, known.len() as u64, "I1: the ledger has as much as was accepted");
        let nodes = self.world.book().nodes.len();
        let doors = self.world.book().doors.len();
        // Each lane holds 50 and what it sends; what is on its way to the park is held for as long as that takes.
        let bound = nodes.min(4) * (doors * 60 + 3 * LOOK_AHEAD) * 2;
        assert!(depth.leased <= bound as u64, "I18: {} are leased at once", depth.leased);
        let pauses = self.pauses();
        let works = self.healed_at.is_some_and(|at| now.since(at) > pauses);
        let mut broken = false;
        for (number, _) in known {
            let delivery = self.world.memory.delivery(mail::id(number)).await;
            let delivery = delivery.expect("the memory answers").expect("it is known");
            let mut book = self.world.book();
            if !delivery.state.is_final() {
                book.check_expiry(number, delivery.state, now);
                let waits = matches!(delivery.state, State::Queued | State::Scheduled | State::Deferred);
                if works && waits {
                    book.check_work(number, delivery.due_at, now);
                }
            }
            broken |= book.broken.is_some();
        }
        if broken {
            stop_if_broken(&self.world);
        }
    }

    /// Nothing goes wrong any more. Clocks that are wrong are set right, by a restart.
    fn heal(&mut self) {
        self.world.tell("everything is healed");
        self.spell_until = BEGIN;
        let jumped = {
            let mut book = self.world.book();
            let healed = book.plan.healed(false);
            std::mem::replace(&mut book.plan, healed).clock_jumps
        };
        let numbers: Vec<usize> = self.frozen.keys().copied().collect();
        for number in numbers {
            self.frozen.insert(number, self.world.now());
        }
        for place in 0..self.places.len() {
            if let Place::Up(node) = &self.places[place] {
                node.store.heal();
                if jumped {
                    self.kill(place);
                }
            }
        }
        self.world.disturb();
        self.healed_at = Some(self.world.now());
    }

    /// Waits until all mail has come to its end.
    async fn finish(&mut self) {
        let begun = self.world.now();
        loop {
            self.second().await;
            let left = self.unfinished().await;
            if left.is_empty() && self.to_come.is_empty() {
                break;
            }
            let late = self.world.now().since(begun) > END_WITHIN;
            assert!(!late, "liveness: {left:?} have no end");
        }
        let numbers: Vec<u32> = self.world.book().mails.keys().copied().collect();
        for number in numbers {
            self.check_end(number).await;
        }
        stop_if_broken(&self.world);
    }

    async fn unfinished(&self) -> Vec<String> {
        let numbers: Vec<u32> = self.world.book().mails.keys().copied().collect();
        let mut left = Vec::new();
        for number in numbers {
            let delivery = self.world.memory.delivery(mail::id(number)).await;
            let delivery = delivery.expect("the memory answers").expect("it is known");
            if !delivery.state.is_final() {
                left.push(format!("u{number} {} due {}", delivery.state, delivery.due_at));
            }
        }
        left
    }

    async fn check_end(&self, number: u32) {
        let id = mail::id(number);
        let delivery = self.world.memory.delivery(id).await;
        let delivery = delivery.expect("the memory answers").expect("it is known");
        let events = self.world.memory.events(id.message, 1_000).await;
        let events = events.expect("the memory answers");
        let is_end = |name: &str| State::ALL.iter().any(|state| state.is_final() && state.name() == name);
        let ends = events.iter().filter(|event| is_end(event.kind.name())).count();
        let last_is_end = events
            .last()
            .is_some_and(|event| event.kind.name() == delivery.state.name());
        let mut book = self.world.book();
        book.check_end(number, delivery.state, ends, last_is_end);
    }

    /// All lanes work again: fresh mail goes through each of them at once.
    async fn probe(&mut self) {
        {
            let mut book = self.world.book();
            book.plan = book.plan.healed(true);
        }
        let pauses = self.pauses().as_secs();
        for _ in 0..pauses {
            self.second().await;
        }
        let doors = self.world.book().doors.len();
        let first = self.world.book().mails.len();
        for door in 0..doors {
            let mail = Mail {
                number: u32::try_from(first + door).expect("few mails"),
                door,
                class: Class::Transactional,
                due_in: Duration::ZERO,
                life: Duration::from_secs(600),
                large: false,
            };
            self.accept(mail).await;
        }
        let begun = self.world.now();
        while !self.unfinished().await.is_empty() {
            self.second().await;
            let late = self.world.now().since(begun) > PROBE_WITHIN;
            assert!(
                !late,
                "liveness: a lane is not open again: {:?}",
                self.unfinished().await
            );
        }
        for door in 0..doors {
            let number = u32::try_from(first + door).expect("few mails");
            self.check_end(number).await;
            let delivery = self.world.memory.delivery(mail::id(number)).await;
            let state = delivery.expect("the memory answers").expect("it is known").state;
            assert_eq!(state, State::Delivered, "liveness: u{number}");
        }
    }
}
