//! The settings as used: every part's own settings type, filled from the file.
//!
//! What can be checked where it stands is checked while the file is read, so that the error names the line; what needs two
//! keys at once is checked here and names them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::pins;
use super::raw::{self, ByClass, Raw};
use super::rules::RuleFiles;
use super::store::{self, StoreSettings};
use super::tenants;
use super::time::Time;
use super::warmup::warmup;
use super::words::{LogFormat, Positive, Rate};
use crate::actors::tools::{EngineSettings, SourceSettings};
use crate::api::ApiSettings;
use crate::domain::{Class, Credentials, LaneLimits, ProviderId, SourceId, TlsPolicy};
use crate::policy::admission::AdmissionSettings;
use crate::policy::breaker::BreakerSettings;
use crate::policy::classify::Classifier;
use crate::policy::lane_gate::LaneGateSettings;
use crate::policy::netblock::Netblock;
use crate::policy::pins::Pins;
use crate::policy::provider_map::ProviderMap;
use crate::policy::retry::RetrySettings;
use crate::policy::routing::{SHARED_POOL, SourceRoom};
use crate::policy::rules_file::RulesError;
use crate::policy::settlement::SettlementSettings;
use crate::policy::source_health::HealthSettings;
use crate::policy::tenant_policy::TenantSettings;
use crate::policy::warmup_ladder::Ladders;
use crate::resolver::{DestinationSettings, ResolverSettings, Route};
use crate::transport::{Deadlines, DialerSettings};

const MIB: usize = 1024 * 1024;
/// A shorter lease could not be renewed in time on a busy machine, and mail would come out of the queue twice.
const LEASE_MIN: Duration = Duration::from_secs(1);

/// Why a config file cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It is not there or cannot be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It is not YAML, or a key is unknown, missing or has a wrong value: with line, column and the text around it.
    #[error("{0}")]
    Wrong(String),
    /// A file of rules that cannot be used.
    #[error("{path}: {error}")]
    Rules {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, with its line.
        error: RulesError,
    },
    /// Keys that do not go together.
    #[error("{key}: {problem}")]
    Unfit {
        /// Which key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A domain declared in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredDomain {
    /// Its name.
    pub name: String,
    /// Whether it may send without a DNS check.
    pub verified: bool,
    /// Whether its mail is signed.
    pub dkim: bool,
}

/// What settings were made from.
#[derive(Clone)]
pub struct Origin(pub Arc<Raw>);

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Origin")
    }
}

/// What judges replies by an operator's rules.
#[derive(Clone)]
pub struct OperatorsRules(pub Arc<Classifier>);

impl std::fmt::Debug for OperatorsRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OperatorsRules({} rules)", self.0.rules().count())
    }
}

/// Everything an engine needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data directory.
    pub data: PathBuf,
    /// Name of this node among those that share a store; empty means the network name, or the machine's.
    pub node: String,
    /// Network name; empty means the machine's.
    pub hostname: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which are written.
    pub log_level: String,
    /// Where the API listens.
    pub api_listen: SocketAddr,
    /// Threads of the API; 0 means one for each two cores.
    pub api_workers: usize,
    /// The API.
    pub api: ApiSettings,
    /// Admission.
    pub admission: AdmissionSettings,
    /// Where metrics are scraped, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Where work and records are kept.
    pub store: StoreSettings,
    /// Name servers.
    pub resolver: ResolverSettings,
    /// Name servers that confirm.
    pub confirm: Option<ResolverSettings>,
    /// Lookup of destinations.
    pub destinations: DestinationSettings,
    /// Sources; one without an address when none is configured.
    pub sources: Vec<SourceSettings>,
    /// Tenants: policies, weights, pools.
    pub tenants: TenantSettings,
    /// How they are looked at.
    pub health: HealthSettings,
    /// Declared domains.
    pub domains: Vec<DeclaredDomain>,
    /// Routes.
    pub routes: Vec<Route>,
    /// Files of rules.
    pub rules: RuleFiles,
    /// What judges replies by the operator's rules; none means by those that are built in.
    pub operators_rules: Option<OperatorsRules>,
    /// Providers, with the operator's limits.
    pub providers: ProviderMap,
    /// What else the operator fixed for lanes.
    pub pins: Pins,
    /// Sockets.
    pub dialer: DialerSettings,
    /// Actors.
    pub engine: EngineSettings,
    /// Threads for sessions besides the engine's own.
    pub session_threads: usize,
    /// How long a shutdown waits.
    pub shutdown_grace: Duration,
    /// What was written, so that a reload can tell what has changed.
    pub origin: Origin,
}

