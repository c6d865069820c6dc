//! Tests of the opening: greeting, EHLO, STARTTLS, AUTH, against what servers answer.

use super::*;
use proptest::prelude::*;

fn terms(encryption: Encryption) -> Terms {
    Terms {
        ehlo: "out.example".to_owned(),
        encryption,
        auth: None,
    }
}

fn with_auth(encryption: Encryption) -> Terms {
    Terms {
        auth: Some(Credentials {
            user: "me".to_owned(),
            password: "secret".to_owned(),
        }),
        ..terms(encryption)
    }
}

/// Plays `said` to a new machine: each entry is one read, given when a reply is awaited; "<tls>" is a handshake, "<end>" the
/// end of the stream. Gives what the machine sent and how it ended.
fn play(terms: Terms, said: &[&str]) -> (String, OpeningEnd) {
    let mut opening = Opening::new(terms);
    let mut sent = String::new();
    let mut said = said.iter();
    loop {
        match opening.next() {
            Next::Write => {
                sent.push_str(std::str::from_utf8(opening.outgoing()).expect("ASCII"));
                opening.written();
            }
            Next::Read(_) => match said.next().copied() {
                Some("<end>") => opening.end_of_stream(),
                Some(bytes) => opening.receive(bytes.as_bytes()),
                None => panic!("it waits for more after {sent:?}"),
            },
            Next::Handshake => {
                assert_eq!(said.next().copied(), Some("<tls>"), "an unexpected handshake");
                opening.tls_started();
                sent.push_str("<tls>");
            }
            Next::Body => panic!("no body belongs here"),
            Next::Done => break,
        }
    }
    assert_eq!(said.next(), None, "it stopped listening after {sent:?}");
    (sent, opening.into_end())
}

#[track_caller]
fn check_open(terms: Terms, said: &[&str], sent: &str) -> Capabilities {
    match play(terms, said) {
        (all, OpeningEnd::Open(capabilities)) => {
            assert_eq!(all, sent);
            capabilities
        }
        other => panic!("not open: {other:?}"),
    }
}

