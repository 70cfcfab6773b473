//! How fine a table's grid is: a segment aims at table bytes / 4096, within 4 to 32 MiB, and the grid of the newest
//! backup is kept as long as it fits, since equal grids are what makes unchanged segments recognizable.

use ringvault_proto::grid::{GRID_EXPONENT_MAX, Grid};

/// Smallest aim of a segment, in encoded bytes: an object worth its request.
const SEGMENT_BYTES_MIN: u64 = 4 << 20;

/// Largest aim of a segment, in encoded bytes: what a changed row stores anew.
const SEGMENT_BYTES_MAX: u64 = 32 << 20;

/// Segments that a table aims at between the two bounds.
const SEGMENTS_AIM: u64 = 4096;

/// How far off the measured mean segment may be before a grid is given up.
const DRIFT: u64 = 4;

/// An estimate this many times above what the parent held tells that the table has grown out of its grid.
const GROWTH: u64 = 16;

/// What the newest backup of a table tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    /// The backup.
    pub(crate) backup_id: String,
    /// The table's grid in it.
    pub(crate) grid: Grid,
    /// Encoded bytes of all its chunks.
    pub(crate) encoded_bytes: u64,
    /// Segments that hold any row.
    pub(crate) segments_filled: u64,
}

/// The grid of a table of about `bytes` encoded bytes, inherited where its parent's still fits.
pub(crate) fn choose(bytes: u64, parent: Option<&Parent>) -> Grid {
    let Some(parent) = parent.filter(|parent| parent.segments_filled > 0) else { return by_size(bytes) };
    if bytes / GROWTH > parent.encoded_bytes {
        return by_size(bytes);
    }
    let mean = parent.encoded_bytes / parent.segments_filled;
    let aim = aim(parent.encoded_bytes);
    let too_coarse = mean > aim.saturating_mul(DRIFT) && parent.grid.exponent() < GRID_EXPONENT_MAX;
    let too_fine = mean < aim / DRIFT && parent.grid != Grid::WHOLE;
    if too_coarse || too_fine { by_size(parent.encoded_bytes) } else { parent.grid }
}

fn aim(bytes: u64) -> u64 {
    (bytes / SEGMENTS_AIM).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
}

/// The finest grid whose mean segment is not below the aim, or one finer where that mean would leave the bounds.
fn by_size(bytes: u64) -> Grid {
    let mut exponent = (bytes / aim(bytes)).max(1).ilog2();
    while exponent < GRID_EXPONENT_MAX && bytes >> exponent > SEGMENT_BYTES_MAX {
        exponent += 1;
    }
    Grid::try_from(exponent.min(GRID_EXPONENT_MAX)).expect("at most the largest exponent")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(exponent: u32) -> Grid {
        Grid::try_from(exponent).expect("small")
    }

    fn parent(exponent: u32, encoded_bytes: u64, segments_filled: u64) -> Parent {
        Parent { backup_id: "p".into(), grid: grid(exponent), encoded_bytes, segments_filled }
    }

    #[test]
    fn mean_segments_stay_within_4_and_32_mib() {
        for shift in 22..46 {
            for bytes in [1_u64 << shift, (1 << shift) * 3 / 2] {
                let mean = bytes >> by_size(bytes).exponent();
                assert!((SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&mean), "{bytes}: {mean}");
            }
        }
        assert_eq!(by_size(0), Grid::WHOLE);
        assert_eq!(by_size(u64::MAX).exponent(), GRID_EXPONENT_MAX);
    }

    #[test]
    fn a_fitting_grid_is_inherited_whatever_the_estimate_says() {
        assert_eq!(choose(300 << 20, Some(&parent(3, 64 << 20, 8))), grid(3));
        assert_eq!(choose(0, Some(&parent(3, 64 << 20, 8))), grid(3));
    }

    #[test]
    fn a_grid_whose_mean_segment_is_four_times_off_is_given_up() {
        assert_eq!(choose(0, Some(&parent(0, 64 << 20, 1))), grid(4));
        assert_eq!(choose(0, Some(&parent(8, 128 << 20, 256))), grid(5));
    }

    #[test]
    fn a_tiny_table_keeps_its_single_segment() {
        assert_eq!(choose(100, Some(&parent(0, 100, 1))), Grid::WHOLE);
    }

    #[test]
    fn a_table_that_was_empty_is_planned_by_its_size() {
        assert_eq!(choose(64 << 20, Some(&parent(0, 0, 0))), grid(4));
        assert_eq!(choose(64 << 20, Some(&parent(0, 1 << 20, 1))), grid(4), "it grew 64 times");
    }
}
