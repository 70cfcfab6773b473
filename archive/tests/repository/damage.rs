//! Damage to any object of a backup is found before a row of it is used, and named.

use std::io::Read as _;

use bytes::Bytes;
use ringvault_archive::{
    Result,
    check::{CheckReport, FindingKind, ReadData, check_backup, check_objects, check_tables},
    index::TableIndex,
    manifest::Manifest,
    names,
    repository::{Location, Repository},
};
use ringvault_proto::{
    error::ErrorKind,
    v1::{self, Compression},
};

use crate::{
    on_every_repository,
    sample::{BACKUP, KEYSPACE, id, table, write_all_but_manifest, write_backup, write_table},
};

on_every_repository!(
    a_whole_backup_is_sound,
    a_flipped_bit_anywhere_is_found_and_named,
    a_missing_or_truncated_object_is_found_without_reading_data,
    rows_that_are_not_what_is_recorded_are_found,
    an_index_that_does_not_tile_the_ring_is_found,
    a_subset_reads_one_chunk_at_least_and_another_seed_draws_another,
    only_the_chosen_tables_are_checked,
    many_chunks_are_found_by_a_listing,
);

async fn check(repository: &Repository, read: ReadData) -> Result<CheckReport> {
    let mut last = 0;
    let mut tell = |progress: &ringvault_archive::check::CheckProgress| {
        assert!(progress.objects_done >= last && progress.objects_done <= progress.objects);
        last = progress.objects_done;
    };
    check_backup(repository, &id(BACKUP), read, &mut tell).await
}

async fn a_whole_backup_is_sound(repository: Repository) {
    let manifest = write_backup(&repository, &id(BACKUP)).await;
    for read in [ReadData::No, ReadData::All] {
        let report = check(&repository, read).await.expect("checked");
        assert_eq!(report.findings, []);
        assert_eq!(report.progress.objects_done, report.progress.objects);
        let bytes: u64 = manifest.tables.iter().map(|table| table.stored_bytes).sum();
        assert_eq!(report.progress.bytes_done, if read == ReadData::All { bytes } else { 0 });
        report.into_result().expect("sound");
    }
}

/// What an object says; nothing where it can't be read.
fn plain(object: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    match object.rsplit('.').next() {
        Some("zst") => plain = zstd::decode_all(bytes).ok()?,
        Some("gz") => drop(flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain).ok()?),
        _ => plain.extend_from_slice(bytes),
    }
    Some(plain)
}

async fn a_flipped_bit_anywhere_is_found_and_named(repository: Repository) {
    write_backup(&repository, &id(BACKUP)).await;
    let manifest = names::manifest_object(&id(BACKUP));
    let step = if matches!(repository.location(), Location::S3 { .. }) { 97 } else { 7 };
    for prefix in ["data", "backups"] {
        for (object, _) in repository.list(prefix).await.expect("listed") {
            if object.ends_with(".cql") {
                continue; // for people; a restore does not read it
            }
            let whole = repository.read(&object).await.expect("there");
            // Past the compressors' headers, some of whose bits say nothing.
            for position in (12..whole.len()).step_by(step) {
                let mut damaged = whole.to_vec();
                damaged[position] ^= 0x04;
                repository.put(&object, damaged.clone().into()).await.expect("written");
                let says_the_same = plain(&object, &damaged) == plain(&object, &whole);
                match check(&repository, ReadData::All).await {
                    // a bit of a compressor's frame that means nothing
                    Ok(report) if report.is_sound() && says_the_same => {}
                    Ok(report) => {
                        assert_eq!(report.findings.len(), 1, "{object} at {position}: {report:?}");
                        assert_eq!(report.findings[0].object, object);
                        assert_eq!(report.findings[0].kind, FindingKind::Damaged);
                        let error = report.into_result().expect_err("damaged");
                        assert!(error.to_string().contains(&object), "{error}");
                    }
                    Err(error) => assert!(object == manifest && error.to_string().contains(BACKUP), "{error}"),
                }
            }
            repository.put(&object, whole).await.expect("written");
        }
    }
    assert!(check(&repository, ReadData::All).await.expect("checked").is_sound());
}

async fn a_missing_or_truncated_object_is_found_without_reading_data(repository: Repository) {
    write_backup(&repository, &id(BACKUP)).await;
    let manifest = names::manifest_object(&id(BACKUP));
    for prefix in ["data", "backups"] {
        for (object, _) in repository.list(prefix).await.expect("listed") {
            if object.ends_with(".cql") || object == manifest {
                continue;
            }
            let whole = repository.read(&object).await.expect("there");
            repository.put(&object, whole.slice(..whole.len() - 1)).await.expect("written");
            let report = check(&repository, ReadData::No).await.expect("checked");
            let found: Vec<_> = report.findings.iter().map(|f| (f.kind, f.object.as_str())).collect();
            assert_eq!(found, [(FindingKind::WrongLength, object.as_str())]);
            repository.delete(&object).await.expect("deleted");
            let report = check(&repository, ReadData::No).await.expect("checked");
            let found: Vec<_> = report.findings.iter().map(|f| (f.kind, f.object.as_str())).collect();
            assert_eq!(found, [(FindingKind::Missing, object.as_str())]);
            repository.put(&object, whole).await.expect("written");
        }
    }
    repository.delete(&manifest).await.expect("deleted");
    assert_eq!(check(&repository, ReadData::No).await.expect_err("no backup").kind(), ErrorKind::NotFound);
}

