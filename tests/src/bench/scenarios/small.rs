//! Many small tables: a backup, and a second one that finds nothing new.

use anyhow::{Context, Result, ensure};

use super::{Bench, ensure_rows, keyspace, remove, say};
use crate::bench::measure::{Setting, measure};
use crate::bench::record::{Figures, Log, Small};
use crate::bench::settle;
use crate::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use crate::cql::Cell;
use crate::samples::bytes::{bigint, int, text};
use crate::samples::load;

const KEYSPACE: &str = "bench_small";
const ROWS: u64 = 100;

pub(super) async fn run(bench: &Bench<'_>, log: &mut Log) -> Result<()> {
    let tables = bench.options.tables;
    let cluster = TestCluster::start(ClusterSpec::one(CassandraVersion::V5_0)).await?;
    let place = bench.place(&cluster);
    make(&cluster, tables).await?;
    for turn in 1..=bench.options.runs {
        remove(place.repository(KEYSPACE, "small").as_ref())?;
        let words = place.backup(KEYSPACE, "small", &["--pace", "full"]);
        let first = measure(Setting::Shared, &words, &place.directory).await?;
        let second = measure(Setting::Shared, &words, &place.directory).await?;
        for ran in [&first, &second] {
            ensure_rows(ran, tables * ROWS, "a backup of small tables")?;
        }
        let figure = |name: &str| second.figure(name).with_context(|| format!("the summary has no {name}"));
        let small = Small {
            tables,
            rows: tables * ROWS,
            first: first.taken,
            second: second.taken,
            second_stored_bytes: figure("stored_bytes")?,
            second_chunks_new: figure("chunks_new")?,
        };
        say(&format!(
            "run {turn}: {tables} tables in {:.1} s, again in {:.1} s",
            first.taken.wall_s, second.taken.wall_s
        ));
        let (bytes, chunks) = (small.second_stored_bytes, small.second_chunks_new);
        ensure!(bytes == 0 && chunks == 0, "an unchanged backup stored {chunks} chunks of {bytes} bytes");
        log.add(Figures::Small(small))?;
    }
    Ok(())
}

async fn make(cluster: &TestCluster, tables: u64) -> Result<()> {
    let begun = std::time::Instant::now();
    keyspace(cluster, KEYSPACE, 1).await?;
    for number in 0..tables {
        let name = format!("{KEYSPACE}.t{number:03}");
        cluster.run(&[&format!("CREATE TABLE {name} (id int PRIMARY KEY, total bigint, name text)")]).await?;
        let row = |id: u64| -> Vec<Cell> {
            let key = i32::try_from(id).unwrap_or(i32::MAX);
            vec![int(key).into(), bigint((id * number).cast_signed()).into(), text(&format!("row {id}")).into()]
        };
        let insert = format!("INSERT INTO {name} (id, total, name) VALUES (?, ?, ?)");
        load(cluster.session(), &insert, (0..ROWS).map(row)).await?;
    }
    settle::flush(cluster, KEYSPACE).await?;
    say(&format!("{tables} tables made in {:.0} s", begun.elapsed().as_secs_f64()));
    Ok(())
}
