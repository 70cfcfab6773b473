//! Raw rows of one page. Bytes of cells are lent as the server sent them, never decoded; of the page's layout only the
//! columns that carry writetimes and TTLs are read here.
//!
//! ```text
//! page = row × rows      row = [value] × (columns of the layout, then times)      value = length i32 BE, bytes; -1: null
//! ```

use std::sync::Arc;

use bytes::Bytes;
use ringvault_archive::{
    row::CellTime,
    table::{ColumnRole, TableLayout},
};
use uuid::Uuid;

use super::errors::{Error, Result};

/// An expiry this near to writetime + a multiple of [`SNAP_STEP_S`] is taken for it: the database tells a remaining TTL
/// in whole seconds of its own clock, so the same expiry reads a second or two apart from one backup to the next.
const SNAP_NEAR_S: i64 = 2;

/// People give TTLs in multiples of this.
const SNAP_STEP_S: i64 = 10;

/// Where the times of a column come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeSource {
    /// It has none: a key, a counter, or times are not asked for.
    None,
    /// Selected columns that hold its writetime and its TTL.
    Read { writetime: TimeColumn, ttl: TimeColumn },
    /// They can't be read here: the row's newest writetime and latest expiry stand in.
    OfRow,
}

/// A selected column of writetimes or TTLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeColumn {
    pub(crate) index: usize,
    /// A list of numbers, one an element.
    pub(crate) is_list: bool,
}

/// How rows of a scan's pages are laid out.
#[derive(Clone, Debug)]
pub(crate) struct PageShape {
    /// Columns of the layout; they come first.
    pub(crate) columns: usize,
    /// All selected columns.
    pub(crate) selected: usize,
    /// One a column of the layout.
    pub(crate) times: Vec<TimeSource>,
    /// One a column of the layout: the statics stand in for each other, the regular ones too.
    pub(crate) is_static: Vec<bool>,
}

impl PageShape {
    /// Values only: the columns of the layout and nothing else.
    pub(crate) fn of_values(layout: &TableLayout) -> Self {
        let columns = layout.columns.len();
        Self {
            columns,
            selected: columns,
            times: vec![TimeSource::None; columns],
            is_static: layout.columns.iter().map(|column| column.role == ColumnRole::Static).collect(),
        }
    }
}

/// Rows that the database sent at once. Cheap to clone and to send to another thread.
#[derive(Clone, Debug)]
pub struct Page {
    pub(crate) bytes: Bytes,
    pub(crate) rows: usize,
    pub(crate) now_unix_s: i64,
    pub(crate) host: Uuid,
    pub(crate) shape: Arc<PageShape>,
}

impl Page {
    /// Rows in the page.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of the rows, as sent.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The database's clock when the page was asked for.
    #[must_use]
    pub fn now_unix_s(&self) -> i64 {
        self.now_unix_s
    }

    /// The node that answered.
    #[must_use]
    pub fn host(&self) -> Uuid {
        self.host
    }

    /// Its rows, one after the other.
    #[must_use]
    pub fn iter(&self) -> PageRows<'_> {
        PageRows {
            page: self,
            rest: &self.bytes,
            left: self.rows,
            cells: Vec::with_capacity(self.shape.selected),
            times: vec![CellTime::default(); self.shape.columns],
        }
    }
}

/// One row, lent until the next is asked for.
#[derive(Clone, Copy, Debug)]
pub struct RowRef<'r> {
    /// Raw cells, one a column of the layout; nothing where null, empty where *empty*.
    pub cells: &'r [Option<&'r [u8]>],
    /// Their times.
    pub times: &'r [CellTime],
    /// Bytes of the row in the page.
    pub bytes: usize,
}

/// A walk over a page's rows that allocates nothing a row.
#[derive(Debug)]
pub struct PageRows<'p> {
    page: &'p Page,
    rest: &'p [u8],
    left: usize,
    cells: Vec<Option<&'p [u8]>>,
    times: Vec<CellTime>,
}

