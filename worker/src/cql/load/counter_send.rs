//! Brings counters to what the backup holds: read, add the difference, read again.
//!
//! An increment can't be repeated: after an answer that leaves it open, or under a later epoch of the lease, whatever was under
//! way is given time to land, and what stands there is read from all replicas before anything more is added.

use std::sync::Mutex;

use ringvault_archive::{
    row::LineKind,
    table::{ColumnLayout, ColumnRole, TableLayout},
};
use scylla::{
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
    LoadCounts,
    counter::CounterRow,
    read::{Beside, reading},
    send::{Sender, Trouble, lock},
    window::Window,
};
use crate::cql::{
    Cluster,
    errors::{Error, Result, Values},
    pace::Cost,
    quoted,
};

/// Rounds of adding and reading before a counter is taken for one that somebody else changes.
const ROUNDS_MAX: u32 = 6;

/// Reading and adding, for one kind of line.
#[derive(Debug)]
struct Pair {
    read: PreparedStatement,
    add: PreparedStatement,
}

/// The statements of a counter table.
#[derive(Debug)]
pub(super) struct CounterStatements {
    rows: Option<Pair>,
    statics: Option<Pair>,
}

impl CounterStatements {
    pub(super) async fn prepare(cluster: &Cluster, layout: &TableLayout, consistency: Consistency) -> Result<Self> {
        Ok(Self {
            rows: Pair::prepare(cluster, layout, ColumnRole::Regular, consistency).await?,
            statics: Pair::prepare(cluster, layout, ColumnRole::Static, consistency).await?,
        })
    }

    fn of(&self, kind: LineKind) -> Option<&Pair> {
        match kind {
            LineKind::Row => self.rows.as_ref(),
            LineKind::Static => self.statics.as_ref(),
        }
    }
}

/// Text of the reading and the adding statement for columns of this role; nothing where there are none.
fn texts(layout: &TableLayout, role: ColumnRole) -> Option<(String, String)> {
    let names = |wanted: &dyn Fn(&ColumnLayout) -> bool| -> Vec<String> {
        layout.columns.iter().filter(|column| wanted(column)).map(|column| quoted(&column.name)).collect()
    };
    let counters = names(&|column| column.role == role);
    if counters.is_empty() {
        return None;
    }
    let kind = if role == ColumnRole::Regular { LineKind::Row } else { LineKind::Static };
    let key = names(&|c| c.role.is_key() && kind.holds(c.role));
    let table = format!("{}.{}", quoted(&layout.keyspace), quoted(&layout.table));
    let found: Vec<String> = key.iter().map(|name| format!("{name} = ?")).collect();
    let added: Vec<String> = counters.iter().map(|name| format!("{name} = {name} + ?")).collect();
    Some((
        reading(layout, kind, &counters),
        format!("UPDATE {table} SET {} WHERE {}", added.join(", "), found.join(" AND ")),
    ))
}

impl Pair {
    async fn prepare(
        cluster: &Cluster,
        layout: &TableLayout,
        role: ColumnRole,
        consistency: Consistency,
    ) -> Result<Option<Self>> {
        let Some((read, add)) = texts(layout, role) else { return Ok(None) };
        let what = format!("preparing the counters of {}.{}", layout.keyspace, layout.table);
        let mut read = cluster.prepare(&what, &read).await?;
        let mut add = cluster.prepare(&what, &add).await?;
        read.set_is_idempotent(true);
        add.set_is_idempotent(false);
        for statement in [&mut read, &mut add] {
            statement.set_consistency(consistency);
            statement.set_retry_policy(Some(std::sync::Arc::new(FallthroughRetryPolicy::new())));
        }
        Ok(Some(Self { read, add }))
    }
}

