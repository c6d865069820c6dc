//! Wakes the scheduler when another node puts work into a stream.
//!
//! Connections of their own, because one that waits blocks all who share it. They look at the streams' last entries and wait for
//! a later one; every now and then they wake anyway, for leases that ended and for what a node left behind that died.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, TlsCertificates, Value, cmd};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::link::{certificates, client};
use super::names::Names;
use super::settings::{RedisOpenError, RedisSettings};
use super::single::pause;
use crate::domain::Class;

/// How long one wait lasts at most: then the scheduler looks anyway.
const WAIT: Duration = Duration::from_secs(1);
/// Added to it for the answer itself; a connection that says nothing for longer is given up.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks, so that a busy stream does not keep this busy, too.
const REST: Duration = Duration::from_millis(5);

/// Starts watching: one connection for a server, one per partition for a cluster, whose nodes may each hold some.
pub(super) fn start(
    settings: &RedisSettings,
    names: &Names,
    wake: &Arc<Notify>,
) -> Result<Vec<AbortHandle>, RedisOpenError> {
    let homes: Vec<Vec<String>> = if settings.is_cluster() {
        names.partitions().iter().map(|home| vec![home.clone()]).collect()
    } else {
        vec![names.partitions().to_vec()]
    };
    let mut watchers = Vec::with_capacity(homes.len());
    for homes in homes {
        let watcher = Watcher {
            clients: clients(settings)?,
            settings: settings.clone(),
            streams: homes.iter().flat_map(|home| streams(home)).collect(),
            wake: Arc::clone(wake),
        };
        watchers.push(tokio::spawn(watcher.run()).abort_handle());
    }
    Ok(watchers)
}

/// The work streams of the partition whose epoch is at `home`.
fn streams(home: &str) -> Vec<String> {
    let tag = home.trim_end_matches("epoch");
    Class::ALL.iter().map(|class| format!("{tag}work:{class}")).collect()
}

/// Clients, one for each url.
pub(super) fn clients(settings: &RedisSettings) -> Result<Vec<Client>, RedisOpenError> {
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: certificates(settings)?,
    };
    let make = |one| client(one, certificates.clone()).map_err(|error| RedisOpenError::Unavailable(error.to_string()));
    settings.connections()?.into_iter().map(make).collect()
}

struct Watcher {
    /// Where to ask, the first one first.
    clients: Vec<Client>,
    settings: RedisSettings,
    streams: Vec<String>,
    wake: Arc<Notify>,
}

impl Watcher {
    async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            let error = match self.watch(&mut failures).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            failures += 1;
            // Somebody may have worked while nobody watched.
            self.wake.notify_one();
            if let Some(elsewhere) = self.moved_to(&error) {
                self.clients.insert(0, elsewhere);
                self.clients.truncate(self.settings.urls.len() + 1);
            } else {
                self.clients.rotate_left(1);
                tracing::debug!("watching the streams of Redis: {error}");
            }
            let (min, max) = (self.settings.reconnect_min, self.settings.reconnect_max);
            tokio::time::sleep(pause(min, max, failures, fastrand::f64())).await;
        }
    }

    async fn watch(&self, failures: &mut u32) -> Result<std::convert::Infallible, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(WAIT + GRACE))
            .set_connection_timeout(Some(self.settings.connect_timeout));
        let mut connection = self.clients[0]
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        loop {
            // The last entries are read before the scheduler is woken: what came before, it finds; what comes after, we see.
            let last = self.last_entries(&mut connection).await?;
            self.wake.notify_one();
            *failures = 0;
            tokio::time::sleep(REST).await;
            let wait = u64::try_from(WAIT.as_millis()).unwrap_or(1000);
            let mut read = cmd("XREAD");
            read.arg("COUNT").arg(1).arg("BLOCK").arg(wait).arg("STREAMS");
            read.arg(&self.streams).arg(&last);
            let _seen: Value = read.query_async(&mut connection).await?;
        }
    }

    async fn last_entries(&self, connection: &mut MultiplexedConnection) -> Result<Vec<String>, RedisError> {
        let mut pipe = redis::pipe();
        for stream in &self.streams {
            pipe.cmd("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
        }
        let newest: Vec<Vec<(String, Value)>> = pipe.query_async(connection).await?;
        let id =
            |entries: Vec<(String, Value)>| entries.into_iter().next().map_or_else(|| "0".to_owned(), |(id, _)| id);
        Ok(newest.into_iter().map(id).collect())
    }

    /// The node of a cluster that has the streams, if the one that was asked said so.
    fn moved_to(&self, error: &RedisError) -> Option<Client> {
        let (address, _) = error.redirect_node()?;
        let (host, port) = address.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let one = self.settings.connections().ok()?.into_iter().next()?;
        let address = match one.addr().clone() {
            redis::ConnectionAddr::TcpTls { insecure, .. } => redis::ConnectionAddr::TcpTls {
                host: host.to_owned(),
                port,
                insecure,
                tls_params: None,
            },
            _ => redis::ConnectionAddr::Tcp(host.to_owned(), port),
        };
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: certificates(&self.settings).ok()?,
        };
        client(one.set_addr(address), certificates).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_of_a_partition_has_its_stream() {
        let expect = [
            "{ph:3}work:critical",
            "{ph:3}work:transactional",
            "{ph:3}work:broadcast",
        ];
        assert_eq!(streams("{ph:3}epoch"), expect);
    }
}
