//! Whether two rows of one key are the same, and which columns are not.
//!
//! Times count as far as both sides can tell them. A cell that ends within some seconds of a look at the other side may be
//! there or not. Multi-cell columns are compared element by element. Expiries are not compared: servers tell them a second
//! or two apart.

use std::collections::BTreeMap;

use ringvault_proto::v1::{self, approximation::What};

use super::Side;
use crate::{
    cql_type::CqlType,
    error::{Error, Result},
    row::{CellTime, DecodedRow, elements},
    rows::same_key,
    table::{ColumnLayout, TableLayout},
};

/// A cell that ends so close to a look at it, in seconds, may be there or not.
const ENDING_S: i64 = 5;

/// What the right side may hold beside the left side's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// Nothing: both sides are the same.
    #[default]
    Same,
    /// Other rows, other cells, newer ones: the left side was written among them.
    Among,
    /// Other rows; and a row that holds anything the left one does not is left alone, whatever it lacks.
    LeftAlone,
}

/// Which times of a column both sides tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Each,
    Newest,
    None,
}

/// A column outside of the key, where each side has it.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    cql_type: CqlType,
    elements: bool,
    told: Told,
    at: [Option<usize>; 2],
}

/// How rows are compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    layouts: [TableLayout; 2],
    columns: Vec<Column>,
    rule: Rule,
}

/// What differs in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) columns: Vec<String>,
    /// The right side lacks cells or holds older ones.
    pub(super) fallen_behind: bool,
}

/// How a cell or an element on the right stands to the one on the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Equal,
    /// Not there.
    Lacking,
    /// Written before.
    Older,
    /// The left side does not hold it, or holds an older one.
    Newer,
    /// Other, and nobody can tell which is newer.
    Other,
}

impl Comparison {
    /// Of tables of these layouts, times and all.
    ///
    /// # Errors
    /// `Conflict` where their keys differ, or a column's types do: then no row of one is a row of the other.
    pub fn new(left: &TableLayout, right: &TableLayout) -> Result<Self> {
        let names = format!("{}.{} and {}.{}", left.keyspace, left.table, right.keyspace, right.table);
        if !same_key(left, right) {
            return Err(Error::conflict(format!("rows of {names} can't be compared: their primary keys differ")));
        }
        let mut columns: Vec<Column> = Vec::new();
        for (index, column) in outside_of_key(left) {
            let at = right.column(&column.name);
            if let Some(other) = at.and_then(|at| right.columns.get(at))
                && (other.cql_type != column.cql_type
                    || other.role != column.role
                    || other.multi_cell != column.multi_cell)
            {
                return Err(Error::conflict(format!(
                    "rows of {names} can't be compared: column {:?} is {} in one and {} in the other",
                    column.name, column.type_text, other.type_text
                )));
            }
            columns.push(Column::new(column, [Some(index), at]));
        }
        let only_right = outside_of_key(right).filter(|(_, column)| left.column(&column.name).is_none());
        columns.extend(only_right.map(|(index, column)| Column::new(column, [None, Some(index)])));
        Ok(Self { layouts: [left.clone(), right.clone()], columns, rule: Rule::Same })
    }

    /// Without the times that one of the sides can't tell.
    #[must_use]
    pub fn untold(mut self, approximations: &[v1::Approximation]) -> Self {
        for approximation in approximations {
            let told = match approximation.what() {
                What::ColumnTimes | What::AllTimes | What::CounterTimes | What::ListTimes => Told::None,
                What::ElementTimes => Told::Newest,
                What::RowMarkers | What::Unspecified => continue,
            };
            let named = |column: &&mut Column| approximation.column.is_empty() || approximation.column == column.name;
            for column in self.columns.iter_mut().filter(named) {
                if column.told != Told::None {
                    column.told = told;
                }
            }
        }
        self
    }

    /// By values only.
    #[must_use]
    pub fn values_only(mut self) -> Self {
        self.columns.iter_mut().for_each(|column| column.told = Told::None);
        self
    }

