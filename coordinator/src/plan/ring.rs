//! Which node owns a segment first, and an order of shards in which neighbours in time have different owners.

use std::collections::BTreeMap;

use ringvault_proto::{
    grid::Grid,
    token::{Token, TokenRange},
    v1,
};

use super::Run;

/// The ring's tokens, sorted, each with the node that owns the range that ends there.
#[derive(Debug)]
pub(crate) struct Ring(Vec<(Token, u32)>);

impl Ring {
    /// The ring as a worker saw it; may be empty or thinned.
    pub(crate) fn new(tokens: &[v1::RingToken]) -> Self {
        let mut owners: Vec<_> = tokens.iter().map(|token| (Token(token.token), token.node)).collect();
        owners.sort_unstable();
        Self(owners)
    }

    /// The primary owner of `token`; nothing where the ring is unknown.
    fn owner(&self, token: Token) -> Option<u32> {
        let index = self.0.partition_point(|(end, _)| *end < token);
        self.0.get(index).or(self.0.first()).map(|(_, node)| *node)
    }

    /// The runs in an order that takes one of each primary owner in turn.
    pub(crate) fn spread(&self, runs: &[Run], grid: Grid) -> Vec<Run> {
        let mut by_owner: BTreeMap<Option<u32>, Vec<Run>> = BTreeMap::new();
        for run in runs {
            let owner = grid.run(run.first, run.count).and_then(|range| self.owner(middle(range)));
            by_owner.entry(owner).or_default().push(*run);
        }
        let mut turns: Vec<_> = by_owner.into_values().map(Vec::into_iter).collect();
        let mut spread = Vec::with_capacity(runs.len());
        while spread.len() < runs.len() {
            spread.extend(turns.iter_mut().filter_map(Iterator::next));
        }
        spread
    }
}

fn middle(range: TokenRange) -> Token {
    Token(range.start().0.wrapping_add((range.width() / 2).cast_signed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_the_range_that_ends_at_or_behind_it() {
        let ring = Ring::new(&[v1::RingToken { token: 10, node: 1 }, v1::RingToken { token: -10, node: 0 }]);
        let owners: Vec<_> = [-11, -10, -9, 10, 11].map(|token| ring.owner(Token(token))).to_vec();
        assert_eq!(owners, [Some(0), Some(0), Some(1), Some(1), Some(0)]);
        assert_eq!(Ring::new(&[]).owner(Token(0)), None);
    }

    #[test]
    fn neighbours_in_the_order_have_different_owners() {
        let quarter = 1_i64 << 62;
        let ring = Ring::new(&[
            v1::RingToken { token: i64::MIN + quarter, node: 0 },
            v1::RingToken { token: 0, node: 0 },
            v1::RingToken { token: quarter, node: 1 },
            v1::RingToken { token: i64::MAX, node: 1 },
        ]);
        let runs: Vec<Run> = (0..4).map(|first| Run { first, count: 1 }).collect();
        let order: Vec<u64> =
            ring.spread(&runs, Grid::try_from(2).expect("small")).iter().map(|run| run.first).collect();
        assert_eq!(order, [0, 2, 1, 3]);
    }
}
