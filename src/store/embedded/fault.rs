//! What can go wrong inside a transaction.

use redb::{StorageError, TableError};

use super::super::records::Damaged;

/// Why an operation did not do what it was asked to.
#[derive(Debug)]
pub(super) enum Fault {
    /// One record cannot be read. The operation changed nothing; the others of its batch are not concerned.
    Damaged(String),
    /// The database failed: the whole batch fails with it.
    Storage(Box<redb::Error>),
}

impl From<Damaged> for Fault {
    fn from(damaged: Damaged) -> Self {
        Self::Damaged(damaged.0)
    }
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        Self::Storage(Box::new(error.into()))
    }
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        Self::Storage(Box::new(error.into()))
    }
}
