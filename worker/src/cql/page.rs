//! Raw rows of one page. Bytes of cells are lent as the server sent them, never decoded; of the page's layout only the
//! columns that carry writetimes and TTLs are read here.
//!
//! ```text
//! page = row × rows      row = [value] × (columns of the layout, then times)      value = length i32 BE, bytes; -1: null
//! ```

use std::sync::Arc;

use bytes::Bytes;
use ringvault_archive::{
    row::{CellTime, ElementTimes, LineKind},
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
    /// Selected columns that hold its writetime and its TTL: the newest and the longest of its elements where those are
    /// lists.
    Read { writetime: TimeColumn, ttl: TimeColumn },
    /// Selected columns that are lists of the writetimes and TTLs of its elements, or fields, in their order.
    Elements { writetime: usize, ttl: usize },
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
            elements: ElementTimes::default(),
            of_elements: Vec::new(),
            estimated: [0; 2],
        }
    }
}

/// One row, lent until the next is asked for.
#[derive(Clone, Copy, Debug)]
pub struct RowRef<'r> {
    /// Raw cells, one a column of the layout; nothing where null, empty where *empty*.
    pub cells: &'r [Option<&'r [u8]>],
    /// Their times; of those whose elements differ, the newest and the latest.
    pub times: &'r [CellTime],
    /// Times of elements, where they differ.
    pub elements: &'r ElementTimes,
    /// Bytes of the row in the page.
    pub bytes: usize,
    /// Regular cells and static ones whose times could not be read.
    estimated: [u64; 2],
}

impl RowRef<'_> {
    /// Cells of a line of this kind whose times could not be read: those of the row stand in.
    #[must_use]
    pub fn estimated_cells(&self, kind: LineKind) -> u64 {
        self.estimated[usize::from(kind == LineKind::Static)]
    }
}

/// A walk over a page's rows that allocates nothing a row.
#[derive(Debug)]
pub struct PageRows<'p> {
    page: &'p Page,
    rest: &'p [u8],
    left: usize,
    cells: Vec<Option<&'p [u8]>>,
    times: Vec<CellTime>,
    elements: ElementTimes,
    /// Scratch space of one cell.
    of_elements: Vec<Option<CellTime>>,
    estimated: [u64; 2],
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
            elements: &self.elements,
            bytes: before - self.rest.len(),
            estimated: self.estimated,
        }))
    }

    fn read_times(&mut self) -> Result<()> {
        let shape = &*self.page.shape;
        let now_unix_s = self.page.now_unix_s;
        let mut of_row = [OfRow::default(), OfRow::default()];
        self.elements.clear();
        self.estimated = [0; 2];
        for (column, source) in shape.times.iter().enumerate() {
            self.times[column] = CellTime::default();
            if self.cells[column].is_none() {
                continue;
            }
            let is_static = usize::from(shape.is_static[column]);
            match *source {
                TimeSource::None => continue,
                TimeSource::OfRow => {
                    self.estimated[is_static] += 1;
                    continue;
                }
                TimeSource::Read { writetime, ttl } => {
                    let writetime = self.cells[writetime.index].map_or(Ok(None), |b| newest(b, writetime.is_list))?;
                    let ttl = self.cells[ttl.index].map_or(Ok(None), |b| longest(b, ttl.is_list))?;
                    self.times[column] = cell_time(writetime, ttl, now_unix_s);
                }
                TimeSource::Elements { writetime, ttl } => {
                    let (Some(writetimes), Some(ttls)) = (self.cells[writetime], self.cells[ttl]) else {
                        return Err(malformed("a collection has no times"));
                    };
                    read_elements(writetimes, ttls, now_unix_s, &mut self.of_elements)?;
                    let shared = self.elements.set(column, self.of_elements.drain(..));
                    self.times[column] = shared.or_else(|| self.elements.summary(column)).unwrap_or_default();
                }
            }
            of_row[is_static].add(self.times[column]);
        }
        if self.estimated != [0; 2] {
            for (column, source) in shape.times.iter().enumerate() {
                if *source == TimeSource::OfRow && self.cells[column].is_some() {
                    self.times[column] = of_row[usize::from(shape.is_static[column])].time();
                }
            }
        }
        Ok(())
    }
}

fn cell_time(writetime: Option<i64>, ttl: Option<i64>, now_unix_s: i64) -> CellTime {
    let expiry = ttl.map(|ttl| snapped(writetime, now_unix_s.saturating_add(ttl)));
    CellTime { writetime, expiry }
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
struct Numbers<'p> {
    rest: &'p [u8],
    left: u32,
}

