//! Every scripted act does what it says.

use std::time::Duration;

use provider_sim::{Act, Ended, Gate, Receiver, Script, Stage};

use crate::client::{Client, SOON, message};

#[tokio::test]
async fn a_scripted_reply_comes_at_its_stage_on_its_connection() {
    let script = Script::new()
        .at(Stage::Mail, Act::reply("451 4.3.0 not yet"))
        .on_connection(2)
        .at(Stage::Mail, Act::Usual)
        .on_connection(2)
        .at(Stage::Dot, Act::reply("250 ok"));
    let receiver = Receiver::scripted(script).await.unwrap();
    let mut first = Client::greeted(&receiver).await;
    assert_eq!(first.say("MAIL FROM:<a@b>").await.0, "451 4.3.0 not yet\r\n");
    assert_eq!(
        first.say("RCPT TO:<a@b>").await.code(),
        "503",
        "what was refused is not begun"
    );
    let mut second = Client::greeted(&receiver).await;
    assert_eq!(second.deliver("b@x.test", "<1>").await.0, "250 ok\r\n");
    assert_eq!((receiver.ledger().total(), receiver.counters().scripted), (1, 3));
}

#[tokio::test]
async fn a_refused_recipient_is_not_one_of_the_message() {
    let script = Script::new()
        .to("bad")
        .at(Stage::Rcpt, Act::reply("550 5.1.1 no such user"));
    let receiver = Receiver::scripted(script).await.unwrap();
    let mut client = Client::greeted(&receiver).await;
    client.say("MAIL FROM:<a@b>").await;
    assert_eq!(client.say("RCPT TO:<good@x.test>").await.code(), "250");
    assert_eq!(client.say("RCPT TO:<bad@x.test>").await.code(), "550");
    client.say("DATA").await;
    client.send(message("<1>")).await;
    assert_eq!(client.reply().await.code(), "250");
    let ledger = receiver.ledger();
    assert_eq!(
        (ledger.copies("good@x.test", "<1>"), ledger.copies("bad@x.test", "<1>")),
        (1, 0)
    );
}

#[tokio::test]
async fn after_the_dot_the_message_is_held_exactly_when_the_script_says_so() {
    let cases: Vec<(Vec<Act>, u64)> = vec![
        (vec![Act::reply("250 ok")], 1),
        (vec![Act::reply("451 no")], 0),
        (vec![Act::raw("250-ok\r\n451 hmm\r\n")], 0),
        (vec![Act::Keep, Act::raw("250-ok\r\n451 hmm\r\n")], 1),
        (vec![Act::Keep, Act::Close], 1),
        (vec![Act::Close], 0),
        (vec![Act::Keep, Act::Reset], 1),
        (vec![Act::Reset], 0),
        (vec![Act::Usual, Act::extra("250 again\r\n")], 1),
        (vec![Act::Delay(Duration::from_millis(1))], 1),
    ];
    for (acts, held) in cases {
        let receiver = Receiver::scripted(Script::new().at(Stage::Dot, acts.clone()))
            .await
            .unwrap();
        let mut client = Client::greeted(&receiver).await;
        client.begin("b@x.test").await;
        client.send(message("<1>")).await;
        client.send("QUIT\r\n").await;
        let _ = client.rest().await;
        assert!(
            receiver
                .wait_until(|receiver| receiver.open_connections() == 0, SOON)
                .await
        );
        assert_eq!(receiver.ledger().total(), held, "{acts:?}");
    }
}

#[tokio::test]
async fn a_close_is_a_fin_and_a_reset_is_a_reset_at_every_stage() {
    let steps: [(Stage, &str); 5] = [
        (Stage::Banner, ""),
        (Stage::Ehlo, "EHLO c\r\n"),
        (Stage::Mail, "EHLO c\r\nMAIL FROM:<a@b>\r\n"),
        (Stage::Rcpt, "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@x.test>\r\n"),
        (
            Stage::Data,
            "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n",
        ),
    ];
    for (stage, input) in steps {
        let receiver = Receiver::scripted(Script::new().at(stage, Act::Close)).await.unwrap();
        let mut client = Client::connect(&receiver).await;
        client.send(input).await;
        client.until_closed().await;
        assert_eq!(receiver.transcripts()[0].ended, Some(Ended::Closed), "{stage:?}");

        let receiver = Receiver::scripted(Script::new().at(stage, Act::Reset)).await.unwrap();
        let mut client = Client::connect(&receiver).await;
        client.send(input).await;
        client.until_reset().await;
        assert_eq!(receiver.transcripts()[0].ended, Some(Ended::Reset), "{stage:?}");
    }
}

#[tokio::test]
async fn content_can_be_cut_after_exactly_so_many_bytes() {
    let receiver = Receiver::scripted(Script::new().at(Stage::Body(10), Act::Reset))
        .await
        .unwrap();
    let mut client = Client::greeted(&receiver).await;
    client.begin("b@x.test").await;
    client.send("12345").await;
    client.send("67890").await;
    client.until_reset().await;
    assert_eq!(receiver.ledger().total(), 0);

    let receiver = Receiver::scripted(Script::new().at(Stage::Body(10), Act::Close))
        .await
        .unwrap();
    let mut client = Client::greeted(&receiver).await;
    client.begin("b@x.test").await;
    client.send("123\r\n.\r\n").await;
    assert_eq!(
        client.reply().await.code(),
        "250",
        "shorter content never comes to that place"
    );
}

#[tokio::test]
async fn a_gate_holds_the_answer_until_the_test_opens_it() {
    let gate = Gate::new();
    let script = Script::new().at(Stage::Dot, [Act::Keep, Act::Wait(gate.clone())]);
    let receiver = Receiver::scripted(script).await.unwrap();
    let mut client = Client::greeted(&receiver).await;
    client.begin("b@x.test").await;
    client.send(message("<1>")).await;
    gate.reached().await;
    assert_eq!(receiver.ledger().total(), 1, "held before it is answered");
    assert_eq!(
        client.stream.try_read(&mut [0; 8]).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
    gate.open();
    assert_eq!(client.reply().await.code(), "250");
}

#[tokio::test]
async fn silence_lasts_until_the_client_goes() {
    let receiver = Receiver::scripted(Script::new().at(Stage::Rcpt, Act::Silence))
        .await
        .unwrap();
    let mut client = Client::greeted(&receiver).await;
    client.say("MAIL FROM:<a@b>").await;
    client.send("RCPT TO:<b@x.test>\r\n").await;
    client.send("NOOP\r\n").await;
    drop(client);
    assert!(
        receiver
            .wait_until(|receiver| receiver.open_connections() == 0, SOON)
            .await
    );
    let transcript = &receiver.transcripts()[0];
    assert!(
        transcript.received.ends_with(b"NOOP\r\n"),
        "what was said into the silence was still read"
    );
    assert!(matches!(transcript.ended, Some(Ended::ClientClosed | Ended::Broken)));
}
