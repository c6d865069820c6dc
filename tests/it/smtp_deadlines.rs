//! Tarpits: each reply has one deadline, however many bytes trickle in (reliability: S1, P5, P7). On made-up time.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use posthaste::clock::Clock;
use posthaste::domain::{Stage, Timestamp};
use posthaste::transport::{Deadlines, Endpoint, OpenError, Session, Transaction};

use crate::smtp_puppet::{Do, greet, puppet, say};
use crate::smtp_world::*;

fn out() -> Endpoint {
    endpoint_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 25)))
}

/// Opens a session with a puppet; says how many seconds that took.
async fn open_puppet(part: Vec<Do>) -> (Result<Session, OpenError>, u64) {
    let (client, _) = puppet(part);
    let dialer = dialer(Deadlines::default());
    let clock = Clock::starting_at(Timestamp(0));
    let opened = dialer.open_over(client, &out()).await;
    (opened, clock.now().0 / 1000)
}

/// Opens a session, sends `bytes`; says what became of it and how many seconds the sending took.
async fn deliver_to_puppet(mut part: Vec<Do>, capabilities: &str, bytes: &[u8]) -> (Transaction, Session, u64) {
    let mut whole = greet(capabilities);
    whole.append(&mut part);
    let mut session = open_puppet(whole).await.0.expect("a session");
    let clock = Clock::starting_at(Timestamp(0));
    let transaction = deliver(&mut session, bytes).await;
    (transaction, session, clock.now().0 / 1000)
}

/// A reply that never ends, one byte each 20 seconds.
fn tarpit(code: &str) -> Do {
    let bytes = format!("{code}-{}", "x".repeat(200));
    Do::Drip(bytes.into_bytes(), Duration::from_secs(20))
}

