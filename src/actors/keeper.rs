//! Keeps this node on the board: says that it is there, claims its share of the Sources, gives up what is another's share.
//!
//! Takes ticks and boards; gives claims to the queue, the view of whose the Sources are to everybody, and word to the
//! scheduler when it changes. What was learnt of a Source is read before it is ours, and written before it goes. Decides nothing: `policy::ownership` does. When the store is away the view grows old, and
//! what it says ends by itself.

use std::time::Duration;

use tokio::sync::oneshot;

use super::scheduler::{Scheduler, SchedulerMessage};
use super::source_changes;
use super::supervisor::{Handle, Part, PartContext};
use super::tools::Tools;
use crate::domain::{Board, SourceId};
use crate::policy::ownership::{Plan, Standings, beat, plan};
use crate::queue::{Claim, QueueError};
use crate::transport;

/// Between two looks at sessions that still run at a Source that is being given up.
const HAND_OVER_LOOK: Duration = Duration::from_millis(250);

/// What the keeper can be told.
#[derive(Debug)]
pub enum KeeperMessage {
    /// Say that we are there; with the number of the timer.
    Beat(u64),
    /// The store answered.
    Answered(Result<Board, QueueError>),
    /// The engine has stopped: leave the board, then answer.
    Leave(oneshot::Sender<()>),
}

/// The keeper. One for each engine.
#[derive(Debug)]
pub struct Keeper {
    tools: Tools,
    scheduler: Handle<Scheduler>,
    asking: bool,
    beats: u64,
    leaving: Option<oneshot::Sender<()>>,
    left: bool,
}

impl Keeper {
    /// A keeper that goes on with the board that is known.
    #[must_use]
    pub fn new(tools: Tools, scheduler: Handle<Scheduler>) -> Self {
        Self {
            tools,
            scheduler,
            asking: false,
            beats: 0,
            leaving: None,
            left: false,
        }
    }

    /// Sources that we are set up for, whose address is here and that were not taken out.
    fn wants(&self) -> Vec<SourceId> {
        let sources = self.tools.sources.iter();
        let here = sources.filter(|source| source.ip.is_none_or(transport::is_local));
        let fit = here.filter(|source| !self.tools.ownership.is_out(&source.room.id));
        fit.map(|source| source.room.id.clone()).collect()
    }

    fn plan(&self, board: &Board) -> Plan {
        plan(&self.tools.ownership.me.id, &self.wants(), board)
    }

    /// Makes `board` what everybody sees, without what is to be handed over; says so when it changed.
    fn show(&self, board: Board, plan: &Plan) {
        let ownership = &self.tools.ownership;
        let now = self.tools.surroundings.clock.now();
        let owners = |board: &Board| -> Vec<_> {
            let claims = board.claims.iter();
            claims.map(|claim| (claim.source.clone(), claim.node.clone())).collect()
        };
        let (before, old) = (ownership.ours(now), ownership.board());
        let standings = Standings::new(&ownership.me, &board, &plan.hand_over, self.tools.settings.lease);
        let changed = owners(&old) != owners(&board);
        if changed {
            self.tools.surroundings.observer.owners(&old, &board);
        }
        self.tools.surroundings.observer.nodes(board.nodes.len());
        ownership.put(board, standings);
        if (changed || before != ownership.ours(now)) && self.scheduler.try_send(SchedulerMessage::Sources).is_err() {
            // It looks by itself a little later.
            tracing::warn!("the scheduler's mailbox is full");
        }
    }

