//! Backups: listed, found, and never changed by late writers.

use bytes::Bytes;
use ringvault_archive::{digest::Identity, index::TableIndex, names, repository::Repository};
use ringvault_proto::{error::ErrorKind, pattern::Patterns};

use crate::{
    on_every_repository,
    sample::{BACKUP, KEYSPACE, id, schema, write_all_but_manifest, write_backup},
};

on_every_repository!(
    a_backup_comes_back_as_it_was_written,
    a_backup_exists_only_with_its_manifest,
    a_manifest_is_written_once_and_repeating_it_is_fine,
    a_second_backup_of_equal_rows_stores_no_chunk,
    late_writers_change_nothing_that_a_manifest_names,
    of_two_backups_within_a_second_the_later_is_the_newest,
    the_newest_complete_backup_is_found_and_no_unreadable_one_is_passed_by,
    what_is_not_there_is_named,
);

fn only(keyspace: &str) -> Patterns {
    Patterns::of_keyspaces(&[keyspace.to_owned()]).expect("a name")
}

async fn a_backup_comes_back_as_it_was_written(repository: Repository) {
    let backup = id(BACKUP);
    let manifest = write_backup(&repository, &backup).await;
    let mut read = repository.manifest(&backup).await.expect("there");
    assert_eq!(read.table(KEYSPACE, "orders").expect("held").sums.rows, 44);
    read.tables.reverse(); // it was sorted when it was written
    assert_eq!(read, manifest);
    assert_eq!(repository.read_schema(&read).await.expect("there"), schema());
    let index = repository.index(&backup, KEYSPACE, "orders").await.expect("there");
    assert_eq!(index.segment_chunks(1).len(), 2);
    assert_eq!(index.segment_chunks(0).len(), 0);
    assert_eq!(index.totals().sums.static_rows, 4);
    let empty = repository.index_of(&manifest, KEYSPACE, "Old Orders").await.expect("there");
    assert!(empty.chunks().is_empty());
}

async fn of_two_backups_within_a_second_the_later_is_the_newest(repository: Repository) {
    let mut later = write_all_but_manifest(&repository, &id("20261123T000000Z-0001")).await;
    later.started_unix_ms += 1;
    later.finished_unix_ms += 1;
    repository.write_manifest(&later).await.expect("written");
    write_backup(&repository, &id("20261123T000000Z-zzzz")).await;
    let newest = repository.newest(&only(KEYSPACE)).await.expect("there");
    assert_eq!(newest.backup_id, later.backup_id);
}

async fn a_backup_exists_only_with_its_manifest(repository: Repository) {
    let (first, second) = (id(BACKUP), id("20261123T000000Z-0001"));
    let manifest = write_all_but_manifest(&repository, &first).await;
    assert!(repository.backups().await.expect("listed").is_empty());
    assert_eq!(repository.manifest(&first).await.expect_err("unfinished").kind(), ErrorKind::NotFound);
    write_backup(&repository, &second).await;
    repository.write_manifest(&manifest).await.expect("written");
    let listed = repository.backups().await.expect("listed");
    assert_eq!(listed.iter().map(|backup| backup.id.clone()).collect::<Vec<_>>(), [first, second]);
    assert!(listed.iter().all(|backup| backup.manifest.is_ok()));
}

async fn a_manifest_is_written_once_and_repeating_it_is_fine(repository: Repository) {
    let mut manifest = write_backup(&repository, &id(BACKUP)).await;
    repository.write_manifest(&manifest).await.expect("the same again");
    manifest.warnings.push("another".into());
    let error = repository.write_manifest(&manifest).await.expect_err("another");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(repository.manifest(&id(BACKUP)).await.expect("the first").warnings.is_empty());
}

async fn a_second_backup_of_equal_rows_stores_no_chunk(repository: Repository) {
    write_backup(&repository, &id(BACKUP)).await;
    let chunks = repository.list("data").await.expect("listed");
    let second = write_backup(&repository, &id("20261123T000000Z-0001")).await;
    assert_eq!(repository.list("data").await.expect("listed"), chunks);
    assert!(second.tables.iter().all(|table| table.stored_bytes_new == 0));
}

