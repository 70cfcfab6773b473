//! Tests the writes of rows against a model of what a database makes of them: whatever their order, and however often each
//! is sent, every cell and every element stands there with its own times, and nothing hides anything.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ringvault_archive::{
    cql_type::CqlType,
    row::{CellTime, DecodedRow, ElementTimes, LineKind, RowDecoder, RowEncoder, elements},
    table::TableLayout,
};
use scylla_cql_core::frame::types::RawValue;

use super::{
    bind::{Binder, Write},
    columns::Columns,
    statements::Shape,
    tests::layout,
};

/// A cell of a row: column, and of a collection its element; a field of a user type by its position.
type Path = (usize, Vec<u8>);
/// Value, writetime, expiry.
type Cell = (Vec<u8>, i64, Option<i64>);

/// What the database holds of one row.
#[derive(Debug, Default, PartialEq, Eq)]
struct Model {
    cells: BTreeMap<Path, Cell>,
    /// Deletions of whole collections, which assigning them writes.
    deleted: BTreeMap<usize, i64>,
}

impl Model {
    fn apply(&mut self, layout: &TableLayout, columns: &Columns, write: &Write) {
        let at = write.using.timestamp.expect("every cell here has a writetime");
        let values: Vec<Option<Vec<u8>>> = write
            .values
            .iter()
            .map(|value| match value {
                RawValue::Value(bytes) => Some(bytes.to_vec()),
                RawValue::Unset => None,
                RawValue::Null => panic!("a null would be a tombstone"),
            })
            .collect();
        let key = columns.key.len();
        match write.shape {
            Shape::Insert => self.assign(layout, columns, &values[key..], at, write.using.expiry),
            Shape::Update => self.assign(layout, columns, &values[..values.len() - key], at, write.using.expiry),
            Shape::Add(LineKind::Row) => {
                let slots = columns.slots_of(LineKind::Row);
                for (index, (slot, value)) in slots.iter().zip(&values).enumerate() {
                    let Some(value) = value else { continue };
                    if slot.field.is_some() {
                        let first = columns.first_slot(LineKind::Row, slot.column).expect("a slot");
                        self.put(slot.column, vec![(index - first) as u8], value.clone(), at, write.using.expiry);
                    } else {
                        self.put_elements(layout, slot.column, value, at, write.using.expiry);
                    }
                }
            }
            other => panic!("{other:?} is no write of these rows"),
        }
    }

    fn assign(
        &mut self,
        layout: &TableLayout,
        columns: &Columns,
        values: &[Option<Vec<u8>>],
        at: i64,
        expiry: Option<i64>,
    ) {
        assert_eq!(columns.regular.len(), values.len());
        for (&column, value) in columns.regular.iter().zip(values) {
            let Some(value) = value else { continue };
            if layout.columns[column].multi_cell {
                let deleted = self.deleted.entry(column).or_insert(i64::MIN);
                *deleted = (*deleted).max(at - 1);
                self.put_elements(layout, column, value, at, expiry);
            } else {
                self.put(column, Vec::new(), value.clone(), at, expiry);
            }
        }
    }

    fn put_elements(&mut self, layout: &TableLayout, column: usize, value: &[u8], at: i64, expiry: Option<i64>) {
        let cql_type = &layout.columns[column].cql_type;
        for (index, element) in elements(cql_type, value).expect("well framed").iter().enumerate() {
            if !element.is_null {
                let (path, value) = split(cql_type, index, element.framed);
                self.put(column, path, value, at, expiry);
            }
        }
    }

    fn put(&mut self, column: usize, path: Vec<u8>, value: Vec<u8>, at: i64, expiry: Option<i64>) {
        let cell = self.cells.entry((column, path)).or_insert_with(|| (value.clone(), at, expiry));
        if cell.1 <= at {
            *cell = (value, at, expiry);
        }
    }

    /// What a reader sees.
    fn seen(&self) -> BTreeMap<Path, Cell> {
        let is_seen = |(path, cell): &(&Path, &Cell)| self.deleted.get(&path.0).is_none_or(|deleted| cell.1 > *deleted);
        self.cells.iter().filter(is_seen).map(|(path, cell)| (path.clone(), cell.clone())).collect()
    }
}

fn split(cql_type: &CqlType, index: usize, framed: &[u8]) -> (Vec<u8>, Vec<u8>) {
    match cql_type {
        CqlType::Udt(_) => (vec![index as u8], framed[4..].to_vec()),
        _ => {
            let length = 4 + i32::from_be_bytes(framed[..4].try_into().expect("a length")) as usize;
            (framed[..length].to_vec(), framed[length..].to_vec())
        }
    }
}

