//! Carries calls of functions to Redis, and says what its errors mean.
//!
//! Takes a function and its arguments, gives its answer. Loads the library when Redis does not know it. When the connection
//! breaks between a call and its answer the call is repeated once, marked as such: functions answer a repeated call as they
//! answered the first. What cannot be answered is "unavailable", never "there is none".

use std::sync::Arc;

use redis::aio::ConnectionLike;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo};
use redis::{Client, Cmd, RedisError, TlsCertificates, Value, cmd};

use super::functions::{Function, library};
use super::settings::{RedisOpenError, RedisSettings};
use super::single::Single;
use crate::queue::QueueError;

/// Redirections and repetitions that the cluster client makes for one call.
const CLUSTER_RETRIES: u32 = 4;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// Nothing was sent: there is no connection.
    Down(String),
    /// The connection broke: the command may have been carried out.
    Connection(RedisError),
    /// Redis said so, or said nothing in time.
    Answer(RedisError),
}

/// The way to Redis.
pub(super) enum Link {
    /// One server.
    Single(Arc<Single>),
    /// A cluster. Its client reconnects and repeats by itself.
    Cluster(ClusterConnection),
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Single(_) => "Link::Single",
            Self::Cluster(_) => "Link::Cluster",
        })
    }
}

/// What a function is told.
#[derive(Debug, Default)]
pub(super) struct Arguments(Vec<Vec<u8>>);

impl Arguments {
    /// None yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// One more, as bytes.
    pub(super) fn bytes(&mut self, bytes: impl Into<Vec<u8>>) -> &mut Self {
        self.0.push(bytes.into());
        self
    }

    /// One more, as text.
    pub(super) fn text(&mut self, value: impl ToString) -> &mut Self {
        self.0.push(value.to_string().into_bytes());
        self
    }

    /// All of `more` behind these.
    pub(super) fn append(&mut self, mut more: Self) {
        self.0.append(&mut more.0);
    }
}

impl Link {
    /// Connects and loads the library.
    pub(super) async fn connect(settings: &RedisSettings) -> Result<Self, RedisOpenError> {
        let connections = settings.connections()?;
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: certificates(settings)?,
        };
        let unavailable = |error: RedisError| RedisOpenError::Unavailable(text(&error));
        let link = if settings.is_cluster() {
            let builder = ClusterClientBuilder::new(connections)
                .retries(CLUSTER_RETRIES)
                .connection_timeout(settings.connect_timeout)
                .response_timeout(settings.response_timeout);
            let builder = match certificates.root_cert {
                Some(_) => builder.certs(certificates),
                None => builder,
            };
            let client = builder.build().map_err(unavailable)?;
            Self::Cluster(client.get_async_connection().await.map_err(unavailable)?)
        } else {
            let client = connections.into_iter().next().map(|one| client(one, certificates));
            let client = client.ok_or_else(|| RedisOpenError::Settings("no url".to_owned()))?;
            let client = client.map_err(unavailable)?;
            Self::Single(Single::connect(client, settings).await.map_err(unavailable)?)
        };
        let loaded = link.load().await;
        loaded.map_err(|broken| RedisOpenError::Unavailable(meaning(broken).to_string()))?;
        Ok(link)
    }

    /// Calls a function in the partition (or among the common records) whose epoch is at `home`.
    pub(super) async fn call(
        &self,
        function: Function,
        home: &str,
        epoch: &str,
        arguments: &Arguments,
    ) -> Result<Value, QueueError> {
        // The cluster client repeats by itself and does not say so: there each call could be the second.
        let mut again = matches!(self, Self::Cluster(_));
        let (mut repeated, mut loaded) = (false, false);
        loop {
            let mut command = cmd(if function.reads { "FCALL_RO" } else { "FCALL" });
            command.arg(function.full_name()).arg(1).arg(home).arg(epoch);
            command.arg(if again { "1" } else { "0" }).arg(&arguments.0);
            match self.send(command).await {
                Ok(answer) => return Ok(answer),
                Err(Broken::Connection(_)) if !repeated => (repeated, again) = (true, true),
                Err(Broken::Answer(error)) if is_missing(&error) && !loaded => {
                    loaded = true;
                    self.load().await.map_err(meaning)?;
                }
                Err(broken) => return Err(meaning(broken)),
            }
        }
    }

    /// Calls a function of the first opening, which has no epoch to check.
    pub(super) async fn call_with(
        &self,
        function: Function,
        home: &str,
        epoch: &str,
        how: &str,
    ) -> Result<Value, QueueError> {
        let mut command = cmd("FCALL");
        command.arg(function.full_name()).arg(1).arg(home).arg(epoch).arg(how);
        self.send(command).await.map_err(meaning)
    }

    /// Sends one command as it is.
    pub(super) async fn send(&self, command: Cmd) -> Result<Value, Broken> {
        match self {
            Self::Single(single) => single.send(&command).await,
            Self::Cluster(cluster) => {
                let answer = cluster.clone().req_packed_command(&command).await;
                answer.and_then(Value::extract_error).map_err(Broken::Answer)
            }
        }
    }

    /// Loads the library, on all primaries of a cluster. One that is there already is the same: its name says so.
    async fn load(&self) -> Result<(), Broken> {
        let mut command = cmd("FUNCTION");
        command.arg("LOAD").arg(library());
        let loaded = match self {
            Self::Single(single) => single.send(&command).await,
            Self::Cluster(cluster) => {
                let everywhere =
                    RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, Some(ResponsePolicy::AllSucceeded)));
                let loaded = cluster.clone().route_command(command, everywhere).await;
                loaded.and_then(Value::extract_error).map_err(Broken::Answer)
            }
        };
        match loaded {
            Err(Broken::Answer(error)) if detail(&error).contains("already exists") => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

/// A client of one server.
pub(super) fn client(one: redis::ConnectionInfo, certificates: TlsCertificates) -> Result<Client, RedisError> {
    match certificates.root_cert {
        Some(_) => Client::build_with_tls(one, certificates),
        None => Client::open(one),
    }
}

/// The certificates that may sign the server's, if the settings name a file.
pub(super) fn certificates(settings: &RedisSettings) -> Result<Option<Vec<u8>>, RedisOpenError> {
    let read = settings.ca_file.as_ref().map(|path| {
        std::fs::read(path).map_err(|error| RedisOpenError::CaFile {
            path: path.clone(),
            error,
        })
    });
    read.transpose()
}

/// What it means for those who called.
pub(super) fn meaning(broken: Broken) -> QueueError {
    match broken {
        Broken::Down(reason) => QueueError::Unavailable(format!("no connection to Redis: {reason}")),
        Broken::Connection(error) => {
            QueueError::Unavailable(format!("the connection to Redis broke: {}", text(&error)))
        }
        Broken::Answer(error) => match error.code() {
            Some("OOM") => QueueError::Full,
            Some("POSTHASTE-EPOCH") => QueueError::Unavailable(
                "this Redis does not hold our store: it was flushed, or it is another database".to_owned(),
            ),
            _ => QueueError::Unavailable(format!("Redis: {}", text(&error))),
        },
    }
}

fn is_missing(error: &RedisError) -> bool {
    detail(error).contains("Function not found") || detail(error).contains("function not found")
}

fn detail(error: &RedisError) -> &str {
    error.detail().unwrap_or_default()
}

fn text(error: &RedisError) -> String {
    match error.code() {
        Some(code) => format!("{code} {}", detail(error)),
        None => error.to_string(),
    }
}
