use ringvault_archive::{
    row::{CellTime, DecodedRow, ElementTimes, LineKind, RowDecoder, RowEncoder},
    table::TableLayout,
};
use ringvault_proto::v1;
use scylla_cql_core::frame::types::RawValue;

use super::{bind::*, group::Using, statements::Shape};

/// `name:kind` of each column; kinds are p, c, s, r for ints, and l, m, u (with an s in front: static) for a non-frozen list,
/// map and user type.
pub(super) fn layout(columns: &str) -> TableLayout {
    let column = |text: &str| {
        let (name, kind) = text.split_once(':').expect("fine");
        let (kind, cql_type) = match kind {
            "p" => (v1::ColumnKind::PartitionKey, "int"),
            "c" => (v1::ColumnKind::Clustering, "int"),
            "s" => (v1::ColumnKind::Static, "int"),
            "sl" => (v1::ColumnKind::Static, "list<int>"),
            "sm" => (v1::ColumnKind::Static, "map<text, text>"),
            "l" => (v1::ColumnKind::Regular, "list<int>"),
            "m" => (v1::ColumnKind::Regular, "map<text, text>"),
            "u" => (v1::ColumnKind::Regular, "pair"),
            _ => (v1::ColumnKind::Regular, "int"),
        };
        v1::Column { name: name.into(), kind: kind.into(), r#type: cql_type.into(), reversed: false }
    };
    let field = |name: &str| v1::Column { name: name.into(), r#type: "text".into(), ..Default::default() };
    let message = v1::InspectedTable {
        table: Some(v1::TableName { keyspace: "ks".into(), table: "t".into() }),
        columns: columns.split(',').map(column).collect(),
        types: vec![v1::UserType { name: "pair".into(), fields: vec![field("a"), field("B")] }],
        ..Default::default()
    };
    TableLayout::from_message(&message).expect("fine")
}

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
    RowEncoder::new(layout).encode(kind, &raw, &times, &ElementTimes::NONE, &mut line).expect("fine");
    let mut row = DecodedRow::default();
    RowDecoder::new(layout).decode(&line, &mut row).expect("fine");
    row
}

/// Each write: shape, using, the bound values (`None` is unset; of a list its last element), rows completed.
type Shown = (Shape, Using, Vec<Option<i32>>, u32);

fn bound(columns: &str, kind: LineKind, cells: &[Cell]) -> Vec<Shown> {
    let layout = layout(columns);
    let row = decoded(&layout, kind, cells);
    let mut shown = Vec::new();
    let writes = Binder::new(layout, false)
        .bind(&row, |write| {
            let values = write.values.iter().map(|value| match value {
                RawValue::Value(bytes) => Some(i32::from_be_bytes(*bytes.last_chunk().expect("fine"))),
                RawValue::Unset => None,
                RawValue::Null => panic!("a null would be a tombstone"),
            });
            shown.push((write.shape, write.using, values.collect(), write.rows + write.static_rows));
        })
        .expect("fine");
    assert_eq!(writes, shown.len());
    shown
}

fn using(timestamp: i64, expiry: Option<i64>) -> Using {
    Using { timestamp: Some(timestamp), expiry }
}

const KEY: Cell = Some((1, CellTime { writetime: None, expiry: None }));

#[test]
fn cells_of_equal_times_are_one_insert_with_nulls_unset() {
    let cells = [KEY, Some((5, time(10, None))), None, Some((7, time(10, None)))];
    let writes = bound("k:p,a:r,b:r,c:r", LineKind::Row, &cells);
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
    let writes = bound("k:p,a:r,b:r,c:r,d:r", LineKind::Row, &cells);
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
fn a_row_of_nothing_but_its_key_is_a_marker_without_times_of_its_own() {
    let writes = bound("k:p,a:r", LineKind::Row, &[KEY, None]);
    assert_eq!(writes, [(Shape::Marker, Using::default(), vec![Some(1)], 1)]);
    let writes = bound("k:p,c:c", LineKind::Row, &[KEY, KEY]);
    assert_eq!(writes, [(Shape::Marker, Using::default(), vec![Some(1), Some(1)], 1)]);
}

#[test]
fn a_list_is_a_write_of_its_own_behind_the_rows_marker() {
    let cells = [KEY, Some((9, time(30, Some(5_000)))), None];
    let writes = bound("k:p,l:l,v:r", LineKind::Row, &cells);
    assert_eq!(
        writes,
        [
            (Shape::Insert, using(30, Some(5_000)), vec![Some(1), None], 1),
            (Shape::List(1), using(30, Some(5_000)), vec![Some(9), Some(1)], 0),
        ]
    );
}

#[test]
fn statics_are_inserts_of_the_partition_key_alone() {
    let cells = [KEY, None, Some((5, time(10, None))), Some((6, time(11, None)))];
    let writes = bound("k:p,c:c,s:s,z:s", LineKind::Static, &cells);
    assert_eq!(
        writes,
        [
            (Shape::Static, using(10, None), vec![Some(1), Some(5), None], 1),
            (Shape::Static, using(11, None), vec![Some(1), None, Some(6)], 0),
        ]
    );
    let cells = [KEY, None, None, Some((6, time(11, None)))];
    let writes = bound("k:p,c:c,s:s,z:sl", LineKind::Static, &cells);
    assert_eq!(writes, [(Shape::List(3), using(11, None), vec![Some(6), Some(1)], 1)]);
}

#[test]
fn cells_that_the_server_times_are_one_insert() {
    let none = CellTime::default();
    let writes = bound("k:p,l:l,v:r", LineKind::Row, &[KEY, Some((9, none)), Some((5, none))]);
    assert_eq!(
        writes,
        [
            (Shape::Insert, Using::default(), vec![Some(1), Some(5)], 1),
            (Shape::List(1), Using::default(), vec![Some(9), Some(1)], 0),
        ]
    );
}

#[test]
fn rows_of_one_partition_are_known_as_such() {
    let layout = layout("k:p,c:c,v:r");
    let mut binder = Binder::new(layout.clone(), false);
    let mut partitions = Vec::new();
    for (key, clustering) in [(1, 1), (1, 2), (2, 1), (1, 1)] {
        let cells =
            [Some((key, CellTime::default())), Some((clustering, CellTime::default())), Some((0, time(1, None)))];
        binder
            .bind(&decoded(&layout, LineKind::Row, &cells), |w| partitions.push((w.partition, w.token)))
            .expect("fine");
    }
    let ids: Vec<u64> = partitions.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [1, 1, 2, 3]);
    assert_eq!(partitions[0].1, partitions[3].1);
}

/// Writes of a line as text: `shape @timestamp[!expiry] value,…`, a text's or a collection's bytes without their lengths, `-` for
/// unset.
fn shown(columns: &str, line: &str, beside: bool) -> Vec<String> {
    let layout = layout(columns);
    let mut row = DecodedRow::default();
    RowDecoder::new(&layout).decode(line.as_bytes(), &mut row).expect("a line");
    let mut shown = Vec::new();
    Binder::new(layout, beside)
        .bind(&row, |write| {
            let values = write.values.iter().map(|value| match value {
                RawValue::Value(bytes) => {
                    bytes.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(|byte| char::from(*byte)).collect()
                }
                RawValue::Unset => "-".to_owned(),
                RawValue::Null => panic!("a null would be a tombstone"),
            });
            let values: Vec<String> = values.collect();
            let timestamp = write.using.timestamp.map(|at| at.to_string()).unwrap_or_default();
            let expiry = write.using.expiry.map(|at| format!("!{at}")).unwrap_or_default();
            let (shape, rows) = (write.shape, write.rows + write.static_rows);
            let done = if rows == 1 { " done" } else { "" };
            shown.push(format!("{shape:?} @{timestamp}{expiry} {}{done}", values.join(",")));
        })
        .expect("fine");
    shown
}

const ROW: &str = r#"{"k":1,"m":{"a":"x","b":"y","c":"z"},"u":{"a":"p","B":"q"},"v":2"#;

#[test]
fn elements_that_differ_in_their_times_are_added_group_by_group_and_never_assigned() {
    let times = r#","$":{"w":5,"c":{"m":{"e":[[7],[8,99],[7]]},"u":{"e":[[5],[7]]}}}}"#;
    assert_eq!(
        shown("k:p,m:m,u:u,v:r", &format!("{ROW}{times}"), false),
        ["Insert @5 ,-,-, done", "Add(Row) @7 axcz,-,q,", "Add(Row) @8!99 by,-,-,", "Add(Row) @5 -,p,-,",]
    );
}

#[test]
fn a_row_of_nothing_but_such_elements_has_the_marker_of_most_of_them() {
    let line = r#"{"k":1,"m":{"a":"x","b":"y","c":"z"},"$":{"c":{"m":{"e":[[7],[8,99],[8,99]]}}}}"#;
    assert_eq!(shown("k:p,m:m", line, false), ["Insert @8!99 ,- done", "Add(Row) @7 ax,", "Add(Row) @8!99 bycz,"]);
}

#[test]
fn elements_of_one_time_are_assigned_where_nothing_else_stands_and_added_where_it_may() {
    let line = format!("{ROW},\"$\":{{\"w\":5}}}}");
    assert_eq!(shown("k:p,m:m,u:u,v:r", &line, false), ["Insert @5 ,axbycz,pq, done"]);
    assert_eq!(shown("k:p,m:m,u:u,v:r", &line, true), ["Insert @5 ,-,-, done", "Add(Row) @5 axbycz,p,q,"]);
    let nulls = r#"{"k":1,"u":{"a":null,"B":"q"},"$":{"w":5}}"#;
    assert_eq!(shown("k:p,u:u", nulls, true), ["Insert @5 ,- done", "Add(Row) @5 -,q,"]);
}

#[test]
fn static_elements_are_added_to_the_partition() {
    let line = r#"{"k":1,"sm":{"a":"x","b":"y"},"$":{"c":{"sm":{"e":[[7],[8]]}}}}"#;
    assert_eq!(shown("k:p,c:c,sm:sm", line, false), ["Add(Static) @7 ax, done", "Add(Static) @8 by,"]);
}