#[tokio::test(start_paused = true)]
async fn a_tarpit_before_the_session_gets_one_deadline() {
    let starttls = "250-mx.test\r\n250 STARTTLS\r\n";
    let to_ehlo = vec![say("220 mx.test\r\n"), Do::Hear("EHLO out.test\r\n")];
    let to_starttls = [to_ehlo.clone(), vec![say(starttls), Do::Hear("STARTTLS\r\n")]].concat();
    for (part, stage, outcome, seconds) in [
        (vec![tarpit("220")], Stage::Banner, "timeout", 300),
        (vec![Do::Freeze], Stage::Banner, "timeout", 300),
        ([to_ehlo, vec![tarpit("250")]].concat(), Stage::Ehlo, "timeout", 300),
        (
            [to_starttls.clone(), vec![tarpit("220")]].concat(),
            Stage::StartTls,
            "timeout",
            300,
        ),
        (
            [to_starttls, vec![say("220 go\r\n"), Do::Freeze]].concat(),
            Stage::StartTls,
            "tls",
            60,
        ),
    ] {
        let shown = format!("{part:?}");
        let (opened, took) = open_puppet(part).await;
        let error = opened.expect_err("no session");
        assert_eq!(
            (short_error(&error), took),
            ((stage, outcome.to_owned()), seconds),
            "{shown}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_tarpit_in_a_transaction_gets_one_deadline_for_each_reply() {
    let ok = "250 ok\r\n";
    let (after_mail, after_rcpt) = (say(ok), say("250 ok\r\n250 ok\r\n"));
    for (said, stage, seconds) in [
        (vec![tarpit("250")], Stage::MailFrom, 300),
        (vec![after_mail, tarpit("250")], Stage::RcptTo, 300),
        (vec![after_rcpt, tarpit("354")], Stage::Data, 120),
    ] {
        let part = [vec![Do::Hear("DATA\r\n")], said].concat();
        let (transaction, session, took) = deliver_to_puppet(part, "250-PIPELINING\r\n", &message()).await;
        check(&transaction, stage, "timeout", false);
        assert_eq!(took, seconds);
        assert!(!session.reusable(), "after a timeout nothing can be told apart");
    }
    // Each reply of a flight has its own: three that come late, but in time, are no failure.
    let slow = |text: &str| Do::Drip(text.as_bytes().to_vec(), Duration::from_secs(100) / text.len() as u32);
    let part = vec![
        Do::Hear("DATA\r\n"),
        slow(ok),
        slow(ok),
        slow("354 go\r\n"),
        Do::Hear(".\r\n"),
        slow(ok),
    ];
    let (transaction, session, took) = deliver_to_puppet(part, "250-PIPELINING\r\n", &message()).await;
    check(&transaction, Stage::Dot, "250 accepted", true);
    assert!(session.reusable() && took >= 395, "{took} seconds");
}

#[tokio::test(start_paused = true)]
async fn the_reply_to_the_dot_has_ten_minutes_and_no_more() {
    let reply = b"250 ok\r\n".to_vec();
    for (interval, outcome, seconds) in [(74, "250 accepted", 592), (76, "timeout", 600)] {
        let part = vec![
            Do::Hear("DATA\r\n"),
            say("250 ok\r\n250 ok\r\n354 go\r\n"),
            Do::Hear("\r\n.\r\n"),
            Do::Drip(reply.clone(), Duration::from_secs(interval)),
        ];
        let (transaction, session, took) = deliver_to_puppet(part, "250-PIPELINING\r\n", &message()).await;
        check(&transaction, Stage::Dot, outcome, true);
        assert_eq!((took, session.reusable()), (seconds, outcome == "250 accepted"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_taken_is_given_up_without_a_dot() {
    let to_body = vec![Do::Hear("DATA\r\n"), say("250 ok\r\n250 ok\r\n354 go\r\n")];
    let sip = |bytes, seconds| Do::Sip("\r\n.\r\n", bytes, Duration::from_secs(seconds));
    for (taking, outcome, seconds) in [
        // Nothing for 180 s, then 5 s for a last word.
        (Do::Freeze, "timeout", 185..=185),
        // 100 bytes a second: a block is too slow.
        (sip(1000, 10), "timeout", 185..=530),
        // 250 bytes a second: each block is fast enough, the whole is not.
        (sip(2500, 10), "timeout", 525..=535),
        // 1,000 bytes a second: nobody likes it, but mail gets through.
        (sip(4000, 4), "250 accepted", 150..=190),
    ] {
        let bytes = large_message();
        assert!((170_000..175_000).contains(&bytes.len()), "{}", bytes.len());
        let part = [to_body.clone(), vec![taking, say("250 ok\r\n")]].concat();
        let (transaction, session, took) = deliver_to_puppet(part, "250-PIPELINING\r\n", &bytes).await;
        let accepted = outcome == "250 accepted";
        let stage = if accepted { Stage::Dot } else { Stage::Body };
        check(&transaction, stage, outcome, accepted);
        assert!(seconds.contains(&took), "{took} seconds");
        assert_eq!(session.reusable(), accepted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_takes_five_seconds_at_most() {
    let (opened, _) = open_puppet([greet(""), vec![Do::Freeze]].concat()).await;
    let clock = Clock::starting_at(Timestamp(0));
    opened.expect("a session").quit().await;
    assert_eq!(clock.now().0 / 1000, 5);
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_takes_its_time_is_waited_for() {
    let part = vec![
        Do::Hear("DATA\r\n"),
        say("250 ok\r\n250 ok\r\n354 go\r\n"),
        Do::Hear("\r\n.\r\n"),
        say("250 ok\r\n"),
    ];
    for bytes in [message(), large_message()] {
        let whole = [greet("250-PIPELINING\r\n"), part.clone()].concat();
        let mut session = open_puppet(whole).await.0.expect("a session");
        let slowly = async || {
            tokio::time::sleep(Duration::from_secs(1000)).await;
            true
        };
        let transaction = session.deliver(to("bob@mx.test", &bytes), slowly).await;
        check(&transaction, Stage::Dot, "250 accepted", true);
    }
}

#[tokio::test(start_paused = true)]
async fn s8_what_is_said_to_an_idle_session_is_not_taken_for_a_reply() {
    for (said, outcome) in [("250 ok\r\n", "protocol"), ("421 idle\r\n", "421 refused")] {
        let part = vec![
            Do::Hear("DATA\r\n"),
            say("250 ok\r\n250 ok\r\n354 go\r\n"),
            Do::Hear("\r\n.\r\n"),
            say("250 ok\r\n"),
            Do::Drip(said.as_bytes().to_vec(), Duration::from_secs(1)),
        ];
        let (client, heard) = puppet([greet("250-PIPELINING\r\n"), part].concat());
        let opened = dialer(Deadlines::default()).open_over(client, &out()).await;
        let mut session = opened.expect("a session");
        check(&deliver(&mut session, b"a").await, Stage::Dot, "250 accepted", true);
        tokio::time::sleep(Duration::from_secs(60)).await;
        check(&deliver(&mut session, b"b").await, Stage::MailFrom, outcome, false);
        assert!(!session.reusable());
        drop(session);
        let heard = heard.await.expect("the puppet lives");
        assert_eq!(heard.matches("MAIL").count(), 1, "{heard}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_the_middle_of_a_body_ends_it_there() {
    let bytes = large_message();
    let part = vec![
        Do::Hear("DATA\r\n"),
        say("250 ok\r\n250 ok\r\n354 go\r\n"),
        Do::Sip("\r\n00500:", 1, Duration::ZERO),
        say("552 5.3.4 too big\r\n"),
        Do::Hear("an end that does not come"),
    ];
    let (client, heard) = puppet([greet("250-PIPELINING\r\n"), part].concat());
    let opened = dialer(Deadlines::default()).open_over(client, &out()).await;
    let mut session = opened.expect("a session");
    check(&deliver(&mut session, &bytes).await, Stage::Body, "552 refused", false);
    drop(session);
    let heard = heard.await.expect("the puppet lives").len();
    assert!(heard < bytes.len() / 2, "{heard} bytes were sent");
}

#[tokio::test(start_paused = true)]
async fn s17_a_lone_dot_ends_data_that_was_granted_to_nobody() {
    let part = vec![
        Do::Hear("DATA\r\n"),
        say("250 ok\r\n550 who\r\n354 go\r\n"),
        Do::Hear(".\r\n"),
        say("554 nobody\r\n"),
        Do::Hear("DATA\r\n"),
        say("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"),
        Do::Hear("\r\n.\r\n"),
        say("250 ok\r\n"),
        Do::Hear("QUIT\r\n"),
        say("221 bye\r\n"),
    ];
    let (client, heard) = puppet([greet("250-PIPELINING\r\n"), part].concat());
    let opened = dialer(Deadlines::default()).open_over(client, &out()).await;
    let mut session = opened.expect("a session");
    let bytes = b"a\r\n";
    let transaction = session
        .deliver(to("bob@mx.test", bytes), async || -> bool {
            panic!("nothing may leave")
        })
        .await;
    check(&transaction, Stage::RcptTo, "550 refused", false);
    check(&deliver(&mut session, bytes).await, Stage::Dot, "250 accepted", true);
    session.quit().await;
    let flight = "MAIL FROM:<bounce@out.test>\r\nRCPT TO:<bob@mx.test>\r\nDATA\r\n";
    assert_eq!(
        heard.await.expect("the puppet lives"),
        format!("EHLO out.test\r\n{flight}.\r\nRSET\r\n{flight}a\r\n.\r\nQUIT\r\n")
    );
}
