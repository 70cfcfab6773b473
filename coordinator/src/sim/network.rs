//! Links between the coordinator and the others: they delay, reorder, lose and repeat messages, and are cut for a while,
//! each direction by itself.

/// Usual delay at most, in ms.
const DELAY_MS: u64 = 50;

/// Delay of a message that is stuck somewhere, at most, in ms. Longer than any lease.
const STUCK_MS: u64 = 60_000;

/// Directions of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the coordinator.
    Up,
    /// From it.
    Down,
}

/// A link to the coordinator.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    up_cut_until_ms: u64,
    down_cut_until_ms: u64,
}

impl Link {
    pub(super) fn cut(&mut self, way: Way, until_ms: u64) {
        match way {
            Way::Up => self.up_cut_until_ms = until_ms,
            Way::Down => self.down_cut_until_ms = until_ms,
        }
    }

    pub(super) fn is_cut(&self, way: Way, now_ms: u64) -> bool {
        now_ms < if way == Way::Up { self.up_cut_until_ms } else { self.down_cut_until_ms }
    }
}

/// What becomes of a message: when each copy of it arrives, in ms from now.
#[derive(Debug, Default)]
pub(super) struct Fate {
    pub(super) arrivals: Vec<u64>,
    pub(super) met: Option<&'static str>,
}

/// Decides on a message. `draw` gives a number below its argument, `faulty` whether things go wrong at present.
pub(super) fn fate(link: Link, way: Way, now_ms: u64, faulty: bool, draw: impl Fn(u64) -> u64) -> Fate {
    if link.is_cut(way, now_ms) {
        return Fate { arrivals: Vec::new(), met: Some("cut off") };
    }
    let delay = 1 + draw(DELAY_MS);
    if !faulty {
        return Fate { arrivals: vec![delay], met: None };
    }
    match draw(100) {
        0..4 => Fate { arrivals: Vec::new(), met: Some("lost") },
        4..8 => Fate { arrivals: vec![delay, 1 + draw(STUCK_MS)], met: Some("repeated") },
        8..11 => Fate { arrivals: vec![1 + draw(STUCK_MS)], met: Some("stuck") },
        _ => Fate { arrivals: vec![delay], met: None },
    }
}
