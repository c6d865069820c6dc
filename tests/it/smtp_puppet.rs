//! A peer that plays a fixed part over a pipe in memory, so that hours pass in no time and no reply is negotiable.

use std::time::Duration;

use posthaste::transport::ByteStream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;

/// What the puppet does next.
#[derive(Debug, Clone)]
pub(crate) enum Do {
    /// Sends this.
    Say(Vec<u8>),
    /// Sends this, a byte at a time.
    Drip(Vec<u8>, Duration),
    /// Reads until what came ends with this.
    Hear(&'static str),
    /// Reads so many bytes at a time until what came ends with this.
    Sip(&'static str, usize, Duration),
    /// Neither reads nor says anything until the other side is gone.
    Freeze,
}

pub(crate) fn say(text: &str) -> Do {
    Do::Say(text.as_bytes().to_vec())
}

/// Up to and with the reply to EHLO.
pub(crate) fn greet(capabilities: &str) -> Vec<Do> {
    let offer = format!("250-mx.test\r\n{capabilities}250 HELP\r\n");
    vec![say("220 mx.test\r\n"), Do::Hear("EHLO out.test\r\n"), say(&offer)]
}

/// Starts a puppet; gives the client's end of the pipe and, at the end, all that the puppet heard.
pub(crate) fn puppet(part: Vec<Do>) -> (DuplexStream, JoinHandle<String>) {
    // As large as a socket's buffer may be; small enough that a body does not fit.
    let (client, stream) = tokio::io::duplex(16 * 1024);
    (client, tokio::spawn(play_part(stream, part)))
}

/// Plays a part on any stream. Gives all that was heard.
pub(crate) async fn play_part(mut stream: impl ByteStream, part: Vec<Do>) -> String {
    let mut heard = play_acts(&mut stream, part).await;
    // Whatever else the client says before it goes.
    let mut rest = Vec::new();
    if stream.read_to_end(&mut rest).await.is_ok() {
        heard.extend_from_slice(&rest);
    }
    String::from_utf8(heard).expect("ASCII")
}

/// Plays a part and leaves the stream to others.
pub(crate) async fn play_acts(stream: &mut impl ByteStream, part: Vec<Do>) -> Vec<u8> {
    let mut heard = Vec::new();
    for act in part {
        match act {
            Do::Say(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            Do::Drip(bytes, interval) => {
                for byte in bytes {
                    tokio::time::sleep(interval).await;
                    if stream.write_all(&[byte]).await.is_err() {
                        break;
                    }
                }
            }
            Do::Hear(end) => hear(stream, &mut heard, end, usize::MAX, Duration::ZERO).await,
            Do::Sip(end, bytes, interval) => hear(stream, &mut heard, end, bytes, interval).await,
            Do::Freeze => std::future::pending().await,
        }
    }
    heard
}

async fn hear(stream: &mut impl ByteStream, heard: &mut Vec<u8>, end: &str, at_once: usize, interval: Duration) {
    let begin = heard.len();
    let mut buffer = vec![0; at_once.min(4096)];
    while !heard[begin..].ends_with(end.as_bytes()) {
        tokio::time::sleep(interval).await;
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => heard.extend_from_slice(&buffer[..count]),
        }
    }
}
