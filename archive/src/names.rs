//! Names of the objects in a repository (FORMAT.md, "Names"). Nothing else in the workspace builds such a name.
//!
//! Keyspace and table names become path parts by percent-encoding, upper case too, so that quoted and mixed-case names
//! stay distinct on any file system. Deliberately absent: any I/O.

use ringvault_proto::{
    grid::Grid,
    ids::{BackupId, JobId},
    v1::Compression,
};

use crate::{
    digest::Identity,
    error::{Error, Result},
};

/// The object that makes a directory or prefix a repository.
pub const REPOSITORY_OBJECT: &str = "ringvault.json";
/// What all chunks stand below.
pub const DATA_PREFIX: &str = "data";
/// What all backups stand below.
pub const BACKUPS_PREFIX: &str = "backups";

/// Longest encoded path part, in bytes. A table's index joins two of them in one file name, and file systems end at 255.
pub const PART_BYTES_MAX: usize = 100;
/// Longest readable head of a part that was cut.
const PART_HEAD_BYTES_MAX: usize = 67;

/// Where a chunk belongs: its table, and its place on the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkAddress<'a> {
    /// Unquoted.
    pub keyspace: &'a str,
    /// Unquoted.
    pub table: &'a str,
    /// The table's grid.
    pub grid: Grid,
    /// Index of the segment in the grid.
    pub segment: u64,
    /// 0-based position within the segment.
    pub part: u32,
}

/// The name of a chunk's object. `next` is 0, or counts the bad objects that stood at the names before.
#[must_use]
pub fn data_object(address: &ChunkAddress<'_>, identity: Identity, compression: Compression, next: u32) -> String {
    let exponent = address.grid.exponent();
    let digits = exponent.div_ceil(4).max(1) as usize;
    let part = if address.part == 0 { String::new() } else { format!(".{:03}", address.part) };
    format!(
        "{}/{exponent:02}-{:0digits$x}{part}-{identity}{}.jsonl{}",
        data_prefix(address.keyspace, address.table),
        address.segment,
        next_suffix(next),
        extension(compression),
    )
}

/// What all chunks of a table stand below; without a slash at the end.
#[must_use]
pub fn data_prefix(keyspace: &str, table: &str) -> String {
    format!("{DATA_PREFIX}/{}/{}", path_part(keyspace), path_part(table))
}

/// What all objects of one backup but its chunks stand below; without a slash at the end.
#[must_use]
pub fn backup_prefix(backup: &BackupId) -> String {
    format!("{BACKUPS_PREFIX}/{backup}")
}

/// The name of a table's index.
#[must_use]
pub fn index_object(backup: &BackupId, keyspace: &str, table: &str, next: u32) -> String {
    let (keyspace, table) = (path_part(keyspace), path_part(table));
    format!("{}/tables/{keyspace}.{table}{}.jsonl.zst", backup_prefix(backup), next_suffix(next))
}

/// The name of a backup's manifest.
#[must_use]
pub fn manifest_object(backup: &BackupId) -> String {
    format!("{}/manifest.json", backup_prefix(backup))
}

/// The name of a backup's schema, as restore reads it.
#[must_use]
pub fn schema_object(backup: &BackupId, next: u32) -> String {
    format!("{}/schema{}.json", backup_prefix(backup), next_suffix(next))
}

/// The name of a backup's schema, as people read it.
#[must_use]
pub fn schema_text_object(backup: &BackupId, next: u32) -> String {
    format!("{}/schema{}.cql", backup_prefix(backup), next_suffix(next))
}

/// The name of the nonce by which workers prove that they see a job's repository.
#[must_use]
pub fn probe_object(job: &JobId) -> String {
    format!("probes/{job}.json")
}

/// A name of the database as a path part: percent-encoded, and where that is longer than [`PART_BYTES_MAX`], its head,
/// `~` and the first 32 hex digits of the name's BLAKE3.
#[must_use]
pub fn path_part(name: &str) -> String {
    let encoded = percent_encode(name);
    if encoded.len() <= PART_BYTES_MAX {
        return encoded;
    }
    let mut head = PART_HEAD_BYTES_MAX;
    if let Some(escape) = encoded[head - 2..head].find('%') {
        head = head - 2 + escape; // never half an escape
    }
    format!("{}~{}", &encoded[..head], &Identity::of(name.as_bytes()).to_string()[..32])
}

