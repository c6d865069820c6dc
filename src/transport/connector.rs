//! How a connection is made: TCP in production, a stream in memory where whole engines run on made-up time.
//!
//! Takes an Endpoint, gives a stream of bytes or what went wrong. Has no deadline (the dialer keeps it), does not guard
//! addresses, and never tries twice.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::net::TcpSocket;

use super::Endpoint;
use super::wire::{Raw, failure_of};
use crate::domain::Failure;

/// Makes connections.
#[async_trait]
pub trait Connector: Send + Sync + fmt::Debug {
    /// A connection to `endpoint.address`, from `endpoint.source` if it names one. May be dropped half-way.
    async fn connect(&self, endpoint: &Endpoint) -> Result<Raw, Failure>;
}

/// The one that runs in production.
#[derive(Debug)]
pub(super) struct Tcp;

#[async_trait]
impl Connector for Tcp {
    async fn connect(&self, endpoint: &Endpoint) -> Result<Raw, Failure> {
        let socket = socket_for(endpoint)?;
        let connected = socket.connect(endpoint.address).await;
        connected
            .map(Raw::Tcp)
            .map_err(|error| connect_failure(&error, endpoint))
    }
}

fn socket_for(endpoint: &Endpoint) -> Result<TcpSocket, Failure> {
    let local = |error: io::Error| Failure::Local(format!("no socket: {error}"));
    let socket = match endpoint.address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(local)?;
    // A command must not wait for the acknowledgement of the one before it.
    socket.set_nodelay(true).map_err(local)?;
    // The reply to the dot may take ten minutes; a vanished peer should not.
    socket.set_keepalive(true).map_err(local)?;
    if let Some(source) = endpoint.source {
        if source.is_ipv4() != endpoint.address.is_ipv4() {
            let text = format!("source address {source} cannot reach {}", endpoint.address.ip());
            return Err(Failure::Local(text));
        }
        socket.bind(SocketAddr::new(source, 0)).map_err(|error| {
            Failure::Local(match error.kind() {
                io::ErrorKind::AddrNotAvailable => format!("source address {source} is not on this machine"),
                io::ErrorKind::AddrInUse => format!("source address {source} has no free port"),
                _ => format!("source address {source}: {error}"),
            })
        })?;
    }
    Ok(socket)
}

fn connect_failure(error: &io::Error, endpoint: &Endpoint) -> Failure {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Failure::Local(match endpoint.source {
            Some(source) => format!("source address {source} has no free port"),
            None => "no free port".to_owned(),
        }),
        _ => failure_of(error),
    }
}
