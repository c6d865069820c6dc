//! A Redis Cluster of primaries without replicas.

use std::io;
use std::time::Duration;

use crate::{RedisOptions, RedisServer, free_port};

/// Slots of any cluster.
const SLOTS: usize = 16_384;
/// Looks at a cluster that comes together, and the pause between two.
const LOOKS: u32 = 1_500;
const PAUSE: Duration = Duration::from_millis(20);

/// Servers that share all slots.
#[derive(Debug)]
pub struct RedisCluster {
    /// The primaries.
    pub servers: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts `count` servers with these options and waits until each says that the cluster is whole.
    ///
    /// # Errors
    /// When one does not start, or they do not come together in half a minute.
    #[expect(
        clippy::disallowed_methods,
        reason = "starting processes are waited for, and nothing else runs here"
    )]
    pub fn start(count: usize, options: &RedisOptions) -> io::Result<Self> {
        let mut servers = Vec::with_capacity(count);
        let mut buses = Vec::with_capacity(count);
        for _ in 0..count {
            let bus = free_port().to_string();
            let options = options
                .clone()
                .tcp()
                .set("cluster-enabled", "yes")
                .set("cluster-port", &bus);
            servers.push(RedisServer::start(&options)?);
            buses.push(bus);
        }
        for (index, server) in servers.iter().enumerate() {
            let first = (SLOTS * index / count).to_string();
            let last = (SLOTS * (index + 1) / count - 1).to_string();
            server.call(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
            server.call(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()])?;
        }
        // Everybody is told of everybody: gossip alone takes seconds.
        for (index, (server, bus)) in servers.iter().zip(&buses).enumerate() {
            let port = server.port().unwrap_or_default().to_string();
            for other in &servers[..index] {
                other.call(&["CLUSTER", "MEET", "127.0.0.1", &port, bus])?;
            }
        }
        let whole = |server: &RedisServer| {
            let info = server.call(&["CLUSTER", "INFO"]).unwrap_or_default();
            info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{count}"))
        };
        for _ in 0..LOOKS {
            if servers.iter().all(whole) {
                return Ok(Self { servers });
            }
            std::thread::sleep(PAUSE);
        }
        Err(io::Error::other("the cluster does not come together"))
    }

    /// Where clients find it: all primaries.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(RedisServer::url).collect()
    }
}
