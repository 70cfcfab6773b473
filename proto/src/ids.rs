//! Names of things: jobs, assignments, workers, backups, epochs.
//!
//! Ids are opaque strings on the wire. They are checked where they enter, since some become parts of object names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Longest id, in bytes; longer ones are refused.
pub const ID_BYTES_MAX: usize = 128;

/// An id that is empty, too long, or holds other characters than `[A-Za-z0-9._-]`.
#[derive(Debug, thiserror::Error)]
#[error("{what} id {text:?} is not 1 to {ID_BYTES_MAX} characters of [A-Za-z0-9._-]")]
pub struct BadId {
    what: &'static str,
    text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;

            fn try_from(text: String) -> Result<Self, BadId> {
                let fits = !text.is_empty()
                    && text.len() <= ID_BYTES_MAX
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
                    && !text.starts_with('.');
                if fits { Ok(Self(text)) } else { Err(BadId { what: $what, text }) }
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A job, as its coordinator names it.
    JobId,
    "job"
);
id!(
    /// What is leased at once: a shard, or a piece of work that has no shard.
    AssignmentId,
    "assignment"
);
id!(
    /// A worker process; a restarted worker has another.
    WorkerId,
    "worker"
);
id!(
    /// A backup: UTC and sortable, as in `20261122T145053Z-7k3f`.
    BackupId,
    "backup"
);

/// The fencing token of a lease: grows with every grant of an assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of the next grant.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_leave_its_directory_is_refused() {
        assert!("../x".parse::<BackupId>().is_err());
        assert!("..".parse::<BackupId>().is_err());
        assert!("a/b".parse::<JobId>().is_err());
        assert!("".parse::<JobId>().is_err());
        assert!("20261122T145053Z-7k3f".parse::<BackupId>().is_ok());
    }
}