/// Writes a backup whose index of `orders` has other records, all else agreeing with them.
async fn write_with(repository: &Repository, change: impl Fn(&mut v1::Chunk)) -> Manifest {
    let mut manifest = write_all_but_manifest(repository, &id(BACKUP)).await;
    let whole = {
        let mut complete = manifest.clone();
        complete.backup_id = id(BACKUP);
        repository.index_of(&complete, KEYSPACE, "orders").await.expect("there")
    };
    let mut records = whole.chunks().to_vec();
    change(&mut records[0]);
    let index = TableIndex::new(table("orders"), whole.grid(), false, records).expect("whole");
    let record = repository.write_index(&id(BACKUP), &index).await.expect("written");
    let entry = manifest.tables.iter_mut().find(|entry| entry.table == "orders").expect("held");
    (entry.index, entry.sums) = (record, index.totals().sums);
    repository.write_manifest(&manifest).await.expect("written");
    manifest
}

async fn rows_that_are_not_what_is_recorded_are_found(repository: Repository) {
    write_with(&repository, |record| record.value_sum = vec![7; 32].into()).await;
    assert!(check(&repository, ReadData::No).await.expect("checked").is_sound());
    let report = check(&repository, ReadData::All).await.expect("checked");
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].kind, FindingKind::WrongSums);
}

async fn an_index_that_does_not_tile_the_ring_is_found(repository: Repository) {
    let manifest = write_backup(&repository, &id(BACKUP)).await;
    let entry = manifest.table(KEYSPACE, "orders").expect("held");
    let stored = repository.read(&entry.index.object).await.expect("there");
    let text = String::from_utf8(zstd::decode_all(&stored[..]).expect("a frame")).expect("JSON");
    let without: String = text.split_inclusive('\n').filter(|line| !line.contains("\"segment\":2,")).collect();
    let mut bad = manifest.clone();
    bad.backup_id = id(BACKUP);
    let forged = zstd::encode_all(without.as_bytes(), 3).expect("memory");
    for entry in bad.tables.iter_mut().filter(|entry| entry.table == "orders") {
        entry.index.identity = ringvault_archive::digest::Identity::of(without.as_bytes());
        entry.index.encoded_bytes = without.len() as u64;
        entry.index.stored_bytes = forged.len() as u64;
    }
    repository.put(&entry.index.object, forged.into()).await.expect("written");
    let report = check_tables(&repository, &bad, &[], ReadData::No, &mut |_| {}).await.expect("checked");
    assert_eq!(report.findings.len(), 1, "{report:?}");
    assert_eq!(report.findings[0].kind, FindingKind::Gap);
}

async fn a_subset_reads_one_chunk_at_least_and_another_seed_draws_another(repository: Repository) {
    let manifest = write_backup(&repository, &id(BACKUP)).await;
    let mut drawn = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let read = ReadData::Subset { per_million: 1, seed };
        let report = check_tables(&repository, &manifest, &[], read, &mut |_| {}).await.expect("checked");
        assert!(report.is_sound() && report.progress.objects_done == report.progress.objects, "{report:?}");
        assert!(report.progress.bytes_done > 0 && report.progress.bytes_done == report.progress.bytes);
        drawn.insert(report.progress.bytes);
    }
    assert!(drawn.len() > 1, "{drawn:?}");
    let all = ReadData::Subset { per_million: 1_000_000, seed: 7 };
    let report = check_tables(&repository, &manifest, &[], all, &mut |_| {}).await.expect("checked");
    let stored: u64 = manifest.tables.iter().map(|entry| entry.stored_bytes).sum();
    assert_eq!(report.progress.bytes_done, stored);
}

async fn only_the_chosen_tables_are_checked(repository: Repository) {
    let manifest = write_backup(&repository, &id(BACKUP)).await;
    for (object, _) in repository.list("data").await.expect("listed") {
        repository.delete(&object).await.expect("deleted");
    }
    let only = |name: &str| vec![(KEYSPACE.to_owned(), name.to_owned())];
    let mut quiet = |_: &_| {};
    let report = check_tables(&repository, &manifest, &only("Old Orders"), ReadData::All, &mut quiet).await;
    assert!(report.expect("checked").is_sound());
    let report = check_tables(&repository, &manifest, &only("orders"), ReadData::All, &mut quiet).await;
    let report = report.expect("checked");
    assert_eq!(report.findings.len(), 4);
    let error = report.into_result().expect_err("missing");
    assert!(error.to_string().ends_with("; and 1 more"), "{error}");
    let error = check_tables(&repository, &manifest, &only("none"), ReadData::No, &mut quiet).await;
    assert_eq!(error.expect_err("not held").kind(), ErrorKind::NotFound);
}

async fn many_chunks_are_found_by_a_listing(repository: Repository) {
    let chunks: Vec<_> = (0..100u32).map(|part| (3, part, part.cast_signed(), 1, Compression::Zstd)).collect();
    let mut manifest = write_all_but_manifest(&repository, &id(BACKUP)).await;
    manifest.tables[1] = write_table(&repository, &id(BACKUP), "Old Orders", &chunks).await;
    repository.write_manifest(&manifest).await.expect("written");
    assert!(check(&repository, ReadData::No).await.expect("checked").is_sound());
    let index = repository.index_of(&manifest, KEYSPACE, "Old Orders").await.expect("there");
    let [first, .., last] = index.chunks() else { panic!("a hundred chunks") };
    repository.delete(&first.object).await.expect("deleted");
    repository.put(&last.object, Bytes::from_static(b"?")).await.expect("written");
    let findings = check_objects(&repository, &index).await.expect("checked");
    let found: Vec<_> = findings.iter().map(|f| (f.kind, f.object.as_str())).collect();
    assert_eq!(
        found,
        [(FindingKind::Missing, first.object.as_str()), (FindingKind::WrongLength, last.object.as_str())]
    );
}