impl Settings {
    /// Reads a file; `env` looks up environment variables.
    pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        Self::from_yaml(&text, env)
    }

    /// Reads YAML.
    pub fn from_yaml(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let raw: Raw = match text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
        {
            true => Raw::default(),
            false => serde_saphyr::from_str(text).map_err(|error| ConfigError::Wrong(error.to_string()))?,
        };
        Self::from_raw(raw, env)
    }

    /// Turns what is written into what is used.
    pub fn from_raw(raw: Raw, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let rules = match raw.rules.as_str() {
            "" => RuleFiles::built_in(),
            folder => RuleFiles::read(Path::new(folder))?,
        };
        let operators_rules = match rules.folder() {
            Some(_) => Some(OperatorsRules(Arc::new(rules.classifier()?))),
            None => None,
        };
        let sources = sources(&raw.sources, &raw.hostname)?;
        let ids: Vec<SourceId> = sources.iter().map(|source| source.room.id.clone()).collect();
        let (providers, pins) = pins::read(&raw, rules.provider_map()?, &ids)?;
        let ladders = rules.ladders()?;
        let tenants = tenants::settings(&raw.tenants)?;
        let pools = tenants::pools(&raw.pools, &tenants, &sources)?;
        if raw.engine.lease.0 < LEASE_MIN {
            return Err(unfit("engine.lease".to_owned(), "must be at least 1s"));
        }
        Ok(Self {
            data: PathBuf::from(&raw.data),
            node: raw.node.clone(),
            hostname: raw.hostname.clone(),
            log_format: raw.log.format.0,
            log_level: raw.log.level.clone(),
            api_listen: raw.api.listen,
            api_workers: raw.api.workers,
            api: api(&raw.api),
            admission: AdmissionSettings {
                life: by_class(&raw.delivery.life).map(|time| time.0),
                ..AdmissionSettings::default()
            },
            metrics_listen: raw.metrics.listen.0,
            store: store::settings(&raw.store, &raw.data, env)?,
            resolver: resolver(&raw.dns.servers, raw.dns.query_timeout),
            confirm: (!raw.dns.confirm_servers.is_empty())
                .then(|| resolver(&raw.dns.confirm_servers, raw.dns.query_timeout)),
            destinations: DestinationSettings {
                port: raw.delivery.port,
                tls: raw.delivery.tls.0,
                ..DestinationSettings::default()
            },
            sources,
            tenants,
            health: raw.health.settings()?,
            domains: raw
                .domains
                .iter()
                .map(|domain| DeclaredDomain {
                    name: domain.name.0.clone(),
                    verified: domain.verified,
                    dkim: domain.dkim,
                })
                .collect(),
            routes: routes(&raw.routes, env)?,
            rules,
            operators_rules,
            providers,
            pins,
            dialer: DialerSettings {
                deadlines: deadlines(&raw.delivery.timeouts),
                allowed: raw.delivery.allow_networks.clone(),
                extra_roots: Vec::new(),
            },
            engine: engine(&raw, pools, ladders)?,
            session_threads: raw.engine.session_threads,
            shutdown_grace: raw.engine.shutdown_grace.0,
            origin: Origin(Arc::new(raw)),
        })
    }

    /// What judges replies: the operator's rules, else those that are built in.
    #[must_use]
    pub fn classifier(&self) -> Arc<Classifier> {
        match &self.operators_rules {
            Some(rules) => Arc::clone(&rules.0),
            None => Arc::new(Classifier::built_in()),
        }
    }
}

