//! Kinds of lines, null cells, cleared cells, canonical form of the times.

use ringvault_archive::{
    cql_type::CqlType,
    row::{CellTime, DecodedRow, ElementTimes, LineKind, RowDecoder, RowEncoder},
    table::{ColumnRole, TableLayout},
};
use ringvault_proto::error::ErrorKind;

use crate::types::{column, table_of};

/// `pk int, ck int, st static, a, b, c` of ints.
fn layout() -> TableLayout {
    let mut layout = table_of(CqlType::Int);
    layout.columns = vec![
        column("pk", ColumnRole::PartitionKey, CqlType::Int),
        column("ck", ColumnRole::Clustering, CqlType::Int),
        column("a", ColumnRole::Regular, CqlType::Int),
        column("b", ColumnRole::Regular, CqlType::Int),
        column("c", ColumnRole::Regular, CqlType::Int),
        column("st", ColumnRole::Static, CqlType::Int),
    ];
    layout
}

const ONE: Option<&[u8]> = Some(&[0, 0, 0, 1]);

fn line(kind: LineKind, cells: &[Option<&[u8]>; 6], times: &[CellTime]) -> String {
    let mut out = Vec::new();
    RowEncoder::new(&layout()).encode(kind, cells, times, &ElementTimes::NONE, &mut out).expect("a row");
    String::from_utf8(out).expect("UTF-8")
}

fn at(writetime: i64) -> CellTime {
    CellTime { writetime: Some(writetime), expiry: None }
}

#[test]
fn a_line_holds_the_columns_of_its_kind_and_no_null() {
    let all = [ONE; 6];
    assert_eq!(line(LineKind::Row, &all, &[]), "{\"pk\":1,\"ck\":1,\"a\":1,\"b\":1,\"c\":1}\n");
    assert_eq!(line(LineKind::Static, &all, &[]), "{\"pk\":1,\"st\":1}\n");
    assert_eq!(line(LineKind::Row, &[ONE, ONE, None, ONE, None, ONE], &[]), "{\"pk\":1,\"ck\":1,\"b\":1}\n");
    let mut row = DecodedRow::default();
    let mut decoder = RowDecoder::new(&layout());
    decoder.decode(b"{\"pk\":1,\"st\":1}\n", &mut row).expect("a line");
    assert_eq!((row.kind(), row.cell(5), row.cell(1)), (LineKind::Static, ONE, None));
    decoder.decode(b"{\"pk\":1,\"ck\":2}", &mut row).expect("a line");
    assert_eq!((row.kind(), row.cell(5), row.cells().flatten().count()), (LineKind::Row, None, 2));
}

#[test]
fn shared_times_are_those_of_most_cells_and_of_the_first_on_a_tie() {
    let times = |a, b, c| line(LineKind::Row, &[ONE, ONE, ONE, ONE, ONE, None], &[at(9), at(9), a, b, c, at(9)]);
    let tail =
        |line: String| line.split_once(",\"$\":").map(|(_, tail)| tail.trim_end().to_owned()).unwrap_or_default();
    let none = CellTime::default();
    let ends = CellTime { writetime: Some(1), expiry: Some(60) };
    assert_eq!(tail(times(at(1), at(1), at(1))), "{\"w\":1}}");
    assert_eq!(tail(times(at(2), at(1), at(1))), "{\"w\":1,\"c\":{\"a\":{\"w\":2}}}}");
    assert_eq!(tail(times(at(3), at(2), at(1))), "{\"w\":3,\"c\":{\"b\":{\"w\":2},\"c\":{\"w\":1}}}}");
    assert_eq!(tail(times(ends, ends, none)), "{\"w\":1,\"x\":60,\"c\":{\"c\":{\"w\":null}}}}");
    assert_eq!(tail(times(none, none, ends)), "{\"c\":{\"c\":{\"w\":1,\"x\":60}}}}");
    assert_eq!(tail(times(none, none, none)), "");
    let expiry_only = CellTime { writetime: None, expiry: Some(60) };
    assert_eq!(tail(times(expiry_only, expiry_only, expiry_only)), "{\"w\":null,\"x\":60}}");
    assert_eq!(tail(times(at(i64::MAX), at(i64::MAX), at(i64::MAX))), "{\"w\":\"9223372036854775807\"}}");
}

