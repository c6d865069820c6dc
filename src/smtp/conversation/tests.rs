//! Tests of the conversation: flights, the dot, refusals, RSET, and any bytes a server may send.

use super::*;
use proptest::prelude::*;

fn offering(pipelining: bool) -> Capabilities {
    Capabilities {
        pipelining,
        ..Capabilities::default()
    }
}

const ENVELOPE: Envelope<'_> = Envelope {
    mail_from: "b@x.example",
    rcpt_to: "r@y.example",
    octets: 100,
};

/// Runs one transaction: `said` is given read by read, each when a reply is awaited; "<end>" is the end of the stream and
/// "<timeout>" a deadline that passed. The body is "body". Gives what was sent and what became of it.
fn play(conversation: &mut Conversation, envelope: Envelope<'_>, said: &[&str]) -> (String, Transaction) {
    let mut said = said.iter();
    let mut sent = String::new();
    conversation.begin(envelope);
    loop {
        match conversation.next() {
            Next::Write => {
                sent.push_str(std::str::from_utf8(conversation.outgoing()).expect("UTF-8"));
                conversation.written();
            }
            Next::Read(_) => match said.next().copied() {
                Some("<end>") => conversation.end_of_stream(),
                Some("<timeout>") => conversation.fail(Failure::Timeout),
                Some(bytes) => conversation.receive(bytes.as_bytes()),
                None => panic!("it waits for more after {sent:?}"),
            },
            Next::Body => {
                sent.push_str("body");
                conversation.dot_leaves();
            }
            Next::Handshake => panic!("no handshake belongs here"),
            Next::Done => break,
        }
    }
    assert_eq!(said.next(), None, "it stopped listening after {sent:?}");
    (sent, conversation.take())
}

/// How a transaction should end, in short: stage, `250` or `!timeout`, whether the dot left, whether the session lives on.
#[track_caller]
fn check(pipelining: bool, said: &[&str], stage: Stage, outcome: &str, dot_sent: bool, reusable: bool) {
    let mut conversation = Conversation::new(offering(pipelining));
    let (_, transaction) = play(&mut conversation, ENVELOPE, said);
    let short = match &transaction.outcome {
        TransactionOutcome::Accepted(reply) => format!("{} accepted", reply.code),
        TransactionOutcome::Refused(reply) => format!("{} refused", reply.code),
        TransactionOutcome::Failed(Failure::Protocol(_)) => "protocol".to_owned(),
        TransactionOutcome::Failed(failure) => failure.to_string(),
        TransactionOutcome::Withheld => "withheld".to_owned(),
    };
    assert_eq!(
        (
            transaction.stage,
            short.as_str(),
            transaction.dot_sent,
            conversation.reusable()
        ),
        (stage, outcome, dot_sent, reusable),
        "{said:?}"
    );
}

const LOST: &str = "connection lost";
const LATE: &str = "no answer in time";
const MAIL: &str = "MAIL FROM:<b@x.example>\r\n";
const RCPT: &str = "RCPT TO:<r@y.example>\r\n";

#[test]
fn commands_go_in_one_flight_only_where_that_is_offered() {
    let mut conversation = Conversation::new(offering(true));
    conversation.begin(ENVELOPE);
    assert_eq!(conversation.outgoing(), format!("{MAIL}{RCPT}DATA\r\n").as_bytes());
    let mut conversation = Conversation::new(offering(false));
    conversation.begin(ENVELOPE);
    for (command, reply) in [(MAIL, "250 ok\r\n"), (RCPT, "250 ok\r\n"), ("DATA\r\n", "354 go\r\n")] {
        assert_eq!(conversation.outgoing(), command.as_bytes());
        conversation.written();
        assert_eq!(conversation.outgoing(), b"");
        conversation.receive(reply.as_bytes());
    }
    assert_eq!(conversation.next(), Next::Body);
}

