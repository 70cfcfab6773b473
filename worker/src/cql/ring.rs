//! The token ring without I/O: versions, strategies, where ranges are cut, and what planning gets to see of it.

use std::{collections::HashMap, fmt, str::FromStr, sync::Arc};

use ringvault_proto::token::{Token, TokenRange};
use scylla::cluster::metadata::Strategy;
use uuid::Uuid;

/// Most tokens of a ring that an inspection tells; more would steer no better.
pub const RING_TOKENS_MAX: usize = 4096;

/// A server's release: major, minor, patch. Order is the release order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 5 of 5.0.6.
    pub major: u32,
    /// 0 of 5.0.6.
    pub minor: u32,
    /// 6 of 5.0.6.
    pub patch: u32,
}

impl Version {
    /// A release by its numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A release that doesn't start with two numbers.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a release like 5.0.6")]
pub struct BadVersion(String);

impl FromStr for Version {
    type Err = BadVersion;

    /// Reads `5.0.6`, `4.1`, `5.0-beta1`, `4.0.11.0-SNAPSHOT`.
    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let numbers = text.split(['-', '~', '+']).next().unwrap_or_default();
        let mut parts = numbers.split('.').map(|part| part.parse::<u32>().ok());
        match (parts.next().flatten(), parts.next().flatten()) {
            (Some(major), Some(minor)) => Ok(Self { major, minor, patch: parts.next().flatten().unwrap_or(0) }),
            _ => Err(BadVersion(text.to_owned())),
        }
    }
}

/// Tokens of a ring, sorted, each with the node that owns the range that ends there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ring(Vec<(Token, Uuid)>);

impl Ring {
    /// From tokens in any order.
    #[must_use]
    pub fn new(mut tokens: Vec<(Token, Uuid)>) -> Self {
        tokens.sort_unstable();
        tokens.dedup_by_key(|(token, _)| *token);
        Self(tokens)
    }

    /// The sorted tokens with their primary owners.
    #[must_use]
    pub fn tokens(&self) -> &[(Token, Uuid)] {
        &self.0
    }

    /// Nodes in the ring, each once.
    #[must_use]
    pub fn hosts(&self) -> Vec<Uuid> {
        let mut hosts: Vec<Uuid> = self.0.iter().map(|(_, host)| *host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// `range` cut where `replicas` changes; each piece with the replicas of its tokens. Pieces tile the range.
    pub fn pieces(&self, range: TokenRange, mut replicas: impl FnMut(Token) -> Vec<Uuid>) -> Vec<Piece> {
        let inside = |token: Token| token > range.start() && token < range.end();
        let cuts: Vec<Token> = self.0.iter().map(|(token, _)| *token).filter(|token| inside(*token)).collect();
        let mut pieces: Vec<Piece> = Vec::new();
        for part in range.split_at(&cuts) {
            let owners = replicas(part.end());
            match pieces.last_mut() {
                Some(last) if *last.replicas == *owners => {
                    last.range = TokenRange::new(last.range.start(), part.end()).expect("pieces grow upwards");
                }
                _ => pieces.push(Piece { range: part, replicas: owners.into() }),
            }
        }
        pieces
    }

    /// At most `tokens_max` of the tokens, spread evenly over the list, the last one among them.
    #[must_use]
    pub fn thinned(&self, tokens_max: usize) -> Self {
        if self.0.len() <= tokens_max || tokens_max == 0 {
            return self.clone();
        }
        let pick = |n: usize| self.0[(n + 1) * self.0.len() / tokens_max - 1];
        Self((0..tokens_max).map(pick).collect())
    }
}

/// A token range whose tokens have the same replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The tokens.
    pub range: TokenRange,
    /// Replicas in the local data centre, the primary one first; may be empty, then any node answers as well.
    pub replicas: Arc<[Uuid]>,
}

/// The strategy behind `system_schema.keyspaces.replication`.
#[must_use]
pub fn strategy(replication: &HashMap<String, String>) -> Strategy {
    let class = replication.get("class").map(String::as_str).unwrap_or_default();
    let options = || replication.iter().filter(|(key, _)| *key != "class");
    match class.rsplit('.').next().unwrap_or_default() {
        "SimpleStrategy" => Strategy::SimpleStrategy {
            replication_factor: replication.get("replication_factor").map_or(1, |text| factor(text)),
        },
        "NetworkTopologyStrategy" => Strategy::NetworkTopologyStrategy {
            datacenter_repfactors: options().map(|(dc, text)| (dc.clone(), factor(text))).collect(),
        },
        "LocalStrategy" => Strategy::LocalStrategy,
        name => Strategy::Other {
            name: name.to_owned(),
            data: options().map(|(key, value)| (key.clone(), value.clone())).collect(),
        },
    }
}

/// `3`, the full replicas of a transient `3/1`, or the racks of Scylla's `["r1","r2"]`.
fn factor(text: &str) -> usize {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| text.split(',').count())
}

