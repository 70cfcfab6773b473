//! A seeded simulation: the core and its journal, model workers, a model repository and a client that backs up, restores,
//! compares and rehearses, over a network that delays, loses and repeats messages, while processes die and freeze and
//! tables are altered. Time is a number; no sockets, no threads.
//!
//! Each run is replayed by its number: `RINGVAULT_SIM_SEED=17 cargo test -p ringvault-coordinator simulation`;
//! `RINGVAULT_SIM_SEEDS=10000` runs more of them.

mod invariants;
mod worker;
mod world;

use self::world::World;

const SEEDS: u64 = 200;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[test]
fn every_simulation_ends_with_a_whole_backup_restore_comparison_and_rehearsal() {
    let seeds = match number("RINGVAULT_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RINGVAULT_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let all = seeds.end - seeds.start;
    let mut met = Met::default();
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            world.run();
            world.met
        });
        match run {
            Ok(of_this) => met.add(of_this),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map_or("no text", String::as_str);
                panic!("seed {seed} (RINGVAULT_SIM_SEED={seed} replays it): {text}");
            }
        }
    }
    // A simulation in which nothing goes wrong proves nothing.
    let each = [
        met.crashes,
        met.fenced,
        met.regrants,
        met.revived,
        met.repeated,
        met.failed_actions,
        met.lost,
        met.altered,
        met.redumped,
    ];
    assert!(all < SEEDS || each.iter().all(|count| *count > all / 4), "too little happened: {met:?}");
}

#[test]
fn a_simulation_is_the_same_each_time() {
    let (mut a, mut b) = (World::new(3), World::new(3));
    a.run();
    b.run();
    assert_eq!(a.summary(), b.summary());
}

/// How often things went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Met {
    /// The coordinator died.
    crashes: u64,
    /// A stale epoch was refused.
    fenced: u64,
    /// An assignment was granted again.
    regrants: u64,
    /// A failed or interrupted job was submitted again.
    revived: u64,
    /// A message was repeated.
    repeated: u64,
    /// An action in the repository failed.
    failed_actions: u64,
    /// A worker died or froze.
    lost: u64,
    /// A table was altered.
    altered: u64,
    /// A backup was published of which a table was dumped anew.
    redumped: u64,
}

impl Met {
    fn add(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.fenced += other.fenced;
        self.regrants += other.regrants;
        self.revived += other.revived;
        self.repeated += other.repeated;
        self.failed_actions += other.failed_actions;
        self.lost += other.lost;
        self.altered += other.altered;
        self.redumped += other.redumped;
    }
}
