//! The epoch that this data directory remembers: which store in Redis its engine works on.
//!
//! Takes what Redis holds; says whether it is the same, and writes it down. So a flushed Redis, or another one at the same
//! address, stops the start instead of looking like an empty queue.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use super::settings::{GuardError, GuardSettings};

/// Longest file that is read: an id is far shorter.
const BYTES_MAX: usize = 1024;

/// Compares what Redis holds (`None`: no store) with what was remembered.
pub(super) fn check(path: &Path, found: Option<&[u8]>, guard: &GuardSettings) -> Result<(), GuardError> {
    let remembered = read(path).map_err(|error| GuardError::EpochFile {
        path: path.to_owned(),
        error,
    })?;
    let found = found.map(text);
    match remembered {
        Some(remembered) if !guard.accept_new_store && found.as_ref() != Some(&remembered) => {
            Err(GuardError::OtherStore {
                found: found.map_or_else(|| "no store".to_owned(), |found| format!("store {found}")),
                path: path.to_owned(),
                remembered,
            })
        }
        _ => Ok(()),
    }
}

/// Writes down which store it is, durably.
pub(super) fn remember(path: &Path, epoch: &[u8]) -> Result<(), GuardError> {
    write(path, &text(epoch)).map_err(|error| GuardError::EpochFile {
        path: path.to_owned(),
        error,
    })
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.len() > BYTES_MAX || text.trim().is_empty() => Err(io::Error::other(
            "is not the epoch of a store; delete it if you know that the store is the right one",
        )),
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A crash leaves the old file or the new one.
fn write(path: &Path, epoch: &str) -> io::Result<()> {
    let draft = path.with_extension("epoch.new");
    let mut file = File::create(&draft)?;
    writeln!(file, "{epoch}")?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// An id as text; other bytes in hexadecimal.
fn text(epoch: &[u8]) -> String {
    match std::str::from_utf8(epoch) {
        Ok(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) => text.to_owned(),
        _ => epoch.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_store_and_none_are_refused_unless_that_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("redis.epoch");
        let strict = GuardSettings::default();
        let meant = GuardSettings {
            accept_new_store: true,
            ..GuardSettings::default()
        };
        assert!(check(&path, None, &strict).is_ok(), "nothing is remembered yet");
        assert!(check(&path, Some(b"one"), &strict).is_ok(), "a node that is new");
        remember(&path, b"one").unwrap();
        assert!(check(&path, Some(b"one"), &strict).is_ok());
        for (found, words) in [
            (None, "Redis holds no store"),
            (Some(&b"two"[..]), "Redis holds store two"),
        ] {
            let refused = check(&path, found, &strict).unwrap_err().to_string();
            assert!(refused.contains(words) && refused.contains("store one"), "{refused}");
            assert!(refused.contains("--accept-new-store"), "{refused}");
            assert!(check(&path, found, &meant).is_ok());
        }
        remember(&path, b"two").unwrap();
        assert!(check(&path, Some(b"two"), &strict).is_ok());
    }

    #[test]
    fn a_damaged_file_is_no_excuse() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("redis.epoch");
        std::fs::write(&path, "\n").unwrap();
        assert!(check(&path, Some(b"one"), &GuardSettings::default()).is_err());
    }

    #[test]
    fn ids_stay_as_they_are_and_bytes_become_hexadecimal() {
        assert_eq!(text(b"0193-ab"), "0193-ab");
        assert_eq!(text(&[0, 255]), "00ff");
    }
}
