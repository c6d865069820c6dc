//! How TLS is done: two configurations, one that takes any certificate and one that checks it.
//!
//! Takes a clear stream and a host, gives an encrypted one. TLS 1.2 or newer in either case. Opportunistic encryption
//! (RFC 7435) keeps out listeners, not impostors: whoever could show a false certificate could as well remove STARTTLS from
//! the answer to EHLO, and refusing it would only mean sending in clear. Never falls back: the dialer decides that.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::wire::{Raw, Wire};
use crate::domain::Failure;

/// Both configurations. Cheap to use, dear to make: one for the process.
#[derive(Clone)]
pub(super) struct Tls {
    any: TlsConnector,
    verified: TlsConnector,
}

impl Tls {
    /// Trusts the roots of the system, or Mozilla's where the system has none, and `extra_roots`.
    pub(super) fn new(extra_roots: &[CertificateDer<'static>]) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for root in extra_roots {
            roots.add(root.clone())?;
        }
        let any = AnyCertificate(provider.clone());
        let builder = || ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let any = builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(any))
            .with_no_client_auth();
        let verified = builder()?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self {
            any: TlsConnector::from(Arc::new(any)),
            verified: TlsConnector::from(Arc::new(verified)),
        })
    }

    /// The handshake. No deadline: the caller has one.
    pub(super) async fn start(&self, raw: Raw, host: &str, address: IpAddr, verify: bool) -> Result<Wire, Failure> {
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            Err(_) if verify => return Err(Failure::Tls(format!("{host:?} is no name a certificate can have"))),
            // Nobody checks it; an address is not sent.
            Err(_) => ServerName::from(address),
        };
        let connector = if verify { &self.verified } else { &self.any };
        match connector.connect(name, raw).await {
            Ok(stream) => Ok(Wire::Tls(Box::new(stream))),
            Err(error) => Err(Failure::Tls(error.to_string())),
        }
    }
}

/// Takes every certificate, and every signature with it.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
