//! Helpers of the tests of rows (small layouts, rows of them, a stored table), and tests of reading stored rows.

use std::sync::Arc;

use ringvault_proto::{
    error::Failure,
    grid::Grid,
    token::Token,
    v1::{self, Compression},
};

use super::*;
use crate::{
    chunk::{ChunkWriter, Facts},
    names::ChunkAddress,
    repository::Location,
    row::{CellTime, ElementTimes, EncodedLine},
    token::token_of,
};

/// A table of these columns, `name:role:type` each; roles are p, c, s and r.
pub(crate) fn inspected(columns: &str) -> v1::InspectedTable {
    let column = |text: &str| {
        let mut parts = text.splitn(3, ':');
        let mut next = || parts.next().expect("name:role:type").to_owned();
        let (name, role, r#type) = (next(), next(), next());
        let kind = match role.as_str() {
            "p" => v1::ColumnKind::PartitionKey,
            "c" => v1::ColumnKind::Clustering,
            "s" => v1::ColumnKind::Static,
            _ => v1::ColumnKind::Regular,
        };
        v1::Column { name, kind: kind.into(), r#type, reversed: false }
    };
    v1::InspectedTable {
        table: Some(v1::TableName { keyspace: "ks".into(), table: "t".into() }),
        columns: columns.split(';').map(column).collect(),
        ..v1::InspectedTable::default()
    }
}

pub(crate) fn layout(columns: &str) -> TableLayout {
    TableLayout::from_message(&inspected(columns)).expect("a table")
}

pub(crate) fn at(writetime: i64) -> CellTime {
    CellTime { writetime: Some(writetime), expiry: None }
}

pub(crate) fn until(writetime: i64, expiry: i64) -> CellTime {
    CellTime { writetime: Some(writetime), expiry: Some(expiry) }
}

/// A row of these cells, of one time.
pub(crate) fn row_of(layout: &TableLayout, cells: &[Option<&[u8]>], time: CellTime) -> DecodedRow {
    decoded(layout, &line_of(layout, cells, time))
}

pub(crate) fn line_of(layout: &TableLayout, cells: &[Option<&[u8]>], time: CellTime) -> Vec<u8> {
    let times = vec![time; cells.len()];
    let mut line = Vec::new();
    let mut encoder = RowEncoder::new(layout);
    encoder.encode(LineKind::Row, cells, &times, &ElementTimes::NONE, &mut line).expect("a row");
    line
}

pub(crate) fn decoded(layout: &TableLayout, line: &[u8]) -> DecodedRow {
    let mut row = DecodedRow::default();
    RowDecoder::new(layout).decode(line, &mut row).expect("a line");
    row
}

pub(crate) fn keyed(layout: &TableLayout, token: i64, row: DecodedRow) -> KeyedRow {
    let mut line = Vec::new();
    RowEncoder::new(layout).encode_row(&row, &mut line).expect("a row");
    KeyedRow { token: Token(token), key: RowKey::of(layout, &row), row, line, as_of_s: None, ended: false }
}

/// A raw `map<int, int>`.
pub(crate) fn map(entries: &[(i32, i32)]) -> Vec<u8> {
    let count = i32::try_from(entries.len()).expect("few");
    let mut cell = count.to_be_bytes().to_vec();
    for number in entries.iter().flat_map(|(key, value)| [key, value]) {
        cell.extend_from_slice(&[0, 0, 0, 4]);
        cell.extend_from_slice(&number.to_be_bytes());
    }
    cell
}

/// Values by key: stored rows of `k int PRIMARY KEY, v int`.
pub(crate) type Table = std::collections::BTreeMap<i32, i32>;

pub(crate) const COLUMNS: &str = "k:p:int;v:r:int";

pub(crate) async fn repository(directory: &tempfile::TempDir) -> Arc<Repository> {
    let location: Location = directory.path().to_str().expect("plain").parse().expect("a directory");
    Arc::new(Repository::open_or_create(&location).await.expect("a repository"))
}

/// Stores a table on a grid, with at most so many rows a chunk.
pub(crate) async fn stored(repository: &Arc<Repository>, table: &Table, grid: u32, rows_max: u64) -> TableIndex {
    let layout = layout(COLUMNS);
    let grid = Grid::try_from(grid).expect("small");
    let mut rows: Vec<(Token, Vec<u8>)> = table
        .iter()
        .map(|(key, value)| {
            let key = key.to_be_bytes();
            (token_of(&[key]), line_of(&layout, &[Some(&key), Some(&value.to_be_bytes())], at(1000)))
        })
        .collect();
    rows.sort();
    let mut chunks = Vec::new();
    for of_segment in rows.chunk_by(|a, b| grid.segment_of(a.0) == grid.segment_of(b.0)) {
        let rows_max = usize::try_from(rows_max).expect("small");
        for (part, lines) in of_segment.chunks(rows_max).enumerate() {
            let mut writer = ChunkWriter::new(Compression::Zstd);
            for (_, line) in lines {
                let (mut decoder, mut row) = (RowDecoder::new(&layout), DecodedRow::default());
                let hashed = decoder.decode(line, &mut row).expect("a line");
                let encoded = EncodedLine { kind: row.kind(), bytes: line, hashed, facts: Facts::default() };
                writer.push(&encoded).expect("a line");
            }
            let address = ChunkAddress {
                keyspace: "ks",
                table: "t",
                grid,
                segment: grid.segment_of(of_segment[0].0),
                part: u32::try_from(part).expect("few"),
            };
            let sealed = writer.seal().expect("lines");
            chunks.push(repository.store_chunk(&address, sealed, None).await.expect("stored").into_record());
        }
    }
    TableIndex::new(inspected(COLUMNS), grid, false, chunks).expect("an index")
}

async fn keys(mut rows: StoredRows) -> (Vec<i32>, ObjectsRead) {
    let mut found = Vec::new();
    while let Some(batch) = rows.next_batch().await.expect("sound") {
        let key = |row: &KeyedRow| i32::from_be_bytes(row.row.cell(0).expect("a key").try_into().expect("an int"));
        assert!(batch.is_sorted_by_key(|row| row.token) && !batch.is_empty());
        found.extend(batch.iter().map(key));
    }
    (found, rows.read())
}

#[tokio::test]
async fn a_range_or_a_key_reads_only_the_segments_that_can_hold_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let repository = repository(&directory).await;
    let table: Table = (0..400).map(|key| (key, key * 2)).collect();
    let index = stored(&repository, &table, 4, 10).await;
    let layout = layout(COLUMNS);
    let (mut all, read) = keys(StoredRows::all(&repository, &index).expect("plain")).await;
    assert_eq!((all.len(), read.objects), (400, index.chunks().len() as u64));
    all.sort_unstable();
    assert_eq!(all, (0..400).collect::<Vec<_>>());

    let one = v1::PartitionKey { cells: vec!["77".to_owned()] };
    let choice = RowChoice::new(&layout, &[], Some(&one)).expect("a key");
    let (found, read) = keys(StoredRows::chosen(&repository, &index, choice).expect("plain")).await;
    assert_eq!(found, [77]);
    let segment = index.grid().segment_of(token_of(&[77_i32.to_be_bytes()]));
    assert_eq!(read.objects, index.segment_chunks(segment).len() as u64);

    let span = v1::TokenSpan { start: -5, end: i64::MAX / 3 };
    let choice = RowChoice::new(&layout, &[span], None).expect("a span");
    let (found, read) = keys(StoredRows::chosen(&repository, &index, choice.clone()).expect("plain")).await;
    let expected = table.keys().filter(|key| choice.has_token(token_of(&[key.to_be_bytes()]))).count();
    assert_eq!(found.len(), expected);
    assert!(read.objects < index.chunks().len() as u64 / 2);
}

#[tokio::test]
async fn a_chunk_that_was_changed_gives_no_row() {
    let directory = tempfile::tempdir().expect("a directory");
    let repository = repository(&directory).await;
    let index = stored(&repository, &(0..50).map(|key| (key, 0)).collect(), 0, 1000).await;
    let path = directory.path().join(&index.chunks()[0].object);
    let mut bytes = std::fs::read(&path).expect("an object");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let mut rows = StoredRows::all(&repository, &index).expect("plain");
    let failure: Failure = rows.next_batch().await.expect_err("damaged");
    assert_eq!(failure.kind, ringvault_proto::error::ErrorKind::Corrupt);
}

#[tokio::test]
async fn rows_as_sent_are_those_that_have_not_ended_under_their_new_times() {
    let directory = tempfile::tempdir().expect("a directory");
    let repository = repository(&directory).await;
    let index = stored(&repository, &(0..9).map(|key| (key, 0)).collect(), 0, 1000).await;
    let rules = v1::RowRules { timestamps: v1::Timestamps::Now.into(), ..v1::RowRules::default() };
    let sent = Sent::new(&layout(COLUMNS), &rules, false).expect("plain");
    let mut rows = StoredRows::all(&repository, &index).expect("plain").as_sent(sent, Arc::new(|| 5));
    let batch = rows.next_batch().await.expect("sound").expect("rows");
    assert!(batch.iter().all(|row| !row.line.windows(3).any(|part| part == b"\"$\"") && row.as_of_s == Some(5)));
}
