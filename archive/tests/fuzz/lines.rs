//! Row lines and values: decoding what nobody wrote, encoding what no server should send.

use std::cell::RefCell;

use ringvault_archive::{
    cql_type::{CqlType, UserTypes},
    digest::RowHash,
    names,
    row::{CellTime, DecodedRow, ElementTimes, LineKind, RowDecoder, RowEncoder},
    table::TableLayout,
};
use ringvault_proto::error::ErrorKind;

use crate::{
    engine::{Fuzzing, Verdict, class_of},
    examples::{corpus_lines, line_examples},
    types::table_of,
};

/// Pieces of row lines.
const WORDS: &[&[u8]] = &[
    b",\"$\":{",
    b"\"w\":",
    b",\"x\":",
    b"\"c\":{",
    b"{\"e\":[",
    b"{\"$\":\"0x",
    b"[null,",
    b"null",
    b"\"\"",
    b"\"NaN\"",
    b"\"-Infinity\"",
    b"\\u0000",
    b"\\u001f",
    b"\\ud800",
    b"\xed\xa0\x80",
    b"\xf4\x8f\xbf\xbf",
    b"1700000000000000",
    b"\"2024-02-29 23:59:59.999Z\"",
    b"\"$$\"",
    b"1mo2d3ns",
    b"E+2147483647",
    b"[[],[]]",
    b"{}",
];

#[test]
fn row_lines_are_refused_or_mean_what_they_say() {
    let examples = line_examples();
    let readers: Vec<_> = examples.iter().map(|example| RefCell::new(Reader::new(&example.layout))).collect();
    let written: Vec<(DecodedRow, RowHash)> = examples
        .iter()
        .zip(&readers)
        .map(|(example, reader)| {
            let mut row = DecodedRow::default();
            let hash = reader.borrow_mut().decoder.decode(&example.line, &mut row).expect("an example").hash();
            (row, hash)
        })
        .collect();
    let corpus = examples.iter().map(|example| example.line.clone()).collect();
    Fuzzing { name: "row line", corpus, words: WORDS }
        .run(|item, line| readers[item].borrow_mut().judge(line, &written[item]));
}

/// Reads lines of one table, and writes them again.
struct Reader {
    layout: TableLayout,
    decoder: RowDecoder,
    encoder: RowEncoder,
}

impl Reader {
    fn new(layout: &TableLayout) -> Self {
        Self { layout: layout.clone(), decoder: RowDecoder::new(layout), encoder: RowEncoder::new(layout) }
    }

    fn judge(&mut self, line: &[u8], (written, written_hash): &(DecodedRow, RowHash)) -> Verdict {
        let mut row = DecodedRow::default();
        let decoded = match self.decoder.decode(line, &mut row) {
            Ok(hashed) => hashed.hash(),
            Err(error) if error.kind() != ErrorKind::Corrupt => {
                return Err(format!("an error of kind {:?}: {error}", error.kind()));
            }
            Err(_) if row.cells().any(|cell| cell.is_some()) => {
                return Err("cells of a refused line are left".to_owned());
            }
            Err(error) => return Ok(class_of(&error)),
        };
        // The same cells are the same line, and a line says one thing only.
        let mut canonical = Vec::new();
        let encoded = self.encoder.encode_row(&row, &mut canonical);
        let hash = encoded.map_err(|e| format!("can't be written again: {e}"))?.hash();
        let mut again = DecodedRow::default();
        let reread = self.decoder.decode(&canonical, &mut again);
        let reread = reread.map_err(|e| format!("its canonical form is refused: {e}"))?.hash();
        if !self.same(&row, &again) {
            return Err(format!("its canonical form means something else: {}", canonical.escape_ascii()));
        }
        if reread != hash {
            return Err("encoder and decoder give different hashes".to_owned());
        }
        // What is accepted as other cells or times must not pass for the line that was written.
        if !self.same_cells(&row, written) && decoded.values == written_hash.values {
            return Err("other cells have the hash of those that were written".to_owned());
        }
        if !self.same_writetimes(&row, written) && decoded.times == written_hash.times {
            return Err("other writetimes have the hash of those that were written".to_owned());
        }
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        Ok(if canonical.strip_suffix(b"\n") == Some(text) { "canonical" } else { "readable" }.to_owned())
    }