fn api(raw: &raw::Api) -> ApiSettings {
    let mut settings = ApiSettings {
        body_bytes_max: mib(raw.body_mib),
        body_memory_bytes_max: mib(raw.body_memory_mib),
        head_timeout: raw.head_timeout.0,
        body_timeout: raw.body_timeout.0,
        requests_per_second: (raw.requests_per_second > 0).then_some(raw.requests_per_second),
        public_url: raw.public_url.trim_end_matches('/').to_owned(),
        ..ApiSettings::default()
    };
    settings.limits.recipients = count(raw.recipients).min(usize::from(u16::MAX));
    settings.limits.batch = count(raw.batch);
    settings.limits.attachments = count(raw.attachments);
    settings.limits.message_bytes = mib(raw.message_mib);
    settings
}

fn resolver(servers: &[SocketAddr], query_timeout: Time) -> ResolverSettings {
    ResolverSettings {
        servers: servers.to_vec(),
        query_timeout: query_timeout.0,
        ..ResolverSettings::default()
    }
}

fn sources(raw: &[raw::Source], hostname: &str) -> Result<Vec<SourceSettings>, ConfigError> {
    if raw.is_empty() {
        let room = SourceRoom::shared(SourceId::from("default"));
        return Ok(vec![SourceSettings {
            room,
            ip: None,
            ehlo: hostname.to_owned(),
        }]);
    }
    let mut seen = HashMap::new();
    let mut sources = Vec::with_capacity(raw.len());
    for (index, source) in raw.iter().enumerate() {
        if source.id.is_empty() || source.id.contains(char::is_whitespace) {
            return Err(unfit(format!("sources[{index}].id"), "must be a word"));
        }
        if let Some(first) = seen.insert(source.id.clone(), index) {
            return Err(unfit(
                format!("sources[{index}].id"),
                &format!("{:?} is also the id of sources[{first}]", source.id),
            ));
        }
        let classes = match source.classes.is_empty() {
            true => Class::ALL.to_vec(),
            false => source.classes.iter().map(|class| class.0).collect(),
        };
        let ehlo = if source.ehlo.is_empty() {
            hostname.to_owned()
        } else {
            source.ehlo.clone()
        };
        sources.push(SourceSettings {
            room: SourceRoom {
                id: SourceId::from(&*source.id),
                classes,
                enabled: true,
                pool: source.pool.clone().unwrap_or_else(|| SHARED_POOL.to_owned()),
                region: source.region.clone(),
                netblock: source.ip.map(Netblock::of),
            },
            ip: source.ip,
            ehlo,
        });
    }
    let carried: Vec<Class> = sources.iter().flat_map(|source| source.room.classes.clone()).collect();
    if let Some(class) = Class::ALL.into_iter().find(|class| !carried.contains(class)) {
        return Err(unfit("sources".to_owned(), &format!("no source carries class {class}")));
    }
    Ok(sources)
}

