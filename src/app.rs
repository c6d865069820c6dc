//! The composition root: the one file that knows everything.
//!
//! Takes [`Settings`]; gives a [`Running`] engine with its listeners, to be stopped. Opens the store, makes what a first
//! start needs, binds sockets, starts actors and servers. Handles no signals: `cli::serve` does. Must run inside an actix
//! System.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::{HttpResponse, HttpServer, web};
use anyhow::{Context, Result};

use crate::actors::bookkeeper;
use crate::actors::crafter::Crafter;
use crate::actors::engine::Engine;
use crate::actors::in_use::{Figures, RulesInUse};
use crate::actors::inspector::Inspector;
use crate::actors::lane_book::LaneBook;
use crate::actors::ownership::Ownership;
use crate::actors::reviews;
use crate::actors::spawner::Spawner;
use crate::actors::supervisor::{Handle, Surroundings};
use crate::actors::tools::{Draining, Tools};
use crate::actors::warmups::Warmups;
use crate::actors::watchdog::Watchdog;
use crate::api::{ApiParts, ApiState, entries};
use crate::bootstrap;
use crate::clock::Clock;
use crate::config::{Settings, StoreSettings};
use crate::control;
use crate::current::Current;
use crate::domain::{Node, NodeId};
use crate::mail::return_path::ReturnPathKey;
use crate::migration;
use crate::observe::{Observer, Reputation};
use crate::policy::restart::RestartSettings;
use crate::queue::Queue;
use crate::reload::Reloader;
use crate::resolver::{Destinations, Hickory, Resolver};
use crate::store::archive::Archive;
use crate::store::{Embedded, EmbeddedSettings, Entries, OnCommit, RedisSettings, Seal, Store, Watch, open_redis};
use crate::transport::Dialer;

/// Name of the file that holds the key for secrets at rest.
pub const SECRET_KEY_FILE: &str = "secret.key";
/// Environment variable that may hold it instead.
pub const SECRET_KEY_VARIABLE: &str = "POSTHASTE_SECRET_KEY";
/// Name of the file that remembers which store in Redis this engine works on.
const EPOCH_FILE: &str = "redis.epoch";
/// Name of the file that an engine on Redis locks: one data directory, one process.
const LOCK_FILE: &str = "engine.lock";
/// Name of the socket for commands beside a running engine.
pub const CONTROL_SOCKET: &str = "control.sock";

/// The seams of an engine: real ones, or those of a test.
#[derive(Debug, Clone)]
pub struct Seams {
    /// Work.
    pub queue: Arc<dyn Queue>,
    /// Records.
    pub store: Arc<dyn Store>,
    /// Name servers.
    pub resolver: Arc<dyn Resolver>,
    /// Name servers that confirm.
    pub confirm: Option<Arc<dyn Resolver>>,
    /// Time.
    pub clock: Clock,
    /// Key of return paths.
    pub return_path_key: [u8; 32],
}

/// A running engine with its servers.
#[derive(Debug)]
pub struct Running {
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where metrics are scraped.
    pub metrics: Option<SocketAddr>,
    /// The API key that the first start made; shown once.
    pub first_key: Option<String>,
    /// Metrics of this engine.
    pub observer: Arc<Observer>,
    /// The actors.
    pub engine: Engine,
    /// The queue, to look at.
    pub queue: Arc<dyn Queue>,
    /// Reads config and rules again.
    pub reloader: Arc<Reloader>,
    state: Arc<ApiState>,
    servers: Vec<ServerHandle>,
    control: Option<PathBuf>,
    _watchdog: Handle<Watchdog>,
    _inspector: Handle<Inspector>,
    /// Held, and let go when the engine ends.
    _lock: Option<File>,
    grace: std::time::Duration,
}

