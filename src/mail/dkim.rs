//! DKIM signatures (RFC 6376, RFC 8463): one per key of a domain.
//!
//! Takes a composed message and the time that `t=` shall say; gives the `DKIM-Signature` fields to put in front of it.
//! Canonicalisation and keys are mail-auth's; the field is written here, because mail-auth's own `sign` reads the clock and
//! a retry has to be byte-identical. Never sets `x=`: a signature that runs out before the last retry does is a classic fault
//! of bulk senders.
//!
//! The body hash is taken over the body without its blank tail: relaxed canonicalisation drops it anyway, and mail-auth
//! 0.13.3 hashes it wrongly when lines of it hold blanks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mail_auth::common::crypto::{DkimKey as Key, Ed25519Key, HashAlgorithm, RsaKey, Sha256, SigningKey};
use mail_auth::common::headers::{Writable, Writer};
use mail_auth::dkim::Canonicalization;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;

use crate::domain::{DkimAlgorithm, DkimKey, SendingDomain, Timestamp};

/// Fields that are signed, and once more than they occur, so that nobody on the way can add a second one.
const OVERSIGNED: &[&str] = &[
    "From",
    "Subject",
    "To",
    "Cc",
    "Date",
    "Message-ID",
    "Reply-To",
    "MIME-Version",
    "Content-Type",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
];
/// Fields that are signed when they are there. Mailing lists add these, which must not break the signature.
const SIGNED: &[&str] = &[
    "List-ID",
    "List-Help",
    "In-Reply-To",
    "References",
    "Feedback-ID",
    "CFBL-Address",
];
/// Characters of one line of the signature, with its tab below the soft limit of header lines.
const VALUE_LINE_MAX: usize = 72;

/// Why a message cannot be signed: our fault, never the recipient's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DkimError {
    /// The stored key is not what it says it is.
    #[error("DKIM key {selector} of {domain} cannot be read: {detail}")]
    Key {
        /// Domain of the key.
        domain: String,
        /// Selector of the key.
        selector: String,
        /// What the cryptographic library said.
        detail: String,
    },
    /// The cryptographic library failed.
    #[error("DKIM signature failed: {0}")]
    Sign(String),
}

