//! The bytes below a session: TCP, TLS over it, or a stream that somebody else made.
//!
//! Takes a stream, gives one type to read from and write to, and says in our words what went wrong with it. Never waits
//! for anything by itself.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::domain::Failure;

/// Anything that a session can run over. What its `poll_write` did not take must not have left.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

/// Bytes without TLS.
pub enum Raw {
    /// A socket.
    Tcp(TcpStream),
    /// A stream that somebody else made.
    Other(Box<dyn ByteStream>),
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Raw::Tcp",
            Self::Other(_) => "Raw::Other",
        })
    }
}

/// Bytes with or without TLS.
pub(super) enum Wire {
    Clear(Raw),
    Tls(Box<TlsStream<Raw>>),
}

impl Wire {
    /// Whether a write that failed may have sent more than it said: TLS takes bytes before the kernel does.
    pub(super) fn hides_what_was_sent(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Acknowledges at once what was read. A peer that writes each reply by itself and leaves Nagle on sends the next one
    /// only after that, and our kernel would take 40 ms.
    pub(super) fn acknowledge(&self) {
        #[cfg(target_os = "linux")]
        {
            let raw = match self {
                Self::Clear(raw) => raw,
                Self::Tls(stream) => stream.get_ref().0,
            };
            if let Raw::Tcp(stream) = raw {
                // A matter of speed alone: a kernel that refuses is a slower one.
                stream.set_quickack(true).ok();
            }
        }
    }
}

/// What an error of a stream means. The text names the error, not the data.
pub(super) fn failure_of(error: &io::Error) -> Failure {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => Failure::ConnectionRefused,
        Kind::TimedOut => Failure::Timeout,
        Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::BrokenPipe
        | Kind::NotConnected
        | Kind::UnexpectedEof
        | Kind::WriteZero => Failure::ConnectionLost,
        Kind::InvalidData => Failure::Tls(error.to_string()),
        _ => Failure::Network(error.to_string()),
    }
}

macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr, $($variant:path),+) => {
        match $self.get_mut() { $($variant($stream) => { let $stream = Pin::new($stream); $call })+ }
    };
}

macro_rules! stream_over {
    ($type:ident, $($variant:path),+) => {
        impl AsyncRead for $type {
            fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                forward!(self, stream => stream.poll_read(context, buffer), $($variant),+)
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                forward!(self, stream => stream.poll_write(context, bytes), $($variant),+)
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                forward!(self, stream => stream.poll_flush(context), $($variant),+)
            }

            fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                forward!(self, stream => stream.poll_shutdown(context), $($variant),+)
            }
        }
    };
}

stream_over!(Raw, Self::Tcp, Self::Other);
stream_over!(Wire, Self::Clear, Self::Tls);
