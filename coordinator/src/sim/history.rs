//! What happened in a simulation: a hash of all of it, its tail as text, and how often each thing went wrong.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

/// Lines of the tail that is shown of a failed simulation.
const TAIL_LINES_MAX: usize = 60;

/// Characters of such a line.
const LINE_CHARACTERS_MAX: usize = 300;

/// The history of one simulation.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Every event, change and effect is written down; else only when they were and how many.
    full: bool,
    hash: DefaultHasher,
    tail: VecDeque<String>,
    met: BTreeMap<&'static str, u64>,
}

impl History {
    pub(super) fn new(full: bool) -> Self {
        Self { full, ..Self::default() }
    }

    /// Writes something down.
    pub(super) fn note(&mut self, now_ms: u64, what: impl FnOnce() -> String) {
        now_ms.hash(&mut self.hash);
        if !self.full {
            return;
        }
        let what = what();
        what.hash(&mut self.hash);
        let shown: String = what.chars().take(LINE_CHARACTERS_MAX).collect();
        self.tail.push_back(format!("{:>9.3} s  {shown}", std::time::Duration::from_millis(now_ms).as_secs_f64()));
        if self.tail.len() > TAIL_LINES_MAX {
            self.tail.pop_front();
        }
    }

    /// Something that a simulation is to meet was met.
    pub(super) fn meet(&mut self, what: &'static str) {
        what.hash(&mut self.hash);
        *self.met.entry(what).or_default() += 1;
    }

    pub(super) fn met(&self) -> &BTreeMap<&'static str, u64> {
        &self.met
    }

    /// The same for the same history.
    pub(super) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    pub(super) fn tail(&self) -> String {
        self.tail.iter().map(|line| format!("{line}\n")).collect()
    }
}