/// The data centres that hold a keyspace's rows; nothing where the strategy names none, so that all do.
#[must_use]
pub fn replicating_dcs(strategy: &Strategy) -> Option<Vec<String>> {
    match strategy {
        Strategy::NetworkTopologyStrategy { datacenter_repfactors } => {
            let held = datacenter_repfactors.iter().filter(|(_, factor)| **factor > 0);
            let mut names: Vec<String> = held.map(|(dc, _)| dc.clone()).collect();
            names.sort();
            Some(names)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ringvault_archive::token::token_of;
    use scylla::routing::partitioner::{Murmur3Partitioner, Partitioner, PartitionerHasher};

    use super::*;

    fn host(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[test]
    fn releases_are_read_and_ordered() {
        let version = |text: &str| text.parse::<Version>().expect("a release");
        assert_eq!(version("5.0.6"), Version::new(5, 0, 6));
        assert_eq!(version("5.0-beta1"), Version::new(5, 0, 0));
        assert_eq!(version("4.0.11.0-SNAPSHOT"), Version::new(4, 0, 11));
        assert!(version("3.11.19") < version("4.0.0"));
        assert!("five".parse::<Version>().is_err());
    }

    #[test]
    fn neighbours_with_equal_replicas_are_one_piece() {
        let ring = Ring::new(vec![(Token(30), host(1)), (Token(10), host(1)), (Token(20), host(2))]);
        let owner = |token: Token| {
            let at = ring.tokens().iter().find(|(end, _)| *end >= token).or(ring.tokens().first());
            vec![at.expect("a ring").1]
        };
        let pieces = ring.pieces(TokenRange::FULL, owner);
        let ends: Vec<_> = pieces.iter().map(|piece| (piece.range.end().0, piece.replicas[0])).collect();
        assert_eq!(ends, [(10, host(1)), (20, host(2)), (i64::MAX, host(1))]);
    }

    proptest! {
        #[test]
        fn pieces_tile_the_range(tokens: Vec<(i64, u8)>, a: i64, b: i64) {
            let Some(range) = TokenRange::new(Token(a), Token(b)) else { return Ok(()) };
            let ring = Ring::new(tokens.into_iter().map(|(t, h)| (Token(t), host(u128::from(h % 3)))).collect());
            let pieces = ring.pieces(range, |token| vec![host(token.0.unsigned_abs().into())]);
            prop_assert_eq!(pieces[0].range.start(), range.start());
            prop_assert_eq!(pieces[pieces.len() - 1].range.end(), range.end());
            for pair in pieces.windows(2) {
                prop_assert_eq!(pair[0].range.end(), pair[1].range.start());
            }
        }

        #[test]
        fn a_thinned_ring_keeps_order_and_its_last_token(count in 1usize..9000) {
            let ring = Ring::new((0..count).map(|n| (Token(n as i64), host(1))).collect());
            let thin = ring.thinned(RING_TOKENS_MAX);
            prop_assert_eq!(thin.tokens().len(), count.min(RING_TOKENS_MAX));
            prop_assert_eq!(thin.tokens().last(), ring.tokens().last());
            prop_assert!(thin.tokens().windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }

    #[test]
    fn strategies_are_read_as_the_schema_writes_them() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let nts = strategy(&map(&[
            ("class", "org.apache.cassandra.locator.NetworkTopologyStrategy"),
            ("dc1", "3"),
            ("dc2", "3/1"),
            ("dc3", "0"),
        ]));
        assert_eq!(replicating_dcs(&nts), Some(vec!["dc1".to_owned(), "dc2".to_owned()]));
        let simple = strategy(&map(&[("class", "SimpleStrategy"), ("replication_factor", "2")]));
        assert_eq!(simple, super::Strategy::SimpleStrategy { replication_factor: 2 });
        assert_eq!(replicating_dcs(&simple), None);
    }

    proptest! {
        #[test]
        fn tokens_of_keys_are_the_drivers(key: Vec<u8>) {
            let mut hasher = Murmur3Partitioner.build_hasher();
            hasher.write(&key);
            prop_assert_eq!(token_of(&[&key]).0, hasher.finish().value());
        }
    }
}
