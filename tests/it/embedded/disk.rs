//! A disk that can be pulled: storage under the embedded store that forgets what was not synced, fills up, and breaks.
//!
//! Takes what redb writes; gives it back, or an error. After [`Disk::pull`] only what was synced is certain to be there: of
//! the rest, a seeded draw keeps some writes, drops others and tears some at a sector. Handles from before get errors.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use posthaste::store::ReserveSpace;
use redb::StorageBackend;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What a file system hands out.
const BLOCK: usize = 4096;

/// The disk. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Platter>>, Arc<Condvar>);

#[derive(Debug, Default)]
struct Platter {
    /// What is certain.
    synced: Vec<u8>,
    /// What is read.
    current: Vec<u8>,
    /// What was done since the last sync.
    unsynced: Vec<Change>,
    /// Counts how often the plug was pulled.
    life: u64,
    /// No file may become longer than this, in bytes.
    quota: Option<u64>,
    /// Nothing can be written at all.
    full: bool,
    /// So many more blocks may be taken by what is written for the first time.
    room: Option<u64>,
    /// Blocks that were written.
    taken: HashSet<usize>,
    /// Blocks that a reserve holds.
    reserved: u64,
    /// The next write panics.
    panics: bool,
    /// The next sync fails.
    sync_fails: bool,
    syncs: u64,
    /// Syncs wait, but for this many.
    held: Option<u64>,
    /// Somebody waits to sync.
    waits: bool,
    /// The plug is pulled just before the sync with this number.
    pulled_at_sync: Option<u64>,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }
}

impl Disk {
    /// A handle, as opening the file gives one.
    pub(crate) fn plug_in(&self) -> io::Result<Plug> {
        Ok(Plug {
            disk: self.clone(),
            life: self.platter().life,
        })
    }

    /// A disk with this on it.
    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.platter().current.clone_from(&bytes);
        disk.platter().synced = bytes;
        disk
    }

    /// What is certain to be on it.
    pub(crate) fn image(&self) -> Vec<u8> {
        self.platter().synced.clone()
    }

    /// Pulls the plug: the power is gone.
    pub(crate) fn pull(&self, draw: &mut fastrand::Rng) {
        let mut platter = self.platter();
        platter.pulled_at_sync = None;
        platter.life += 1;
        let changes = std::mem::take(&mut platter.unsynced);
        for mut change in changes {
            if draw.bool() {
                continue;
            }
            if let Change::Write(_, data) = &mut change
                && draw.u8(..4) == 0
            {
                let sectors = data.len().div_ceil(SECTOR);
                data.truncate(draw.usize(..=sectors) * SECTOR);
            }
            change.apply(&mut platter.synced);
        }
        platter.current = platter.synced.clone();
    }

    /// From the `syncs`th sync from now on nothing reaches the disk: its handles get errors.
    pub(crate) fn fail_after_syncs(&self, syncs: u64) {
        let mut platter = self.platter();
        platter.pulled_at_sync = Some(platter.syncs + syncs);
    }

    /// Sets how long the file may become.
    pub(crate) fn set_quota(&self, quota: Option<u64>) {
        self.platter().quota = quota;
    }

    /// How long the file is.
    pub(crate) fn length(&self) -> u64 {
        self.platter().current.len() as u64
    }

    /// Whether there is no room for any write.
    pub(crate) fn set_full(&self, full: bool) {
        self.platter().full = full;
    }

    /// How many more blocks may be taken; those of the reserve are taken.
    pub(crate) fn set_room(&self, room: Option<u64>) {
        self.platter().room = room;
    }

    /// Blocks that the reserve holds.
    pub(crate) fn reserved(&self) -> u64 {
        self.platter().reserved
    }

    /// The next write panics: a bug, wherever it may be.
    pub(crate) fn panic_once(&self) {
        self.platter().panics = true;
    }

    /// The next sync fails.
    pub(crate) fn break_sync(&self) {
        self.platter().sync_fails = true;
    }

    /// How many syncs were asked for.
    pub(crate) fn syncs(&self) -> u64 {
        self.platter().syncs
    }

    /// From now on syncs wait until they are let go one by one, or all.
    pub(crate) fn hold_syncs(&self) {
        self.platter().held = Some(0);
    }

    /// Lets one sync go.
    pub(crate) fn let_one_go(&self) {
        let mut platter = self.platter();
        platter.held = platter.held.map(|number| number + 1);
        platter.waits = false;
        self.1.notify_all();
    }

    /// Lets all syncs go.
    pub(crate) fn let_all_go(&self) {
        self.platter().held = None;
        self.1.notify_all();
    }

    /// Whether somebody waits to sync.
    pub(crate) fn has_one_waiting(&self) -> bool {
        self.platter().waits
    }

    /// Replaces `from` by `to` wherever it stands; gives how often it did.
    pub(crate) fn overwrite(&self, from: &[u8], to: &[u8]) -> usize {
        assert_eq!(from.len(), to.len());
        let mut platter = self.platter();
        let mut places = Vec::new();
        for (at, window) in platter.synced.windows(from.len()).enumerate() {
            if window == from {
                places.push(at);
            }
        }
        for at in &places {
            platter.synced[*at..at + to.len()].copy_from_slice(to);
        }
        platter.current = platter.synced.clone();
        places.len()
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("nobody panics while holding the disk")
    }
}

