//! The file as written: nothing resolved, nothing checked but its shape.
//!
//! Every key is explained in `config.yaml`; the defaults here are the values there.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::Deserialize;

use super::health::RawHealth;
use super::pins::{LanePin, Limits};
use super::store::RawStore;
use super::tenants::RawTenants;
use super::time::{Time, seconds};
use super::warmup::{Birthday, WarmupWord};
use super::words::{AmbiguousWord, ClassWord, DomainName, Listen, LogFormat, LogWord, Positive, Rate, TlsWord};
use crate::domain::{OnAmbiguous, ProviderId, TlsPolicy};
use crate::policy::routing::SHARED_POOL;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    pub(super) data: String,
    pub(super) node: String,
    pub(super) hostname: String,
    pub(super) log: Log,
    pub(super) api: Api,
    pub(super) metrics: Metrics,
    pub(super) store: RawStore,
    pub(super) dns: Dns,
    pub(super) sources: Vec<Source>,
    pub(super) pools: ByClass<String>,
    pub(super) tenants: RawTenants,
    pub(super) health: RawHealth,
    pub(super) domains: Vec<Domain>,
    pub(super) routes: Vec<Route>,
    pub(super) rules: String,
    pub(super) providers: BTreeMap<String, Limits>,
    pub(super) pins: Vec<LanePin>,
    pub(super) delivery: Delivery,
    pub(super) engine: Engine,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            data: "./data".to_owned(),
            node: String::new(),
            hostname: String::new(),
            log: Log::default(),
            api: Api::default(),
            metrics: Metrics::default(),
            store: RawStore::default(),
            dns: Dns::default(),
            sources: Vec::new(),
            pools: ByClass {
                critical: SHARED_POOL.to_owned(),
                transactional: SHARED_POOL.to_owned(),
                broadcast: SHARED_POOL.to_owned(),
            },
            tenants: RawTenants::default(),
            health: RawHealth::default(),
            domains: Vec::new(),
            routes: Vec::new(),
            rules: String::new(),
            providers: BTreeMap::new(),
            pins: Vec::new(),
            delivery: Delivery::default(),
            engine: Engine::default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) format: LogWord,
    pub(super) level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogWord(LogFormat::Text),
            level: "info".to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Api {
    pub(super) listen: SocketAddr,
    pub(super) workers: usize,
    pub(super) public_url: String,
    pub(super) body_mib: Positive,
    pub(super) body_memory_mib: Positive,
    pub(super) accepts_in_flight: Positive,
    pub(super) requests_per_second: u32,
    pub(super) recipients: Positive,
    pub(super) batch: Positive,
    pub(super) attachments: Positive,
    pub(super) message_mib: Positive,
    pub(super) head_timeout: Time,
    pub(super) body_timeout: Time,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            workers: 0,
            public_url: String::new(),
            body_mib: Positive(50),
            body_memory_mib: Positive(256),
            accepts_in_flight: Positive(4096),
            requests_per_second: 0,
            recipients: Positive(50),
            batch: Positive(500),
            attachments: Positive(25),
            message_mib: Positive(25),
            head_timeout: seconds(10),
            body_timeout: seconds(60),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    pub(super) listen: Listen,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            listen: Listen(Some(SocketAddr::from(([127, 0, 0, 1], 9464)))),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Dns {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) confirm_servers: Vec<SocketAddr>,
    pub(super) query_timeout: Time,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            confirm_servers: Vec::new(),
            query_timeout: seconds(5),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) id: String,
    #[serde(default)]
    pub(super) ip: Option<IpAddr>,
    #[serde(default)]
    pub(super) ehlo: String,
    #[serde(default)]
    pub(super) classes: Vec<ClassWord>,
    #[serde(default)]
    pub(super) born: Option<Birthday>,
    #[serde(default)]
    pub(super) warmup: Option<WarmupWord>,
    #[serde(default)]
    pub(super) pool: Option<String>,
    #[serde(default)]
    pub(super) region: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Domain {
    pub(super) name: DomainName,
    #[serde(default)]
    pub(super) verified: bool,
    #[serde(default = "yes")]
    pub(super) dkim: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub(super) name: String,
    pub(super) domains: Vec<String>,
    pub(super) host: String,
    pub(super) port: u16,
    #[serde(default)]
    pub(super) provider: Option<String>,
    #[serde(default)]
    pub(super) tls: Option<TlsWord>,
    #[serde(default)]
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) password_env: Option<String>,
    #[serde(default)]
    pub(super) connections: Option<Positive>,
    #[serde(default)]
    pub(super) messages_per_connection: Option<Positive>,
    #[serde(default)]
    pub(super) messages_per_second: Option<Rate>,
}

