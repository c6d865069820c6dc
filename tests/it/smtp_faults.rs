//! What receivers do wrong, each with the one right outcome, over real sockets (reliability: S2-S9, S13-S17, S20, 1.3 B).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use posthaste::domain::{DnsFailure, Failure, Stage, TlsPolicy};
use posthaste::transport::{Deadlines, DialerSettings, TransactionOutcome};
use provider_sim::{Act, Capabilities, Ended, Gate, Receiver, Script, Stage as At};

use crate::smtp_world::*;

async fn scripted(script: Script) -> Receiver {
    Receiver::scripted(script).await.expect("a port of loopback")
}

async fn offering(capabilities: Capabilities, script: Script) -> Receiver {
    let builder = Receiver::builder().capabilities(capabilities).script(script);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    builder.listen(address).await.expect("a port of loopback")
}

fn without_pipelining() -> Capabilities {
    Capabilities {
        pipelining: false,
        ..Capabilities::default()
    }
}

#[tokio::test]
async fn a_message_arrives_whole_and_the_session_carries_the_next_one() {
    for capabilities in [Capabilities::default(), without_pipelining()] {
        let receiver = offering(capabilities, Script::new()).await;
        let mut session = open(&receiver).await;
        for bytes in [message(), large_message(), message()] {
            let transaction = deliver(&mut session, &bytes).await;
            check(&transaction, Stage::Dot, "250 accepted", true);
            assert!(session.reusable() && !session.idle_check());
            let records = receiver.ledger().records();
            let held = records.last().and_then(|record| record.bytes.clone()).expect("a copy");
            assert!(*held == bytes, "what arrived is what was sent");
        }
        session.quit().await;
        let ended = |receiver: &Receiver| receiver.transcripts()[0].ended.is_some();
        assert!(receiver.wait_until(ended, SOON).await);
        let transcript = &receiver.transcripts()[0];
        assert_eq!(transcript.ended, Some(Ended::Quit));
        let transaction = ["MAIL", "RCPT", "DATA"];
        let verbs = [&["EHLO"][..], &transaction, &transaction, &transaction, &["QUIT"]].concat();
        assert_eq!(transcript.verbs(), verbs, "no RSET, no NOOP");
        assert_well_behaved(&receiver);
    }
}

#[tokio::test]
async fn s2_a_connection_that_breaks_before_the_dot_leaves_no_copy() {
    for act in [Act::Close, Act::Reset] {
        let receiver = scripted(Script::new().at(At::Body(50_000), act.clone())).await;
        let mut session = open(&receiver).await;
        let bytes = large_message();
        let broken = async || {
            let ended = |receiver: &Receiver| receiver.open_connections() == 0;
            assert!(receiver.wait_until(ended, SOON).await);
            true
        };
        let transaction = session.deliver(to("bob@mx.test", &bytes), broken).await;
        check(&transaction, Stage::Body, "lost", false);
        assert!(!session.reusable());
        assert_eq!(receiver.ledger().total(), 0);
    }
}

#[tokio::test]
async fn s2_a_peer_that_is_gone_before_a_small_body_gets_no_dot() {
    let acts = vec![Act::reply("354 go"), Act::Close];
    let receiver = scripted(Script::new().at(At::Data, acts)).await;
    let mut session = open(&receiver).await;
    let bytes = message();
    let gone = async || {
        let ended = |receiver: &Receiver| receiver.open_connections() == 0;
        assert!(receiver.wait_until(ended, SOON).await);
        // Lets the runtime see what the kernel knows.
        tokio::task::yield_now().await;
        true
    };
    let transaction = session.deliver(to("bob@mx.test", &bytes), gone).await;
    check(&transaction, Stage::Body, "lost", false);
}