/// Opens the data directory and starts everything on it.
pub async fn start(mut settings: Settings, env: &dyn Fn(&str) -> Option<String>) -> Result<Running> {
    make_private(&settings.data).with_context(|| format!("data: cannot make {}", settings.data.display()))?;
    // The store's lock keeps a second process out of the directory, so the name is this process's alone.
    settings.node = bootstrap::node_name(&settings.data, &node_name(&settings))?;
    let seal = secret_key(&settings.data, env)?;
    let return_path_key = seal.derive("return path");
    let observer = Arc::new(Observer::new());
    let opened = open_store(&settings, seal, &observer).await?;
    if let Some(mark) = opened.archive.mark().await? {
        anyhow::bail!("store: {}", migration::problem(&mark));
    }
    let confirm = match settings.confirm.clone() {
        Some(servers) => Some(Arc::new(Hickory::new(servers).context("dns.confirm_servers")?) as Arc<dyn Resolver>),
        None => None,
    };
    let seams = Seams {
        queue: opened.queue,
        store: opened.store,
        resolver: Arc::new(Hickory::new(settings.resolver.clone()).context("dns.servers")?),
        confirm,
        clock: Clock::system(),
        return_path_key,
    };
    let socket = settings.data.join(CONTROL_SOCKET);
    let mut running = start_on(settings, seams, Arc::clone(&observer), Some(&socket)).await?;
    running._lock = opened.lock;
    if let Some(watch) = opened.watch {
        let state = Arc::clone(&running.state);
        actix::spawn(watch.run(move |health| {
            observer.store_health(health);
            state.short_of_room(health.is_short_of_room);
        }));
    }
    if let Some(entries) = opened.entries {
        actix::spawn(entries::run(Arc::clone(&running.state), entries));
    }
    Ok(running)
}

