//! Which node owns a segment first, and an order of shards in which neighbours in time have different owners.

use std::collections::BTreeMap;

use ringvault_proto::{
    grid::Grid,
    token::{Token, TokenRange},
    v1,
};

use super::Run;
use crate::record::HomeRecord;

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

/// The nodes of a cluster and what each owns first.
#[derive(Debug)]
pub(crate) struct Homes {
    ring: Ring,
    nodes: Vec<HomeRecord>,
}

impl Homes {
    /// As a worker saw them; nothing where it saw no ring.
    pub(crate) fn new(inspected: &v1::InspectResult) -> Option<Self> {
        let node = |node: &v1::InspectedNode| HomeRecord {
            node: if node.host_id.is_empty() { node.address.clone() } else { node.host_id.clone() },
            data_center: node.data_center.clone(),
        };
        let nodes: Vec<HomeRecord> = inspected.nodes.iter().map(node).collect();
        (!inspected.ring.is_empty()).then(|| Self { ring: Ring::new(&inspected.ring), nodes })
    }

    /// All nodes.
    pub(crate) fn nodes(&self) -> &[HomeRecord] {
        &self.nodes
    }

    /// The place among the nodes of the one that owns the middle of these segments first.
    pub(crate) fn of(&self, grid: Grid, run: Run) -> Option<usize> {
        let owner = self.ring.owner(middle(grid.run(run.first, run.count)?))?;
        usize::try_from(owner).ok().filter(|owner| *owner < self.nodes.len())
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
    fn a_run_of_segments_is_at_home_where_its_middle_is_owned() {
        let node = |address: &str, dc: &str| v1::InspectedNode {
            address: address.into(),
            data_center: dc.into(),
            ..v1::InspectedNode::default()
        };
        let inspected = v1::InspectResult {
            nodes: vec![node("10.0.0.1", "east"), node("10.0.0.2", "west")],
            ring: vec![v1::RingToken { token: 0, node: 0 }, v1::RingToken { token: i64::MAX, node: 1 }],
            ..v1::InspectResult::default()
        };
        let homes = Homes::new(&inspected).expect("a ring");
        let grid = Grid::try_from(3).expect("small");
        let at_home = |first| homes.of(grid, Run { first, count: 2 }).map(|at| homes.nodes()[at].data_center.as_str());
        assert_eq!([at_home(0), at_home(6)], [Some("east"), Some("west")]);
        assert!(Homes::new(&v1::InspectResult::default()).is_none());
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
