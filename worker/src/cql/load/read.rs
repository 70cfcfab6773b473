//! What is read of the table before it is written over: whole rows where only missing ones are written, lists where others
//! may stand there.

use std::collections::HashMap;

use ringvault_archive::{
    row::LineKind,
    table::{ColumnRole, TableLayout},
};
use ringvault_proto::error::ErrorKind;
use scylla::{
    deserialize::row::ColumnIterator,
    frame::types::Consistency,
    policies::retry::FallthroughRetryPolicy,
    serialize::{
        SerializationError,
        row::{RowSerializationContext, SerializeRow},
        writers::RowWriter,
    },
    statement::prepared::PreparedStatement,
};

use super::{
    columns::{Columns, is_list, role_of},
    send::Sender,
    statements::kind_of,
};
use crate::cql::{
    Cluster,
    errors::{Error, Result, Values},
    quoted,
    rows::Question,
};

/// Raw cells of a row that was read.
pub(super) type RawCells = Vec<Option<Vec<u8>>>;

/// What may stand in the table beside what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// Nothing but what this job writes.
    Nothing,
    /// Other rows, other cells: they stay, as far as they are newer.
    Others,
    /// The same, and rows that hold anything else are left alone.
    Untouchable,
}

/// The statements that read before something is written.
#[derive(Debug)]
pub(super) struct Reads {
    pub(super) beside: Beside,
    consistency: Consistency,
    rows: Option<PreparedStatement>,
    statics: Option<PreparedStatement>,
    lists: HashMap<usize, ListRead>,
}

/// Reads one list, and its newest writetime where the server tells it.
#[derive(Debug)]
struct ListRead {
    statement: PreparedStatement,
    tells_newest: bool,
}

/// What stands where a list is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListThere {
    pub(super) cell: Option<Vec<u8>>,
    /// Newest writetime of its elements, in microseconds.
    pub(super) newest_us: Option<i64>,
}

impl Reads {
    pub(super) async fn prepare(
        cluster: &Cluster,
        layout: &TableLayout,
        beside: Beside,
        consistency: Consistency,
    ) -> Result<Self> {
        // what is no level of a read
        let consistency = match consistency {
            Consistency::EachQuorum | Consistency::Any => Consistency::Quorum,
            other => other,
        };
        let mut reads = Self { beside, consistency, rows: None, statics: None, lists: HashMap::new() };
        if beside == Beside::Nothing || layout.counter {
            return Ok(reads);
        }
        let what = format!("preparing to read what stands in {}.{}", layout.keyspace, layout.table);
        for (index, column) in layout.columns.iter().enumerate().filter(|(_, column)| is_list(column)) {
            let kind = kind_of(layout, index);
            let name = quoted(&column.name);
            let with_newest = reading(layout, kind, &[name.clone(), format!("maxwritetime({name})")]);
            let (cql, tells_newest) = match cluster.prepare(&what, &with_newest).await {
                Ok(_) => (with_newest, true),
                Err(error) if error.kind() == ErrorKind::Invalid => (reading(layout, kind, &[name]), false),
                Err(error) => return Err(error),
            };
            let statement = prepared(cluster, &what, &cql).await?;
            reads.lists.insert(index, ListRead { statement, tells_newest });
        }
        if beside == Beside::Untouchable {
            let others = others(cluster, layout).await?;
            reads.rows = Some(prepared(cluster, &what, &all_of(layout, LineKind::Row, &others)).await?);
            if layout.has_statics() {
                reads.statics = Some(prepared(cluster, &what, &all_of(layout, LineKind::Static, &others)).await?);
            }
        }
        Ok(reads)
    }
}

async fn prepared(cluster: &Cluster, what: &str, cql: &str) -> Result<PreparedStatement> {
    let mut statement = cluster.prepare(what, cql).await?;
    statement.set_is_idempotent(true);
    statement.set_retry_policy(Some(std::sync::Arc::new(FallthroughRetryPolicy::new())));
    Ok(statement)
}

/// Columns of the table that the backup doesn't have, with their roles.
async fn others(cluster: &Cluster, layout: &TableLayout) -> Result<Vec<(String, ColumnRole)>> {
    let what = format!("reading the columns of {}.{}", layout.keyspace, layout.table);
    let cql = "SELECT column_name, kind FROM system_schema.columns WHERE keyspace_name = ? AND table_name = ?";
    let values = (layout.keyspace.as_str(), layout.table.as_str());
    let rows: Vec<(String, String)> = Question::new(&what, cql).ask(cluster.session(), values).await?;
    let other = |(name, kind): (String, String)| match kind.as_str() {
        _ if layout.column(&name).is_some() => None,
        "static" => Some((name, ColumnRole::Static)),
        "regular" => Some((name, ColumnRole::Regular)),
        _ => None,
    };
    Ok(rows.into_iter().filter_map(other).collect())
}

