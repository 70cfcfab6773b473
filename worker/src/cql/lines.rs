//! From rows as a scan returns them to row lines: statics once a partition, and where a reader stands between lines.
//!
//! A scan repeats the statics in every row of a partition, and returns one row with null clustering for a partition
//! that has statics only. Which lines a row makes depends on the row before it, also across pages and ranges.

use ringvault_archive::{
    row::LineKind,
    table::{ColumnRole, TableLayout},
    token::token_of,
};
use ringvault_proto::token::Token;

/// A position in a table: just behind a line. A token alone is none: two keys can share one.
#[derive(Clone, PartialEq, Eq)]
pub struct Position {
    /// Raw cells of the partition key's columns.
    pub partition: Vec<Vec<u8>>,
    /// Raw cells of the clustering columns of the last row (empty where the table has none); nothing where the last line
    /// was the partition's statics.
    pub clustering: Option<Vec<Vec<u8>>>,
}

impl Position {
    /// Behind a line of this kind; `cell` gives a column's raw cell by its index in the layout.
    ///
    /// Nothing where a key cell is missing, which no row has.
    pub fn behind<'c>(layout: &TableLayout, kind: LineKind, cell: impl Fn(usize) -> Option<&'c [u8]>) -> Option<Self> {
        let cells = |role: ColumnRole| {
            let columns = layout.columns.iter().enumerate().filter(move |(_, column)| column.role == role);
            columns.map(|(index, _)| cell(index).map(<[u8]>::to_vec)).collect::<Option<Vec<_>>>()
        };
        let clustering = match kind {
            LineKind::Row => Some(cells(ColumnRole::Clustering)?),
            LineKind::Static => None,
        };
        Some(Self { partition: cells(ColumnRole::PartitionKey)?, clustering })
    }

    /// The token of the partition.
    #[must_use]
    pub fn token(&self) -> Token {
        token_of(&self.partition)
    }
}

impl std::fmt::Debug for Position {
    /// Without the key: it is a cell value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Position").field("token", &self.token()).finish_non_exhaustive()
    }
}

/// The lines that one row makes, statics first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// A `Static` line of the row's partition comes first.
    pub statics: bool,
    /// A `Row` line.
    pub row: bool,
}

/// Tells the lines of one row after the other.
#[derive(Clone, Debug)]
pub struct RowSplitter {
    partition_key: usize,
    first_clustering: Option<usize>,
    statics: Vec<usize>,
    last_key: Option<Vec<u8>>,
}

impl RowSplitter {
    /// For a table read from a range's start.
    #[must_use]
    pub fn new(layout: &TableLayout) -> Self {
        let of = |role: ColumnRole| {
            let columns = layout.columns.iter().enumerate().filter(move |(_, column)| column.role == role);
            columns.map(|(index, _)| index)
        };
        Self {
            partition_key: of(ColumnRole::PartitionKey).count(),
            first_clustering: of(ColumnRole::Clustering).next(),
            statics: of(ColumnRole::Static).collect(),
            last_key: None,
        }
    }

    /// For a table read from behind a position: the statics of its partition have been told.
    #[must_use]
    pub fn behind(layout: &TableLayout, position: &Position) -> Self {
        let mut splitter = Self::new(layout);
        let cells: Vec<Option<&[u8]>> = position.partition.iter().map(|cell| Some(&cell[..])).collect();
        join(&cells, splitter.last_key.insert(Vec::new()));
        splitter
    }

    /// The lines of the next row; `cells` as [`super::page::PageRows`] gives them.
    pub fn split(&mut self, cells: &[Option<&[u8]>]) -> Lines {
        let row = self.first_clustering.is_none_or(|index| cells[index].is_some());
        if self.statics.is_empty() {
            return Lines { statics: false, row };
        }
        let key = &cells[..self.partition_key];
        if self.last_key.as_deref().is_some_and(|last| is_joined(last, key)) {
            return Lines { statics: false, row };
        }
        join(key, self.last_key.get_or_insert_default());
        Lines { statics: self.statics.iter().any(|&index| cells[index].is_some()), row }
    }
}