    fn same(&self, a: &DecodedRow, b: &DecodedRow) -> bool {
        let columns = 0..self.layout.columns.len();
        self.same_cells(a, b)
            && columns.into_iter().all(|at| a.time(at) == b.time(at) && a.elements().of(at) == b.elements().of(at))
    }

    fn same_cells(&self, a: &DecodedRow, b: &DecodedRow) -> bool {
        a.kind() == b.kind() && a.cells().eq(b.cells())
    }

    fn same_writetimes(&self, a: &DecodedRow, b: &DecodedRow) -> bool {
        let timed = self.layout.columns.iter().enumerate().filter(|(_, column)| column.timed);
        timed.map(|(at, _)| at).all(|at| {
            let written = |row: &DecodedRow| {
                let elements =
                    row.elements().of(at).map(|all| all.iter().map(|t| t.and_then(|t| t.writetime)).collect());
                (row.time(at).writetime, elements) as (Option<i64>, Option<Vec<Option<i64>>>)
            };
            written(a) == written(b)
        })
    }
}

#[test]
fn any_bytes_of_any_type_come_back() {
    let mut types = Vec::new();
    let mut corpus = Vec::new();
    for example in corpus_lines("cql_values.jsonl") {
        let text = example["type"].as_str().expect("a type");
        types.push(CqlType::parse(text, &user_types()).expect("a type"));
        corpus.push(hex::decode(example["cell"].as_str().expect("hex")).expect("hex"));
    }
    let layouts: Vec<TableLayout> = types.into_iter().map(table_of).collect();
    let written: Vec<Vec<u8>> = corpus.iter().zip(&layouts).map(|(cell, layout)| encode(layout, cell)).collect();
    let originals = corpus.clone();
    let words: &[&[u8]] =
        &[&[0xff; 4], &[0; 4], &[0, 0, 0, 1], &[0x7f, 0xff, 0xff, 0xff], &[0x80, 0, 0, 0], &[0xff; 9], b"\xed\xa0\x80"];
    Fuzzing { name: "cql value", corpus, words }.run(|item, cell| {
        let layout = &layouts[item];
        let line = encode(layout, cell);
        let mut row = DecodedRow::default();
        RowDecoder::new(layout).decode(&line, &mut row).map_err(|e| format!("its own line is refused: {e}"))?;
        if row.cell(1) != Some(cell) {
            return Err(format!("it came back as {:?}", row.cell(1).map(hex::encode)));
        }
        if (line == written[item]) != (cell == originals[item]) {
            return Err("different bytes have one line".to_owned());
        }
        serde_json::from_slice::<serde_json::Value>(&line).map_err(|e| format!("no JSON: {e}"))?;
        let verbatim = line.windows(8).any(|part| part == b"{\"$\":\"0x");
        Ok(if verbatim { "verbatim" } else { "readable" }.to_owned())
    });
}

/// User types that the corpus names.
fn user_types() -> UserTypes {
    let field = |name: &str, text: &str| ringvault_proto::v1::Column {
        name: name.to_owned(),
        r#type: text.to_owned(),
        ..ringvault_proto::v1::Column::default()
    };
    let fields = vec![field("a", "int"), field("$", "text"), field("B c", "frozen<map<text, frozen<set<int>>>>")];
    let udt = ringvault_proto::v1::UserType { name: "u".to_owned(), fields };
    UserTypes::from_message(&[udt]).expect("types")
}

fn encode(layout: &TableLayout, cell: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    let cells = [Some(&[0u8, 0, 0, 1][..]), Some(cell)];
    let times = [CellTime::default(); 2];
    RowEncoder::new(layout)
        .encode(LineKind::Row, &cells, &times, &ElementTimes::NONE, &mut line)
        .expect("every byte string can be written");
    line
}

