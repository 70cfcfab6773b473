//! Any rows, in any order, in any shards and parts, come out in the order of tokens with the values that they had.

use std::{collections::BTreeMap, fmt::Write as _};

use proptest::prelude::*;
use ringvault_archive::{repository::Repository, token::token_of};
use serde_json::{Value, json};

use crate::sample::{directory, import, lines, table};

const COLUMNS: [&str; 7] =
    ["pk a int", "pk b text", "ck↓ c text", "ck d bigint", "st s text", " m map<bigint, text>", " v set<int>"];

type Key = (i32, String);

/// A partition: its static, and by clustering its values.
type Rows = BTreeMap<Key, (Option<String>, BTreeMap<(String, i64), (BTreeMap<i64, String>, Vec<i32>)>)>;

fn rows() -> impl Strategy<Value = Rows> {
    let text = || "[ab\u{0}\"ü]{0,3}";
    let values = (prop::collection::btree_map(any::<i64>(), text(), 0..3), prop::collection::vec(any::<i32>(), 0..3));
    let clustered = prop::collection::btree_map((text(), -3_i64..3), values, 0..6);
    let partition = (prop::option::of(text()), clustered);
    prop::collection::btree_map((0_i32..20, text()), partition, 0..12)
}

/// The rows as that tool writes them.
fn written(rows: &Rows) -> Vec<String> {
    let mut lines = Vec::new();
    for ((a, b), (owner, clustered)) in rows {
        let mut push = |c: Value, d: Value, m: Value, v: Value| {
            lines.push(json!({"a": a, "b": b, "c": c, "d": d, "s": owner, "m": m, "v": v}).to_string());
        };
        for ((c, d), (m, v)) in clustered {
            let m: BTreeMap<String, &String> = m.iter().map(|(key, value)| (key.to_string(), value)).collect();
            let mut v = v.clone();
            v.sort_unstable_by(|a, b| b.cmp(a));
            v.dedup();
            push(json!(c), json!(d), json!(m), json!(v));
        }
        if clustered.is_empty() && owner.is_some() {
            push(Value::Null, Value::Null, Value::Null, Value::Null);
        }
    }
    lines
}

/// The lines that they must become.
fn expected(rows: &Rows) -> Vec<String> {
    let key = |(a, b): &Key| vec![a.to_be_bytes().to_vec(), b.as_bytes().to_vec()];
    let mut partitions: Vec<_> = rows.iter().collect();
    partitions.sort_by_key(|(name, _)| token_of(&key(name)));
    let mut lines = Vec::new();
    for ((a, b), (owner, clustered)) in partitions {
        let head = format!("{{\"a\":{a},\"b\":{}", json!(b));
        lines.extend(owner.as_ref().map(|owner| format!("{head},\"s\":{}}}", json!(owner))));
        let mut clustered: Vec<_> = clustered.iter().collect();
        clustered.sort_by(|((c, d), _), ((e, f), _)| e.as_bytes().cmp(c.as_bytes()).then(d.cmp(f)));
        for ((c, d), (m, v)) in clustered {
            let mut line = format!("{head},\"c\":{},\"d\":{d}", json!(c));
            if !m.is_empty() {
                let entries: Vec<String> = m.iter().map(|(key, value)| format!("\"{key}\":{}", json!(value))).collect();
                let _ = write!(line, ",\"m\":{{{}}}", entries.join(","));
            }
            let mut v = v.clone();
            v.sort_unstable();
            v.dedup();
            if !v.is_empty() {
                let _ = write!(line, ",\"v\":{}", json!(v));
            }
            lines.push(line + "}");
        }
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn rows_come_out_in_the_order_of_tokens(
        rows in rows(),
        order: Vec<prop::sample::Index>,
        doubled in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        shards in 1_usize..4,
    ) {
        let mut lines_written = written(&rows);
        if !lines_written.is_empty() {
            for index in &doubled {
                lines_written.push(index.get(&lines_written).clone());
            }
            for (at, index) in order.iter().enumerate().take(lines_written.len()) {
                let other = index.index(lines_written.len());
                lines_written.swap(at, other);
            }
        }
        let files: Vec<(String, String)> = (0..shards)
            .map(|shard| {
                let of_shard: Vec<&str> = lines_written.iter().skip(shard).step_by(shards).map(String::as_str).collect();
                (format!("t_shard{shard}_part1.json"), format!("[\n{}\n]\n", of_shard.join(",\n")))
            })
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let directory = directory(&files);
        let repository = Repository::in_memory();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let found = runtime.block_on(async {
            let manifest = import(directory.path(), vec![table("t", &COLUMNS)], &repository).await.expect("imported");
            lines(&repository, &manifest, "t").await
        });
        prop_assert_eq!(found, expected(&rows));
    }
}
