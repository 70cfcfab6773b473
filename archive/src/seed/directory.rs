//! What files a directory of cassandra-backup-tool holds, and which rows of which table stand in each.
//!
//! `KEYSPACE_schema.cql`, `TABLE_shardN_partM.json` or, from its first versions, `TABLE_partM.json`; each perhaps with `.gz`.
//! Shards count from 0, parts from 1. Several keyspaces may share a directory: then only tables of one name are ambiguous.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

const SCHEMA_SUFFIX: &str = "_schema.cql";
/// Longest schema file; a schema of thousands of tables has some megabytes.
const SCHEMA_BYTES_MAX: u64 = 256 << 20;

/// A directory that cassandra-backup-tool wrote.
#[derive(Clone, Debug)]
pub struct SeedDirectory {
    path: PathBuf,
    /// Sorted.
    keyspaces: Vec<String>,
    files: Vec<SeedFile>,
}

/// One keyspace of such a directory.
#[derive(Clone, Debug)]
pub struct SeedKeyspace {
    name: String,
    schema_text: String,
    directory: SeedDirectory,
    started_unix_ms: u64,
}

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeedFile {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// When it was written last.
    pub(super) unix_ms: u64,
    /// Before `_shardN`, if there is one, and what stands before `_partM`.
    names: (Option<String>, String),
    pub(super) shard: Option<u32>,
    pub(super) part: u32,
}

/// The directory, if cassandra-backup-tool wrote it: if it holds a `KEYSPACE_schema.cql`. Blocking, quick.
///
/// # Errors
/// `NotFound` for no directory, `Unavailable` where it can't be read.
pub fn find(path: &Path) -> Result<Option<SeedDirectory>> {
    let failed = |e: io::Error| {
        let what = format!("{} can't be read: {e}", path.display());
        let error = if e.kind() == io::ErrorKind::NotFound { Error::not_found(what) } else { Error::unavailable(what) };
        error.caused_by(e)
    };
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_dir() {
        return Ok(None);
    }
    let (mut keyspaces, mut files) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if let Some(keyspace) = name.strip_suffix(SCHEMA_SUFFIX).filter(|keyspace| !keyspace.is_empty()) {
            keyspaces.push(keyspace.to_owned());
        } else if let Some((names, shard, part)) = parts_of(&name) {
            let metadata = fs::metadata(entry.path()).map_err(failed)?;
            let (bytes, unix_ms) = (metadata.len(), modified(&metadata));
            files.push(SeedFile { path: entry.path(), bytes, unix_ms, names, shard, part });
        }
    }
    keyspaces.sort();
    files.sort_by(|a, b| (&a.names.1, a.part, &a.path).cmp(&(&b.names.1, b.part, &b.path)));
    Ok((!keyspaces.is_empty()).then(|| SeedDirectory { path: path.to_owned(), keyspaces, files }))
}

/// `NAME_part1.json`, `NAME_shard0_part1.json.gz`: the names that the table may have, shard and part.
#[allow(clippy::type_complexity)]
fn parts_of(file: &str) -> Option<((Option<String>, String), Option<u32>, u32)> {
    let stem = file.strip_suffix(".gz").unwrap_or(file).strip_suffix(".json")?;
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|_| plain)
    };
    let (name, part) = stem.rsplit_once("_part")?;
    let part = number(part)?;
    if name.is_empty() {
        return None;
    }
    let sharded = name.rsplit_once("_shard").and_then(|(table, shard)| Some((table.to_owned(), number(shard)?)));
    let sharded = sharded.filter(|(table, _)| !table.is_empty());
    let shard = sharded.as_ref().map(|(_, shard)| *shard);
    Some(((sharded.map(|(table, _)| table), name.to_owned()), shard, part))
}

