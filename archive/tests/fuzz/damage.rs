//! A small repository whose every byte is changed, whose every object is cut, lengthened, deleted and exchanged, in turn.
//!
//! Each damage is found by a check that reads the data, or it is none: then what a restore reads is what was written.
//! And never, found or not, does reading the way a restore does give anything but what was written. What no check finds
//! is counted and known: bits of compressed frames that say nothing, the DDL for people, and the repository's own id.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ringvault_archive::{
    check::{ReadData, check_backup, check_objects},
    chunk,
    digest::Sums,
    manifest::Manifest,
    repository::{Location, Repository},
    row::{DecodedRow, RowDecoder},
    table::TableLayout,
};
use ringvault_proto::v1::Compression;

use crate::{
    engine::{below, is_long},
    sample::{BACKUP, id, write_all_but_manifest, write_table},
    types::Dice,
};

/// The backup, and everything that a restore takes from it.
#[derive(Debug, PartialEq)]
struct Contents {
    manifest: Manifest,
    schema: Vec<String>,
    /// Lines and sums by table and object.
    lines: BTreeMap<(String, String), (Vec<u8>, Sums)>,
}

/// Two tables of several chunks each, with statics, in all compressions.
async fn make(repository: &Repository) -> Manifest {
    use Compression::{Gzip, None, Zstd};
    let backup = id(BACKUP);
    let mut manifest = write_all_but_manifest(repository, &backup).await;
    let chunks = [(0, 0, 5, 2, Gzip), (4, 0, 6, 12, Zstd), (4, 1, 7, 3, None)];
    let other = write_table(repository, &backup, "Old Orders", &chunks).await;
    let entry = manifest.tables.iter_mut().find(|entry| entry.table == "Old Orders").expect("held");
    // The empty index that stood there means nothing now: nothing names it.
    let orphan = std::mem::replace(entry, other).index.object;
    repository.delete(&orphan).await.expect("deleted");
    repository.write_manifest(&manifest).await.expect("written");
    // As it is read: sorted.
    repository.manifest(&backup).await.expect("just written")
}

/// Reads a backup as a restore does: manifest, schema, and indexes; existence of all chunks before the first write; each
/// chunk as a whole before its first line.
async fn read_as_a_restore_does(repository: &Repository) -> ringvault_archive::Result<Contents> {
    let manifest = repository.manifest(&id(BACKUP)).await?;
    let schema = repository.read_schema(&manifest).await?.objects.into_iter().map(|object| object.cql).collect();
    let mut indexes = Vec::new();
    for entry in &manifest.tables {
        let index = repository.index_of(&manifest, &entry.keyspace, &entry.table).await?;
        let findings = check_objects(repository, &index).await?;
        if let Some(finding) = findings.first() {
            return Err(ringvault_archive::Error::corrupt(finding.message.clone()));
        }
        indexes.push(index);
    }
    let mut lines = BTreeMap::new();
    for index in indexes {
        let layout = TableLayout::from_message(index.table())?;
        let (mut decoder, mut row) = (RowDecoder::new(&layout), DecodedRow::default());
        for record in index.chunks() {
            let mut stored = repository.fetch_chunk(record).await?;
            stored.check()?;
            let (mut all, mut line) = (Vec::new(), Vec::new());
            while stored.next_line(&mut line)? {
                decoder.decode(&line, &mut row)?;
                all.extend_from_slice(&line);
            }
            let key = (layout.table.clone(), record.object.clone());
            lines.insert(key, (all, chunk::sums(record)?));
        }
    }
    Ok(Contents { manifest, schema, lines })
}

/// What became of one damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Found by the check, and met by a restore's reading before any of it was written.
    Found,
    /// The check is content, and a restore reads what was written.
    Harmless,
}

struct Bench {
    repository: Repository,
    intact: Contents,
    /// All objects of the backup, by name.
    objects: BTreeMap<String, Bytes>,
    outcomes: BTreeMap<(String, Outcome), u64>,
}

impl Bench {
    async fn new() -> Self {
        let repository = Repository::in_memory();
        make(&repository).await;
        let mut objects = BTreeMap::new();
        for prefix in ["data", "backups"] {
            for (object, _) in repository.list(prefix).await.expect("listed") {
                let bytes = repository.read(&object).await.expect("there");
                objects.insert(object, bytes);
            }
        }
        let intact = read_as_a_restore_does(&repository).await.expect("intact");
        assert_eq!(intact.manifest.tables.len(), 2);
        assert!(objects.len() > 10, "{objects:?}");
        Self { repository, intact, objects, outcomes: BTreeMap::new() }
    }

