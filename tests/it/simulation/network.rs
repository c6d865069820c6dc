//! The network between nodes and receivers: streams in memory.
//!
//! Takes an Endpoint, gives one end of a stream and hands the other to its receiver; refuses, or keeps silent, by seed.

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use posthaste::domain::Failure;
use posthaste::transport::{Connector, Endpoint, Raw};
use tokio::io::DuplexStream;
use tokio::sync::mpsc::UnboundedSender;

use super::watched::World;

/// Bytes that are on their way at once.
const PIPE_BYTES: usize = 16 * 1024;

/// A connection that came to a receiver.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) node: usize,
    pub(super) door: usize,
    pub(super) stream: DuplexStream,
}

/// The way out of one node.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) world: Arc<World>,
    pub(super) node: usize,
    pub(super) receivers: UnboundedSender<Incoming>,
}

#[async_trait]
impl Connector for Network {
    async fn connect(&self, endpoint: &Endpoint) -> Result<Raw, Failure> {
        let IpAddr::V4(address) = endpoint.address.ip() else {
            return Err(Failure::Network("no such network".to_owned()));
        };
        let door = usize::from(address.octets()[3]) - 1;
        let (refused, silent) = {
            let now = self.world.now();
            let mut book = self.world.book();
            book.doors[door].active_at = now;
            let manners = book.plan.doors[door].manners;
            (
                book.comes(manners.refuses_connection),
                book.comes(manners.never_connects),
            )
        };
        self.world.wait_up_to(20).await;
        if refused {
            self.world.tell(&format!("n{} door{door} refuses", self.node));
            return Err(Failure::ConnectionRefused);
        }
        if silent {
            pending::<()>().await;
        }
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let incoming = Incoming {
            node: self.node,
            door,
            stream: theirs,
        };
        self.receivers.send(incoming).map_err(|_| Failure::ConnectionRefused)?;
        Ok(Raw::Other(Box::new(ours)))
    }
}
