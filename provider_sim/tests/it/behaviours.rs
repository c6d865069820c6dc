//! Every limit and temper of a provider, seen from the wire, and the words of the five profiles.

use provider_sim::{Behaviour, Counters, Greylist, OnLost, Rate, RateAt, Reason, Receiver, Share};

use crate::client::{Client, SOON, listen, message};

async fn provider(behaviour: Behaviour) -> Receiver {
    listen(Receiver::builder().behaviour(behaviour)).await
}

type Refusals = Vec<(Reason, u64)>;

/// What was deferred and what was rejected.
fn refusals(counters: &Counters) -> (Refusals, Refusals) {
    let list =
        |map: &std::collections::BTreeMap<Reason, u64>| map.iter().map(|(reason, count)| (*reason, *count)).collect();
    (list(&counters.deferred), list(&counters.rejected))
}

#[tokio::test]
async fn a_connection_too_many_is_refused_at_the_banner_and_welcome_when_another_has_gone() {
    let receiver = provider(Behaviour {
        connections_per_ip: Some(1),
        ..Behaviour::default()
    })
    .await;
    let mut first = Client::greeted(&receiver).await;
    let mut second = Client::connect(&receiver).await;
    assert_eq!(
        second.until_closed().await,
        b"421 4.7.0 mx.sim.test Too many connections from 127.0.0.1\r\n"
    );
    first.say("QUIT").await;
    assert!(
        receiver
            .wait_until(|receiver| receiver.open_connections() == 0, SOON)
            .await
    );
    Client::greeted(&receiver).await;
    let counters = receiver.counters();
    assert_eq!(refusals(&counters), (vec![(Reason::ConnectionLimit, 1)], vec![]));
    assert_eq!((counters.connections, counters.connections_peak), (3, 2));
}

#[tokio::test]
async fn the_message_after_the_last_of_a_connection_is_refused_and_the_connection_closed() {
    let receiver = provider(Behaviour {
        messages_per_connection: Some(2),
        ..Behaviour::default()
    })
    .await;
    let mut client = Client::greeted(&receiver).await;
    for id in ["<1>", "<2>"] {
        assert_eq!(client.deliver("b@x.test", id).await.code(), "250");
    }
    client.send("MAIL FROM:<a@b>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n").await;
    assert_eq!(
        client.until_closed().await,
        b"421 4.7.0 mx.sim.test Too many messages on this connection\r\n"
    );
    assert_eq!(receiver.counters().deferred_for(Reason::MessagesPerConnection), 1);
    assert_eq!(
        Client::greeted(&receiver).await.deliver("b@x.test", "<3>").await.code(),
        "250"
    );
}

#[tokio::test]
async fn a_rate_refuses_where_it_says_and_nothing_refused_is_held() {
    for (at, refused_after) in [(RateAt::Mail, "MAIL FROM:<a@b>\r\n"), (RateAt::Dot, "")] {
        let rate = Rate {
            per_second: 0.0,
            burst: 2,
            at,
            cool_down_ms: 0,
        };
        let receiver = provider(Behaviour {
            rate: Some(rate),
            ..Behaviour::default()
        })
        .await;
        let mut client = Client::greeted(&receiver).await;
        client.deliver("b@x.test", "<1>").await;
        client.deliver("b@x.test", "<2>").await;
        if refused_after.is_empty() {
            client.begin("b@x.test").await;
            client.send(message("<3>")).await;
        } else {
            client.send(refused_after).await;
        }
        let words = client.until_closed().await;
        assert!(words.starts_with(b"421 4.7.28 "), "{at:?}");
        assert_eq!(
            refusals(&receiver.counters()),
            (vec![(Reason::Rate, 1)], vec![]),
            "{at:?}"
        );
        assert_eq!(receiver.ledger().total(), 2, "{at:?}");
    }
}