#[track_caller]
fn check_refused(terms: Terms, said: &[&str], stage: Stage, code: u16) {
    match play(terms, said) {
        (_, OpeningEnd::Shut(at, AttemptOutcome::Refused(reply))) => assert_eq!((at, reply.code), (stage, code)),
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn check_failed(terms: Terms, said: &[&str], stage: Stage, expect: impl Fn(&Failure) -> bool) {
    match play(terms, said) {
        (_, OpeningEnd::Shut(at, AttemptOutcome::Failed(failure))) => {
            assert_eq!(at, stage, "{failure}");
            assert!(expect(&failure), "{failure:?}");
        }
        other => panic!("not failed: {other:?}"),
    }
}

const EHLO: &str = "EHLO out.example\r\n";

#[test]
fn ehlo_opens_a_session_with_what_was_offered() {
    let capabilities = check_open(
        terms(Encryption::IfOffered),
        &["220 mx ESMTP\r\n", "250-mx\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"],
        EHLO,
    );
    assert!(capabilities.pipelining);
    assert_eq!(capabilities.size, Some(1000));
}

#[test]
fn helo_is_said_where_ehlo_is_refused() {
    let capabilities = check_open(
        terms(Encryption::IfOffered),
        &["220 mx\r\n", "502 what?\r\n", "250 mx\r\n"],
        &format!("{EHLO}HELO out.example\r\n"),
    );
    assert_eq!(capabilities, Capabilities::default());
    check_refused(
        terms(Encryption::Off),
        &["220 mx\r\n", "550 no\r\n", "554 no\r\n"],
        Stage::Ehlo,
        554,
    );
    check_refused(
        terms(Encryption::Off),
        &["220 mx\r\n", "550 no\r\n", "<end>"],
        Stage::Ehlo,
        550,
    );
    check_refused(
        terms(Encryption::Off),
        &["220 mx\r\n", "451 later\r\n"],
        Stage::Ehlo,
        451,
    );
}

#[test]
fn refusals_and_goodbyes_keep_their_stage() {
    check_refused(terms(Encryption::IfOffered), &["421 busy\r\n"], Stage::Banner, 421);
    check_refused(
        terms(Encryption::IfOffered),
        &["554-go\r\n554 away\r\n"],
        Stage::Banner,
        554,
    );
    check_refused(
        terms(Encryption::IfOffered),
        &["220 mx\r\n", "421 busy\r\n"],
        Stage::Ehlo,
        421,
    );
    check_refused(
        terms(Encryption::Required),
        &["220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", "421 busy\r\n"],
        Stage::StartTls,
        421,
    );
    let lost = |failure: &Failure| *failure == Failure::ConnectionLost;
    check_failed(terms(Encryption::IfOffered), &["<end>"], Stage::Banner, lost);
    check_failed(
        terms(Encryption::IfOffered),
        &["220-mx\r\n", "<end>"],
        Stage::Banner,
        lost,
    );
    check_failed(
        terms(Encryption::IfOffered),
        &["220 mx\r\n", "250-mx\r\n", "<end>"],
        Stage::Ehlo,
        lost,
    );
}

#[test]
fn what_is_not_smtp_is_a_protocol_failure() {
    let protocol = |failure: &Failure| matches!(failure, Failure::Protocol(_));
    check_failed(
        terms(Encryption::Off),
        &["HTTP/1.1 400 Bad Request\r\n"],
        Stage::Banner,
        protocol,
    );
    check_failed(terms(Encryption::Off), &["354 go\r\n"], Stage::Banner, protocol);
    check_failed(
        terms(Encryption::Off),
        &[&"220-x\r\n".repeat(600)],
        Stage::Banner,
        protocol,
    );
    // An early talker: its second reply would be taken for the answer to EHLO.
    check_failed(terms(Encryption::Off), &["220 mx\r\n250 hi\r\n"], Stage::Ehlo, protocol);
    check_refused(terms(Encryption::Off), &["220 mx\r\n554 blocked\r\n"], Stage::Ehlo, 554);
}

#[test]
fn tls_starts_where_it_is_offered_and_forgets_what_was_offered_before() {
    for encryption in [Encryption::IfOffered, Encryption::Required] {
        let capabilities = check_open(
            terms(encryption),
            &[
                "220 mx\r\n",
                "250-mx\r\n250-PIPELINING\r\n250-SIZE 5\r\n250 STARTTLS\r\n",
                "220 go\r\n",
                "<tls>",
                "250-mx\r\n250-SMTPUTF8\r\n250 STARTTLS\r\n",
            ],
            &format!("{EHLO}STARTTLS\r\n<tls>{EHLO}"),
        );
        assert!(!capabilities.pipelining && capabilities.smtputf8);
        assert_eq!(capabilities.size, None);
    }
}

#[test]
fn a_session_in_clear_is_what_policy_says() {
    let offered = &["220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n"];
    check_open(terms(Encryption::Off), offered, EHLO);
    check_open(terms(Encryption::NotNow), offered, EHLO);
    let stripped = &["220 mx\r\n", "250 mx\r\n"];
    check_open(terms(Encryption::IfOffered), stripped, EHLO);
    let tls = |failure: &Failure| matches!(failure, Failure::Tls(_));
    check_failed(terms(Encryption::Required), stripped, Stage::StartTls, tls);
    let refused = &["220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", "454 4.7.0 not now\r\n"];
    check_open(terms(Encryption::IfOffered), refused, &format!("{EHLO}STARTTLS\r\n"));
    check_failed(
        terms(Encryption::Required),
        refused,
        Stage::StartTls,
        |failure| matches!(failure, Failure::Tls(text) if text.contains("454 not now")),
    );
}

#[test]
fn bytes_behind_the_reply_to_starttls_are_an_attack() {
    for encryption in [Encryption::IfOffered, Encryption::Required] {
        for injected in [
            "220 go\r\n250-mx\r\n250 AUTH PLAIN\r\n",
            "220 go\r\n\r\n",
            "220 go\r\nx",
        ] {
            check_failed(
                terms(encryption),
                &["220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", injected],
                Stage::StartTls,
                |failure| matches!(failure, Failure::Tls(_)),
            );
        }
    }
}

#[test]
fn passwords_go_by_plain_or_login() {
    let plain = "AUTH PLAIN AG1lAHNlY3JldA==\r\n";
    check_open(
        with_auth(Encryption::Already),
        &["220 mx\r\n", "250-mx\r\n250 AUTH LOGIN PLAIN\r\n", "235 ok\r\n"],
        &format!("{EHLO}{plain}"),
    );
    check_open(
        with_auth(Encryption::Off),
        &["220 mx\r\n", "250-mx\r\n250 AUTH PLAIN\r\n", "334\r\n", "235 ok\r\n"],
        &format!("{EHLO}{plain}AG1lAHNlY3JldA==\r\n"),
    );
    check_open(
        with_auth(Encryption::Already),
        &[
            "220 mx\r\n",
            "250-mx\r\n250 AUTH LOGIN\r\n",
            "334 VXNlcm5hbWU6\r\n",
            "334 UGFzc3dvcmQ6\r\n",
            "235 ok\r\n",
        ],
        &format!("{EHLO}AUTH LOGIN\r\nbWU=\r\nc2VjcmV0\r\n"),
    );
    check_refused(
        with_auth(Encryption::Already),
        &["220 mx\r\n", "250-mx\r\n250 AUTH PLAIN\r\n", "535 5.7.8 wrong\r\n"],
        Stage::Auth,
        535,
    );
    check_failed(
        with_auth(Encryption::Already),
        &["220 mx\r\n", "250-mx\r\n250 AUTH GSSAPI\r\n"],
        Stage::Auth,
        |failure| matches!(failure, Failure::Unsupported(_)),
    );
    check_failed(
        with_auth(Encryption::Already),
        &["220 mx\r\n", "250-mx\r\n250 AUTH PLAIN\r\n", "334 a\r\n", "334 b\r\n"],
        Stage::Auth,
        |failure| matches!(failure, Failure::Protocol(_)),
    );
}

#[test]
fn a_password_is_never_sent_in_clear_unless_encryption_is_off() {
    for encryption in [Encryption::IfOffered, Encryption::NotNow] {
        let said = &["220 mx\r\n", "250-mx\r\n250 AUTH PLAIN\r\n"];
        let (sent, end) = play(with_auth(encryption), said);
        assert_eq!(sent, EHLO);
        assert!(matches!(
            end,
            OpeningEnd::Shut(Stage::Auth, AttemptOutcome::Failed(Failure::Tls(_)))
        ));
    }
}

#[test]
fn a_name_that_would_end_its_command_is_not_said() {
    for name in ["a\r\nMAIL FROM:<x>", "a b", "a\0"] {
        let terms = Terms {
            ehlo: name.to_owned(),
            ..terms(Encryption::Off)
        };
        check_failed(terms, &[], Stage::Banner, |failure| {
            matches!(failure, Failure::Local(_))
        });
    }
}

proptest! {
    #[test]
    fn no_bytes_break_the_machine(
        reads in proptest::collection::vec(prop_oneof![
            Just(b"220 mx\r\n".to_vec()),
            Just(b"250-mx\r\n250-STARTTLS\r\n250 AUTH LOGIN\r\n".to_vec()),
            Just(b"334 x\r\n".to_vec()),
            Just(b"502 no\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..40),
        ], 0..12),
        auth in any::<bool>(),
    ) {
        let terms = if auth { with_auth(Encryption::IfOffered) } else { terms(Encryption::IfOffered) };
        let mut opening = Opening::new(terms);
        for read in reads {
            match opening.next() {
                Next::Write => opening.written(),
                Next::Handshake => opening.tls_started(),
                _ => {}
            }
            opening.receive(&read);
        }
        opening.end_of_stream();
        prop_assert_eq!(opening.next(), Next::Done);
        prop_assert!(matches!(opening.into_end(), OpeningEnd::Shut(..)));
    }
}
