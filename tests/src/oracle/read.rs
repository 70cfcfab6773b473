//! Reads a table completely: every partition's statics, every row, every cell's bytes, writetime and expiry.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use scylla::client::session::Session;
use scylla::deserialize::row::ColumnIterator;
use scylla::response::PagingState;
use scylla::response::query_result::QueryRowsResult;
use scylla::statement::prepared::PreparedStatement;

use crate::cql::{qualified, quote};

/// Token ranges that a scan cuts the ring into, and how many of them it reads at a time.
const RANGES: u64 = 32;
const RANGES_AT_ONCE: usize = 4;
const PAGE_ROWS: i32 = 1000;

/// Where a column stands in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Part of the partition key.
    Partition,
    /// Part of the clustering key.
    Clustering,
    /// One value a partition.
    Static,
    /// One value a row.
    Regular,
}

/// What the server tells about a column's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Nothing that a restore could set: a key column, a counter, or a collection before 5.0.
    Unreadable,
    /// One writetime and one TTL.
    OfCell,
    /// One of each an element or field.
    OfElements,
}

/// A column as `system_schema.columns` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Unquoted.
    pub name: String,
    /// Its place.
    pub kind: Kind,
    /// CQL type.
    pub cql_type: String,
    /// Which times can be read.
    pub times: Times,
}

/// One cell that is not null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCell {
    /// Bytes as the server sends them; none at all is an empty value.
    pub value: Box<[u8]>,
    /// Writetimes in µs: one, or one an element; none where they are unreadable.
    pub writetimes: Vec<Option<i64>>,
    /// Expiries as seconds since 1970, in the same order; `None` lives for ever.
    pub expiries: Vec<Option<i64>>,
}

/// The cells of a row, or of a partition's statics, in the order of the columns of that kind.
pub type Cells = Box<[Option<StoredCell>]>;

/// A table as it was read.
#[derive(Clone, Debug)]
pub struct TableSnapshot {
    /// Its keyspace.
    pub keyspace: String,
    /// Its name.
    pub table: String,
    /// Partition key, clustering, static, regular.
    pub columns: Vec<Column>,
    /// By primary key.
    pub rows: BTreeMap<Vec<u8>, Cells>,
    /// By partition key; partitions without any static cell are left out.
    pub statics: BTreeMap<Vec<u8>, Cells>,
    /// When the reading ended, seconds since 1970.
    pub read_at: i64,
}

impl TableSnapshot {
    /// Columns of a kind, in table order.
    pub fn columns_of(&self, kind: Kind) -> Vec<&Column> {
        self.columns.iter().filter(|column| column.kind == kind).collect()
    }

    /// Cells that are not null and no part of the key.
    pub fn cells(&self) -> u64 {
        let all = self.rows.values().chain(self.statics.values());
        all.map(|cells| cells.iter().flatten().count() as u64).sum()
    }
}

/// All tables of a keyspace, by name. Views are no tables.
#[derive(Clone, Debug)]
pub struct KeyspaceSnapshot {
    /// By table name.
    pub tables: BTreeMap<String, TableSnapshot>,
}

impl KeyspaceSnapshot {
    /// Rows of all tables.
    pub fn rows(&self) -> u64 {
        self.tables.values().map(|table| table.rows.len() as u64).sum()
    }
}

/// Reads every table of a keyspace.
///
/// # Errors
/// If a table can't be read completely.
pub async fn read_keyspace(session: &Session, keyspace: &str) -> Result<KeyspaceSnapshot> {
    let query = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
    let names = session.query_unpaged(query, (keyspace,)).await?.into_rows_result()?;
    let mut tables = BTreeMap::new();
    for name in names.rows::<(String,)>()? {
        let (name,) = name?;
        tables.insert(name.clone(), read_table(session, keyspace, &name).await?);
    }
    ensure!(!tables.is_empty(), "the keyspace {keyspace} has no tables, so there is nothing to compare");
    Ok(KeyspaceSnapshot { tables })
}

