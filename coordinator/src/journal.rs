//! What a coordinator must remember (being written).

use std::path::Path;

use crate::error::Result;

/// The journal.
#[derive(Debug)]
pub struct Journal {}

impl Journal {
    /// Opens the journal of a state directory, which is created if it is missing.
    ///
    /// # Errors
    /// `Conflict` while another process has it open; `Invalid` for one of a newer version.
    pub fn open(_dir: &Path) -> Result<Self> {
        Ok(Self {})
    }

    /// A journal that ends with the process.
    ///
    /// # Errors
    /// `Internal` where SQLite can't be started.
    pub fn in_memory() -> Result<Self> {
        Ok(Self {})
    }
}
