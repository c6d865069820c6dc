//! One TCP or TLS connection with its buffers: bytes in, bytes out, and the rude ways to end it.
//!
//! Takes a socket, gives unread input and collects answers until the next read, so that a pipelined flight costs one
//! read and one write. Never interprets what passes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::receiver::{Phase, Recorder, reached};
use crate::transcript::Ended;

/// Bytes asked for in one read.
const READ_BYTES: usize = 32 << 10;
/// How long a closed connection is drained, so that the client reads our last words instead of a reset.
const LINGER: Duration = Duration::from_secs(2);
/// How many bytes are drained then.
const LINGER_BYTES_MAX: usize = 8 << 20;

#[derive(Debug)]
enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Gone,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    input: Vec<u8>,
    consumed: usize,
    output: Vec<u8>,
    single_bytes: bool,
    idle: Duration,
    phase: watch::Receiver<Phase>,
    recorder: Recorder,
}

impl Wire {
    pub(crate) fn new(
        stream: TcpStream,
        single_bytes: bool,
        idle: Duration,
        phase: watch::Receiver<Phase>,
        recorder: Recorder,
    ) -> Self {
        Self {
            socket: Socket::Plain(stream),
            input: Vec::new(),
            consumed: 0,
            output: Vec::new(),
            single_bytes,
            idle,
            phase,
            recorder,
        }
    }