#[test]
fn the_hash_of_values_ignores_times_and_the_hash_of_times_ignores_expiries() {
    let cells = [ONE, ONE, ONE, None, None, None];
    let hash = |time: CellTime| {
        let mut out = Vec::new();
        RowEncoder::new(&layout())
            .encode(LineKind::Row, &cells, &[time; 6], &ElementTimes::NONE, &mut out)
            .expect("a row")
            .hash()
    };
    let (plain, one, two) = (hash(CellTime::default()), hash(at(1)), hash(at(2)));
    assert_eq!(plain.values, one.values);
    assert!(plain.times != one.times && one.times != two.times);
    assert_eq!(hash(CellTime { writetime: Some(1), expiry: Some(7) }), one);
    let filled_up = |mut bytes: Vec<u8>| {
        bytes.resize(64, 0);
        *blake3::hash(&bytes).as_bytes()
    };
    assert_eq!(plain.values, filled_up(b"{\"pk\":1,\"ck\":1,\"a\":1".to_vec()));
    assert_eq!(one.times, filled_up([&one.values[..], &[2, 0, 1, 0, 0, 0, 0, 0, 0, 0]].concat()));
}

#[test]
fn columns_that_are_not_timed_have_times_but_no_part_in_the_hash() {
    let mut layout = layout();
    layout.columns[2].timed = false;
    let cells = [ONE, ONE, ONE, None, None, None];
    let mut out = Vec::new();
    let mut encoder = RowEncoder::new(&layout);
    let mut hash =
        |time| encoder.encode(LineKind::Row, &cells, &[time; 6], &ElementTimes::NONE, &mut out).expect("a row").hash();
    assert_eq!(hash(at(1)), hash(at(2)));
    assert_eq!(out, b"{\"pk\":1,\"ck\":1,\"a\":1,\"$\":{\"w\":1}}\n{\"pk\":1,\"ck\":1,\"a\":1,\"$\":{\"w\":2}}\n");
}

#[test]
fn a_cleared_cell_is_null_in_the_line_made_of_the_row() {
    let text = line(LineKind::Row, &[ONE; 6], &[at(0), at(0), at(1), at(2), at(2), at(0)]);
    let mut row = DecodedRow::default();
    RowDecoder::new(&layout()).decode(text.as_bytes(), &mut row).expect("a line");
    row.clear_cell(2);
    row.clear_cell(77);
    let mut out = Vec::new();
    RowEncoder::new(&layout()).encode_row(&row, &mut out).expect("a row");
    assert_eq!(out, b"{\"pk\":1,\"ck\":1,\"b\":1,\"c\":1,\"$\":{\"w\":2}}\n");
}

