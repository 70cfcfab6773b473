//! Helpers of the tests of rows: small layouts and rows of them.

use ringvault_proto::v1;

use crate::table::TableLayout;

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
