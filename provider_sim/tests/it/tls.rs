//! STARTTLS: with a certificate that can be trusted, with others, and with everything that can go wrong around it.

use std::sync::Arc;

use provider_sim::{Act, Ended, Login, Receiver, Script, Stage, TestAuthority, TlsIdentity, Violation};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{Client, SOON, listen};

fn trusting(pem: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// EHLO, STARTTLS and the handshake, asking for `host`.
async fn upgrade(
    receiver: &Receiver,
    config: Arc<ClientConfig>,
    host: &str,
) -> std::io::Result<Client<TlsStream<TcpStream>>> {
    let mut client = Client::greeted(receiver).await;
    assert_eq!(client.say("STARTTLS").await.code(), "220");
    assert_eq!(client.input, b"", "nothing follows the 220");
    let name = ServerName::try_from(host.to_owned()).unwrap();
    Ok(Client::over(
        TlsConnector::from(config).connect(name, client.stream).await?,
    ))
}

#[tokio::test]
async fn a_message_comes_over_tls_and_says_so() {
    let authority = TestAuthority::new().unwrap();
    let identity = authority.identity_for("mx.x.test").unwrap();
    let login = Login {
        only_over_tls: true,
        ..Login::required("user", "secret")
    };
    let receiver = listen(Receiver::builder().tls(identity).require_tls().login(login)).await;
    let mut plain = Client::connect(&receiver).await;
    plain.reply().await;
    let offer = plain.say("EHLO c").await;
    assert!(offer.offers("STARTTLS") && !offer.offers("AUTH PLAIN LOGIN"));
    assert_eq!(plain.say("MAIL FROM:<a@b>").await.code(), "530");

    let mut client = upgrade(&receiver, trusting(&authority.certificate_pem()), "mx.x.test")
        .await
        .unwrap();
    assert_eq!(
        client.say("MAIL FROM:<a@b>").await.code(),
        "503",
        "the greeting before TLS is forgotten"
    );
    let offer = client.say("EHLO c").await;
    assert!(!offer.offers("STARTTLS") && offer.offers("AUTH PLAIN LOGIN"));
    assert_eq!(client.say("AUTH PLAIN AHVzZXIAc2VjcmV0").await.code(), "235");
    assert_eq!(client.deliver("b@x.test", "<1>").await.code(), "250");
    assert!(receiver.ledger().records()[0].tls);
    let transcript = &receiver.transcripts()[1];
    assert_eq!(
        (transcript.tls, transcript.server_name.as_deref()),
        (true, Some("mx.x.test"))
    );
    assert!(transcript.auth[0].tls);
}

#[tokio::test]
async fn certificates_are_good_or_bad_as_ordered() {
    let authority = TestAuthority::new().unwrap();
    let trusted = trusting(&authority.certificate_pem());
    let own = TlsIdentity::self_signed("mx.x.test").unwrap();
    let trusted_own = trusting(&own.certificate_pem());
    let table = [
        ("good", authority.identity_for("mx.x.test").unwrap(), &trusted, None),
        (
            "good, TLS 1.2",
            authority.tls12_identity_for("mx.x.test").unwrap(),
            &trusted,
            None,
        ),
        ("self-signed and known", own.clone(), &trusted_own, None),
        ("self-signed", own, &trusted, Some("UnknownIssuer")),
        (
            "expired",
            authority.expired_identity_for("mx.x.test").unwrap(),
            &trusted,
            Some("Expired"),
        ),
        (
            "another host",
            authority.identity_for("other.test").unwrap(),
            &trusted,
            Some("NotValidForName"),
        ),
    ];
    for (name, identity, config, expect) in table {
        let receiver = listen(Receiver::builder().tls(identity)).await;
        let upgraded = upgrade(&receiver, Arc::clone(config), "mx.x.test").await;
        match (upgraded, expect) {
            (Ok(mut client), None) => assert_eq!(client.say("EHLO c").await.code(), "250", "{name}"),
            (Err(error), Some(word)) => assert!(format!("{error:?}").contains(word), "{name}: {error:?}"),
            (Ok(_), Some(_)) => panic!("{name}: the handshake succeeded"),
            (Err(error), None) => panic!("{name}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn another_certificate_can_be_presented_on_one_connection() {
    let authority = TestAuthority::new().unwrap();
    let wrong = authority.identity_for("other.test").unwrap();
    let script = Script::new()
        .on_connection(1)
        .at(Stage::TlsHandshake, Act::Present(wrong));
    let good = authority.identity_for("mx.x.test").unwrap();
    let receiver = listen(Receiver::builder().tls(good).script(script)).await;
    let config = trusting(&authority.certificate_pem());
    assert!(upgrade(&receiver, Arc::clone(&config), "mx.x.test").await.is_err());
    assert!(upgrade(&receiver, config, "mx.x.test").await.is_ok());
    assert!(
        receiver
            .wait_until(|receiver| receiver.transcripts()[0].ended.is_some(), SOON)
            .await
    );
}

#[tokio::test]
async fn bytes_can_be_injected_behind_the_answer_to_starttls() {
    let identity = TlsIdentity::self_signed("mx.x.test").unwrap();
    let config = trusting(&identity.certificate_pem());
    let script = Script::new().at(Stage::StartTls, Act::raw("220 go\r\n250 injected\r\n"));
    let receiver = listen(Receiver::builder().tls(identity).script(script)).await;
    let mut client = Client::greeted(&receiver).await;
    assert_eq!(client.say("STARTTLS").await.0, "220 go\r\n");
    assert_eq!(client.reply().await.0, "250 injected\r\n");
    let name = ServerName::try_from("mx.x.test").unwrap();
    let stream = TlsConnector::from(config).connect(name, client.stream).await.unwrap();
    assert_eq!(
        Client::over(stream).say("EHLO c").await.code(),
        "250",
        "the handshake is held all the same"
    );
}

#[tokio::test]
async fn a_refused_starttls_leaves_the_connection_in_clear() {
    let identity = TlsIdentity::self_signed("mx.x.test").unwrap();
    let script = Script::new().at(Stage::StartTls, Act::reply("454 4.7.0 not now"));
    let receiver = listen(Receiver::builder().tls(identity).script(script)).await;
    let mut client = Client::greeted(&receiver).await;
    assert_eq!(client.say("STARTTLS").await.code(), "454");
    assert_eq!(client.deliver("b@x.test", "<1>").await.code(), "250");
}

#[tokio::test]
async fn the_handshake_can_fail_in_several_ways() {
    let identity = TlsIdentity::self_signed("mx.x.test").unwrap();
    let table: [(&str, Vec<Act>, &str); 4] = [
        ("TLS 1.0", Act::tls_1_0_only(), "PeerIncompatible"),
        (
            "garbage",
            vec![Act::Listen, Act::raw("what is TLS?\r\n")],
            "InvalidMessage",
        ),
        ("close", vec![Act::Listen, Act::Close], "eof"),
        ("reset", vec![Act::Listen, Act::Reset], "reset"),
    ];
    for (name, acts, word) in table {
        let script = Script::new().at(Stage::TlsHandshake, acts);
        let receiver = listen(Receiver::builder().tls(identity.clone()).script(script)).await;
        let result = upgrade(&receiver, trusting(&identity.certificate_pem()), "mx.x.test").await;
        let error = format!(
            "{:?}",
            result
                .err()
                .unwrap_or_else(|| panic!("{name}: the handshake succeeded"))
        );
        assert!(error.to_lowercase().contains(&word.to_lowercase()), "{name}: {error}");
    }
}

#[tokio::test]
async fn plaintext_behind_starttls_is_noticed_and_forgotten() {
    let identity = TlsIdentity::self_signed("mx.x.test").unwrap();
    let receiver = listen(Receiver::builder().tls(identity)).await;
    let mut client = Client::greeted(&receiver).await;
    client.send("STARTTLS\r\nMAIL FROM:<evil@x>\r\n").await;
    assert_eq!(client.reply().await.code(), "220");
    drop(client);
    assert!(
        receiver
            .wait_until(|receiver| receiver.transcripts()[0].ended.is_some(), SOON)
            .await
    );
    let transcript = &receiver.transcripts()[0];
    assert_eq!(
        (&transcript.violations[..], transcript.ended),
        (&[Violation::PlaintextAfterStartTls][..], Some(Ended::TlsFailed))
    );
    assert_eq!(receiver.counters().transactions, 0);
}
