use ringvault_archive::{
    row::{CellTime, RowDecoder, RowEncoder},
    table::TableLayout,
};
use ringvault_proto::v1;
use scylla_cql_core::frame::types::RawValue;

use super::{bind::*, statements::Shape, *};

/// `name:kind` of each column; kinds are p, c, s, r, and l or sl for a non-frozen list, regular or static. All are int.
pub(super) fn layout(columns: &str) -> TableLayout {
    let column = |text: &str| {
        let (name, kind) = text.split_once(':').expect("fine");
        let (kind, cql_type) = match kind {
            "p" => (v1::ColumnKind::PartitionKey, "int"),
            "c" => (v1::ColumnKind::Clustering, "int"),
            "s" => (v1::ColumnKind::Static, "int"),
            "sl" => (v1::ColumnKind::Static, "list<int>"),
            "l" => (v1::ColumnKind::Regular, "list<int>"),
            _ => (v1::ColumnKind::Regular, "int"),
        };
        v1::Column { name: name.into(), kind: kind.into(), r#type: cql_type.into(), reversed: false }
    };
    let message = v1::InspectedTable {
        table: Some(v1::TableName { keyspace: "ks".into(), table: "t".into() }),
        columns: columns.split(',').map(column).collect(),
        ..Default::default()
    };
    TableLayout::from_message(&message).expect("fine")
}

const NOW: i64 = 1_000;
const RULES: TimeRules = TimeRules { values_only: false, fallback: 42, list_fallback: 77 };

fn time(writetime: i64, expiry: Option<i64>) -> CellTime {
    CellTime { writetime: Some(writetime), expiry }
}

/// A cell of the line: an int or a list of one, or null, and its times.
type Cell = Option<(i32, CellTime)>;

fn decoded(layout: &TableLayout, kind: LineKind, cells: &[Cell]) -> DecodedRow {
    let raw: Vec<Option<Vec<u8>>> = layout
        .columns
        .iter()
        .zip(cells)
        .map(|(column, cell)| {
            let value = (*cell)?.0.to_be_bytes();
            Some(if column.multi_cell { [&[0, 0, 0, 1, 0, 0, 0, 4], &value[..]].concat() } else { value.to_vec() })
        })
        .collect();
    let raw: Vec<Option<&[u8]>> = raw.iter().map(Option::as_deref).collect();
    let times: Vec<CellTime> = cells.iter().map(|cell| cell.map(|(_, time)| time).unwrap_or_default()).collect();
    let mut line = Vec::new();
    RowEncoder::new(layout).encode(kind, &raw, &times, &mut line).expect("fine");
    let mut row = DecodedRow::default();
    RowDecoder::new(layout).decode(&line, &mut row).expect("fine");
    row
}

/// Each write: shape, using, the bound values (`None` is unset), rows completed.
type Shown = (Shape, Option<Using>, Vec<Option<i32>>, u32);

fn bound(columns: &str, kind: LineKind, rules: TimeRules, cells: &[Cell]) -> (Vec<Shown>, Bound) {
    let layout = layout(columns);
    let row = decoded(&layout, kind, cells);
    let mut shown = Vec::new();
    let bound = Binder::new(layout, rules)
        .bind(&row, NOW, |write| {
            let values = write.values.iter().map(|value| match value {
                RawValue::Value(bytes) => Some(i32::from_be_bytes(*bytes.last_chunk().expect("fine"))),
                RawValue::Unset => None,
                RawValue::Null => panic!("a null would be a tombstone"),
            });
            shown.push((write.shape, write.using, values.collect(), write.rows + write.static_rows));
        })
        .expect("fine");
    (shown, bound)
}

fn using(timestamp: i64, expiry: Option<i64>) -> Option<Using> {
    Some(Using { timestamp, expiry })
}

const KEY: Cell = Some((1, CellTime { writetime: None, expiry: None }));

#[test]
fn cells_of_equal_times_are_one_insert_with_nulls_unset() {
    let cells = [KEY, Some((5, time(10, None))), None, Some((7, time(10, None)))];
    let (writes, _) = bound("k:p,a:r,b:r,c:r", LineKind::Row, RULES, &cells);
    assert_eq!(writes, [(Shape::Insert, using(10, None), vec![Some(1), Some(5), None, Some(7)], 1)]);
}

#[test]
fn the_largest_group_is_the_insert_and_each_other_one_an_update() {
    let cells = [
        KEY,
        Some((5, time(10, None))),
        Some((6, time(20, Some(2_000)))),
        Some((7, time(20, Some(2_000)))),
        Some((8, time(10, Some(3_000)))),
    ];
    let (writes, _) = bound("k:p,a:r,b:r,c:r,d:r", LineKind::Row, RULES, &cells);
    assert_eq!(
        writes,
        [
            (Shape::Insert, using(20, Some(2_000)), vec![Some(1), None, Some(6), Some(7), None], 1),
            (Shape::Update, using(10, None), vec![Some(5), None, None, None, Some(1)], 0),
            (Shape::Update, using(10, Some(3_000)), vec![None, None, None, Some(8), Some(1)], 0),
        ]
    );
}

#[test]
fn expired_cells_are_counted_and_a_row_of_nothing_else_is_left_out() {
    let cells = [KEY, Some((5, time(10, Some(NOW)))), Some((6, time(10, Some(NOW + 1))))];
    let (writes, counts) = bound("k:p,a:r,b:r", LineKind::Row, RULES, &cells);
    assert_eq!(writes, [(Shape::Insert, using(10, Some(NOW + 1)), vec![Some(1), None, Some(6)], 1)]);
    assert_eq!(counts, Bound { cells_expired: 1, writes: 1 });
    let cells = [KEY, Some((5, time(10, Some(1)))), Some((6, time(10, Some(2))))];
    let (writes, counts) = bound("k:p,a:r,b:r", LineKind::Row, RULES, &cells);
    assert_eq!((writes.len(), counts), (0, Bound { cells_expired: 2, writes: 0 }));
}

#[test]
fn a_row_of_nothing_but_its_key_is_written_at_the_backups_start_without_a_ttl() {
    let (writes, _) = bound("k:p,a:r", LineKind::Row, RULES, &[KEY, None]);
    assert_eq!(writes, [(Shape::Marker, using(42, None), vec![Some(1)], 1)]);
    let (writes, _) = bound("k:p,c:c", LineKind::Row, RULES, &[KEY, KEY]);
    assert_eq!(writes, [(Shape::Marker, using(42, None), vec![Some(1), Some(1)], 1)]);
}

#[test]
fn a_list_is_a_write_of_its_own_behind_the_rows_marker() {
    let cells = [KEY, Some((9, time(30, Some(5_000)))), None];
    let (writes, _) = bound("k:p,l:l,v:r", LineKind::Row, RULES, &cells);
    assert_eq!(
        writes,
        [
            (Shape::Insert, using(30, Some(5_000)), vec![Some(1), None], 1),
            (Shape::List(1), using(30, Some(5_000)), vec![Some(9), Some(1)], 0),
        ]
    );
}

#[test]
fn a_cell_without_times_takes_the_rows_newest_writetime_and_latest_expiry() {
    let unknown = CellTime::default();
    let cells = [KEY, Some((5, time(10, Some(2_000)))), Some((6, time(20, Some(3_000)))), Some((7, unknown))];
    let (writes, _) = bound("k:p,a:r,b:r,c:r", LineKind::Row, RULES, &cells);
    assert!(writes.iter().any(|write| write.1 == using(20, Some(3_000)) && write.2[2..] == [Some(6), Some(7)]));
    let cells = [KEY, Some((5, time(10, Some(2_000)))), Some((6, time(20, None))), Some((7, unknown))];
    let (writes, _) = bound("k:p,a:r,b:r,c:r", LineKind::Row, RULES, &cells);
    assert_eq!(writes[0].1, using(20, None));
    let (writes, _) = bound("k:p,a:r", LineKind::Row, RULES, &[KEY, Some((5, unknown))]);
    assert_eq!(writes[0].1, using(42, None));
}

#[test]
fn statics_are_inserts_of_the_partition_key_alone() {
    let cells = [KEY, None, Some((5, time(10, None))), Some((6, time(11, None)))];
    let (writes, _) = bound("k:p,c:c,s:s,z:s", LineKind::Static, RULES, &cells);
    assert_eq!(
        writes,
        [
            (Shape::Static, using(10, None), vec![Some(1), Some(5), None], 1),
            (Shape::Static, using(11, None), vec![Some(1), None, Some(6)], 0),
        ]
    );
    let cells = [KEY, None, None, Some((6, time(11, None)))];
    let (writes, _) = bound("k:p,c:c,s:s,z:sl", LineKind::Static, RULES, &cells);
    assert_eq!(writes, [(Shape::List(3), using(11, None), vec![Some(6), Some(1)], 1)]);
}

#[test]
fn without_times_only_a_list_carries_one() {
    let rules = TimeRules { values_only: true, ..RULES };
    let none = CellTime::default();
    let (writes, _) = bound("k:p,l:l,v:r", LineKind::Row, rules, &[KEY, Some((9, none)), Some((5, none))]);
    assert_eq!(
        writes,
        [
            (Shape::Insert, None, vec![Some(1), Some(5)], 1),
            (Shape::List(1), using(77, None), vec![Some(9), Some(1)], 0),
        ]
    );
}

#[test]
fn rows_of_one_partition_are_known_as_such() {
    let layout = layout("k:p,c:c,v:r");
    let mut binder = Binder::new(layout.clone(), RULES);
    let mut partitions = Vec::new();
    for (key, clustering) in [(1, 1), (1, 2), (2, 1), (1, 1)] {
        let cells =
            [Some((key, CellTime::default())), Some((clustering, CellTime::default())), Some((0, time(1, None)))];
        binder
            .bind(&decoded(&layout, LineKind::Row, &cells), NOW, |w| partitions.push((w.partition, w.token)))
            .expect("fine");
    }
    let ids: Vec<u64> = partitions.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [1, 1, 2, 3]);
    assert_eq!(partitions[0].1, partitions[3].1);
}