/// Reads one table.
///
/// # Errors
/// If it can't be read completely.
pub async fn read_table(session: &Session, keyspace: &str, table: &str) -> Result<TableSnapshot> {
    let mut columns = read_columns(session, keyspace, table).await?;
    for column in &mut columns {
        column.times = probe_times(session, keyspace, table, column).await;
    }
    let query = select(keyspace, table, &columns);
    let statement = {
        let mut statement = session.prepare(query.as_str()).await.with_context(|| format!("prepare {query}"))?;
        statement.set_page_size(PAGE_ROWS);
        statement.set_is_idempotent(true);
        statement
    };
    let parts: Vec<Part> = futures::stream::iter(ranges())
        .map(|(after, to)| read_range(session, &statement, &columns, after, to))
        .buffer_unordered(RANGES_AT_ONCE)
        .try_collect()
        .await
        .with_context(|| format!("read {keyspace}.{table}"))?;
    let mut rows = BTreeMap::new();
    let mut statics = BTreeMap::new();
    for part in parts {
        for (key, cells) in part.rows {
            ensure!(rows.insert(key, cells).is_none(), "a row of {keyspace}.{table} came twice");
        }
        statics.extend(part.statics);
    }
    Ok(TableSnapshot { keyspace: keyspace.into(), table: table.into(), columns, rows, statics, read_at: now() })
}

/// `(after, to]` over the whole ring. No key's token is the least one, so starting after it loses none.
fn ranges() -> Vec<(i64, i64)> {
    let step = u64::MAX / RANGES;
    let bound = |i: u64| if i == RANGES { i64::MAX } else { i64::MIN.wrapping_add_unsigned(step * i) };
    (0..RANGES).map(|i| (bound(i), bound(i + 1))).collect()
}

async fn read_columns(session: &Session, keyspace: &str, table: &str) -> Result<Vec<Column>> {
    let query = "SELECT column_name, kind, position, type FROM system_schema.columns \
                 WHERE keyspace_name = ? AND table_name = ?";
    let answer = session.query_unpaged(query, (keyspace, table)).await?.into_rows_result()?;
    let mut found = Vec::new();
    for row in answer.rows::<(String, String, i32, String)>()? {
        let (name, kind, position, cql_type) = row?;
        let kind = match kind.as_str() {
            "partition_key" => Kind::Partition,
            "clustering" => Kind::Clustering,
            "static" => Kind::Static,
            "regular" => Kind::Regular,
            other => bail!("the column {name} of {keyspace}.{table} is of the unknown kind {other}"),
        };
        found.push((kind as u8, position, Column { name, kind, cql_type, times: Times::Unreadable }));
    }
    ensure!(!found.is_empty(), "there is no table {keyspace}.{table}");
    found.sort_by(|a, b| (a.0, a.1, &a.2.name).cmp(&(b.0, b.1, &b.2.name)));
    Ok(found.into_iter().map(|(_, _, column)| column).collect())
}

/// Asks the server, since releases differ in what they allow.
async fn probe_times(session: &Session, keyspace: &str, table: &str, column: &Column) -> Times {
    // A counter's time is when it was last counted up; nobody can set it.
    if matches!(column.kind, Kind::Partition | Kind::Clustering) || column.cql_type == "counter" {
        return Times::Unreadable;
    }
    let name = quote(&column.name);
    let query = format!("SELECT WRITETIME({name}), TTL({name}) FROM {}", qualified(keyspace, table));
    let Ok(statement) = session.prepare(query).await else { return Times::Unreadable };
    let specs = statement.get_current_result_set_col_specs();
    let elements =
        specs.get().iter().any(|spec| matches!(spec.typ(), scylla::cluster::metadata::ColumnType::Collection { .. }));
    if elements { Times::OfElements } else { Times::OfCell }
}

fn select(keyspace: &str, table: &str, columns: &[Column]) -> String {
    let mut wanted: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
    for column in columns.iter().filter(|column| column.times != Times::Unreadable) {
        let name = quote(&column.name);
        wanted.push(format!("WRITETIME({name})"));
        wanted.push(format!("TTL({name})"));
    }
    let key = columns.iter().filter(|column| column.kind == Kind::Partition);
    let token = format!("token({})", key.map(|column| quote(&column.name)).collect::<Vec<_>>().join(", "));
    format!("SELECT {} FROM {} WHERE {token} > ? AND {token} <= ?", wanted.join(", "), qualified(keyspace, table))
}

#[derive(Default)]
struct Part {
    rows: Vec<(Vec<u8>, Cells)>,
    statics: BTreeMap<Vec<u8>, Cells>,
}