#[test]
fn replies_may_come_in_any_pieces() {
    let all = "250 ok\r\n250-2.1.5 ok\r\n250 2.1.5 ok\r\n354 go\r\n";
    for size in 1..all.len() {
        let mut conversation = Conversation::new(offering(true));
        conversation.begin(ENVELOPE);
        conversation.written();
        for piece in all.as_bytes().chunks(size) {
            conversation.receive(piece);
        }
        assert_eq!(conversation.next(), Next::Body, "by {size}");
    }
}

#[test]
fn each_odd_reply_to_the_dot_is_what_its_code_says() {
    // Table 1.3 B.
    let flight = "250 ok\r\n250 ok\r\n354 go\r\n";
    let long_line = format!("250 {}\r\n", "x".repeat(6000));
    let many_lines = "250-ok\r\n".repeat(10_000);
    for (reply, outcome, reusable) in [
        ("250 2.0.0 ok\r\n", "250 accepted", true),
        (&long_line, "250 accepted", true),
        (&many_lines, "250 accepted", false),
        ("250 ok\n", "250 accepted", true),
        ("250\r\n", "250 accepted", true),
        ("250-ok\r\n451 hmm\r\n", "451 refused", true),
        ("\r\n250 ok\r\n", "250 accepted", true),
        ("2500K\r\n", "protocol", false),
        ("OK queued\r\n", "protocol", false),
        ("354 again\r\n", "protocol", false),
        ("421 bye\r\n", "421 refused", false),
        ("452 full\r\n", "452 refused", true),
        ("554 spam\r\n", "554 refused", true),
        ("251 will forward\r\n", "251 accepted", true),
        ("250 ok\r\n250 again\r\n", "250 accepted", false),
        ("250 ok\r\n421 bye\r\n", "250 accepted", false),
        ("<end>", LOST, false),
        ("<timeout>", LATE, false),
    ] {
        check(true, &[flight, reply], Stage::Dot, outcome, true, reusable);
    }
}

#[test]
fn bytes_that_are_not_utf8_after_the_dot_are_a_250() {
    let mut conversation = Conversation::new(offering(true));
    conversation.begin(ENVELOPE);
    conversation.written();
    conversation.receive(b"250 ok\r\n250 ok\r\n354 go\r\n");
    conversation.dot_leaves();
    conversation.receive(b"250 2.0.0 \xb3\xc9\xb9\xa6\r\n");
    let TransactionOutcome::Accepted(reply) = conversation.take().outcome else {
        panic!("not accepted");
    };
    assert!(reply.odd);
    assert!(conversation.reusable());
}

#[test]
fn a_refusal_stays_whatever_the_rest_of_the_flight_says() {
    check(
        true,
        &["450 no\r\n503 no\r\n503 no\r\n"],
        Stage::MailFrom,
        "450 refused",
        false,
        true,
    );
    check(
        true,
        &["450 no\r\n", "503 no\r\n", "503 no\r\n"],
        Stage::MailFrom,
        "450 refused",
        false,
        true,
    );
    check(
        true,
        &["250 ok\r\n550 5.1.1 who\r\n554 no\r\n"],
        Stage::RcptTo,
        "550 refused",
        false,
        true,
    );
    check(
        true,
        &["250 ok\r\n452 many\r\n", "<end>"],
        Stage::RcptTo,
        "452 refused",
        false,
        false,
    );
    check(
        true,
        &["250 ok\r\n550 who\r\n", "<timeout>"],
        Stage::RcptTo,
        "550 refused",
        false,
        false,
    );
    check(
        true,
        &["250 ok\r\n250 ok\r\n451 later\r\n"],
        Stage::Data,
        "451 refused",
        false,
        true,
    );
    check(
        true,
        &["550 no\r\ngarbage\r\n"],
        Stage::MailFrom,
        "550 refused",
        false,
        false,
    );
}

#[test]
fn without_pipelining_nothing_is_said_after_a_refusal() {
    check(false, &["450 no\r\n"], Stage::MailFrom, "450 refused", false, true);
    check(
        false,
        &["250 ok\r\n", "550 who\r\n"],
        Stage::RcptTo,
        "550 refused",
        false,
        true,
    );
    check(
        false,
        &["250 ok\r\n", "250 ok\r\n", "554 no\r\n"],
        Stage::Data,
        "554 refused",
        false,
        true,
    );
}

