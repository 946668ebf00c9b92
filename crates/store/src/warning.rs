//! What the store noticed and went on without: told once, to whoever asks.

use std::{fmt, path::PathBuf};

/// Something in the store was not as it should be; the operation that met it went on as if it were not there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A record that cannot be read, moved to `lost`.
    BrokenRecord {
        /// Where it was.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A leftover of a dead process, or trash, that could not be removed.
    NotRemoved {
        /// What stays.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// What was built before the last start of the machine and had not reached the disk for sure.
    Dropped {
        /// How many records.
        records: u64,
    },
    /// The same in a store that is mounted read-only, so that it is still there and not looked at.
    PassedOver {
        /// How many records.
        records: u64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrokenRecord { path, reason } => {
                write!(f, "ignored a broken record `{}`: {reason}", path.display())
            }
            Self::NotRemoved { path, reason } => {
                write!(f, "cannot remove `{}`: {reason}", path.display())
            }
            Self::Dropped { records } => write!(
                f,
                "dropped {records} records that had not reached the disk before the machine was restarted"
            ),
            Self::PassedOver { records } => write!(
                f,
                "passed over {records} records that had not reached the disk before the machine was restarted: \
                 the store is mounted read-only, so they stay and are dropped later"
            ),
        }
    }
}
