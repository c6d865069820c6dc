//! The return path: an address of its own for every Delivery, so that a bounce names what it is about.
//!
//! Takes a key and a Delivery, gives `bounce+<token>` and back. The token is the Delivery and its tenant with a MAC, in
//! lower-case base32: some hosts change the case of local parts. Never trusts a token that does not carry our MAC, so nobody
//! can bounce a Delivery that we did not send, or find out by trying whether one exists.

use aws_lc_rs::{constant_time, hmac};
use uuid::Uuid;

use crate::domain::{DeliveryId, MessageId, SendingDomain, TenantId};

/// The local part before the token.
pub const PREFIX: &str = "bounce+";
/// RFC 5321, 4.5.3.1.1.
pub const LOCAL_PART_MAX: usize = 64;
/// First byte of the token; another one would mean another layout.
const VERSION: u8 = 1;
/// Version, message, recipient, tenant.
const DATA_LENGTH: usize = 1 + 16 + 2 + 4;
/// Of HMAC-SHA-256. 80 bits: a forger would need 2^80 mails, and the address has to fit in 64 octets.
const MAC_LENGTH: usize = 10;
/// Without padding.
const TOKEN_LENGTH: usize = ((DATA_LENGTH + MAC_LENGTH) * 8).div_ceil(5);
/// RFC 4648, 6, in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The key that return paths are made and checked with; all engines of one installation share it.
#[derive(Clone)]
pub struct ReturnPathKey(hmac::Key);

impl ReturnPathKey {
    /// From 32 secret bytes.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    fn mac(&self, data: &[u8]) -> [u8; MAC_LENGTH] {
        let mut context = hmac::Context::with_key(&self.0);
        // Keeps these MACs apart from any other use of the same secret.
        context.update(b"posthaste return path\0");
        context.update(data);
        let tag = context.sign();
        let mut mac = [0; MAC_LENGTH];
        mac.copy_from_slice(&tag.as_ref()[..MAC_LENGTH]);
        mac
    }
}

impl std::fmt::Debug for ReturnPathKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReturnPathKey(secret)")
    }
}

/// What a return path tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReturnPath {
    /// Of which Delivery.
    pub delivery: DeliveryId,
    /// Whose.
    pub tenant: TenantId,
}

/// The local part of the return path of a Delivery; at most 64 octets.
#[must_use]
pub fn make(key: &ReturnPathKey, path: ReturnPath) -> String {
    let mut bytes = [0_u8; DATA_LENGTH + MAC_LENGTH];
    bytes[0] = VERSION;
    bytes[1..17].copy_from_slice(path.delivery.message.0.as_bytes());
    bytes[17..19].copy_from_slice(&path.delivery.recipient.to_be_bytes());
    bytes[19..23].copy_from_slice(&path.tenant.0.to_be_bytes());
    let mac = key.mac(&bytes[..DATA_LENGTH]);
    bytes[DATA_LENGTH..].copy_from_slice(&mac);
    let mut local = String::with_capacity(PREFIX.len() + TOKEN_LENGTH);
    local.push_str(PREFIX);
    encode_base32(&bytes, &mut local);
    local
}

/// The whole return path of a Delivery sent from `domain`.
#[must_use]
pub fn address(key: &ReturnPathKey, path: ReturnPath, domain: &SendingDomain) -> String {
    format!("{}@{}.{}", make(key, path), domain.return_path_subdomain, domain.name)
}

