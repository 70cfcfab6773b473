//! The demo's keyspace, a small shop: several tables, collections, types, a wide partition, expiring rows, counters.

use anyhow::Result;

use super::{load, load_batched};
use crate::cassandra::TestCluster;
use crate::cql::{Cell, qualified, quote};
use crate::samples::bytes::{bigint, decimal, int, list, map, text, tuple};

/// 2026-01-01, in ms and in µs since 1970.
const BASE_MS: i64 = 1_767_225_600_000;

/// Makes the keyspace anew and fills it; returns the rows of each table. `scale` 100 gives about 160,000 rows.
///
/// # Errors
/// If the server refuses any of it.
pub async fn make(
    cluster: &TestCluster,
    keyspace: &str,
    replication_factor: u32,
    scale: i32,
) -> Result<Vec<(String, u64)>> {
    cluster.fresh_keyspace(keyspace, replication_factor).await?;
    for statement in SCHEMA {
        cluster.run(&[&statement.replace("KS.", &format!("{}.", quote(keyspace)))]).await?;
    }
    let shop = Shop { cluster, keyspace };
    Ok(vec![
        ("customers".into(), shop.customers(200 * scale).await?),
        ("products".into(), shop.products(20 * scale).await?),
        ("orders".into(), shop.orders(600 * scale).await?),
        ("events".into(), shop.events(700 * scale).await?),
        ("sessions".into(), shop.sessions(100 * scale).await?),
        ("page_views".into(), shop.page_views(scale).await?),
    ])
}

const SCHEMA: &[&str] = &[
    "CREATE TYPE KS.address (street text, city text, zip text)",
    "CREATE TYPE KS.line (product int, pieces int, price decimal)",
    "CREATE TABLE KS.customers (id int PRIMARY KEY, name text, email text, born date, home address, \
     phones map<text, text>, interests set<text>)",
    "CREATE TABLE KS.products (id int PRIMARY KEY, name text, price decimal, tags set<text>, \
     size tuple<int, int, int>, photo blob)",
    "CREATE TABLE KS.orders (customer int, placed timestamp, id int, lines list<frozen<line>>, status text, \
     total decimal, level text static, PRIMARY KEY (customer, placed, id)) WITH CLUSTERING ORDER BY (placed DESC, id ASC)",
    "CREATE TABLE KS.events (stream text, at bigint, kind text, customer int, detail text, PRIMARY KEY (stream, at))",
    "CREATE TABLE KS.sessions (id text PRIMARY KEY, customer int, agent text) WITH default_time_to_live = 864000",
    "CREATE TABLE KS.page_views (page text, day int, views counter, PRIMARY KEY (page, day))",
];

struct Shop<'a> {
    cluster: &'a TestCluster,
    keyspace: &'a str,
}

