//! Tests of signing: the signatures verify by another implementation, and break when a byte changes.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock, Mutex};

use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::{
    AuthenticatedMessage, DkimResult, MX, MessageAuthenticator, Parameters, RecordSet, ResolverCache, Txt,
};
use proptest::prelude::*;

use super::*;
use crate::domain::{DomainStatus, TenantId};

/// PKCS#8 of the key in RFC 8463, A.2.
const ED25519_DER: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
const ED25519_RECORD: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
/// A key made for these tests and used nowhere else, so that signatures can be compared byte by byte.
const RSA_DER: &str = include_str!("test_rsa_key.b64");
const RSA_RECORD: &str = include_str!("test_rsa_record.txt");

const MESSAGE: &str = "From: Acme <no-reply@acme.test>\r\nTo: jacky@example.test\r\nSubject: Your\r\n code\r\n\
    Date: Mon, 23 Nov 2026 11:02:03 +0000\r\nMessage-ID: <1.0@acme.test>\r\nX-Other: not signed\r\n\
    MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nHello  Jacky \r\n";

fn domain() -> SendingDomain {
    let key = |selector: &str, algorithm, der: &str, record: &str| DkimKey {
        selector: selector.to_owned(),
        algorithm,
        private_der: BASE64.decode(der.trim()).unwrap(),
        record: record.trim().to_owned(),
    };
    SendingDomain {
        tenant: TenantId(1),
        name: "acme.test".to_owned(),
        status: DomainStatus::Verified,
        return_path_subdomain: "bounce".to_owned(),
        dkim: vec![
            key("ph1r", DkimAlgorithm::Rsa2048, RSA_DER, RSA_RECORD),
            key("ph1e", DkimAlgorithm::Ed25519, ED25519_DER, ED25519_RECORD),
        ],
        created_at: Timestamp(0),
        checked_at: None,
    }
}

static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new(&domain()).unwrap());
const AT: Timestamp = Timestamp(1_795_431_723_456);

fn signed(message: &str) -> String {
    String::from_utf8(SIGNER.signed(message.as_bytes(), AT).unwrap()).unwrap()
}

/// DNS made of what a test puts in.
struct Zone<K, V>(Mutex<HashMap<K, V>>);

impl<K: Hash + Eq, V: Clone> ResolverCache<K, V> for Zone<K, V> {
    fn get<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.lock().unwrap().get(name).cloned()
    }

    fn remove<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.lock().unwrap().remove(name)
    }

    fn insert(&self, name: K, value: V, _: std::time::Instant) {
        self.0.lock().unwrap().insert(name, value);
    }
}

type Names<V> = Zone<Box<str>, RecordSet<V>>;

/// Verifies all signatures with mail-auth and the public keys of [`domain`]; gives one result each.
fn verify(message: &str) -> Vec<bool> {
    let parsed = AuthenticatedMessage::parse(message.as_bytes()).unwrap();
    let records = domain().dkim.into_iter().map(|key| {
        let name = format!("{}._domainkey.acme.test.", key.selector).into_boxed_str();
        (
            name,
            Txt::DomainKey(Arc::new(DomainKey::parse(key.record.as_bytes()).unwrap())),
        )
    });
    let zone = Zone(Mutex::new(records.collect::<HashMap<_, _>>()));
    let parameters = Parameters {
        params: &parsed,
        cache_txt: Some(&zone),
        cache_mx: None::<&Names<MX>>,
        cache_ptr: None::<&Zone<IpAddr, RecordSet<Box<str>>>>,
        cache_ipv4: None::<&Names<Ipv4Addr>>,
        cache_ipv6: None::<&Names<Ipv6Addr>>,
    };
    // All names are in the zone: the resolver is never asked.
    let authenticator = MessageAuthenticator::new_cloudflare().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let outputs = runtime.block_on(authenticator.verify_dkim(parameters));
    outputs
        .iter()
        .map(|output| *output.result() == DkimResult::Pass)
        .collect()
}

fn body_hash(message: &str) -> String {
    let signed = signed(message);
    signed
        .split("bh=")
        .nth(1)
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned()
}

#[test]
fn both_signatures_verify() {
    assert_eq!(verify(&signed(MESSAGE)), [true, true]);
}

