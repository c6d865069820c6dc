//! The server on a real socket: what only the wire shows.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use posthaste::api::{ApiSettings, server};

use super::bed::{Bed, mail};

/// Longer than any answer here takes; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `client` on a thread of its own against a server on a free port.
fn with_server<T: Send + 'static>(
    settings: ApiSettings,
    client: impl FnOnce(SocketAddr, String) -> T + Send + 'static,
) -> (T, u64) {
    with_prepared_server(settings, |_| {}, client)
}

/// The same, with something done to the bed first.
fn with_prepared_server<T: Send + 'static>(
    settings: ApiSettings,
    prepare: impl FnOnce(&Bed),
    client: impl FnOnce(SocketAddr, String) -> T + Send + 'static,
) -> (T, u64) {
    actix_web::rt::System::new().block_on(async move {
        let bed = Bed::with(settings).await;
        prepare(&bed);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let running = server::serve(vec![listener], Arc::clone(&bed.state), bed.intake(), 1).expect("a server");
        let handle = running.handle();
        let running = actix_web::rt::spawn(running);
        let key = bed.key.clone();
        let answer = tokio::task::spawn_blocking(move || client(address, key))
            .await
            .expect("no panic");
        handle.stop(false).await;
        running.await.expect("no panic").expect("ends well");
        (answer, bed.accepted().await)
    })
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("listening");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A mail as a whole request.
fn request(key: &str, connection: &str) -> String {
    let body = mail().to_string();
    format!(
        "POST /send-email HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: {connection}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Everything until the server closes the connection.
fn read_all(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset after the answer is an end too.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn mail_comes_in_over_the_wire_and_the_connection_is_kept() {
    let (answers, accepted) = with_server(ApiSettings::default(), |address, key| {
        let mut stream = connect(address);
        for close in ["keep-alive", "close"] {
            stream.write_all(request(&key, close).as_bytes()).expect("sent");
        }
        read_all(stream)
    });
    assert_eq!(answers.matches("HTTP/1.1 202 Accepted").count(), 2, "{answers}");
    assert_eq!(accepted, 2);
}

#[test]
fn a_key_that_does_not_work_is_told_before_the_body_comes() {
    let (answer, accepted) = with_server(ApiSettings::default(), |address, _| {
        let mut stream = connect(address);
        let head =
            "POST /send-email HTTP/1.1\r\nhost: x\r\nauthorization: Bearer no\r\ncontent-length: 1000000\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("sent");
        let mut start = [0; 12];
        stream
            .read_exact(&mut start)
            .expect("an answer without a body being sent");
        String::from_utf8_lossy(&start).into_owned()
    });
    assert_eq!((answer.as_str(), accepted), ("HTTP/1.1 401", 0));
}

#[test]
fn a_declared_length_beyond_the_limit_is_refused_unread_and_chunks_are_counted() {
    let settings = ApiSettings {
        body_bytes_max: 10_000,
        ..ApiSettings::default()
    };
    let (answers, accepted) = with_server(settings, |address, key| {
        let head = format!("POST /send-email HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n");
        let mut declared = connect(address);
        declared
            .write_all(format!("{head}content-length: 10001\r\n\r\n").as_bytes())
            .expect("sent");
        let mut start = [0; 12];
        declared
            .read_exact(&mut start)
            .expect("an answer without a body being sent");
        let mut chunked = connect(address);
        chunked
            .write_all(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes())
            .expect("sent");
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
        for _ in 0..3 {
            chunked.write_all(chunk.as_bytes()).expect("sent");
        }
        let mut second = [0; 12];
        chunked
            .read_exact(&mut second)
            .expect("an answer before the end of the body");
        [start, second].map(|start| String::from_utf8_lossy(&start).into_owned())
    });
    assert_eq!(answers, ["HTTP/1.1 413", "HTTP/1.1 413"]);
    assert_eq!(accepted, 0);
}

#[test]
fn slow_heads_and_slow_bodies_are_given_up() {
    let settings = ApiSettings {
        head_timeout: Duration::from_millis(200),
        body_grace: Duration::from_millis(200),
        body_timeout: Duration::from_millis(400),
        ..ApiSettings::default()
    };
    let (answers, accepted) = with_server(settings, |address, key| {
        let mut head = connect(address);
        head.write_all(b"POST /send-email HTTP/1.1\r\nhost: x\r\n")
            .expect("sent");
        let mut body = connect(address);
        let start = format!(
            "POST /send-email HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: 100\r\n\r\n{{\"fr"
        );
        body.write_all(start.as_bytes()).expect("sent");
        [read_all(head), read_all(body)]
    });
    for answer in &answers {
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer:?}");
    }
    assert!(answers[1].contains("request_timeout"), "{answers:?}");
    assert_eq!(accepted, 0);
}

#[test]
fn a_panic_costs_one_call_its_answer_and_nothing_else() {
    let (answers, accepted) = with_prepared_server(
        ApiSettings::default(),
        |bed| bed.queue.panic(),
        |address, key| {
            let mut first = connect(address);
            first.write_all(request(&key, "close").as_bytes()).expect("sent");
            let mut second = connect(address);
            let healthy = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            second.write_all(healthy.as_bytes()).expect("sent");
            [read_all(first), read_all(second)]
        },
    );
    assert!(answers[0].starts_with("HTTP/1.1 500"), "{answers:?}");
    assert!(answers[0].contains("internal_error"), "{answers:?}");
    assert!(!answers[0].contains("as the test asked"), "{answers:?}");
    assert!(answers[1].starts_with("HTTP/1.1 200"), "{answers:?}");
    assert_eq!(accepted, 0);
}
