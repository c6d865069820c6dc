//! How a store writes down that it is being moved.

use serde::{Deserialize, Serialize};

use super::envelope::{Damaged, open, seal};
use crate::store::archive::{Cursor, Mark};

/// New kinds go to the end: postcard counts the variants.
#[derive(Serialize, Deserialize)]
enum MarkRecord<'a> {
    Arriving { from: &'a str, after: Option<&'a [u8]> },
    Moved { to: &'a str },
}

/// The bytes of a mark.
pub(crate) fn encode_mark(mark: &Mark) -> Vec<u8> {
    seal(&match mark {
        Mark::Arriving { from, after } => MarkRecord::Arriving {
            from,
            after: after.as_ref().map(|cursor| cursor.0.as_slice()),
        },
        Mark::Moved { to } => MarkRecord::Moved { to },
    })
}

/// The mark in `bytes`.
pub(crate) fn decode_mark(bytes: &[u8]) -> Result<Mark, Damaged> {
    let record: MarkRecord<'_> = open(bytes).map_err(|damaged: Damaged| damaged.of("the", "mark of a move"))?;
    Ok(match record {
        MarkRecord::Arriving { from, after } => Mark::Arriving {
            from: from.to_owned(),
            after: after.map(|bytes| Cursor(bytes.to_vec())),
        },
        MarkRecord::Moved { to } => Mark::Moved { to: to.to_owned() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_as_it_was_written() {
        for mark in [
            Mark::Moved {
                to: "redis://x".to_owned(),
            },
            Mark::Arriving {
                from: "embedded:y".to_owned(),
                after: None,
            },
            Mark::Arriving {
                from: "embedded:y".to_owned(),
                after: Some(Cursor(vec![1, 2, 255])),
            },
        ] {
            assert_eq!(decode_mark(&encode_mark(&mark)).unwrap(), mark);
        }
        assert!(decode_mark(b"nonsense").is_err());
    }
}
