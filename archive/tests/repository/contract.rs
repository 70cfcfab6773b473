//! What every kind of repository does with objects and chunks.

use bytes::Bytes;
use ringvault_archive::{
    names,
    repository::{Location, Put, Repository},
};
use ringvault_proto::{
    error::ErrorKind,
    v1::{self, Compression},
};

use crate::{
    on_every_repository,
    sample::{address, chunk, id},
};

on_every_repository!(
    objects_are_created_once_replaced_and_deleted,
    a_listing_holds_what_is_below_a_prefix_and_nothing_else,
    names_that_could_leave_the_repository_are_refused,
    encoded_names_stay_as_they_are,
    an_equal_chunk_is_stored_once,
    a_chunk_that_a_backup_vouches_for_is_not_read_again,
    a_vouched_chunk_that_is_gone_or_changed_is_stored_anew_and_told,
    a_bad_object_at_a_chunks_name_is_passed_by_and_told,
    an_object_of_another_compressor_with_equal_content_is_reused,
    a_chunk_comes_back_line_by_line,
    a_missing_or_truncated_chunk_is_named,
    probes_are_read_back_and_removed,
);

async fn objects_are_created_once_replaced_and_deleted(repository: Repository) {
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    assert_eq!(repository.length("a/b").await.expect("looked up"), None);
    assert_eq!(repository.read("a/b").await.expect_err("absent").kind(), ErrorKind::NotFound);
    assert_eq!(repository.put_new("a/b", bytes("one")).await.expect("written"), Put::Created);
    assert_eq!(repository.put_new("a/b", bytes("two")).await.expect("written"), Put::Existed);
    assert_eq!(repository.read("a/b").await.expect("there"), bytes("one"));
    repository.put("a/b", bytes("three")).await.expect("written");
    assert_eq!(repository.length("a/b").await.expect("looked up"), Some(5));
    repository.delete("a/b").await.expect("deleted");
    repository.delete("a/b").await.expect("deleting again is fine");
    assert_eq!(repository.length("a/b").await.expect("looked up"), None);
}

async fn a_listing_holds_what_is_below_a_prefix_and_nothing_else(repository: Repository) {
    for object in ["data/shop/orders/2", "data/shop/orders/1", "data/shop/orders_old/1", "data/shop/orders/x/3"] {
        repository.put(object, Bytes::from_static(b"12")).await.expect("written");
    }
    let listed = repository.list("data/shop/orders").await.expect("listed");
    let expected = ["data/shop/orders/1", "data/shop/orders/2", "data/shop/orders/x/3"];
    assert_eq!(listed, expected.map(|object| (object.to_owned(), 2)));
    assert_eq!(repository.list("data/nothing").await.expect("listed"), []);
}

async fn names_that_could_leave_the_repository_are_refused(repository: Repository) {
    for object in ["../x", "a/../../x", "a/./b", "a//b", "a\nb"] {
        assert!(repository.read(object).await.is_err(), "{object}");
        assert!(repository.put(object, Bytes::new()).await.is_err(), "{object}");
        assert!(repository.length(object).await.is_err(), "{object}");
    }
}

async fn encoded_names_stay_as_they_are(repository: Repository) {
    let object = names::index_object(&id("x"), "Sh.op", "Ör/d~ers", 2);
    repository.put(&object, Bytes::from_static(b"1")).await.expect("written");
    assert_eq!(repository.list("backups/x").await.expect("listed"), [(object, 1)]);
}

async fn an_equal_chunk_is_stored_once(repository: Repository) {
    let first = repository.store_chunk(&address("orders", 5, 0), chunk(1, 9, Compression::Zstd), None).await;
    let first = first.expect("stored");
    assert!(!first.record().reused && first.warning().is_none());
    let again = repository.store_chunk(&address("orders", 5, 0), chunk(1, 9, Compression::Zstd), None).await;
    let again = again.expect("stored");
    assert!(again.record().reused && again.warning().is_none());
    assert_eq!(again.record(), &v1::Chunk { reused: true, ..first.record().clone() });
    assert_eq!(repository.list("data").await.expect("listed").len(), 1);
    let at_once = futures::future::join_all((0..8).map(|_| {
        let repository = repository.clone();
        async move { repository.store_chunk(&address("orders", 6, 0), chunk(2, 9, Compression::Zstd), None).await }
    }));
    let new = at_once.await.into_iter().filter(|stored| !stored.as_ref().expect("stored").record().reused).count();
    // The S3 server of these tests looks and writes in two steps; writers of equal content do no harm there either.
    assert!(new == 1 || matches!(repository.location(), Location::S3 { .. }), "{new}");
    assert_eq!(repository.list("data").await.expect("listed").len(), 2);
}

async fn a_chunk_that_a_backup_vouches_for_is_not_read_again(repository: Repository) {
    let sealed = chunk(1, 9, Compression::Gzip);
    let stored = repository.store_chunk(&address("orders", 5, 0), sealed, None).await.expect("stored");
    // Other bytes of equal length show that the object is not read.
    let length = usize::try_from(stored.record().stored_bytes).expect("small");
    repository.put(&stored.record().object, vec![0; length].into()).await.expect("written");
    let sealed = chunk(1, 9, Compression::Zstd);
    let reused = repository.store_chunk(&address("orders", 5, 0), sealed, Some(stored.record())).await;
    let reused = reused.expect("stored");
    assert_eq!(reused.record(), &v1::Chunk { reused: true, ..stored.record().clone() });
    // A record of other content vouches for nothing.
    let sealed = chunk(1, 10, Compression::Gzip);
    let other = repository.store_chunk(&address("orders", 5, 0), sealed, Some(stored.record())).await.expect("stored");
    assert!(!other.record().reused && other.warning().is_none());
}