/// What the local part of a return path tells; none when it is not one of ours. Takes as long for a wrong MAC as for a right one.
#[must_use]
pub fn parse(key: &ReturnPathKey, local: &str) -> Option<ReturnPath> {
    let (prefix, token) = local.split_at_checked(PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(PREFIX) || token.len() != TOKEN_LENGTH {
        return None;
    }
    let bytes = decode_base32(token)?;
    let (data, mac) = bytes.split_at(DATA_LENGTH);
    constant_time::verify_slices_are_equal(&key.mac(data), mac).ok()?;
    if data[0] != VERSION {
        return None;
    }
    Some(ReturnPath {
        delivery: DeliveryId {
            message: MessageId(Uuid::from_slice(&data[1..17]).ok()?),
            recipient: u16::from_be_bytes(data[17..19].try_into().ok()?),
        },
        tenant: TenantId(u32::from_be_bytes(data[19..23].try_into().ok()?)),
    })
}

fn encode_base32(bytes: &[u8], out: &mut String) {
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for &byte in bytes {
        buffer = (buffer << 8) | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(ALPHABET[((buffer >> bits) & 31) as usize]));
        }
        buffer &= (1 << bits) - 1;
    }
    if bits > 0 {
        out.push(char::from(ALPHABET[((buffer << (5 - bits)) & 31) as usize]));
    }
}

/// Only the one spelling (apart from case) of each value: bits left over at the end must be zero.
fn decode_base32(token: &str) -> Option<[u8; DATA_LENGTH + MAC_LENGTH]> {
    let mut bytes = [0; DATA_LENGTH + MAC_LENGTH];
    let (mut buffer, mut bits, mut length) = (0_u32, 0_u32, 0);
    for byte in token.bytes() {
        let value = match byte.to_ascii_lowercase() {
            letter @ b'a'..=b'z' => letter - b'a',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        buffer = (buffer << 5) | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            *bytes.get_mut(length)? = u8::try_from((buffer >> bits) & 0xff).ok()?;
            length += 1;
            buffer &= (1 << bits) - 1;
        }
    }
    (length == bytes.len() && buffer == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> ReturnPathKey {
        ReturnPathKey::new(&[byte; 32])
    }

    fn path(message: u128, recipient: u16, tenant: u32) -> ReturnPath {
        ReturnPath {
            delivery: DeliveryId {
                message: MessageId(Uuid::from_u128(message)),
                recipient,
            },
            tenant: TenantId(tenant),
        }
    }

    #[test]
    fn the_same_delivery_always_has_the_same_return_path() {
        let local = make(&key(7), path(0x0199_6f0e_8a51_7c3e_9d2b_5b1c_6a0f_4e11, 3, 1));
        assert_eq!(local, "bounce+aeazs3yorjixypu5fnnry2qpjyiqaayaaaaadt4wkv7blu25otb4g");
        assert_eq!(local.len(), 60);
    }

    #[test]
    fn anything_but_our_own_return_path_is_refused() {
        let good = make(&key(7), path(42, 3, 1));
        assert_eq!(parse(&key(7), &good), Some(path(42, 3, 1)));
        assert_eq!(parse(&key(7), &good.to_ascii_uppercase()), Some(path(42, 3, 1)));
        assert_eq!(parse(&key(8), &good), None);
        for bad in [
            "",
            "bounce",
            "bounce+",
            "bounce+a",
            "bounce\u{e9}+",
            &good[1..],
            &good[..59],
            "postmaster",
        ] {
            assert_eq!(parse(&key(7), bad), None, "{bad:?}");
        }
        for position in PREFIX.len()..good.len() {
            let mut changed = good.clone().into_bytes();
            changed[position] = if changed[position] == b'a' { b'b' } else { b'a' };
            assert_eq!(
                parse(&key(7), &String::from_utf8(changed).unwrap()),
                None,
                "byte {position}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_delivery_comes_back(message: u128, recipient: u16, tenant: u32) {
            let path = path(message, recipient, tenant);
            let local = make(&key(1), path);
            prop_assert!(local.len() <= LOCAL_PART_MAX);
            prop_assert_eq!(parse(&key(1), &local), Some(path));
        }

        #[test]
        fn no_input_panics(local in "(bounce\\+)?\\PC{0,80}") {
            prop_assert_eq!(parse(&key(1), &local), None);
        }
    }
}
