//! The cells that a non-frozen map, set or user type is made of: where each stands in the raw value, and their times.

use super::CellTime;
use crate::cql_type::CqlType;

/// Times of the elements of a row's columns, for those columns only whose elements differ in them. Reused from row to row.
///
/// One entry an element, in the order of the raw value; nothing for a field of a user type that is null.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElementTimes {
    /// Column, and where its entries stand; by column.
    columns: Vec<(usize, usize, usize)>,
    times: Vec<Option<CellTime>>,
}

impl ElementTimes {
    /// No column has any.
    pub const NONE: Self = Self { columns: Vec::new(), times: Vec::new() };

    /// Whether no column has any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Forgets all, and keeps the space.
    pub fn clear(&mut self) {
        self.columns.clear();
        self.times.clear();
    }

    /// The times of a column's elements, where they differ.
    #[must_use]
    pub fn of(&self, column: usize) -> Option<&[Option<CellTime>]> {
        if self.columns.is_empty() {
            return None;
        }
        let at = self.columns.binary_search_by_key(&column, |(column, ..)| *column).ok()?;
        let (_, start, end) = self.columns[at];
        self.times.get(start..end)
    }

    /// Sets the times of a column's elements. Where they all are the same, that one time is given back and the column has
    /// none of its own here.
    pub fn set(&mut self, column: usize, times: impl IntoIterator<Item = Option<CellTime>>) -> Option<CellTime> {
        let start = self.times.len();
        self.times.extend(times);
        let place = self.columns.binary_search_by_key(&column, |(column, ..)| *column);
        if let Some(shared) = shared(&self.times[start..]) {
            self.times.truncate(start);
            if let Ok(at) = place {
                self.columns.remove(at);
            }
            return Some(shared);
        }
        let entry = (column, start, self.times.len());
        match place {
            Ok(at) => self.columns[at] = entry,
            Err(at) => self.columns.insert(at, entry),
        }
        None
    }

    /// Takes a column out.
    pub fn remove(&mut self, column: usize) {
        self.columns.retain(|(other, ..)| *other != column);
    }

    /// Newest writetime and latest expiry of a column's elements, where it has entries.
    #[must_use]
    pub fn summary(&self, column: usize) -> Option<CellTime> {
        self.of(column).map(summary)
    }
}

/// The one time that all elements have, if they do; that of nothing is "not known".
fn shared(times: &[Option<CellTime>]) -> Option<CellTime> {
    let mut there = times.iter().flatten();
    let first = there.next().copied().unwrap_or_default();
    there.all(|time| *time == first).then_some(first)
}

/// Newest writetime and latest expiry; an element that never ends is later than any.
fn summary(times: &[Option<CellTime>]) -> CellTime {
    let there = || times.iter().flatten();
    let endless = there().any(|time| time.expiry.is_none());
    CellTime {
        writetime: there().filter_map(|time| time.writetime).max(),
        expiry: there().filter_map(|time| time.expiry).max().filter(|_| !endless),
    }
}

/// One element of a raw value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'c> {
    /// As it stands there: length and bytes; of a map, key and value.
    pub framed: &'c [u8],
    /// A field of a user type that is null. It has no times.
    pub is_null: bool,
}

/// The elements of a raw map, set, list or user type, in order; nothing where the type has none or the bytes are not of
/// its form.
#[must_use]
pub fn elements<'c>(cql_type: &CqlType, cell: &'c [u8]) -> Option<Vec<Element<'c>>> {
    let (mut rest, count, parts) = match cql_type {
        CqlType::Map(..) => (cell.get(4..)?, count_of(cell)?, 2),
        CqlType::Set(_) | CqlType::List(_) => (cell.get(4..)?, count_of(cell)?, 1),
        CqlType::Udt(udt) => (cell, udt.fields.len(), 1),
        _ => return None,
    };
    let is_udt = matches!(cql_type, CqlType::Udt(_));
    let mut found = Vec::new();
    for _ in 0..count {
        if is_udt && rest.is_empty() {
            break; // it ends before its type does
        }
        let whole = rest;
        let mut is_null = false;
        for _ in 0..parts {
            let (length, behind) = rest.split_first_chunk::<4>()?;
            let length = i32::from_be_bytes(*length);
            is_null = length < 0;
            if length < -1 {
                return None;
            }
            rest = behind.get(usize::try_from(length).unwrap_or(0)..)?;
        }
        found.push(Element { framed: &whole[..whole.len() - rest.len()], is_null: is_null && is_udt });
    }
    rest.is_empty().then_some(found)
}

