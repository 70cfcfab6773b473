//! A keyspace of schema objects: options, types in dependency order, indexes, views, functions with awkward bodies.

use anyhow::Result;

use super::load;
use crate::cassandra::{CassandraVersion, TestCluster};
use crate::cql::{qualified, quote};
use crate::samples::bytes::{int, text};

/// Makes the keyspace anew. It holds a few hundred rows, so that indexes and views have something to show.
///
/// # Errors
/// If the server refuses any of it.
pub async fn make(cluster: &TestCluster, keyspace: &str) -> Result<()> {
    cluster.fresh_keyspace(keyspace, 1).await?;
    let durable = format!("ALTER KEYSPACE {} WITH durable_writes = false", quote(keyspace));
    cluster.run(&[&durable]).await?;
    for statement in statements(cluster.version()) {
        let named = statement.replace("KS.", &format!("{}.", quote(keyspace)));
        cluster.run(&[&named]).await?;
    }
    let insert = format!("INSERT INTO {} (pk, ck, value, word) VALUES (?, ?, ?, ?)", qualified(keyspace, "base"));
    let rows = (0..300)
        .map(|i| vec![int(i % 30).into(), int(i).into(), int(i * 7).into(), text(&format!("word {}", i % 11)).into()]);
    load(cluster.session(), &insert, rows).await?;
    Ok(())
}

fn statements(version: CassandraVersion) -> Vec<&'static str> {
    let mut all = vec![
        // Types whose names sort against their dependencies.
        "CREATE TYPE KS.z_inner (x int, y text)",
        "CREATE TYPE KS.m_middle (inner frozen<z_inner>, more frozen<list<frozen<z_inner>>>)",
        "CREATE TYPE KS.a_outer (middle frozen<m_middle>)",
        "CREATE FUNCTION KS.plus (a int, b int) CALLED ON NULL INPUT RETURNS int LANGUAGE java \
         AS 'if (a == null) { return b; } return b == null ? a : (Integer) (a + b);'",
        "CREATE FUNCTION KS.plus (a bigint, b int) RETURNS NULL ON NULL INPUT RETURNS bigint LANGUAGE java \
         AS $$ String s = \"a;b'c\"; return a + b + s.length() - s.length(); $$",
        "CREATE AGGREGATE KS.total (int) SFUNC plus STYPE int INITCOND 0",
        "CREATE TABLE KS.base (pk int, ck int, value int, word text, tags map<text, int>, codes set<int>, \
         o frozen<a_outer>, PRIMARY KEY (pk, ck)) WITH CLUSTERING ORDER BY (ck DESC) \
         AND comment = 'it''s; a \"comment\"' AND gc_grace_seconds = 12345 AND default_time_to_live = 1000000 \
         AND compaction = {'class': 'LeveledCompactionStrategy', 'sstable_size_in_mb': '161'} \
         AND compression = {'class': 'DeflateCompressor', 'chunk_length_in_kb': '32'} \
         AND caching = {'keys': 'NONE', 'rows_per_partition': '10'} AND bloom_filter_fp_chance = 0.05 \
         AND max_index_interval = 1024 AND min_index_interval = 64 AND memtable_flush_period_in_ms = 3600000 \
         AND speculative_retry = '95PERCENTILE' AND crc_check_chance = 0.5",
        "CREATE TABLE KS.\"Plain\" (k text PRIMARY KEY, \"V;1\" int, w int)",
        "CREATE INDEX by_word ON KS.base (word)",
        "CREATE INDEX \"ByKeys\" ON KS.base (KEYS(tags))",
        "CREATE INDEX by_codes ON KS.base (VALUES(codes))",
        "CREATE MATERIALIZED VIEW KS.by_value AS SELECT pk, ck, value, word FROM KS.base \
         WHERE value IS NOT NULL AND pk IS NOT NULL AND ck IS NOT NULL PRIMARY KEY (value, pk, ck) \
         WITH comment = 'a view' AND gc_grace_seconds = 777",
        "CREATE CUSTOM INDEX by_value_sasi ON KS.base (value) USING 'org.apache.cassandra.index.sasi.SASIIndex'",
    ];
    if version == CassandraVersion::V5_0 {
        all.push("CREATE INDEX by_w ON KS.\"Plain\" (w) USING 'sai'");
    }
    all
}