#[tokio::test]
async fn s3_a_421_is_a_refusal_at_its_stage_and_ends_the_session() {
    for (at, stage) in [(At::Banner, Stage::Banner), (At::Ehlo, Stage::Ehlo)] {
        let receiver = scripted(Script::new().at(at, Act::reply("421 4.3.2 busy"))).await;
        let error = dialer(Deadlines::default())
            .open(&endpoint(&receiver))
            .await
            .expect_err("a refusal");
        assert_eq!(short_error(&error), (stage, "421 refused".to_owned()));
    }
    for (at, stage, dot_sent) in [
        (At::Mail, Stage::MailFrom, false),
        (At::Rcpt, Stage::RcptTo, false),
        (At::Data, Stage::Data, false),
        (At::Dot, Stage::Dot, true),
    ] {
        for capabilities in [Capabilities::default(), without_pipelining()] {
            let script = Script::new().at(at, Act::reply("421 4.3.2 busy"));
            let receiver = offering(capabilities, script).await;
            let mut session = open(&receiver).await;
            let transaction = deliver(&mut session, &message()).await;
            check(&transaction, stage, "421 refused", dot_sent);
            assert!(!session.reusable(), "{at:?}");
            assert_eq!(receiver.ledger().total(), 0);
            assert_well_behaved(&receiver);
        }
    }
}

#[tokio::test]
async fn s4_s5_refusals_keep_their_stage_and_the_session() {
    for (at, stage, dot_sent) in [
        (At::Mail, Stage::MailFrom, false),
        (At::Rcpt, Stage::RcptTo, false),
        (At::Data, Stage::Data, false),
        (At::Dot, Stage::Dot, true),
    ] {
        for text in [
            "450 4.2.0 greylisted",
            "571 5.7.1 blocked",
            "552-5.2.2 full\r\n552 5.2.2 up",
        ] {
            for capabilities in [Capabilities::default(), without_pipelining()] {
                let script = Script::new().times(1).at(at, Act::reply(text));
                let receiver = offering(capabilities, script).await;
                let mut session = open(&receiver).await;
                let transaction = deliver(&mut session, &message()).await;
                let outcome = format!("{} refused", &text[..3]);
                check(&transaction, stage, &outcome, dot_sent);
                let transaction = deliver(&mut session, &message()).await;
                check(&transaction, Stage::Dot, "250 accepted", true);
                let verbs = receiver.transcripts()[0].verbs();
                let resets = verbs.iter().filter(|verb| *verb == "RSET").count();
                assert_eq!(resets, 1, "{verbs:?}");
                assert_eq!(receiver.ledger().total(), 1);
                assert_well_behaved(&receiver);
            }
        }
    }
}

#[tokio::test]
async fn s4_the_source_address_is_the_one_that_was_asked_for() {
    let receiver = scripted(Script::new()).await;
    let source = IpAddr::from([127, 0, 0, 2]);
    let mut endpoint = endpoint(&receiver);
    endpoint.source = Some(source);
    let session = dialer(Deadlines::default()).open(&endpoint).await.expect("a session");
    assert_eq!(receiver.transcripts()[0].peer.ip(), source);
    drop(session);
}

#[tokio::test]
async fn s6_s7_an_odd_reply_to_the_dot_is_what_its_code_says() {
    let dot_replies: Vec<(Vec<u8>, &str, bool)> = vec![
        (b"250 2.0.0 \xb3\xc9\xb9\xa6\r\n".to_vec(), "250 accepted", true),
        (
            format!("250 {}\r\n", "x".repeat(6000)).into_bytes(),
            "250 accepted",
            true,
        ),
        ("250-ok\r\n".repeat(10_000).into_bytes(), "250 accepted", false),
        ("250 ok".repeat(20_000).into_bytes(), "250 accepted", false),
        (b"250 ok\n".to_vec(), "250 accepted", true),
        (b"250\r\n".to_vec(), "250 accepted", true),
        (b"2500K\r\n".to_vec(), "protocol", false),
        (b"OK queued\r\n".to_vec(), "protocol", false),
        (b"250-ok\r\n451 hmm\r\n".to_vec(), "451 refused", true),
        (b"\r\n250 ok\r\n".to_vec(), "250 accepted", true),
    ];
    for (reply, outcome, reusable) in dot_replies {
        let shown = String::from_utf8_lossy(&reply[..reply.len().min(40)]).into_owned();
        let receiver = scripted(Script::new().times(1).at(At::Dot, [Act::Keep, Act::raw(reply)])).await;
        let mut session = open(&receiver).await;
        let transaction = deliver(&mut session, &message()).await;
        check(&transaction, Stage::Dot, outcome, true);
        assert_eq!(session.reusable(), reusable, "{shown:?}");
        if reusable {
            let transaction = deliver(&mut session, &message()).await;
            check(&transaction, Stage::Dot, "250 accepted", true);
        }
        session.quit().await;
        assert_well_behaved(&receiver);
    }
}