fn modified(metadata: &fs::Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl SeedDirectory {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keyspaces whose schema stands there, sorted.
    #[must_use]
    pub fn keyspaces(&self) -> Vec<&str> {
        self.keyspaces.iter().map(String::as_str).collect()
    }

    /// One keyspace; the only one where none is named. Reads its schema file.
    ///
    /// # Errors
    /// `NotFound` for another keyspace, `Invalid` where none is named and there are several, `Corrupt` for a schema that
    /// is no text.
    pub fn keyspace(&self, name: Option<&str>) -> Result<SeedKeyspace> {
        let known = self.keyspaces.join(", ");
        let name = match (name, self.keyspaces.as_slice()) {
            (Some(name), keyspaces) if keyspaces.iter().any(|keyspace| keyspace == name) => name.to_owned(),
            (Some(name), _) => {
                let path = self.path.display();
                return Err(Error::not_found(format!("{path} holds no keyspace {name:?}; it holds: {known}")));
            }
            (None, [only]) => only.clone(),
            (None, _) => {
                let path = self.path.display();
                return Err(Error::invalid(format!("{path} holds several keyspaces; name one of: {known}")));
            }
        };
        let file = format!("{name}{SCHEMA_SUFFIX}");
        let path = self.path.join(&file);
        let failed = |e: io::Error| Error::unavailable(format!("{file} can't be read: {e}")).caused_by(e);
        let metadata = fs::metadata(&path).map_err(failed)?;
        if metadata.len() > SCHEMA_BYTES_MAX {
            return Err(Error::corrupt(format!("{file} is damaged: it is larger than any schema")));
        }
        let schema_text = String::from_utf8(fs::read(&path).map_err(failed)?)
            .map_err(|e| Error::corrupt(format!("{file} is damaged: it is not UTF-8")).caused_by(e))?;
        Ok(SeedKeyspace { name, schema_text, directory: self.clone(), started_unix_ms: modified(&metadata) })
    }
}

impl SeedKeyspace {
    /// Unquoted, as the schema file's name says.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `KEYSPACE_schema.cql` holds.
    #[must_use]
    pub fn schema_text(&self) -> &str {
        &self.schema_text
    }

    /// When its schema file was written, which that tool does first.
    pub(super) fn started_unix_ms(&self) -> u64 {
        self.started_unix_ms
    }

    /// The files of each of these tables, by shard and part; tables without a file are left out.
    ///
    /// # Errors
    /// `Corrupt` where a shard or part is missing; `Invalid` where a file could be of two tables, or of none.
    pub(super) fn files(&self, tables: &[&str]) -> Result<BTreeMap<String, Vec<SeedFile>>> {
        let known: BTreeSet<&str> = tables.iter().copied().collect();
        let mut found: BTreeMap<String, Vec<SeedFile>> = BTreeMap::new();
        for file in &self.directory.files {
            let sharded = file.names.0.as_deref().filter(|name| known.contains(name));
            let whole = Some(file.names.1.as_str()).filter(|name| known.contains(name));
            let (table, shard) = match (sharded, whole) {
                (Some(a), Some(b)) => {
                    let file = file.path.display();
                    return Err(Error::invalid(format!("{file} may hold rows of table {a:?} or of table {b:?}")));
                }
                (Some(table), None) => (table, file.shard),
                (None, Some(table)) => (table, None),
                (None, None) if self.directory.keyspaces.len() > 1 => continue, // of another keyspace
                (None, None) => {
                    let (file, keyspace) = (file.path.display(), &self.name);
                    return Err(Error::invalid(format!(
                        "{file} is of no table that {keyspace}{SCHEMA_SUFFIX} creates; move it away, or complete the schema"
                    )));
                }
            };
            found.entry(table.to_owned()).or_default().push(SeedFile { shard, ..file.clone() });
        }
        for (table, files) in &mut found {
            files.sort_by_key(|file| (file.shard, file.part));
            check_complete(table, files)?;
        }
        Ok(found)
    }
}

/// Whether the files of a table are all that were written, as far as their numbers tell.
fn check_complete(table: &str, files: &[SeedFile]) -> Result<()> {
    let missing = |what: String| {
        Error::corrupt(format!(
            "of table {table:?}, {what} is missing in the directory; find it, or leave the table out"
        ))
    };
    let mut expected: (Option<u32>, u32) = (files.first().and_then(|file| file.shard).map(|_| 0), 1);
    for file in files {
        let here = (file.shard, file.part);
        if here == expected {
            expected.1 += 1;
            continue;
        }
        let next_shard = (expected.0.map(|shard| shard + 1), 1);
        if here == next_shard && here.0 != expected.0 && expected.1 > 1 {
            expected = (here.0, 2);
            continue;
        }
        if expected.1 > 1 && here == (expected.0, expected.1 - 1) {
            let name = file.path.file_name().unwrap_or_default().to_string_lossy();
            return Err(Error::invalid(format!("{name} is there twice, compressed and not; move one of them away")));
        }
        if here.0.is_some() != expected.0.is_some() {
            return Err(Error::invalid(format!(
                "table {table:?} has files with shards and files without: they are of two backups; move one away"
            )));
        }
        return Err(missing(match expected {
            (Some(shard), part) if here.0 == expected.0 || part == 1 => format!("part {part} of shard {shard}"),
            (Some(shard), _) => format!("shard {}", shard + 1),
            (None, part) => format!("part {part}"),
        }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ringvault_proto::error::ErrorKind;

    use super::*;

    fn directory(files: &[&str]) -> (tempfile::TempDir, Option<SeedDirectory>) {
        let directory = tempfile::tempdir().expect("a directory");
        for file in files {
            fs::write(directory.path().join(file), "[]").expect("written");
        }
        let found = find(directory.path()).expect("readable");
        (directory, found)
    }

    /// Tables with the shards and parts of their files.
    type Numbers = Vec<(String, Vec<(Option<u32>, u32)>)>;

    fn files(names: &[&str], tables: &[&str]) -> Result<Numbers> {
        let (_kept, found) = directory(&[names, &["ks_schema.cql"]].concat());
        let found = found.expect("a seed directory").keyspace(None)?.files(tables)?;
        let numbers = |files: Vec<SeedFile>| files.iter().map(|file| (file.shard, file.part)).collect();
        Ok(found.into_iter().map(|(table, files)| (table, numbers(files))).collect())
    }

    #[test]
    fn a_directory_is_that_tools_where_it_holds_a_schema_file() {
        assert!(directory(&["a_part1.json"]).1.is_none());
        assert!(directory(&["_schema.cql"]).1.is_none());
        let (_kept, found) = directory(&["shop_schema.cql", "bar_schema.cql"]);
        let found = found.expect("one of that tool");
        assert_eq!(found.keyspaces(), ["bar", "shop"]);
        assert_eq!(found.keyspace(Some("shop")).expect("there").name(), "shop");
        assert_eq!(found.keyspace(None).expect_err("two").kind(), ErrorKind::Invalid);
        let error = found.keyspace(Some("x")).expect_err("none");
        assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("bar, shop"), "{error}");
        assert_eq!(find(Path::new("/nonexistent/seed")).expect_err("none").kind(), ErrorKind::NotFound);
    }

    #[test]
    fn files_belong_to_tables_by_their_names() {
        let names =
            ["t_shard0_part1.json", "t_shard0_part2.json", "t_shard1_part1.json.gz", "u_part1.json", "notes.txt"];
        let expected =
            vec![("t".to_owned(), vec![(Some(0), 1), (Some(0), 2), (Some(1), 1)]), ("u".to_owned(), vec![(None, 1)])];
        assert_eq!(files(&names, &["t", "u", "empty"]).expect("fine"), expected);
        let odd = files(&["a_shard3_part1.json"], &["a_shard3"]).expect("a table of that name");
        assert_eq!(odd, [("a_shard3".to_owned(), vec![(None, 1)])]);
        let many: Vec<String> = (1..=12).map(|part| format!("t_part{part}.json")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(files(&many, &["t"]).expect("fine")[0].1.len(), 12);
    }

    #[test]
    fn what_is_missing_doubled_or_of_no_table_is_named() {
        for (names, part) in [
            (&["t_shard0_part2.json"][..], "part 1 of shard 0"),
            (&["t_shard1_part1.json"], "part 1 of shard 0"),
            (&["t_shard0_part1.json", "t_shard2_part1.json"], "shard 1 is missing"),
            (&["t_shard0_part1.json", "t_shard0_part3.json"], "part 2 of shard 0"),
            (&["t_shard0_part1.json", "t_shard1_part2.json"], "shard 1 is missing"),
            (&["t_part1.json", "t_part3.json"], "part 2"),
            (&["t_part1.json", "t_part1.json.gz"], "there twice"),
            (&["t_part1.json", "t_shard0_part1.json"], "of two backups"),
            (&["other_part1.json"], "of no table"),
        ] {
            let error = files(names, &["t"]).expect_err(part).to_string();
            assert!(error.contains(part), "{names:?}: {error}");
        }
        let error = files(&["t_shard1_part1.json"], &["t", "t_shard1"]).expect_err("two").to_string();
        assert!(error.contains("\"t\" or of table \"t_shard1\""), "{error}");
    }
}