impl PageRows<'_> {
    /// The next row.
    ///
    /// # Errors
    /// `Internal` where the bytes are not the rows that were announced.
    pub fn next_row(&mut self) -> Result<Option<RowRef<'_>>> {
        if self.left == 0 {
            return if self.rest.is_empty() { Ok(None) } else { Err(malformed("bytes follow the last row")) };
        }
        let before = self.rest.len();
        self.cells.clear();
        for _ in 0..self.page.shape.selected {
            let cell = read_value(&mut self.rest)?;
            self.cells.push(cell);
        }
        self.left -= 1;
        self.read_times()?;
        Ok(Some(RowRef {
            cells: &self.cells[..self.page.shape.columns],
            times: &self.times,
            bytes: before - self.rest.len(),
        }))
    }

    fn read_times(&mut self) -> Result<()> {
        let shape = &*self.page.shape;
        let mut of_row = [OfRow::default(), OfRow::default()];
        let mut unread = false;
        for (column, source) in shape.times.iter().enumerate() {
            self.times[column] = CellTime::default();
            match *source {
                TimeSource::None => {}
                TimeSource::OfRow => unread |= self.cells[column].is_some(),
                TimeSource::Read { writetime, ttl } => {
                    if self.cells[column].is_none() {
                        continue;
                    }
                    let writetime = self.cells[writetime.index].map_or(Ok(None), |b| newest(b, writetime.is_list))?;
                    let ttl = self.cells[ttl.index].map_or(Ok(None), |b| longest(b, ttl.is_list))?;
                    let expiry = ttl.map(|ttl| snapped(writetime, self.page.now_unix_s.saturating_add(ttl)));
                    self.times[column] = CellTime { writetime, expiry };
                    of_row[usize::from(shape.is_static[column])].add(self.times[column]);
                }
            }
        }
        if unread {
            for (column, source) in shape.times.iter().enumerate() {
                if *source == TimeSource::OfRow && self.cells[column].is_some() {
                    self.times[column] = of_row[usize::from(shape.is_static[column])].time();
                }
            }
        }
        Ok(())
    }
}

/// Newest writetime and latest expiry of the readable cells of a row; a cell that never ends is later than any.
#[derive(Clone, Copy, Default)]
struct OfRow {
    writetime: Option<i64>,
    expiry: Option<i64>,
    endless: bool,
}

impl OfRow {
    fn add(&mut self, time: CellTime) {
        self.writetime = self.writetime.max(time.writetime);
        match time.expiry {
            Some(_) => self.expiry = self.expiry.max(time.expiry),
            None => self.endless = true,
        }
    }

    fn time(self) -> CellTime {
        CellTime { writetime: self.writetime, expiry: self.expiry.filter(|_| !self.endless) }
    }
}

/// An expiry second as it is kept: the nearest writetime + a multiple of ten seconds where one is within two.
#[must_use]
pub fn snapped(writetime_us: Option<i64>, expiry_s: i64) -> i64 {
    let Some(written_s) = writetime_us.map(|us| us.div_euclid(1_000_000)) else { return expiry_s };
    let Some(lifetime) = expiry_s.checked_sub(written_s).filter(|lifetime| *lifetime > 0) else { return expiry_s };
    let beyond = lifetime.rem_euclid(SNAP_STEP_S);
    if beyond <= SNAP_NEAR_S && lifetime > beyond {
        expiry_s - beyond
    } else if SNAP_STEP_S - beyond <= SNAP_NEAR_S {
        expiry_s.saturating_add(SNAP_STEP_S - beyond)
    } else {
        expiry_s
    }
}

fn malformed(why: &str) -> Error {
    Error::internal(format!("a page of rows can't be read: {why}; the driver or the server breaks the protocol"))
}

/// One `[value]`: nothing for null.
fn read_value<'p>(rest: &mut &'p [u8]) -> Result<Option<&'p [u8]>> {
    let (length, behind) = rest.split_first_chunk::<4>().ok_or_else(|| malformed("a length is cut off"))?;
    let length = i32::from_be_bytes(*length);
    let Ok(length) = usize::try_from(length) else {
        *rest = behind;
        return Ok(None);
    };
    let (value, behind) = behind.split_at_checked(length).ok_or_else(|| malformed("a value is cut off"))?;
    *rest = behind;
    Ok(Some(value))
}

/// A number of 4 or 8 bytes; nothing for zero bytes, which is how 5.0 says "none" within a list.
fn number(bytes: &[u8]) -> Result<Option<i64>> {
    match *bytes {
        [] => Ok(None),
        [a, b, c, d] => Ok(Some(i64::from(i32::from_be_bytes([a, b, c, d])))),
        [a, b, c, d, e, f, g, h] => Ok(Some(i64::from_be_bytes([a, b, c, d, e, f, g, h]))),
        _ => Err(malformed("a time is neither an int nor a bigint")),
    }
}

/// The numbers of a `list<bigint>` or `list<int>`, one an element of a collection.
fn numbers(mut bytes: &[u8]) -> Result<Vec<Option<i64>>> {
    let (count, behind) = bytes.split_first_chunk::<4>().ok_or_else(|| malformed("a list of times is cut off"))?;
    bytes = behind;
    (0..u32::from_be_bytes(*count))
        .map(|_| read_value(&mut bytes).and_then(|element| element.map_or(Ok(None), number)))
        .collect()
}

/// The newest writetime in a cell of a time column.
fn newest(bytes: &[u8], is_list: bool) -> Result<Option<i64>> {
    if is_list { Ok(numbers(bytes)?.into_iter().max().flatten()) } else { number(bytes) }
}

/// The longest TTL in a cell of a time column; nothing where an element never ends.
fn longest(bytes: &[u8], is_list: bool) -> Result<Option<i64>> {
    if !is_list {
        return number(bytes);
    }
    let ttls = numbers(bytes)?;
    Ok(if ttls.contains(&None) { None } else { ttls.into_iter().max().flatten() })
}

