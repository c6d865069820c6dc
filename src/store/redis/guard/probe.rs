//! A connection of its own to ask each primary how it is.
//!
//! Takes settings; gives [`ServerFacts`] of each primary, and the epoch. What is forbidden to us is left out of the facts.
//! Does not repeat or reconnect: who asks does.

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{AsyncConnectionConfig, Cmd, RedisError, TlsCertificates, Value, cmd};

use super::facts::{self, SETTINGS};
use super::settings::GuardError;
use crate::policy::redis_safety::ServerFacts;
use crate::store::redis::link::{certificates, client};
use crate::store::redis::settings::RedisSettings;

/// An open connection.
pub(super) enum Probe {
    /// To one server, with its name for messages.
    Single(MultiplexedConnection, String),
    /// To the primaries of a cluster.
    Cluster(ClusterConnection),
}

impl Probe {
    /// Connects.
    pub(super) async fn connect(settings: &RedisSettings) -> Result<Self, GuardError> {
        let connections = settings.connections()?;
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: certificates(settings)?,
        };
        if settings.is_cluster() {
            let mut builder = ClusterClientBuilder::new(connections)
                .retries(0)
                .connection_timeout(settings.connect_timeout)
                .response_timeout(settings.response_timeout);
            if certificates.root_cert.is_some() {
                builder = builder.certs(certificates);
            }
            let client = builder.build().map_err(|error| unavailable(&error))?;
            let connection = client.get_async_connection().await;
            return Ok(Self::Cluster(connection.map_err(|error| unavailable(&error))?));
        }
        let Some(one) = connections.into_iter().next() else {
            return Err(GuardError::Unavailable("no url".to_owned()));
        };
        let name = one.addr().to_string();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.response_timeout));
        let client = client(one, certificates).map_err(|error| unavailable(&error))?;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        match connection {
            Ok(connection) => Ok(Self::Single(connection, name)),
            Err(error) => Err(GuardError::Unavailable(format!("{name}: {error}"))),
        }
    }

    /// What each primary says of itself.
    pub(super) async fn facts(&mut self) -> Result<Vec<ServerFacts>, GuardError> {
        let info = self.each(cmd("INFO").arg("everything")).await?;
        let settings = self.each(cmd("CONFIG").arg("GET").arg(&SETTINGS)).await?;
        let mut found: Vec<ServerFacts> = Vec::with_capacity(info.len());
        for (name, answer) in info {
            let text = answer.as_ref().and_then(facts::text).unwrap_or_default();
            found.push(facts::of_info(&name, &text));
        }
        for facts in &mut found {
            let answer = settings.iter().find(|(name, _)| *name == facts.name);
            if let Some((_, Some(answer))) = answer {
                facts::add_settings(facts, answer);
            }
        }
        Ok(found)
    }

    /// The epoch at this key, if there is one.
    pub(super) async fn epoch(&mut self, home: &str) -> Result<Option<Vec<u8>>, GuardError> {
        let mut get = cmd("GET");
        get.arg(home);
        let answer = match self {
            Self::Single(connection, _) => connection.req_packed_command(&get).await,
            Self::Cluster(connection) => connection.req_packed_command(&get).await,
        };
        let answer = answer.and_then(Value::extract_error);
        match answer.map_err(|error| unavailable(&error))? {
            Value::Nil => Ok(None),
            Value::BulkString(bytes) => Ok(Some(bytes)),
            _ => Err(GuardError::Unavailable("the epoch is not text".to_owned())),
        }
    }

    /// The answer of each primary; none where the command is forbidden to us.
    async fn each(&mut self, command: &Cmd) -> Result<Vec<(String, Option<Value>)>, GuardError> {
        match self {
            Self::Single(connection, name) => {
                let answer = allowed(connection.req_packed_command(command).await)?;
                Ok(vec![(name.clone(), answer)])
            }
            Self::Cluster(connection) => {
                let primaries = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                let answers = allowed(connection.route_command(command.clone(), primaries).await)?;
                let Some(Value::Map(answers)) = answers else {
                    return Ok(vec![("the cluster".to_owned(), None)]);
                };
                let named = |(name, answer)| (facts::text(&name).unwrap_or_default(), Some(answer));
                Ok(answers.into_iter().map(named).collect())
            }
        }
    }
}

/// An answer; none when the command is forbidden or unknown.
fn allowed(answer: Result<Value, RedisError>) -> Result<Option<Value>, GuardError> {
    // The client gives the server's errors as values.
    match answer.and_then(Value::extract_error) {
        Ok(answer) => Ok(Some(answer)),
        Err(error) => {
            let detail = error.detail().unwrap_or_default();
            let forbidden = error.code() == Some("NOPERM") || detail.contains("unknown command");
            if forbidden { Ok(None) } else { Err(unavailable(&error)) }
        }
    }
}

fn unavailable(error: &RedisError) -> GuardError {
    GuardError::Unavailable(error.to_string())
}
