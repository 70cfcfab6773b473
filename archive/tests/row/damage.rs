//! Lines that are not what was written give `Corrupt`, never a panic.

use proptest::prelude::*;
use ringvault_archive::{
    cql_type::CqlType,
    digest::RowHash,
    row::{CellTime, DecodedRow, ElementTimes, LineKind, RowDecoder, RowEncoder, elements},
    table::{ColumnRole, TableLayout},
};
use ringvault_proto::error::ErrorKind;

use crate::types::{Dice, NATIVE, any_type, column, table_of, value_of};

/// Decodes; an error must be `Corrupt` and leave the row empty.
fn decode(layout: &TableLayout, line: &[u8]) -> Result<(DecodedRow, RowHash), String> {
    let mut row = DecodedRow::default();
    match RowDecoder::new(layout).decode(line, &mut row).map(|hashed| hashed.hash()) {
        Ok(hash) => Ok((row, hash)),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert_eq!(row.cells().count(), 0);
            Err(error.to_string())
        }
    }
}

fn line_of(layout: &TableLayout, cell: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    let time = CellTime { writetime: Some(1_700_000_000_000_000), expiry: Some(1_700_000_060) };
    let mut times = ElementTimes::default();
    if layout.columns[1].has_element_times()
        && let Some(found) = elements(&layout.columns[1].cql_type, cell)
    {
        let at = |index| CellTime { writetime: Some(1_700_000_000_000_000 + i64::from(index == 0)), expiry: None };
        times.set(1, found.iter().enumerate().map(|(index, element)| (!element.is_null).then(|| at(index))));
    }
    RowEncoder::new(layout)
        .encode(LineKind::Row, &[Some(&[0, 0, 0, 1]), Some(cell)], &[time; 2], &times, &mut line)
        .expect("a row");
    line.pop();
    line
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cut_line_is_corrupt(cql_type in any_type(), seed: u64, multi_cell: bool) {
        let mut layout = table_of(cql_type);
        layout.columns[1].multi_cell = multi_cell;
        let line = line_of(&layout, &value_of(&layout.columns[1].cql_type, &mut Dice(seed)));
        for end in 0..line.len() {
            prop_assert!(decode(&layout, &line[..end]).is_err(), "{}", String::from_utf8_lossy(&line[..end]));
        }
        prop_assert!(decode(&layout, &line).is_ok());
    }

    #[test]
    fn a_changed_line_is_corrupt_or_has_another_hash_or_other_times(cql_type in any_type(), seed: u64, multi_cell: bool) {
        let mut layout = table_of(cql_type);
        layout.columns[1].multi_cell = multi_cell;
        let mut dice = Dice(seed);
        let line = line_of(&layout, &value_of(&layout.columns[1].cql_type, &mut dice));
        let (_, good) = decode(&layout, &line).expect("as written");
        let times = line.windows(6).position(|part| part == b",\"$\":{").expect("times");
        for _ in 0..50 {
            let mut changed = line.clone();
            let at = dice.below(line.len() as u64) as usize;
            match dice.below(3) {
                0 => changed[at] ^= 1 << dice.below(8),
                1 => drop(changed.remove(at)),
                _ => changed.insert(at, b"{}[]\",:$\\0-.e\x00\xff"[dice.below(15) as usize]),
            }
            if let Ok((_, hash)) = decode(&layout, &changed) {
                let equal = hash.values == good.values;
                prop_assert!(!equal || at >= times, "{}", String::from_utf8_lossy(&changed));
            }
        }
    }

    #[test]
    fn noise_is_corrupt(cql_type in any_type(), noise in "[\\[\\]{}\",:$\\\\0-9a-fx.eE+-]{0,40}") {
        let layout = table_of(cql_type);
        let _ = decode(&layout, noise.as_bytes());
        let _ = decode(&layout, format!("{{\"k\":1,\"v\":{noise}}}").as_bytes());
        let _ = decode(&layout, format!("{{\"k\":1,\"v\":\"{noise}\"}}").as_bytes());
        let _ = decode(&layout, format!("{{\"k\":1,\"$\":{noise}}}").as_bytes());
    }

    #[test]
    fn arbitrary_bytes_are_corrupt(noise: Vec<u8>) {
        prop_assert!(decode(&table_of(CqlType::Int), &noise).is_err());
    }
}