#[cfg(test)]
mod tests {
    use super::{super::lines::tests::layout, *};

    fn value(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => {
                out.extend_from_slice(&i32::try_from(bytes.len()).expect("small").to_be_bytes());
                out.extend_from_slice(bytes);
            }
            None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }

    fn page(shape: PageShape, rows: &[&[Option<&[u8]>]]) -> Page {
        let mut bytes = Vec::new();
        for cell in rows.iter().copied().flatten() {
            value(&mut bytes, *cell);
        }
        Page { bytes: bytes.into(), rows: rows.len(), now_unix_s: 1_000_000, host: Uuid::nil(), shape: Arc::new(shape) }
    }

    /// `p r r`, times of the first regular column at 3 and 4, of the second by `second`.
    fn timed(second: TimeSource, selected: usize, lists: bool) -> PageShape {
        let mut shape = PageShape::of_values(&layout("prr"));
        shape.selected = selected;
        let writetime = TimeColumn { index: 3, is_list: lists };
        let ttl = TimeColumn { index: 4, is_list: lists };
        shape.times = vec![TimeSource::None, TimeSource::Read { writetime, ttl }, second];
        shape
    }

    #[test]
    fn null_and_empty_cells_differ() {
        let page =
            page(PageShape::of_values(&layout("prr")), &[&[Some(b"key"), None, Some(b"")], &[Some(b"k"), None, None]]);
        let mut rows = page.iter();
        let row = rows.next_row().expect("well formed").expect("a row");
        assert_eq!(row.cells, [Some(&b"key"[..]), None, Some(&b""[..])]);
        assert_eq!(row.bytes, 15);
        assert!(rows.next_row().expect("well formed").is_some());
        assert!(rows.next_row().expect("well formed").is_none());
    }

    #[test]
    fn a_damaged_page_is_an_error_and_no_panic() {
        let whole = page(PageShape::of_values(&layout("prr")), &[&[Some(b"key"), None, Some(b"value")]]);
        for length in 0..whole.bytes.len() {
            let cut = Page { bytes: whole.bytes.slice(..length), ..whole.clone() };
            assert!(cut.iter().next_row().is_err(), "{length}");
        }
        let mut long = whole.bytes.to_vec();
        long.push(0);
        let long = Page { bytes: long.into(), ..whole };
        let mut rows = long.iter();
        assert!(rows.next_row().is_ok());
        assert!(rows.next_row().is_err());
    }

    #[test]
    fn times_are_read_and_stand_in_for_those_that_cannot_be() {
        let written = 999_000_000_000_i64.to_be_bytes();
        let ttl = 500_i32.to_be_bytes();
        let cells: [Option<&[u8]>; 5] = [Some(b"k"), Some(b"a"), Some(b"b"), Some(&written), Some(&ttl)];
        let expected = CellTime { writetime: Some(999_000_000_000), expiry: Some(1_000_500) };
        let page = page(timed(TimeSource::OfRow, 5, false), &[&cells]);
        let mut rows = page.iter();
        let row = rows.next_row().expect("well formed").expect("a row");
        assert_eq!(row.times, [CellTime::default(), expected, expected]);
    }

    #[test]
    fn of_elements_the_newest_time_counts_and_one_without_an_end_has_none() {
        let list = |elements: &[Option<&[u8]>]| {
            let mut bytes = i32::try_from(elements.len()).expect("small").to_be_bytes().to_vec();
            elements.iter().for_each(|element| value(&mut bytes, *element));
            bytes
        };
        let times = list(&[Some(&5_i64.to_be_bytes()), Some(&7_i64.to_be_bytes())]);
        let both = list(&[Some(&10_i32.to_be_bytes()), Some(&20_i32.to_be_bytes())]);
        assert_eq!(newest(&times, true).expect("a list"), Some(7));
        assert_eq!(longest(&both, true).expect("a list"), Some(20));
        assert_eq!(longest(&list(&[Some(&10_i32.to_be_bytes()), Some(b"")]), true).expect("a list"), None);
        assert_eq!(longest(&list(&[Some(&10_i32.to_be_bytes()), None]), true).expect("a list"), None);
        assert!(newest(&times[..7], true).is_err());
    }

    #[test]
    fn an_expiry_near_a_round_lifetime_is_snapped_to_it() {
        let written = Some(1_000_000_900);
        for read in 86_398..=86_402 {
            assert_eq!(snapped(written, 1_000 + read), 1_000 + 86_400, "{read}");
        }
        assert_eq!(snapped(written, 1_000 + 86_403), 1_000 + 86_403);
        assert_eq!(snapped(written, 1_000 + 86_397), 1_000 + 86_397);
        assert_eq!(snapped(None, 1_234), 1_234);
        assert_eq!(snapped(written, 1_001), 1_001, "never to the write itself");
        assert_eq!(snapped(written, 900), 900, "a writetime in the future");
        assert_eq!(snapped(Some(i64::MIN), i64::MAX), i64::MAX);
    }
}