#[test]
fn rows_without_their_key_are_refused_and_leave_nothing() {
    let mut encoder = RowEncoder::new(&layout());
    let mut out = b"before".to_vec();
    for (kind, cells) in [
        (LineKind::Row, [None, ONE, ONE, ONE, ONE, None]),
        (LineKind::Static, [None, ONE, ONE, ONE, ONE, ONE]),
        (LineKind::Row, [ONE, None, ONE, ONE, ONE, None]),
    ] {
        let error = encoder.encode(kind, &cells, &[], &ElementTimes::NONE, &mut out).expect_err("no key");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    assert_eq!(
        encoder.encode(LineKind::Row, &[ONE], &[], &ElementTimes::NONE, &mut out).expect_err("a defect").kind(),
        ErrorKind::Internal
    );
    assert_eq!(out, b"before");
}

#[test]
fn nothing_that_prints_shows_a_cell() {
    let text = "{\"pk\":1,\"ck\":1,\"a\":424242}";
    let mut row = DecodedRow::default();
    let mut decoder = RowDecoder::new(&layout());
    decoder.decode(text.as_bytes(), &mut row).expect("a line");
    assert!(!format!("{row:?}{decoder:?}").contains("4242"));
    let error = decoder.decode(b"{\"pk\":1,\"ck\":1,\"a\":\"424242\"}", &mut row).expect_err("a string");
    assert!(!error.to_string().contains("4242"));
    assert!(error.to_string().contains("ks.t") && error.to_string().contains("\"a\""), "{error}");
}

#[test]
fn what_is_known_of_a_line_is_told_with_it() {
    let mut encoder = RowEncoder::new(&layout());
    let mut facts = |kind, cells: &[Option<&[u8]>; 6], times: &[CellTime]| {
        let mut out = Vec::new();
        let facts = encoder.encode(kind, cells, times, &ElementTimes::NONE, &mut out).expect("a row").facts;
        (facts.key_only_rows, facts.writetime_us_max, facts.expiry_s_max)
    };
    assert_eq!(facts(LineKind::Row, &[ONE, ONE, None, None, None, ONE], &[at(9); 6]), (1, 0, 0));
    let ends = CellTime { writetime: Some(3), expiry: Some(60) };
    let times = [at(9), at(9), at(5), ends, at(9), at(9)];
    assert_eq!(facts(LineKind::Row, &[ONE, ONE, ONE, ONE, None, ONE], &times), (0, 5, 60));
    assert_eq!(facts(LineKind::Static, &[ONE; 6], &times), (0, 9, 0));
    assert_eq!(facts(LineKind::Row, &[ONE; 6], &[]), (0, 0, 0));
}

#[test]
fn times_and_cells_of_a_row_can_be_changed() {
    let set = CqlType::Set(Box::new(CqlType::Int));
    let mut layout = layout();
    layout.columns[3] = column("b", ColumnRole::Regular, set.clone());
    layout.columns[3].multi_cell = true;
    let text = r#"{"pk":1,"ck":1,"a":1,"b":[1,2,3],"$":{"w":5,"c":{"b":{"e":[[1],[2,60],[2,60]]}}}}"#;
    let mut row = DecodedRow::default();
    RowDecoder::new(&layout).decode(text.as_bytes(), &mut row).expect("a line");
    assert_eq!(row.time(3), at(2), "the newest, and one that never ends");
    let encoded = |row: &DecodedRow| {
        let mut out = Vec::new();
        RowEncoder::new(&layout).encode_row(row, &mut out).expect("a row");
        String::from_utf8(out).expect("UTF-8").trim_end().to_owned()
    };
    assert_eq!(encoded(&row), text);

    let mut later = row.clone();
    for column in 0..6 {
        later.map_times(column, |time| CellTime { writetime: time.writetime.map(|at| at + 10), ..time });
    }
    let expected = r#"{"pk":1,"ck":1,"a":1,"b":[1,2,3],"$":{"w":15,"c":{"b":{"e":[[11],[12,60],[12,60]]}}}}"#;
    assert_eq!(encoded(&later), expected);

    let mut alike = row.clone();
    alike.map_times(3, |_| at(5));
    assert_eq!(alike.element_times(3), None, "what is the same stands as one");
    assert_eq!(encoded(&alike), r#"{"pk":1,"ck":1,"a":1,"b":[1,2,3],"$":{"w":5}}"#);

    let mut fewer = row.clone();
    assert_eq!(fewer.retain_elements(3, &set, |time| time.expiry.is_some()), 1);
    assert_eq!(encoded(&fewer), r#"{"pk":1,"ck":1,"a":1,"b":[2,3],"$":{"w":5,"c":{"b":{"w":2,"x":60}}}}"#);

    let mut none = row.clone();
    assert_eq!(none.retain_elements(3, &set, |_| false), 3);
    assert_eq!(encoded(&none), r#"{"pk":1,"ck":1,"a":1,"$":{"w":5}}"#);

    row.set_time(3, at(7));
    row.set_time(4, at(7));
    row.set_cell(3, &[0, 0, 0, 0]);
    assert_eq!(encoded(&row), r#"{"pk":1,"ck":1,"a":1,"b":[],"$":{"w":5,"c":{"b":{"w":7}}}}"#);
}
