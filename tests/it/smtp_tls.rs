//! TLS that works, fails, lies or is taken away (reliability: S10-S12), and passwords.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use posthaste::clock::Clock;
use posthaste::domain::{Credentials, Stage, TlsPolicy};
use posthaste::transport::{Deadlines, Dialer, DialerSettings, Endpoint};
use provider_sim::{Act, Login, Receiver, Script, Stage as At, TestAuthority, TlsIdentity};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::smtp_puppet::{Do, play_acts, play_part, say};
use crate::smtp_world::*;

async fn with_tls(identity: TlsIdentity, script: Script) -> Receiver {
    let builder = Receiver::builder().tls(identity).script(script);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    builder.listen(address).await.expect("a port of loopback")
}

fn self_signed() -> TlsIdentity {
    TlsIdentity::self_signed("mx.test").expect("an identity")
}

fn trusting(authority_pem: &str) -> Dialer {
    let root = CertificateDer::from_pem_slice(authority_pem.as_bytes()).expect("a certificate");
    let settings = DialerSettings {
        extra_roots: vec![root],
        ..DialerSettings::default()
    };
    Dialer::new(settings, Clock::system()).expect("the root is one")
}

fn under(receiver: &Receiver, tls: TlsPolicy) -> Endpoint {
    Endpoint {
        tls,
        ..endpoint(receiver)
    }
}

#[tokio::test]
async fn tls_is_used_where_it_is_offered_whoever_signed_the_certificate() {
    for policy in [TlsPolicy::Opportunistic, TlsPolicy::Required] {
        let receiver = with_tls(self_signed(), Script::new()).await;
        let opened = dialer(Deadlines::default()).open(&under(&receiver, policy)).await;
        let mut session = opened.expect("a session");
        assert!(session.is_tls() && !session.capabilities().starttls);
        for bytes in [message(), large_message()] {
            check(&deliver(&mut session, &bytes).await, Stage::Dot, "250 accepted", true);
        }
        assert!(!session.idle_check(), "tickets are no talk");
        let records = receiver.ledger().records();
        assert!(records.len() == 2 && records.iter().all(|record| record.tls));
        let verbs = receiver.transcripts()[0].verbs();
        assert_eq!(verbs[..3], ["EHLO", "STARTTLS", "EHLO"]);
        session.quit().await;
        assert_well_behaved(&receiver);
    }
}

#[tokio::test]
async fn verified_means_a_valid_certificate_for_this_host() {
    let authority = TestAuthority::new().expect("an authority");
    let dialer = trusting(&authority.certificate_pem());
    let identity = |host| authority.identity_for(host).expect("an identity");
    for (identity, valid) in [
        (identity("mx.test"), true),
        (authority.tls12_identity_for("mx.test").expect("an identity"), true),
        (identity("other.test"), false),
        (authority.expired_identity_for("mx.test").expect("an identity"), false),
        (self_signed(), false),
    ] {
        let receiver = with_tls(identity, Script::new()).await;
        let opened = dialer.open(&under(&receiver, TlsPolicy::Verified)).await;
        match opened {
            Ok(session) => assert!(valid && session.is_tls()),
            Err(error) => assert_eq!(
                (short_error(&error), valid),
                ((Stage::StartTls, "tls".to_owned()), false)
            ),
        }
        assert_eq!(receiver.transcripts().len(), 1, "never again in clear");
        // And what Verified refuses, Required takes.
        assert!(dialer.open(&under(&receiver, TlsPolicy::Required)).await.is_ok());
    }
}

#[tokio::test]
async fn s10_a_host_that_fails_at_tls_gets_its_mail_in_clear_and_is_not_asked_again() {
    let broken: Vec<Vec<Act>> = vec![
        Act::tls_1_0_only(),
        vec![Act::Close],
        vec![Act::Reset],
        vec![Act::Listen, Act::raw("this is not TLS")],
        vec![Act::Silence],
    ];
    for acts in broken {
        let deadlines = Deadlines {
            tls: SCALED,
            ..Deadlines::default()
        };
        let dialer = dialer(deadlines);
        let receiver = with_tls(self_signed(), Script::new().at(At::TlsHandshake, acts.clone())).await;
        for _ in 0..2 {
            let opened = dialer.open(&under(&receiver, TlsPolicy::Opportunistic)).await;
            let mut session = opened.expect("a session in clear");
            assert!(!session.is_tls());
            check(
                &deliver(&mut session, &message()).await,
                Stage::Dot,
                "250 accepted",
                true,
            );
            session.quit().await;
        }
        let starttls = |verbs: Vec<String>| verbs.contains(&"STARTTLS".to_owned());
        let asked: Vec<bool> = receiver
            .transcripts()
            .iter()
            .map(|transcript| starttls(transcript.verbs()))
            .collect();
        assert_eq!(asked, [true, false, false], "{acts:?}");
        // Required still means required, and the memory of a failure is no licence.
        let error = dialer
            .open(&under(&receiver, TlsPolicy::Required))
            .await
            .expect_err("no session");
        assert_eq!(short_error(&error), (Stage::StartTls, "tls".to_owned()));
        assert_eq!(receiver.transcripts().len(), 4);
    }
}

