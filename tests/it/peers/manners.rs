//! The servers do complain when a client talks out of turn, and we would see it: otherwise the other tests say nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::peer::{PATIENCE, Peer, eventually};
use super::{exim, postfix};

async fn an_impatient_client_is_noticed(peer: Peer, complaint: &str) {
    peer.assert_no_complaints();
    let mut impatient = TcpStream::connect(("127.0.0.1", peer.port)).unwrap();
    impatient.set_read_timeout(Some(PATIENCE)).unwrap();
    impatient
        .write_all(b"EHLO a.test\r\nMAIL FROM:<a@a.test>\r\nRSET\r\nNOOP\r\nQUIT\r\n")
        .unwrap();
    // The peer may close without reading all of it; what it answers does not matter.
    let _ = impatient.read_to_end(&mut Vec::new());
    eventually("the complaint", || {
        let log = peer.log().to_lowercase();
        log.contains(complaint).then_some(())
    })
    .await;
    let found = peer.complaint();
    assert!(found.is_some_and(|line| line.contains(complaint)));
}

#[actix_web::test]
async fn postfix_notices_a_client_that_does_not_wait() {
    an_impatient_client_is_noticed(postfix::start(&[]).await, "improper command pipelining").await;
}

#[actix_web::test]
async fn exim_notices_a_client_that_does_not_wait() {
    an_impatient_client_is_noticed(exim::start().await, "synchronization error").await;
}
