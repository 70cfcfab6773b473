//! Tables whose rows could be lost or doubled: many partitions, long rows, lists, counters, collections of mixed times.

use anyhow::Result;
use ringvault_tests::cassandra::TestCluster;
use ringvault_tests::cql::Cell;
use ringvault_tests::samples::bytes::{bigint, int, list, map, text};
use ringvault_tests::samples::load;

/// Rows of a partition, where tables have such.
const ROWS_A_PARTITION: i32 = 20;

/// Makes the keyspace with RF 3 and fills it: about `12 × rows` rows in seven tables.
pub(crate) async fn make(cluster: &TestCluster, keyspace: &str, rows: i32) -> Result<()> {
    // Durable, with a commit log that is synced before a write is acknowledged: a killed node must not lose rows by itself.
    cluster.fresh_keyspace(keyspace, 3).await?;
    for table in ["many_a", "many_b"] {
        plain(cluster, keyspace, table, 3 * rows).await?;
    }
    long_rows(cluster, keyspace, rows / 2).await?;
    for table in ["lists_a", "lists_b"] {
        lists(cluster, keyspace, table, rows).await?;
    }
    for table in ["counts_a", "counts_b"] {
        counters(cluster, keyspace, table, 2 * rows).await?;
    }
    Ok(())
}

/// A partition a row.
pub(crate) async fn plain(cluster: &TestCluster, keyspace: &str, table: &str, rows: i32) -> Result<()> {
    let create = format!("CREATE TABLE {keyspace}.{table} (id bigint PRIMARY KEY, label text, amount int)");
    cluster.run(&[&create]).await?;
    let row = |id: i32| -> Vec<Cell> {
        [bigint(i64::from(id)), text(&format!("label {id} of the table {table}")), int(id % 997)]
            .map(Cell::Raw)
            .to_vec()
    };
    let insert = format!("INSERT INTO {keyspace}.{table} (id, label, amount) VALUES (?, ?, ?)");
    load(cluster.session(), &insert, (0..rows).map(row)).await.map(drop)
}

/// Rows of some kilobytes, so that the table has several segments.
async fn long_rows(cluster: &TestCluster, keyspace: &str, rows: i32) -> Result<()> {
    cluster.run(&[&format!("CREATE TABLE {keyspace}.long_rows (id int PRIMARY KEY, payload blob)")]).await?;
    let row = |id: i32| -> Vec<Cell> {
        let payload: Vec<u8> = (0..4096_i32).map(|at| (at.wrapping_mul(id | 1) >> 3) as u8).collect();
        vec![int(id).into(), payload.into()]
    };
    let insert = format!("INSERT INTO {keyspace}.long_rows (id, payload) VALUES (?, ?)");
    load(cluster.session(), &insert, (0..rows).map(row)).await.map(drop)
}

fn key(row: i32) -> [Cell; 2] {
    [int(row / ROWS_A_PARTITION).into(), int(row % ROWS_A_PARTITION).into()]
}

/// Lists, written at once and element by element; maps of elements of different times; statics.
async fn lists(cluster: &TestCluster, keyspace: &str, table: &str, rows: i32) -> Result<()> {
    let create = format!(
        "CREATE TABLE {keyspace}.{table} (pk int, ck int, s list<int> static, l list<int>, m map<int, text>, \
         PRIMARY KEY (pk, ck))"
    );
    cluster.run(&[&create]).await?;
    let session = cluster.session();
    let row = |row: i32| -> Vec<Cell> {
        let elements: Vec<Vec<u8>> = (0..row % 5).map(|at| int(at * row)).collect();
        let pairs = [(int(row), text("x")), (int(row + 1), text("y"))];
        key(row).into_iter().chain([list(&elements).into(), map(&pairs).into()]).collect()
    };
    let insert = format!("INSERT INTO {keyspace}.{table} (pk, ck, l, m) VALUES (?, ?, ?, ?)");
    load(session, &insert, (0..rows).map(row)).await?;
    let more = |row: i32| -> Vec<Cell> {
        let begin = [list(&[int(row), int(7)]).into(), map(&[(int(-row), text("z"))]).into()];
        begin.into_iter().chain(key(row)).collect()
    };
    let update = format!("UPDATE {keyspace}.{table} SET l = l + ?, m = m + ? WHERE pk = ? AND ck = ?");
    load(session, &update, (0..rows).step_by(3).map(more)).await?;
    let statics = |partition: i32| vec![list(&[int(partition), int(7)]).into(), int(partition).into()];
    let update = format!("UPDATE {keyspace}.{table} SET s = ? WHERE pk = ?");
    load(session, &update, (0..rows / ROWS_A_PARTITION).map(statics)).await.map(drop)
}

/// Counters, static ones too.
pub(crate) async fn counters(cluster: &TestCluster, keyspace: &str, table: &str, rows: i32) -> Result<()> {
    let create = format!(
        "CREATE TABLE {keyspace}.{table} (pk int, ck int, s counter static, c counter, d counter, PRIMARY KEY (pk, ck))"
    );
    cluster.run(&[&create]).await?;
    let session = cluster.session();
    for (column, step) in [("c", 1_usize), ("d", 4)] {
        let count = |row: i32| -> Vec<Cell> {
            std::iter::once(bigint(i64::from(row) * 7919 + 1).into()).chain(key(row)).collect()
        };
        let update = format!("UPDATE {keyspace}.{table} SET {column} = {column} + ? WHERE pk = ? AND ck = ?");
        load(session, &update, (0..rows).step_by(step).map(count)).await?;
    }
    let statics = |partition: i32| vec![bigint(1 << 40).into(), int(partition).into()];
    let update = format!("UPDATE {keyspace}.{table} SET s = s + ? WHERE pk = ?");
    load(session, &update, (0..rows / ROWS_A_PARTITION).map(statics)).await.map(drop)
}