#[tokio::test]
async fn greylisting_refuses_a_first_contact_and_takes_it_later() {
    let behaviour = |delay_ms| Behaviour {
        greylist: Some(Greylist { delay_ms }),
        ..Behaviour::default()
    };
    let never = provider(behaviour(3_600_000)).await;
    let mut client = Client::greeted(&never).await;
    for _ in 0..2 {
        client.say("MAIL FROM:<a@sender.test>").await;
        let answer = client.say("RCPT TO:<b@x.test>").await;
        assert_eq!(answer.0, "451 4.7.1 <b@x.test>: Greylisted, please try again later\r\n");
        assert_eq!(client.say("DATA").await.code(), "554");
        client.say("RSET").await;
    }
    assert_eq!(refusals(&never.counters()), (vec![(Reason::Greylisted, 2)], vec![]));

    let short = provider(behaviour(1)).await;
    let mut client = Client::greeted(&short).await;
    let mut refused = 0;
    client.say("MAIL FROM:<a@sender.test>").await;
    while client.say("RCPT TO:<b@x.test>").await.code() == "451" {
        refused += 1;
    }
    assert!(refused >= 1, "the first contact never passes");
}

#[tokio::test]
async fn unknown_users_are_refused_and_the_others_of_the_message_are_not() {
    let receiver = provider(Behaviour {
        unknown_users: Share::beginning_with("nobody"),
        mailbox_full: Share::beginning_with("full"),
        ..Behaviour::default()
    })
    .await;
    let mut client = Client::greeted(&receiver).await;
    client.say("MAIL FROM:<a@b>").await;
    let unknown = client.say("RCPT TO:<nobody@x.test>").await;
    assert_eq!(
        unknown.0,
        "550 5.1.1 <nobody@x.test>: Recipient address rejected: User unknown\r\n"
    );
    assert_eq!(
        client.say("RCPT TO:<full@x.test>").await.0,
        "452 4.2.2 <full@x.test>: Mailbox full\r\n"
    );
    assert_eq!(client.say("RCPT TO:<bob@x.test>").await.code(), "250");
    client.say("DATA").await;
    client.send(message("<1>")).await;
    assert_eq!(client.reply().await.code(), "250");
    let expect = (vec![(Reason::MailboxFull, 1)], vec![(Reason::UnknownUser, 1)]);
    assert_eq!((refusals(&receiver.counters()), receiver.ledger().total()), (expect, 1));
}

#[tokio::test]
async fn content_and_size_are_refused_after_the_dot_and_a_declared_size_at_mail() {
    let receiver = provider(Behaviour {
        reject_share: 1.0,
        size_max_bytes: Some(1_000),
        ..Behaviour::default()
    })
    .await;
    let mut client = Client::connect(&receiver).await;
    client.reply().await;
    assert!(client.say("EHLO c").await.offers("SIZE 1000"));
    assert_eq!(
        client.say("MAIL FROM:<a@b> SIZE=1001").await.0,
        "552 5.3.4 Message too big\r\n"
    );
    assert_eq!(client.deliver("b@x.test", "<1>").await.code(), "554");
    client.begin("b@x.test").await;
    client.send(format!("{}\r\n.\r\n", "y".repeat(1_001))).await;
    assert_eq!(client.reply().await.code(), "552");
    let expect = vec![(Reason::Content, 1), (Reason::TooBig, 2)];
    assert_eq!(
        (refusals(&receiver.counters()).1, receiver.ledger().total()),
        (expect, 0)
    );
}

#[tokio::test]
async fn a_slow_provider_answers_in_the_end_and_counts_before_it_does() {
    let receiver = provider(Behaviour {
        banner_delay_ms: 1,
        message_delay_ms: 1,
        ..Behaviour::default()
    })
    .await;
    let mut client = Client::connect(&receiver).await;
    client.send("EHLO too-early\r\n").await;
    assert_eq!(client.reply().await.code(), "220");
    assert_eq!(client.reply().await.code(), "250");
    assert_eq!(client.deliver("b@x.test", "<1>").await.code(), "250");
    assert_eq!(receiver.ledger().total(), 1);
}