    /// Input that has been read and not consumed.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.input[self.consumed..]
    }

    /// Marks `count` bytes of the pending input as used.
    pub(crate) fn consume(&mut self, count: usize) {
        self.consumed += count;
        debug_assert!(self.consumed <= self.input.len(), "no more is consumed than was read");
        if self.consumed == self.input.len() {
            self.input.clear();
            self.consumed = 0;
        }
    }

    /// Collects bytes of an answer; they leave before the next read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Sends what has been collected.
    pub(crate) async fn flush(&mut self) -> Result<(), Ended> {
        if self.output.is_empty() {
            return Ok(());
        }
        let output = std::mem::take(&mut self.output);
        self.recorder.with(|transcript| transcript.note_sent(&output));
        let limit = self.idle;
        let written = tokio::time::timeout(limit, self.write(&output)).await;
        self.output = output;
        self.output.clear();
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Broken),
            Err(_) => Err(Ended::Idle),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let step = if self.single_bytes { 1 } else { bytes.len() };
        for piece in bytes.chunks(step) {
            match &mut self.socket {
                Socket::Plain(stream) => stream.write_all(piece).await?,
                Socket::Tls(stream) => {
                    stream.write_all(piece).await?;
                    stream.flush().await?;
                }
                Socket::Gone => return Err(io::ErrorKind::NotConnected.into()),
            }
            if self.single_bytes {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Sends what has been collected, then waits for more input. A shutdown ends the wait: for use between commands.
    pub(crate) async fn fill_idle(&mut self) -> Result<(), Ended> {
        self.flush().await?;
        let mut phase = self.phase.clone();
        tokio::select! {
            biased;
            filled = self.fill() => filled,
            () = reached(&mut phase, Phase::Finishing) => Err(Ended::Shutdown),
        }
    }

    /// Sends what has been collected, then waits for more input.
    pub(crate) async fn fill(&mut self) -> Result<(), Ended> {
        self.flush().await?;
        if self.consumed > 0 {
            self.input.drain(..self.consumed);
            self.consumed = 0;
        }
        self.input.reserve(READ_BYTES);
        let before = self.input.len();
        let read = read_some(&mut self.socket, &mut self.input);
        let count = match tokio::time::timeout(self.idle, read).await {
            Ok(read) => read.map_err(|_| Ended::Broken)?,
            Err(_) => return Err(Ended::Idle),
        };
        if count == 0 {
            return Err(Ended::ClientClosed);
        }
        let new = &self.input[before..];
        self.recorder.with(|transcript| transcript.note_received(new));
        Ok(())
    }

    /// Takes what has already arrived, without waiting. True when there is input although the banner has not left. A
    /// client whose bytes are still on their way is not caught.
    pub(crate) fn peek_early(&mut self) -> bool {
        if self.output.is_empty() {
            return false;
        }
        if !self.pending().is_empty() {
            return true;
        }
        let Socket::Plain(stream) = &self.socket else {
            return false;
        };
        let mut buffer = [0; 1024];
        match stream.try_read(&mut buffer) {
            Ok(count) if count > 0 => {
                self.input.extend_from_slice(&buffer[..count]);
                self.recorder
                    .with(|transcript| transcript.note_received(&buffer[..count]));
                true
            }
            _ => false,
        }
    }

    /// Whether the client has closed its end or the connection broke, as far as the system knows by now. Bytes that it
    /// sent before are kept. Over TLS this is not known.
    pub(crate) fn client_is_gone(&mut self) -> bool {
        let Socket::Plain(stream) = &self.socket else {
            return matches!(self.socket, Socket::Gone);
        };
        let mut buffer = [0; 1024];
        loop {
            match stream.try_read(&mut buffer) {
                Ok(0) => return true,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
            if self.input.len() >= READ_BYTES {
                return false;
            }
        }
    }

    /// Waits for a time, unless the receiver is shut down.
    pub(crate) async fn pause(&mut self, time: Duration) -> Result<(), Ended> {
        if time.is_zero() {
            return Ok(());
        }
        self.until_shutdown(tokio::time::sleep(time)).await
    }

    /// Waits for something of the test's, unless the receiver is shut down.
    pub(crate) async fn until_shutdown(&mut self, wait: impl Future<Output = ()>) -> Result<(), Ended> {
        tokio::select! {
            biased;
            () = wait => Ok(()),
            () = reached(&mut self.phase, Phase::Finishing) => Err(Ended::Shutdown),
        }
    }

    /// Throws away the pending input; says whether there was any.
    pub(crate) fn discard_pending(&mut self) -> bool {
        let any = !self.pending().is_empty();
        self.input.clear();
        self.consumed = 0;
        any
    }

    /// Speaks TLS from here on. Gives the host name that the client asked for.
    pub(crate) async fn start_tls(&mut self, config: Arc<ServerConfig>) -> Result<Option<String>, Ended> {
        self.flush().await?;
        let Socket::Plain(stream) = std::mem::replace(&mut self.socket, Socket::Gone) else {
            return Err(Ended::TlsFailed);
        };
        let handshake = tokio::time::timeout(self.idle, TlsAcceptor::from(config).accept(stream)).await;
        let Ok(Ok(stream)) = handshake else {
            return Err(Ended::TlsFailed);
        };
        let name = stream.get_ref().1.server_name().map(str::to_owned);
        self.socket = Socket::Tls(Box::new(stream));
        Ok(name)
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        let stream = match &self.socket {
            Socket::Plain(stream) => stream,
            Socket::Tls(stream) => stream.get_ref().0,
            Socket::Gone => return,
        };
        // Should the option be refused, the connection still ends when the socket is dropped.
        let _ = stream.set_zero_linger();
    }

    /// Ends the connection by a FIN: sends what has been collected, then reads until the client has closed too, because
    /// a socket that is dropped with unread input sends a reset.
    pub(crate) async fn close(mut self) {
        let farewell = async {
            if self.flush().await.is_err() {
                return;
            }
            let closed = match &mut self.socket {
                Socket::Plain(stream) => stream.shutdown().await,
                Socket::Tls(stream) => stream.shutdown().await,
                Socket::Gone => return,
            };
            let mut drained = 0;
            while closed.is_ok() && drained < LINGER_BYTES_MAX {
                self.input.clear();
                self.input.reserve(READ_BYTES);
                match read_some(&mut self.socket, &mut self.input).await {
                    Ok(count) if count > 0 => drained += count,
                    _ => return,
                }
            }
        };
        // The client may hold its end open for as long as it likes; we have done our part.
        let _ = tokio::time::timeout(LINGER, farewell).await;
    }
}

async fn read_some(socket: &mut Socket, input: &mut Vec<u8>) -> io::Result<usize> {
    match socket {
        Socket::Plain(stream) => stream.read_buf(input).await,
        Socket::Tls(stream) => stream.read_buf(input).await,
        Socket::Gone => Ok(0),
    }
}
