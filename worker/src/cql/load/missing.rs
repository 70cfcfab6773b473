//! Rows that are written only where nothing else stands: what the table holds of a row is read, and the row is written if that
//! is a part of the backup's row, as an attempt that broke off leaves it.

use std::sync::Mutex;

use ringvault_archive::{
    cql_type::CqlType,
    row::{DecodedRow, LineKind, elements},
    table::{ColumnLayout, TableLayout},
};

use super::{
    LoadCounts,
    bind::{Write, no_key},
    columns::{Columns, role_of},
    read::RawCells,
    send::{Sender, Trouble, lock},
    window::Window,
};
use crate::cql::errors::Result;

/// A line with its writes, to be compared with what stands there.
#[derive(Debug)]
pub(super) struct WantedLine {
    pub(super) kind: LineKind,
    pub(super) token: i64,
    /// Raw cells of the key.
    pub(super) key: Vec<Vec<u8>>,
    /// One a column that lines of this kind hold beside their key.
    pub(super) cells: RawCells,
    pub(super) writes: Vec<Write>,
}

impl WantedLine {
    /// # Errors
    /// `Corrupt` for a line without its key.
    pub(super) fn of(row: &DecodedRow, layout: &TableLayout, columns: &Columns, writes: Vec<Write>) -> Result<Self> {
        let kind = row.kind();
        let key = columns.key_of(kind).iter().map(|&column| row.cell(column).map(<[u8]>::to_vec));
        let cells = layout.columns.iter().enumerate().filter(|(_, column)| column.role == role_of(kind));
        Ok(Self {
            kind,
            token: writes.first().map_or(0, |write| write.token),
            key: key.collect::<Option<_>>().ok_or_else(|| no_key(layout))?,
            cells: cells.map(|(index, _)| row.cell(index).map(<[u8]>::to_vec)).collect(),
            writes,
        })
    }

    /// About what it takes of memory and of a request.
    pub(super) fn bytes(&self) -> usize {
        2 * self.writes.iter().map(|write| write.bytes).sum::<usize>()
    }
}

/// What stands in the place of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    /// Nothing, or a part of it.
    Part,
    /// The same cells.
    Same,
    /// Something that the line doesn't hold.
    Other,
}

/// Compares what stands there (nothing where there is no such row) with what is wanted. More cells than wanted are those of
/// columns that the backup doesn't have.
fn compare<'c>(
    columns: impl Iterator<Item = &'c ColumnLayout>,
    wanted: &[Option<Vec<u8>>],
    there: Option<&[Option<Vec<u8>>]>,
) -> There {
    let Some(there) = there else { return There::Part };
    if there.iter().skip(wanted.len()).any(Option::is_some) {
        return There::Other;
    }
    let mut whole = There::Same;
    for ((column, wanted), there) in columns.zip(wanted).zip(there) {
        match (wanted, there) {
            (None, None) => {}
            (Some(wanted), Some(there)) if wanted == there => {}
            (Some(_), None) => whole = There::Part,
            (Some(wanted), Some(there)) if is_part(column, wanted, there) => whole = There::Part,
            (_, Some(_)) => return There::Other,
        }
    }
    whole
}

/// Whether every element that stands there is one of those that are wanted.
fn is_part(column: &ColumnLayout, wanted: &[u8], there: &[u8]) -> bool {
    if !column.has_element_times() {
        return false;
    }
    let (Some(wanted), Some(there)) = (elements(&column.cql_type, wanted), elements(&column.cql_type, there)) else {
        return false;
    };
    if matches!(column.cql_type, CqlType::Udt(_)) {
        let wanted_field = |index: usize| wanted.get(index).map(|element| element.framed);
        return there
            .iter()
            .enumerate()
            .all(|(index, element)| element.is_null || wanted_field(index) == Some(element.framed));
    }
    // both stand in the order of the type
    let mut rest = wanted.iter();
    there.iter().all(|element| rest.any(|wanted| wanted.framed == element.framed))
}