fn routes(raw: &[raw::Route], env: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Route>, ConfigError> {
    raw.iter()
        .enumerate()
        .map(|(index, route)| one_route(index, route, env))
        .collect()
}

fn one_route(index: usize, route: &raw::Route, env: &dyn Fn(&str) -> Option<String>) -> Result<Route, ConfigError> {
    let key = |name: &str| format!("routes[{index}].{name}");
    if route.name.is_empty() || route.name.contains(char::is_whitespace) {
        return Err(unfit(key("name"), "must be a word"));
    }
    if route.domains.is_empty() || route.domains.iter().any(String::is_empty) {
        return Err(unfit(
            key("domains"),
            "must name at least one domain, \"*.suffix\" or \"*\"",
        ));
    }
    if route.host.is_empty() || route.port == 0 {
        return Err(unfit(key("host"), "host and port must be given"));
    }
    let auth = match (&route.user, &route.password_env) {
        (None, None) => None,
        (Some(user), Some(name)) => {
            let password =
                env(name).ok_or_else(|| unfit(key("password_env"), &format!("the environment has no {name}")))?;
            Some(Credentials {
                user: user.clone(),
                password,
            })
        }
        _ => return Err(unfit(key("user"), "user and password_env go together")),
    };
    let tls = route.tls.map_or(TlsPolicy::Opportunistic, |tls| tls.0);
    if auth.is_some() && tls == TlsPolicy::Off {
        return Err(unfit(key("tls"), "a password is not sent without encryption"));
    }
    Ok(Route {
        name: route.name.clone(),
        patterns: route.domains.clone(),
        host: route.host.clone(),
        port: route.port,
        tls,
        auth,
        limits: limits_over(
            LaneLimits::default(),
            route.connections,
            route.messages_per_connection,
            route.messages_per_second,
        ),
        provider: route.provider.as_deref().map(ProviderId::from),
    })
}

pub(super) fn limits_over(
    known: LaneLimits,
    connections: Option<Positive>,
    messages: Option<Positive>,
    rate: Option<Rate>,
) -> LaneLimits {
    LaneLimits {
        connections: connections.map_or(known.connections, |connections| connections.0),
        messages_per_connection: messages.map_or(known.messages_per_connection, |messages| messages.0),
        messages_per_second: rate.map_or(known.messages_per_second, |rate| rate.0),
    }
}

fn deadlines(raw: &raw::Timeouts) -> Deadlines {
    let command = raw.command.0;
    Deadlines {
        connect: raw.connect.0,
        banner: raw.banner.0,
        ehlo: command,
        mail: command,
        rcpt: command,
        data: raw.data.0,
        dot: raw.dot.0,
        ..Deadlines::default()
    }
}

fn engine(raw: &Raw, pools: [String; 3], ladders: Ladders) -> Result<EngineSettings, ConfigError> {
    let delivery = &raw.delivery;
    let schedule = by_class(&delivery.retry).map(|times| times.iter().map(|time| time.0).collect());
    Ok(EngineSettings {
        lease: raw.engine.lease.0,
        session_idle_longest: raw.engine.session_idle.0,
        gate: LaneGateSettings {
            breaker: BreakerSettings {
                failures_to_open: delivery.breaker.failures.0,
                first_pause: delivery.breaker.first_pause.0,
                longest_pause: delivery.breaker.longest_pause.0,
            },
            slow_pause: delivery.slow.first_pause.0,
            slow_pause_longest: delivery.slow.longest_pause.0,
            stop_longest: delivery.stop_longest.0,
            ..LaneGateSettings::default()
        },
        settlement: SettlementSettings {
            retry: RetrySettings {
                schedule,
                greylist_wait_min: delivery.greylist.0,
                named_wait_max: delivery.wait_longest.0,
                ..RetrySettings::default()
            },
            on_ambiguous: by_class(&delivery.on_ambiguous).map(|word| word.0),
            hold: delivery.hold.0,
            ..SettlementSettings::default()
        },
        connections_per_source_max: raw.engine.connections_per_source.0,
        accepts_in_flight_max: count(raw.api.accepts_in_flight),
        retention: raw.store.retention().0,
        warmup: warmup(&raw.sources, ladders)?,
        pools,
        ..EngineSettings::default()
    })
}

fn by_class<T>(values: &ByClass<T>) -> [&T; 3] {
    [&values.critical, &values.transactional, &values.broadcast]
}

pub(super) fn count(number: Positive) -> usize {
    usize::try_from(number.0).unwrap_or(usize::MAX)
}

pub(super) fn mib(number: Positive) -> usize {
    count(number).saturating_mul(MIB)
}

pub(super) fn unfit(key: String, problem: &str) -> ConfigError {
    ConfigError::Unfit {
        key,
        problem: problem.to_owned(),
    }
}