/// Key cells behind each other, each with its length before it, so that equal bytes mean equal cells.
fn join(key: &[Option<&[u8]>], bytes: &mut Vec<u8>) {
    bytes.clear();
    for cell in key {
        let cell = cell.unwrap_or_default();
        bytes.extend_from_slice(&cell.len().to_le_bytes());
        bytes.extend_from_slice(cell);
    }
}

fn is_joined(mut bytes: &[u8], key: &[Option<&[u8]>]) -> bool {
    for cell in key {
        let cell = cell.unwrap_or_default();
        let Some(rest) = bytes.strip_prefix(&cell.len().to_le_bytes()[..]) else { return false };
        let Some(rest) = rest.strip_prefix(cell) else { return false };
        bytes = rest;
    }
    bytes.is_empty()
}

#[cfg(test)]
pub(crate) mod tests {
    use ringvault_proto::v1;

    use super::*;

    /// A table of these columns: `p` partition key, `c` clustering, `s` static, `r` regular, `m` a non-frozen map.
    pub(crate) fn inspected(columns: &str) -> v1::InspectedTable {
        let column = |(index, sort): (usize, char)| {
            let (kind, r#type) = match sort {
                'p' => (v1::ColumnKind::PartitionKey, "int"),
                'c' => (v1::ColumnKind::Clustering, "int"),
                's' => (v1::ColumnKind::Static, "text"),
                'm' => (v1::ColumnKind::Regular, "map<text, int>"),
                _ => (v1::ColumnKind::Regular, "text"),
            };
            v1::Column { name: format!("{sort}{index}"), kind: kind.into(), r#type: r#type.to_owned(), reversed: false }
        };
        v1::InspectedTable {
            table: Some(v1::TableName { keyspace: "ks".into(), table: "t".into() }),
            columns: columns.chars().enumerate().map(column).collect(),
            ..v1::InspectedTable::default()
        }
    }

    pub(crate) fn layout(columns: &str) -> TableLayout {
        TableLayout::from_message(&inspected(columns)).expect("a table")
    }

    const A: Option<&[u8]> = Some(b"a");
    const B: Option<&[u8]> = Some(b"b");

    #[test]
    fn statics_are_told_once_a_partition_and_a_partition_of_statics_has_no_row() {
        let mut splitter = RowSplitter::new(&layout("pcsr"));
        assert_eq!(splitter.split(&[A, A, A, B]), Lines { statics: true, row: true });
        assert_eq!(splitter.split(&[A, B, A, B]), Lines { statics: false, row: true });
        assert_eq!(splitter.split(&[B, None, A, None]), Lines { statics: true, row: false });
        assert_eq!(splitter.split(&[A, A, None, B]), Lines { statics: false, row: true });
    }

    #[test]
    fn keys_that_only_read_alike_are_two_partitions() {
        let mut splitter = RowSplitter::new(&layout("ppcs"));
        let (ab, c, a, bc) = (Some(&b"ab"[..]), Some(&b"c"[..]), Some(&b"a"[..]), Some(&b"bc"[..]));
        assert!(splitter.split(&[ab, c, A, A]).statics);
        assert!(splitter.split(&[a, bc, A, A]).statics);
    }

    #[test]
    fn behind_a_position_its_partition_is_open() {
        let layout = layout("pcsr");
        let cells = [A, B, A, None];
        let position = Position::behind(&layout, LineKind::Row, |index| cells[index]).expect("a key");
        assert_eq!(position.clustering, Some(vec![b"b".to_vec()]));
        let mut splitter = RowSplitter::behind(&layout, &position);
        assert_eq!(splitter.split(&[A, B, A, None]), Lines { statics: false, row: true });
        assert!(splitter.split(&[B, B, A, None]).statics);
        let statics = Position::behind(&layout, LineKind::Static, |index| cells[index]).expect("a key");
        assert_eq!(statics.clustering, None);
    }

    #[test]
    fn a_position_shows_no_key() {
        let position = Position { partition: vec![b"hunter2".to_vec()], clustering: None };
        assert!(!format!("{position:?}").contains("hunter2"), "{position:?}");
    }
}
