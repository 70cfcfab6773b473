//! What a worker is told when it starts.

use std::collections::BTreeMap;

use ringvault_proto::error::{ErrorKind, Failure};

use crate::{cql::profile::ClusterProfile, memory::fit};

/// Most slots a worker may have; beyond it a second worker on another host serves better.
pub const SLOTS_MAX: u32 = 256;

/// Settings of one worker; data only.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For people: `w3`, a host name.
    pub name: String,
    /// Assignments at once, 1 to [`SLOTS_MAX`].
    pub slots: u32,
    /// Memory that it may take, in bytes, at least [`crate::memory::MEMORY_BYTES_MIN`]: lowers slots, then the size of chunks. Nothing: as
    /// much as its slots need.
    pub memory_bytes_max: Option<u64>,
    /// Data centre it stands in; may be empty. Clusters that have one of this name and whose profile names no local one are
    /// read and written there.
    pub data_center: String,
    /// Clusters it can reach, by profile name. They hold the database's secrets.
    pub clusters: BTreeMap<String, ClusterProfile>,
    /// Repositories by profile name: locations.
    pub repositories: BTreeMap<String, String>,
}

impl Settings {
    /// A profile as this worker uses it.
    pub(crate) fn near(&self, profile: &ClusterProfile) -> ClusterProfile {
        let near_dc = Some(self.data_center.clone()).filter(|name| !name.is_empty());
        ClusterProfile { near_dc, ..profile.clone() }
    }

    /// Checks what can be checked without I/O.
    ///
    /// # Errors
    /// `Invalid`, naming the setting.
    pub fn validate(&self) -> Result<(), Failure> {
        let invalid = |message: String| Err(Failure::new(ErrorKind::Invalid, message));
        if self.name.is_empty() || self.name.len() > 128 {
            return invalid("a worker's name has 1 to 128 characters".to_owned());
        }
        if !(1..=SLOTS_MAX).contains(&self.slots) {
            return invalid(format!("slots = {}: a worker has 1 to {SLOTS_MAX} slots", self.slots));
        }
        fit(self.slots, self.memory_bytes_max)?;
        if self.clusters.is_empty() {
            return invalid("the worker knows no cluster: add a [clusters.NAME] section with hosts".to_owned());
        }
        Ok(())
    }
}