async fn a_vouched_chunk_that_is_gone_or_changed_is_stored_anew_and_told(repository: Repository) {
    let place = address("orders", 5, 0);
    let stored = repository.store_chunk(&place, chunk(1, 9, Compression::Zstd), None).await.expect("stored");
    let vouched = stored.record().clone();
    repository.delete(&vouched.object).await.expect("deleted");
    let healed = repository.store_chunk(&place, chunk(1, 9, Compression::Zstd), Some(&vouched)).await.expect("stored");
    assert_eq!(healed.record(), &vouched);
    assert!(healed.warning().expect("told").contains("is missing, though an earlier backup relies on it"));
    repository.put(&vouched.object, Bytes::from_static(b"cut")).await.expect("written");
    let beside = repository.store_chunk(&place, chunk(1, 9, Compression::Zstd), Some(&vouched)).await.expect("stored");
    assert!(beside.record().object.ends_with("~1.jsonl.zst"));
    assert!(beside.warning().expect("told").contains("has 3 bytes"));
    assert_eq!(repository.read(&vouched.object).await.expect("kept as it is"), Bytes::from_static(b"cut"));
}

async fn a_bad_object_at_a_chunks_name_is_passed_by_and_told(repository: Repository) {
    let place = address("orders", 5, 0);
    for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
        let sealed = chunk(1, 9, compression);
        let name = |next| names::data_object(&place, sealed.identity(), compression, next);
        let mut flipped = sealed.stored().to_vec();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        repository.put(&name(0), flipped.into()).await.expect("written");
        repository.put(&name(1), sealed.stored().slice(..9)).await.expect("written");
        repository.put(&name(2), vec![b'x'; 3 << 20].into()).await.expect("written");
        let stored = repository.store_chunk(&place, sealed.clone(), None).await.expect("stored");
        assert_eq!(stored.record().object, name(3));
        assert!(!stored.record().reused);
        let warning = stored.warning().expect("told");
        assert!((0..3).all(|next| warning.contains(&name(next))), "{warning}");
        let again = repository.store_chunk(&place, sealed.clone(), None).await.expect("stored");
        assert_eq!((again.record().object.clone(), again.record().reused), (name(3), true));
    }
}

async fn an_object_of_another_compressor_with_equal_content_is_reused(repository: Repository) {
    let place = address("orders", 5, 0);
    let sealed = chunk(1, 9, Compression::Zstd);
    let encoded = zstd::decode_all(&sealed.stored()[..]).expect("a frame");
    let other = zstd::encode_all(&encoded[..], 19).expect("memory");
    assert_ne!(&other[..], &sealed.stored()[..]);
    let length = other.len() as u64;
    let name = names::data_object(&place, sealed.identity(), Compression::Zstd, 0);
    repository.put(&name, other.into()).await.expect("written");
    let stored = repository.store_chunk(&place, sealed, None).await.expect("stored");
    assert!(stored.record().reused && stored.warning().is_none());
    assert_eq!((&stored.record().object, stored.record().stored_bytes), (&name, length));
    let mut lines = repository.fetch_chunk(stored.record()).await.expect("there");
    lines.check().expect("whole");
}

async fn a_chunk_comes_back_line_by_line(repository: Repository) {
    for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
        let sealed = chunk(1, 1000, compression);
        let stored = repository.store_chunk(&address("orders", 5, 2), sealed, None).await.expect("stored");
        let mut lines = repository.fetch_chunk(stored.record()).await.expect("there");
        lines.check().expect("whole");
        let (mut line, mut count) = (Vec::new(), 0);
        while lines.next_line(&mut line).expect("checked") {
            let row: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
            assert_eq!(row["customer"], 1);
            count += 1;
        }
        assert_eq!(count, 1001);
        assert_eq!((stored.record().rows, stored.record().static_rows), (1000, 1));
    }
}

async fn a_missing_or_truncated_chunk_is_named(repository: Repository) {
    let stored = repository.store_chunk(&address("orders", 5, 0), chunk(1, 9, Compression::Zstd), None).await;
    let record = stored.expect("stored").into_record();
    let whole = repository.read(&record.object).await.expect("there");
    for damaged in [whole.slice(1..), Bytes::new(), [&whole[..], b"x"].concat().into()] {
        repository.put(&record.object, damaged).await.expect("written");
        let error = repository.fetch_chunk(&record).await.expect_err("of another length");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(&record.object), "{error}");
    }
    repository.delete(&record.object).await.expect("deleted");
    let error = repository.fetch_chunk(&record).await.expect_err("missing");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&record.object), "{error}");
}

async fn probes_are_read_back_and_removed(repository: Repository) {
    let (job, other) = ("job-1".parse().expect("an id"), "job-2".parse().expect("an id"));
    let error = repository.read_probe(&job).await.expect_err("absent");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    repository.write_probe(&job, "n0nce").await.expect("written");
    repository.write_probe(&job, "n1nce").await.expect("written again");
    assert_eq!(repository.read_probe(&job).await.expect("there"), "n1nce");
    let moved = repository.read(&names::probe_object(&job)).await.expect("there");
    repository.put(&names::probe_object(&other), moved).await.expect("written");
    assert_eq!(repository.read_probe(&other).await.expect_err("another job's").kind(), ErrorKind::Corrupt);
    repository.delete_probe(&job).await.expect("deleted");
    repository.delete_probe(&job).await.expect("deleting again is fine");
    assert!(repository.read_probe(&job).await.is_err());
}
