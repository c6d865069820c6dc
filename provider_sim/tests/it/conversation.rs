//! A receiver that behaves well: the protocol, the ledger, the transcript.

use provider_sim::{Bounds, Capabilities, Ended, Keep, Ledger, Login, Receiver, Violation};

use crate::client::{Client, SOON, any_port, listen, message};

#[tokio::test]
async fn a_message_is_taken_unstuffed_and_recorded_before_its_answer() {
    let receiver = listen(Receiver::builder()).await;
    let mut client = Client::greeted(&receiver).await;
    client.begin("b@x.test").await;
    client
        .send("Message-ID: <1@sender.test>\r\n\r\n..dot\r\nplain\r\n.\r\n")
        .await;
    let answer = client.reply().await;
    assert_eq!(answer.0, "250 2.0.0 OK: queued as 1\r\n");

    let records = receiver.ledger().records();
    let copy = &records[0];
    assert_eq!((records.len(), receiver.counters().accepted), (1, 1));
    assert_eq!(
        copy.bytes.as_deref(),
        Some(&b"Message-ID: <1@sender.test>\r\n\r\n.dot\r\nplain\r\n"[..])
    );
    assert_eq!(
        (&*copy.sender, copy.recipient.as_str(), &*copy.helo),
        ("a@sender.test", "b@x.test", "client.test")
    );
    assert_eq!(
        (copy.message_id.as_deref(), copy.tls, copy.connection),
        (Some("<1@sender.test>"), false, 1)
    );
    assert_eq!(receiver.ledger().copies("b@x.test", "<1@sender.test>"), 1);

    assert_eq!(client.say("QUIT").await.code(), "221");
    client.until_closed().await;
    let transcript = &receiver.transcripts()[0];
    assert_eq!(transcript.verbs(), ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]);
    assert_eq!((transcript.ended, &transcript.violations), (Some(Ended::Quit), &vec![]));
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order_in_one_flight() {
    let receiver = listen(Receiver::builder()).await;
    let mut client = Client::greeted(&receiver).await;
    for number in 1..=3 {
        client
            .send("MAIL FROM:<>\r\nRCPT TO:<b@x.test>\r\nRCPT TO:<c@x.test>\r\nDATA\r\n")
            .await;
        let mut codes = Vec::new();
        for _ in 0..4 {
            codes.push(client.reply().await.code().to_owned());
        }
        assert_eq!(codes, ["250", "250", "250", "354"]);
        client.send(message(&format!("<{number}>"))).await;
        assert_eq!(client.reply().await.code(), "250");
    }
    let totals = receiver.ledger().totals();
    assert_eq!((totals.total, totals.unique), (6, 6));
    assert_eq!(receiver.transcripts()[0].violations, []);
}

#[tokio::test]
async fn what_is_offered_is_what_was_configured() {
    let all = listen(Receiver::builder()).await;
    let mut client = Client::connect(&all).await;
    client.reply().await;
    let answer = client.say("EHLO c").await;
    for keyword in [
        "PIPELINING",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "SIZE 67108864",
    ] {
        assert!(answer.offers(keyword), "{keyword} in {answer:?}");
    }
    assert!(!answer.offers("STARTTLS") && !answer.offers("AUTH PLAIN LOGIN"));

    let few = Capabilities {
        pipelining: false,
        eight_bit_mime: false,
        smtp_utf8: false,
        enhanced_status_codes: false,
        size: true,
        size_announced: Some(0),
    };
    let few = listen(Receiver::builder().capabilities(few)).await;
    let mut client = Client::connect(&few).await;
    client.reply().await;
    let answer = client.say("EHLO c").await;
    assert_eq!(answer.0, "250-mx.sim.test at your service\r\n250 SIZE 0\r\n");
}