    fn ask(&mut self, context: &PartContext<'_, Self>) {
        if self.asking || self.left {
            return;
        }
        self.asking = true;
        let tools = self.tools.clone();
        let board = tools.ownership.board();
        let (plan, first) = (self.plan(&board), board.nodes.is_empty());
        if !first {
            self.show(board.clone(), &plan);
        }
        let quiet = |source: &SourceId| tools.live.at(source) == 0;
        let (release, kept): (Vec<_>, Vec<_>) = plan.hand_over.into_iter().partition(quiet);
        let now = tools.surroundings.clock.now();
        let claim = Claim {
            node: tools.ownership.me.clone(),
            wants: self.wants(),
            claim: plan.claim.into_iter().chain(kept).collect(),
            release,
            now,
            // From before the question: however long the answer takes, we never believe more than the store does.
            until: now.plus(tools.settings.lease),
        };
        // The first look only looks, so that two who start together share at once.
        let claim = match first {
            true => Claim {
                claim: Vec::new(),
                ..claim
            },
            false => claim,
        };
        let me = context.handle();
        actix::spawn(async move {
            if !claim.release.is_empty() {
                source_changes::on_leaving(&tools, &claim.release).await;
            }
            let answer = tools.queue.claim(claim).await;
            if let Ok(new) = &answer {
                let gained = source_changes::gained(&tools.ownership.me.id, &board, new);
                if !gained.is_empty() {
                    source_changes::on_gained(&tools, &gained).await;
                }
            }
            if let Err(error) = me.send(KeeperMessage::Answered(answer)).await {
                tracing::debug!(%error, "the keeper did not take a board");
            }
        });
    }

    fn answered(&mut self, answer: Result<Board, QueueError>, context: &mut PartContext<'_, Self>) {
        self.asking = false;
        if let Some(leaving) = self.leaving.take() {
            return self.leave(leaving);
        }
        let mut next = beat(self.tools.settings.lease);
        match answer {
            Ok(board) => {
                let plan = self.plan(&board);
                let me = &self.tools.ownership.me.id;
                let free = |source: &&SourceId| !board.claims.iter().any(|claim| claim.source == **source);
                // A later run has replaced us when we are not on the board as we are; then nothing is ours to ask for.
                let replaced = !board
                    .nodes
                    .iter()
                    .any(|presence| presence.node == self.tools.ownership.me);
                if replaced {
                    tracing::error!(node = %me, "another process has taken the place of this node");
                } else if plan.claim.iter().any(|source| free(&source)) {
                    next = Duration::ZERO;
                } else if !plan.hand_over.is_empty() {
                    next = next.min(HAND_OVER_LOOK);
                }
                self.show(board, &plan);
            }
            Err(error) => self.tools.surroundings.observer.store_error(&error),
        }
        self.beats += 1;
        context.after(next, KeeperMessage::Beat(self.beats));
    }

    fn leave(&mut self, done: oneshot::Sender<()>) {
        self.left = true;
        let tools = self.tools.clone();
        actix::spawn(async move {
            if let Err(error) = tools.queue.leave(&tools.ownership.me).await {
                tools.surroundings.observer.store_error(&error);
            }
            // Nobody waits any more when the grace is over.
            let _ = done.send(());
        });
    }
}

impl Part for Keeper {
    type Message = KeeperMessage;
    const KIND: &'static str = "keeper";

    fn started(&mut self, context: &mut PartContext<'_, Self>) {
        self.ask(context);
        // In case an answer gets lost.
        context.after(beat(self.tools.settings.lease), KeeperMessage::Beat(self.beats));
    }

    fn handle(&mut self, message: KeeperMessage, context: &mut PartContext<'_, Self>) {
        fail::fail_point!("keeper");
        match message {
            KeeperMessage::Beat(number) if number == self.beats => self.ask(context),
            KeeperMessage::Beat(_) => {}
            KeeperMessage::Answered(answer) => self.answered(answer, context),
            KeeperMessage::Leave(done) if self.asking => self.leaving = Some(done),
            KeeperMessage::Leave(done) => self.leave(done),
        }
    }
}

/// Has the keeper leave the board, and waits until it has, or gave up.
pub(super) async fn leave(keeper: &Handle<Keeper>) {
    let (done, left) = oneshot::channel();
    if keeper.send(KeeperMessage::Leave(done)).await.is_ok() {
        // An error means that the keeper is gone; its claims end by themselves.
        let _ = left.await;
    }
}