#[tokio::test]
async fn s10_a_host_is_asked_for_tls_again_after_an_hour() {
    // The clock is the dialer's own, so the hour passes without anybody waiting.
    let receiver = with_tls(self_signed(), Script::new().times(1).at(At::TlsHandshake, Act::Close)).await;
    let dialer = dialer(Deadlines::default());
    let endpoint = under(&receiver, TlsPolicy::Opportunistic);
    assert!(!dialer.open(&endpoint).await.expect("a session").is_tls());
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(3601)).await;
    tokio::time::resume();
    assert!(dialer.open(&endpoint).await.expect("a session").is_tls());
}

#[tokio::test]
async fn s11_a_missing_starttls_is_a_failure_only_where_tls_is_required() {
    let receiver = Receiver::scripted(Script::new()).await.expect("a port of loopback");
    let dialer = dialer(Deadlines::default());
    let opened = dialer.open(&under(&receiver, TlsPolicy::Opportunistic)).await;
    assert!(!opened.expect("a session").is_tls());
    for policy in [TlsPolicy::Required, TlsPolicy::Verified] {
        let error = dialer.open(&under(&receiver, policy)).await.expect_err("no session");
        assert_eq!(short_error(&error), (Stage::StartTls, "tls".to_owned()));
    }
    let refusing = Script::new().at(At::StartTls, Act::reply("454 4.7.0 not now"));
    let receiver = with_tls(self_signed(), refusing).await;
    let opened = dialer.open(&under(&receiver, TlsPolicy::Opportunistic)).await;
    assert!(!opened.expect("a session").is_tls());
    let opened = dialer.open(&under(&receiver, TlsPolicy::Required)).await;
    assert_eq!(short_error(&opened.expect_err("no session")).1, "tls");
}

#[tokio::test]
async fn s12_bytes_injected_behind_starttls_end_it_and_nothing_goes_in_clear() {
    for policy in [TlsPolicy::Opportunistic, TlsPolicy::Required] {
        let injection = vec![
            Act::reply("220 go"),
            Act::extra("250-evil\r\n250 AUTH PLAIN\r\n"),
            Act::Flush,
        ];
        let receiver = with_tls(self_signed(), Script::new().at(At::StartTls, injection)).await;
        let opened = dialer(Deadlines::default()).open(&under(&receiver, policy)).await;
        let error = opened.expect_err("no session");
        assert_eq!(short_error(&error), (Stage::StartTls, "tls".to_owned()));
        assert_eq!(receiver.transcripts().len(), 1);
    }
}

#[tokio::test]
async fn s12_what_was_offered_before_tls_is_forgotten() {
    let script = Script::new()
        .times(1)
        .at(
            At::Ehlo,
            Act::raw("250-mx\r\n250-SIZE 1\r\n250-PIPELINING\r\n250 STARTTLS\r\n"),
        )
        .at(At::Ehlo, Act::raw("250 mx\r\n"));
    // The last rule that applies wins, and a rule that is used up makes room for the one before it.
    let receiver = with_tls(self_signed(), script).await;
    let opened = dialer(Deadlines::default()).open(&endpoint(&receiver)).await;
    let session = opened.expect("a session");
    assert_eq!(*session.capabilities(), posthaste::smtp::Capabilities::default());
}

#[tokio::test]
async fn passwords_go_over_tls_or_where_encryption_is_off() {
    let auth = Credentials {
        user: "relay".to_owned(),
        password: "secret".to_owned(),
    };
    let dialer = dialer(Deadlines::default());
    let login = Login::required("relay", "secret");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let encrypted = Receiver::builder()
        .tls(self_signed())
        .login(login.clone())
        .listen(address);
    let encrypted = encrypted.await.expect("a port of loopback");
    let clear = Receiver::builder().login(login).listen(address);
    let clear = clear.await.expect("a port of loopback");
    for (receiver, tls, password, expect) in [
        (&encrypted, TlsPolicy::Required, "secret", Ok(())),
        (&encrypted, TlsPolicy::Opportunistic, "secret", Ok(())),
        (
            &encrypted,
            TlsPolicy::Required,
            "wrong",
            Err((Stage::Auth, "535 refused")),
        ),
        (&clear, TlsPolicy::Off, "secret", Ok(())),
        (&clear, TlsPolicy::Opportunistic, "secret", Err((Stage::Auth, "tls"))),
    ] {
        let endpoint = Endpoint {
            auth: Some(Credentials {
                password: password.to_owned(),
                ..auth.clone()
            }),
            ..under(receiver, tls)
        };
        match (dialer.open(&endpoint).await, expect) {
            (Ok(mut session), Ok(())) => {
                check(
                    &deliver(&mut session, &message()).await,
                    Stage::Dot,
                    "250 accepted",
                    true,
                );
            }
            (Err(error), Err((stage, outcome))) => assert_eq!(short_error(&error), (stage, outcome.to_owned())),
            (got, expect) => panic!("{tls:?} {password}: {got:?}, not {expect:?}"),
        }
    }
    assert_eq!(clear.transcripts()[1].auth, [], "nothing was said in clear");
}

