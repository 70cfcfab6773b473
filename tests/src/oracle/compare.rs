//! Compares two snapshots cell by cell and names the first differences.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, bail};

use super::read::{Cells, Column, KeyspaceSnapshot, Kind, StoredCell, TableSnapshot, Times};

/// Seconds by which two expiries may differ: both were read as a TTL in whole seconds and added to a clock.
const EXPIRY_SLACK_S: i64 = 3;
/// A cell that expires within this many seconds of a reading may be there or not.
const EXPIRING_S: i64 = 5;
/// A list is restored as a whole, at its newest time or a few µs above it: assigning it again adds its elements again.
const LIST_TIME_SLACK_US: i64 = 1000;
/// Differences that are named; all are counted.
const NAMED_MAX: usize = 12;

/// What a comparison found.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Rows compared, the longer side.
    pub rows: u64,
    /// Cells compared by value.
    pub cells: u64,
    /// Cells whose times were compared too.
    pub cells_timed: u64,
    /// How many differences there are.
    pub differences: u64,
    /// The first of them, for a person.
    pub named: Vec<String>,
}

impl Comparison {
    /// # Errors
    /// If anything differs; names the first differences.
    pub fn ensure_equal(&self) -> Result<()> {
        if self.differences == 0 {
            return Ok(());
        }
        bail!("{self}")
    }

    fn differ(&mut self, what: impl FnOnce() -> String) {
        self.differences += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(what());
        }
    }

    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.cells += other.cells;
        self.cells_timed += other.cells_timed;
        self.differences += other.differences;
        let room = NAMED_MAX.saturating_sub(self.named.len());
        self.named.extend(other.named.into_iter().take(room));
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} differences in {} rows, {} cells, {} of them with times",
            self.differences, self.rows, self.cells, self.cells_timed
        )?;
        self.named.iter().try_for_each(|named| write!(f, "\n  {named}"))
    }
}

/// What to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Values, writetimes and expiries.
    ValuesAndTimes,
    /// Values only.
    Values,
}

/// Compares all tables of two keyspaces by name.
pub fn compare_keyspaces(before: &KeyspaceSnapshot, after: &KeyspaceSnapshot, scope: Scope) -> Comparison {
    let mut all = Comparison::default();
    let names: BTreeSet<&String> = before.tables.keys().chain(after.tables.keys()).collect();
    for name in names {
        match (before.tables.get(name), after.tables.get(name)) {
            (Some(b), Some(a)) => all.add(compare_tables(b, a, scope)),
            (Some(_), None) => all.differ(|| format!("the table {name} is missing")),
            (None, _) => all.differ(|| format!("the table {name} is new")),
        }
    }
    all
}

/// Compares two tables, which may have different names.
pub fn compare_tables(before: &TableSnapshot, after: &TableSnapshot, scope: Scope) -> Comparison {
    let mut found = Comparison::default();
    let table = &before.table;
    let shape = |t: &TableSnapshot| -> Vec<(String, Kind, String)> {
        t.columns.iter().map(|c| (c.name.clone(), c.kind, c.cql_type.clone())).collect()
    };
    if shape(before) != shape(after) {
        found.differ(|| format!("{table}: columns {:?} became {:?}", shape(before), shape(after)));
        return found;
    }
    found.rows = before.rows.len().max(after.rows.len()) as u64;
    let soon = before.read_at.max(after.read_at) + EXPIRING_S;
    for (kind, b, a) in [(Kind::Regular, &before.rows, &after.rows), (Kind::Static, &before.statics, &after.statics)] {
        let columns = before.columns_of(kind);
        let what = if kind == Kind::Static { "statics of the partition" } else { "the row" };
        for (key, cells) in b {
            match a.get(key) {
                Some(other) => compare_cells(&mut found, table, key, &columns, (cells, other), soon, scope),
                None if all_expiring(cells, soon) => {}
                None => found.differ(|| format!("{table}: {what} {} is missing", shown(key))),
            }
        }
        for (key, cells) in a {
            if !b.contains_key(key) && !all_expiring(cells, soon) {
                found.differ(|| format!("{table}: {what} {} is new", shown(key)));
            }
        }
    }
    found
}

