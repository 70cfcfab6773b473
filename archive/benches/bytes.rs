//! Micro-benchmarks of the bytes at rest: a row line of each type encoded and decoded, chunks sealed, opened and digested.
//! `cargo bench --workspace --bench bytes` measures; `cargo test --workspace --benches` runs each once.
#![allow(missing_docs)]

#[path = "../tests/row/types.rs"]
#[allow(dead_code)] // its other half makes random types for the tests
mod types;

use divan::{Bencher, black_box, counter::BytesCount};
use ringvault_archive::{
    chunk::{ChunkLines, ChunkWriter, Facts, SealedChunk},
    cql_type::CqlType,
    digest::{HashInput, Tally},
    row::{DecodedRow, ElementTimes, EncodedLine, LineKind, RowDecoder, RowEncoder},
    table::TableLayout,
};
use ringvault_proto::v1::{self, Compression};

use self::types::{Dice, NATIVE, table_of, value_of};

const KEY: &[u8] = &[0, 0, 0, 1];
/// Values of a type, so that none is learned by heart.
const VALUES: u64 = 64;
/// Rows of a chunk.
const ROWS: u64 = 20_000;

fn main() {
    divan::main();
}

/// Native types, and what is made of them, by name.
const TYPES: [&str; 24] = [
    "ascii",
    "bigint",
    "blob",
    "boolean",
    "counter",
    "date",
    "decimal",
    "double",
    "duration",
    "float",
    "inet",
    "int",
    "smallint",
    "text",
    "time",
    "timestamp",
    "timeuuid",
    "tinyint",
    "uuid",
    "varint",
    "list<int>",
    "map<text,int>",
    "tuple<int,text>",
    "vector<float,16>",
];

fn type_of(name: &str) -> CqlType {
    let boxed = |cql_type| Box::new(cql_type);
    match name {
        "list<int>" => CqlType::List(boxed(CqlType::Int)),
        "map<text,int>" => CqlType::Map(boxed(CqlType::Text), boxed(CqlType::Int)),
        "tuple<int,text>" => CqlType::Tuple(vec![CqlType::Int, CqlType::Text]),
        "vector<float,16>" => CqlType::Vector(boxed(CqlType::Float), 16),
        native => NATIVE.into_iter().find(|known| known.to_string() == native).expect("a native type"),
    }
}

fn values(cql_type: &CqlType) -> Vec<Vec<u8>> {
    (0..VALUES).map(|seed| value_of(cql_type, &mut Dice(seed))).collect()
}

fn encode<'a>(encoder: &'a mut RowEncoder, value: &[u8], line: &'a mut Vec<u8>) -> EncodedLine<'a> {
    line.clear();
    let cells = [Some(KEY), Some(value)];
    encoder.encode(LineKind::Row, &cells, &[], &ElementTimes::NONE, line).expect("a row")
}

#[divan::bench(args = TYPES)]
fn row_encode(bencher: Bencher<'_, '_>, name: &str) {
    let cql_type = type_of(name);
    let values = values(&cql_type);
    let mut encoder = RowEncoder::new(&table_of(cql_type));
    let mut line = Vec::new();
    bencher.counter(VALUES).bench_local(|| {
        for value in &values {
            black_box(encode(&mut encoder, black_box(value), &mut line));
        }
    });
}

#[divan::bench(args = TYPES)]
fn row_decode(bencher: Bencher<'_, '_>, name: &str) {
    let cql_type = type_of(name);
    let layout = table_of(cql_type.clone());
    let mut encoder = RowEncoder::new(&layout);
    let lines: Vec<Vec<u8>> = values(&cql_type)
        .iter()
        .map(|value| {
            let mut line = Vec::new();
            encode(&mut encoder, value, &mut line);
            line
        })
        .collect();
    let mut decoder = RowDecoder::new(&layout);
    let mut row = DecodedRow::default();
    bencher.counter(VALUES).bench_local(|| {
        for line in &lines {
            decoder.decode(black_box(line), &mut row).expect("a line");
        }
    });
}

/// Lines of a table of texts.
fn chunk_lines() -> (TableLayout, Vec<Vec<u8>>) {
    let layout = table_of(CqlType::Text);
    let mut encoder = RowEncoder::new(&layout);
    let mut dice = Dice(1);
    let lines = (0..ROWS).map(|number| {
        let value = format!("row {number} {:016x}{:016x}", dice.next(), dice.next());
        let mut line = Vec::new();
        encode(&mut encoder, value.as_bytes(), &mut line);
        line
    });
    (layout, lines.collect())
}

fn sealed(compression: Compression, lines: &[Vec<u8>]) -> SealedChunk {
    let mut writer = ChunkWriter::new(compression);
    for line in lines {
        let (hashed, facts) = (HashInput::without_times(line), Facts::default());
        writer.push(&EncodedLine { kind: LineKind::Row, bytes: line, hashed, facts }).expect("in memory");
    }
    writer.seal().expect("in memory")
}

const COMPRESSIONS: [&str; 3] = ["zstd", "gzip", "none"];

fn compression(name: &str) -> Compression {
    match name {
        "zstd" => Compression::Zstd,
        "gzip" => Compression::Gzip,
        _ => Compression::None,
    }
}

#[divan::bench(args = COMPRESSIONS, sample_count = 20)]
fn chunk_seal(bencher: Bencher<'_, '_>, name: &str) {
    let (_, lines) = chunk_lines();
    let bytes: usize = lines.iter().map(Vec::len).sum();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| sealed(compression(name), black_box(&lines)));
}

/// Hashes rows and adds them up.
#[divan::bench(sample_count = 20)]
fn row_sums(bencher: Bencher<'_, '_>) {
    let (_, lines) = chunk_lines();
    let bytes: usize = lines.iter().map(Vec::len).sum();
    let mut tally = Tally::default();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        for line in black_box(&lines) {
            tally.add(LineKind::Row, &HashInput::without_times(line));
        }
        tally.take()
    });
}

/// Decompresses and digests, as before a restore.
#[divan::bench(args = COMPRESSIONS, sample_count = 20)]
fn chunk_verify(bencher: Bencher<'_, '_>, name: &str) {
    let (_, lines) = chunk_lines();
    let bytes: usize = lines.iter().map(Vec::len).sum();
    let chunk = sealed(compression(name), &lines);
    let record = v1::Chunk {
        object: "chunk".to_owned(),
        identity: chunk.identity().0.to_vec().into(),
        compression: chunk.compression().into(),
        rows: chunk.sums().rows,
        encoded_bytes: chunk.encoded_bytes(),
        stored_bytes: chunk.stored().len() as u64,
        ..v1::Chunk::default()
    };
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        let mut lines = ChunkLines::new(black_box(chunk.stored().clone()), &record).expect("a record");
        lines.check().expect("just sealed");
    });
}
