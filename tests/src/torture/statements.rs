//! Random writes of one table: inserts, updates, deletions, single elements and fields, counters.
//!
//! They go to a few partitions and rows again and again, so that each row has a past; and once to many others.

use anyhow::{Context, Result};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

use super::schema::{Column, Kind, Role, Schema, Table};
use super::values::Use;
use crate::cql::{Cell, Cells, qualified, quote};
use crate::samples::bytes::{bigint, int, list, map};

/// Writes to the few rows, and to others.
const WRITES_TO_FEW: u64 = 120;
const WRITES_TO_OTHERS: u64 = 60;
/// Keys of the few.
const FEW_PARTITIONS: usize = 4;
const FEW_ROWS: usize = 4;
/// Timestamps lie here, in steps that are rarely equal; newer than all of them is what the server's clock says.
const FIRST_WRITETIME_US: i64 = 1_600_000_000_000_000;
const WRITETIMES: i64 = 40;
const DAY_S: i32 = 86_400;

/// One statement with what is bound to it.
struct Statement {
    text: String,
    bound: Vec<Cell>,
    /// It may be refused for what is stored: an index beyond the end of a list.
    may_be_refused: bool,
}

pub(super) struct Writer<'a> {
    session: &'a Session,
    name: String,
    schema: &'a Schema,
    table: &'a Table,
    random: &'a mut StdRng,
    partitions: Vec<Vec<Vec<u8>>>,
    rows: Vec<Vec<Vec<u8>>>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        session: &'a Session,
        keyspace: &str,
        schema: &'a Schema,
        table: &'a Table,
        random: &'a mut StdRng,
    ) -> Self {
        let mut key = |role| -> Vec<Vec<u8>> {
            table.of(role).iter().map(|column| schema.value(&column.kind, Use::Key, random)).collect()
        };
        let partitions = (0..FEW_PARTITIONS).map(|_| key(Role::Partition)).collect();
        let rows = (0..FEW_ROWS).map(|_| key(Role::Clustering)).collect();
        Self { session, name: qualified(keyspace, &table.name), schema, table, random, partitions, rows }
    }

    /// Writes all; how many statements that took.
    pub(super) async fn write(&mut self) -> Result<u64> {
        for number in 0..WRITES_TO_FEW + WRITES_TO_OTHERS {
            let few = number < WRITES_TO_FEW;
            let (partition, row) =
                if few { self.few() } else { (self.key(Role::Partition), self.key(Role::Clustering)) };
            let statement = match self.random.random_range(0..20) {
                _ if self.table.counter => self.count(&partition, &row),
                0..6 => self.insert(&partition, &row),
                6..8 => self.update(&partition, &row, Role::Regular),
                8 => self.update(&partition, &row, Role::Static),
                9 => self.delete_columns(&partition, &row),
                10 if few => self.delete_rows(&partition, &row),
                _ => self.change_element(&partition, &row),
            };
            if let Some(statement) = statement {
                self.run(statement).await?;
            }
        }
        Ok(WRITES_TO_FEW + WRITES_TO_OTHERS)
    }

    async fn run(&self, statement: Statement) -> Result<()> {
        let Statement { text, bound, may_be_refused } = statement;
        let prepared = self.session.prepare(text.as_str()).await.with_context(|| format!("prepare {text}"))?;
        let done = self.session.execute_unpaged(&prepared, Cells(bound.clone())).await;
        match done {
            Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, _)))
                if may_be_refused =>
            {
                Ok(())
            }
            other => other.map(drop).with_context(|| format!("run {text} with {bound:?}")),
        }
    }

    fn few(&mut self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let pick = |from: &[Vec<Vec<u8>>], random: &mut StdRng| from.choose(random).cloned().unwrap_or_default();
        (pick(&self.partitions, self.random), pick(&self.rows, self.random))
    }

    fn key(&mut self, role: Role) -> Vec<Vec<u8>> {
        let columns = self.table.of(role);
        columns.iter().map(|column| self.schema.value(&column.kind, Use::Key, self.random)).collect()
    }

    fn value(&mut self, column: &Column) -> Cell {
        let usage = if column.multi_cell() { Use::Part } else { Use::Cell };
        self.schema.value(&column.kind, usage, self.random).into()
    }

    /// Some columns of a role, at least `least` of them if there are so many.
    fn some(&mut self, role: Role, least: usize) -> Vec<&'a Column> {
        let mut columns = self.table.of(role);
        columns.shuffle(self.random);
        let most = columns.len();
        columns.truncate(self.random.random_range(least.min(most)..=most));
        columns
    }

    /// `USING …` with what is bound in it.
    fn using(&mut self, with_ttl: bool) -> (String, Vec<Cell>) {
        let (mut parts, mut bound) = (Vec::new(), Vec::new());
        if self.random.random_bool(0.8) {
            parts.push("TIMESTAMP ?");
            let time = FIRST_WRITETIME_US + 1000 * self.random.random_range(0..WRITETIMES);
            bound.push(bigint(time).into());
        }
        let forever = self.table.default_ttl && self.random.random_bool(0.3);
        if with_ttl && (forever || self.random.random_bool(0.25)) {
            parts.push("TTL ?");
            let ttl = if forever { 0 } else { DAY_S + 3600 * self.random.random_range(0..100) };
            bound.push(int(ttl).into());
        }
        let text = if parts.is_empty() { String::new() } else { format!(" USING {}", parts.join(" AND ")) };
        (text, bound)
    }

    /// `"a" = ? AND "b" = ?`, and what is bound.
    fn of_key(&self, role: Role, key: &[Vec<u8>]) -> (Vec<String>, Vec<Cell>) {
        let parts = self.table.of(role).iter().map(|column| format!("{} = ?", quote(&column.name))).collect();
        (parts, key.iter().cloned().map(Cell::Raw).collect())
    }

    fn whole_key(&self, partition: &[Vec<u8>], row: &[Vec<u8>], role: Role) -> (String, Vec<Cell>) {
        let (mut parts, mut bound) = self.of_key(Role::Partition, partition);
        if role != Role::Static {
            let (more_parts, more_bound) = self.of_key(Role::Clustering, row);
            parts.extend(more_parts);
            bound.extend(more_bound);
        }
        (parts.join(" AND "), bound)
    }

    /// Any columns, none at all too; now and then nulls; statics together with a row.
    fn insert(&mut self, partition: &[Vec<u8>], row: &[Vec<u8>]) -> Option<Statement> {
        let mut columns: Vec<&Column> = self.table.of(Role::Partition);
        columns.extend(self.table.of(Role::Clustering));
        let mut bound: Vec<Cell> = partition.iter().chain(row).cloned().map(Cell::Raw).collect();
        let mut others = self.some(Role::Regular, 0);
        if self.random.random_bool(0.2) {
            others.extend(self.some(Role::Static, 0));
        }
        for column in others {
            columns.push(column);
            let value = if self.random.random_bool(0.05) { Cell::Null } else { self.value(column) };
            bound.push(value);
        }
        let names: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
        let marks = vec!["?"; names.len()].join(", ");
        let (using, more) = self.using(true);
        bound.extend(more);
        let text = format!("INSERT INTO {} ({}) VALUES ({marks}){using}", self.name, names.join(", "));
        Some(Statement { text, bound, may_be_refused: false })
    }

    /// Without a row marker.
    fn update(&mut self, partition: &[Vec<u8>], row: &[Vec<u8>], role: Role) -> Option<Statement> {
        let columns = self.some(role, 1);
        let (using, mut bound) = self.using(true);
        let mut sets = Vec::new();
        for column in &columns {
            sets.push(format!("{} = ?", quote(&column.name)));
            let value = self.value(column);
            bound.push(value);
        }
        let (key, more) = self.whole_key(partition, row, role);
        bound.extend(more);
        let text = format!("UPDATE {}{using} SET {} WHERE {key}", self.name, sets.join(", "));
        (!columns.is_empty()).then_some(Statement { text, bound, may_be_refused: false })
    }

    fn delete_columns(&mut self, partition: &[Vec<u8>], row: &[Vec<u8>]) -> Option<Statement> {
        let role = if self.random.random_bool(0.3) { Role::Static } else { Role::Regular };
        let columns = self.some(role, 1);
        let names: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
        let (using, mut bound) = self.using(false);
        let (key, more) = self.whole_key(partition, row, role);
        bound.extend(more);
        let text = format!("DELETE {} FROM {}{using} WHERE {key}", names.join(", "), self.name);
        (!columns.is_empty()).then_some(Statement { text, bound, may_be_refused: false })
    }

    /// A row, a prefix of its clustering, a range, or the whole partition.
    fn delete_rows(&mut self, partition: &[Vec<u8>], row: &[Vec<u8>]) -> Option<Statement> {
        let (using, mut bound) = self.using(false);
        let (mut parts, more) = self.of_key(Role::Partition, partition);
        bound.extend(more);
        let (clusterings, cells) = self.of_key(Role::Clustering, row);
        let depth = self.random.random_range(0..=clusterings.len());
        parts.extend(clusterings[..depth].iter().cloned());
        bound.extend(cells[..depth].iter().cloned());
        if let Some(next) = clusterings.get(depth).filter(|_| self.random.random_bool(0.6)) {
            let relation = [" > ?", " <= ?"][usize::from(self.random.random_bool(0.5))];
            parts.push(next.replace(" = ?", relation));
            bound.push(cells[depth].clone());
        }
        let text = format!("DELETE FROM {}{using} WHERE {}", self.name, parts.join(" AND "));
        Some(Statement { text, bound, may_be_refused: false })
    }

    /// Adds, sets, or takes away a single element or field of a column that is made of cells.
    fn change_element(&mut self, partition: &[Vec<u8>], row: &[Vec<u8>]) -> Option<Statement> {
        let of_cells = |column: &&Column| column.multi_cell() && matches!(column.role, Role::Static | Role::Regular);
        let candidates: Vec<&Column> = self.table.columns.iter().filter(of_cells).collect();
        let column = *candidates.choose(self.random)?;
        let name = quote(&column.name);
        let index = int(self.random.random_range(0..4));
        let mut may_be_refused = false;
        let (set, values): (String, Vec<Vec<u8>>) = match &column.kind {
            Kind::List(element) => {
                let value = self.schema.value(element, Use::Part, self.random);
                match self.random.random_range(0..5) {
                    0 | 1 => (format!("{name} = {name} + ?"), vec![list(&[value])]),
                    2 => (format!("{name} = ? + {name}"), vec![list(&[value])]),
                    3 => (format!("{name} = {name} - ?"), vec![list(&[value])]),
                    _ => {
                        may_be_refused = true;
                        (format!("{name}[?] = ?"), vec![index, value])
                    }
                }
            }
            Kind::Set(element) => {
                let value = list(&[self.schema.value(element, Use::Key, self.random)]);
                let sign = if self.random.random_bool(0.75) { "+" } else { "-" };
                (format!("{name} = {name} {sign} ?"), vec![value])
            }
            Kind::Map(key, value) => {
                let key = self.schema.value(key, Use::Key, self.random);
                let value = self.schema.value(value, Use::Part, self.random);
                match self.random.random_range(0..4) {
                    0 => (format!("{name} = {name} - ?"), vec![list(&[key])]),
                    1 => (format!("{name}[?] = ?"), vec![key, value]),
                    _ => (format!("{name} = {name} + ?"), vec![map(&[(key, value)])]),
                }
            }
            Kind::Udt(at) => {
                let fields = &self.schema.types[*at].fields;
                let (field, kind) = fields.choose(self.random)?;
                (format!("{name}.{} = ?", quote(field)), vec![self.schema.value(kind, Use::Part, self.random)])
            }
            _ => return None,
        };
        let (using, mut bound) = self.using(true);
        let mut values: Vec<Cell> = values.into_iter().map(Cell::Raw).collect();
        if matches!(column.kind, Kind::Udt(_)) && self.random.random_bool(0.2) {
            values = vec![Cell::Null];
        }
        bound.extend(values);
        let (key, more) = self.whole_key(partition, row, column.role);
        bound.extend(more);
        let text = format!("UPDATE {}{using} SET {set} WHERE {key}", self.name);
        Some(Statement { text, bound, may_be_refused })
    }

    /// Counters are only ever counted: what a deleted one shows when it is counted again is not defined.
    fn count(&mut self, partition: &[Vec<u8>], row: &[Vec<u8>]) -> Option<Statement> {
        let role = if self.random.random_bool(0.2) { Role::Static } else { Role::Regular };
        let columns = self.some(role, 1);
        let (mut sets, mut bound) = (Vec::new(), Vec::new());
        for column in &columns {
            let name = quote(&column.name);
            sets.push(format!("{name} = {name} + ?"));
            let by = if self.random.random_bool(0.05) { 1 << 60 } else { self.random.random_range(-1000..1000) };
            bound.push(bigint(by).into());
        }
        let (key, more) = self.whole_key(partition, row, role);
        bound.extend(more);
        let text = format!("UPDATE {} SET {} WHERE {key}", self.name, sets.join(", "));
        (!columns.is_empty()).then_some(Statement { text, bound, may_be_refused: false })
    }
}
