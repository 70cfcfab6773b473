//! Three nodes: what it brings to ask a range's owners, by the raw driver, and a backup beside that.

use anyhow::Result;

use super::{Bench, ensure_rows, fill, remove, say};
use crate::bench::data::BenchTable;
use crate::bench::measure::{Setting, measure};
use crate::bench::record::{Figures, Log, Nodes, Reader};
use crate::bench::subjects::Place;
use crate::bench::yardstick::Yardstick;
use crate::cassandra::{CassandraVersion, ClusterSpec, TestCluster};

const TABLE: BenchTable = BenchTable::Ycsb;
const ROWS: u64 = 1_000_000;

pub(super) async fn run(bench: &Bench<'_>, log: &mut Log) -> Result<()> {
    let rows = bench.options.rows.unwrap_or(ROWS);
    let cluster = TestCluster::start(ClusterSpec::three(CassandraVersion::V5_0)).await?;
    let place = bench.place(&cluster);
    for replicas in [3, 1] {
        let keyspace = format!("bench_nodes_{replicas}");
        fill(&cluster, TABLE, &keyspace, replicas, rows).await?;
        let first = [Reader::RawAny]; // unmeasured: warms the servers up
        let turns = (1..=bench.options.runs).flat_map(|_| [Reader::RawAny, Reader::RawOwner, Reader::Backup]);
        for (turn, reader) in first.into_iter().chain(turns).enumerate() {
            let words = words(&place, reader, &keyspace, rows)?;
            let ran = measure(Setting::Shared, &words, &place.directory).await?;
            ensure_rows(&ran, rows, &format!("{reader:?}"))?;
            let taken = ran.taken;
            say(&format!("RF {replicas}, {reader:?}: {:.0} rows/s", rows as f64 / taken.wall_s));
            if turn > 0 {
                log.add(Figures::Nodes(Nodes { replicas, reader, rows, taken }))?;
            }
        }
        cluster.drop_keyspace(&keyspace).await?;
    }
    Ok(())
}

/// All at consistency ONE, where an owner needs nobody else.
fn words(place: &Place, reader: Reader, keyspace: &str, rows: u64) -> Result<Vec<String>> {
    // the raw driver finds the other nodes by the first
    let one = Place { host: place.host.split(',').take(1).collect(), ..place.clone() };
    Ok(match reader {
        Reader::RawAny => one.raw(Yardstick::ScanAny, TABLE, keyspace, rows),
        Reader::RawOwner => one.raw(Yardstick::ScanOwner, TABLE, keyspace, rows),
        Reader::Backup => {
            remove(place.repository(keyspace, "nodes").as_ref())?;
            let more = ["--values-only", "--read-consistency", "ONE", "--pace", "full"];
            place.backup(keyspace, "nodes", &more)
        }
    })
}