impl<'p> Numbers<'p> {
    fn of(bytes: &'p [u8]) -> Result<Self> {
        let (count, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| malformed("a list of times is cut off"))?;
        Ok(Self { rest, left: u32::from_be_bytes(*count) })
    }
}

impl Iterator for Numbers<'_> {
    type Item = Result<Option<i64>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(read_value(&mut self.rest).and_then(|element| element.map_or(Ok(None), number)))
    }
}

/// The times of elements; nothing where an element, a field of a user type, has no writetime: it is null.
fn read_elements(writetimes: &[u8], ttls: &[u8], now_unix_s: i64, out: &mut Vec<Option<CellTime>>) -> Result<()> {
    let (writetimes, mut ttls) = (Numbers::of(writetimes)?, Numbers::of(ttls)?);
    out.clear();
    for writetime in writetimes {
        let ttl = ttls.next().ok_or_else(|| malformed("elements have more writetimes than TTLs"))??;
        out.push(writetime?.map(|writetime| cell_time(Some(writetime), ttl, now_unix_s)));
    }
    if ttls.next().is_some() { Err(malformed("elements have more TTLs than writetimes")) } else { Ok(()) }
}

/// The newest writetime in a cell of a time column.
fn newest(bytes: &[u8], is_list: bool) -> Result<Option<i64>> {
    if !is_list {
        return number(bytes);
    }
    Numbers::of(bytes)?.try_fold(None, |newest, writetime| Ok(newest.max(writetime?)))
}

/// The longest TTL in a cell of a time column; nothing where an element never ends.
fn longest(bytes: &[u8], is_list: bool) -> Result<Option<i64>> {
    if !is_list {
        return number(bytes);
    }
    let (mut longest, mut endless) = (None, false);
    for ttl in Numbers::of(bytes)? {
        let ttl = ttl?;
        endless |= ttl.is_none();
        longest = longest.max(ttl);
    }
    Ok(longest.filter(|_| !endless))
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
    fn elements_that_differ_have_their_own_times_and_null_fields_none() {
        let list = |elements: &[Option<&[u8]>]| {
            let mut bytes = i32::try_from(elements.len()).expect("small").to_be_bytes().to_vec();
            elements.iter().for_each(|element| value(&mut bytes, *element));
            bytes
        };
        let (old, new) = (998_000_000_000_i64.to_be_bytes(), 999_000_000_000_i64.to_be_bytes());
        let ttl = 500_i32.to_be_bytes();
        let shape = || {
            let mut shape = timed(TimeSource::OfRow, 5, true);
            shape.times[1] = TimeSource::Elements { writetime: 3, ttl: 4 };
            shape
        };
        let writetimes = list(&[Some(&old), None, Some(&new)]);
        let ttls = list(&[None, None, Some(&ttl)]);
        let cells: [Option<&[u8]>; 5] = [Some(b"k"), Some(b"a"), Some(b"b"), Some(&writetimes), Some(&ttls)];
        let differing = page(shape(), &[&cells]);
        let mut rows = differing.iter();
        let row = rows.next_row().expect("well formed").expect("a row");
        let first = CellTime { writetime: Some(998_000_000_000), expiry: None };
        let last = CellTime { writetime: Some(999_000_000_000), expiry: Some(1_000_500) };
        assert_eq!(row.elements.of(1), Some(&[Some(first), None, Some(last)][..]));
        let newest = CellTime { writetime: Some(999_000_000_000), expiry: None };
        assert_eq!(row.times[1..], [newest, newest]);
        assert_eq!((row.estimated_cells(LineKind::Row), row.estimated_cells(LineKind::Static)), (1, 0));
        let (writetimes, ttls) = (list(&[Some(&old), Some(&old)]), list(&[Some(b""), None]));
        let cells: [Option<&[u8]>; 5] = [Some(b"k"), Some(b"a"), None, Some(&writetimes), Some(&ttls)];
        let equal = page(shape(), &[&cells]);
        let mut rows = equal.iter();
        let row = rows.next_row().expect("well formed").expect("a row");
        assert!(row.elements.is_empty());
        assert_eq!(row.times[1], first);
        assert_eq!(row.estimated_cells(LineKind::Row), 0);
        let short = list(&[None]);
        let cells: [Option<&[u8]>; 5] = [Some(b"k"), Some(b"a"), None, Some(&writetimes), Some(&short)];
        assert!(page(shape(), &[&cells]).iter().next_row().is_err());
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
