//! Live: a fleet of processes against a real three-node cluster while processes are killed and stopped, connections are
//! cut, stranded and held up, and database nodes die. Whatever happens, no row is lost or doubled, and no more work is done
//! twice than a chunk a slot for each worker that is killed.
//!
//! - [`plan`]: what will happen, from a seed (`RINGVAULT_CHAOS_SEED`, printed); [`strike`]: lets it happen
//! - [`storm`]: backups and restores under it; [`tables`]: what they copy; [`work`]: what the workers did, from their logs
//! - [`cost`]: what a kill costs
//! - [`zombie`]: a worker that comes back after its lease was lost; [`reborn`]: a coordinator that comes back
#![allow(missing_docs)]

mod cost;
mod plan;
mod reborn;
mod storm;
mod strike;
mod tables;
mod work;
mod zombie;

use std::process::ExitCode;

use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::runner::{self, Test};

fn main() -> ExitCode {
    let cluster = || {
        // What a node acknowledged it keeps, also when it is killed; else nobody could tell whose loss a loss is. Increments
        // that a killed worker left under way are waited for twice the counters' timeout.
        let spec = ClusterSpec::three(CassandraVersion::V5_0);
        let spec = spec.with_setting("commitlog_sync", "batch").with_setting("commitlog_sync_period", "0ms");
        spec.with_setting("counter_write_request_timeout", "2000ms")
    };
    runner::run(vec![
        Test::new("the_same_seed_gives_the_same_events", |_| async { plan::is_repeatable() }),
        Test::new("whatever_is_killed_no_row_is_lost_or_doubled", storm::no_row_is_lost_or_doubled).on(cluster()),
        Test::new("a_kill_costs_at_most_a_chunk_a_slot", cost::of_kills).on(cluster()),
        Test::new("a_zombie_of_a_backup_changes_nothing", zombie::of_a_backup).on(cluster()),
        Test::new("a_zombie_of_a_restore_changes_nothing", zombie::of_a_restore).on(cluster()),
        Test::new("a_coordinator_that_comes_back_finds_its_workers_at_their_leases", reborn::goes_on).on(cluster()),
    ])
}
