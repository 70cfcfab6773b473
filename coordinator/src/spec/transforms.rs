//! Judges what a restore changes on the way: names, replication, times, and what of the backup it takes. What depends
//! on the backup itself (is there such a table, does it hold counters) is judged once the backup is read.

use std::collections::{BTreeMap, BTreeSet};

use ringvault_proto::{
    error::Failure,
    pattern::Patterns,
    v1::{self, IfExists, Timestamps, Ttl},
};

use super::{at_most, check_name, check_not_system, count, invalid, known};

/// Token ranges of a job at most.
const TOKEN_RANGES_MAX: u64 = 10_000;

/// Columns of a partition key at most.
const KEY_CELLS_MAX: u64 = 64;

/// Longest JSON of one cell of a key: CQL keys end at 64 KiB, and a blob's two digits a byte must fit.
const KEY_CELL_BYTES_MAX: usize = 160 << 10;

/// Longest option of a replication, and longest name of a data centre.
const OPTION_BYTES_MAX: usize = 256;

/// Options of a replication, or renamed data centres, at most.
const OPTIONS_MAX: u64 = 1000;

/// A million of a million is everything.
const SAMPLE_MAX: u64 = 1_000_000;

/// Judges how a restore changes what it writes.
pub(super) fn check(spec: &v1::RestoreSpec) -> Result<(), Failure> {
    check_names(&spec.keyspaces, &spec.keyspace_as, &spec.table_as)?;
    check_replication(spec)?;
    known("if_exists", IfExists::try_from(spec.if_exists).is_ok(), spec.if_exists)?;
    known("timestamps", Timestamps::try_from(spec.timestamps).is_ok(), spec.timestamps)?;
    known("ttl", Ttl::try_from(spec.ttl).is_ok(), spec.ttl)?;
    check_token_ranges(&spec.token_ranges)?;
    check_partition_key(spec)?;
    at_most("sample_per_million", spec.sample_per_million.into(), SAMPLE_MAX)?;
    check_conflicts(spec)?;
    if spec.rehearsal { check_rehearsal(spec) } else { Ok(()) }
}

/// Judges new names of keyspaces and tables.
pub(super) fn check_names(
    keyspaces: &[String],
    keyspace_as: &str,
    table_as: &BTreeMap<String, String>,
) -> Result<(), Failure> {
    let patterns = Patterns::of_keyspaces(keyspaces).map_err(|e| invalid(e.to_string()))?;
    let several = patterns.names().count() > 1;
    if !keyspace_as.is_empty() {
        check_name("keyspace", keyspace_as).map_err(|e| within("keyspace_as", &e))?;
        check_not_system(keyspace_as, "written to").map_err(|e| within("keyspace_as", &e))?;
        if several {
            return Err(invalid(format!(
                "keyspace_as {keyspace_as} can take the place of one keyspace only; name one, or leave it out"
            )));
        }
    }
    if several && !table_as.is_empty() {
        return Err(invalid("table_as renames tables of one keyspace only; name one keyspace, or leave it out"));
    }
    at_most("table_as", u64::try_from(table_as.len()).unwrap_or(u64::MAX), super::TABLES_MAX)?;
    let mut targets = BTreeSet::new();
    for (old, new) in table_as {
        check_name("table", old).map_err(|e| within("table_as", &e))?;
        check_name("table", new).map_err(|e| within("table_as", &e))?;
        if !targets.insert(new) {
            return Err(invalid(format!("table_as gives two tables the name {new}; give each its own")));
        }
    }
    Ok(())
}

fn check_replication(spec: &v1::RestoreSpec) -> Result<(), Failure> {
    for (field, options) in [("replication", &spec.replication), ("data_center_as", &spec.data_center_as)] {
        at_most(field, u64::try_from(options.len()).unwrap_or(u64::MAX), OPTIONS_MAX)?;
        for text in options.iter().flat_map(|(key, value)| [key, value]) {
            if text.is_empty() || text.len() > OPTION_BYTES_MAX || text.contains(char::is_control) {
                return Err(invalid(format!(
                    "{field} holds a name or value that is empty, longer than {OPTION_BYTES_MAX} bytes, or no text"
                )));
            }
        }
    }
    if spec.replication.is_empty() {
        return Ok(());
    }
    if !spec.replication.contains_key("class") {
        return Err(invalid(
            "replication names no class; write {'class': 'NetworkTopologyStrategy', 'dc1': '3'} or the like",
        ));
    }
    if !spec.data_center_as.is_empty() {
        return Err(invalid(
            "replication takes the place of the backup's, so data_center_as has nothing to rename; give one of them",
        ));
    }
    Ok(())
}