    /// With what the right side may hold beside.
    #[must_use]
    pub fn by(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    pub(super) fn layout(&self, side: Side) -> &TableLayout {
        &self.layouts[side as usize]
    }

    /// Whether rows that only the right side holds are fine.
    pub(super) fn allows_extra(&self) -> bool {
        self.rule != Rule::Same
    }

    /// Equal for rows that are the same, as far as they are compared, whichever side they come from.
    pub(super) fn digest(&self, side: Side, row: &DecodedRow) -> u128 {
        let mut hasher = blake3::Hasher::new();
        for (index, column) in self.columns.iter().enumerate() {
            let Some(at) = column.at[side as usize] else { continue };
            let Some(cell) = row.cell(at) else { continue };
            hasher.update(&(index as u64).to_le_bytes());
            hasher.update(&(cell.len() as u64).to_le_bytes());
            hasher.update(cell);
            let number = |time: CellTime| time.writetime.unwrap_or(i64::MIN).to_le_bytes();
            match (column.told, row.element_times(at)) {
                (Told::None, _) => {}
                (Told::Each, Some(times)) if differ(times) => {
                    for time in times {
                        hasher.update(&number(time.unwrap_or_default()));
                    }
                }
                (Told::Each | Told::Newest, _) => {
                    hasher.update(&number(row.time(at)));
                }
            }
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        u128::from_le_bytes(digest)
    }

    /// Whether all that a row holds may have ended by a look at the other side.
    pub(super) fn may_have_ended(&self, side: Side, row: &DecodedRow, as_of_s: i64) -> bool {
        let mut cells = self.columns.iter().filter_map(|column| column.at[side as usize]);
        let mut any = false;
        let all = cells.all(|at| {
            let there = row.cell(at).is_some();
            any |= there;
            !there || ends_by(row.time(at), Some(as_of_s))
        });
        any && all
    }

    /// What differs; each row with the clock of the look at it.
    pub(super) fn compare(
        &self,
        (left, left_s): (&DecodedRow, Option<i64>),
        (right, right_s): (&DecodedRow, Option<i64>),
    ) -> Verdict {
        let mut verdict = Verdict::default();
        for column in &self.columns {
            let mut relations = column.relations((left, left_s), (right, right_s));
            if self.rule == Rule::LeftAlone && relations.iter().any(|relation| relation.is_another()) {
                return Verdict::default();
            }
            if self.rule == Rule::Among {
                relations.retain(|relation| *relation != Relation::Newer);
            }
            if relations.iter().any(|relation| *relation != Relation::Equal) {
                verdict.columns.push(column.name.clone());
            }
            let is_behind = |relation: &Relation| matches!(relation, Relation::Lacking | Relation::Older);
            verdict.fallen_behind |= relations.iter().any(is_behind);
        }
        verdict
    }
}

fn outside_of_key(layout: &TableLayout) -> impl Iterator<Item = (usize, &ColumnLayout)> {
    layout.columns.iter().enumerate().filter(|(_, column)| !column.role.is_key())
}

fn differ(times: &[Option<CellTime>]) -> bool {
    let mut writetimes = times.iter().flatten().map(|time| time.writetime);
    let first = writetimes.next();
    writetimes.any(|writetime| Some(writetime) != first)
}

/// Whether a cell of this time may be gone at a look.
fn ends_by(time: CellTime, as_of_s: Option<i64>) -> bool {
    matches!((time.expiry, as_of_s), (Some(expiry), Some(as_of_s)) if expiry <= as_of_s.saturating_add(ENDING_S))
}

impl Relation {
    /// Whether the right side holds what the left one does not: not merely less.
    fn is_another(self) -> bool {
        matches!(self, Self::Older | Self::Newer | Self::Other)
    }
}

/// A value and its times.
type Timed<'c> = (&'c [u8], CellTime);

impl Column {
    fn new(column: &ColumnLayout, at: [Option<usize>; 2]) -> Self {
        Self {
            name: column.name.clone(),
            cql_type: column.cql_type.clone(),
            elements: column.has_element_times(),
            told: if column.timed { Told::Each } else { Told::None },
            at,
        }
    }