impl Sender {
    /// Writes a line unless something else stands in its place.
    pub(super) async fn send_missing(
        &self,
        line: WantedLine,
        layout: &TableLayout,
        window: &Mutex<Window>,
    ) -> Result<LoadCounts> {
        let mut counts = LoadCounts::default();
        let mut trouble = Trouble::default();
        let there = loop {
            let limit = lock(window).limit();
            match self.read_line(line.kind, line.token, &line.key).await {
                Ok(there) => break there,
                Err(error) => {
                    self.pause(error, &mut trouble, window, limit).await?;
                    counts.retries += 1;
                }
            }
        };
        let columns = layout.columns.iter().filter(|column| column.role == role_of(line.kind));
        match compare(columns, &line.cells, there.as_deref()) {
            There::Same | There::Other => {
                match line.kind {
                    LineKind::Row => counts.rows += 1,
                    LineKind::Static => counts.static_rows += 1,
                }
                counts.rows_skipped += 1;
            }
            There::Part => {
                let (lists, writes): (Vec<Write>, Vec<Write>) =
                    line.writes.into_iter().partition(|write| write.shape.is_list());
                if !writes.is_empty() {
                    counts += self.send(writes, window).await?;
                }
                for list in lists {
                    counts += self.send_list(list, window).await?;
                }
            }
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cql::load::tests::layout;

    fn there(columns: &str, wanted: &[Option<&[u8]>], there: Option<&[Option<&[u8]>]>) -> There {
        let layout = layout(columns);
        let owned = |cells: &[Option<&[u8]>]| cells.iter().map(|cell| cell.map(<[u8]>::to_vec)).collect::<Vec<_>>();
        compare(layout.columns[1..].iter(), &owned(wanted), there.map(owned).as_deref())
    }

    const A: Option<&[u8]> = Some(b"aaaa");
    const B: Option<&[u8]> = Some(b"bbbb");

    #[test]
    fn a_row_is_missing_where_nothing_or_a_part_of_it_stands_there() {
        assert_eq!(there("k:p,v:r,w:r", &[A, B], None), There::Part);
        assert_eq!(there("k:p,v:r,w:r", &[A, B], Some(&[None, None])), There::Part);
        assert_eq!(there("k:p,v:r,w:r", &[A, B], Some(&[None, B])), There::Part);
        assert_eq!(there("k:p,v:r,w:r", &[A, B], Some(&[A, B])), There::Same);
        assert_eq!(there("k:p,v:r,w:r", &[None, None], Some(&[None, None])), There::Same);
        assert_eq!(there("k:p,v:r,w:r", &[A, B], Some(&[B, B])), There::Other);
        assert_eq!(there("k:p,v:r,w:r", &[A, None], Some(&[None, B])), There::Other);
        assert_eq!(there("k:p,v:r", &[A], Some(&[A, B])), There::Other, "a column of the table alone");
        assert_eq!(there("k:p,v:r", &[A], Some(&[A, None])), There::Same);
    }

    #[test]
    fn of_a_collection_some_of_its_elements_are_a_part() {
        let map = |elements: &[&[u8; 2]]| -> Vec<u8> {
            let mut bytes = u32::try_from(elements.len()).expect("few").to_be_bytes().to_vec();
            for [key, value] in elements {
                bytes.extend([0, 0, 0, 1, *key, 0, 0, 0, 1, *value]);
            }
            bytes
        };
        let of = |wanted: &[&[u8; 2]], found: &[&[u8; 2]]| {
            there("k:p,m:m", &[Some(&map(wanted))], Some(&[Some(&map(found))]))
        };
        assert_eq!(of(&[b"ax", b"by", b"cz"], &[b"ax", b"cz"]), There::Part);
        assert_eq!(of(&[b"ax", b"by"], &[b"ax", b"by"]), There::Same);
        assert_eq!(of(&[b"ax", b"by"], &[b"az"]), There::Other);
        assert_eq!(of(&[b"ax"], &[b"ax", b"by"]), There::Other);
        let field = |a: &[u8], b: &[u8]| [a, b].concat();
        let (one, null) = (&[0, 0, 0, 1, 7][..], &[0xff; 4][..]);
        let udt = |wanted: &[u8], found: &[u8]| there("k:p,u:u", &[Some(wanted)], Some(&[Some(found)]));
        assert_eq!(udt(&field(one, one), &field(null, one)), There::Part);
        assert_eq!(udt(&field(one, null), &field(null, one)), There::Other);
        let list = there("k:p,l:l", &[Some(&map(&[b"ax"]))], Some(&[Some(&map(&[]))]));
        assert_eq!(list, There::Other);
    }
}
