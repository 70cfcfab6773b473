//! The times of a line: `,"$":{"w":…,"x":…,"c":{…}}`, and the hash over writetimes.
//!
//! What most cells share is written once; on a tie, what the first of the tied cells has.

use super::{
    CellTime, LinePlan,
    cursor::{Cursor, Defect},
    number,
};

/// Opens the times; nothing else in a line can look like it, since quotes in strings are escaped and other keys `$…`
/// have another `$`.
pub(super) const TIMES: &[u8] = b",\"$\":{";
const OWN_TIMES: &[u8] = b"\"c\":{";
const NULL: &[u8] = b"null";

/// The cells of a line that can have times, by column, with buffers to group them.
#[derive(Default)]
pub(super) struct LineTimes {
    /// Column and times of the non-null cells outside the key, in row order.
    pub(super) cells: Vec<(usize, CellTime)>,
    grouped: Vec<(CellTime, usize)>,
    hashed: Vec<u8>,
}

impl LineTimes {
    /// Writes the times, if there are any.
    pub(super) fn write(&mut self, plan: &LinePlan, out: &mut Vec<u8>) {
        let shared = self.shared();
        let is_own = |(_, time): &&(usize, CellTime)| *time != shared;
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
                write_time(*time, out);
                out.extend_from_slice(b"},");
            }
            out.pop();
            out.push(b'}');
        }
        out.push(b'}');
    }

    /// What most cells have.
    fn shared(&mut self) -> CellTime {
        let Some(&(_, first)) = self.cells.first() else { return CellTime::default() };
        if self.cells.iter().all(|(_, time)| *time == first) {
            return first;
        }
        self.grouped.clear();
        self.grouped.extend(self.cells.iter().map(|(column, time)| (*time, *column)));
        self.grouped.sort_unstable_by_key(|(time, column)| (time.writetime, time.expiry, *column));
        let groups = self.grouped.chunk_by(|a, b| a.0 == b.0);
        let best = groups.max_by_key(|group| (group.len(), std::cmp::Reverse(group[0].1)));
        best.map_or_else(CellTime::default, |group| group[0].0)
    }

    /// BLAKE3 over the hash of the values and the writetimes of the `timed` columns.
    pub(super) fn hash(&mut self, plan: &LinePlan, values: &[u8; 32]) -> [u8; 32] {
        self.hashed.clear();
        self.hashed.extend_from_slice(values);
        for (column, time) in &self.cells {
            if plan.columns[*column].timed {
                let index = u16::try_from(*column).expect("layouts have at most 2^16 columns");
                self.hashed.extend_from_slice(&index.to_le_bytes());
                self.hashed.extend_from_slice(&time.writetime.unwrap_or(i64::MIN).to_le_bytes());
            }
        }
        *blake3::hash(&self.hashed).as_bytes()
    }

    /// Reads the times behind [`TIMES`] into the cells that were collected.
    pub(super) fn read(&mut self, plan: &LinePlan, cursor: &mut Cursor<'_>) -> Result<(), Defect> {
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
        self.read_own(plan, cursor)?;
        cursor.expect(b"}", "the times do not end")
    }

    fn read_own(&mut self, plan: &LinePlan, cursor: &mut Cursor<'_>) -> Result<(), Defect> {
        let mut next = self.cells.iter_mut();
        loop {
            let cell = next.find(|(column, _)| cursor.eat(&plan.columns[*column].key));
            let (_, time) = cell.ok_or("times are given for a cell that is null, unknown or out of order")?;
            cursor.expect(b"{", "an object is wanted in the times")?;
            *time = read_time(cursor)?;
            cursor.expect(b"}", "the times of a cell do not end")?;
            if cursor.eat(b"}") {
                return Ok(());
            }
            cursor.expect(b",", "a comma or an end is wanted in the times")?;
        }
    }
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
