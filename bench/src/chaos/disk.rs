//! A small disk that can be full: a memory file system of its own, where mounting is permitted. And a database without
//! room inside its file, which would otherwise take the mail of many minutes after the disk is full.
//!
//! Takes a size; gives a folder that is unmounted when dropped. Says why when there can be none.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Room beside the data, in MiB, before it is filled.
const ROOM_MIB: u64 = 64;
const MIB: u64 = 1 << 20;
/// What takes the room.
const FILLER: &str = "filler";
/// The embedded store's file.
const DATABASE: &str = "posthaste.redb";

/// A mounted disk.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts one at `folder` with room for `bytes` and a little more.
    pub(crate) fn mount(folder: &Path, bytes: u64) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let size = format!("size={}m", bytes / MIB + ROOM_MIB);
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder)
            .output();
        let output = output.context("mount")?;
        if !output.status.success() {
            bail!(
                "mounting is not permitted: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) -> Result<()> {
        let mut file = File::create(self.folder.join(FILLER))?;
        // Ever smaller pieces, until not one byte fits.
        let mut piece = vec![0; usize::try_from(MIB)?];
        while !piece.is_empty() {
            match file.write(&piece) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => piece.truncate(piece.len() / 2),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Gives the room back.
    pub(crate) fn free(&self) -> Result<()> {
        std::fs::remove_file(self.folder.join(FILLER))?;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What cannot be unmounted is a memory file system in a temporary folder.
        let _ = Command::new("umount").arg(&self.folder).output();
    }
}

/// Gives the room inside the database of a stopped engine back to the file system. True when there was some.
pub(crate) fn compact(data: &Path) -> Result<bool> {
    let file = data.join(DATABASE);
    let mut database = redb::Database::open(&file).with_context(|| format!("opening {}", file.display()))?;
    Ok(database.compact()?)
}

/// Bytes of the files of a folder.
pub(crate) fn bytes_of(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

/// Moves the files of a folder into another, across file systems. What is no file (the socket of a dead engine) stays.
pub(crate) fn move_files(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name() != FILLER {
            let target = to.join(entry.file_name());
            std::fs::copy(entry.path(), &target)?;
            File::open(&target)?.sync_all()?;
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use redb::ReadableDatabase as _;

    use super::*;

    #[test]
    fn a_compacted_database_keeps_its_records_and_gives_its_room_back() {
        const TABLE: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("table");
        let root = std::env::temp_dir().join(format!("posthaste-chaos-compact-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        {
            let database = redb::Database::create(root.join(DATABASE)).unwrap();
            let write = database.begin_write().unwrap();
            for number in 0..2_000 {
                let mut table = write.open_table(TABLE).unwrap();
                table.insert(number, vec![7; 4096].as_slice()).unwrap();
            }
            write.commit().unwrap();
            let write = database.begin_write().unwrap();
            write
                .open_table(TABLE)
                .unwrap()
                .retain(|number, _| number == 1)
                .unwrap();
            write.commit().unwrap();
        }
        let before = bytes_of(&root).unwrap();
        assert!(compact(&root).unwrap());
        assert!(bytes_of(&root).unwrap() < before / 2);
        let database = redb::Database::open(root.join(DATABASE)).unwrap();
        let read = database.begin_read().unwrap();
        let table = read.open_table(TABLE).unwrap();
        assert!(table.get(1).unwrap().is_some());
        drop((read, table, database));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn files_are_moved_with_their_content() {
        let root = std::env::temp_dir().join(format!("posthaste-chaos-test-{}", std::process::id()));
        let (from, to) = (root.join("from"), root.join("to"));
        std::fs::create_dir_all(&from).unwrap();
        std::fs::write(from.join("a"), b"1234").unwrap();
        assert_eq!(bytes_of(&from).unwrap(), 4);
        move_files(&from, &to).unwrap();
        assert_eq!(std::fs::read(to.join("a")).unwrap(), b"1234");
        assert!(!from.join("a").exists());
        std::fs::remove_dir_all(&root).unwrap();
    }
}
