//! New DKIM keys for a domain, with the DNS records that publish them.
//!
//! Takes the prefix of the selectors, gives one RSA-2048 and one Ed25519 key. The one thing about mail that draws random
//! numbers, and so it is here and not in `mail/`. Never stores or logs a key.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::domain::{DkimAlgorithm, DkimKey, Timestamp};

/// The cryptographic library could not make a key: it has no random numbers or no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a DKIM key could not be generated")]
pub struct KeyGenerationError;

/// One RSA-2048 key (`<prefix>r`) and one Ed25519 key (`<prefix>e`). Both sign every mail: not every receiver knows Ed25519,
/// and those that do have a second chance. Takes tens to hundreds of milliseconds: not on a thread that serves others.
///
/// # Errors
/// When the cryptographic library fails.
pub fn generate_keys(selector_prefix: &str) -> Result<Vec<DkimKey>, KeyGenerationError> {
    Ok(vec![
        rsa(format!("{selector_prefix}r"))?,
        ed25519(format!("{selector_prefix}e"))?,
    ])
}

fn rsa(selector: String) -> Result<DkimKey, KeyGenerationError> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyGenerationError)?;
    let private: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyGenerationError)?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| KeyGenerationError)?;
    Ok(DkimKey {
        selector,
        algorithm: DkimAlgorithm::Rsa2048,
        private_der: private.as_ref().to_vec(),
        record: format!("v=DKIM1; k=rsa; p={}", BASE64.encode(public.as_ref())),
    })
}

fn ed25519(selector: String) -> Result<DkimKey, KeyGenerationError> {
    let pair = Ed25519KeyPair::generate().map_err(|_| KeyGenerationError)?;
    let private = pair.to_pkcs8v1().map_err(|_| KeyGenerationError)?;
    Ok(DkimKey {
        selector,
        algorithm: DkimAlgorithm::Ed25519,
        private_der: private.as_ref().to_vec(),
        // RFC 8463, 4: the bare 32 bytes, without an X.509 wrapping.
        record: format!("v=DKIM1; k=ed25519; p={}", BASE64.encode(pair.public_key().as_ref())),
    })
}

/// Selectors carry the day they were made, so that later keys get other names.
#[must_use]
pub fn selector_prefix(now: Timestamp) -> String {
    const DAY_MS: u64 = 24 * 3600 * 1000;
    format!("ph{}", now.0 / DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_new_each_time_and_their_records_have_the_right_size() {
        let (one, two) = (generate_keys("ph1").unwrap(), generate_keys("ph1").unwrap());
        assert_eq!(
            one.iter().map(|key| key.selector.as_str()).collect::<Vec<_>>(),
            ["ph1r", "ph1e"]
        );
        for (key, (tags, length)) in one
            .iter()
            .zip([("v=DKIM1; k=rsa; p=", 294), ("v=DKIM1; k=ed25519; p=", 32)])
        {
            let public = BASE64.decode(key.record.strip_prefix(tags).unwrap()).unwrap();
            assert_eq!(public.len(), length);
            assert!(
                two.iter()
                    .all(|other| other.record != key.record && other.private_der != key.private_der)
            );
        }
    }

    #[test]
    fn a_key_does_not_show_its_secret() {
        let shown = format!("{:?}", generate_keys("ph1").unwrap());
        assert!(!shown.contains("private"), "{shown}");
    }
}
