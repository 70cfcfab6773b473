//! The times of a line: `,"$":{"w":…,"x":…,"c":{…}}`, and what of them is hashed.
//!
//! What most cells share is written once; on a tie, what the first of the tied cells has. Cells whose elements differ in
//! their times hold them one by one: `{"e":[[w,x],[w],null,…]}`.

use super::{
    CellTime, ElementTimes, LineKind, LinePlan,
    cursor::{Cursor, Defect},
    number,
};
use crate::{chunk::Facts, digest::HashInput};

/// Opens the times; nothing else in a line can look like it, since quotes in strings are escaped and other keys `$…`
/// have another `$`.
pub(super) const TIMES: &[u8] = b",\"$\":{";
const OWN_TIMES: &[u8] = b"\"c\":{";
const ELEMENTS: &[u8] = b"\"e\":";
const NULL: &[u8] = b"null";

/// The cells of a line that can have times, by column, with buffers to group them.
#[derive(Default)]
pub(super) struct LineTimes {
    /// Column and times of the non-null cells outside the key, in row order.
    pub(super) cells: Vec<(usize, CellTime)>,
    /// Of those cells whose elements differ; their entry in `cells` says newest and latest.
    pub(super) elements: ElementTimes,
    grouped: Vec<(CellTime, usize)>,
    hashed: Vec<u8>,
    hashed_elements: Vec<u8>,
}

impl LineTimes {
    /// Ready for another line.
    pub(super) fn clear(&mut self) {
        self.cells.clear();
        self.elements.clear();
    }

    /// Writes the times, if there are any.
    pub(super) fn write(&mut self, plan: &LinePlan, out: &mut Vec<u8>) {
        let shared = self.shared();
        let elements = &self.elements;
        let is_own = |(column, time): &&(usize, CellTime)| *time != shared || elements.of(*column).is_some();
        let mut own = self.cells.iter().filter(is_own).peekable();
        if shared == CellTime::default() && own.peek().is_none() {
            return;
        }
        out.extend_from_slice(TIMES);
        if shared != CellTime::default() {
            write_time(shared, out);
            if own.peek().is_some() {
                out.push(b',');
            }
        }
        if own.peek().is_some() {
            out.extend_from_slice(OWN_TIMES);
            for (column, time) in own {
                out.extend_from_slice(&plan.columns[*column].key);
                out.push(b'{');
                match elements.of(*column) {
                    Some(times) => write_elements(times, out),
                    None => write_time(*time, out),
                }
                out.extend_from_slice(b"},");
            }
            out.pop();
            out.push(b'}');
        }
        out.push(b'}');
    }

    /// What the times say of the line.
    pub(super) fn facts(&self, kind: LineKind) -> Facts {
        let latest = |times: &mut dyn Iterator<Item = Option<i64>>| times.flatten().max().unwrap_or(0);
        let of_elements = self.cells.iter().filter_map(|(column, _)| self.elements.of(*column)).flatten().flatten();
        Facts {
            key_only_rows: u64::from(kind == LineKind::Row && self.cells.is_empty()),
            estimated_cells: 0,
            writetime_us_max: latest(&mut self.cells.iter().map(|(_, time)| time.writetime)),
            expiry_s_max: latest(
                &mut self.cells.iter().map(|(_, time)| time.expiry).chain(of_elements.map(|time| time.expiry)),
            ),
        }
    }

    /// What most cells have, of those whose elements don't differ.
    fn shared(&mut self) -> CellTime {
        let elements = &self.elements;
        let mut whole = self.cells.iter().filter(|(column, _)| elements.of(*column).is_none());
        let Some(&(_, first)) = whole.next() else { return CellTime::default() };
        if whole.all(|(_, time)| *time == first) {
            return first;
        }
        self.grouped.clear();
        let whole = self.cells.iter().filter(|(column, _)| elements.of(*column).is_none());
        self.grouped.extend(whole.map(|(column, time)| (*time, *column)));
        self.grouped.sort_unstable_by_key(|(time, column)| (time.writetime, time.expiry, *column));
        let groups = self.grouped.chunk_by(|a, b| a.0 == b.0);
        let best = groups.max_by_key(|group| (group.len(), std::cmp::Reverse(group[0].1)));
        best.map_or_else(CellTime::default, |group| group[0].0)
    }

    /// What a line with these values is hashed by: the writetimes of the `timed` columns; where elements of some differ in
    /// theirs, apart from these. Where none is known, nothing: a backup of values alone should not pay for times.
    pub(super) fn hash_input<'a>(&'a mut self, plan: &LinePlan, values: &'a [u8]) -> HashInput<'a> {
        let Self { cells, elements, hashed, hashed_elements, .. } = self;
        hashed.clear();
        hashed_elements.clear();
        let unknown = |time: &CellTime| time.writetime.is_none();
        let none_known = |(column, time): &(usize, CellTime)| match elements.of(*column) {
            Some(times) => times.iter().flatten().all(unknown),
            None => unknown(time),
        };
        if cells.iter().filter(|(column, _)| plan.columns[*column].timed).all(none_known) {
            return HashInput { values, ..HashInput::default() };
        }
        let index = |column: usize| u16::try_from(column).expect("layouts have at most 2^16 columns").to_le_bytes();
        let number = |time: &CellTime| time.writetime.unwrap_or(i64::MIN).to_le_bytes();
        let differing = |column: usize| elements.of(column).filter(|times| differ_in_writetime(times));
        for (column, time) in cells.iter().filter(|(column, _)| plan.columns[*column].timed) {
            match differing(*column) {
                None => {
                    hashed.extend_from_slice(&index(*column));
                    hashed.extend_from_slice(&number(time));
                }
                Some(times) => {
                    hashed_elements.extend_from_slice(&index(*column));
                    times.iter().flatten().for_each(|time| hashed_elements.extend_from_slice(&number(time)));
                }
            }
        }
        HashInput { values, times: hashed, elements: hashed_elements }
    }