impl Route {
    /// Whether its mail goes to this provider: the one it shares, or its own.
    pub(super) fn is_for(&self, provider: &ProviderId) -> bool {
        match &self.provider {
            Some(shared) => shared == provider.as_str(),
            None => provider.as_str().strip_prefix("route:") == Some(&*self.name),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Delivery {
    pub(super) port: u16,
    pub(super) tls: TlsWord,
    pub(super) allow_networks: Vec<IpNet>,
    pub(super) life: ByClass<Time>,
    pub(super) retry: ByClass<Vec<Time>>,
    pub(super) greylist: Time,
    pub(super) on_ambiguous: ByClass<AmbiguousWord>,
    pub(super) hold: Time,
    pub(super) breaker: Breaker,
    pub(super) slow: Slow,
    pub(super) stop_longest: Time,
    pub(super) wait_longest: Time,
    pub(super) timeouts: Timeouts,
}

impl Default for Delivery {
    fn default() -> Self {
        let patient: Vec<Time> = [5, 10, 20, 40, 90, 180, 240]
            .map(|minutes| seconds(minutes * 60))
            .to_vec();
        Self {
            port: 25,
            tls: TlsWord(TlsPolicy::Opportunistic),
            allow_networks: Vec::new(),
            life: ByClass {
                critical: seconds(15 * 60),
                transactional: seconds(120 * 3600),
                broadcast: seconds(72 * 3600),
            },
            retry: ByClass {
                critical: [20, 40, 80, 150, 300].map(seconds).to_vec(),
                transactional: patient.clone(),
                broadcast: patient,
            },
            greylist: seconds(300),
            on_ambiguous: ByClass {
                critical: AmbiguousWord(OnAmbiguous::Resend),
                transactional: AmbiguousWord(OnAmbiguous::Resend),
                broadcast: AmbiguousWord(OnAmbiguous::Hold),
            },
            hold: seconds(24 * 3600),
            breaker: Breaker::default(),
            slow: Slow::default(),
            stop_longest: seconds(4 * 3600),
            wait_longest: seconds(24 * 3600),
            timeouts: Timeouts::default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ByClass<T> {
    pub(super) critical: T,
    pub(super) transactional: T,
    pub(super) broadcast: T,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Breaker {
    pub(super) failures: Positive,
    pub(super) first_pause: Time,
    pub(super) longest_pause: Time,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: Positive(3),
            first_pause: seconds(10),
            longest_pause: seconds(30 * 60),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Slow {
    pub(super) first_pause: Time,
    pub(super) longest_pause: Time,
}

impl Default for Slow {
    fn default() -> Self {
        Self {
            first_pause: seconds(1),
            longest_pause: seconds(900),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Timeouts {
    pub(super) connect: Time,
    pub(super) banner: Time,
    pub(super) command: Time,
    pub(super) data: Time,
    pub(super) dot: Time,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: seconds(30),
            banner: seconds(300),
            command: seconds(300),
            data: seconds(120),
            dot: seconds(600),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Engine {
    pub(super) lease: Time,
    pub(super) session_threads: usize,
    pub(super) connections_per_source: Positive,
    pub(super) session_idle: Time,
    pub(super) shutdown_grace: Time,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            lease: seconds(60),
            session_threads: 0,
            connections_per_source: Positive(2000),
            session_idle: seconds(10),
            shutdown_grace: seconds(30),
        }
    }
}
