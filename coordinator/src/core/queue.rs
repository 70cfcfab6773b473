//! The assignments of a table that wait for a worker, by the node that is their home, so that the next one for a worker
//! is found without looking at all of them.

use std::collections::{BTreeMap, BTreeSet};

/// Ordinals of waiting assignments by home.
#[derive(Debug, Default)]
pub(crate) struct Queue(BTreeMap<Option<u32>, BTreeSet<u32>>);

impl Queue {
    /// Puts one in.
    pub(crate) fn insert(&mut self, home: Option<u32>, ordinal: u32) {
        self.0.entry(home).or_default().insert(ordinal);
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, home: Option<u32>, ordinal: u32) {
        if let Some(waiting) = self.0.get_mut(&home) {
            waiting.remove(&ordinal);
            if waiting.is_empty() {
                self.0.remove(&home);
            }
        }
    }

    /// The first one of each home.
    pub(crate) fn fronts(&self) -> impl Iterator<Item = (Option<u32>, u32)> + '_ {
        self.0.iter().filter_map(|(home, waiting)| Some((*home, *waiting.first()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_of_each_home_is_found_until_it_is_taken_out() {
        let mut queue = Queue::default();
        for (home, ordinal) in [(Some(1), 7), (None, 3), (Some(1), 5), (Some(0), 6)] {
            queue.insert(home, ordinal);
        }
        assert_eq!(queue.fronts().collect::<Vec<_>>(), [(None, 3), (Some(0), 6), (Some(1), 5)]);
        queue.remove(Some(1), 5);
        queue.remove(Some(0), 6);
        assert_eq!(queue.fronts().collect::<Vec<_>>(), [(None, 3), (Some(1), 7)]);
        queue.remove(None, 3);
        queue.remove(Some(1), 7);
        assert_eq!(queue.fronts().next(), None);
    }
}