#[tokio::test]
async fn s7_a_greeting_without_an_end_is_no_session() {
    for greeting in [
        "220-welcome\r\n".repeat(6000),
        "220 x".repeat(20_000),
        "x".repeat(100_000),
    ] {
        let receiver = scripted(Script::new().at(At::Banner, Act::raw(greeting))).await;
        let opened = dialer(Deadlines::default()).open(&endpoint(&receiver)).await;
        let error = opened.expect_err("no session");
        assert_eq!(short_error(&error), (Stage::Banner, "protocol".to_owned()));
    }
}

#[tokio::test]
async fn s8_replies_that_nobody_asked_for_end_the_session() {
    // Behind the greeting.
    let early = vec![Act::Usual, Act::extra("250 hello\r\n")];
    let receiver = scripted(Script::new().at(At::Banner, early)).await;
    let opened = dialer(Deadlines::default()).open(&endpoint(&receiver)).await;
    assert_eq!(short_error(&opened.expect_err("no session")).1, "protocol");
    // Behind the reply to the dot, in the same segment.
    let extra = vec![Act::Usual, Act::extra("250 again\r\n")];
    let receiver = scripted(Script::new().at(At::Dot, extra)).await;
    let mut session = open(&receiver).await;
    let transaction = deliver(&mut session, &message()).await;
    check(&transaction, Stage::Dot, "250 accepted", true);
    assert!(!session.reusable() && session.idle_check());
    let transaction = deliver(&mut session, &message()).await;
    check(&transaction, Stage::MailFrom, "lost", false);
    assert_eq!(receiver.ledger().total(), 1);
}

#[tokio::test]
async fn s8_a_250_before_the_dot_is_not_taken_for_the_reply_to_it() {
    for (extra, outcome) in [("250 ok\r\n", "protocol"), ("552 5.3.4 too big\r\n", "552 refused")] {
        let acts = vec![Act::reply("354 go"), Act::extra(extra)];
        let receiver = scripted(Script::new().at(At::Data, acts)).await;
        let mut session = open(&receiver).await;
        let transaction = deliver(&mut session, &message()).await;
        check(&transaction, Stage::Body, outcome, false);
        assert!(!session.reusable());
        drop(session);
        let ended = |receiver: &Receiver| receiver.open_connections() == 0;
        assert!(receiver.wait_until(ended, SOON).await);
        assert_eq!(receiver.ledger().total(), 0);
    }
}

#[tokio::test]
async fn s8_an_idle_session_that_was_closed_or_spoken_to_is_noticed() {
    let gate = Gate::new();
    for last in [Act::Close, Act::extra("421 idle\r\n")] {
        let acts = vec![Act::Usual, Act::Wait(gate.clone()), last];
        let receiver = scripted(Script::new().at(At::Dot, acts)).await;
        let mut session = open(&receiver).await;
        let transaction = deliver(&mut session, &message()).await;
        check(&transaction, Stage::Dot, "250 accepted", true);
        gate.open();
        let noticed = async {
            while !session.idle_check() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, noticed).await.expect("noticed");
        assert!(!session.reusable());
    }
}