/// A statement that selects `terms` of the line with a key.
pub(super) fn reading(layout: &TableLayout, kind: LineKind, terms: &[String]) -> String {
    let name = |column: &usize| quoted(&layout.columns[*column].name);
    let columns = Columns::of(layout);
    let found: Vec<String> = columns.key_of(kind).iter().map(|column| format!("{} = ?", name(column))).collect();
    // statics come once with every row of the partition: one is enough
    let once = if kind == LineKind::Static { " LIMIT 1" } else { "" };
    let table = format!("{}.{}", quoted(&layout.keyspace), quoted(&layout.table));
    format!("SELECT {} FROM {table} WHERE {}{once}", terms.join(", "), found.join(" AND "))
}

/// Reads a cell of the key, which tells that the line is there, every cell that lines of this kind have in the backup, and
/// what else the table has.
fn all_of(layout: &TableLayout, kind: LineKind, others: &[(String, ColumnRole)]) -> String {
    let role = role_of(kind);
    let own = layout.columns.iter().filter(|column| column.role == role).map(|column| quoted(&column.name));
    let others = others.iter().filter(|(_, other)| *other == role).map(|(name, _)| quoted(name));
    let first = layout.columns.first().map(|column| quoted(&column.name));
    reading(layout, kind, &first.into_iter().chain(own).chain(others).collect::<Vec<_>>())
}

impl Sender {
    /// What stands where a list is to be written.
    pub(super) async fn read_list(&self, list: usize, token: i64, key: &[Vec<u8>]) -> Result<ListThere> {
        let nothing = ListThere { cell: None, newest_us: None };
        let Some(read) = self.reads.lists.get(&list) else { return Ok(nothing) };
        let Some(mut cells) = self.read_row(&read.statement, token, key, None).await? else { return Ok(nothing) };
        let newest = cells.get_mut(1).and_then(Option::take).filter(|_| read.tells_newest);
        let newest_us = newest.and_then(|cell| Some(i64::from_be_bytes(cell.try_into().ok()?)));
        Ok(ListThere { cell: cells.into_iter().next().flatten(), newest_us })
    }

    /// The cells that stand in the place of a line: those of the backup's columns, in their order, and then those of others.
    /// Nothing where there is no such row.
    pub(super) async fn read_line(&self, kind: LineKind, token: i64, key: &[Vec<u8>]) -> Result<Option<RawCells>> {
        let statement = match kind {
            LineKind::Row => &self.reads.rows,
            LineKind::Static => &self.reads.statics,
        };
        let Some(statement) = statement else {
            return Err(Error::internal(format!("{}: no reading was prepared", self.what_read([token].into_iter()))));
        };
        let cells = self.read_row(statement, token, key, None).await?;
        Ok(cells.map(|mut cells| cells.split_off(1.min(cells.len()))))
    }

    /// One row by its key, at this level or at that of reads.
    pub(super) async fn read_row(
        &self,
        statement: &PreparedStatement,
        token: i64,
        key: &[Vec<u8>],
        level: Option<Consistency>,
    ) -> Result<Option<RawCells>> {
        let what = || self.what_read([token].into_iter());
        let mut read = statement.clone();
        let (nodes, place) = self.place_at(token).await;
        read.set_load_balancing_policy(Some(nodes));
        read.set_consistency(level.unwrap_or(self.reads.consistency));
        let answer = self.cluster.session().execute_unpaged(&read, &Key(key)).await;
        let answer = place.leave(answer.map_err(|error| Error::of_execution(&what(), &error, Values::Cells)))?;
        let rows = answer.into_rows_result().map_err(|error| Error::of_answer(&what(), error))?;
        let mut found = rows.rows::<ColumnIterator<'_, '_>>().map_err(|error| Error::of_answer(&what(), error))?;
        let Some(columns) = found.next() else { return Ok(None) };
        let columns = columns.map_err(|error| Error::of_answer(&what(), error))?;
        let cell = |column: Result<scylla::deserialize::row::RawColumn<'_, '_>, _>| {
            let column =
                column.map_err(|error: scylla::errors::DeserializationError| Error::of_answer(&what(), error))?;
            Ok(column.slice.map(|slice| slice.as_slice().to_vec()))
        };
        columns.map(cell).collect::<Result<_>>().map(Some)
    }

    fn what_read(&self, tokens: impl Iterator<Item = i64> + Clone) -> String {
        self.what(tokens).replacen("writing", "reading before writing", 1)
    }
}

/// Raw key cells as bound values.
struct Key<'a>(&'a [Vec<u8>]);

impl SerializeRow for Key<'_> {
    fn serialize(
        &self,
        _context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        for cell in self.0 {
            writer.make_cell_writer().set_value(cell).map_err(SerializationError::new)?;
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cql::load::tests::layout;

    #[test]
    fn rows_and_statics_are_read_with_what_else_the_table_has() {
        let layout = layout("k:p,c:c,s:s,v:r,l:l");
        let others = [("x".to_owned(), ColumnRole::Regular), ("y".to_owned(), ColumnRole::Static)];
        assert_eq!(
            all_of(&layout, LineKind::Row, &others),
            r#"SELECT "k", "v", "l", "x" FROM "ks"."t" WHERE "k" = ? AND "c" = ?"#
        );
        assert_eq!(
            all_of(&layout, LineKind::Static, &others),
            r#"SELECT "k", "s", "y" FROM "ks"."t" WHERE "k" = ? LIMIT 1"#
        );
    }
}
