//! Reading and writing hashes of records: the steps that the store seam is made of.

use super::super::records::{Damaged, decode_note, encode_note};
use super::functions::{ALL, GET, NOTE, PUT};
use super::handle::{Parts, Redis};
use super::link::Arguments;
use crate::domain::{Note, NoteKind, SendingDomain, TenantId};
use crate::store::StoreError;

impl Redis {
    /// Fields of a hash in a partition. The name is the end of the key.
    pub(super) async fn get(
        &self,
        partition: usize,
        hash: Vec<u8>,
        fields: &[impl AsRef<[u8]>],
    ) -> Result<Parts, StoreError> {
        self.call(GET, partition, &asking(hash, fields)).await
    }

    /// One field of a hash of common records.
    pub(super) async fn get_common(
        &self,
        hash: impl Into<Vec<u8>>,
        field: impl AsRef<[u8]>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let parts = self.call_common(GET, &asking(hash.into(), &[field])).await?;
        Ok(parts.into_iter().next().flatten())
    }

    /// All fields and values of a hash of common records.
    pub(super) async fn all_common(&self, hash: String) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let mut arguments = Arguments::new();
        arguments.text(hash);
        let parts = self.call_common(ALL, &arguments).await?;
        let mut pairs = Vec::with_capacity(parts.len() / 2);
        let mut parts = parts.into_iter().flatten();
        while let (Some(field), Some(value)) = (parts.next(), parts.next()) {
            pairs.push((field, value));
        }
        Ok(pairs)
    }

    /// Writes fields of hashes of common records, in one step.
    pub(super) async fn put_common(&self, rows: &[(&str, &[u8], &[u8])]) -> Result<(), StoreError> {
        let mut arguments = Arguments::new();
        for (hash, field, value) in rows {
            arguments.text(hash).bytes(*field).bytes(*value);
        }
        self.call_common(PUT, &arguments).await?;
        Ok(())
    }

    /// Writes notes, or takes them away, in one step.
    pub(super) async fn write_notes(&self, notes: &[Note]) -> Result<(), StoreError> {
        let mut arguments = Arguments::new();
        for note in notes {
            let record = if note.is_removal() {
                Vec::new()
            } else {
                encode_note(note)
            };
            arguments.text(note.kind().name()).bytes(note.key()).bytes(record);
        }
        self.call_common(NOTE, &arguments).await?;
        Ok(())
    }

    /// All notes of a kind, by key.
    pub(super) async fn read_notes(&self, kind: NoteKind) -> Result<Vec<Result<Note, Damaged>>, StoreError> {
        let mut pairs = self.all_common(format!("notes:{}", kind.name())).await?;
        pairs.sort();
        let note = |(key, bytes): (Vec<u8>, Vec<u8>)| decode_note(kind, &key, &bytes);
        Ok(pairs.into_iter().map(note).collect())
    }

    /// A domain with its private keys opened.
    pub(super) fn unsealed(&self, mut domain: SendingDomain) -> Result<SendingDomain, StoreError> {
        for key in &mut domain.dkim {
            let name = seal_name(domain.tenant, &domain.name, &key.selector);
            let opened = self.shared.seal.open(&name, &key.private_der);
            key.private_der = opened.map_err(|error| StoreError::Damaged(format!("DKIM key {name}: {error}")))?;
        }
        Ok(domain)
    }

    /// A domain with its private keys sealed.
    pub(super) fn sealed(&self, mut domain: SendingDomain) -> SendingDomain {
        for key in &mut domain.dkim {
            let name = seal_name(domain.tenant, &domain.name, &key.selector);
            key.private_der = self.shared.seal.seal(&name, &key.private_der);
        }
        domain
    }
}

/// What it means for those who called.
pub(super) fn damaged(damaged: Damaged) -> StoreError {
    StoreError::Damaged(damaged.0)
}

/// The name under which a DKIM key is sealed: it belongs to this tenant, domain and selector and opens nowhere else.
fn seal_name(tenant: TenantId, domain: &str, selector: &str) -> String {
    format!("dkim/{tenant}/{domain}/{selector}")
}

fn asking(hash: Vec<u8>, fields: &[impl AsRef<[u8]>]) -> Arguments {
    let mut arguments = Arguments::new();
    arguments.bytes(hash);
    for field in fields {
        arguments.bytes(field.as_ref());
    }
    arguments
}