#[tokio::test]
async fn s9_no_reply_to_the_dot_is_ambiguous_whatever_the_receiver_did() {
    let deadlines = Deadlines {
        dot: SCALED,
        ..Deadlines::default()
    };
    for (acts, outcome, held) in [
        (vec![Act::Keep, Act::Reset], "lost", 1),
        (vec![Act::Keep, Act::Close], "lost", 1),
        (vec![Act::Reset], "lost", 0),
        (vec![Act::Keep, Act::Silence], "timeout", 1),
        (vec![Act::Keep, Act::raw("250-"), Act::Close], "lost", 1),
        (vec![Act::raw("250 2.0.0 ok"), Act::Close], "250 accepted", 1),
    ] {
        for bytes in [message(), large_message()] {
            let receiver = scripted(Script::new().at(At::Dot, acts.clone())).await;
            let opened = dialer(deadlines).open(&endpoint(&receiver)).await;
            let mut session = opened.expect("a session");
            let transaction = deliver(&mut session, &bytes).await;
            check(&transaction, Stage::Dot, outcome, true);
            assert_eq!(receiver.ledger().total(), held, "{acts:?}");
            assert!(!session.idle_check() || !session.reusable());
        }
    }
}

#[tokio::test]
async fn s13_helo_follows_a_refused_ehlo_and_a_host_that_refuses_both_is_no_host() {
    let receiver = scripted(Script::new().at(At::Ehlo, Act::reply("502 5.5.1 what?"))).await;
    let mut session = open(&receiver).await;
    let transaction = deliver(&mut session, &message()).await;
    check(&transaction, Stage::Dot, "250 accepted", true);
    assert_eq!(
        receiver.transcripts()[0].verbs(),
        ["EHLO", "HELO", "MAIL", "RCPT", "DATA"]
    );
    assert_well_behaved(&receiver);
    let script = Script::new()
        .at(At::Ehlo, Act::reply("550 no"))
        .at(At::Helo, Act::reply("554 no"));
    let receiver = scripted(script).await;
    let opened = dialer(Deadlines::default()).open(&endpoint(&receiver)).await;
    let error = opened.expect_err("no session");
    assert_eq!(short_error(&error), (Stage::Ehlo, "554 refused".to_owned()));
}

#[tokio::test]
async fn s14_a_message_larger_than_announced_is_not_sent() {
    for (limit, outcome) in [
        (Some(50), "unsupported"),
        (Some(0), "250 accepted"),
        (Some(500), "250 accepted"),
    ] {
        let capabilities = Capabilities {
            size_announced: limit,
            ..Capabilities::default()
        };
        let receiver = offering(capabilities, Script::new()).await;
        let mut session = open(&receiver).await;
        let transaction = deliver(&mut session, &message()).await;
        assert_eq!(short(&transaction), outcome, "{limit:?}");
        assert!(session.reusable());
        let said_mail = receiver.transcripts()[0].verbs().contains(&"MAIL".to_owned());
        assert_eq!(said_mail, outcome != "unsupported");
    }
}

#[tokio::test]
async fn s15_a_local_part_beyond_ascii_needs_smtputf8() {
    for (offered, outcome) in [(true, "250 accepted"), (false, "unsupported")] {
        let capabilities = Capabilities {
            smtp_utf8: offered,
            eight_bit_mime: false,
            ..Capabilities::default()
        };
        let receiver = offering(capabilities, Script::new()).await;
        let mut session = open(&receiver).await;
        let bytes = message();
        let transaction = session.deliver(to("jürgen@mx.test", &bytes), || async { true }).await;
        assert_eq!(short(&transaction), outcome);
        let transaction = deliver(&mut session, &message()).await;
        check(&transaction, Stage::Dot, "250 accepted", true);
        assert_well_behaved(&receiver);
    }
}

#[tokio::test]
async fn s16_a_421_after_some_messages_is_no_loss() {
    let script = Script::new().on_message(3).at(At::Mail, Act::reply("421 4.7.0 enough"));
    let receiver = scripted(script).await;
    let mut session = open(&receiver).await;
    for (stage, outcome, dot_sent) in [
        (Stage::Dot, "250 accepted", true),
        (Stage::Dot, "250 accepted", true),
        (Stage::MailFrom, "421 refused", false),
    ] {
        let transaction = deliver(&mut session, &message()).await;
        check(&transaction, stage, outcome, dot_sent);
    }
    assert!(!session.reusable());
    assert_eq!(receiver.ledger().total(), 2);
}