    /// Checks and reads the repository as it is now.
    async fn meet(&mut self, object: &str, what: &str) -> Outcome {
        let checked = check_backup(&self.repository, &id(BACKUP), ReadData::All, &mut |_| {}).await;
        let found = checked.and_then(|report| report.into_result());
        let read = read_as_a_restore_does(&self.repository).await;
        let outcome = match (&found, &read) {
            (_, Ok(contents)) if *contents != self.intact => {
                panic!("{object}, {what}: read as something that was never written")
            }
            (Ok(()), Ok(_)) => Outcome::Harmless,
            (Err(_), Err(_)) => Outcome::Found,
            // A repeated frame or the like: refused by one that is stricter.
            (Err(found), Ok(_)) => panic!("{object}, {what}: found ({found}), and read as if nothing were"),
            (Ok(()), Err(error)) => panic!("{object}, {what}: not found, but it can't be read: {error}"),
        };
        *self.outcomes.entry((class(object).to_owned(), outcome)).or_default() += 1;
        outcome
    }

    async fn put(&self, object: &str, bytes: &[u8]) {
        self.repository.put(object, Bytes::copy_from_slice(bytes)).await.expect("written");
    }

    async fn heal(&self, object: &str) {
        self.put(object, &self.objects[object]).await;
    }

    async fn finish(mut self) -> BTreeMap<(String, Outcome), u64> {
        assert_eq!(self.meet("nothing", "all healed").await, Outcome::Harmless);
        self.outcomes
    }
}

fn class(object: &str) -> &str {
    let kinds = ["schema.cql", "schema.json", "manifest.json", "tables/", ".jsonl.gz", ".jsonl.zst", ".jsonl"];
    kinds.into_iter().find(|kind| object.contains(kind)).unwrap_or(object)
}

/// Where a bit may say nothing of the content: the time and the machine in a gzip header, the window and unused bits of a
/// zstd frame, one of two codes for the same. Each such byte was read as what was written; and there are few of them.
fn may_say_nothing(object: &str) -> bool {
    object.ends_with(".gz") || object.ends_with(".zst") || object.ends_with("schema.cql")
}