async fn read_range(
    session: &Session,
    statement: &PreparedStatement,
    columns: &[Column],
    after: i64,
    to: i64,
) -> Result<Part> {
    let mut part = Part::default();
    let mut state = PagingState::start();
    loop {
        let (result, next) = session.execute_single_page(statement, (after, to), state).await?;
        take_page(&result.into_rows_result()?, columns, &mut part)?;
        match next.into_paging_control_flow() {
            std::ops::ControlFlow::Continue(further) => state = further,
            std::ops::ControlFlow::Break(()) => return Ok(part),
        }
    }
}

fn take_page(page: &QueryRowsResult, columns: &[Column], part: &mut Part) -> Result<()> {
    let now = now();
    for row in page.rows::<ColumnIterator<'_, '_>>()? {
        let mut raw: Vec<Option<&[u8]>> = Vec::with_capacity(columns.len() * 3);
        for column in row? {
            raw.push(column?.slice.map(|slice| slice.as_slice()));
        }
        take_row(&raw, columns, now, part)?;
    }
    Ok(())
}

fn take_row(raw: &[Option<&[u8]>], columns: &[Column], now: i64, part: &mut Part) -> Result<()> {
    let mut times = raw[columns.len()..].chunks(2);
    let mut key = Vec::new();
    let mut partition = Vec::new();
    let mut clustering_missing = false;
    let (mut statics, mut regular) = (Vec::new(), Vec::new());
    for (column, value) in columns.iter().zip(raw) {
        let pair = if column.times == Times::Unreadable { None } else { times.next() };
        match column.kind {
            Kind::Partition | Kind::Clustering => {
                clustering_missing |= value.is_none();
                push_key(&mut key, value.unwrap_or_default());
                if column.kind == Kind::Partition {
                    partition.clone_from(&key);
                }
            }
            Kind::Static => statics.push(cell(*value, pair, column, now)?),
            Kind::Regular => regular.push(cell(*value, pair, column, now)?),
        }
    }
    if statics.iter().any(Option::is_some) {
        part.statics.insert(partition, statics.into());
    }
    // A partition of nothing but statics shows one row without clustering.
    if !clustering_missing {
        part.rows.push((key, regular.into()));
    }
    Ok(())
}

fn cell(
    value: Option<&[u8]>,
    times: Option<&[Option<&[u8]>]>,
    column: &Column,
    now: i64,
) -> Result<Option<StoredCell>> {
    let Some(value) = value else { return Ok(None) };
    let (writetimes, ttls) = match (times, column.times) {
        (Some([written, ttl]), Times::OfCell) => (vec![number(*written)?], vec![number(*ttl)?]),
        (Some([written, ttl]), Times::OfElements) => (numbers(*written)?, numbers(*ttl)?),
        _ => (Vec::new(), Vec::new()),
    };
    let expiries = ttls.into_iter().map(|ttl| ttl.map(|seconds| now + seconds)).collect();
    Ok(Some(StoredCell { value: value.into(), writetimes, expiries }))
}

/// A bigint or an int; null and zero bytes are none.
fn number(bytes: Option<&[u8]>) -> Result<Option<i64>> {
    Ok(match bytes {
        None | Some([]) => None,
        Some(bytes) if bytes.len() == 8 => Some(i64::from_be_bytes(bytes.try_into()?)),
        Some(bytes) if bytes.len() == 4 => Some(i64::from(i32::from_be_bytes(bytes.try_into()?))),
        Some(bytes) => bail!("a time of {} bytes", bytes.len()),
    })
}

/// A list of them; 5.0 sends elements of zero length where an element has no TTL.
fn numbers(bytes: Option<&[u8]>) -> Result<Vec<Option<i64>>> {
    let Some(mut rest) = bytes else { return Ok(Vec::new()) };
    let count = take_i32(&mut rest)?;
    let mut all = Vec::new();
    for _ in 0..count {
        let length = take_i32(&mut rest)?;
        let length = usize::try_from(length).unwrap_or(0);
        let (element, behind) = rest.split_at_checked(length).context("a list of times ends early")?;
        all.push(number(Some(element))?);
        rest = behind;
    }
    Ok(all)
}

fn take_i32(rest: &mut &[u8]) -> Result<i32> {
    let (bytes, behind) = rest.split_first_chunk::<4>().context("a list of times ends early")?;
    *rest = behind;
    Ok(i32::from_be_bytes(*bytes))
}

/// Length and bytes, so that no two keys look alike.
fn push_key(key: &mut Vec<u8>, part: &[u8]) {
    key.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    key.extend(part);
}

/// Seconds since 1970; nodes of a test cluster have the same clock.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
