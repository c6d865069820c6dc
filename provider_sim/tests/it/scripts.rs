//! Every scripted act does what it says.

use std::time::Duration;

use provider_sim::{Act, Ended, Gate, Receiver, Script, Stage, Violation, odd_replies};

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

#[tokio::test]
async fn odd_replies_arrive_byte_for_byte_and_the_message_is_held() {
    for odd in odd_replies() {
        let receiver = Receiver::scripted(Script::new().at(Stage::Dot, odd.acts()))
            .await
            .unwrap();
        let mut client = Client::greeted(&receiver).await;
        client.begin("b@x.test").await;
        client.send(message("<1>")).await;
        client.send("QUIT\r\n").await;
        let mut expect = odd.bytes.clone();
        expect.extend(b"221 2.0.0 Bye\r\n");
        assert!(client.until_closed().await == expect, "{}", odd.name);
        assert_eq!(receiver.ledger().copies("b@x.test", "<1>"), 1, "{}", odd.name);
    }
}

#[tokio::test]
async fn a_receiver_can_speak_before_it_is_asked_and_answer_twice() {
    let script = Script::new()
        .at(Stage::Banner, [Act::Usual, Act::extra("250 hello\r\n")])
        .at(Stage::Mail, [Act::reply("250 one"), Act::reply("250 two")])
        .at(Stage::Rcpt, [Act::extra("250-\r\n"), Act::Flush]);
    let receiver = Receiver::scripted(script).await.unwrap();
    let mut client = Client::connect(&receiver).await;
    assert_eq!(client.reply().await.code(), "220");
    assert_eq!(client.reply().await.0, "250 hello\r\n");
    client.say("EHLO c").await;
    assert_eq!(client.say("MAIL FROM:<a@b>").await.0, "250 one\r\n");
    assert_eq!(client.reply().await.0, "250 two\r\n");
    assert_eq!(
        client.say("RCPT TO:<b@x.test>").await.0,
        "250-\r\n250 2.1.5 Recipient ok\r\n"
    );
}

#[tokio::test]
async fn ehlo_can_be_refused_where_helo_is_taken() {
    let receiver = Receiver::scripted(Script::new().at(Stage::Ehlo, Act::reply("502 5.5.1 what?")))
        .await
        .unwrap();
    let mut client = Client::connect(&receiver).await;
    client.reply().await;
    assert_eq!(client.say("EHLO c").await.code(), "502");
    assert_eq!(client.say("MAIL FROM:<a@b>").await.code(), "503");
    assert_eq!(client.say("HELO c").await.code(), "250");
    assert_eq!(client.deliver("b@x.test", "<1>").await.code(), "250");
}

#[tokio::test]
async fn a_scripted_421_closes_at_every_stage_and_a_raw_one_does_not() {
    let all = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nx\r\n.\r\nNOOP\r\nRSET\r\n";
    let stages = [
        Stage::Banner,
        Stage::Ehlo,
        Stage::Mail,
        Stage::Rcpt,
        Stage::Data,
        Stage::Dot,
        Stage::Noop,
        Stage::Rset,
    ];
    for stage in stages {
        let receiver = Receiver::scripted(Script::new().at(stage, Act::reply("421 4.3.2 gone")))
            .await
            .unwrap();
        let mut client = Client::connect(&receiver).await;
        client.send(all).await;
        let said = String::from_utf8(client.until_closed().await).unwrap();
        assert!(said.ends_with("421 4.3.2 gone\r\n"), "{stage:?}: {said}");
        let held = u64::from(matches!(stage, Stage::Noop | Stage::Rset));
        assert_eq!(receiver.ledger().total(), held, "{stage:?}");
    }
    let receiver = Receiver::scripted(Script::new().at(Stage::Noop, Act::raw("421 not really\r\n")))
        .await
        .unwrap();
    let mut client = Client::greeted(&receiver).await;
    assert_eq!(client.say("NOOP").await.code(), "421");
    assert_eq!(client.say("RSET").await.code(), "250");
}

#[tokio::test]
async fn dripped_and_split_answers_are_whole_in_the_end() {
    let script = Script::new().at(Stage::Mail, Act::drip("250 slow\r\n", Duration::from_micros(100)));
    let receiver = Receiver::scripted(script).await.unwrap();
    let mut client = Client::greeted(&receiver).await;
    assert_eq!(client.say("MAIL FROM:<a@b>").await.0, "250 slow\r\n");
    assert_eq!(
        client.say("RCPT TO:<b@x.test>").await.code(),
        "250",
        "a dripped 250 is a 250"
    );

    let receiver = Receiver::scripted(Script::new().one_byte_segments()).await.unwrap();
    let mut client = Client::connect(&receiver).await;
    let mut first = [0; 1];
    assert_eq!(client.stream.peek(&mut first).await.unwrap(), 1);
    assert_eq!(client.reply().await.0, "220 mx.sim.test ESMTP ready\r\n");
    client.say("EHLO c").await;
    assert_eq!(client.deliver("b@x.test", "<1>").await.code(), "250");
}

#[tokio::test]
async fn what_came_before_the_banner_is_written_down() {
    let gate = Gate::new();
    let receiver = Receiver::scripted(Script::new().at(Stage::Banner, [Act::Wait(gate.clone()), Act::Listen]))
        .await
        .unwrap();
    let mut client = Client::connect(&receiver).await;
    gate.reached().await;
    client.send("EHLO early\r\n").await;
    gate.open();
    assert_eq!(client.reply().await.code(), "220");
    assert_eq!(client.reply().await.code(), "250");
    assert_eq!(receiver.transcripts()[0].violations, [Violation::BeforeBanner]);
}

#[tokio::test]
async fn a_script_that_is_used_up_lets_a_second_try_succeed() {
    let script = Script::new().times(1).at(Stage::Dot, [Act::Keep, Act::Reset]);
    let receiver = Receiver::scripted(script).await.unwrap();
    for expect in ["", "250"] {
        let mut client = Client::greeted(&receiver).await;
        client.begin("b@x.test").await;
        client.send(message("<1>")).await;
        if expect.is_empty() {
            client.until_reset().await;
        } else {
            assert_eq!(client.reply().await.code(), expect);
        }
    }
    assert_eq!((receiver.ledger().total(), receiver.ledger().duplicates()), (2, 1));
}
