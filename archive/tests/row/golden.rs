//! `tests/golden/row_lines.jsonl`: raw cells, types, times, and the line and hashes that they give. Written from
//! `FORMAT.md`, not from the encoder; another implementation can check itself against it.

use std::collections::BTreeMap;

use ringvault_archive::{
    row::{CellTime, DecodedRow, ElementTimes, LineKind, RowDecoder, RowEncoder},
    table::TableLayout,
};
use ringvault_proto::v1;
use serde::Deserialize;

/// Writetime and expiry.
type Times = (Option<i64>, Option<i64>);

/// One line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    what: String,
    /// Name to names and types of the fields.
    #[serde(default)]
    user_types: BTreeMap<String, Vec<(String, String)>>,
    /// Name, role, type.
    columns: Vec<(String, String, String)>,
    kind: String,
    /// Hex, by column.
    cells: Vec<Option<String>>,
    #[serde(default)]
    writetimes: Vec<Option<i64>>,
    #[serde(default)]
    expiries: Vec<Option<i64>>,
    /// Column, and of each element writetime and expiry.
    #[serde(default)]
    elements: Vec<(usize, Vec<Option<Times>>)>,
    /// Without the newline.
    line: String,
    hash_values: String,
    hash_times: String,
}

impl Example {
    fn layout(&self) -> TableLayout {
        let column = |(name, role, cql_type): &(String, String, String)| v1::Column {
            name: name.clone(),
            kind: v1::ColumnKind::from_str_name(&format!("COLUMN_KIND_{}", role.to_uppercase()))
                .expect("a role")
                .into(),
            r#type: cql_type.clone(),
            reversed: false,
        };
        let field = |(name, cql_type): &(String, String)| v1::Column {
            name: name.clone(),
            r#type: cql_type.clone(),
            ..v1::Column::default()
        };
        let user_type = |(name, fields): (&String, &Vec<(String, String)>)| v1::UserType {
            name: name.clone(),
            fields: fields.iter().map(field).collect(),
        };
        let message = v1::InspectedTable {
            table: Some(v1::TableName { keyspace: "ks".to_owned(), table: "t".to_owned() }),
            columns: self.columns.iter().map(column).collect(),
            types: self.user_types.iter().map(user_type).collect(),
            ..v1::InspectedTable::default()
        };
        TableLayout::from_message(&message).expect(&self.what)
    }

    fn time(&self, column: usize) -> CellTime {
        let of = |times: &[Option<i64>]| times.get(column).copied().flatten();
        CellTime { writetime: of(&self.writetimes), expiry: of(&self.expiries) }
    }

    fn element_times(&self) -> ElementTimes {
        let mut all = ElementTimes::default();
        let time = |time: (Option<i64>, Option<i64>)| CellTime { writetime: time.0, expiry: time.1 };
        for (column, times) in &self.elements {
            assert_eq!(all.set(*column, times.iter().map(|of| of.map(time))), None, "{}", self.what);
        }
        all
    }
}

#[test]
fn the_golden_lines_are_written_and_read() {
    for (number, text) in include_str!("../golden/row_lines.jsonl").lines().enumerate() {
        let example: Example = serde_json::from_str(text).expect("an example");
        let what = format!("line {}: {}", number + 1, example.what);
        let layout = example.layout();
        let kind = if example.kind == "static" { LineKind::Static } else { LineKind::Row };
        let cells: Vec<Option<Vec<u8>>> =
            example.cells.iter().map(|cell| cell.as_ref().map(|hex| hex::decode(hex).expect("hex"))).collect();
        let raw: Vec<Option<&[u8]>> = cells.iter().map(Option::as_deref).collect();
        let times: Vec<CellTime> = (0..raw.len()).map(|column| example.time(column)).collect();

        let elements = example.element_times();
        let mut line = Vec::new();
        let hash = RowEncoder::new(&layout).encode(kind, &raw, &times, &elements, &mut line).expect(&what).hash();
        assert_eq!(String::from_utf8_lossy(&line), format!("{}\n", example.line), "{what}");
        let hashes = (hex::encode(hash.values), hex::encode(hash.times));
        assert_eq!(hashes, (example.hash_values.clone(), example.hash_times.clone()), "{what}");

        let mut row = DecodedRow::default();
        let decoded = RowDecoder::new(&layout).decode(&line, &mut row).expect(&what).hash();
        assert_eq!((row.kind(), decoded), (kind, hash), "{what}");
        for (index, column) in layout.columns.iter().enumerate() {
            let held = kind.holds(column.role).then_some(raw[index]).flatten();
            assert_eq!(row.cell(index), held, "{what}");
            assert_eq!(row.element_times(index), elements.of(index), "{what}");
            if elements.of(index).is_some() {
                continue;
            }
            let time = if held.is_some() && !column.role.is_key() { times[index] } else { CellTime::default() };
            assert_eq!(row.time(index), time, "{what}");
        }
    }
}