/// Judges token ranges.
pub(super) fn check_token_ranges(spans: &[v1::TokenSpan]) -> Result<(), Failure> {
    at_most("token_ranges", count(spans), TOKEN_RANGES_MAX)
}

fn check_partition_key(spec: &v1::RestoreSpec) -> Result<(), Failure> {
    let Some(key) = &spec.partition_key else { return Ok(()) };
    let patterns = Patterns::of_tables(&spec.tables).map_err(|e| invalid(e.to_string()))?;
    if patterns.names().count() != 1 || spec.tables.len() != 1 {
        return Err(invalid("a partition key belongs to one table; name that table, and no other"));
    }
    if !spec.token_ranges.is_empty() {
        return Err(invalid(
            "a partition key has one token, so token ranges have no place beside it; give one of them",
        ));
    }
    if key.cells.is_empty() {
        return Err(invalid("the partition key is empty; give the value of each of its columns"));
    }
    at_most("the partition key's columns", count(&key.cells), KEY_CELLS_MAX)?;
    let bad = key.cells.iter().position(|cell| {
        cell.len() > KEY_CELL_BYTES_MAX || serde_json::from_str::<serde::de::IgnoredAny>(cell).is_err()
    });
    match bad {
        // Never the text: it is a value of the database.
        Some(position) => Err(invalid(format!(
            "value {} of the partition key is no JSON, or too long; write it as `cat` shows it: 42, \"text\", \"0xff\"",
            position + 1
        ))),
        None => Ok(()),
    }
}

/// Judges what can't be meant together.
fn check_conflicts(spec: &v1::RestoreSpec) -> Result<(), Failure> {
    let among = !matches!(spec.if_exists(), IfExists::Unspecified | IfExists::Fail);
    let in_part = !spec.token_ranges.is_empty() || spec.partition_key.is_some() || spec.sample_per_million > 0;
    let makes_keyspace = !spec.replication.is_empty() || !spec.data_center_as.is_empty();
    for (conflict, message) in [
        (spec.drop && among, "drop leaves no table that could stand there already; leave if_exists out, or drop"),
        (spec.drop && spec.data_only, "data_only needs the tables that drop would remove; give one of them"),
        (
            spec.schema_only && spec.data_only,
            "schema_only and data_only leave nothing to be restored; give one of them",
        ),
        (
            spec.schema_only && in_part,
            "schema_only restores no row, so token ranges, a partition key or a sample choose nothing; leave them out",
        ),
        (
            spec.schema_only && spec.if_exists() == IfExists::Truncate,
            "schema_only restores no row, so truncate would only delete; give one of them",
        ),
        (
            spec.data_only && makes_keyspace,
            "data_only leaves the keyspace as it is; leave replication and data_center_as out",
        ),
        (spec.data_only && spec.with_roles, "data_only leaves roles and grants as they are; leave with_roles out"),
        (
            spec.if_exists() == IfExists::Truncate && in_part,
            "truncate would delete rows that token ranges, a partition key or a sample don't bring back; use append",
        ),
    ] {
        if conflict {
            return Err(invalid(message));
        }
    }
    Ok(())
}

