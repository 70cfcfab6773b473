//! Decoding gives the bytes that were encoded, whatever they are; what a server could send is readable JSON.

use proptest::prelude::*;
use ringvault_archive::{
    cql_type::CqlType,
    digest::RowHash,
    row::{CellTime, DecodedRow, ElementTimes, LineKind, RowDecoder, RowEncoder, elements},
    table::TableLayout,
};

use crate::types::{Dice, any_type, table_of, value_of};

const KEY: &[u8] = &[0, 0, 0, 1];

fn encode(layout: &TableLayout, cell: &[u8]) -> (Vec<u8>, RowHash) {
    let mut line = Vec::new();
    let hash = RowEncoder::new(layout)
        .encode(LineKind::Row, &[Some(KEY), Some(cell)], &[], &ElementTimes::NONE, &mut line)
        .expect("every byte string can be written")
        .hash();
    (line, hash)
}

/// Encodes, decodes, compares, and encodes again; returns the line.
fn check(cql_type: &CqlType, cell: &[u8]) -> Result<String, TestCaseError> {
    let layout = table_of(cql_type.clone());
    let (line, hash) = encode(&layout, cell);
    let mut row = DecodedRow::default();
    let mut decoder = RowDecoder::new(&layout);
    let decoded = decoder.decode(&line, &mut row).map_err(|e| TestCaseError::fail(e.to_string()))?.hash();
    prop_assert_eq!(row.cell(1), Some(cell));
    prop_assert_eq!(row.cell(0), Some(KEY));
    prop_assert_eq!(decoded, hash);
    let mut again = Vec::new();
    let hash_again = RowEncoder::new(&layout).encode_row(&row, &mut again).expect("as before").hash();
    prop_assert_eq!(&again, &line);
    prop_assert_eq!(hash_again, hash);
    let line = String::from_utf8(line).expect("JSON is UTF-8");
    serde_json::from_str::<serde_json::Value>(&line).map_err(|e| TestCaseError::fail(format!("{e}: {line}")))?;
    Ok(line)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_survive_and_are_readable(cql_type in any_type(), seed: u64) {
        let cell = value_of(&cql_type, &mut Dice(seed));
        let line = check(&cql_type, &cell)?;
        // Verbatim is for what servers don't send; of what they do, only keys in keys in keys in keys need it.
        prop_assert!(!line.contains("{\"$\":\"0x"), "{}", line);
    }

    #[test]
    fn damaged_values_survive(cql_type in any_type(), seed: u64) {
        let mut dice = Dice(seed);
        let mut cell = value_of(&cql_type, &mut dice);
        for _ in 0..=dice.below(3) {
            let at = dice.below(cell.len() as u64 + 1) as usize;
            match dice.below(4) {
                0 => cell.truncate(at),
                1 => cell.insert(at, dice.next() as u8),
                _ if at < cell.len() => cell[at] ^= 1 << dice.below(8),
                _ => cell.push(dice.next() as u8),
            }
        }
        check(&cql_type, &cell)?;
    }

    #[test]
    fn arbitrary_bytes_survive(cql_type in any_type(), cell: Vec<u8>) {
        check(&cql_type, &cell)?;
    }

    #[test]
    fn short_bytes_survive_in_every_type(cell in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(4), Just(0xff), any::<u8>()], 0..17)) {
        for cql_type in crate::types::NATIVE {
            check(&cql_type, &cell)?;
            check(&CqlType::Map(Box::new(cql_type), Box::new(CqlType::Int)), &cell)?;
        }
    }

    #[test]
    fn different_bytes_give_different_lines(cql_type in any_type(), seed: u64, other: u64) {
        let (a, b) = (value_of(&cql_type, &mut Dice(seed)), value_of(&cql_type, &mut Dice(other)));
        let layout = table_of(cql_type);
        let (line_a, hash_a) = encode(&layout, &a);
        let (line_b, hash_b) = encode(&layout, &b);
        prop_assert_eq!(a == b, line_a == line_b);
        prop_assert_eq!(a == b, hash_a == hash_b);
    }

    #[test]
    fn times_survive(times in prop::collection::vec((any::<Option<i64>>(), any::<Option<i64>>()), 3), alike: [bool; 3]) {
        let mut layout = table_of(CqlType::Int);
        layout.columns.extend(["x", "y\"", "$z"].map(|name| {
            crate::types::column(name, ringvault_archive::table::ColumnRole::Regular, CqlType::Int)
        }));
        let time = |i: usize| CellTime { writetime: times[i].0, expiry: times[i].1 };
        let cell_times: Vec<_> = (0..5).map(|i| time(if i < 3 && alike[i] { 0 } else { i % 3 })).collect();
        let cells = [Some(KEY), Some(KEY), None, Some(KEY), Some(KEY)];
        let mut line = Vec::new();
        let hash = RowEncoder::new(&layout).encode(LineKind::Row, &cells, &cell_times, &ElementTimes::NONE, &mut line).expect("a row").hash();
        serde_json::from_slice::<serde_json::Value>(&line).expect("JSON");
        let mut row = DecodedRow::default();
        let decoded = RowDecoder::new(&layout).decode(&line, &mut row).expect("a line").hash();
        let expected: Vec<_> = (0..5).map(|i| if [0, 2].contains(&i) { CellTime::default() } else { cell_times[i] }).collect();
        prop_assert_eq!((0..5).map(|i| row.time(i)).collect::<Vec<_>>(), expected);
        prop_assert_eq!(decoded, hash);
        let mut again = Vec::new();
        RowEncoder::new(&layout).encode_row(&row, &mut again).expect("as before");
        prop_assert_eq!(again, line);
    }

    #[test]
    fn times_of_elements_survive_and_decide_the_hash(cql_type in any_type(), seed: u64, spread in 1u64..4) {
        let mut layout = table_of(cql_type);
        layout.columns[1].multi_cell = true;
        let cql_type = layout.columns[1].cql_type.clone();
        let mut dice = Dice(seed);
        let cell = value_of(&cql_type, &mut dice);
        let Some(found) = elements(&cql_type, &cell).filter(|_| layout.columns[1].has_element_times()) else {
            return Ok(());
        };
        let mut time = || CellTime {
            writetime: (dice.below(4) > 0).then(|| dice.below(spread) as i64),
            expiry: (dice.below(2) > 0).then(|| dice.below(spread) as i64),
        };
        let given: Vec<_> = found.iter().map(|element| (!element.is_null).then(&mut time)).collect();
        let mut times = ElementTimes::default();
        let shared = times.set(1, given.iter().copied());
        let cells = [Some(KEY), Some(&cell[..])];
        let whole = [CellTime::default(), shared.unwrap_or_default()];
        let mut line = Vec::new();
        let mut encoder = RowEncoder::new(&layout);
        let encoded = encoder.encode(LineKind::Row, &cells, &whole, &times, &mut line).expect("a row");
        let latest = given.iter().flatten().filter_map(|time| time.expiry).max();
        prop_assert_eq!(encoded.facts.expiry_s_max, latest.unwrap_or(0));
        let hash = encoded.hash();
        serde_json::from_slice::<serde_json::Value>(&line).expect("JSON");
        let mut row = DecodedRow::default();
        let decoded = RowDecoder::new(&layout).decode(&line, &mut row).expect("a line").hash();
        prop_assert_eq!(row.element_times(1), times.of(1));
        prop_assert_eq!(row.elements(), &times);
        prop_assert_eq!(decoded, hash);
        let mut again = Vec::new();
        prop_assert_eq!(encoder.encode_row(&row, &mut again).expect("as before").hash(), hash);
        prop_assert_eq!(&again, &line);
        // the hash covers the writetime of every element, and no expiry
        for at in 0..given.len() {
            let Some(old) = given[at] else { continue };
            let mut changed = given.clone();
            changed[at] = Some(CellTime { writetime: Some(77), ..old });
            row.set_element_times(1, changed.clone());
            prop_assert!(encoder.encode_row(&row, &mut again).expect("a row").hash().times != hash.times);
            changed[at] = Some(CellTime { expiry: Some(77), ..old });
            row.set_element_times(1, changed);
            prop_assert_eq!(encoder.encode_row(&row, &mut again).expect("a row").hash(), hash);
        }
        row.set_element_times(1, given.iter().copied());
        // without some of its elements it is the value of the others
        let keep = |time: CellTime| time.expiry.is_none_or(|expiry| expiry > 0);
        let differ = row.element_times(1).is_some();
        let gone = row.retain_elements(1, &cql_type, keep);
        if differ {
            prop_assert_eq!(gone, given.iter().flatten().filter(|time| !keep(**time)).count());
            let left = row.cell(1).map(|cell| elements(&cql_type, cell).expect("well framed"));
            let left: Vec<_> = left.into_iter().flatten().filter(|element| !element.is_null).map(|e| e.framed).collect();
            let pairs = found.iter().zip(&given);
            let expected = pairs.filter(|(_, time)| time.is_some_and(keep)).map(|(element, _)| element.framed);
            prop_assert_eq!(left, expected.collect::<Vec<_>>());
            again.clear();
            encoder.encode_row(&row, &mut again).expect("a row");
            RowDecoder::new(&layout).decode(&again, &mut DecodedRow::default()).expect("a line");
        }
    }
}

