//! `tests/golden/repository/`: a repository of format 1, byte by byte. It is never changed, only added to: what was
//! written once must stay readable. `RINGVAULT_BLESS=1` writes the files that are missing.

use std::{collections::BTreeMap, path::Path};

use ringvault_archive::{
    check::{ReadData, check_backup},
    repository::{Location, Repository},
};

use crate::sample::{BACKUP, KEYSPACE, id, schema, write_backup};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/repository");

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below").to_str().expect("ASCII").to_owned();
                files.insert(name, std::fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

#[tokio::test]
async fn what_is_written_now_is_the_golden_repository_byte_by_byte() {
    let scratch = tempfile::tempdir().expect("a directory");
    let marker = Path::new(GOLDEN).join("ringvault.json");
    std::fs::copy(marker, scratch.path().join("ringvault.json")).expect("copied");
    let location = Location::Directory(scratch.path().to_owned());
    let repository = Repository::open(&location).await.expect("a repository");
    write_backup(&repository, &id(BACKUP)).await;
    let written = files(scratch.path());
    if std::env::var_os("RINGVAULT_BLESS").is_some() {
        for (name, bytes) in &written {
            let path = Path::new(GOLDEN).join(name);
            if !path.exists() {
                std::fs::create_dir_all(path.parent().expect("below")).expect("created");
                std::fs::write(path, bytes).expect("written");
            }
        }
    }
    let golden = files(Path::new(GOLDEN));
    assert_eq!(written.keys().collect::<Vec<_>>(), golden.keys().collect::<Vec<_>>());
    for (name, bytes) in written {
        assert!(bytes == golden[&name], "{name} is written otherwise than the golden file");
    }
}

#[tokio::test]
async fn the_golden_repository_is_read_and_sound() {
    let repository = Repository::open(&Location::Directory(GOLDEN.into())).await.expect("a repository");
    assert_eq!(repository.id(), "0b8e5f4e-3d38-4f0c-9a63-0f2b6a1d9c11");
    let listed = repository.backups().await.expect("listed");
    let manifest = listed[0].manifest.as_ref().expect("readable");
    assert_eq!(manifest.started_unix_ms, 1_795_359_053_123);
    assert_eq!(repository.read_schema(manifest).await.expect("there"), schema());
    assert_eq!(repository.index_of(manifest, KEYSPACE, "orders").await.expect("there").totals().sums.rows, 44);
    let report = check_backup(&repository, &id(BACKUP), ReadData::All, &mut |_| {}).await.expect("checked");
    assert!(report.is_sound(), "{report:?}");
}
