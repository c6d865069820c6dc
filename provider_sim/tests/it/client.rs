//! A bare TCP client: sends bytes, reads replies, and says how the other side ended the connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use provider_sim::{Receiver, ReceiverBuilder};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Far more than any test needs; only a broken one waits for it.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) async fn listen(builder: ReceiverBuilder) -> Receiver {
    builder.listen(any_port()).await.unwrap()
}

pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: S,
    pub(crate) input: Vec<u8>,
}

impl Client {
    /// Connects and reads nothing.
    pub(crate) async fn connect(receiver: &Receiver) -> Self {
        Self::connect_to(receiver.address()).await
    }

    pub(crate) async fn connect_to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    /// Connects, reads the banner and says EHLO.
    pub(crate) async fn greeted(receiver: &Receiver) -> Self {
        let mut client = Self::connect(receiver).await;
        assert_eq!(client.reply().await.code(), "220");
        assert_eq!(client.say("EHLO client.test").await.code(), "250");
        client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            input: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends a line and reads the reply.
    pub(crate) async fn say(&mut self, line: &str) -> Reply {
        self.send(format!("{line}\r\n")).await;
        self.reply().await
    }

    async fn more(&mut self) -> io::Result<usize> {
        let read = self.stream.read_buf(&mut self.input);
        tokio::time::timeout(SOON, read)
            .await
            .expect("the receiver says something")
    }

    /// One reply: lines up to one whose code is followed by no hyphen.
    pub(crate) async fn reply(&mut self) -> Reply {
        let mut text = String::new();
        loop {
            let line = self.line().await;
            text.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return Reply(text);
            }
        }
    }

    pub(crate) async fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.input.drain(..=at).collect();
                return String::from_utf8_lossy(&line).into_owned();
            }
            let count = self.more().await.expect("the connection stands");
            assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&self.input));
        }
    }

    /// Everything up to the end of the connection, and how it ended: `Ok` for a FIN, the error for a reset.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        loop {
            match self.more().await {
                Ok(0) => return (std::mem::take(&mut self.input), Ok(())),
                Ok(_) => {}
                Err(error) => return (std::mem::take(&mut self.input), Err(error)),
            }
        }
    }

    /// The first reply, or nothing when the connection is closed without a word.
    pub(crate) async fn first_word(&mut self) -> Option<String> {
        while !self.input.contains(&b'\n') {
            if !matches!(self.more().await, Ok(count) if count > 0) {
                return None;
            }
        }
        Some(self.reply().await.0)
    }

    /// Everything up to a FIN.
    pub(crate) async fn until_closed(&mut self) -> Vec<u8> {
        let (bytes, end) = self.rest().await;
        end.expect("a FIN, not a reset");
        bytes
    }

    pub(crate) async fn until_reset(&mut self) -> Vec<u8> {
        let (bytes, end) = self.rest().await;
        let error = end.expect_err("a reset, not a FIN");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        bytes
    }

    /// MAIL, RCPT and DATA, each of which must go well.
    pub(crate) async fn begin(&mut self, recipient: &str) {
        assert_eq!(self.say("MAIL FROM:<a@sender.test>").await.code(), "250");
        assert_eq!(self.say(&format!("RCPT TO:<{recipient}>")).await.code(), "250");
        assert_eq!(self.say("DATA").await.code(), "354");
    }

    /// A whole message; gives the answer to its dot.
    pub(crate) async fn deliver(&mut self, recipient: &str, message_id: &str) -> Reply {
        self.begin(recipient).await;
        self.send(message(message_id)).await;
        self.reply().await
    }
}

/// A message with its final dot.
pub(crate) fn message(message_id: &str) -> String {
    format!("From: <a@sender.test>\r\nMessage-ID: {message_id}\r\nSubject: hello\r\n\r\nHello\r\n.\r\n")
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply(pub(crate) String);

impl Reply {
    pub(crate) fn code(&self) -> &str {
        self.0.get(..3).unwrap_or("")
    }

    /// Keywords of an EHLO answer.
    pub(crate) fn offers(&self, keyword: &str) -> bool {
        self.0.lines().any(|line| line.get(4..) == Some(keyword))
    }
}