#[tokio::test]
async fn what_a_client_does_wrong_is_written_down() {
    let plain = Capabilities {
        pipelining: false,
        eight_bit_mime: false,
        ..Capabilities::default()
    };
    let receiver = listen(Receiver::builder().capabilities(plain)).await;
    let mut client = Client::greeted(&receiver).await;
    assert_eq!(client.say("MAIL FROM: <a@b>").await.code(), "501");
    client
        .send("MAIL FROM:<a@b> BODY=8BITMIME SIZE=3\r\nRCPT TO:<b@x.test>\r\n")
        .await;
    assert_eq!(
        (client.reply().await.code(), client.reply().await.code()),
        ("250", "250")
    );
    client.send("DATA\n").await;
    assert_eq!(client.reply().await.code(), "354");
    client.send("bare\nlf\r\n.\r\n").await;
    assert_eq!(client.reply().await.code(), "250");
    let found = receiver.transcripts()[0].violations.clone();
    assert!(
        matches!(&found[0], Violation::Syntax(line) if line == "MAIL FROM: <a@b>"),
        "{found:?}"
    );
    assert!(
        matches!(&found[1], Violation::DidNotWait(line) if line.starts_with("MAIL")),
        "{found:?}"
    );
    assert_eq!(found[2], Violation::ParameterNotOffered("BODY".into()));
    assert_eq!(found[3], Violation::BareLfInCommand);
    assert!(
        matches!(found[4], Violation::Content(odd) if odd.bare_lf == 1),
        "{found:?}"
    );
    assert_eq!(found[5], Violation::SizeUnderstated { declared: 3, actual: 9 });
    assert_eq!(found.len(), 6);
}

#[tokio::test]
async fn commands_out_of_order_are_refused() {
    let receiver = listen(Receiver::builder()).await;
    let mut client = Client::connect(&receiver).await;
    client.reply().await;
    assert_eq!(client.say("MAIL FROM:<a@b>").await.code(), "503");
    assert_eq!(client.say("HELO c").await.code(), "250");
    assert_eq!(client.say("RCPT TO:<a@b>").await.code(), "503");
    assert_eq!(client.say("DATA").await.code(), "554");
    assert_eq!(client.say("MAIL FROM:<a@b>").await.code(), "250");
    assert_eq!(client.say("MAIL FROM:<a@b>").await.code(), "503");
    assert_eq!(client.say("RSET").await.code(), "250");
    assert_eq!(client.say("MAIL FROM:<a@b>").await.code(), "250");
    assert_eq!(client.say("NOOP").await.code(), "250");
    assert_eq!(client.say("STARTTLS").await.code(), "503");
    assert_eq!(client.say("AUTH PLAIN").await.code(), "503");
    assert_eq!(client.say("XYZZY").await.code(), "500");
}

#[tokio::test]
async fn logins_are_compared_and_remembered() {
    let receiver = listen(Receiver::builder().login(Login::required("user", "secret"))).await;
    let mut client = Client::greeted(&receiver).await;
    assert_eq!(client.say("MAIL FROM:<a@b>").await.code(), "530");
    assert_eq!(client.say("AUTH PLAIN AHVzZXIAd3Jvbmc=").await.code(), "535");
    assert_eq!(client.say("AUTH LOGIN").await.0, "334 VXNlcm5hbWU6\r\n");
    assert_eq!(client.say("dXNlcg==").await.0, "334 UGFzc3dvcmQ6\r\n");
    assert_eq!(client.say("c2VjcmV0").await.code(), "235");
    assert_eq!(client.deliver("b@x.test", "<1>").await.code(), "250");

    let mut other = Client::greeted(&receiver).await;
    assert_eq!(other.say("AUTH PLAIN").await.0, "334 \r\n");
    assert_eq!(other.say("AHVzZXIAc2VjcmV0").await.code(), "235");

    let seen: Vec<(String, String, bool)> = receiver
        .transcripts()
        .iter()
        .flat_map(|transcript| transcript.auth.clone())
        .map(|attempt| (attempt.mechanism, attempt.password, attempt.accepted))
        .collect();
    let expect = [
        ("PLAIN", "wrong", false),
        ("LOGIN", "secret", true),
        ("PLAIN", "secret", true),
    ];
    assert_eq!(
        seen,
        expect.map(|(mechanism, password, accepted)| (mechanism.into(), password.into(), accepted))
    );
}

