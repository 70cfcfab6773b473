//! Is what stands there what was written.

use ringvault_proto::ids::BackupId;

use crate::{error::Result, manifest::Manifest, repository::Repository};

/// How deep a check goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadData {
    /// Manifest, indexes, schema; existence and length of every chunk.
    No,
    /// Also every chunk's bytes, lines and sums.
    All,
}

/// What is wrong with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// It is not there.
    Missing,
    /// It has another length.
    WrongLength,
    /// Its bytes are not what was written.
    Damaged,
    /// Sums or totals are not what is recorded.
    WrongSums,
    /// Segments don't tile the ring.
    Gap,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// With which object.
    pub object: String,
    /// For a person.
    pub message: String,
}

/// How far a check is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckProgress {
    /// Objects checked.
    pub objects_done: u64,
    /// Objects in all the indexes read so far.
    pub objects: u64,
    /// Stored bytes read.
    pub bytes_done: u64,
}

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// What is wrong; at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// Findings beyond that.
    pub findings_more: u64,
    /// What was done.
    pub progress: CheckProgress,
}

/// Findings kept.
pub const FINDINGS_MAX: usize = 1000;

impl CheckReport {
    /// Nothing where all is well, else an error that names the first findings.
    ///
    /// # Errors
    /// `Corrupt`
    pub fn into_result(self) -> Result<()> {
        unimplemented!()
    }
}

/// Checks a backup. Cancel safe.
///
/// # Errors
/// `NotFound` where there is no such backup, and what keeps the check from going on; damage is a finding.
pub async fn check_backup(
    _repository: &Repository,
    _id: &BackupId,
    _read: ReadData,
    _progress: &mut (dyn FnMut(&CheckProgress) + Send),
) -> Result<CheckReport> {
    unimplemented!()
}

/// Checks some tables of a backup (none named: all) and its schema. Cancel safe.
///
/// # Errors
/// What keeps the check from going on; damage is a finding.
pub async fn check_tables(
    _repository: &Repository,
    _manifest: &Manifest,
    _tables: &[String],
    _read: ReadData,
    _progress: &mut (dyn FnMut(&CheckProgress) + Send),
) -> Result<CheckReport> {
    unimplemented!()
}