/// The key of this installation: from the environment, else from the data directory, where it is made if there is none.
pub fn secret_key(data: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Seal> {
    make_private(data).with_context(|| format!("data: cannot make {}", data.display()))?;
    Ok(Seal::load_or_create(
        &data.join(SECRET_KEY_FILE),
        env(SECRET_KEY_VARIABLE),
    )?)
}

/// An opened backend.
struct Opened {
    queue: Arc<dyn Queue>,
    store: Arc<dyn Store>,
    /// The store as something that can move.
    archive: Arc<dyn Archive>,
    /// What looks after a Redis.
    watch: Option<Watch>,
    /// Mail that producers put into the store.
    entries: Option<Entries>,
    /// What keeps a second engine out of the data directory, if the store does not.
    lock: Option<File>,
}

async fn open_store(settings: &Settings, seal: Seal, observer: &Arc<Observer>) -> Result<Opened> {
    match &settings.store {
        StoreSettings::Embedded(embedded) => {
            let committed = Arc::clone(observer);
            let embedded = EmbeddedSettings {
                on_commit: OnCommit(Arc::new(move |operations, time| committed.committed(operations, time))),
                ..embedded.clone()
            };
            let store = Arc::new(Embedded::open(embedded, seal)?);
            Ok(Opened {
                queue: Arc::clone(&store) as Arc<dyn Queue>,
                archive: Arc::clone(&store) as Arc<dyn Archive>,
                store,
                watch: None,
                entries: None,
                lock: None,
            })
        }
        StoreSettings::Redis { server, guard, intake } => {
            let server = RedisSettings {
                node: settings.node.clone(),
                ..server.clone()
            };
            let lock = lock(&settings.data.join(LOCK_FILE))?;
            let epoch_file = settings.data.join(EPOCH_FILE);
            let guarded = open_redis(server.clone(), guard, &epoch_file, seal).await?;
            let entries = intake
                .then(|| Entries::new(guarded.store.clone(), server))
                .transpose()?;
            let store = Arc::new(guarded.store);
            Ok(Opened {
                queue: Arc::clone(&store) as Arc<dyn Queue>,
                archive: Arc::clone(&store) as Arc<dyn Archive>,
                store,
                watch: Some(guarded.watch),
                entries,
                lock: Some(lock),
            })
        }
    }
}

/// Starts everything on these seams. `control` is where the socket for commands goes, if anywhere.
pub async fn start_on(
    settings: Settings,
    seams: Seams,
    observer: Arc<Observer>,
    control: Option<&Path>,
) -> Result<Running> {
    let now = seams.clock.now();
    let api_listener = TcpListener::bind(settings.api_listen)
        .with_context(|| format!("api.listen: cannot bind {}", settings.api_listen))?;
    let api = api_listener.local_addr()?;
    let metrics_listener = metrics_listener(settings.metrics_listen)?;
    let tools = tools(&settings, &seams, &observer)?;
    let tenant = bootstrap::tenant(&*seams.store, now).await?;
    bootstrap::domains(&*seams.store, tenant, &settings.domains, now).await?;
    // The key can be shown this once only, so it is made when nothing that often goes wrong is left to do.
    let first_key = bootstrap::first_key(&*seams.store, tenant, now).await?;
    recall(&tools).await;
    bookkeeper::restore(&tools).await?;
    let engine = Engine::start(&tools);
    let watchdog = Watchdog::start(&tools);
    let inspector = Inspector::start(&tools, Arc::clone(&seams.resolver), settings.health.clone());
    let reloader = Arc::new(Reloader::new(&settings, &tools, &engine));
    let state = ApiState::new(ApiParts {
        queue: Arc::clone(&seams.queue),
        store: Arc::clone(&seams.store),
        resolver: Arc::clone(&seams.resolver),
        clock: seams.clock.clone(),
        observer: Arc::clone(&observer),
        settings: settings.api.clone(),
        admission: settings.admission.clone(),
        reputation: Arc::clone(&tools.reputation),
    });
    let state = Arc::new(state.asking(engine.inquiries()));
    let workers = if settings.api_workers == 0 {
        (cores() / 2).max(1)
    } else {
        settings.api_workers
    };
    let server = crate::api::server::serve(vec![api_listener], Arc::clone(&state), engine.intake(), workers)?;
    let mut servers = vec![server.handle()];
    actix::spawn(server);
    let mut metrics = None;
    if let Some(listener) = metrics_listener {
        metrics = Some(listener.local_addr()?);
        servers.push(serve_metrics(listener, Arc::clone(&observer))?);
    }
    if let Some(path) = control {
        let shared = control::Shared {
            store: Arc::clone(&seams.store),
            claims: Arc::clone(&seams.queue),
            ownership: Arc::clone(&tools.ownership),
            clock: seams.clock.clone(),
            tenant,
            api: Arc::clone(&state),
            reloader: Arc::clone(&reloader),
        };
        servers.push(control::serve(path, shared)?);
    }
    let control = control.map(Path::to_owned);
    Ok(Running {
        api,
        metrics,
        first_key,
        observer,
        engine,
        queue: seams.queue,
        reloader,
        state,
        servers,
        control,
        _watchdog: watchdog,
        _inspector: inspector,
        _lock: None,
        grace: settings.shutdown_grace,
    })
}

/// Goes on with what was known before a restart. Nobody's mail depends on it.
async fn recall(tools: &Tools) {
    if let Err(error) = reviews::restore(tools).await {
        tracing::warn!(%error, "the list of unknown replies cannot be read; it begins anew");
    }
    if let Err(error) = tools.lanes.memories.load(&*tools.store).await {
        tracing::warn!(%error, "what lanes learnt cannot be read; they begin anew");
    }
}

impl Running {
    /// Refuses new mail, lets sessions finish, stops. Says whether everything ended within the grace.
    pub async fn stop(self) -> bool {
        self.state.drain();
        let clean = self.engine.drain(self.grace).await;
        self.engine.write_reviews().await;
        for server in &self.servers {
            server.stop(true).await;
        }
        if let Some(path) = &self.control {
            let _ = std::fs::remove_file(path);
        }
        clean
    }
}

fn metrics_listener(listen: Option<SocketAddr>) -> Result<Option<TcpListener>> {
    listen
        .map(|listen| TcpListener::bind(listen).with_context(|| format!("metrics.listen: cannot bind {listen}")))
        .transpose()
}

fn tools(settings: &Settings, seams: &Seams, observer: &Arc<Observer>) -> Result<Tools> {
    let clock = seams.clock.clone();
    let hostname = hostname(&settings.hostname);
    let node = Node {
        id: NodeId::from(node_name(settings).as_str()),
        run: clock.now().0,
    };
    let mut sources = settings.sources.clone();
    for source in sources.iter_mut().filter(|source| source.ehlo.is_empty()) {
        source.ehlo.clone_from(&hostname);
    }
    let destinations = Destinations::new(
        Arc::clone(&seams.resolver),
        seams.confirm.clone(),
        settings.routes.clone(),
        Arc::new(settings.providers.clone()),
        settings.destinations.clone(),
        clock.clone(),
    );
    let return_path_key = ReturnPathKey::new(&seams.return_path_key);
    Ok(Tools {
        queue: Arc::clone(&seams.queue),
        store: Arc::clone(&seams.store),
        destinations: Arc::new(destinations),
        dialer: Arc::new(Dialer::new(settings.dialer.clone(), clock.clone())?),
        classifier: Arc::new(RulesInUse::new(settings.classifier())),
        figures: Arc::new(Current::new(Figures::of(&settings.engine))),
        crafter: Arc::new(Crafter::new(
            Arc::clone(&seams.store),
            clock.clone(),
            return_path_key,
            hostname,
        )),
        spawner: Spawner::over(
            (0..settings.session_threads)
                .map(|_| actix::Arbiter::new().handle())
                .collect(),
        ),
        surroundings: Surroundings {
            clock,
            observer: Arc::clone(observer),
            restarts: RestartSettings::default(),
            escalate: Arc::new(|kind| {
                tracing::error!(kind, "an actor cannot be kept alive; stopping, the queue is durable");
                std::process::abort();
            }),
        },
        settings: Arc::new(settings.engine.clone()),
        sources: Arc::new(sources),
        live: Arc::default(),
        reputation: Arc::new(Reputation::new(settings.tenants.clone())),
        lanes: Arc::new(LaneBook::new(settings.pins.clone(), &settings.engine.gate)),
        ownership: Arc::new(Ownership::of(node)),
        warmups: Arc::new(Warmups::new(settings.engine.warmup.clone())),
        draining: Draining::default(),
    })
}

fn serve_metrics(listener: TcpListener, observer: Arc<Observer>) -> Result<ServerHandle> {
    let server = HttpServer::new(move || {
        let observer = Arc::clone(&observer);
        let render = move || {
            let text = observer.render();
            async move {
                HttpResponse::Ok()
                    .content_type("text/plain; version=0.0.4; charset=utf-8")
                    .body(text)
            }
        };
        actix_web::App::new().route("/metrics", web::get().to(render))
    })
    .workers(1)
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    actix::spawn(server);
    Ok(handle)
}

/// The data directory: it holds mail and keys, so that only its owner may look into one that we make.
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Locks a file for this process. The lock ends with it.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    file.try_lock()
        .with_context(|| format!("{}: another engine runs on this data directory", path.display()))?;
    Ok(file)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What this node is called.
fn node_name(settings: &Settings) -> String {
    match settings.node.as_str() {
        "" => hostname(&settings.hostname),
        name => name.to_owned(),
    }
}

/// The configured name, else the machine's, else an address literal is all we have.
#[must_use]
pub fn hostname(configured: &str) -> String {
    if !configured.is_empty() {
        return configured.to_owned();
    }
    let found = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let found = found.trim();
    if found.is_empty() {
        "localhost".to_owned()
    } else {
        found.to_owned()
    }
}