#[test]
fn a_421_ends_the_session_at_once() {
    check(true, &["421 bye\r\n"], Stage::MailFrom, "421 refused", false, false);
    check(
        true,
        &["250 ok\r\n421 bye\r\n"],
        Stage::RcptTo,
        "421 refused",
        false,
        false,
    );
    check(
        true,
        &["250 ok\r\n250 ok\r\n421 bye\r\n"],
        Stage::Data,
        "421 refused",
        false,
        false,
    );
    check(
        true,
        &["250 ok\r\n550 who\r\n421 bye\r\n"],
        Stage::RcptTo,
        "550 refused",
        false,
        false,
    );
    check(false, &["421 bye\r\n"], Stage::MailFrom, "421 refused", false, false);
}

#[test]
fn a_lone_dot_ends_data_that_nobody_should_have_granted() {
    let mut conversation = Conversation::new(offering(true));
    let said = &["250 ok\r\n550 who\r\n354 go\r\n", "554 no valid recipients\r\n"];
    let (sent, transaction) = play(&mut conversation, ENVELOPE, said);
    assert_eq!(sent, format!("{MAIL}{RCPT}DATA\r\n.\r\n"));
    assert_eq!((transaction.stage, transaction.dot_sent), (Stage::RcptTo, false));
    assert!(conversation.reusable());
    // Its answer means nothing.
    check(
        true,
        &["250 ok\r\n550 who\r\n354 go\r\n", "250 queued\r\n"],
        Stage::RcptTo,
        "550 refused",
        false,
        true,
    );
    check(
        true,
        &["250 ok\r\n550 who\r\n354 go\r\n", "<end>"],
        Stage::RcptTo,
        "550 refused",
        false,
        false,
    );
}

#[test]
fn a_lone_dot_is_not_sent_when_it_would_deliver_an_empty_message() {
    let mut conversation = Conversation::new(offering(true));
    let (sent, transaction) = play(&mut conversation, ENVELOPE, &["450 no\r\n250 ok\r\n354 go\r\n"]);
    assert_eq!(sent, format!("{MAIL}{RCPT}DATA\r\n"));
    assert_eq!((transaction.stage, transaction.dot_sent), (Stage::MailFrom, false));
    assert!(!conversation.reusable());
}

#[test]
fn what_fails_before_the_dot_leaves_no_copy() {
    let flight = "250 ok\r\n250 ok\r\n";
    check(true, &["<end>"], Stage::MailFrom, LOST, false, false);
    check(true, &["<timeout>"], Stage::MailFrom, LATE, false, false);
    check(true, &["250 ok\r\n", "<end>"], Stage::RcptTo, LOST, false, false);
    check(true, &[flight, "<timeout>"], Stage::Data, LATE, false, false);
    check(true, &[flight, "250 ok\r\n"], Stage::Data, "protocol", false, false);
    check(true, &["354 go\r\n"], Stage::MailFrom, "protocol", false, false);
    check(true, &["whatever\r\n"], Stage::MailFrom, "protocol", false, false);
    check(
        false,
        &["250 ok\r\n250 ok\r\n"],
        Stage::RcptTo,
        "protocol",
        false,
        false,
    );
    check(
        false,
        &["250 ok\r\n421 bye\r\n"],
        Stage::RcptTo,
        "421 refused",
        false,
        false,
    );
}

#[test]
fn what_is_left_of_an_endless_reply_is_not_the_next_one() {
    let endless = "250-ok\r\n".repeat(600);
    check(true, &[&endless], Stage::RcptTo, "protocol", false, false);
    check(false, &[&endless], Stage::RcptTo, "protocol", false, false);
    let flight = format!("250 ok\r\n250 ok\r\n{}", "354-go\r\n".repeat(600));
    check(true, &[&flight], Stage::Body, "protocol", false, false);
}