impl Shop<'_> {
    fn insert(&self, table: &str, columns: &str) -> String {
        let marks = vec!["?"; columns.split(',').count()].join(", ");
        format!("INSERT INTO {} ({columns}) VALUES ({marks})", qualified(self.keyspace, table))
    }

    async fn customers(&self, count: i32) -> Result<u64> {
        let insert = self.insert("customers", "id, name, email, born, home, phones, interests");
        let interests = ["books", "bikes", "bread", "boats", "birds"];
        let rows = (0..count).map(|id| {
            let street = text(&format!("{} Ring Street", id % 300));
            let home = tuple(&[
                Some(street),
                Some(text(CITIES[id as usize % CITIES.len()])),
                Some(text(&format!("{:05}", id % 99_999))),
            ]);
            let phones = map(&[(text("home"), text(&format!("+49 30 {id:07}")))]);
            let likes: Vec<Vec<u8>> = interests.iter().skip(id as usize % 5).map(|word| text(word)).collect();
            let name = format!("{} {}", NAMES[id as usize % NAMES.len()], id);
            let cells: [Cell; 7] = [
                int(id).into(),
                text(&name).into(),
                text(&format!("customer{id}@example.org")).into(),
                ((1_u32 << 31) + (id as u32 % 15_000)).to_be_bytes().to_vec().into(),
                home.into(),
                if id % 3 == 0 { Cell::Unset } else { phones.into() },
                list(&likes).into(),
            ];
            cells.to_vec()
        });
        load(self.cluster.session(), &insert, rows).await
    }

    async fn products(&self, count: i32) -> Result<u64> {
        let insert = self.insert("products", "id, name, price, tags, size, photo");
        let rows = (0..count).map(|id| {
            let tags = list(&[text("new"), text(&format!("shelf {}", id % 40))]);
            let size = tuple(&[Some(int(id % 90)), Some(int(10)), if id % 4 == 0 { None } else { Some(int(3)) }]);
            let photo: Vec<u8> = (0..200_i32).map(|i| (i.wrapping_mul(id).wrapping_add(id)) as u8).collect();
            let cells = [int(id), text(&format!("product {id}")), price(id), tags, size, photo];
            cells.map(Cell::Raw).to_vec()
        });
        load(self.cluster.session(), &insert, rows).await
    }

    async fn orders(&self, count: i32) -> Result<u64> {
        let insert = self.insert("orders", "customer, placed, id, lines, status, total, level");
        let rows = (0..count).map(|id| {
            let line = |n: i32| tuple(&[Some(int((id + n) % 2000)), Some(int(n)), Some(price(id + n))]);
            let lines: Vec<Vec<u8>> = (1..=1 + id % 4).map(line).collect();
            let status = ["placed", "paid", "sent", "delivered"][id as usize % 4];
            let placed = bigint(BASE_MS + i64::from(id) * 61_000);
            let level = if id % 7 == 0 { Cell::Raw(text("gold")) } else { Cell::Unset };
            let mut cells =
                [int(id % 9973), placed, int(id), list(&lines), text(status), price(id * 3)].map(Cell::Raw).to_vec();
            cells.push(level);
            cells
        });
        load(self.cluster.session(), &insert, rows).await
    }

    /// One wide partition, `all`, and some small ones.
    async fn events(&self, count: i32) -> Result<u64> {
        let insert = self.insert("events", "stream, at, kind, customer, detail");
        let row = |stream: &str, at: i32| -> Vec<Cell> {
            let kind = ["view", "cart", "buy"][at as usize % 3];
            let detail = format!("{{\"step\": {at}, \"from\": \"page {}\"}}", at % 97);
            [text(stream), bigint(i64::from(at)), text(kind), int(at % 9973), text(&detail)].map(Cell::Raw).to_vec()
        };
        let small = count / 100;
        let few = load(self.cluster.session(), &insert, (0..small).map(|at| row(&format!("stream {}", at % 20), at)));
        let few = few.await?;
        Ok(few + load_batched(self.cluster.session(), &insert, 50, (small..count).map(|at| row("all", at))).await?)
    }

    async fn sessions(&self, count: i32) -> Result<u64> {
        let insert = self.insert("sessions", "id, customer, agent") + " USING TTL ?";
        let rows = (0..count).map(|id| {
            let agent = if id % 2 == 0 { "browser" } else { "app 🦀" };
            let cells = [text(&format!("{:016x}", i64::from(id) * 7_919)), int(id), text(agent), int(86_400 + id)];
            cells.map(Cell::Raw).to_vec()
        });
        load(self.cluster.session(), &insert, rows).await
    }

    async fn page_views(&self, count: i32) -> Result<u64> {
        let update = format!(
            "UPDATE {} SET views = views + ? WHERE page = ? AND day = ?",
            qualified(self.keyspace, "page_views")
        );
        let rows = (0..count).map(|n| {
            [bigint(i64::from(n) * 1_000_003 + 1), text(&format!("/page/{}", n % 17)), int(n)].map(Cell::Raw).to_vec()
        });
        load(self.cluster.session(), &update, rows).await
    }
}

const CITIES: &[&str] = &["Berlin", "Kraków", "Århus", "서울", "São Paulo"];
const NAMES: &[&str] = &["Ada", "Grace", "Barbara", "Frances", "Radia", "Margaret"];

/// Cents as a decimal of scale 2.
fn price(cents: i32) -> Vec<u8> {
    decimal(2, &num_bigint::BigInt::from(99 + cents % 50_000))
}
