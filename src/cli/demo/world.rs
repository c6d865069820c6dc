//! Receivers and engine of the demo, on loopback and in a temporary folder.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use provider_sim::{Behaviour, Keep, Ledger, Receiver};

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
    pub(super) async fn start() -> Result<Self> {
        // Receivers get a thread of their own: they stand for other people's machines.
        let receivers = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let providers = receivers.spawn(providers()).await??;
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

async fn providers() -> Result<Vec<Provider>> {
    let table = [
        ("google", "gmail.test", "421 on rate", Behaviour::google_like()),
        ("outlook", "outlook.test", "four connections", Behaviour::outlook_like()),
        ("yahoo", "yahoo.test", "20 a connection", Behaviour::yahoo_like()),
        ("tencent", "qq.test", "slow; 550 means later", Behaviour::tencent_like()),
        (
            "company",
            "company.test",
            "greylists; knows its users",
            Behaviour::company(),
        ),
    ];
    let mut providers = Vec::with_capacity(table.len());
    for (name, domain, habit, behaviour) in table {
        let receiver = Receiver::builder()
            .behaviour(behaviour)
            .ledger(Ledger::new(Keep::Counts))
            .without_transcripts()
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await?;
        providers.push(Provider {
            name,
            domain,
            habit,
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
    let provider_ids = ["google", "outlook-consumer", "yahoo", "tencent", "route:company"];
    let connections = [10, 8, 10, 8, 10];
    let mut routes = String::new();
    for ((provider, id), connections) in providers.iter().zip(provider_ids).zip(connections) {
        let per_connection = if provider.name == "tencent" { 8 } else { 50 };
        routes += &format!(
            "  - {{name: {}, domains: [{}], host: 127.0.0.1, port: {}, provider: \"{id}\", tls: off, \
             connections: {connections}, messages_per_connection: {per_connection}}}\n",
            provider.name,
            provider.domain,
            provider.receiver.address().port(),
        );
    }
    format!(
        "data: {folder:?}\nhostname: mta.{SENDER_DOMAIN}\napi: {{listen: \"127.0.0.1:0\"}}\nmetrics: {{listen: \"\"}}\n\
         domains:\n  - {{name: {SENDER_DOMAIN}, verified: true}}\nroutes:\n{routes}\
         delivery:\n  retry: {{critical: [500ms, 1s, 2s], transactional: [1s, 2s, 3s], broadcast: [1s, 2s, 3s]}}\n\
         \x20 greylist: 1s\n  breaker: {{failures: 3, first_pause: 500ms, longest_pause: 2s}}\n\
         \x20 slow: {{first_pause: 200ms, longest_pause: 1s}}\n  stop_longest: 500ms\n  wait_longest: 2s\n"
    )
}
