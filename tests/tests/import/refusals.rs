//! Damaged and doubtful directories: refused by name, before anything is written to the cluster.

use anyhow::{Context, Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::product::Workbench;
use ringvault_tests::runner::{Test, TestContext};

use crate::seed_tool::{self, Written};

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![Test::new("a_damaged_directory_is_refused_by_file_and_line", damaged).on(newest())]
}

async fn damaged(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    cluster.fresh_keyspace("seeds", 1).await?;
    let create = "CREATE TABLE seeds.t (pk int PRIMARY KEY, v text)";
    let mut statements = vec![create.to_owned()];
    statements.extend((0..50).map(|pk| format!("INSERT INTO seeds.t (pk, v) VALUES ({pk}, 'value of {pk}')")));
    cluster.run(&statements.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let bench = Workbench::new(cluster)?;
    let directory = bench.path().join("seed");
    let how = Written { shards: 1, part_rows: 0, zipped: false, times: 1 };
    seed_tool::write(cluster, "seeds", &directory, &how).await?;
    cluster.drop_keyspace("seeds").await?;
    let file = directory.join("t_shard0_part1.json");
    let whole = std::fs::read_to_string(&file).context("the rows")?;
    let (seed, repository) = (directory.display().to_string(), bench.repository_argument());
    let (hosts, port) = (cluster.hosts(), cluster.port().to_string());
    for (text, kind, words) in [
        (
            whole[..whole.len() / 2].to_owned(),
            "corrupt",
            ["t_shard0_part1.json is damaged", "ends before its closing ]"],
        ),
        (whole.replacen("\"pk\": ", "\"pq\": ", 1), "corrupt", ["(line 2) holds no row of seeds.t", "\"pq\""]),
        (whole.replacen("\"v\": \"", "\"v\": 1, \"w\": \"", 1), "corrupt", ["(line 2) holds no row", "\"w\""]),
    ] {
        std::fs::write(&file, text).context("the damage")?;
        bench.run(&["import", &seed, &repository]).await?.refused(1, &[kind], &words)?;
        let restore = ["restore", "seeds", &seed, "--hosts", &hosts, "--port", &port];
        bench.run(&restore).await?.refused(1, &[kind], &words)?;
        let there = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = 'seeds'";
        let found = ringvault_tests::cql::query_raw(cluster.session(), there).await?;
        ensure!(found.is_empty(), "the keyspace was created");
    }
    let listed = bench.run(&["list", &repository]).await?.expect(0)?;
    ensure!(listed.lines("backup").is_empty(), "a refused import left a backup: {listed}");
    Ok(())
}