/// A rehearsal touches nothing but its scratch keyspace.
fn check_rehearsal(spec: &v1::RestoreSpec) -> Result<(), Failure> {
    let named = |fields: &[(&'static str, bool)]| fields.iter().find(|(_, given)| *given).map(|(field, _)| *field);
    let given = named(&[
        ("drop", spec.drop),
        ("keyspace_as", !spec.keyspace_as.is_empty()),
        ("if_exists", !matches!(spec.if_exists(), IfExists::Unspecified | IfExists::Fail)),
        ("schema_only", spec.schema_only),
        ("data_only", spec.data_only),
        ("with_roles", spec.with_roles),
    ]);
    match given {
        Some(field) => Err(invalid(format!(
            "a rehearsal restores into a scratch keyspace of its own, so {field} has no place there; leave it out"
        ))),
        None => Ok(()),
    }
}

fn within(field: &str, failure: &Failure) -> Failure {
    Failure::new(failure.kind, format!("{field}: {}", failure.message))
}

#[cfg(test)]
mod tests {
    use ringvault_proto::error::ErrorKind;

    use super::*;

    fn refused(needle: &str, change: impl FnOnce(&mut v1::RestoreSpec)) {
        let mut spec = v1::RestoreSpec { keyspaces: vec!["shop".into()], ..v1::RestoreSpec::default() };
        change(&mut spec);
        let failure = check(&spec).expect_err(needle);
        assert_eq!(failure.kind, ErrorKind::Invalid);
        assert!(failure.message.contains(needle), "{}", failure.message);
    }

    fn accepted(change: impl FnOnce(&mut v1::RestoreSpec)) {
        let mut spec = v1::RestoreSpec { keyspaces: vec!["shop".into()], ..v1::RestoreSpec::default() };
        change(&mut spec);
        check(&spec).expect("accepted");
    }

    fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect()
    }

    fn key(cells: &[&str]) -> Option<v1::PartitionKey> {
        Some(v1::PartitionKey { cells: cells.iter().map(|cell| (*cell).to_owned()).collect() })
    }

    #[test]
    fn transforms_that_make_sense_are_accepted() {
        accepted(|_| ());
        accepted(|spec| spec.keyspace_as = "shop2".into());
        accepted(|spec| spec.table_as = names(&[("a", "b"), ("b", "a")]));
        accepted(|spec| spec.replication = names(&[("class", "SimpleStrategy"), ("replication_factor", "1")]));
        accepted(|spec| spec.set_if_exists(IfExists::OnlyMissing));
        accepted(|spec| {
            spec.tables = vec!["shop.t".into()];
            spec.partition_key = key(&["42", "\"a\""]);
        });
        accepted(|spec| {
            spec.rehearsal = true;
            spec.sample_per_million = 10_000;
        });
    }

    #[test]
    fn new_names_must_be_names_and_of_one_keyspace() {
        refused("keyspace_as: \"a b\" is no keyspace name", |spec| spec.keyspace_as = "a b".into());
        refused("belongs to the database itself", |spec| spec.keyspace_as = "system_auth".into());
        refused("can take the place of one keyspace only", |spec| {
            spec.keyspaces.push("bank".into());
            spec.keyspace_as = "x".into();
        });
        refused("table_as renames tables of one keyspace only", |spec| {
            spec.keyspaces.push("bank".into());
            spec.table_as = names(&[("a", "b")]);
        });
        refused("gives two tables the name c", |spec| spec.table_as = names(&[("a", "c"), ("b", "c")]));
        refused("table_as: \"a.b\" is no table name", |spec| spec.table_as = names(&[("a.b", "c")]));
    }

    #[test]
    fn a_replication_must_be_one() {
        refused("names no class", |spec| spec.replication = names(&[("dc1", "3")]));
        refused("nothing to rename", |spec| {
            spec.replication = names(&[("class", "SimpleStrategy")]);
            spec.data_center_as = names(&[("dc1", "dc2")]);
        });
        refused("replication holds a name or value", |spec| spec.replication = names(&[("class", "")]));
    }

    #[test]
    fn a_partition_key_wants_one_table_and_is_never_shown() {
        refused("belongs to one table", |spec| spec.partition_key = key(&["1"]));
        refused("belongs to one table", |spec| {
            spec.tables = vec!["t*".into()];
            spec.partition_key = key(&["1"]);
        });
        refused("token ranges have no place", |spec| {
            spec.tables = vec!["t".into()];
            spec.partition_key = key(&["1"]);
            spec.token_ranges = vec![v1::TokenSpan { start: 1, end: 2 }];
        });
        let mut spec = v1::RestoreSpec { tables: vec!["t".into()], ..v1::RestoreSpec::default() };
        spec.partition_key = key(&["1", "secret value"]);
        let failure = check(&spec).expect_err("no JSON");
        assert!(failure.message.contains("value 2 of the partition key"), "{}", failure.message);
        assert!(!failure.message.contains("secret"), "{}", failure.message);
    }

    #[test]
    fn what_can_t_be_meant_together_is_refused() {
        refused("drop leaves no table", |spec| {
            spec.drop = true;
            spec.set_if_exists(IfExists::Append);
        });
        refused("data_only needs the tables", |spec| (spec.drop, spec.data_only) = (true, true));
        refused("leave nothing to be restored", |spec| (spec.schema_only, spec.data_only) = (true, true));
        refused("schema_only restores no row", |spec| (spec.schema_only, spec.sample_per_million) = (true, 1));
        refused("data_only leaves the keyspace", |spec| {
            spec.data_only = true;
            spec.data_center_as = names(&[("a", "b")]);
        });
        refused("at most 1000000", |spec| spec.sample_per_million = 1_000_001);
        refused("if_exists has the unknown value 9", |spec| spec.if_exists = 9);
        refused("ttl has the unknown value 9", |spec| spec.ttl = 9);
        refused("timestamps has the unknown value 9", |spec| spec.timestamps = 9);
        refused("truncate would delete rows", |spec| {
            spec.set_if_exists(IfExists::Truncate);
            spec.token_ranges = vec![v1::TokenSpan { start: 1, end: 2 }];
        });
        refused("so drop has no place there", |spec| (spec.rehearsal, spec.drop) = (true, true));
        refused("so keyspace_as has no place there", |spec| {
            spec.rehearsal = true;
            spec.keyspace_as = "x".into();
        });
    }
}
