//! The benchmark's tables: one of wide text rows as YCSB has them, one of mixed types. Every row is made from its number, so
//! that a table is the same each time.

use anyhow::Result;
use num_bigint::BigInt;
use scylla::client::session::Session;
use serde::{Deserialize, Serialize};

use crate::cql::Cell;
use crate::samples::bytes::{bigint, boolean, decimal, double, int, list, map, text};
use crate::samples::{load, load_batched};

/// Rows of one partition of `mixed`: what a writer can put into one batch.
pub const MIXED_PARTITION_ROWS: u64 = 10;

/// A table of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BenchTable {
    /// A text key and ten texts of 100 characters; a partition a row.
    Ycsb,
    /// Twelve columns of mixed types, a map and a set among them; ten rows a partition.
    Mixed,
}

impl BenchTable {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ycsb, Self::Mixed];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ycsb => "ycsb",
            Self::Mixed => "mixed",
        }
    }

    /// What it is, in a line.
    pub fn described(self) -> &'static str {
        match self {
            Self::Ycsb => "YCSB: rows of 1 KB, a partition each",
            Self::Mixed => "mixed: 12 columns with map, set, decimal, blob",
        }
    }

    /// The keyspace that holds it alone, so that its backup is a whole one.
    pub fn keyspace(self, size: Size) -> &'static str {
        match (self, size) {
            (Self::Ycsb, Size::Whole) => "bench_ycsb",
            (Self::Ycsb, Size::Part) => "bench_ycsb_part",
            (Self::Mixed, Size::Whole) => "bench_mixed",
            (Self::Mixed, Size::Part) => "bench_mixed_part",
        }
    }

    /// Rows that make a page of about a MiB: larger ones are no faster where all share the cores, and slower where the client
    /// has one of its own, since it waits for a whole page before it asks for the next.
    pub fn page_rows(self) -> i32 {
        match self {
            Self::Ycsb => 1000,
            Self::Mixed => 4000,
        }
    }

    /// Its regular columns.
    pub fn columns(self) -> Vec<String> {
        match self {
            Self::Ycsb => (0..10).map(|field| format!("field{field}")).collect(),
            Self::Mixed => ["name", "total", "ratio", "price", "placed", "number", "open", "raw", "tags", "marks"]
                .map(ToOwned::to_owned)
                .to_vec(),
        }
    }

    /// Those of them whose writetime and TTL a server of any release tells.
    pub fn timed_columns(self) -> Vec<String> {
        self.columns().into_iter().filter(|column| column != "tags" && column != "marks").collect()
    }

    fn key(self) -> &'static [&'static str] {
        match self {
            Self::Ycsb => &["id"],
            Self::Mixed => &["pk", "ck"],
        }
    }

    /// The statement that makes it, under a keyspace.
    pub fn create(self, keyspace: &str) -> String {
        match self {
            Self::Ycsb => {
                let fields: Vec<String> = self.columns().iter().map(|name| format!("{name} text")).collect();
                format!("CREATE TABLE {keyspace}.ycsb (id text PRIMARY KEY, {})", fields.join(", "))
            }
            Self::Mixed => format!(
                "CREATE TABLE {keyspace}.mixed (pk int, ck int, name text, total bigint, ratio double, price decimal, \
                 placed timestamp, number uuid, open boolean, raw blob, tags map<text, int>, marks set<text>, PRIMARY \
                 KEY (pk, ck))"
            ),
        }
    }

    /// The statement that writes a row of it.
    pub fn insert(self, keyspace: &str) -> String {
        let names: Vec<String> = self.key().iter().map(ToString::to_string).chain(self.columns()).collect();
        let marks = vec!["?"; names.len()].join(", ");
        format!("INSERT INTO {keyspace}.{} ({}) VALUES ({marks})", self.name(), names.join(", "))
    }

    /// The cells of a row, by its number.
    pub fn row(self, number: u64) -> Vec<Cell> {
        match self {
            Self::Ycsb => {
                let key: Cell = text(&format!("user{:019}", mixed(number, 0))).into();
                let fields = (0..10).map(|field| letters(number, field, 100).into());
                std::iter::once(key).chain(fields).collect()
            }
            Self::Mixed => {
                let pk = i32::try_from(number / MIXED_PARTITION_ROWS).unwrap_or(i32::MAX);
                let ck = i32::try_from(number % MIXED_PARTITION_ROWS).unwrap_or(i32::MAX);
                let small = |turn| i32::try_from(mixed(number, turn) % 100_000).unwrap_or(0);
                let tags: Vec<_> = (0..3).map(|tag| (text(&format!("tag{tag}")), int(small(20 + tag)))).collect();
                let marks: Vec<_> = (0..3).map(|mark| text(&format!("mark{mark} {:05}", small(30 + mark)))).collect();
                let (high, low) = (mixed(number, 1), mixed(number, 2));
                vec![
                    int(pk).into(),
                    int(ck).into(),
                    text(&format!("name of {}", small(3))).into(),
                    bigint(mixed(number, 4).cast_signed()).into(),
                    double(f64::from(small(5)) / 7.0).into(),
                    decimal(2, &BigInt::from(small(6))).into(),
                    bigint(1_700_000_000_000 + i64::from(small(7)) * 1000).into(),
                    [high.to_be_bytes(), low.to_be_bytes()].concat().into(),
                    boolean(small(8) % 2 == 0).into(),
                    (0..4).flat_map(|turn| mixed(number, 40 + turn).to_be_bytes()).collect::<Vec<u8>>().into(),
                    map(&tags).into(),
                    list(&marks).into(),
                ]
            }
        }
    }
}

/// How many rows of a table a subject meets. Rows a second compare across sizes, since each lasts long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// All: for who reads fast.
    Whole,
    /// The first of them: for who writes, or is several times slower.
    Part,
}

/// How a yardstick writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// One row a request.
    Single,
    /// Neighbours of one partition together; where each partition is a row, four of them.
    Batched,
}

/// Writes rows by the raw driver.
///
/// # Errors
/// If the server refuses one.
pub async fn write(session: &Session, table: BenchTable, keyspace: &str, rows: u64, how: Writing) -> Result<u64> {
    let insert = table.insert(keyspace);
    let rows = (0..rows).map(|number| table.row(number));
    match how {
        Writing::Single => load(session, &insert, rows).await,
        Writing::Batched => {
            let batch = if table == BenchTable::Mixed { 10 } else { 4 };
            load_batched(session, &insert, batch, rows).await
        }
    }
}

/// A number that looks like chance (the finalizer of SplitMix64).
fn mixed(number: u64, turn: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(turn.wrapping_mul(0xbf58_476d_1ce4_e5b9));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// So many printable characters, as random as hexadecimal digits are.
fn letters(number: u64, field: u64, count: usize) -> Vec<u8> {
    let blocks =
        (0..count.div_ceil(16)).map(|block| format!("{:016x}", mixed(number, 100 * (field + 1) + block as u64)));
    let mut all: String = blocks.collect();
    all.truncate(count);
    text(&all)
}
