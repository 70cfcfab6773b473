//! Writes a directory in the format of cassandra-backup-tool, by the real driver of that tool: its export of the schema, its
//! rows as namedtuples, `json.dumps`. Not that tool itself, which loses pages and stops at dates, times and maps.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ringvault_tests::{cache, cassandra::TestCluster};
use tokio::process::Command;

/// The driver as PyPI has it.
const DRIVER: &str = "cassandra-driver==3.30.1";

const PROGRAM: &str = r#"
import base64, gzip, json, os, sys
from datetime import datetime
from decimal import Decimal
from uuid import UUID
from cassandra import util
from cassandra.cluster import Cluster, ExecutionProfile, EXEC_PROFILE_DEFAULT
from cassandra.policies import RoundRobinPolicy

host, port, keyspace, directory, shards, part_rows, zipped, times = sys.argv[1:9]
shards, part_rows, zipped, times = int(shards), int(part_rows), zipped == "gzip", int(times)

def plain(value):
    """What json.dumps can't take by itself, in the words of that tool."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, bytes):
        return {"__blob__": True, "b64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, (set, frozenset, util.SortedSet)):
        return list(value)
    if isinstance(value, util.OrderedMap):
        return {key if isinstance(key, str) else str(key): item for key, item in value.items()}
    return str(value)

profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy(), request_timeout=60)
cluster = Cluster([host], port=int(port), execution_profiles={EXEC_PROFILE_DEFAULT: profile})
session = cluster.connect()
meta = cluster.metadata.keyspaces[keyspace]
os.makedirs(directory)
with open(f"{directory}/{keyspace}_schema.cql", "w", encoding="utf-8") as out:
    out.write(f"{meta.export_as_string()};\n\n")
    for user_type in meta.user_types.values():
        out.write(f"{user_type.as_cql_query()};\n\n")
    for table in meta.tables.values():
        out.write(f"{table.as_cql_query()};\n\n")
        for index in table.indexes.values():
            out.write(f"{index.as_cql_query()};\n\n")
    for view in meta.views.values():
        out.write(f"{view.as_cql_query()};\n\n")
for name, table in meta.tables.items():
    key = ", ".join(f'"{column.name}"' for column in table.partition_key)
    step = (2**64 - 1) // shards
    for shard in range(shards):
        start = -2**63 + shard * step
        end = 2**63 - 1 if shard == shards - 1 else start + step
        rows = session.execute(
            f'SELECT * FROM "{keyspace}"."{name}" WHERE token({key}) > {start} AND token({key}) <= {end}')
        part, count, out = 0, 0, None
        for row in rows:
            for _ in range(times):
                if out is None or (part_rows and count == part_rows):
                    if out is not None:
                        out.write("\n]\n"); out.close()
                    part, count = part + 1, 0
                    path = f"{directory}/{name}_shard{shard}_part{part}.json" + (".gz" if zipped else "")
                    out = (gzip.open if zipped else open)(path, "wt", encoding="utf-8")
                    out.write("[\n")
                out.write(",\n" if count else "")
                out.write(json.dumps(dict(row._asdict()), ensure_ascii=False, default=plain))
                count += 1
        if out is None:
            path = f"{directory}/{name}_shard{shard}_part1.json" + (".gz" if zipped else "")
            out = (gzip.open if zipped else open)(path, "wt", encoding="utf-8")
            out.write("[\n")
        out.write("\n]\n")
        out.close()
cluster.shutdown()
"#;

/// How a directory is written.
pub(crate) struct Written {
    pub(crate) shards: u32,
    /// Rows a file; 0: one file a shard.
    pub(crate) part_rows: u32,
    pub(crate) zipped: bool,
    /// How often each row is written.
    pub(crate) times: u32,
}

/// Writes a keyspace to `directory`, which must not be there.
pub(crate) async fn write(cluster: &TestCluster, keyspace: &str, directory: &Path, how: &Written) -> Result<()> {
    let (port, shards) = (cluster.port().to_string(), how.shards.to_string());
    let (part_rows, times) = (how.part_rows.to_string(), how.times.to_string());
    let hosts = cluster.hosts();
    let host = hosts.split(',').next().context("a host")?;
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", driver().await?).arg("-c").arg(PROGRAM).args([host, &port, keyspace]).arg(directory);
    python.args([shards.as_str(), &part_rows, if how.zipped { "gzip" } else { "plain" }, &times]);
    let output = python.output().await.context("run python3")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "python can't write {}: {complaint}", directory.display());
    Ok(())
}

/// Where the driver lies; it is fetched once, into the cache.
async fn driver() -> Result<PathBuf> {
    let directory = cache::root()?.join("python-driver");
    let _lock = cache::lock("python-driver")?;
    if !directory.join("cassandra").exists() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "-q", "--root-user-action=ignore", "--target"]).arg(&directory).arg(DRIVER);
        ensure!(pip.status().await?.success(), "pip can't install {DRIVER}");
    }
    Ok(directory)
}