/// A row of `k, a, b, m, n, u`: two ints, two maps, a user type.
#[derive(Clone, Debug)]
struct Row {
    ints: [Option<CellTime>; 2],
    maps: [Vec<CellTime>; 2],
    fields: [Option<CellTime>; 2],
}

fn time() -> impl Strategy<Value = CellTime> {
    (1_i64..5, prop::option::of(100_i64..103))
        .prop_map(|(writetime, expiry)| CellTime { writetime: Some(writetime), expiry })
}

fn any_row() -> impl Strategy<Value = Row> {
    let map = || prop::collection::vec(time(), 0..5);
    let maybe = || [prop::option::of(time()), prop::option::of(time())];
    (maybe(), [map(), map()], maybe()).prop_map(|(ints, maps, fields)| Row { ints, maps, fields })
}

fn framed(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat()
}

/// The decoded row and what should be seen of it.
fn decoded(layout: &TableLayout, row: &Row) -> (DecodedRow, BTreeMap<Path, Cell>) {
    let mut cells: Vec<Option<Vec<u8>>> = vec![Some(vec![0, 0, 0, 1])];
    let mut times = vec![CellTime::default(); 6];
    let mut of_elements = ElementTimes::default();
    let mut seen = BTreeMap::new();
    let mut expect = |column: usize, path: Vec<u8>, value: Vec<u8>, time: CellTime| {
        seen.insert((column, path), (value, time.writetime.expect("known"), time.expiry));
    };
    for (index, time) in row.ints.iter().enumerate() {
        cells.push(time.map(|time| {
            times[1 + index] = time;
            expect(1 + index, Vec::new(), vec![0, 0, 0, 7], time);
            vec![0, 0, 0, 7]
        }));
    }
    for (index, elements) in row.maps.iter().enumerate() {
        let column = 3 + index;
        let mut cell = (elements.len() as u32).to_be_bytes().to_vec();
        for (number, time) in elements.iter().enumerate() {
            let (key, value) = (framed(&format!("k{number}")), framed(&format!("v{number}")));
            cell.extend(key.iter().chain(&value));
            expect(column, key, value, *time);
        }
        cells.push((!elements.is_empty()).then_some(cell));
        times[column] = of_elements.set(column, elements.iter().map(|time| Some(*time))).unwrap_or_default();
    }
    let field = |(index, time): (usize, &Option<CellTime>)| match time {
        Some(time) => {
            expect(5, vec![index as u8], b"f".to_vec(), *time);
            framed("f")
        }
        None => vec![0xff; 4],
    };
    let cell = row.fields.iter().enumerate().flat_map(field).collect();
    cells.push(row.fields.iter().any(Option::is_some).then_some(cell));
    times[5] = of_elements.set(5, row.fields).unwrap_or_default();
    let raw: Vec<Option<&[u8]>> = cells.iter().map(Option::as_deref).collect();
    for column in (3..6).filter(|column| raw[*column].is_none()) {
        of_elements.remove(column);
    }
    let mut line = Vec::new();
    RowEncoder::new(layout).encode(LineKind::Row, &raw, &times, &of_elements, &mut line).expect("a row");
    let mut row = DecodedRow::default();
    RowDecoder::new(layout).decode(&line, &mut row).expect("a line");
    (row, seen)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_cell_and_element_stands_there_with_its_times_in_whatever_order_writes_land(
        row in any_row(),
        beside: bool,
        order in any::<prop::sample::Index>(),
    ) {
        let layout = layout("k:p,a:r,b:r,m:m,n:m,u:u");
        let columns = Columns::of(&layout);
        let (decoded, expected) = decoded(&layout, &row);
        let mut writes = Vec::new();
        Binder::new(layout.clone(), beside).bind(&decoded, |write| writes.push(write)).expect("a row");
        prop_assert_eq!(writes.iter().map(|write| write.rows).sum::<u32>(), 1);
        let cells: u32 = writes.iter().map(|write| write.cells).sum();
        prop_assert!(cells as usize <= expected.len());
        writes.retain(|write| write.shape != Shape::Marker && write.using.timestamp.is_some());
        let mut model = Model::default();
        if beside {
            // what others wrote stays, where it is newer or elsewhere
            model.put(3, framed("other"), framed("x"), 0, None);
        }
        for _ in 0..2 {
            if !writes.is_empty() {
                let first = order.index(writes.len());
                writes.rotate_left(first);
            }
            for write in &writes {
                model.apply(&layout, &columns, write);
            }
        }
        let mut seen = model.seen();
        if beside {
            prop_assert!(seen.remove(&(3, framed("other"))).is_some());
        }
        prop_assert_eq!(seen, expected);
    }
}
