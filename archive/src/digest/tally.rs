//! Adds lines up, many at once.

use super::{HashInput, Sum, Sums, lanes, lanes::Lanes};
use crate::row::LineKind;

/// Adds row lines up; equal to adding [`HashInput::hash`] of each to [`Sums`], and much faster.
#[derive(Default)]
pub struct Tally {
    sums: Sums,
    values: Lanes,
    times: Lanes,
}

impl Tally {
    /// Counts one line in.
    pub fn add(&mut self, kind: LineKind, line: &HashInput<'_>) {
        let Self { sums, values, times } = self;
        match kind {
            LineKind::Row => sums.rows += 1,
            LineKind::Static => sums.static_rows += 1,
        }
        let of_times = size_of::<Sum>() + line.times.len();
        if !line.elements.is_empty() || line.values.is_empty() || line.values.len().max(of_times) > lanes::BYTES_MAX {
            sums.add(&line.hash());
            return;
        }
        values.push([line.values, &[]], line.times, &mut |hash, behind| with_times(sums, times, hash, behind));
    }

    /// Row lines so far; static lines don't count.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.sums.rows
    }

    /// What all lines amount to. The next line begins anew.
    pub fn take(&mut self) -> Sums {
        let Self { sums, values, times } = self;
        values.flush(&mut |hash, behind| with_times(sums, times, hash, behind));
        times.flush(&mut |hash, _| sums.times += Sum::from_bytes(hash));
        std::mem::take(sums)
    }
}

/// Adds a hash of values, and has that of its times made.
fn with_times(sums: &mut Sums, times: &mut Lanes, hash: &[u8; 32], behind: &[u8]) {
    let values = Sum::from_bytes(hash);
    sums.values += values;
    if behind.is_empty() {
        sums.times += values;
    } else {
        times.push([hash, behind], &[], &mut |hash, _| sums.times += Sum::from_bytes(hash));
    }
}

/// Shows no line.
impl std::fmt::Debug for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tally").field("rows", &self.sums.rows).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_length(lengths: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), lengths)
    }

    fn any_line() -> impl Strategy<Value = (bool, Vec<u8>, Vec<u8>, Vec<u8>)> {
        let longer = lanes::BYTES_MAX + 100;
        let values = prop_oneof![4 => of_length(0..200), 1 => of_length(0..longer)];
        let times = prop_oneof![2 => of_length(0..1), 4 => of_length(0..60), 1 => of_length(0..longer)];
        let elements = prop_oneof![4 => of_length(0..1), 1 => of_length(0..60)];
        (any::<bool>(), values, times, elements)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn many_lines_amount_to_what_they_do_one_by_one(lines in proptest::collection::vec(any_line(), 0..120)) {
            let (mut tally, mut sums) = (Tally::default(), Sums::default());
            for (is_row, values, times, elements) in &lines {
                let line = HashInput { values, times, elements };
                let kind = if *is_row { LineKind::Row } else { LineKind::Static };
                tally.add(kind, &line);
                match kind {
                    LineKind::Row => sums.add_row(&line.hash()),
                    LineKind::Static => sums.add_static(&line.hash()),
                }
            }
            prop_assert_eq!(tally.rows(), sums.rows);
            prop_assert_eq!(tally.take(), sums);
            prop_assert_eq!(tally.take(), Sums::default());
        }
    }
}