#[tokio::test]
async fn a_password_does_not_follow_a_failed_handshake_into_the_clear() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let receiver = Receiver::builder()
        .tls(self_signed())
        .login(Login::required("relay", "secret"))
        .script(Script::new().at(At::TlsHandshake, Act::Close))
        .listen(address)
        .await
        .expect("a port of loopback");
    let endpoint = Endpoint {
        auth: Some(Credentials {
            user: "relay".to_owned(),
            password: "secret".to_owned(),
        }),
        ..under(&receiver, TlsPolicy::Opportunistic)
    };
    let opened = dialer(Deadlines::default()).open(&endpoint).await;
    assert_eq!(short_error(&opened.expect_err("no session")).1, "tls");
    assert_eq!(receiver.transcripts().len(), 1);
}

#[tokio::test]
async fn implicit_tls_speaks_it_from_the_first_byte_and_checks_the_certificate() {
    let authority = rcgen_authority();
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let acceptor = tokio_rustls::TlsAcceptor::from(authority.server);
    let serving = tokio::spawn(async move {
        for _ in 0..2 {
            let (stream, _) = listener.accept().await.expect("a connection");
            if let Ok(stream) = acceptor.accept(stream).await {
                let greeting = vec![
                    say("220 mx.test\r\n"),
                    Do::Hear("EHLO out.test\r\n"),
                    say("250 mx.test\r\n"),
                ];
                play_part(stream, greeting).await;
            }
        }
    });
    let endpoint = Endpoint {
        tls: TlsPolicy::Implicit,
        ..endpoint_at(address)
    };
    let session = trusting(&authority.pem).open(&endpoint).await.expect("a session");
    assert!(session.is_tls());
    drop(session);
    let opened = dialer(Deadlines::default()).open(&endpoint).await;
    assert_eq!(
        short_error(&opened.expect_err("nobody vouches for it")),
        (Stage::StartTls, "tls".to_owned())
    );
    serving.await.expect("the server lives");
}

#[tokio::test(start_paused = true)]
async fn a_dot_that_may_have_left_counts_as_sent_and_one_that_cannot_does_not() {
    // Larger than the pipe, smaller than what is sent in blocks.
    let bytes = vec![b'x'; 30_000];
    let authority = rcgen_authority();
    for (tls, stage) in [(TlsPolicy::Off, Stage::Body), (TlsPolicy::Required, Stage::Dot)] {
        let (client, mut stream) = tokio::io::duplex(4 * 1024);
        let acceptor = tokio_rustls::TlsAcceptor::from(authority.server.clone());
        let peer = tokio::spawn(async move {
            let stuck = vec![
                Do::Hear("EHLO out.test\r\n"),
                say("250-mx.test\r\n250 PIPELINING\r\n"),
                Do::Hear("DATA\r\n"),
                say("250 ok\r\n250 ok\r\n354 go\r\n"),
                Do::Freeze,
            ];
            if tls == TlsPolicy::Off {
                play_part(stream, [vec![say("220 mx.test\r\n")], stuck].concat()).await;
                return;
            }
            let in_clear = vec![
                say("220 mx.test\r\n"),
                Do::Hear("EHLO out.test\r\n"),
                say("250-mx.test\r\n250 STARTTLS\r\n"),
                Do::Hear("STARTTLS\r\n"),
                say("220 go\r\n"),
            ];
            play_acts(&mut stream, in_clear).await;
            let stream = acceptor.accept(stream).await.expect("a handshake");
            play_part(stream, stuck).await;
        });
        let endpoint = Endpoint {
            tls,
            ..endpoint_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 25)))
        };
        let opened = dialer(Deadlines::default()).open_over(client, &endpoint).await;
        let mut session = opened.expect("a session");
        let transaction = deliver(&mut session, &bytes).await;
        check(&transaction, stage, "timeout", stage == Stage::Dot);
        peer.abort();
    }
}

struct Authority {
    pem: String,
    server: Arc<rustls::ServerConfig>,
}

/// A certificate for mx.test that vouches for itself.
fn rcgen_authority() -> Authority {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["mx.test".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("they belong together");
    Authority {
        pem: certificate.pem(),
        server: Arc::new(server),
    }
}