/// A raw map, set or list of these elements.
#[must_use]
pub fn collection<'c>(elements: impl IntoIterator<Item = &'c [u8]>) -> Vec<u8> {
    let mut cell = vec![0; 4];
    let mut count: u32 = 0;
    for element in elements {
        cell.extend_from_slice(element);
        count += 1;
    }
    cell[..4].copy_from_slice(&count.to_be_bytes());
    cell
}

fn count_of(cell: &[u8]) -> Option<usize> {
    let count = i32::from_be_bytes(*cell.first_chunk()?);
    usize::try_from(count).ok()
}

/// What is left of a raw value without some of its elements: fields become null, entries are gone. Nothing where nothing
/// is left.
pub(super) fn without(cql_type: &CqlType, elements: &[Element<'_>], keep: &[bool]) -> Option<Vec<u8>> {
    let kept = || elements.iter().zip(keep).filter(|(_, keep)| **keep).map(|(element, _)| element);
    if !kept().any(|element| !element.is_null) {
        return None;
    }
    if !matches!(cql_type, CqlType::Udt(_)) {
        return Some(collection(kept().map(|element| element.framed)));
    }
    let mut cell = Vec::new();
    for (element, keep) in elements.iter().zip(keep) {
        cell.extend_from_slice(if *keep { element.framed } else { &[0xff; 4] });
    }
    Some(cell)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cql_type::UdtType;

    fn at(writetime: i64) -> Option<CellTime> {
        Some(CellTime { writetime: Some(writetime), expiry: None })
    }

    #[test]
    fn equal_times_are_one_and_differing_ones_are_kept_by_column() {
        let mut times = ElementTimes::default();
        assert_eq!(times.set(3, [at(1), None, at(1)]), at(1));
        assert!(times.is_empty());
        assert_eq!(times.set(3, [at(1), None, at(2)]), None);
        assert_eq!(times.set(1, [at(5), at(6)]), None);
        assert_eq!(times.of(3), Some(&[at(1), None, at(2)][..]));
        assert_eq!((times.of(1).map(<[_]>::len), times.of(2)), (Some(2), None));
        assert_eq!(times.summary(3), at(2));
        assert_eq!(times.set(3, [at(9)]), at(9));
        assert_eq!(times.of(3), None);
        times.remove(1);
        assert!(times.is_empty());
    }

    #[test]
    fn an_element_that_never_ends_is_the_latest() {
        let ends = |expiry| Some(CellTime { writetime: Some(1), expiry: Some(expiry) });
        assert_eq!(summary(&[ends(5), None, ends(9)]), ends(9).expect("fine"));
        assert_eq!(summary(&[ends(5), at(3)]), at(3).expect("fine"));
    }

    #[test]
    fn elements_are_found_and_left_out() {
        let set = CqlType::Set(Box::new(CqlType::Text));
        let cell = [&[0, 0, 0, 3][..], &[0, 0, 0, 1, b'a'], &[0, 0, 0, 0], &[0, 0, 0, 1, b'c']].concat();
        let found = elements(&set, &cell).expect("well framed");
        assert_eq!(found.iter().map(|element| element.framed.len()).collect::<Vec<_>>(), [5, 4, 5]);
        let left = without(&set, &found, &[false, true, true]).expect("two");
        assert_eq!(left, [&[0, 0, 0, 2][..], &[0, 0, 0, 0], &[0, 0, 0, 1, b'c']].concat());
        assert_eq!(without(&set, &found, &[false; 3]), None);
        let map = CqlType::Map(Box::new(CqlType::Text), Box::new(CqlType::Text));
        let cell = [&[0, 0, 0, 1][..], &[0, 0, 0, 1, b'a'], &[0, 0, 0, 1, b'b']].concat();
        assert_eq!(elements(&map, &cell).expect("well framed")[0].framed, &cell[4..]);
        for length in 0..cell.len() {
            assert_eq!(elements(&map, &cell[..length]), None);
        }
    }

    #[test]
    fn fields_left_out_are_null_and_a_value_may_end_before_its_type() {
        let fields = ["a", "b", "c"].map(|name| (name.to_owned(), CqlType::Text)).to_vec();
        let udt = CqlType::Udt(Arc::new(UdtType { name: "u".into(), fields }));
        let cell = [&[0, 0, 0, 1, b'a'][..], &[0xff; 4]].concat();
        let found = elements(&udt, &cell).expect("well framed");
        assert_eq!(found.iter().map(|element| element.is_null).collect::<Vec<_>>(), [false, true]);
        assert_eq!(without(&udt, &found, &[false, true]), None);
        let cell = [&[0, 0, 0, 1, b'a'][..], &[0xff; 4], &[0, 0, 0, 0]].concat();
        let found = elements(&udt, &cell).expect("well framed");
        let left = without(&udt, &found, &[false, true, true]).expect("an empty one");
        assert_eq!(left, [&[0xff; 8][..], &[0; 4]].concat());
    }
}
