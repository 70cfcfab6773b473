//! The cells of a row, and the elements of its collections, by the times that they share. Pure.
//!
//! A cell is *assigned* (`m = ?`) where all of it has one time and nothing else may stand there. Else its elements are
//! *added* (`m = m + ?`, `u.f = ?`), each with its own time: an assignment writes a deletion just below its timestamp, which
//! would hide every older element, whoever wrote it.
//!
//! One thing CQL can't do: a field that is a frozen set or map out of its type's order, which only a careless driver sends, is
//! kept by `u = ?` and put in order by `u.f = ?`. The comparison after a restore finds it.

use ringvault_archive::{
    cql_type::CqlType,
    row::{CellTime, DecodedRow, LineKind, elements},
    table::TableLayout,
};

use super::columns::Columns;

/// The times that a write carries in its USING, where the loader sets any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Using {
    /// Microseconds; nothing where the server sets it.
    pub(super) timestamp: Option<i64>,
    /// Absolute second; nothing where the cells stay.
    pub(super) expiry: Option<i64>,
}

impl Using {
    pub(super) fn of(time: CellTime) -> Self {
        Self { timestamp: time.writetime, expiry: time.expiry }
    }
}

/// Cells that share their times.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) using: Using,
    /// Columns that are assigned, ascending.
    pub(super) columns: Vec<usize>,
    /// What is added to, by slot.
    pub(super) added: Vec<Added>,
}

impl Group {
    /// Cells in it.
    pub(super) fn elements(&self) -> usize {
        self.added.iter().map(|added| added.elements).sum()
    }
}

/// Elements that are added to one slot.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) slot: usize,
    /// A raw map or set, or the raw field.
    pub(super) value: Vec<u8>,
    pub(super) elements: usize,
}

/// The groups of one row; their space is used again.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Vec<Group>,
    used: usize,
}

impl Groups {
    /// The groups, in the order in which their first cells stand in the row.
    pub(super) fn all(&self) -> &[Group] {
        &self.groups[..self.used]
    }

    /// Groups the cells of a line, but lists. `beside`: something else may stand there, so no collection is assigned.
    pub(super) fn fill(&mut self, row: &DecodedRow, layout: &TableLayout, columns: &Columns, beside: bool) {
        self.used = 0;
        let kind = row.kind();
        for &column in columns.cells_of(kind) {
            let Some(cell) = row.cell(column) else { continue };
            let cell_layout = &layout.columns[column];
            let own = row.element_times(column);
            let added = cell_layout.has_element_times() && (beside || own.is_some());
            let found = if added { elements(&cell_layout.cql_type, cell) } else { None };
            let slot = found.is_some().then(|| columns.first_slot(kind, column)).flatten();
            let (Some(found), Some(slot)) = (found, slot) else {
                self.of(Using::of(row.time(column))).columns.push(column);
                continue;
            };
            let is_udt = matches!(cell_layout.cql_type, CqlType::Udt(_));
            for (index, element) in found.iter().enumerate().filter(|(_, element)| !element.is_null) {
                let time = own.map_or(Some(row.time(column)), |own| own.get(index).copied().flatten());
                let group = self.of(Using::of(time.unwrap_or_default()));
                if is_udt {
                    let value = element.framed.get(4..).unwrap_or_default().to_vec();
                    group.added.push(Added { slot: slot + index, value, elements: 1 });
                } else {
                    add(group, slot, element.framed);
                }
            }
        }
    }

    fn of(&mut self, using: Using) -> &mut Group {
        let known = self.groups[..self.used].iter().position(|group| group.using == using);
        let at = known.unwrap_or_else(|| {
            if self.used == self.groups.len() {
                self.groups.push(Group::default());
            }
            let group = &mut self.groups[self.used];
            group.using = using;
            group.columns.clear();
            group.added.clear();
            self.used += 1;
            self.used - 1
        });
        &mut self.groups[at]
    }
}

/// Adds an element of a map or set: elements of one column come one after the other.
fn add(group: &mut Group, slot: usize, framed: &[u8]) {
    if group.added.last().is_none_or(|last| last.slot != slot) {
        group.added.push(Added { slot, value: vec![0; 4], elements: 0 });
    }
    if let Some(last) = group.added.last_mut() {
        last.value.extend_from_slice(framed);
        last.elements += 1;
        let count = u32::try_from(last.elements).unwrap_or(u32::MAX);
        last.value[..4].copy_from_slice(&count.to_be_bytes());
    }
}

/// Which group makes the row itself: the one that assigns most columns, else the one that adds most elements; of equally
/// large ones the first, so that equal rows give equal statements.
pub(super) fn leader(groups: &[Group], kind: LineKind) -> Option<usize> {
    if kind == LineKind::Static {
        return None;
    }
    let size = |index: &usize| (groups[*index].columns.len(), groups[*index].elements());
    (0..groups.len()).rev().max_by_key(size)
}