#[tokio::test]
async fn a_message_whose_client_is_gone_is_kept_or_dropped_or_one_of_the_two() {
    let table = [(OnLost::Keep, 20..=20), (OnLost::Drop, 0..=0), (OnLost::Coin, 1..=19)];
    for (on_lost, expect) in table {
        let receiver = provider(Behaviour {
            message_delay_ms: 20,
            on_lost,
            ..Behaviour::default()
        })
        .await;
        for number in 0..20 {
            let mut client = Client::greeted(&receiver).await;
            client.begin(&format!("user{number}@x.test")).await;
            client.send(format!("Message-ID: <{number}>\r\n\r\nx\r\n.\r\n")).await;
        }
        let over = |receiver: &Receiver| receiver.counters().connections == 20 && receiver.open_connections() == 0;
        assert!(receiver.wait_until(over, SOON).await, "{on_lost:?}");
        let total = receiver.ledger().total();
        assert!(expect.contains(&total), "{on_lost:?}: {total}");
        let mut client = Client::greeted(&receiver).await;
        assert_eq!(client.deliver("b@x.test", "<here>").await.code(), "250", "{on_lost:?}");
        assert_eq!(receiver.ledger().total(), total + 1, "a client that stays is served");
    }
}

#[tokio::test]
async fn the_five_profiles_greet_accept_and_refuse_in_their_own_words() {
    let table = [
        (
            Behaviour::google_like(),
            "250 2.0.0 OK  1722470400 98e67ed59e1d1-1 - gsmtp\r\n",
            "550-5.1.1 The email account",
        ),
        (
            Behaviour::outlook_like(),
            "250 2.6.0 <1@mx.outlook-like.test> [InternalId=1] Queued mail for delivery\r\n",
            "550 5.5.0 Requested action not taken: mailbox unavailable",
        ),
        (
            Behaviour::yahoo_like(),
            "250 ok dirdel\r\n",
            "554 delivery error: dd This user doesn't have",
        ),
        (
            Behaviour::tencent_like(),
            "250 OK: queued as 1\r\n",
            "550 The recipient may contain a non-existent account",
        ),
        (Behaviour::company(), "250 2.0.0 OK: queued as 1\r\n", "550 5.1.1 <"),
    ];
    for (mut behaviour, accepted, unknown) in table {
        behaviour.greylist = None;
        let name = behaviour.name.clone();
        let users: Vec<String> = (0..2_000).map(|number| format!("user{number}@x.test")).collect();
        let lost = users
            .iter()
            .find(|user| behaviour.is_unknown(user))
            .expect("each profile has unknown users")
            .clone();
        let found = users
            .iter()
            .find(|user| !behaviour.is_unknown(user) && !behaviour.is_full(user))
            .unwrap()
            .clone();
        let receiver = provider(behaviour).await;
        let mut client = Client::greeted(&receiver).await;
        client.say("MAIL FROM:<a@b>").await;
        let answer = client.say(&format!("RCPT TO:<{lost}>")).await;
        assert!(answer.0.starts_with(unknown), "{name}: {answer:?}");
        client.say("RSET").await;
        assert_eq!(client.deliver(&found, "<1>").await.0, accepted, "{name}");
    }
}

#[tokio::test]
async fn a_connection_limit_said_with_550_closes_too() {
    let mut behaviour = Behaviour::tencent_like();
    behaviour.messages_per_connection = Some(0);
    let receiver = provider(behaviour).await;
    let mut client = Client::greeted(&receiver).await;
    client.send("MAIL FROM:<a@b>\r\n").await;
    assert!(
        client
            .until_closed()
            .await
            .starts_with(b"550 Connection frequency limited")
    );
    assert_eq!(receiver.counters().rejected_for(Reason::MessagesPerConnection), 1);
}
