//! Where a repository is.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::error::{Error, Result};

/// A directory, or an object-store prefix. Holds no credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// Absolute.
    Directory(PathBuf),
    /// `s3://bucket/prefix`
    S3 {
        /// The bucket's name.
        bucket: String,
        /// Without slashes at either end; may be empty.
        prefix: String,
    },
    /// In this process only; for tests and simulation.
    Memory,
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(_text: &str) -> Result<Self> {
        unimplemented!()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unimplemented!()
    }
}