#[test]
fn a_reply_before_the_dot_is_not_the_reply_to_the_dot() {
    let flight = "250 ok\r\n250 ok\r\n354 go\r\n";
    check(
        true,
        &[&format!("{flight}250 ok\r\n")],
        Stage::Body,
        "protocol",
        false,
        false,
    );
    check(
        true,
        &[&format!("{flight}552 too big\r\n")],
        Stage::Body,
        "552 refused",
        false,
        false,
    );
    check(
        true,
        &[&format!("{flight}42"), "1 bye\r\n"],
        Stage::Body,
        "421 refused",
        false,
        false,
    );
    check(
        true,
        &[&format!("{flight}42"), "<end>"],
        Stage::Body,
        LOST,
        false,
        false,
    );
    check(
        true,
        &[&format!("{flight}\r\n"), "250 ok\r\n"],
        Stage::Dot,
        "250 accepted",
        true,
        true,
    );
}

#[test]
fn rset_is_said_only_after_a_transaction_that_failed() {
    for pipelining in [true, false] {
        let mut conversation = Conversation::new(offering(pipelining));
        let good: Vec<&str> = if pipelining {
            vec!["250 ok\r\n250 ok\r\n354 go\r\n", "250 ok\r\n"]
        } else {
            vec!["250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 ok\r\n"]
        };
        let bad: &[&str] = if pipelining {
            &["250 ok\r\n550 who\r\n503 no\r\n"]
        } else {
            &["250 ok\r\n", "550 who\r\n"]
        };
        let after_reset = [&["250 reset\r\n"], good.as_slice()].concat();
        for (said, resets) in [
            (good.as_slice(), false),
            (good.as_slice(), false),
            (bad, false),
            (&after_reset, true),
            (good.as_slice(), false),
        ] {
            let (sent, _) = play(&mut conversation, ENVELOPE, said);
            assert_eq!(sent.starts_with("RSET\r\nMAIL"), resets, "{sent:?}");
            assert!(!sent[1..].contains("RSET"));
        }
    }
}

#[test]
fn a_refused_rset_is_not_held_against_the_message() {
    for (reply, outcome) in [("500 what?\r\n", "protocol"), ("421 bye\r\n", "421 refused")] {
        let mut conversation = Conversation::new(offering(true));
        play(&mut conversation, ENVELOPE, &["250 ok\r\n550 who\r\n503 no\r\n"]);
        let (_, transaction) = play(&mut conversation, ENVELOPE, &[reply]);
        let refused = matches!(&transaction.outcome, TransactionOutcome::Refused(reply) if reply.code == 421);
        assert_eq!(
            (transaction.stage, refused),
            (Stage::MailFrom, outcome == "421 refused")
        );
        assert!(!conversation.reusable());
    }
}

#[test]
fn size_is_declared_and_a_message_that_is_too_large_is_not_offered() {
    for (limit, octets, sent) in [
        (Some(100), 100, "MAIL FROM:<b@x.example> SIZE=100\r\n"),
        (Some(0), 1 << 40, "MAIL FROM:<b@x.example> SIZE=1099511627776\r\n"),
        (None, 1 << 40, MAIL),
        (Some(100), 101, ""),
    ] {
        let mut conversation = Conversation::new(Capabilities {
            size: limit,
            ..Capabilities::default()
        });
        conversation.begin(Envelope { octets, ..ENVELOPE });
        assert_eq!(String::from_utf8_lossy(conversation.outgoing()), sent, "{limit:?}");
        if sent.is_empty() {
            assert!(matches!(
                conversation.take().outcome,
                TransactionOutcome::Failed(Failure::Unsupported(text)) if text.starts_with("5.3.4")
            ));
            assert!(conversation.reusable(), "nothing was said");
        }
    }
}

#[test]
fn addresses_beyond_ascii_need_smtputf8() {
    let envelope = Envelope {
        rcpt_to: "ü@y.example",
        ..ENVELOPE
    };
    let mut conversation = Conversation::new(Capabilities::default());
    conversation.begin(envelope);
    assert!(matches!(
        conversation.take().outcome,
        TransactionOutcome::Failed(Failure::Unsupported(text)) if text.starts_with("5.6.7")
    ));
    assert!(conversation.reusable());
    let offered = Capabilities {
        smtputf8: true,
        ..Capabilities::default()
    };
    for (envelope, command) in [(envelope, "MAIL FROM:<b@x.example> SMTPUTF8\r\n"), (ENVELOPE, MAIL)] {
        let mut conversation = Conversation::new(offered);
        conversation.begin(envelope);
        assert_eq!(conversation.outgoing(), command.as_bytes());
    }
}

