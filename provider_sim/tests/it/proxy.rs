//! The proxy passes bytes on unharmed unless told otherwise, and harms exactly where it is told.

use std::time::Duration;

use provider_sim::{Cut, Fault, Faults, Proxy, Receiver};
use tokio::io::AsyncReadExt;

use crate::client::{Client, SOON, listen, message};

async fn through(faults: Faults) -> (Receiver, Proxy) {
    let receiver = listen(Receiver::builder()).await;
    let proxy = Proxy::to(receiver.address(), faults).await.unwrap();
    (receiver, proxy)
}

#[tokio::test]
async fn without_faults_and_with_harmless_ones_everything_arrives() {
    let split = Fault::default().one_byte_segments();
    let late = Fault::default().delay(Duration::from_micros(50));
    for fault in [Fault::default(), split, late] {
        let (receiver, proxy) = through(Faults {
            to_target: fault,
            to_client: fault,
        })
        .await;
        let mut client = Client::connect_to(proxy.address()).await;
        client.reply().await;
        client.say("EHLO c").await;
        assert_eq!(client.deliver("b@x.test", "<1>").await.code(), "250");
        client.say("QUIT").await;
        client.until_closed().await;
        assert_eq!(
            (receiver.ledger().copies("b@x.test", "<1>"), proxy.connections()),
            (1, 1)
        );
    }
}

#[tokio::test]
async fn a_cut_comes_after_exactly_so_many_bytes() {
    for (cut, resets) in [(Cut::Close, false), (Cut::Reset, true)] {
        let to_client = Fault::default().cut_after(10, cut);
        let (_receiver, proxy) = through(Faults {
            to_client,
            ..Faults::default()
        })
        .await;
        let mut client = Client::connect_to(proxy.address()).await;
        let (bytes, end) = client.rest().await;
        assert_eq!(end.is_err(), resets, "{cut:?}");
        assert!(bytes == b"220 mx.sim" || resets, "{cut:?}: {bytes:?}");
    }
}

#[tokio::test]
async fn the_answer_to_a_dot_can_be_lost() {
    let (receiver, proxy) = through(Faults::default()).await;
    let mut client = Client::connect_to(proxy.address()).await;
    let greeting = client.reply().await.0 + &client.say("EHLO c").await.0;
    let begun = "250 2.1.0 Sender ok\r\n250 2.1.5 Recipient ok\r\n354 Go ahead, end with a dot\r\n";
    let bytes = (greeting.len() + begun.len()) as u64;
    proxy.set(Faults {
        to_client: Fault::default().cut_after(bytes, Cut::Reset),
        ..Faults::default()
    });

    let mut client = Client::connect_to(proxy.address()).await;
    client.reply().await;
    client.say("EHLO c").await;
    client.begin("b@x.test").await;
    client.send(message("<1>")).await;
    assert_eq!(client.until_reset().await, b"", "no answer came");
    assert_eq!(receiver.ledger().total(), 1, "but the message did arrive");
}

#[tokio::test]
async fn a_black_hole_swallows_and_stays_open() {
    let to_target = Fault::default().cut_after(8, Cut::Blackhole);
    let (receiver, proxy) = through(Faults {
        to_target,
        ..Faults::default()
    })
    .await;
    let mut client = Client::connect_to(proxy.address()).await;
    client.reply().await;
    client.send("EHLO c\r\nMAIL FROM:<a@b>\r\n").await;
    assert_eq!(client.reply().await.code(), "250");
    let swallowed = |receiver: &Receiver| receiver.transcripts()[0].verbs() == ["EHLO"];
    assert!(receiver.wait_until(swallowed, SOON).await);
    let silent = tokio::time::timeout(Duration::from_millis(20), client.stream.read_u8()).await;
    assert!(silent.is_err(), "neither an answer nor an end");
    drop(client);
    assert!(
        receiver
            .wait_until(|receiver| receiver.open_connections() == 0, SOON)
            .await
    );
}

#[tokio::test]
async fn a_target_that_is_not_there_is_a_close() {
    let (receiver, proxy) = through(Faults::default()).await;
    receiver.kill().await;
    let mut client = Client::connect_to(proxy.address()).await;
    assert_eq!(client.until_closed().await, b"");
}
