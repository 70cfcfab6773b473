use std::path::Path as FilePath;

use ringvault_proto::error::ErrorKind;

use super::*;

fn at(path: &FilePath) -> Location {
    Location::Directory(path.to_owned())
}

async fn refused(location: &Location) -> Error {
    let error = Repository::open_or_create(location).await.expect_err("refused");
    assert!(Repository::open(location).await.is_err(), "{error}");
    error
}

#[tokio::test]
async fn an_absent_or_empty_directory_becomes_a_repository_and_stays_the_same() {
    let scratch = tempfile::tempdir().expect("a directory");
    let deep = at(&scratch.path().join("a/b/c"));
    let error = Repository::open(&deep).await.expect_err("absent");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let first = Repository::open_or_create(&deep).await.expect("created");
    let again = Repository::open_or_create(&deep).await.expect("opened");
    let opened = Repository::open(&deep).await.expect("opened");
    assert_eq!([first.id(), again.id()], [opened.id(); 2]);
    assert_eq!(first.id().len(), 36);
}

#[tokio::test]
async fn processes_that_create_at_once_open_the_same_repository() {
    let scratch = tempfile::tempdir().expect("a directory");
    let location = at(&scratch.path().join("shared"));
    let opened = futures::future::join_all((0..16).map(|_| Repository::open_or_create(&location))).await;
    let ids: std::collections::BTreeSet<String> =
        opened.into_iter().map(|repository| repository.expect("opened").id().to_owned()).collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn what_a_file_system_or_a_crash_left_is_no_content() {
    let scratch = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(scratch.path().join("lost+found")).expect("a directory");
    std::fs::write(scratch.path().join("ringvault.json#1"), "{\"for").expect("a file");
    let error = Repository::open(&at(scratch.path())).await.expect_err("empty");
    assert!(error.to_string().contains("is not a repository: no ringvault.json; it is empty"), "{error}");
    Repository::open_or_create(&at(scratch.path())).await.expect("created");
}

#[tokio::test]
async fn a_place_that_is_something_else_is_left_alone() {
    let scratch = tempfile::tempdir().expect("a directory");
    let photos = scratch.path().join("photos");
    std::fs::create_dir(&photos).expect("a directory");
    std::fs::write(photos.join("me.jpg"), "x").expect("a file");
    let error = refused(&at(&photos)).await;
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("it holds something else (me.jpg)"), "{error}");
    assert_eq!(std::fs::read_dir(&photos).expect("a directory").count(), 1);

    let old = scratch.path().join("old");
    std::fs::create_dir(&old).expect("a directory");
    std::fs::write(old.join("shop_schema.cql"), "CREATE").expect("a file");
    std::fs::write(old.join("orders_shard0_part0.json"), "[").expect("a file");
    let error = refused(&at(&old)).await;
    assert!(error.to_string().contains("a backup of cassandra-backup-tool"), "{error}");

    let error = refused(&at(&photos.join("me.jpg"))).await;
    assert!(error.to_string().contains("is a file"), "{error}");
    let error = refused(&at(&photos.join("me.jpg/below"))).await;
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn a_damaged_or_newer_repository_is_refused() {
    let scratch = tempfile::tempdir().expect("a directory");
    let marker = scratch.path().join(REPOSITORY_OBJECT);
    for (text, kind) in [
        ("", ErrorKind::Corrupt),
        ("{\"format\": 1}", ErrorKind::Corrupt),
        ("{\"format\": 1, \"repository_id\": \"me\"}", ErrorKind::Corrupt),
        ("{\"format\": 2, \"repositories\": []}", ErrorKind::Invalid),
        (&"x".repeat(100_000), ErrorKind::Corrupt),
    ] {
        std::fs::write(&marker, text).expect("a file");
        let error = refused(&at(scratch.path())).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(std::fs::read_to_string(&marker).expect("a file"), text);
    }
}

#[tokio::test]
async fn a_directory_that_may_not_be_written_is_refused_clearly() {
    // /proc takes no directory from anybody, also not from root.
    let error = Repository::open_or_create(&at(FilePath::new("/proc/ringvault"))).await.expect_err("not writable");
    assert!(error.to_string().starts_with("can't create /proc/ringvault: "), "{error}");
}

#[test]
fn the_marker_is_the_golden_file() {
    let repository_id = "0b8e5f4e-3d38-4f0c-9a63-0f2b6a1d9c11".parse().expect("a uuid");
    let marker = Marker { format: format::FORMAT_VERSION, repository_id };
    let golden = include_str!("../../../tests/golden/repository/ringvault.json");
    assert_eq!(String::from_utf8(marker.to_json().expect("JSON")).expect("text"), golden);
}