fn compare_cells(
    found: &mut Comparison,
    table: &str,
    key: &[u8],
    columns: &[&Column],
    (before, after): (&Cells, &Cells),
    soon: i64,
    scope: Scope,
) {
    for ((column, b), a) in columns.iter().zip(before).zip(after) {
        let at = || format!("{table}: {} of {}", column.name, shown(key));
        match (b, a) {
            (None, None) => {}
            (Some(cell), None) | (None, Some(cell)) if expiring(cell, soon) => {}
            (Some(b), None) => found.differ(|| format!("{} was {} and is null", at(), shown(&b.value))),
            (None, Some(a)) => found.differ(|| format!("{} was null and is {}", at(), shown(&a.value))),
            (Some(b), Some(a)) if expiring(b, soon) || expiring(a, soon) => {}
            (Some(b), Some(a)) => {
                found.cells += 1;
                if b.value != a.value {
                    found.differ(|| format!("{} was {} and is {}", at(), shown(&b.value), shown(&a.value)));
                } else if scope == Scope::ValuesAndTimes && column.times != Times::Unreadable {
                    found.cells_timed += 1;
                    if let Some(difference) = time_difference(column, b, a) {
                        found.differ(|| format!("{} {difference}", at()));
                    }
                }
            }
        }
    }
}

fn time_difference(column: &Column, before: &StoredCell, after: &StoredCell) -> Option<String> {
    let list = column.times == Times::OfElements && column.cql_type.starts_with("list<");
    if list {
        return list_time_difference(before, after);
    }
    if before.writetimes != after.writetimes {
        return Some(format!("was written at {:?} and is at {:?}", before.writetimes, after.writetimes));
    }
    let same = before.expiries.len() == after.expiries.len()
        && before.expiries.iter().zip(&after.expiries).all(|(b, a)| expiries_agree(*b, *a));
    (!same).then(|| format!("expired at {:?} and does at {:?}", before.expiries, after.expiries))
}

/// `None` if any element lives for ever.
fn latest_expiry(cell: &StoredCell) -> Option<i64> {
    let for_ever = cell.fields_there().any(|expiry| expiry.is_none());
    if for_ever { None } else { cell.expiries.iter().flatten().max().copied() }
}

impl StoredCell {
    /// The expiries of those elements and fields that have a writetime.
    fn fields_there(&self) -> impl Iterator<Item = Option<i64>> {
        let timed = self.writetimes.iter().zip(&self.expiries);
        timed.filter(|(written, _)| written.is_some()).map(|(_, expiry)| *expiry)
    }
}

/// Only the newest time and the latest expiry of a list are kept.
fn list_time_difference(before: &StoredCell, after: &StoredCell) -> Option<String> {
    let newest = |cell: &StoredCell| cell.writetimes.iter().flatten().max().copied();
    let late = match (newest(before), newest(after)) {
        (Some(b), Some(a)) => a - b,
        (None, None) => 0,
        (b, a) => return Some(format!("was written at {b:?} and is at {a:?}")),
    };
    if !(0..=LIST_TIME_SLACK_US).contains(&late) {
        return Some(format!("is written {late} µs off its newest time"));
    }
    let (b, a) = (latest_expiry(before), latest_expiry(after));
    (!expiries_agree(b, a)).then(|| format!("expired at {b:?} and does at {a:?}"))
}

fn expiries_agree(before: Option<i64>, after: Option<i64>) -> bool {
    match (before, after) {
        (None, None) => true,
        (Some(b), Some(a)) => (b - a).abs() <= EXPIRY_SLACK_S,
        _ => false,
    }
}

fn expiring(cell: &StoredCell, soon: i64) -> bool {
    cell.expiries.iter().flatten().any(|expiry| *expiry <= soon)
}

fn all_expiring(cells: &Cells, soon: i64) -> bool {
    let mut present = cells.iter().flatten().peekable();
    present.peek().is_some() && present.all(|cell| expiring(cell, soon))
}

/// Up to 40 bytes as hex, and as text where it is plain.
fn shown(bytes: &[u8]) -> String {
    let part = &bytes[..bytes.len().min(40)];
    let more = if bytes.len() > 40 { format!("… ({} bytes)", bytes.len()) } else { String::new() };
    let plain: String = part.iter().filter(|b| b.is_ascii_graphic() || **b == b' ').map(|b| char::from(*b)).collect();
    format!("0x{}{more} \"{plain}\"", hex::encode(part))
}