#[tokio::test]
async fn s17_each_recipient_has_an_outcome_of_its_own() {
    let script = Script::new()
        .to("bad")
        .at(At::Rcpt, Act::reply("550 5.1.1 who"))
        .to("many")
        .at(At::Rcpt, Act::reply("452 4.5.3 too many"));
    let receiver = scripted(script).await;
    let mut session = open(&receiver).await;
    for round in 0..3 {
        for (recipient, outcome) in [
            ("good@mx.test", "250 accepted"),
            ("bad@mx.test", "550 refused"),
            ("many@mx.test", "452 refused"),
        ] {
            let bytes = message();
            let transaction = session.deliver(to(recipient, &bytes), || async { true }).await;
            assert_eq!(short(&transaction), outcome, "{recipient}, round {round}");
        }
    }
    let ledger = receiver.ledger();
    assert_eq!((ledger.total(), ledger.records_for("good@mx.test").len()), (3, 3));
    assert_well_behaved(&receiver);
}

#[tokio::test]
async fn s20_replies_in_single_bytes_change_nothing() {
    for capabilities in [Capabilities::default(), without_pipelining()] {
        let script = Script::new()
            .to("bad")
            .at(At::Rcpt, Act::reply("550-5.1.1 no\r\n550 5.1.1 user"))
            .one_byte_segments();
        let receiver = offering(capabilities, script).await;
        let mut session = open(&receiver).await;
        for (recipient, outcome) in [
            ("bob@mx.test", "250 accepted"),
            ("bad@mx.test", "550 refused"),
            ("eve@mx.test", "250 accepted"),
        ] {
            let bytes = message();
            let transaction = session.deliver(to(recipient, &bytes), || async { true }).await;
            assert_eq!(short(&transaction), outcome, "{recipient}");
        }
        assert_eq!(receiver.ledger().total(), 2);
        assert_well_behaved(&receiver);
    }
}

#[tokio::test]
async fn a_gate_that_says_no_keeps_the_dot_here() {
    for bytes in [message(), large_message()] {
        let receiver = scripted(Script::new()).await;
        let mut session = open(&receiver).await;
        let transaction = session.deliver(to("bob@mx.test", &bytes), || async { false }).await;
        check(&transaction, Stage::Body, "withheld", false);
        assert!(!session.reusable());
        session.quit().await;
        let ended = |receiver: &Receiver| receiver.open_connections() == 0;
        assert!(receiver.wait_until(ended, SOON).await);
        assert_eq!(receiver.ledger().total(), 0);
        let received = &receiver.transcripts()[0].received;
        assert!(!received.windows(5).any(|bytes| bytes == b"\r\n.\r\n"));
        assert!(!String::from_utf8_lossy(received).contains("QUIT"));
    }
}

#[tokio::test]
async fn a_large_body_is_on_its_way_while_the_gate_is_shut() {
    let far = Gate::new();
    let receiver = scripted(Script::new().at(At::Body(60_000), Act::Wait(far.clone()))).await;
    let mut session = open(&receiver).await;
    let bytes = large_message();
    let shut = async || {
        far.reached().await;
        far.open();
        assert_eq!(receiver.ledger().total(), 0);
        true
    };
    let delivered = tokio::time::timeout(SOON, session.deliver(to("bob@mx.test", &bytes), shut));
    check(&delivered.await.expect("in time"), Stage::Dot, "250 accepted", true);
    assert_eq!(receiver.ledger().total(), 1);
}

#[tokio::test]
async fn the_gate_is_not_asked_before_the_receiver_is_ready() {
    let receiver = scripted(Script::new().at(At::Data, Act::reply("451 4.3.0 no"))).await;
    let mut session = open(&receiver).await;
    let bytes = message();
    let never = async || -> bool { panic!("nothing may leave") };
    let transaction = session.deliver(to("bob@mx.test", &bytes), never).await;
    check(&transaction, Stage::Data, "451 refused", false);
}