    /// How what the right side holds of the column stands to what the left side does: one relation, or one an element.
    fn relations(
        &self,
        (left, left_s): (&DecodedRow, Option<i64>),
        (right, right_s): (&DecodedRow, Option<i64>),
    ) -> Vec<Relation> {
        let cell = |side: Side, row| -> Option<Timed<'_>> {
            let row: &DecodedRow = row;
            let at = self.at[side as usize]?;
            Some((row.cell(at)?, row.time(at)))
        };
        let (of_left, of_right) = (cell(Side::Left, left), cell(Side::Right, right));
        let looks = (left_s, right_s);
        if !self.elements || (of_left.is_none() && of_right.is_none()) {
            return vec![relation(of_left, of_right, looks, self.told != Told::None)];
        }
        let (Some(left_parts), Some(right_parts)) = (self.parts(Side::Left, left), self.parts(Side::Right, right))
        else {
            return vec![relation(of_left, of_right, looks, self.told != Told::None)];
        };
        let told = self.told == Told::Each;
        let of_both = left_parts.iter().map(|(key, part)| (Some(*part), right_parts.get(key).copied()));
        let of_right_only = right_parts.iter().filter(|(key, _)| !left_parts.contains_key(*key));
        let pairs = of_both.chain(of_right_only.map(|(_, part)| (None, Some(*part))));
        let mut relations: Vec<Relation> = pairs.map(|(part, other)| relation(part, other, looks, told)).collect();
        if let (Told::Newest, Some((_, newest)), Some((_, other))) = (self.told, of_left, of_right)
            && relations.iter().all(|relation| *relation == Relation::Equal)
        {
            relations.push(relation(Some((&[], newest)), Some((&[], other)), looks, true));
        }
        relations
    }

    /// The elements of a cell by their keys, none of a null one; nothing where the value has no form of its type.
    fn parts<'c>(&self, side: Side, row: &'c DecodedRow) -> Option<BTreeMap<Vec<u8>, Timed<'c>>> {
        let Some(at) = self.at[side as usize] else { return Some(BTreeMap::new()) };
        let Some(cell) = row.cell(at) else { return Some(BTreeMap::new()) };
        let found = elements(&self.cql_type, cell)?;
        let times = row.element_times(at);
        let mut parts = BTreeMap::new();
        for (index, element) in found.iter().enumerate().filter(|(_, element)| !element.is_null) {
            let time = match times {
                Some(times) => times.get(index).copied().flatten().unwrap_or_default(),
                None => row.time(at),
            };
            let key = match &self.cql_type {
                CqlType::Map(..) => {
                    let length = u32::from_be_bytes(*element.framed.first_chunk()?) as usize;
                    element.framed.get(..4 + length)?.to_vec()
                }
                CqlType::Udt(_) => (index as u64).to_be_bytes().to_vec(),
                _ => element.framed.to_vec(),
            };
            parts.insert(key, (element.framed, time));
        }
        Some(parts)
    }
}

/// How a cell or an element on the right stands to the one on the left; `looks`: the clock of the look at each side.
fn relation(
    left: Option<Timed<'_>>,
    right: Option<Timed<'_>>,
    (left_s, right_s): (Option<i64>, Option<i64>),
    told: bool,
) -> Relation {
    let ((value, time), (other, other_time)) = match (left, right) {
        (None, None) => return Relation::Equal,
        (Some((_, time)), None) if ends_by(time, right_s) => return Relation::Equal,
        (None, Some((_, time))) if ends_by(time, left_s) => return Relation::Equal,
        (Some(_), None) => return Relation::Lacking,
        (None, Some(_)) => return Relation::Newer,
        (Some(left), Some(right)) => (left, right),
    };
    let same = value == other;
    match (told, time.writetime, other_time.writetime) {
        (false, ..) if same => Relation::Equal,
        (true, written, rewritten) if same && written == rewritten => Relation::Equal,
        (true, Some(written), Some(rewritten)) if rewritten > written => Relation::Newer,
        (true, Some(written), Some(rewritten)) if rewritten < written => Relation::Older,
        // of two cells of one time the greater value stays
        (true, Some(_), Some(_)) if other > value => Relation::Newer,
        _ => Relation::Other,
    }
}