#[test]
fn an_address_that_would_end_its_command_is_not_said() {
    for bad in ["", "a\r\nRSET@y", "a>b@y", "a b@y", "a<b@y", "a\0@y", &"a".repeat(600)] {
        let mut conversation = Conversation::new(offering(true));
        conversation.begin(Envelope {
            rcpt_to: bad,
            ..ENVELOPE
        });
        assert_eq!(conversation.next(), Next::Done, "{bad:?}");
        assert!(matches!(
            conversation.take().outcome,
            TransactionOutcome::Failed(Failure::Local(_))
        ));
    }
    let mut conversation = Conversation::new(offering(false));
    conversation.begin(Envelope {
        mail_from: "",
        rcpt_to: "\"a b>\"@y.example",
        octets: 1,
    });
    assert_eq!(conversation.outgoing(), b"MAIL FROM:<>\r\n");
}

#[test]
fn a_session_that_talks_or_ends_between_transactions_is_not_used_again() {
    for said in [Some("421 idle\r\n"), Some("250 ok\r\n"), Some("x"), None] {
        let mut conversation = Conversation::new(offering(true));
        match said {
            Some(bytes) => conversation.receive(bytes.as_bytes()),
            None => conversation.end_of_stream(),
        }
        assert!(!conversation.reusable());
        let (sent, transaction) = play(&mut conversation, ENVELOPE, &[]);
        assert_eq!((sent.as_str(), transaction.dot_sent), ("", false));
    }
}

#[test]
fn a_withheld_message_ends_the_session_without_a_dot() {
    let mut conversation = Conversation::new(offering(true));
    conversation.begin(ENVELOPE);
    conversation.written();
    conversation.receive(b"250 ok\r\n250 ok\r\n354 go\r\n");
    conversation.withhold();
    assert_eq!(
        conversation.take(),
        Transaction {
            stage: Stage::Body,
            outcome: TransactionOutcome::Withheld,
            dot_sent: false
        }
    );
    assert!(!conversation.reusable());
}

proptest! {
    #[test]
    fn no_bytes_break_the_machine_and_only_a_2xx_after_the_dot_is_a_delivery(
        reads in proptest::collection::vec(prop_oneof![
            4 => Just(b"250 ok\r\n".to_vec()),
            2 => Just(b"354 go\r\n".to_vec()),
            1 => Just(b"550 no\r\n".to_vec()),
            1 => Just(b"250-".to_vec()),
            1 => Just(b"\r\n".to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..30),
        ], 0..20),
        pipelining in any::<bool>(),
    ) {
        let mut conversation = Conversation::new(offering(pipelining));
        let mut reads = reads.into_iter();
        for _ in 0..3 {
            let could = conversation.reusable();
            let mut dot = false;
            let mut heard_since_dot = Vec::new();
            conversation.begin(ENVELOPE);
            loop {
                match conversation.next() {
                    Next::Write => conversation.written(),
                    Next::Body => { conversation.dot_leaves(); dot = true; }
                    Next::Done => break,
                    Next::Handshake => prop_assert!(false, "no handshake belongs here"),
                    Next::Read(_) => match reads.next() {
                        Some(read) => {
                            if dot { heard_since_dot.extend_from_slice(&read); }
                            conversation.receive(&read);
                        }
                        None => conversation.end_of_stream(),
                    },
                }
            }
            let transaction = conversation.take();
            prop_assert_eq!(transaction.dot_sent, dot);
            prop_assert_eq!(transaction.stage == Stage::Dot, dot);
            prop_assert!(could || !dot, "a session that was not reusable sent a message");
            if let TransactionOutcome::Accepted(reply) = transaction.outcome {
                prop_assert!(dot && (200..300).contains(&reply.code));
                prop_assert!(heard_since_dot.contains(&b'2'));
            }
        }
    }
}
