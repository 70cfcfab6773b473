//! Large tables: one partition with very many rows, and very many partitions.

use anyhow::Result;
use rand::{Rng as _, SeedableRng as _};

use super::{load, load_batched};
use crate::cassandra::TestCluster;
use crate::cql::{Cell, qualified, quote};
use crate::samples::bytes::{bigint, int, text};

/// Rows a batch; a batch of one partition has no size limit but the mutation's.
const BATCH_ROWS: usize = 50;

/// A table `wide` with all rows but ten in one partition; about 110 bytes a row.
///
/// # Errors
/// If the server refuses any of it.
pub async fn wide_partition(cluster: &TestCluster, keyspace: &str, rows: u64) -> Result<()> {
    let table = qualified(keyspace, "wide");
    let create = format!(
        "CREATE TABLE {table} (pk text, ck bigint, label text, amount int, payload text, PRIMARY KEY (pk, ck))"
    );
    cluster.run(&[&create]).await?;
    let insert = format!("INSERT INTO {table} (pk, ck, label, amount, payload) VALUES (?, ?, ?, ?, ?)");
    let row = |pk: &str, ck: u64| -> Vec<Cell> {
        let label = text(&format!("label {}", ck % 1000));
        vec![text(pk).into(), bigint(ck.cast_signed()).into(), label.into(), amount(ck), payload(ck)]
    };
    let small = rows.min(10);
    load(cluster.session(), &insert, (0..small).map(|i| row(&format!("small {i}"), i))).await?;
    load_batched(cluster.session(), &insert, BATCH_ROWS, (small..rows).map(|ck| row("wide", ck))).await?;
    Ok(())
}

/// A table `many` with a partition a row; about 110 bytes a row.
///
/// # Errors
/// If the server refuses any of it.
pub async fn many_partitions(cluster: &TestCluster, keyspace: &str, rows: u64) -> Result<()> {
    let table = qualified(keyspace, "many");
    let create = format!("CREATE TABLE {table} (id bigint PRIMARY KEY, label text, amount int, payload text)");
    cluster.run(&[&create]).await?;
    let insert = format!("INSERT INTO {table} (id, label, amount, payload) VALUES (?, ?, ?, ?)");
    let row = |id: u64| -> Vec<Cell> {
        let label = text(&format!("label {}", id % 1000));
        vec![bigint(id.cast_signed()).into(), label.into(), amount(id), payload(id)]
    };
    load(cluster.session(), &insert, (0..rows).map(row)).await?;
    Ok(())
}

/// A table `long` with a partition a row, each with a blob of so many bytes that don't compress.
///
/// # Errors
/// If the server refuses any of it.
pub async fn long_rows(cluster: &TestCluster, keyspace: &str, rows: u64, bytes: usize) -> Result<()> {
    let table = qualified(keyspace, "long");
    cluster.run(&[&format!("CREATE TABLE {table} (id bigint PRIMARY KEY, payload blob)")]).await?;
    let insert = format!("INSERT INTO {table} (id, payload) VALUES (?, ?)");
    let row = |id: u64| -> Vec<Cell> {
        let mut noise = rand::rngs::StdRng::seed_from_u64(id);
        let payload: Vec<u8> = (0..bytes).map(|_| noise.random()).collect();
        vec![bigint(id.cast_signed()).into(), payload.into()]
    };
    load(cluster.session(), &insert, (0..rows).map(row)).await?;
    Ok(())
}

/// Drops and makes the keyspace that holds these tables.
///
/// # Errors
/// If the server refuses it.
pub async fn keyspace(cluster: &TestCluster, keyspace: &str, replication_factor: u32) -> Result<()> {
    cluster.fresh_keyspace(keyspace, replication_factor).await?;
    // Loading with a commit log fsync behind it would measure the disk.
    cluster.run(&[&format!("ALTER KEYSPACE {} WITH durable_writes = false", quote(keyspace))]).await
}

fn amount(row: u64) -> Cell {
    int(i32::try_from(row % 1_000_000).expect("below a million")).into()
}

/// 64 letters that differ from row to row.
fn payload(row: u64) -> Cell {
    let mixed = |turn: u64| row.wrapping_add(turn).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    text(&(0..4).map(|turn| format!("{:016x}", mixed(turn))).collect::<String>()).into()
}
