//! The JSON documents: manifest, schema, and what makes a directory a repository.

use ringvault_archive::{
    digest::Identity,
    manifest::Manifest,
    repository::{Location, Repository},
    schema::SchemaDocument,
};
use ringvault_proto::error::ErrorKind;

use crate::{
    engine::{Fuzzing, Verdict, class_of},
    examples::{corpus, golden},
    sample::{BACKUP, id, schema},
};

/// Pieces of documents.
const WORDS: &[&[u8]] = &[
    b"\"format\": 1",
    b"\"format\": 2",
    b"null",
    b"[]",
    b"{}",
    b"\"\"",
    b"[[[[[[[[",
    b"\"9999-12-31T23:59:59.999Z\"",
    b"../../",
    b"\\u0000",
    b"-1",
    b"1e400",
    b"\"checksum\": \"",
];

fn manifests() -> Vec<Vec<u8>> {
    let golden = golden(&format!("repository/backups/{BACKUP}/manifest.json"));
    std::iter::once(golden).chain(corpus("manifest")).collect()
}

#[test]
fn manifests_are_refused_or_the_same() {
    let corpus = manifests();
    let written = corpus.clone();
    Fuzzing { name: "manifest", corpus, words: WORDS }.run(|item, bytes| {
        match Manifest::from_json(bytes, &id(BACKUP)) {
            Err(error) => refused(&error),
            Ok(_) if bytes == written[item] => Ok("the same".to_owned()),
            Ok(_) => Err("other bytes are accepted".to_owned()),
        }
    });
}

/// Bytes of the checksum at a manifest's end.
const CHECKSUM_BYTES: usize = 83;

#[test]
fn forged_manifests_are_refused_or_consistent() {
    let bodies = manifests().into_iter().map(|mut manifest| {
        manifest.truncate(manifest.len() - CHECKSUM_BYTES);
        manifest
    });
    Fuzzing { name: "forged manifest", corpus: bodies.collect(), words: WORDS }.run(|_, body| {
        let checksum = format!("  \"checksum\": \"{}\"\n}}\n", Identity::of(body));
        let forged = [body, checksum.as_bytes()].concat();
        let manifest = match Manifest::from_json(&forged, &id(BACKUP)) {
            Err(error) => return refused(&error),
            Ok(manifest) => manifest,
        };
        let again = manifest.to_json().map_err(|e| format!("it can't be written again: {e}"))?;
        let read = match Manifest::from_json(&again, &id(BACKUP)) {
            Ok(read) => read,
            Err(e) => return Err(format!("written again, it is refused: {e}")),
        };
        // What is sorted when it is written may have been read in any order.
        let same = read.tables.len() == manifest.tables.len() && read.schema == manifest.schema;
        match read.to_json() {
            Ok(twice) if twice == again && same => Ok("read".to_owned()),
            other => Err(format!("written again, it is another manifest: {}", other.is_ok())),
        }
    });
}

#[test]
fn schemas_are_refused_or_consistent() {
    let golden = golden(&format!("repository/backups/{BACKUP}/schema.json"));
    let several = schema().to_json().expect("right");
    let corpus = [golden, several].into_iter().chain(corpus("schema")).collect();
    Fuzzing { name: "schema", corpus, words: WORDS }.run(|_, bytes| {
        let schema = match SchemaDocument::from_json(bytes, "schema.json") {
            Err(error) => return refused(&error),
            Ok(schema) => schema,
        };
        let again = schema.to_json().map_err(|e| format!("it can't be written again: {e}"))?;
        let _ = schema.to_cql();
        match SchemaDocument::from_json(&again, "schema.json") {
            Ok(read) if read == schema => Ok("read".to_owned()),
            other => Err(format!("written again, it is {other:?}")),
        }
    });
}

#[test]
fn what_makes_a_directory_a_repository_is_refused_or_read() {
    let scratch = tempfile::tempdir().expect("a directory");
    let marker = scratch.path().join("ringvault.json");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let location = Location::Directory(scratch.path().to_owned());
    Fuzzing { name: "repository", corpus: vec![golden("repository/ringvault.json")], words: WORDS }.run(|_, bytes| {
        std::fs::write(&marker, bytes).expect("written");
        // Opening for a backup must not replace what is there, either.
        let made = runtime.block_on(Repository::open_or_create(&location)).map(drop);
        let opened = runtime.block_on(Repository::open(&location));
        if std::fs::read(&marker).expect("there") != bytes {
            return Err("it was replaced".to_owned());
        }
        match (opened, made) {
            (Ok(repository), Ok(())) if !repository.id().is_empty() => Ok("opened".to_owned()),
            (Err(error), Err(_)) => refused(&error),
            (opened, made) => Err(format!("opened: {opened:?}, opened or made: {made:?}")),
        }
    });
}

fn refused(error: &ringvault_archive::Error) -> Verdict {
    match error.kind() {
        ErrorKind::Corrupt | ErrorKind::Invalid => Ok(class_of(error)),
        kind => Err(format!("an error of kind {kind:?}: {error}")),
    }
}
