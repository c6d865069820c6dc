//! A TCP proxy that damages what passes: for faults below SMTP.
//!
//! Takes a target and [`Faults`] for either direction; gives an address to connect to. Faults are read when a connection
//! is made, so they can be changed between connections. Each connection buffers at most `PIECE_BYTES` per direction.
//! Never looks at the content.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Bytes read at once.
const PIECE_BYTES: usize = 16 << 10;
/// Connections at once; one more is closed.
const CONNECTIONS_MAX: usize = 1_024;
/// How long a cut connection is drained.
const LINGER: Duration = Duration::from_secs(2);

/// How a connection is cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cut {
    /// Both sides see the other close.
    #[default]
    Close,
    /// Both sides see a reset.
    Reset,
    /// From here on this direction swallows everything and the connection stays open.
    Blackhole,
}

/// What happens to the bytes of one direction. The default passes them on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fault {
    cut: Option<(u64, Cut)>,
    delay: Duration,
    single_bytes: bool,
}

impl Fault {
    /// Exactly `bytes` bytes pass; the next one that wants to causes `cut`. So an answer can be lost on its way.
    #[must_use]
    pub fn cut_after(mut self, bytes: u64, cut: Cut) -> Self {
        self.cut = Some((bytes, cut));
        self
    }

    /// Every piece waits this long.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Every byte travels in a segment of its own.
    #[must_use]
    pub fn one_byte_segments(mut self) -> Self {
        self.single_bytes = true;
        self
    }
}

/// What happens to connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// From the client to the target.
    pub to_target: Fault,
    /// From the target to the client.
    pub to_client: Fault,
}

/// A listening proxy. Dropping it closes it and all its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    faults: Arc<Mutex<Faults>>,
    connections: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on any port of 127.0.0.1 and forwards to `target`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn to(target: SocketAddr, faults: Faults) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener.local_addr()?;
        let faults = Arc::new(Mutex::new(faults));
        let connections = Arc::new(AtomicU64::new(0));
        let accepting = tokio::spawn(accept(listener, target, Arc::clone(&faults), Arc::clone(&connections)));
        Ok(Self {
            address,
            faults,
            connections,
            accepting,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections made through it so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Faults for connections from now on.
    pub fn set(&self, faults: Faults) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, faults: Arc<Mutex<Faults>>, count: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                if connections.len() < CONNECTIONS_MAX {
                    count.fetch_add(1, Ordering::Relaxed);
                    let faults = *faults.lock().unwrap_or_else(PoisonError::into_inner);
                    connections.spawn(forward(client, target, faults));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Forwards both ways until both directions have ended or one is cut. A target that cannot be reached is a close.
async fn forward(mut client: TcpStream, target: SocketAddr, faults: Faults) {
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    // Sockets that refuse an option are about to fail anyway.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut client_read, mut client_write) = client.split();
    let (mut server_read, mut server_write) = server.split();
    let cut = tokio::try_join!(
        pass(&mut client_read, &mut server_write, faults.to_target),
        pass(&mut server_read, &mut client_write, faults.to_client),
    );
    match cut {
        Err(Cut::Reset) => {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
        _ => {
            tokio::join!(finish(&mut client), finish(&mut server));
        }
    }
}

/// Passes one direction on. `Ok`: it ended by itself. `Err`: the whole connection is to be cut.
async fn pass(read: &mut ReadHalf<'_>, write: &mut WriteHalf<'_>, fault: Fault) -> Result<(), Cut> {
    let broken = |_| Cut::Reset;
    let mut buffer = vec![0; PIECE_BYTES];
    let mut room = fault.cut.map_or(u64::MAX, |(bytes, _)| bytes);
    loop {
        let count = read.read(&mut buffer).await.map_err(broken)?;
        if count == 0 {
            return write.shutdown().await.map_err(broken);
        }
        if !fault.delay.is_zero() {
            tokio::time::sleep(fault.delay).await;
        }
        let passing = count.min(usize::try_from(room).unwrap_or(usize::MAX));
        room -= passing as u64;
        let step = if fault.single_bytes { 1 } else { PIECE_BYTES };
        for piece in buffer[..passing].chunks(step) {
            write.write_all(piece).await.map_err(broken)?;
            if fault.single_bytes {
                tokio::task::yield_now().await;
            }
        }
        match fault.cut {
            Some((_, Cut::Blackhole)) if passing < count => {
                while read.read(&mut buffer).await.map_err(broken)? > 0 {}
                return Err(Cut::Close);
            }
            Some((_, cut)) if passing < count => return Err(cut),
            _ => {}
        }
    }
}

/// A FIN, and then whatever the other side still says: a socket that is dropped with unread input sends a reset.
async fn finish(stream: &mut TcpStream) {
    let drain = async {
        let mut buffer = vec![0; PIECE_BYTES];
        if stream.shutdown().await.is_ok() {
            while matches!(stream.read(&mut buffer).await, Ok(count) if count > 0) {}
        }
    };
    // A side that keeps talking does not keep us.
    let _ = tokio::time::timeout(LINGER, drain).await;
}