#[test]
fn type_texts_are_refused_or_understood() {
    let corpus = [
        "map<text, frozen<list<frozen<tuple<int, vector<float, 3>>>>>>",
        "frozen<set<frozen<u>>>",
        "\"u\"",
        "'org.apache.cassandra.db.marshal.VectorType(org.apache.cassandra.db.marshal.FloatType, 7)'",
        "org.apache.cassandra.db.marshal.MapType(org.apache.cassandra.db.marshal.UTF8Type,\
         org.apache.cassandra.db.marshal.FrozenType(org.apache.cassandra.db.marshal.Int32Type))",
        "counter",
    ];
    let words: &[&[u8]] = &[
        b"frozen<",
        b"list<",
        b"map<",
        b"tuple<",
        b"vector<",
        b"org.apache.cassandra.db.marshal.",
        b"ReversedType(",
        b"\"\"",
        b"'",
        b">>>>",
        b", ",
        b"65536",
    ];
    let corpus = corpus.iter().map(|text| text.as_bytes().to_vec()).collect();
    let types = user_types();
    Fuzzing { name: "type text", corpus, words }.run(|_, bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Ok("no text".to_owned()) };
        match CqlType::parse(text, &types) {
            Err(error) if error.kind() == ErrorKind::Invalid => Ok("refused".to_owned()),
            Err(error) => Err(format!("an error of kind {:?}", error.kind())),
            Ok(parsed) => match CqlType::parse(&parsed.to_string(), &types) {
                Ok(again) if again == parsed => Ok("understood".to_owned()),
                other => Err(format!("{parsed} is read back as {other:?}")),
            },
        }
    });
}

#[test]
fn encoded_names_are_refused_or_the_only_ones() {
    let corpus = ["orders", "%4Frders", "%C3%9C", "a%2Eb"].map(|text| text.as_bytes().to_vec()).to_vec();
    Fuzzing { name: "name", corpus, words: &[b"%", b"%41", b"%FF", b"%00", b"~", b"%2E%2E%2F"] }.run(|_, bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Ok("no text".to_owned()) };
        match names::percent_decode(text) {
            Err(_) => Ok("refused".to_owned()),
            Ok(name) if names::percent_encode(&name) == text => Ok("decoded".to_owned()),
            Ok(name) => Err(format!("{name:?} is written another way")),
        }
    });
}

/// Partition keys as a user writes them: a JSON value a column.
#[test]
fn partition_keys_are_refused_or_those_of_a_row() {
    let example = corpus_layout(&["int", "text", "frozen<map<text, int>>", "timestamp"]);
    let corpus = [
        "42\x1f\"a\"\x1f{\"k\":1}\x1f\"2024-02-29 23:59:59.999Z\"",
        "-1\x1f\"\"\x1f\"\"\x1f9223372036854775807",
        "{\"$\":\"0x00\"}\x1f\"\\u0000\"\x1f{}\x1f\"1969-12-31 00:00:00.000Z\"",
    ];
    let corpus = corpus.iter().map(|text| text.as_bytes().to_vec()).collect();
    let mut encoder = RowEncoder::new(&example);
    let columns = example.columns.len();
    let encoder = RefCell::new(&mut encoder);
    Fuzzing { name: "partition key", corpus, words: WORDS }.run(|_, bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Ok("no text".to_owned()) };
        let key = ringvault_proto::v1::PartitionKey { cells: text.split('\x1f').map(str::to_owned).collect() };
        let cells = match ringvault_archive::rows::choice::key_cells(&example, &key) {
            Ok(cells) => cells,
            Err(error) if error.kind() == ErrorKind::Invalid => return Ok("refused".to_owned()),
            Err(error) => return Err(format!("an error of kind {:?}: {error}", error.kind())),
        };
        if cells.len() != columns {
            return Err(format!("{} cells", cells.len()));
        }
        // Its cells make a row whose key reads the same again.
        let raw: Vec<Option<&[u8]>> = cells.iter().map(|cell| Some(&cell[..])).collect();
        let mut line = Vec::new();
        let mut encoder = encoder.borrow_mut();
        let written = encoder.encode(LineKind::Row, &raw, &[], &ElementTimes::NONE, &mut line);
        written.map_err(|e| format!("no row can have it: {e}"))?;
        let mut row = DecodedRow::default();
        RowDecoder::new(&example).decode(&line, &mut row).map_err(|e| e.to_string())?;
        if row.cells().eq(raw) { Ok("a key".to_owned()) } else { Err("a row has another key".to_owned()) }
    });
}

/// A table of a partition key alone.
fn corpus_layout(types: &[&str]) -> TableLayout {
    let column = |(at, text): (usize, &&str)| ringvault_proto::v1::Column {
        name: format!("k{at}"),
        kind: ringvault_proto::v1::ColumnKind::PartitionKey.into(),
        r#type: (*text).to_owned(),
        reversed: false,
    };
    let columns = types.iter().enumerate().map(column).collect();
    let table = ringvault_proto::v1::InspectedTable { columns, ..ringvault_proto::v1::InspectedTable::default() };
    TableLayout::from_message(&table).expect("a table")
}
