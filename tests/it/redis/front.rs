//! A door in front of a Redis: it passes everything, is cut at a certain byte, or answers in Redis' place.
//!
//! Cuts count only on connections that carry function calls, so that those who merely watch do not disturb them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use test_rig::RedisServer;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    ToRedis,
    ToClient,
}

#[derive(Debug)]
struct Shared {
    socket: PathBuf,
    /// What every function call gets for an answer, if we answer.
    answer: Mutex<Option<String>>,
    cut: Mutex<Option<(Side, u64)>>,
    passed: [AtomicU64; 2],
    connections: AtomicU64,
    /// Changes when all connections are to close.
    close: watch::Sender<u64>,
}

/// The door. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Front {
    pub(crate) async fn of(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            socket: server.socket(),
            answer: Mutex::default(),
            cut: Mutex::default(),
            passed: Default::default(),
            connections: AtomicU64::new(0),
            close: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            accepting,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Cuts the connection after so many more bytes on this side, once.
    pub(crate) fn cut_after(&self, side: Side, bytes: u64) {
        *self.shared.cut.lock().unwrap() = Some((side, bytes));
    }

    /// Cuts no more; says whether it has cut.
    pub(crate) fn has_cut(&self) -> bool {
        self.shared.cut.lock().unwrap().take().is_none()
    }

    /// Bytes of function calls so far.
    pub(crate) fn passed(&self, side: Side) -> u64 {
        self.shared.passed[side as usize].load(Ordering::Relaxed)
    }

    /// From now on each function call gets this error; with `None` Redis answers again. Closes all connections.
    pub(crate) fn answer(&self, error: Option<&str>) {
        *self.shared.answer.lock().unwrap() = error.map(str::to_owned);
        self.shared.close.send_modify(|times| *times += 1);
    }

    /// Connections made so far.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.close.send_modify(|times| *times += 1);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        client.set_nodelay(true).unwrap();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut close = shared.close.subscribe();
            let answer = shared.answer.lock().unwrap().clone();
            let serving = async {
                match answer {
                    Some(error) => answer_all(client, &error).await,
                    None => pass_all(client, &shared).await,
                }
            };
            tokio::select! {
                _ = serving => {}
                _ = close.changed() => {}
            }
        });
    }
}

async fn pass_all(client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let redis = UnixStream::connect(&shared.socket).await?;
    let (client_read, client_write) = client.into_split();
    let (redis_read, redis_write) = redis.into_split();
    let calls = AtomicBool::new(false);
    // The first direction that ends ends both.
    tokio::select! {
        ended = pass(client_read, redis_write, Side::ToRedis, shared, &calls) => ended,
        ended = pass(redis_read, client_write, Side::ToClient, shared, &calls) => ended,
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    side: Side,
    shared: &Shared,
    calls: &AtomicBool,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        if side == Side::ToRedis && buffer[..count].windows(5).any(|word| word == b"FCALL") {
            calls.store(true, Ordering::Relaxed);
        }
        let room = match calls.load(Ordering::Relaxed) {
            true => room(shared, side, count),
            false => count,
        };
        to.write_all(&buffer[..room]).await?;
        if room < count {
            return Ok(());
        }
    }
}

/// How many of `count` bytes may pass.
fn room(shared: &Shared, side: Side, count: usize) -> usize {
    shared.passed[side as usize].fetch_add(count as u64, Ordering::Relaxed);
    let mut cut = shared.cut.lock().unwrap();
    match &mut *cut {
        Some((at, left)) if *at == side && *left < count as u64 => {
            let room = *left;
            *cut = None;
            usize::try_from(room).unwrap()
        }
        Some((at, left)) if *at == side => {
            *left -= count as u64;
            count
        }
        _ => count,
    }
}

/// Greets like a Redis, and answers all that is about data with an error.
async fn answer_all(client: TcpStream, error: &str) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    loop {
        let count = number(&mut client, b'*').await?;
        let mut words = Vec::with_capacity(count);
        for _ in 0..count {
            let mut word = vec![0; number(&mut client, b'$').await? + 2];
            client.read_exact(&mut word).await?;
            word.truncate(word.len() - 2);
            words.push(word);
        }
        let greeting = [&b"HELLO"[..], b"CLIENT", b"AUTH", b"SELECT", b"PING"].contains(&&*words[0]);
        let answer = if greeting {
            "+OK".to_owned()
        } else {
            format!("-{error}")
        };
        client.get_mut().write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

async fn number(client: &mut BufReader<TcpStream>, kind: u8) -> std::io::Result<usize> {
    let mut line = String::new();
    client.read_line(&mut line).await?;
    if line.as_bytes().first() != Some(&kind) {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    line[1..].trim().parse().map_err(std::io::Error::other)
}
