//! How the owners of notes write their values: a version in front of a record of their own.
//!
//! Takes a record, gives bytes, and back. A version that the reader does not know, or bytes that are not such a record, are
//! none: what they said is learnt again. The checksum is the store's, around the whole note.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The value of a note: `record` behind its version.
#[must_use]
pub fn encode_note_value<T: Serialize>(version: u8, record: &T) -> Vec<u8> {
    let bytes = postcard::to_extend(record, vec![version]);
    bytes.expect("records hold nothing that postcard refuses, and a Vec grows")
}

/// The record in the value of a note, if it is of this version.
#[must_use]
pub fn decode_note_value<T: DeserializeOwned>(version: u8, value: &[u8]) -> Option<T> {
    match value.split_first() {
        Some((first, payload)) if *first == version => match postcard::take_from_bytes(payload) {
            Ok((record, [])) => Some(record),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_another_version_or_a_cut_is_none() {
        let record = (7_u32, "text".to_owned());
        let value = encode_note_value(2, &record);
        assert_eq!(decode_note_value(2, &value), Some(record));
        assert_eq!(decode_note_value::<(u32, String)>(1, &value), None);
        for length in 0..value.len() {
            assert_eq!(
                decode_note_value::<(u32, String)>(2, &value[..length]),
                None,
                "cut at {length}"
            );
        }
        let longer = [value.as_slice(), &[0]].concat();
        assert_eq!(decode_note_value::<(u32, String)>(2, &longer), None);
    }
}
