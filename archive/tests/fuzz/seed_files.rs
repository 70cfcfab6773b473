//! Files of cassandra-backup-tool: whatever stands in them, an import makes a backup that can be read, or refuses by name
//! and leaves none.

use std::{io::Write as _, path::Path};

use flate2::{Compression, write::GzEncoder};
use ringvault_archive::{
    repository::Repository,
    row::{DecodedRow, RowDecoder},
    table::TableLayout,
};
use ringvault_proto::{error::ErrorKind, v1};
use tokio::runtime::{Builder, Runtime};

use crate::{
    engine::{Fuzzing, Verdict, class_of},
    examples::{corpus, golden},
    seed_sample::{KEYSPACE, directory, import, table},
};

/// Pieces of such files.
const WORDS: &[&[u8]] = &[
    b"null",
    b"NaN",
    b"-Infinity",
    b"[]",
    b"{}",
    b",\n",
    b"\n]\n",
    b"{\"__blob__\": true, \"b64\": \"AP8Q\"}",
    b"\"1969-12-31T23:59:59.999000\"",
    b"\"9999-12-31\"",
    b"\"1mo2d3ns\"",
    b"\"1E+2147483647\"",
    b"\"00:00:00.000000001\"",
    b"\\ud83d\\ude00",
    b"\\u0000",
    b"[[[[[[[[",
    b"\"::ffff:1.2.3.4\"",
];

/// The columns of `golden/seed/shop/every_type_part1.json`.
#[rustfmt::skip]
const EVERY_TYPE: [&str; 27] = [
    "pk pk int", " P~k text", " a ascii", " bi bigint", " bl blob", " bo boolean", " class text", " da date",
    " de decimal", " dt double", " du duration", " f float", " ip inet", " l list<int>", " m map<text, int>",
    " s set<text>", " si smallint", " st frozen<set<int>>", " t tuple<int, int, text>", " ti time", " ts timestamp",
    " tu timeuuid", " ty tinyint", " u address", " uu uuid", " v vector<float, 2>", " vi varint",
];

/// Statics, and keys of many types, some of them reversed.
const KEYS: [&str; 9] = [
    "pk a frozen<set<text>>",
    "pk b varint",
    "ck↓ c decimal",
    "ck d timeuuid",
    "ck e frozen<map<int, text>>",
    "ck↓ f frozen<tuple<double, blob>>",
    "st s text",
    "st u uuid",
    " m map<timestamp, frozen<list<vector<text, 2>>>>",
];

const KEYS_ROWS: &str = r#"[
{"a": ["x", "a"], "b": 12, "c": "1.50", "d": "50554d6e-29bb-11e5-b345-feff819cdc9f", "e": {"2": "b", "-1": ""}, "f": [1.5, null], "s": "s", "u": null, "m": {"1970-01-01 00:00:00.001000": [["a", "b"]]}},
{"a": ["x", "a"], "b": 12, "c": "-1E+3", "d": "50554d6e-29bb-11e5-b345-feff819cdc9f", "e": {}, "f": [NaN, {"__blob__": true, "b64": "AA=="}], "s": "s", "u": null, "m": null},
{"a": [], "b": -129, "c": null, "d": null, "e": null, "f": null, "s": null, "u": "9ab1f1d0-c7a5-41f0-8de9-0242ac120002", "m": null}
]
"#;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).build().expect("a runtime")
}

/// Imports one file of one table and reads what came of it.
fn judge(runtime: &Runtime, columns: &[&str], file: &str, bytes: &[u8]) -> Verdict {
    let directory = directory(&[]);
    std::fs::write(directory.path().join(file), bytes).map_err(|e| e.to_string())?;
    runtime.block_on(imported(directory.path(), table("t", columns)))
}

async fn imported(directory: &Path, table: v1::InspectedTable) -> Verdict {
    let repository = Repository::in_memory();
    let manifest = match import(directory, vec![table], &repository).await {
        Ok(manifest) => manifest,
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid) => {
            let listed = repository.backups().await.map_err(|e| e.to_string())?;
            return if listed.is_empty() { Ok(class_of(&error)) } else { Err("refused, and yet a backup".to_owned()) };
        }
        Err(error) => return Err(format!("a file is refused as {:?}: {error}", error.kind())),
    };
    let index = repository.index_of(&manifest, KEYSPACE, "t").await.map_err(|e| e.to_string())?;
    let layout = TableLayout::from_message(index.table()).map_err(|e| e.to_string())?;
    let mut decoder = RowDecoder::new(&layout);
    for chunk in index.chunks() {
        let mut lines = repository.fetch_chunk(chunk).await.map_err(|e| e.to_string())?;
        lines.check().map_err(|e| e.to_string())?;
        let (mut line, mut row) = (Vec::new(), DecodedRow::default());
        while lines.next_line(&mut line).map_err(|e| e.to_string())? {
            decoder.decode(&line, &mut row).map_err(|e| format!("a line that was imported can't be read: {e}"))?;
        }
    }
    Ok("imported".to_owned())
}

#[test]
fn files_of_many_keys_are_refused_or_imported() {
    let runtime = runtime();
    let corpus = std::iter::once(KEYS_ROWS.as_bytes().to_vec()).chain(corpus("seed_keys")).collect();
    let fuzzing = Fuzzing { name: "seed file of many keys", corpus, words: WORDS };
    fuzzing.run(|_, bytes| judge(&runtime, &KEYS, "t_shard0_part1.json", bytes));
}

#[test]
fn files_of_every_type_are_refused_or_imported() {
    let runtime = runtime();
    let golden = golden("seed/shop/every_type_part1.json");
    let corpus = std::iter::once(golden).chain(corpus("seed_every_type")).collect();
    let fuzzing = Fuzzing { name: "seed file of every type", corpus, words: WORDS };
    fuzzing.run(|_, bytes| judge(&runtime, &EVERY_TYPE, "t_part1.json", bytes));
}

#[test]
fn zipped_files_are_refused_or_imported() {
    let runtime = runtime();
    let mut zip = GzEncoder::new(Vec::new(), Compression::default());
    zip.write_all(KEYS_ROWS.as_bytes()).expect("memory");
    let corpus = vec![zip.finish().expect("memory")];
    let fuzzing = Fuzzing { name: "zipped seed file", corpus, words: &[b"\x1f\x8b\x08"] };
    fuzzing.run(|_, bytes| judge(&runtime, &KEYS, "t_shard0_part1.json.gz", bytes));
}