/// Of a hundred compressed bytes, so many at most may say nothing; these objects are small, and their headers large.
const SAY_NOTHING_PERCENT_MAX: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_that_changes_is_found() {
    let mut bench = Bench::new().await;
    let objects = bench.objects.clone();
    for (object, whole) in &objects {
        let mut silent = BTreeSet::new();
        for at in 0..whole.len() {
            let bit = 1u8 << (at % 8);
            let short = [bit, 0xff];
            let all = [1, 2, 4, 8, 16, 32, 64, 128, 0xff, 0x20, 0x0f];
            // One bit of each byte where time is short, and all of the headers.
            let few = if at % 2 == 0 { &short[..1] } else { &short[1..] };
            for pattern in if is_long() || at < 16 { &all[..] } else { few } {
                let mut damaged = whole.to_vec();
                damaged[at] ^= pattern;
                bench.put(object, &damaged).await;
                let outcome = bench.meet(object, &format!("byte {at} xor {pattern:#x}")).await;
                assert!(
                    outcome == Outcome::Found || may_say_nothing(object),
                    "{object}: byte {at} xor {pattern:#x} is not found"
                );
                if outcome == Outcome::Harmless {
                    silent.insert(at);
                }
            }
        }
        bench.heal(object).await;
        let few = silent.len() * 100 <= whole.len() * SAY_NOTHING_PERCENT_MAX;
        assert!(few || object.ends_with("schema.cql"), "{object}: bytes {silent:?} say nothing");
    }
    let outcomes = bench.finish().await;
    let found: u64 = outcomes.iter().filter(|((_, outcome), _)| *outcome == Outcome::Found).map(|(_, n)| n).sum();
    assert!(found > 5000, "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cut_lengthened_deleted_and_exchanged_object_is_found() {
    let mut bench = Bench::new().await;
    let objects = bench.objects.clone();
    for (object, whole) in &objects {
        let people_only = object.ends_with("schema.cql");
        let expect = |outcome: Outcome, what: &str| {
            assert!(outcome == Outcome::Found || people_only, "{object}, {what}: not found");
        };
        let lengths = [0, 1, 2, 4, 8, 17, whole.len() / 3, whole.len() / 2, whole.len() - 4, whole.len() - 1];
        for length in lengths.into_iter().filter(|length| *length < whole.len()) {
            bench.put(object, &whole[..length]).await;
            expect(bench.meet(object, &format!("cut to {length}")).await, "cut");
        }
        for more in [&b"\0"[..], b"\n", b" ", whole, &whole[..whole.len() / 2]] {
            bench.put(object, &[whole, more].concat()).await;
            expect(bench.meet(object, "lengthened").await, "lengthened");
        }
        // Of the same length, so that only its content tells.
        for content in [vec![0; whole.len()], vec![b'\n'; whole.len()], whole.iter().rev().copied().collect()] {
            bench.put(object, &content).await;
            expect(bench.meet(object, "other content").await, "other content");
        }
        bench.repository.delete(object).await.expect("deleted");
        expect(bench.meet(object, "deleted").await, "deleted");
        bench.heal(object).await;
        for (other, content) in objects.iter().filter(|(other, _)| *other != object) {
            bench.put(object, content).await;
            expect(bench.meet(object, &format!("replaced by {other}")).await, "replaced");
            if object < other {
                bench.put(other, whole).await;
                bench.meet(object, &format!("swapped with {other}")).await;
                bench.heal(other).await;
            }
        }
        bench.heal(object).await;
    }
    bench.finish().await;
}

/// Several damages at once, made from a seed.
#[tokio::test(flavor = "multi_thread")]
async fn many_damages_at_once_are_found() {
    let mut bench = Bench::new().await;
    let objects: Vec<(String, Bytes)> =
        bench.objects.clone().into_iter().filter(|(object, _)| !object.ends_with("schema.cql")).collect();
    for seed in 0..if is_long() { 20_000 } else { 500 } {
        let mut dice = Dice(seed);
        let mut hit = Vec::new();
        for _ in 0..1 + dice.below(4) {
            let (object, whole) = &objects[below(&mut dice, objects.len())];
            let mut damaged = whole.to_vec();
            match dice.below(4) {
                0 => damaged.truncate(below(&mut dice, whole.len())),
                1 => damaged.rotate_left(1 + below(&mut dice, whole.len() - 1)),
                2 => damaged = objects[below(&mut dice, objects.len())].1.to_vec(),
                _ => {
                    let start = below(&mut dice, whole.len());
                    damaged[start..].fill(0);
                }
            }
            bench.put(object, &damaged).await;
            hit.push((object.clone(), damaged != *whole));
        }
        let changed = {
            // The last write to an object counts.
            let last: BTreeMap<_, _> = hit.iter().cloned().collect();
            last.values().any(|changed| *changed)
        };
        let outcome = bench.meet("several", &format!("seed {seed}: {hit:?}")).await;
        assert_eq!(outcome == Outcome::Found, changed, "seed {seed}: {hit:?}");
        for (object, _) in hit {
            bench.heal(&object).await;
        }
    }
    bench.finish().await;
}

/// A repository whose `ringvault.json` is damaged is not opened, or it is another's name for the same backups.
#[tokio::test]
async fn a_changed_repository_file_is_found_or_changes_no_backup() {
    let scratch = tempfile::tempdir().expect("a directory");
    let location = Location::Directory(scratch.path().to_owned());
    let repository = Repository::open_or_create(&location).await.expect("an empty directory");
    make(&repository).await;
    let intact = read_as_a_restore_does(&repository).await.expect("intact");
    let marker = scratch.path().join("ringvault.json");
    let whole = std::fs::read(&marker).expect("there");
    let (mut found, mut renamed) = (0, 0);
    for at in 0..whole.len() {
        for pattern in [1, 2, 4, 8, 16, 32, 64, 128, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= pattern;
            std::fs::write(&marker, &damaged).expect("written");
            match Repository::open(&location).await {
                Err(_) => found += 1,
                Ok(opened) => {
                    // White space, the case of a digit, or another id: none of it is part of a backup.
                    renamed += 1;
                    let read = read_as_a_restore_does(&opened).await.expect("readable");
                    assert_eq!(read, intact, "byte {at} xor {pattern:#x}");
                }
            }
        }
    }
    for length in 0..whole.len() - 2 {
        std::fs::write(&marker, &whole[..length]).expect("written");
        Repository::open(&location).await.expect_err("cut");
    }
    std::fs::remove_file(&marker).expect("removed");
    Repository::open(&location).await.expect_err("no repository");
    assert!(found > renamed, "{found} found, {renamed} not");
}