    /// Reads the times behind [`TIMES`] into the cells that were collected. `is_null` tells, element by element, what of a
    /// column's value is a null field; nothing where it has no elements.
    pub(super) fn read(
        &mut self,
        plan: &LinePlan,
        cursor: &mut Cursor<'_>,
        is_null: impl FnMut(usize) -> Option<Vec<bool>>,
    ) -> Result<(), Defect> {
        if self.cells.is_empty() {
            return Err("times stand there, but no cell that could have them");
        }
        if cursor.rest().starts_with(b"\"w\":") {
            let shared = read_time(cursor)?;
            self.cells.iter_mut().for_each(|(_, time)| *time = shared);
            if cursor.eat(b"}") {
                return Ok(());
            }
            cursor.expect(b",", "a comma or an end is wanted in the times")?;
        }
        cursor.expect(OWN_TIMES, "the times hold an unknown key, or none")?;
        self.read_own(plan, cursor, is_null)?;
        cursor.expect(b"}", "the times do not end")
    }

    fn read_own(
        &mut self,
        plan: &LinePlan,
        cursor: &mut Cursor<'_>,
        mut is_null: impl FnMut(usize) -> Option<Vec<bool>>,
    ) -> Result<(), Defect> {
        let mut next = self.cells.iter_mut();
        loop {
            let cell = next.find(|(column, _)| cursor.eat(&plan.columns[*column].key));
            let (column, time) = cell.ok_or("times are given for a cell that is null, unknown or out of order")?;
            cursor.expect(b"{", "an object is wanted in the times")?;
            if cursor.eat(ELEMENTS) {
                let is_null = is_null(*column).ok_or("times of elements are given for a cell that has none")?;
                if self.elements.set(*column, read_elements(cursor, &is_null)?).is_some() {
                    return Err("times of elements are given that are all the same");
                }
                *time = self.elements.summary(*column).unwrap_or_default();
            } else {
                *time = read_time(cursor)?;
            }
            cursor.expect(b"}", "the times of a cell do not end")?;
            if cursor.eat(b"}") {
                return Ok(());
            }
            cursor.expect(b",", "a comma or an end is wanted in the times")?;
        }
    }
}

fn differ_in_writetime(times: &[Option<CellTime>]) -> bool {
    let mut writetimes = times.iter().flatten().map(|time| time.writetime);
    let first = writetimes.next();
    writetimes.any(|writetime| Some(writetime) != first)
}

/// `"e":[…]`: of each element `[w]` or `[w,x]`, of a null field `null`.
fn write_elements(times: &[Option<CellTime>], out: &mut Vec<u8>) {
    out.extend_from_slice(ELEMENTS);
    for (index, time) in times.iter().enumerate() {
        out.push(if index == 0 { b'[' } else { b',' });
        let Some(time) = time else {
            out.extend_from_slice(NULL);
            continue;
        };
        out.push(b'[');
        match time.writetime {
            Some(writetime) => number::write_big(writetime, out),
            None => out.extend_from_slice(NULL),
        }
        if let Some(expiry) = time.expiry {
            out.push(b',');
            number::write_big(expiry, out);
        }
        out.push(b']');
    }
    out.push(b']');
}

fn read_elements(cursor: &mut Cursor<'_>, is_null: &[bool]) -> Result<Vec<Option<CellTime>>, Defect> {
    const OTHER: Defect = "times are given for another number of elements than the cell has";
    let mut times = Vec::with_capacity(is_null.len());
    cursor.sequence((b"[", b"]"), |cursor, index| {
        let time = match is_null.get(index) {
            None => return Err(OTHER),
            Some(true) => {
                cursor.expect(NULL, "a field that is null has times")?;
                None
            }
            Some(false) => {
                cursor.expect(b"[", "an array is wanted in the times")?;
                let writetime = if cursor.eat(NULL) { None } else { Some(read_big(cursor)?) };
                let expiry = if cursor.eat(b",") { Some(read_big(cursor)?) } else { None };
                cursor.expect(b"]", "the times of an element do not end")?;
                Some(CellTime { writetime, expiry })
            }
        };
        times.push(time);
        Ok(())
    })?;
    if times.len() == is_null.len() { Ok(times) } else { Err(OTHER) }
}

/// `"w":…` and, where the cell ends, `,"x":…`.
fn write_time(time: CellTime, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"w\":");
    match time.writetime {
        Some(writetime) => number::write_big(writetime, out),
        None => out.extend_from_slice(NULL),
    }
    if let Some(expiry) = time.expiry {
        out.extend_from_slice(b",\"x\":");
        number::write_big(expiry, out);
    }
}

fn read_time(cursor: &mut Cursor<'_>) -> Result<CellTime, Defect> {
    cursor.expect(b"\"w\":", "a writetime is wanted in the times")?;
    let writetime = if cursor.eat(NULL) { None } else { Some(read_big(cursor)?) };
    let expiry = if cursor.eat(b",\"x\":") { Some(read_big(cursor)?) } else { None };
    Ok(CellTime { writetime, expiry })
}

fn read_big(cursor: &mut Cursor<'_>) -> Result<i64, Defect> {
    let digits = if cursor.peek() == Some(b'"') { cursor.string()?.raw } else { cursor.bare() };
    number::read_int(digits)
}