/// `%XX` for every byte but lower-case letters, digits, `_` and `-`.
#[must_use]
pub fn percent_encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The name behind an encoded path part.
///
/// # Errors
/// `Invalid` for what [`percent_encode`] never writes, and for a part that was cut.
pub fn percent_decode(part: &str) -> Result<String> {
    let decoded = percent_encoding::percent_decode_str(part).decode_utf8().ok();
    decoded
        .filter(|name| percent_encode(name) == part)
        .map(String::from)
        .ok_or_else(|| Error::invalid(format!("{part:?} is not a percent-encoded name")))
}

/// What stands behind `.jsonl`.
fn extension(compression: Compression) -> &'static str {
    match compression {
        Compression::Unspecified | Compression::Zstd => ".zst",
        Compression::Gzip => ".gz",
        Compression::None => "",
    }
}

fn next_suffix(next: u32) -> String {
    if next == 0 { String::new() } else { format!("~{next}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(grid: u32, segment: u64, part: u32) -> ChunkAddress<'static> {
        ChunkAddress { keyspace: "shop", table: "Orders", grid: Grid::try_from(grid).expect("small"), segment, part }
    }

    #[test]
    fn a_chunk_is_named_by_table_place_and_content() {
        let identity = Identity([0xab; 32]);
        let hex = "ab".repeat(32);
        assert_eq!(
            data_object(&address(0, 0, 0), identity, Compression::Zstd, 0),
            format!("data/shop/%4Frders/00-0-{hex}.jsonl.zst")
        );
        assert_eq!(
            data_object(&address(9, 0x1f, 12), identity, Compression::Gzip, 2),
            format!("data/shop/%4Frders/09-01f.012-{hex}~2.jsonl.gz")
        );
        assert_eq!(
            data_object(&address(8, 0xff, 1000), identity, Compression::None, 0),
            format!("data/shop/%4Frders/08-ff.1000-{hex}.jsonl")
        );
    }

    #[test]
    fn a_backup_has_its_names_below_its_id() {
        let id: BackupId = "20261122T145053Z-7k3f".parse().expect("an id");
        assert_eq!(manifest_object(&id), "backups/20261122T145053Z-7k3f/manifest.json");
        assert_eq!(schema_object(&id, 0), "backups/20261122T145053Z-7k3f/schema.json");
        assert_eq!(schema_text_object(&id, 1), "backups/20261122T145053Z-7k3f/schema~1.cql");
        assert_eq!(index_object(&id, "a.b", "c", 0), "backups/20261122T145053Z-7k3f/tables/a%2Eb.c.jsonl.zst");
        assert_eq!(probe_object(&"job-1".parse().expect("an id")), "probes/job-1.json");
    }

    #[test]
    fn the_longest_names_still_fit_a_file_system() {
        let id: BackupId = "20261122T145053Z-7k3f".parse().expect("an id");
        let (long, other) = ("Ü".repeat(222), format!("{}x", "Ü".repeat(221)));
        let object = index_object(&id, &long, &long, 12);
        assert!(object.rsplit('/').next().expect("a file name").len() <= 255);
        assert_ne!(path_part(&long), path_part(&other));
        for length in 30..120 {
            let part = path_part(&format!("{}{}", "a".repeat(length % 3), "A".repeat(length)));
            assert!(part.len() <= PART_BYTES_MAX, "{part}");
            let head = part.split('~').next().expect("a head");
            assert!(percent_decode(head).is_ok(), "{part}");
        }
    }

    proptest! {
        #[test]
        fn encoded_names_are_distinct_in_lower_case_and_decode(name in ".{0,30}") {
            let encoded = percent_encode(&name);
            prop_assert!(encoded.bytes().all(|b| b == b'%' || b == b'_' || b == b'-' || b.is_ascii_alphanumeric()));
            prop_assert_eq!(percent_decode(&encoded).expect("own encoding"), name);
        }
    }

    #[test]
    fn what_is_no_encoded_name_is_refused() {
        for part in ["A", "%41%", "%zz", "%4f", "a.b", "%FF", "x~0123"] {
            assert!(percent_decode(part).is_err(), "{part}");
        }
    }
}