#[tokio::test]
async fn a_body_that_is_refused_half_way_is_not_sent_to_its_end() {
    let acts = vec![Act::extra("552 5.3.4 too big\r\n"), Act::Flush, Act::Silence];
    let receiver = scripted(Script::new().at(At::Body(50_000), acts)).await;
    let mut session = open(&receiver).await;
    let mut bytes = large_message();
    for _ in 0..6 {
        bytes.extend_from_within(..);
    }
    let transaction = deliver(&mut session, &bytes).await;
    check(&transaction, Stage::Body, "552 refused", false);
    assert!(!session.reusable());
}

#[tokio::test]
async fn addresses_that_lead_home_are_not_dialled() {
    let receiver = scripted(Script::new()).await;
    let mut to_loopback = endpoint(&receiver);
    to_loopback.allow_private = false;
    to_loopback.tls = TlsPolicy::Off;
    let guarded = dialer(Deadlines::default());
    let error = guarded.open(&to_loopback).await.expect_err("forbidden");
    assert_eq!(error.stage, Stage::Connect);
    let forbidden = Failure::Dns(DnsFailure::Forbidden);
    assert_eq!(error.outcome, posthaste::domain::AttemptOutcome::Failed(forbidden));
    assert_eq!(receiver.transcripts().len(), 0);
    let settings = DialerSettings {
        allowed: vec!["127.0.0.0/8".parse().expect("a network")],
        ..DialerSettings::default()
    };
    let allowing = posthaste::transport::Dialer::new(settings, posthaste::clock::Clock::system());
    let opened = allowing.expect("no extra roots").open(&to_loopback).await;
    assert!(opened.is_ok());
}

#[tokio::test]
async fn a_source_address_that_is_not_ours_is_our_failure() {
    let receiver = scripted(Script::new()).await;
    let dialer = dialer(Deadlines::default());
    for source in ["203.0.113.7", "::1"] {
        let mut endpoint = endpoint(&receiver);
        endpoint.source = Some(source.parse().expect("an address"));
        let error = dialer.open(&endpoint).await.expect_err("no such source");
        assert_eq!(short_error(&error), (Stage::Connect, "local".to_owned()));
        let posthaste::domain::AttemptOutcome::Failed(Failure::Local(text)) = error.outcome else {
            panic!("not local");
        };
        assert!(text.contains(source), "{text}");
    }
    assert_eq!(receiver.transcripts().len(), 0);
}

#[tokio::test]
async fn where_nothing_listens_the_connection_is_refused() {
    let receiver = scripted(Script::new()).await;
    let endpoint = endpoint(&receiver);
    receiver.kill().await;
    let error = dialer(Deadlines::default()).open(&endpoint).await.expect_err("dead");
    assert_eq!(short_error(&error), (Stage::Connect, "connection refused".to_owned()));
}

#[tokio::test]
async fn a_session_can_be_dropped_in_the_middle_of_anything() {
    for at in [At::Mail, At::Data, At::Dot] {
        let gate = Gate::new();
        let receiver = scripted(Script::new().at(at, Act::Wait(gate.clone()))).await;
        let mut session = open(&receiver).await;
        let bytes = message();
        tokio::select! {
            transaction = deliver(&mut session, &bytes) => panic!("it ended: {transaction:?}"),
            () = gate.reached() => {}
        }
        assert!(!session.reusable(), "{at:?}: half a conversation is no session");
        let transaction = deliver(&mut session, &bytes).await;
        assert!(matches!(
            transaction.outcome,
            TransactionOutcome::Failed(Failure::ConnectionLost)
        ));
        assert!(!transaction.dot_sent);
        drop(session);
        gate.open();
        let ended = |receiver: &Receiver| receiver.open_connections() == 0;
        assert!(receiver.wait_until(ended, SOON).await);
        assert!(receiver.ledger().total() <= 1);
    }
}

#[test]
fn what_a_session_does_can_move_between_threads() {
    fn is_send(_: &impl Send) {}
    async fn everything() {
        let receiver = scripted(Script::new()).await;
        let mut session = open(&receiver).await;
        let bytes = message();
        let delivering = session.deliver(to("bob@mx.test", &bytes), || async { true });
        is_send(&delivering);
        drop(delivering);
        let quitting = session.quit();
        is_send(&quitting);
    }
    is_send(&everything());
}
