//! Certificates for simulated providers: self-signed, signed by a test authority, expired or for another host.
//!
//! Takes host names, gives identities that a receiver presents and PEM text that a client may trust. Every key is made
//! when asked for and forgotten afterwards. Never reads or writes files.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate or TLS setting that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The host name or key was refused.
    #[error("the certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refused certificate, key or versions.
    #[error("the TLS settings were refused: {0}")]
    Settings(#[from] rustls::Error),
}

/// What a receiver presents in its handshake. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TlsIdentity {
    pub(crate) config: Arc<ServerConfig>,
    pem: Arc<str>,
}

impl TlsIdentity {
    /// A certificate for `host` that nobody but itself vouches for, as most small servers have.
    ///
    /// # Errors
    /// When `host` is not a DNS name.
    pub fn self_signed(host: &str) -> Result<Self, TlsError> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![host.to_owned()])?.self_signed(&key)?;
        let pem = certificate.pem();
        Self::build(vec![certificate.der().clone()], &key, &pem, rustls::DEFAULT_VERSIONS)
    }

    /// The receiver's own certificate as PEM. For a self-signed one this is what a client must trust.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.pem.to_string()
    }

    fn build(
        chain: Vec<CertificateDer<'static>>,
        key: &KeyPair,
        pem: &str,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Result<Self, TlsError> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Self {
            config: Arc::new(config),
            pem: pem.into(),
        })
    }
}

/// A certificate authority of the test's own.
#[derive(Debug)]
pub struct TestAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl TestAuthority {
    /// A new authority with a key of its own.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> Result<Self, TlsError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Provider Sim Test Authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer })
    }

    /// The authority's certificate as PEM: give it to the client as its root.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.issuer.pem()
    }

    /// A valid certificate for `host`.
    ///
    /// # Errors
    /// When `host` is not a DNS name.
    pub fn identity_for(&self, host: &str) -> Result<TlsIdentity, TlsError> {
        self.issue(host, rustls::DEFAULT_VERSIONS, |_| {})
    }

    /// A valid certificate for `host`, on a receiver that speaks TLS 1.2 and nothing newer.
    ///
    /// # Errors
    /// When `host` is not a DNS name.
    pub fn tls12_identity_for(&self, host: &str) -> Result<TlsIdentity, TlsError> {
        self.issue(host, &[&rustls::version::TLS12], |_| {})
    }

    /// A certificate for `host` that expired in 2001.
    ///
    /// # Errors
    /// When `host` is not a DNS name.
    pub fn expired_identity_for(&self, host: &str) -> Result<TlsIdentity, TlsError> {
        self.issue(host, rustls::DEFAULT_VERSIONS, |params| {
            params.not_before = rcgen::date_time_ymd(2000, 1, 1);
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        })
    }

    fn issue(
        &self,
        host: &str,
        versions: &[&'static rustls::SupportedProtocolVersion],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<TlsIdentity, TlsError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, host);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer)?;
        let chain = vec![certificate.der().clone(), self.issuer.der().clone()];
        TlsIdentity::build(chain, &key, &certificate.pem(), versions)
    }
}

/// The ServerHello of a server that knows TLS 1.0 and nothing newer: a client of this century must refuse it.
pub(crate) fn tls_1_0_server_hello() -> Vec<u8> {
    let mut hello = vec![0x16, 0x03, 0x01, 0x00, 0x2a]; // handshake record, TLS 1.0, 42 bytes
    hello.extend([0x02, 0x00, 0x00, 0x26, 0x03, 0x01]); // ServerHello, 38 bytes, TLS 1.0
    hello.extend([0x5a; 32]); // random
    hello.extend([0x00, 0x00, 0x2f, 0x00]); // no session id, TLS_RSA_WITH_AES_128_CBC_SHA, no compression
    hello
}
