//! Whether a database that was closed cleanly is still what was written: each page against its checksum, before anything
//! is promised on it.
//!
//! The checksums of redb are looked at only when it repairs, and a page that is wrong by then is rolled back or read as it
//! is: a message whose key is damaged would be gone without a word. So they are looked at here, over an overlay that keeps
//! whatever the check writes, and a file that does not agree is refused and left as it is. One that was not closed cleanly
//! is left to the repair, which reads all of it anyway.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{Builder, DatabaseError, StorageBackend};

use super::database::MakeBackend;
use super::settings::{EmbeddedSettings, OpenError};

/// Bytes that the overlay keeps together.
const BLOCK_BYTES: u64 = 4096;

/// Reads the whole file. Gives an error when a page is not what was written.
pub(super) fn check(make: &MakeBackend, settings: &EmbeddedSettings) -> Result<(), OpenError> {
    let cannot = |error: io::Error| OpenError::Database(error.to_string());
    let below = make().map_err(cannot)?;
    if below.len().map_err(cannot)? == 0 {
        return Ok(());
    }
    let opened = Builder::new()
        .set_cache_size(settings.cache_bytes)
        .set_repair_callback(|session| session.abort())
        .create_with_backend(Overlay::over(below));
    let checked = match opened {
        Ok(mut database) => database.check_integrity(),
        Err(DatabaseError::RepairAborted) => return Ok(()),
        Err(error) => Err(error),
    };
    match checked {
        Ok(true) => Ok(()),
        Ok(false) => Err(OpenError::Damaged("a page is not what was written".to_owned())),
        Err(error) => Err(OpenError::Damaged(error.to_string())),
    }
}

/// Storage that is read, and written to in memory only.
struct Overlay {
    below: Box<dyn StorageBackend>,
    above: Mutex<Above>,
}

#[derive(Default)]
struct Above {
    length: Option<u64>,
    /// Blocks that were written, by their number.
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    fn over(below: Box<dyn StorageBackend>) -> Self {
        Self {
            below,
            above: Mutex::default(),
        }
    }

    fn above(&self) -> MutexGuard<'_, Above> {
        self.above.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands below; zeros behind its end.
    fn read_below(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = self.below.len()?.saturating_sub(offset);
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(out.len());
        out[there..].fill(0);
        if there > 0 {
            self.below.read(offset, &mut out[..there])?;
        }
        Ok(())
    }
}

/// The part of a span of bytes that lies in each block: number of the block, place in the block, place in the span, length.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let within = usize::try_from(at % BLOCK_BYTES).unwrap_or(0);
        let room = usize::try_from(BLOCK_BYTES).unwrap_or(0) - within;
        let part = (at / BLOCK_BYTES, within, done, room.min(length - done));
        done += part.3;
        Some(part)
    })
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay").finish_non_exhaustive()
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        match self.above().length {
            Some(length) => Ok(length),
            None => self.below.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_below(offset, out)?;
        let above = self.above();
        for (number, within, at, length) in parts(offset, out.len()) {
            if let Some(block) = above.blocks.get(&number) {
                out[at..at + length].copy_from_slice(&block[within..within + length]);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.above().length = Some(length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut above = self.above();
        for (number, within, at, length) in parts(offset, data.len()) {
            let block = match above.blocks.entry(number) {
                std::collections::btree_map::Entry::Occupied(held) => held.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => {
                    let mut block = vec![0; usize::try_from(BLOCK_BYTES).unwrap_or(0)];
                    self.read_below(number * BLOCK_BYTES, &mut block)?;
                    place.insert(block)
                }
            };
            block[within..within + length].copy_from_slice(&data[at..at + length]);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.below.close()
    }
}
