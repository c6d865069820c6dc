//! What is around every stored record: a version in front, a checksum behind.
//!
//! Takes a record, gives bytes, and back. Bytes that are not exactly what was written (another version, a flipped bit, a
//! cut end) are [`Damaged`], never a value that looks right.

use serde::{Deserialize, Serialize};

/// The first version. A record's struct never changes its shape under the same version.
const VERSION: u8 = 1;
/// Bytes of the checksum (CRC-32) at the end.
const CHECKSUM: usize = 4;

/// The bytes of a record cannot be read. They are left as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damaged(pub(crate) String);

impl Damaged {
    /// Says which record it is.
    pub(crate) fn of(self, what: &str, key: impl std::fmt::Display) -> Self {
        Self(format!("{what} {key}: {}", self.0))
    }
}

/// A code that this version does not know, or another value that no version wrote.
pub(crate) fn known<T>(value: Option<T>, what: &str) -> Result<T, Damaged> {
    value.ok_or_else(|| Damaged(format!("unknown {what}")))
}

/// The bytes of `record` in its first version.
pub(crate) fn seal<T: Serialize>(record: &T) -> Vec<u8> {
    seal_as(VERSION, record)
}

/// The bytes of `record` in a later version of its kind.
pub(crate) fn seal_as<T: Serialize>(version: u8, record: &T) -> Vec<u8> {
    let bytes = postcard::to_extend(record, vec![version]);
    let mut bytes = bytes.expect("records hold nothing that postcard refuses, and a Vec grows");
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The version in which `bytes` were written, as they say themselves.
pub(crate) fn version(bytes: &[u8]) -> u8 {
    bytes.first().copied().unwrap_or(VERSION)
}

/// The record in `bytes` of the first version. Borrows from them.
pub(crate) fn open<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Damaged> {
    open_as(VERSION, bytes)
}

/// The record in `bytes` of this version. Borrows from them.
pub(crate) fn open_as<'a, T: Deserialize<'a>>(version: u8, bytes: &'a [u8]) -> Result<T, Damaged> {
    let Some((content, checksum)) = bytes.split_last_chunk::<CHECKSUM>() else {
        return Err(Damaged("too short".to_owned()));
    };
    if crc32fast::hash(content).to_le_bytes() != *checksum {
        return Err(Damaged("its checksum is wrong".to_owned()));
    }
    match content.split_first() {
        Some((written, payload)) if *written == version => match postcard::take_from_bytes(payload) {
            Ok((record, [])) => Ok(record),
            Ok(_) => Err(Damaged("it is longer than it should be".to_owned())),
            Err(error) => Err(Damaged(error.to_string())),
        },
        Some((version, _)) => Err(Damaged(format!("version {version} is not known to this program"))),
        None => Err(Damaged("too short".to_owned())),
    }
}

/// `serde(serialize_with)` for byte strings: without it, serde would go through them byte by byte.
pub(crate) fn as_bytes<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample<'a> {
        number: u64,
        text: &'a str,
        #[serde(serialize_with = "as_bytes")]
        bytes: &'a [u8],
    }

    const SAMPLE: Sample<'static> = Sample {
        number: 300,
        text: "zwölf",
        bytes: &[0, 255, 7],
    };

    #[test]
    fn a_record_comes_back_as_it_was() {
        assert_eq!(open::<Sample<'_>>(&seal(&SAMPLE)), Ok(SAMPLE));
    }

    #[test]
    fn no_flipped_bit_and_no_cut_goes_unnoticed() {
        let good = seal(&SAMPLE);
        for at in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert!(open::<Sample<'_>>(&bad).is_err(), "bit {at}");
        }
        for length in 0..good.len() {
            assert!(open::<Sample<'_>>(&good[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_later_version_is_named() {
        let mut later = vec![9, 1, 2, 3];
        let checksum = crc32fast::hash(&later);
        later.extend_from_slice(&checksum.to_le_bytes());
        let error = open::<Sample<'_>>(&later).expect_err("must be refused");
        assert!(error.0.contains("version 9"), "{error:?}");
    }
}
