//! A private authority and what it signed.

use std::io;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// Files of an authority and of a server for 127.0.0.1 and `localhost` that it vouches for.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority's certificate, PEM.
    pub authority: PathBuf,
    /// The server's certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

impl Certificates {
    /// Makes them in `folder`; `name` is the authority's and tells one from another.
    ///
    /// # Errors
    /// When keys cannot be made or files not be written.
    pub fn make(folder: &Path, name: &str) -> io::Result<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new()).map_err(io::Error::other)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let authority_key = KeyPair::generate().map_err(io::Error::other)?;
        let authority = params.self_signed(&authority_key).map_err(io::Error::other)?;
        let issuer = Issuer::new(params, authority_key);
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let params = CertificateParams::new(names).map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &issuer).map_err(io::Error::other)?;
        let file = |kind: &str, text: String| -> io::Result<PathBuf> {
            let path = folder.join(format!("{name}-{kind}.pem"));
            std::fs::write(&path, text)?;
            Ok(path)
        };
        Ok(Self {
            authority: file("authority", authority.pem())?,
            certificate: file("certificate", certificate.pem())?,
            key: file("key", key.serialize_pem())?,
        })
    }
}