/// An open file on the disk.
#[derive(Debug)]
pub(crate) struct Plug {
    disk: Disk,
    life: u64,
}

impl Plug {
    fn platter(&self) -> io::Result<MutexGuard<'_, Platter>> {
        let platter = self.disk.platter();
        match platter.life == self.life {
            true => Ok(platter),
            false => Err(io::Error::other("the plug was pulled")),
        }
    }
}

impl StorageBackend for Plug {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platter()?.current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.platter()?;
        let offset = usize::try_from(offset).expect("fits");
        let bytes = platter.current.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platter = self.platter()?;
        if platter.quota.is_some_and(|quota| len > quota) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        platter.change(Change::Length(usize::try_from(len).expect("fits")));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.platter()?;
        while platter.held == Some(0) {
            platter.waits = true;
            platter = self.disk.1.wait(platter).expect("nobody panics while holding the disk");
        }
        platter.waits = false;
        platter.held = platter.held.map(|number| number - 1);
        platter.syncs += 1;
        if platter.pulled_at_sync.is_some_and(|last| platter.syncs >= last) {
            return Err(io::Error::other("the plug is being pulled"));
        }
        if std::mem::take(&mut platter.sync_fails) {
            return Err(io::Error::other("the disk is broken"));
        }
        let platter = &mut *platter;
        platter
            .unsynced
            .drain(..)
            .for_each(|change| change.apply(&mut platter.synced));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.platter()?;
        if std::mem::take(&mut platter.panics) {
            drop(platter);
            panic!("ordered by a test");
        }
        if platter.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        platter.take_blocks(usize::try_from(offset).expect("fits"), data.len())?;
        platter.change(Change::Write(usize::try_from(offset).expect("fits"), data.to_vec()));
        Ok(())
    }
}

impl ReserveSpace for Disk {
    fn room(&self) -> io::Result<u64> {
        let room = self.platter().room;
        Ok(room.map_or(u64::MAX, |blocks| blocks * BLOCK as u64))
    }

    fn fill(&self, bytes: u64) -> io::Result<()> {
        let blocks = bytes.div_ceil(BLOCK as u64);
        let mut platter = self.platter();
        if platter.reserved == blocks {
            return Ok(());
        }
        if let Some(room) = platter.room {
            platter.room = Some(room.checked_sub(blocks).ok_or(io::ErrorKind::StorageFull)?);
        }
        platter.reserved = blocks;
        Ok(())
    }

    fn release(&self) -> io::Result<bool> {
        let mut platter = self.platter();
        let blocks = std::mem::take(&mut platter.reserved);
        platter.room = platter.room.map(|room| room + blocks);
        Ok(blocks > 0)
    }
}

impl Platter {
    fn take_blocks(&mut self, offset: usize, length: usize) -> io::Result<()> {
        let blocks = offset / BLOCK..(offset + length).div_ceil(BLOCK);
        let fresh: Vec<usize> = blocks.filter(|block| !self.taken.contains(block)).collect();
        if let Some(room) = self.room {
            let left = room.checked_sub(fresh.len() as u64);
            self.room = Some(left.ok_or(io::ErrorKind::StorageFull)?);
        }
        self.taken.extend(fresh);
        Ok(())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.unsynced.push(change);
    }
}
