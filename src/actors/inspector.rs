//! Looks at the Sources: every few seconds whether their addresses are here, every few minutes what name servers say.
//!
//! Takes ticks and findings; gives them to `policy::source_health`, its judgement to the observer, which raises the alarm,
//! and the Sources that are out to the keeper's view: it gives them up, and their mail goes from others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::supervisor::{Handle, Part, PartContext, start};
use super::tools::Tools;
use crate::domain::SourceId;
use crate::policy::source_health::{Check, Finding, Fitness, HealthSettings, SourceHealth};
use crate::resolver::{Resolver, check_source};
use crate::transport;

/// Between two looks at the addresses of this machine.
const BIND_EVERY: Duration = Duration::from_secs(10);

/// What the inspector can be told.
#[derive(Debug)]
pub enum InspectorMessage {
    /// See whether the addresses are here.
    Addresses,
    /// Ask the name servers.
    Names,
    /// What was found about a Source.
    Found(SourceId, Vec<(Check, Finding)>),
}

/// The inspector. One for each engine.
#[derive(Debug)]
pub struct Inspector {
    tools: Tools,
    resolver: Arc<dyn Resolver>,
    settings: Arc<HealthSettings>,
    known: BTreeMap<SourceId, SourceHealth>,
}

impl Inspector {
    /// Starts one.
    #[must_use]
    pub fn start(tools: &Tools, resolver: Arc<dyn Resolver>, settings: HealthSettings) -> Handle<Self> {
        let (surroundings, mailbox) = (tools.surroundings.clone(), tools.settings.mailbox);
        let (tools, settings) = (tools.clone(), Arc::new(settings));
        start(surroundings, mailbox, move || Self {
            tools: tools.clone(),
            resolver: Arc::clone(&resolver),
            settings: Arc::clone(&settings),
            known: BTreeMap::new(),
        })
    }

    /// Addresses are looked at here and now: that is a call of the system, and a quick one.
    fn addresses(&mut self) {
        let tools = self.tools.clone();
        for source in tools.sources.iter() {
            let Some(address) = source.ip else {
                // Nothing can be looked at, and nothing is known against it.
                self.found(&source.room.id, &[]);
                continue;
            };
            let finding = match transport::is_local(address) {
                true => Finding::Good,
                false => Finding::Bad(format!("{address} is not an address of this machine")),
            };
            self.found(&source.room.id, &[(Check::Bind, finding)]);
        }
    }

    fn names(&self, context: &PartContext<'_, Self>) {
        let (tools, resolver, settings) = (
            self.tools.clone(),
            Arc::clone(&self.resolver),
            Arc::clone(&self.settings),
        );
        let me = context.handle();
        actix::spawn(async move {
            // One after the other: nobody waits for it, and lists count how much they are asked.
            for source in tools.sources.iter() {
                let Some(address) = source.ip else { continue };
                let found = check_source(&source.ehlo, address, &settings.dnsbl, resolver.as_ref()).await;
                let found = InspectorMessage::Found(source.room.id.clone(), found);
                if me.send(found).await.is_err() {
                    return;
                }
            }
        });
    }

    fn found(&mut self, source: &SourceId, findings: &[(Check, Finding)]) {
        let health = self.known.entry(source.clone()).or_default();
        health.on_look(findings);
        let fitness = health.fitness(&self.settings.enforced);
        self.tools
            .surroundings
            .observer
            .source_looked_at(source, health, fitness);
        let out: BTreeSet<SourceId> = self
            .known
            .iter()
            .filter(|(_, health)| health.fitness(&self.settings.enforced) == Fitness::Out)
            .map(|(source, _)| source.clone())
            .collect();
        self.tools.ownership.take_out(out);
    }
}

impl Part for Inspector {
    type Message = InspectorMessage;
    const KIND: &'static str = "inspector";

    fn started(&mut self, context: &mut PartContext<'_, Self>) {
        context.after(Duration::ZERO, InspectorMessage::Addresses);
        context.after(Duration::ZERO, InspectorMessage::Names);
    }

    fn handle(&mut self, message: InspectorMessage, context: &mut PartContext<'_, Self>) {
        fail::fail_point!("inspector");
        match message {
            InspectorMessage::Addresses => {
                self.addresses();
                context.after(BIND_EVERY, InspectorMessage::Addresses);
            }
            InspectorMessage::Names => {
                self.names(context);
                context.after(self.settings.every, InspectorMessage::Names);
            }
            InspectorMessage::Found(source, findings) => self.found(&source, &findings),
        }
    }
}
