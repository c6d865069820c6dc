//! Secrets at rest: seals what must not lie in the store in clear, and derives keys for other purposes.
//!
//! Takes 32 bytes of key (from a file or the environment), gives sealed envelopes and back. An envelope opens only with
//! the same key and under the same name, so that one tenant's key cannot be put in another's place.
//! AES-256-GCM-SIV with a random nonce: even a repeated nonce would only show that two secrets are equal.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// The only envelope so far: this byte, the nonce, the sealed bytes with their tag.
const VERSION: u8 = 1;
/// Length of the key in bytes.
const KEY_BYTES: usize = 32;

/// Why a secret could not be had.
#[derive(Debug, Error)]
pub enum SealError {
    /// Another key, another name, or changed bytes.
    #[error(
        "a sealed secret cannot be opened: it was sealed with another secret key, or changed. All engines \
             of an installation need the same secret.key in their data directories (or POSTHASTE_SECRET_KEY)"
    )]
    Opening,
    /// The key is not 32 bytes in base64 or hexadecimal.
    #[error("the secret key must be 32 bytes, in base64 or hexadecimal")]
    KeyFormat,
    /// The key file cannot be read or written.
    #[error("the secret key file: {0}")]
    File(#[from] io::Error),
}

/// Seals and opens. The key never leaves it but as derived ones.
#[derive(Clone)]
pub struct Seal {
    key: [u8; KEY_BYTES],
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

impl Seal {
    /// A seal with this key.
    #[must_use]
    pub fn new(key: [u8; KEY_BYTES]) -> Self {
        Self { key }
    }

    /// The key from `value` (of an environment variable) if there is one, else from the file at `path`, which is made,
    /// with a random key and for its owner only, if it is missing.
    pub fn load_or_create(path: &Path, value: Option<String>) -> Result<Self, SealError> {
        if let Some(value) = value {
            return parse(&value).map(Self::new);
        }
        match File::open(path) {
            Ok(mut file) => {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                parse(&text).map(Self::new)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
            Err(error) => Err(error.into()),
        }
    }

    /// Seals `secret` under `name`.
    #[must_use]
    pub fn seal(&self, name: &str, secret: &[u8]) -> Vec<u8> {
        let mut sealed = secret.to_vec();
        let nonce = self
            .cipher()
            .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed);
        let nonce = nonce.expect("a secret is far shorter than what one nonce may seal");
        let mut envelope = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        envelope.push(VERSION);
        envelope.extend_from_slice(nonce.as_ref());
        envelope.extend_from_slice(&sealed);
        envelope
    }

    /// Opens what was sealed under `name`.
    pub fn open(&self, name: &str, envelope: &[u8]) -> Result<Vec<u8>, SealError> {
        let Some((&VERSION, rest)) = envelope.split_first() else {
            return Err(SealError::Opening);
        };
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Opening)?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self
            .cipher()
            .open_in_place(nonce, Aad::from(name.as_bytes()), &mut opened);
        let length = plain.map_err(|_| SealError::Opening)?.len();
        opened.truncate(length);
        Ok(opened)
    }

    /// A key for another purpose. The same purpose always gives the same key; none tells anything about another.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; KEY_BYTES] {
        let mut derived = [0; KEY_BYTES];
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"posthaste key derivation")
            .extract(&self.key)
            .expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut derived))
            .expect("32 bytes are what one SHA-256 gives");
        derived
    }

    fn cipher(&self) -> RandomizedNonceKey {
        RandomizedNonceKey::new(&AES_256_GCM_SIV, &self.derive("sealing of stored secrets"))
            .expect("the key has the length that the cipher wants")
    }
}

fn parse(text: &str) -> Result<[u8; KEY_BYTES], SealError> {
    let text = text.trim();
    let bytes = match text.len() {
        64 => from_hex(text),
        _ => STANDARD.decode(text).ok(),
    };
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(SealError::KeyFormat)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn create(path: &Path) -> Result<Seal, SealError> {
    let mut key = [0; KEY_BYTES];
    rand::fill(&mut key).map_err(|_| io::Error::other("no randomness"))?;
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{}", STANDARD.encode(key))?;
    file.sync_all()?;
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        File::open(directory)?.sync_all()?;
    }
    Ok(Seal::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_under_its_own_name_and_key_only() {
        let seal = Seal::new([7; 32]);
        let envelope = seal.seal("1/example.com/s1", b"private");
        assert_eq!(seal.open("1/example.com/s1", &envelope).expect("opens"), b"private");
        assert!(seal.open("2/example.com/s1", &envelope).is_err());
        assert!(Seal::new([8; 32]).open("1/example.com/s1", &envelope).is_err());
        for at in 0..envelope.len() {
            let mut changed = envelope.clone();
            changed[at] ^= 1;
            assert!(seal.open("1/example.com/s1", &changed).is_err(), "byte {at}");
            assert!(seal.open("1/example.com/s1", &envelope[..at]).is_err(), "cut at {at}");
        }
        assert_ne!(envelope, seal.seal("1/example.com/s1", b"private"), "nonces differ");
    }

    #[test]
    fn derived_keys_are_stable_and_differ_by_purpose() {
        let seal = Seal::new([7; 32]);
        assert_eq!(seal.derive("verp"), Seal::new([7; 32]).derive("verp"));
        assert_ne!(seal.derive("verp"), seal.derive("tracking"));
        assert_ne!(seal.derive("verp"), [7; 32]);
    }

    #[test]
    fn the_key_file_is_made_once_and_read_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret.key");
        let first = Seal::load_or_create(&path, None).expect("made");
        let second = Seal::load_or_create(&path, None).expect("read");
        assert_eq!(first.key, second.key);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).expect("is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_key_is_read_from_hexadecimal_or_base64_and_nothing_else() {
        let check = |text: &str, expect: Option<[u8; 32]>| {
            let seal = Seal::load_or_create(Path::new("/nonexistent/secret.key"), Some(text.to_owned()));
            assert_eq!(seal.ok().map(|seal| seal.key), expect, "{text:?}");
        };
        check(&"0a".repeat(32), Some([10; 32]));
        check(&format!(" {}\n", STANDARD.encode([9_u8; 32])), Some([9; 32]));
        check("", None);
        check("short", None);
        check(&"zz".repeat(32), None);
        check(&STANDARD.encode([9_u8; 31]), None);
    }
}