#[test]
fn every_deviation_of_a_line_is_named() {
    let mut layout = table_of(CqlType::Int);
    layout.columns.push(column("w", ColumnRole::Regular, CqlType::Text));
    for (line, part) in [
        ("", "starts with {"),
        (" {\"k\":1}", "starts with {"),
        ("{}", "partition key is missing"),
        ("{\"v\":1}", "partition key is missing"),
        ("{\"k\":1}}", "something follows"),
        ("{\"k\":1}\n\n", "something follows"),
        ("{\"k\":1}\r\n", "something follows"),
        ("{\"k\":1, \"v\":1}", "unknown or out of order"),
        ("{\"k\":1,\"k\":1}", "unknown or out of order"),
        ("{\"k\":1,\"w\":\"\",\"v\":1}", "unknown or out of order"),
        ("{\"k\":1,\"z\":1}", "unknown or out of order"),
        ("{,\"k\":1}", "partition key is missing"),
        ("{\"k\":1,}", "unknown or out of order"),
        ("{\"k\":1,\"v\":null}", "integer in range"),
        ("{\"k\":1,\"v\":2147483648}", "integer in range"),
        ("{\"k\":1,\"v\":01}", "integer in range"),
        ("{\"k\":1,\"v\":-0}", "integer in range"),
        ("{\"k\":1,\"v\":1.0}", "integer in range"),
        ("{\"k\":1,\"v\":\"1\"}", "form that its type has"),
        ("{\"k\":1,\"v\":[1]}", "integer in range"),
        ("{\"k\":1,\"v\":{\"$\":\"0x0\"}}", "hex digits"),
        ("{\"k\":1,\"v\":{\"$\":\"0xAB\"}}", "does not end"),
        ("{\"k\":1,\"v\":{\"$\":\"0xab\",\"a\":1}}", "does not end"),
        ("{\"k\":1,\"w\":1}", "form that its type has"),
        ("{\"k\":1,\"w\":\"\\u0041\"}", "escape"),
        ("{\"k\":1,\"w\":\"\\/\"}", "escape"),
        ("{\"k\":1,\"w\":\"\t\"}", "control character"),
        ("{\"k\":1,\"w\":\"a}", "does not end"),
        ("{\"k\":1,\"v\":1,\"$\":{}}", "unknown key, or none"),
        ("{\"k\":1,\"$\":{\"w\":1}}", "no cell"),
        ("{\"k\":1,\"v\":1,\"$\":{\"w\":1,}}", "unknown key"),
        ("{\"k\":1,\"v\":1,\"$\":{\"y\":1}}", "unknown key"),
        ("{\"k\":1,\"v\":1,\"$\":{\"w\":1,\"c\":{}}}", "null, unknown or out of order"),
        ("{\"k\":1,\"v\":1,\"$\":{\"w\":1,\"c\":{\"w\":{\"w\":2}}}}", "null, unknown or out of order"),
        ("{\"k\":1,\"v\":1,\"$\":{\"w\":1,\"c\":{\"k\":{\"w\":2}}}}", "null, unknown or out of order"),
        ("{\"k\":1,\"v\":1,\"$\":{\"w\":1,\"c\":{\"v\":{\"w\":2},\"v\":{\"w\":2}}}}", "null, unknown or out of order"),
        ("{\"k\":1,\"v\":1,\"$\":{\"w\":1},\"$\":{\"w\":1}}", "does not end"),
    ] {
        let error = decode(&layout, line.as_bytes()).expect_err(line);
        assert!(error.contains(part), "{line}: {error}");
    }
}

#[test]
fn times_of_elements_that_are_not_those_of_the_value_are_named() {
    let mut layout = table_of(CqlType::Map(Box::new(CqlType::Int), Box::new(CqlType::Int)));
    layout.columns[1].multi_cell = true;
    let fields = ["a", "b"].map(|name| (name.to_owned(), CqlType::Int)).to_vec();
    let udt = CqlType::Udt(std::sync::Arc::new(ringvault_archive::cql_type::UdtType { name: "t".to_owned(), fields }));
    layout.columns.push(column("u", ColumnRole::Regular, udt));
    layout.columns[2].multi_cell = true;
    layout.columns.push(column("w", ColumnRole::Regular, CqlType::List(Box::new(CqlType::Int))));
    layout.columns[3].multi_cell = true;
    let of = |times: &str| {
        format!(
            "{{\"k\":1,\"v\":{{\"1\":1,\"2\":2}},\"u\":{{\"a\":null,\"b\":2}},\"w\":[1,2],\"$\":{{\"c\":{{{times}}}}}}}"
        )
    };
    let (good, _) = decode(&layout, of("\"v\":{\"e\":[[1],[2,9]]}").as_bytes()).expect("as it should be");
    assert_eq!(good.time(1), CellTime { writetime: Some(2), expiry: None });
    for (times, part) in [
        ("\"v\":{\"e\":[[1],[1]]}", "all the same"),
        ("\"v\":{\"e\":[[1]]}", "another number"),
        ("\"v\":{\"e\":[[1],[2],[3]]}", "another number"),
        ("\"v\":{\"e\":[]}", "another number"),
        ("\"v\":{\"e\":[null,[2]]}", "an array is wanted"),
        ("\"v\":{\"e\":[[1],[2,9,9]]}", "do not end"),
        ("\"v\":{\"e\":[[1],[]]}", "integer"),
        ("\"v\":{\"e\":[[1],[2,null]]}", "integer"),
        ("\"v\":{\"e\":[[1],[2],]}", "another number"),
        ("\"v\":{\"e\":[[1],[2]}", "a comma or an end"),
        ("\"v\":{\"e\":[[1],[2]],\"w\":1}", "do not end"),
        ("\"v\":{\"e\":{}}", "an array is wanted"),
        ("\"u\":{\"e\":[[1],[2]]}", "null has times"),
        ("\"u\":{\"e\":[null,[2]]}", "all the same"),
        ("\"w\":{\"e\":[[1],[2]]}", "a cell that has none"),
    ] {
        let error = decode(&layout, of(times).as_bytes()).expect_err(times);
        assert!(error.contains(part), "{times}: {error}");
    }
    layout.columns[1].multi_cell = false;
    let error = decode(&layout, of("\"v\":{\"e\":[[1],[2]]}").as_bytes()).expect_err("a frozen map");
    assert!(error.contains("a cell that has none"), "{error}");
}