#[test]
fn keys_in_keys_in_keys_do_not_explode() {
    let mut cql_type = CqlType::Text;
    let mut cell = b"\"\\\"".to_vec();
    for _ in 0..60 {
        cql_type = CqlType::Map(Box::new(cql_type), Box::new(CqlType::Int));
        let key = std::mem::replace(&mut cell, 1i32.to_be_bytes().to_vec());
        cell.extend((key.len() as i32).to_be_bytes());
        cell.extend(key);
        cell.extend((-1i32).to_be_bytes());
    }
    let line = check(&cql_type, &cell).expect("survives");
    assert!(line.len() < 4 * cell.len(), "{} bytes of {}", line.len(), cell.len());
}

#[test]
fn composites_nested_to_the_bound_survive() {
    let mut cql_type = CqlType::Int;
    let mut cell = vec![0, 0, 0, 7];
    for _ in 0..ringvault_archive::cql_type::TYPE_NESTING_MAX + 10 {
        cql_type = CqlType::List(Box::new(cql_type));
        let element = std::mem::replace(&mut cell, 1i32.to_be_bytes().to_vec());
        cell.extend((element.len() as i32).to_be_bytes());
        cell.extend(element);
    }
    check(&cql_type, &cell).expect("survives, the innermost verbatim");
}

#[test]
fn huge_numbers_and_counts_cost_nothing() {
    check(&CqlType::VarInt, &[0x7f; 1024]).expect("in digits");
    check(&CqlType::VarInt, &[0x80; 1024]).expect("in digits");
    let line = check(&CqlType::VarInt, &[0x7f; 1_000_000]).expect("verbatim");
    assert!(line.contains("{\"$\":\"0x7f7f"));
    let ints = CqlType::List(Box::new(CqlType::Int));
    for count in [i32::MAX, i32::MIN, -1, 1 << 28] {
        let cell = count.to_be_bytes();
        assert!(check(&ints, &cell).expect("verbatim").contains("{\"$\":\"0x"));
    }
}