async fn late_writers_change_nothing_that_a_manifest_names(repository: Repository) {
    let backup = id(BACKUP);
    let manifest = write_backup(&repository, &backup).await;
    let mut other = schema();
    other.server_version = "4.1.10".into();
    let late = repository.write_schema(&backup, &other).await.expect("written beside");
    assert_eq!(late.object, names::schema_object(&backup, 1));
    assert_eq!(repository.write_schema(&backup, &other).await.expect("repeated"), late);
    let found = repository.find_schema(&backup, late.identity, late.encoded_bytes).await;
    assert_eq!(found.expect("there"), late);
    let none = repository.find_schema(&backup, Identity::of(b""), late.encoded_bytes).await;
    assert_eq!(none.expect_err("nobody wrote it").kind(), ErrorKind::Corrupt);
    let index = repository.index_of(&manifest, KEYSPACE, "orders").await.expect("there");
    let fewer = index.chunks()[..2].to_vec();
    let fewer = TableIndex::new(index.table().clone(), index.grid(), false, fewer).expect("whole");
    let late = repository.write_index(&backup, &fewer).await.expect("written beside");
    assert_ne!(late.object, manifest.tables[0].index.object);
    assert_eq!(repository.read_schema(&manifest).await.expect("unchanged"), schema());
    assert_eq!(repository.index_of(&manifest, KEYSPACE, "orders").await.expect("unchanged"), index);
}

async fn the_newest_complete_backup_is_found_and_no_unreadable_one_is_passed_by(repository: Repository) {
    assert_eq!(repository.newest(&only(KEYSPACE)).await.expect_err("none").kind(), ErrorKind::NotFound);
    for (at, text) in ["20260101T000000Z-a", "20260102T000000Z-b", "20260103T000000Z-c"].into_iter().enumerate() {
        let mut manifest = write_all_but_manifest(&repository, &id(text)).await;
        manifest.options.limit_rows = if at == 2 { 5 } else { 0 };
        manifest.options.tables_chosen = if at == 1 { vec!["orders".into()] } else { vec![] };
        repository.write_manifest(&manifest).await.expect("written");
    }
    assert_eq!(repository.newest(&only(KEYSPACE)).await.expect("the first").backup_id, id("20260101T000000Z-a"));
    assert_eq!(repository.newest(&only("other")).await.expect_err("none").kind(), ErrorKind::NotFound);
    let newest = id("20260104T000000Z-d");
    repository.put(&names::manifest_object(&newest), Bytes::from_static(b"{\"format\": 2}")).await.expect("written");
    let error = repository.newest(&only(KEYSPACE)).await.expect_err("maybe the one");
    assert!(error.to_string().contains("20260104T000000Z-d may be the newest"), "{error}");
    let listed = repository.backups().await.expect("listed");
    assert_eq!(listed.len(), 4);
    assert_eq!(listed[3].manifest.as_ref().expect_err("newer").kind(), ErrorKind::Invalid);
}

async fn what_is_not_there_is_named(repository: Repository) {
    let manifest = write_backup(&repository, &id(BACKUP)).await;
    let error = repository.manifest(&id("20990101T000000Z-none")).await.expect_err("absent");
    assert!(error.to_string().contains("there is no backup 20990101T000000Z-none in"), "{error}");
    let error = repository.index_of(&manifest, KEYSPACE, "nothing").await.expect_err("absent");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("holds no table shop.nothing"), "{error}");
}

#[tokio::test]
async fn unfinished_files_of_a_crash_mean_nothing_and_are_in_nobodys_way() {
    let scratch = tempfile::tempdir().expect("a directory");
    let repository = crate::in_directory(scratch.path()).await;
    let backup = id(BACKUP);
    let manifest = write_all_but_manifest(&repository, &backup).await;
    let names: Vec<String> = repository.list("data").await.expect("listed").into_iter().map(|(name, _)| name).collect();
    for name in &names {
        std::fs::rename(scratch.path().join(name), scratch.path().join(format!("{name}#1"))).expect("renamed");
    }
    std::fs::write(scratch.path().join(format!("{}#1", names::manifest_object(&backup))), "{").expect("written");
    assert!(repository.list("data").await.expect("listed").is_empty());
    assert!(repository.backups().await.expect("listed").is_empty());
    write_all_but_manifest(&repository, &backup).await;
    repository.write_manifest(&manifest).await.expect("written");
    let listed = repository.list("data").await.expect("listed");
    assert_eq!(listed.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), names);
    assert_eq!(repository.backups().await.expect("listed").len(), 1);
}