#[test]
fn values_of_another_form_are_corrupt() {
    let list = |element| CqlType::List(Box::new(element));
    let map = |key| CqlType::Map(Box::new(key), Box::new(CqlType::Int));
    for (cql_type, values) in [
        (CqlType::BigInt, &["9223372036854775808", "\"x\"", "true", "1e3"][..]),
        (CqlType::Boolean, &["1", "\"true\"", "True"]),
        (CqlType::Float, &["1e39", "NaN", "\"1.0\"", "1.", ".5", "+1", "inf", "\"nan\"", "0x1"]),
        (CqlType::Double, &["1e309", "-", "1e", "01.0", "\"-NaN\""]),
        (CqlType::VarInt, &["1", "\"-\"", "\"-0\"", "\"01\"", "\"1_000\"", "\"+1\""]),
        (CqlType::Decimal, &["1.0", "\"1.\"", "\".5\"", "\"1e5\"", "\"1E\"", "\"1E99999999999\"", "\"1E+2147483649\""]),
        (CqlType::Blob, &["\"\"", "\"00\"", "\"0x0\"", "\"0xAA\"", "\"0X00\""]),
        (CqlType::Uuid, &["\"00000000-0000-0000-0000-00000000000\"", "\"00000000+0000-0000-0000-000000000000\"", "0"]),
        (CqlType::Inet, &["\"1.2.3\"", "\"1.2.3.256\"", "\"1.2.3.04\"", "\"::1%eth0\"", "\"x\""]),
        (
            CqlType::Timestamp,
            &["\"2024-01-01\"", "\"2024-02-30 00:00:00.000Z\"", "\"2024-01-01T00:00:00.000Z\"", "1.5"],
        ),
        (CqlType::Date, &["-1", "4294967296", "\"2024-1-1\"", "\"2147483648\""]),
        (CqlType::Time, &["0", "\"24:00:00.000000000\"", "\"00:00:00\"", "\"00:00:60.000000000\""]),
        (
            CqlType::Duration,
            &["\"1mo\"", "\"mo0d0ns\"", "\"2147483648mo0d0ns\"", "\"1d0mo0ns\"", "\"+1mo0d0ns\"", "\"--1mo0d0ns\""],
        ),
        (list(CqlType::Int), &["{}", "1", "[1,]", "[,1]", "[1", "[1 ]", "\"[1]\"", "[[1]]"]),
        (map(CqlType::Text), &["[]", "{\"a\"}", "{a:1}", "{\"$\":1}", "{\"$a\":1}", "{\"$0x\":1,}", "{\"$0xZZ\":1}"]),
        (map(list(CqlType::Int)), &["{\"1\":1}", "{\"[1]x\":1}", "{\"[1\":1}", "{[1]:1}"]),
        (CqlType::Tuple(vec![CqlType::Int]), &["[1,1]", "{}", "[\"1\"]"]),
        (
            CqlType::Vector(Box::new(CqlType::Int), 2),
            &["[1]", "[1,2,3]", "[1,\"\"]", "[1,null]", "[1,{\"$\":\"0x00\"}]"],
        ),
        (CqlType::Vector(Box::new(CqlType::Text), 2), &["[\"a\"]", "[\"a\",null]", "[]"]),
    ] {
        let layout = table_of(cql_type);
        for value in values {
            let line = format!("{{\"k\":1,\"v\":{value}}}");
            assert!(decode(&layout, line.as_bytes()).is_err(), "{} of {line}", layout.columns[1].type_text);
        }
    }
}

#[test]
fn deep_or_endless_input_ends_in_an_error() {
    let mut nested = CqlType::Text;
    for _ in 0..5 {
        nested = CqlType::Map(Box::new(CqlType::List(Box::new(nested))), Box::new(CqlType::Int));
    }
    for cql_type in NATIVE.into_iter().chain([nested]) {
        let layout = table_of(cql_type);
        for part in ["[", "{\"", "{\"$\":", "\"\\", "9", "-", "{\"[{\\\"["] {
            assert!(decode(&layout, format!("{{\"k\":1,\"v\":{}", part.repeat(100_000)).as_bytes()).is_err());
        }
    }
}
