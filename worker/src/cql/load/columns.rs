//! The columns of a table by what becomes of them when a row is written. Pure.

use ringvault_archive::{
    cql_type::CqlType,
    row::LineKind,
    table::{ColumnLayout, ColumnRole, TableLayout},
};

/// The columns of a table by what becomes of them.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub(super) partition_key: Vec<usize>,
    /// Partition key and clustering.
    pub(super) key: Vec<usize>,
    /// Regular columns but lists.
    pub(super) regular: Vec<usize>,
    /// Static columns but lists.
    pub(super) statics: Vec<usize>,
    /// Non-frozen lists, regular ones and static ones.
    pub(super) lists: Vec<usize>,
    /// What can be added to of rows, and of statics.
    regular_slots: Vec<Slot>,
    static_slots: Vec<Slot>,
}

/// Something that elements are added to: `m = m + ?` of a map or set, `u.f = ?` of a user type's field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) column: usize,
    /// Unquoted.
    pub(super) field: Option<String>,
}

impl Columns {
    pub(super) fn of(layout: &TableLayout) -> Self {
        let pick = |wanted: &dyn Fn(&ColumnLayout) -> bool| -> Vec<usize> {
            layout.columns.iter().enumerate().filter(|(_, column)| wanted(column)).map(|(index, _)| index).collect()
        };
        let regular = pick(&|column| column.role == ColumnRole::Regular && !is_list(column));
        let statics = pick(&|column| column.role == ColumnRole::Static && !is_list(column));
        Self {
            partition_key: pick(&|column| column.role == ColumnRole::PartitionKey),
            key: pick(&|column| column.role.is_key()),
            lists: pick(&is_list),
            regular_slots: slots(layout, &regular),
            static_slots: slots(layout, &statics),
            regular,
            statics,
        }
    }

    /// The key of lines of this kind.
    pub(super) fn key_of(&self, kind: LineKind) -> &[usize] {
        match kind {
            LineKind::Row => &self.key,
            LineKind::Static => &self.partition_key,
        }
    }

    /// What lines of this kind hold beside their key, but lists.
    pub(super) fn cells_of(&self, kind: LineKind) -> &[usize] {
        match kind {
            LineKind::Row => &self.regular,
            LineKind::Static => &self.statics,
        }
    }

    /// What can be added to in lines of this kind, by column.
    pub(super) fn slots_of(&self, kind: LineKind) -> &[Slot] {
        match kind {
            LineKind::Row => &self.regular_slots,
            LineKind::Static => &self.static_slots,
        }
    }

    /// The first slot of a column.
    pub(super) fn first_slot(&self, kind: LineKind, column: usize) -> Option<usize> {
        self.slots_of(kind).iter().position(|slot| slot.column == column)
    }
}

fn slots(layout: &TableLayout, columns: &[usize]) -> Vec<Slot> {
    let of = |&column: &usize| -> Vec<Slot> {
        let layout = &layout.columns[column];
        match &layout.cql_type {
            _ if !layout.has_element_times() => Vec::new(),
            CqlType::Udt(udt) => {
                udt.fields.iter().map(|(field, _)| Slot { column, field: Some(field.clone()) }).collect()
            }
            _ => vec![Slot { column, field: None }],
        }
    };
    columns.iter().flat_map(of).collect()
}

/// A list whose elements are cells of their own.
pub(super) fn is_list(column: &ColumnLayout) -> bool {
    column.multi_cell && matches!(column.cql_type, CqlType::List(_))
}

/// The role of the cells that lines of this kind hold beside their key.
pub(super) fn role_of(kind: LineKind) -> ColumnRole {
    match kind {
        LineKind::Row => ColumnRole::Regular,
        LineKind::Static => ColumnRole::Static,
    }
}