#[test]
fn the_field_is_exactly_this_and_the_same_each_time() {
    let bytes = signed(MESSAGE);
    assert_eq!(bytes, signed(MESSAGE));
    let (fields, message) = bytes.split_at(bytes.find("From: ").unwrap());
    assert_eq!(message, MESSAGE);
    let ed25519 = &fields[fields.rfind("DKIM-Signature").unwrap()..];
    assert_eq!(
        ed25519,
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n\td=acme.test; s=ph1e;\r\n\tt=1795431723;\r\n\
         \tbh=yF9HScVNPEi2dTwFSYTYKsbA8LeFIcaDRiO1MqL6rlc=;\r\n\
         \th=Content-Type:MIME-Version:Message-ID:Date:Subject:To:From:From:Subject:\r\n\
         \tTo:Cc:Date:Message-ID:Reply-To:MIME-Version:Content-Type:\r\n\
         \tList-Unsubscribe:List-Unsubscribe-Post;\r\n\
         \tb=OW7gA7W9JTAaAgK5DKL7EGSnRhtBo/vS1jDItImdsAh18IqWyJbTQCI5udHNoUbU/DFvutts\r\n\tpjk9Yot1EAdRAA==\r\n"
    );
    for line in fields.split("\r\n") {
        assert!(line.len() <= 78, "{line}");
    }
}

#[test]
fn what_is_signed_cannot_be_changed_or_doubled() {
    let good = signed(MESSAGE);
    for (from, to) in [
        ("Hello  Jacky", "Hello  Mallory"),
        ("Your\r\n code", "Your\r\n prize"),
        ("jacky@example", "mallory@example"),
        ("MIME-Version: 1.0\r\n", "MIME-Version: 1.0\r\nSubject: another one\r\n"),
        (
            "MIME-Version: 1.0\r\n",
            "MIME-Version: 1.0\r\nCc: added@example.test\r\n",
        ),
        (
            "MIME-Version: 1.0\r\n",
            "MIME-Version: 1.0\r\nReply-To: added@example.test\r\n",
        ),
        ("t=1795431723", "t=1795431724"),
    ] {
        let changed = good.replace(from, to);
        assert_ne!(changed, good, "{from}");
        assert_eq!(verify(&changed), [false, false], "{from} → {to}");
    }
    for (from, to) in [
        ("X-Other: not signed", "X-Other: changed"),
        ("Hello  Jacky \r\n", "Hello Jacky\r\n\r\n"),
    ] {
        assert_eq!(verify(&good.replace(from, to)), [true, true], "{from} → {to}");
    }
}

#[test]
fn blank_lines_at_the_end_do_not_matter() {
    let expect = body_hash(MESSAGE);
    for tail in ["\r\n", " \r\n", "\r\n \r\n\t\r\n", "\r\n \t"] {
        assert_eq!(body_hash(&format!("{MESSAGE}{tail}")), expect, "{tail:?}");
    }
    // RFC 6376, 3.4.4: the hash of the empty body.
    let empty = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    for body in ["", "\r\n", "  \r\n\r\n"] {
        assert_eq!(
            body_hash(&format!("From: a@acme.test\r\n\r\n{body}")),
            empty,
            "{body:?}"
        );
    }
}

#[test]
fn a_broken_key_is_named() {
    let mut broken = domain();
    broken.dkim[1].private_der.truncate(20);
    let error = Signer::new(&broken).unwrap_err().to_string();
    assert!(
        error.starts_with("DKIM key ph1e of acme.test cannot be read"),
        "{error}"
    );
}

#[test]
fn a_domain_without_keys_signs_nothing() {
    let mut bare = domain();
    bare.dkim.clear();
    assert_eq!(Signer::new(&bare).unwrap().sign(MESSAGE.as_bytes(), AT), Ok(Vec::new()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_message_verifies(
        subject in "([ -~]|\r\n[ \t]x){0,120}",
        lines in prop::collection::vec("[ -~\t]{0,90}", 0..12),
        last in "[!-~]{1,20}",
    ) {
        let body = lines.join("\r\n");
        let message = format!("From: a@acme.test\r\nSubject: {subject}\r\nTo: b@c.test\r\n\r\n{body}\r\n{last}\r\n");
        prop_assert_eq!(verify(&signed(&message)), [true, true]);
    }
}