#[tokio::test]
async fn bounds_hold() {
    let bounds = Bounds {
        line_max: 100,
        content_max: 50,
        recipients_max: 1,
        connections_max: 1,
        ..Bounds::default()
    };
    let receiver = listen(Receiver::builder().bounds(bounds)).await;
    let mut client = Client::greeted(&receiver).await;
    assert_eq!(
        Client::connect(&receiver).await.rest().await.0,
        b"",
        "a second connection gets nothing"
    );
    client.say("MAIL FROM:<a@b>").await;
    assert_eq!(client.say("RCPT TO:<a@x.test>").await.code(), "250");
    assert_eq!(client.say("RCPT TO:<b@x.test>").await.code(), "452");
    client.say("DATA").await;
    client.send(format!("{}\r\n.\r\n", "x".repeat(60))).await;
    assert_eq!(client.reply().await.code(), "552");
    client.send("x".repeat(40_000)).await;
    assert_eq!(client.reply().await.code(), "500");
    client.until_closed().await;
    assert_eq!(receiver.ledger().total(), 0);
}

#[tokio::test]
async fn a_killed_receiver_is_gone_and_another_takes_its_place_and_its_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("received");
    let journal = || Ledger::with_journal(Keep::Counts, &path).unwrap();
    let receiver = listen(Receiver::builder().ledger(journal())).await;
    let address = receiver.address();
    let mut client = Client::greeted(&receiver).await;
    assert_eq!(client.deliver("b@x.test", "<1>").await.code(), "250");
    receiver.kill().await;
    let _ = client.rest().await;

    let receiver = Receiver::builder().ledger(journal()).listen(address).await.unwrap();
    assert_eq!(receiver.ledger().total(), 1);
    let mut client = Client::greeted(&receiver).await;
    assert_eq!(client.deliver("b@x.test", "<1>").await.code(), "250");
    assert_eq!(receiver.ledger().duplicates(), 1);
    assert_eq!(Ledger::read_journal(&path).unwrap().len(), 2);
}

#[tokio::test]
async fn a_shutdown_says_421_to_who_is_idle_and_lets_a_running_message_end() {
    let receiver = listen(Receiver::builder()).await;
    let (address, ledger) = (receiver.address(), receiver.ledger().clone());
    let mut idle = Client::greeted(&receiver).await;
    let mut busy = Client::greeted(&receiver).await;
    busy.begin("b@x.test").await;
    let stopping = tokio::spawn(receiver.shutdown());
    assert_eq!(idle.reply().await.code(), "421");
    idle.until_closed().await;
    drop(idle);
    busy.send(message("<1>")).await;
    assert_eq!(busy.reply().await.code(), "250");
    assert_eq!(busy.reply().await.code(), "421");
    drop(busy);
    stopping.await.unwrap();
    assert_eq!(ledger.total(), 1);
    tokio::net::TcpListener::bind(address)
        .await
        .expect("the port is free again");
}

#[tokio::test]
async fn receivers_may_share_a_ledger_that_many_clients_fill() {
    let ledger = Ledger::new(Keep::Records { records_max: 10 });
    let one = listen(Receiver::builder().ledger(ledger.clone()).without_transcripts()).await;
    let two = Receiver::builder()
        .ledger(ledger.clone())
        .listen(any_port())
        .await
        .unwrap();
    let mut clients = Vec::new();
    for number in 0..10 {
        let mut client = Client::greeted(if number % 2 == 0 { &one } else { &two }).await;
        clients.push(tokio::spawn(async move {
            for message in 0..5 {
                client.deliver("b@x.test", &format!("<{number}.{message}>")).await;
            }
        }));
    }
    ledger.wait_for_total(50, SOON).await.unwrap();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!((ledger.unique(), ledger.records().len()), (50, 10));
    assert_eq!((one.counters().accepted, two.counters().accepted), (25, 25));
    assert_eq!((one.transcripts().len(), two.transcripts().len()), (0, 5));
    assert!(one.wait_until(|receiver| receiver.open_connections() == 0, SOON).await);
}
