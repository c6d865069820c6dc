//! What an API key looks like, and what is stored of it.
//!
//! Takes 32 random bytes, gives the key to show once; takes a key, gives the hash to store and to look up by. The key
//! carries 256 random bits, so one SHA-256 is enough and no comparison of ours can leak it by its timing. Never draws
//! random numbers, never stores, never logs.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What every key begins with, so that people and secret scanners know one when they see it.
pub const PREFIX: &str = "ph_live_";
/// Length of a key in characters: prefix and 43 characters of base64.
pub const KEY_BYTES: usize = PREFIX.len() + 43;

/// The key made from these random bytes.
#[must_use]
pub fn make(random: &[u8; 32]) -> String {
    let mut key = String::with_capacity(KEY_BYTES);
    key.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(random, &mut key);
    key
}

/// SHA-256 of a key: what is stored and looked up.
#[must_use]
pub fn hash(key: &str) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, key.as_bytes());
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// The last four characters, to tell keys apart in lists; empty for what is no key.
#[must_use]
pub fn last4(key: &str) -> String {
    if looks_like_a_key(key) {
        key[KEY_BYTES - 4..].to_owned()
    } else {
        String::new()
    }
}

/// Whether it has the form of a key. Says nothing about whether it works.
#[must_use]
pub fn looks_like_a_key(text: &str) -> bool {
    text.len() == KEY_BYTES
        && text.strip_prefix(PREFIX).is_some_and(|rest| {
            rest.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recognised_and_hashes_to_the_same_value() {
        let key = make(&[7; 32]);
        assert_eq!(key.len(), KEY_BYTES);
        assert!(looks_like_a_key(&key));
        assert!(key.ends_with(&last4(&key)) && last4(&key).len() == 4);
        assert_eq!(hash(&key), hash(&key.clone()));
        assert_ne!(hash(&key), hash(&make(&[8; 32])));
    }

    #[test]
    fn other_text_is_no_key() {
        let key = make(&[7; 32]);
        for bad in [
            "",
            "ph_live_",
            &key[1..],
            &format!("{key}x"),
            &key.replace("live", "test"),
            &format!("{}\u{e9}", &key[..KEY_BYTES - 2]),
            &format!("{} ", &key[..KEY_BYTES - 1]),
        ] {
            assert!(!looks_like_a_key(bad), "{bad:?}");
            assert_eq!(last4(bad), "");
        }
    }

    #[test]
    fn the_hash_is_sha_256() {
        let hex: String = hash("abc").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