impl Sender {
    /// Brings the counters of one line to their targets.
    pub(super) async fn send_counter(&self, row: CounterRow, window: &Mutex<Window>) -> Result<LoadCounts> {
        let Some(pair) = self.counters.as_ref().and_then(|statements| statements.of(row.kind)) else {
            return Err(Error::internal(format!("{}: no counters were prepared", self.what([row.token].into_iter()))));
        };
        let mut counts = match row.kind {
            LineKind::Row => LoadCounts { rows: 1, ..LoadCounts::default() },
            LineKind::Static => LoadCounts { static_rows: 1, ..LoadCounts::default() },
        };
        self.pace.take(Cost { rows: 1, bytes: row.bytes() as u64 }).await;
        let mut trouble = Trouble::default();
        let mut in_doubt = self.epoch > 1; // an earlier holder may have added already
        let mut rounds = 0;
        loop {
            let limit = lock(window).limit();
            let current = match self.read_counters(pair, &row, in_doubt).await {
                Ok(current) => current,
                Err(error) => {
                    self.pause(error, &mut trouble, window, limit).await?;
                    counts.retries += 1;
                    continue;
                }
            };
            if rounds == 0 && self.reads.beside == Beside::Untouchable && row.is_another(&current) {
                counts.rows_skipped += 1;
                return Ok(counts);
            }
            let Some(add) = row.missing(&current) else { return Ok(counts) };
            if rounds > 0 && !in_doubt {
                in_doubt = true; // what was acknowledged is not there: nothing is added before all replicas were asked
                continue;
            }
            if rounds == ROUNDS_MAX {
                return Err(Error::conflict(format!(
                    "{}: a counter does not stay at what was restored; stop the writers of the table and start again",
                    self.what([row.token].into_iter())
                )));
            }
            rounds += 1;
            match self.add_counters(pair, &row, &add).await {
                Ok(()) => {
                    lock(window).succeeded();
                    in_doubt = false;
                }
                Err(error) => {
                    let unknown = error.reason().leaves_writes_unknown();
                    self.pause(error, &mut trouble, window, limit).await?;
                    counts.retries += 1;
                    if unknown {
                        tokio::time::sleep(self.landing_time).await;
                        in_doubt = true;
                    } else {
                        rounds -= 1;
                    }
                }
            }
        }
    }

    async fn read_counters(&self, pair: &Pair, row: &CounterRow, from_all: bool) -> Result<Vec<Option<i64>>> {
        let level = from_all.then_some(Consistency::All);
        let Some(cells) = self.read_row(&pair.read, row.token, &row.key, level).await? else { return Ok(Vec::new()) };
        let counter = |cell: Option<Vec<u8>>| {
            let damaged =
                |_| Error::internal(format!("{}: a counter is not 8 bytes", self.what([row.token].into_iter())));
            cell.map(|cell| <[u8; 8]>::try_from(cell).map(i64::from_be_bytes).map_err(damaged)).transpose()
        };
        cells.into_iter().map(counter).collect()
    }

    async fn add_counters(&self, pair: &Pair, row: &CounterRow, add: &[Option<i64>]) -> Result<()> {
        let mut statement = pair.add.clone();
        let (nodes, place) = self.place_at(row.token).await;
        statement.set_load_balancing_policy(Some(nodes));
        let values = CounterValues { first: add, key: &row.key };
        let answer = self.cluster.session().execute_unpaged(&statement, &values).await;
        let what = || self.what([row.token].into_iter());
        place.leave(answer.map(|_| ()).map_err(|error| Error::of_execution(&what(), &error, Values::Cells)))
    }
}

/// Increments, unset where there is none, then raw key cells.
struct CounterValues<'a> {
    first: &'a [Option<i64>],
    key: &'a [Vec<u8>],
}

impl SerializeRow for CounterValues<'_> {
    fn serialize(
        &self,
        _context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        for add in self.first {
            let cell = writer.make_cell_writer();
            match add {
                Some(add) => cell.set_value(&add.to_be_bytes()).map_err(SerializationError::new)?,
                None => cell.set_unset(),
            };
        }
        for cell in self.key {
            writer.make_cell_writer().set_value(cell).map_err(SerializationError::new)?;
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cql::load::tests::layout;

    #[test]
    fn rows_and_statics_are_read_and_added_to_apart() {
        let layout = layout("k:p,c:c,s:s,v:r,w:r");
        let (read, add) = texts(&layout, ColumnRole::Regular).expect("fine");
        assert_eq!(read, r#"SELECT "v", "w" FROM "ks"."t" WHERE "k" = ? AND "c" = ?"#);
        assert_eq!(add, r#"UPDATE "ks"."t" SET "v" = "v" + ?, "w" = "w" + ? WHERE "k" = ? AND "c" = ?"#);
        let (read, add) = texts(&layout, ColumnRole::Static).expect("fine");
        assert_eq!(read, r#"SELECT "s" FROM "ks"."t" WHERE "k" = ? LIMIT 1"#);
        assert_eq!(add, r#"UPDATE "ks"."t" SET "s" = "s" + ? WHERE "k" = ?"#);
    }
}
