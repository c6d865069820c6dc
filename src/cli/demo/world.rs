//! Receivers and engine of the demo, on loopback and in a temporary folder.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use provider_sim::{Behaviour, Keep, Ledger, Receiver, Scenario, Share};

use crate::app::{self, Running};
use crate::clock::Clock;
use crate::config::Settings;

/// Sends all mail of the demo.
pub(super) const SENDER_DOMAIN: &str = "demo.test";
/// Between two looks at the queue.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One simulated provider.
pub(super) struct Provider {
    /// For people.
    pub(super) name: &'static str,
    /// Its id in metrics.
    pub(super) id: &'static str,
    /// Its domain.
    pub(super) domain: &'static str,
    /// What it is known for.
    pub(super) habit: &'static str,
    /// The server.
    pub(super) receiver: Receiver,
}

/// Everything that runs.
pub(super) struct World {
    pub(super) providers: Arc<Vec<Provider>>,
    pub(super) running: Running,
    pub(super) clock: Clock,
    pub(super) key: String,
    folder: PathBuf,
    receivers: Option<tokio::runtime::Runtime>,
}

impl World {
    pub(super) async fn start(messages: u64) -> Result<Self> {
        // Receivers get a thread of their own: they stand for other people's machines.
        let receivers = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let providers = receivers.spawn(providers(messages)).await??;
        let folder = folder()?;
        let yaml = config(&providers, &folder);
        let settings = Settings::from_yaml(&yaml, &|_| None).context("the demo's config")?;
        let running = app::start(settings, &|_| None).await?;
        let key = running.first_key.clone().context("the first start makes a key")?;
        Ok(Self {
            providers: Arc::new(providers),
            running,
            clock: Clock::system(),
            key,
            folder,
            receivers: Some(receivers),
        })
    }

    /// Waits until nothing waits any more, or `longest` is over.
    pub(super) async fn wait_until_settled(&self, longest: Duration) {
        let settled = async {
            loop {
                let depth = self.running.queue.depth(self.clock.now()).await;
                if depth.is_ok_and(|depth| depth.waiting_by_class.iter().sum::<u64>() == 0) {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let _ = tokio::time::timeout(longest, settled).await;
    }

    pub(super) async fn stop(mut self) {
        self.running.stop().await;
        if let Some(receivers) = self.receivers.take() {
            receivers.shutdown_background();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What stands in the demo for one provider.
struct Part {
    name: &'static str,
    id: &'static str,
    domain: &'static str,
    habit: &'static str,
    scenario: &'static str,
    /// Connections that the operator allows: more than any of them does.
    connections: u32,
    messages_per_connection: u32,
    unknown_share: f64,
}

const PARTS: [Part; 5] = [
    Part {
        name: "google",
        id: "google",
        domain: "gmail.test",
        habit: "421 4.7.28 when the volume is unusual",
        scenario: include_str!("../../../provider_sim/scenarios/google.yaml"),
        connections: 10,
        messages_per_connection: 50,
        unknown_share: 0.01,
    },
    Part {
        name: "outlook",
        id: "outlook-consumer",
        domain: "outlook.test",
        habit: "few connections, and not always as many",
        scenario: include_str!("../../../provider_sim/scenarios/outlook.yaml"),
        connections: 20,
        messages_per_connection: 50,
        unknown_share: 0.01,
    },
    Part {
        name: "yahoo",
        id: "yahoo",
        domain: "yahoo.test",
        habit: "a rate, and a box for those who pass it",
        scenario: include_str!("../../../provider_sim/scenarios/yahoo.yaml"),
        connections: 20,
        messages_per_connection: 20,
        unknown_share: 0.01,
    },
    Part {
        name: "tencent",
        id: "tencent",
        domain: "qq.test",
        habit: "more connections bring nothing",
        scenario: include_str!("../../../provider_sim/scenarios/tencent.yaml"),
        connections: 20,
        messages_per_connection: 8,
        unknown_share: 0.01,
    },
    Part {
        name: "company",
        id: "route:company",
        domain: "company.test",
        habit: "greylists; knows its users",
        scenario: include_str!("../../../provider_sim/scenarios/company.yaml"),
        connections: 20,
        messages_per_connection: 50,
        unknown_share: 0.04,
    },
];

/// The part of its mail after which Google blocks us: late enough that what is left goes through slowly in half a minute.
const BLOCKED_AFTER: (u64, u64) = (3, 4);
/// What the scenarios leave to chance is always the same.
const SEED: u64 = 1;

async fn providers(messages: u64) -> Result<Vec<Provider>> {
    let share = messages / u64::try_from(PARTS.len())?;
    let mut providers = Vec::with_capacity(PARTS.len());
    for part in &PARTS {
        let mut scenario = Scenario::parse(part.scenario).with_context(|| format!("the scenario of {}", part.name))?;
        if let Some(memory) = &mut scenario.reputation {
            memory.messages = u32::try_from(share * BLOCKED_AFTER.0 / BLOCKED_AFTER.1)?;
        }
        let behaviour = Behaviour {
            unknown_users: Share::of_all(part.unknown_share),
            ..scenario.speaks.behaviour()
        };
        let receiver = Receiver::builder()
            .scenario(scenario, SEED)
            .behaviour(behaviour)
            .ledger(Ledger::new(Keep::Counts))
            .without_transcripts()
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await?;
        providers.push(Provider {
            name: part.name,
            id: part.id,
            domain: part.domain,
            habit: part.habit,
            receiver,
        });
    }
    Ok(providers)
}

/// A fresh folder that nobody else can guess or share.
fn folder() -> Result<PathBuf> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    let folder = std::env::temp_dir().join(format!("posthaste-demo-{:016x}", u64::from_be_bytes(random)));
    std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn config(providers: &[Provider], folder: &std::path::Path) -> String {
    let mut routes = String::new();
    for (provider, part) in providers.iter().zip(&PARTS) {
        routes += &format!(
            "  - {{name: {}, domains: [{}], host: 127.0.0.1, port: {}, provider: \"{}\", tls: off, connections: {}, \
             messages_per_connection: {}}}\n",
            part.name,
            part.domain,
            provider.receiver.address().port(),
            part.id,
            part.connections,
            part.messages_per_connection,
        );
    }
    format!(
        "data: {folder:?}\nhostname: mta.{SENDER_DOMAIN}\napi: {{listen: \"127.0.0.1:0\"}}\nmetrics: {{listen: \"\"}}\n\
         domains:\n  - {{name: {SENDER_DOMAIN}, verified: true}}\nroutes:\n{routes}\
         delivery:\n  retry: {{critical: [500ms, 1s, 2s], transactional: [1s, 2s, 3s], broadcast: [1s, 2s, 3s]}}\n\
         \x20 greylist: 1s\n  breaker: {{failures: 3, first_pause: 500ms, longest_pause: 2s}}\n\
         \x20 slow: {{first_pause: 200ms, longest_pause: 1s}}\n  stop_longest: 4s\n  wait_longest: 2s\n"
    )
}