/// The keys of a domain, parsed. Made once for a domain and kept by the caller.
pub struct Signer {
    domain: String,
    keys: Vec<(String, Key)>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let selectors: Vec<&str> = self.keys.iter().map(|(selector, _)| selector.as_str()).collect();
        f.debug_struct("Signer")
            .field("domain", &self.domain)
            .field("selectors", &selectors)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// Parses all keys of a domain.
    ///
    /// # Errors
    /// The first key that cannot be read.
    pub fn new(domain: &SendingDomain) -> Result<Self, DkimError> {
        let keys = domain.dkim.iter().map(|key| {
            let parsed = parse_key(key).map_err(|detail| DkimError::Key {
                domain: domain.name.clone(),
                selector: key.selector.clone(),
                detail,
            })?;
            Ok((key.selector.clone(), parsed))
        });
        Ok(Self {
            domain: domain.name.clone(),
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    /// The `DKIM-Signature` fields of a message, one per key, each ended by CRLF; they go in front of it. `at` is what `t=`
    /// says: when the Message was accepted, so that every retry has the same bytes.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn sign(&self, message: &[u8], at: Timestamp) -> Result<Vec<u8>, DkimError> {
        if self.keys.is_empty() {
            return Ok(Vec::new());
        }
        let signed = Signed::read(message);
        let mut out = Vec::with_capacity(self.keys.len() * 1024);
        for (selector, key) in &self.keys {
            self.sign_with(selector, key, &signed, at, &mut out)?;
        }
        Ok(out)
    }

    /// The message with its signatures in front.
    ///
    /// # Errors
    /// As [`Signer::sign`].
    pub fn signed(&self, message: &[u8], at: Timestamp) -> Result<Vec<u8>, DkimError> {
        let mut out = self.sign(message, at)?;
        out.extend_from_slice(message);
        Ok(out)
    }

    fn sign_with(
        &self,
        selector: &str,
        key: &Key,
        signed: &Signed,
        at: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), DkimError> {
        let start = out.len();
        let tags = format!(
            "DKIM-Signature: v=1; a={}; c=relaxed/relaxed;\r\n\td={}; s={selector};\r\n\tt={};\r\n\tbh={};\r\n\th={};\r\n\tb=",
            key.algorithm().name(),
            self.domain,
            at.0 / 1000,
            signed.body_hash,
            signed.names,
        );
        out.extend_from_slice(tags.as_bytes());
        // RFC 6376, 3.7: the field itself goes in last, with an empty `b=` and without its final CRLF.
        let value = &out[start + "DKIM-Signature:".len()..];
        let mut data = signed.headers.clone();
        Canonicalization::Relaxed.canonicalize_headers([(&b"DKIM-Signature"[..], value)].into_iter(), &mut data);
        let signature = key
            .sign(data.as_slice())
            .map_err(|error| DkimError::Sign(error.to_string()))?;
        let encoded = BASE64.encode(signature);
        let mut pieces = encoded.as_bytes().chunks(VALUE_LINE_MAX);
        out.extend_from_slice(pieces.next().unwrap_or_default());
        for piece in pieces {
            out.extend_from_slice(b"\r\n\t");
            out.extend_from_slice(piece);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

fn parse_key(key: &DkimKey) -> Result<Key, String> {
    let der = &key.private_der;
    match key.algorithm {
        DkimAlgorithm::Rsa2048 => {
            RsaKey::<Sha256>::from_key_der(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.as_slice())))
                .map(Key::from)
        }
        DkimAlgorithm::Ed25519 => Ed25519Key::from_pkcs8_maybe_unchecked_der(der).map(Key::from),
    }
    .map_err(|error| error.to_string())
}

/// What all signatures of a message have in common.
struct Signed {
    /// The signed fields in relaxed form, each ended by CRLF.
    headers: Vec<u8>,
    /// The value of `h=`, folded.
    names: String,
    /// The value of `bh=`.
    body_hash: String,
}

impl Signed {
    fn read(message: &[u8]) -> Self {
        let (header, body) = split(message);
        let mut chosen: Vec<_> = fields(header)
            .filter(|(name, _)| is_among(OVERSIGNED, name) || is_among(SIGNED, name))
            .collect();
        // Verifiers take several fields of one name from the bottom up (RFC 6376, 5.4.2).
        chosen.reverse();
        let body_hash = HashAlgorithm::Sha256.hash(Relaxed(without_blank_tail(body)));
        let mut headers = Vec::with_capacity(1024);
        Canonicalization::Relaxed.canonicalize_headers(chosen.iter().copied(), &mut headers);
        let present = chosen.iter().map(|(name, _)| String::from_utf8_lossy(name));
        Self {
            headers,
            names: folded(present.chain(OVERSIGNED.iter().map(|name| (*name).into()))),
            body_hash: BASE64.encode(body_hash.as_ref()),
        }
    }
}

/// Header and body of a message; the empty line between belongs to neither.
fn split(message: &[u8]) -> (&[u8], &[u8]) {
    match message.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(end) => (&message[..end + 2], &message[end + 4..]),
        None => (message, &[]),
    }
}

/// Names and values (with folds and final CRLF) of the fields of a header.
fn fields(header: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let mut end = 0;
        while end < rest.len() {
            let line = rest[end..].windows(2).position(|pair| pair == b"\r\n");
            end = line.map_or(rest.len(), |line| end + line + 2);
            if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (field, later) = rest.split_at(end);
        rest = later;
        let colon = field.iter().position(|byte| *byte == b':')?;
        Some((&field[..colon], &field[colon + 1..]))
    })
}

/// A body in relaxed form, for the hash.
struct Relaxed<'a>(&'a [u8]);

impl Writable for Relaxed<'_> {
    fn write(self, writer: &mut impl Writer) {
        Canonicalization::Relaxed.canonical_body(self.0, 0).write(writer);
    }
}

fn is_among(names: &[&str], name: &[u8]) -> bool {
    names
        .iter()
        .any(|one| one.as_bytes().eq_ignore_ascii_case(name.trim_ascii()))
}

/// Names with colons between, broken after a colon where a line would grow too long.
fn folded<'a>(names: impl Iterator<Item = std::borrow::Cow<'a, str>>) -> String {
    let mut text = String::with_capacity(320);
    let mut column = 0;
    for name in names {
        if !text.is_empty() {
            text.push(':');
            column += 1;
        }
        if column + name.len() > VALUE_LINE_MAX {
            text.push_str("\r\n\t");
            column = 0;
        }
        column += name.len();
        text.push_str(&name);
    }
    text
}

/// The body up to its last line that is not blank, with the CRLF of that line.
fn without_blank_tail(body: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let kept = body.iter().rposition(|byte| !blank(byte)).map_or(0, |last| last + 1);
    let tail = &body[kept..];
    match tail.windows(2).position(|pair| pair == b"\r\n") {
        Some(_) if kept == 0 => &[],
        Some(crlf) => &body[..kept + crlf + 2],
        None => body,
    }
}

#[cfg(test)]
mod tests;
