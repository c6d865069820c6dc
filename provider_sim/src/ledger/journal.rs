//! The ledger's file: one JSON line per accepted copy, on stable storage before the client hears 250.
//!
//! Takes copies, gives them back after a crash. Many connections wait for one sync: whoever finds the file free writes
//! and syncs what all have queued. Never truncates a finished line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::Received;

/// One accepted copy, as the file holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    /// Name of the receiver that took it.
    pub provider: String,
    /// Envelope sender.
    pub sender: String,
    /// Envelope recipient.
    pub recipient: String,
    /// The Message-ID header.
    pub message_id: Option<String>,
    /// When it was accepted, in milliseconds since 1970.
    pub at_ms: u64,
    /// Bytes of the content.
    pub size_bytes: u64,
    /// Tells messages without a Message-ID apart.
    pub content_hash: u64,
}

impl JournalLine {
    pub(super) fn of(copy: &Received, content_hash: u64) -> Self {
        Self {
            provider: copy.provider.to_string(),
            sender: copy.sender.to_string(),
            recipient: copy.recipient.clone(),
            message_id: copy.message_id.as_deref().map(str::to_owned),
            at_ms: copy.at_ms,
            size_bytes: copy.size_bytes,
            content_hash,
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    file: Mutex<File>,
    queued: Mutex<Queued>,
}

#[derive(Debug, Default)]
struct Queued {
    bytes: Vec<u8>,
    /// Appends whose bytes have been queued, ever.
    queued: u64,
    /// Appends whose bytes are on stable storage.
    synced: u64,
    /// A sync failed: nothing after it can be promised.
    broken: bool,
}

impl Journal {
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<JournalLine>)> {
        let lines = if path.exists() { read(path)? } else { Vec::new() };
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let length = file.metadata()?.len();
        if length > 0 && !std::fs::read(path)?.ends_with(b"\n") {
            // A torn last line is closed, so that the next does not become part of it; `read` passes over it.
            file.write_all(b"\n")?;
        }
        let journal = Self {
            file: Mutex::new(file),
            queued: Mutex::new(Queued::default()),
        };
        Ok((journal, lines))
    }

    /// Returns once the lines are on stable storage.
    pub(super) async fn append(journal: &Arc<Self>, lines: Vec<JournalLine>) -> io::Result<()> {
        let journal = Arc::clone(journal);
        let task = tokio::task::spawn_blocking(move || journal.append_now(&lines));
        task.await.map_err(io::Error::other)?
    }

    fn append_now(&self, lines: &[JournalLine]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut bytes, line)?;
            bytes.push(b'\n');
        }
        let ticket = {
            let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
            queued.bytes.extend_from_slice(&bytes);
            queued.queued += 1;
            queued.queued
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (batch, upto) = {
            let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
            if queued.broken {
                return Err(io::Error::other("an earlier sync of the journal failed"));
            }
            if queued.synced >= ticket {
                return Ok(());
            }
            (std::mem::take(&mut queued.bytes), queued.queued)
        };
        let written = file.write_all(&batch).and_then(|()| file.sync_data());
        let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
        match written {
            Ok(()) => queued.synced = upto,
            Err(_) => queued.broken = true,
        }
        written
    }
}

/// Reads all finished lines. A line that a crash tore is left out; it was never answered.
pub(super) fn read(path: &Path) -> io::Result<Vec<JournalLine>> {
    let bytes = std::fs::read(path)?;
    let mut lines = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(line) => lines.push(line),
            Err(error) if error.is_eof() => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
    Ok(lines)
}
