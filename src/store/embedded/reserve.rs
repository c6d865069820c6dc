//! Room that is kept for a full disk: dots that have left by then still get their OUTCOMEs recorded.
//!
//! Takes a place that can hold some bytes; holds them while there is room, gives them back when there is none, and takes
//! them again once there is more room than that. Without this margin the room that was given back would look like new.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// Bytes written at once when the reserve is made.
const BLOCK_BYTES: usize = 1 << 20;
/// The reserve is made again when there is room for this many fourths of it.
const FOURTHS_WANTED: u64 = 5;

/// Where a reserve can be.
pub trait ReserveSpace: Send {
    /// Bytes that could be written there.
    fn room(&self) -> io::Result<u64>;
    /// Holds this many bytes, if it does not yet. Holds none when it fails.
    fn fill(&self, bytes: u64) -> io::Result<()>;
    /// Gives them back; says whether there were any.
    fn release(&self) -> io::Result<bool>;
}

/// The reserve, or none.
pub(super) struct Reserve(Option<(Box<dyn ReserveSpace>, u64)>);

impl Reserve {
    /// No reserve.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// So many bytes of this space; none when they are 0.
    pub(super) fn of(space: Box<dyn ReserveSpace>, bytes: u64) -> Self {
        Self((bytes > 0).then_some((space, bytes)))
    }

    /// Makes it, if it is not there. Says whether there was room.
    pub(super) fn make(&self) -> io::Result<bool> {
        let Some((space, bytes)) = &self.0 else {
            return Ok(true);
        };
        match space.fill(*bytes) {
            Ok(()) => Ok(true),
            Err(error) if is_no_room(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes it again if there is room for it and more.
    pub(super) fn make_again(&self) -> io::Result<bool> {
        if let Some((space, bytes)) = &self.0
            && space.room()? < bytes / 4 * FOURTHS_WANTED
        {
            return Ok(false);
        }
        self.make()
    }

    /// Gives its room to those who write; says whether it had any.
    pub(super) fn release(&self) -> bool {
        let Some((space, _)) = &self.0 else { return false };
        space.release().unwrap_or_else(|error| {
            tracing::error!("the reserve for a full disk cannot be given back: {error}");
            false
        })
    }
}

/// Whether an error says that there is no room.
pub(super) fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// A reserve that is a file of zeros.
pub(super) struct ReserveFile(pub(super) PathBuf);

impl ReserveFile {
    fn write(&self, bytes: u64) -> io::Result<()> {
        let mut file = File::create(&self.0)?;
        let block = vec![0; BLOCK_BYTES];
        let mut left = bytes;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
            file.write_all(&block[..now])?;
            left -= now as u64;
        }
        file.sync_all()
    }
}

impl ReserveSpace for ReserveFile {
    #[cfg(unix)]
    fn room(&self) -> io::Result<u64> {
        let folder = self.0.parent().unwrap_or(&self.0);
        let about = rustix::fs::statvfs(folder)?;
        Ok(about.f_bavail.saturating_mul(about.f_frsize))
    }

    #[cfg(not(unix))]
    fn room(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn fill(&self, bytes: u64) -> io::Result<()> {
        if std::fs::metadata(&self.0).is_ok_and(|about| about.len() == bytes) {
            return Ok(());
        }
        let written = self.write(bytes);
        if written.is_err() {
            self.release()?;
        }
        written
    }

    fn release(&self) -> io::Result<bool> {
        match std::fs::remove_file(&self.0) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
