//! JSON.md against what the code prints, field by field.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::Value;

use super::{differences, json, json::Kind};
use crate::{commands, job_run};

const DOCUMENT: &str = include_str!("../../JSON.md");
/// Row lines of the archive, whose members are columns of a table.
const ROW_LINES: [(&str, &str); 3] = [("row", "row"), ("row_diff", "a"), ("row_diff", "b")];

/// Heading → paths of fields; a group is named in asterisks.
type Sections = BTreeMap<String, BTreeSet<String>>;

/// What JSON.md says of each type, its groups put in.
fn documented() -> Sections {
    let mut rows: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut heading = String::new();
    for line in DOCUMENT.lines() {
        if let Some(text) = line.strip_prefix("## ") {
            heading = text.replace('`', "");
            rows.insert(heading.clone(), Vec::new());
        } else if let (Some(cells), Some(rows)) = (line.strip_prefix("| "), rows.get_mut(&heading)) {
            let first = cells.split(" | ").next().unwrap_or_default();
            if first != "field" && !first.starts_with("---") {
                rows.push(first);
            }
        }
    }
    let names: Vec<String> = rows.keys().cloned().collect();
    let sections = names.into_iter().map(|name| (name.clone(), fields(&rows, &name)));
    sections.filter(|(name, _)| !name.starts_with('*')).collect()
}

/// The fields of one section: `` `a`, `b` ``, `*group*`, or `` `tables[]`: *group*, *group* ``.
fn fields(rows: &BTreeMap<String, Vec<&str>>, section: &str) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    for cell in rows.get(section).unwrap_or_else(|| panic!("JSON.md has no section {section}")) {
        let (prefix, names) = match cell.split_once(": ") {
            Some((array, groups)) => {
                let array = array.trim_matches('`');
                fields.insert(array.trim_end_matches("[]").to_owned());
                (format!("{array}."), groups)
            }
            None => (String::new(), *cell),
        };
        for name in names.split(", ") {
            match name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) {
                Some(field) => assert!(fields.insert(format!("{prefix}{field}")), "{section} names {field} twice"),
                None => fields.extend(self::fields(rows, name).into_iter().map(|field| format!("{prefix}{field}"))),
            }
        }
    }
    fields
}

/// The paths of all fields of a line.
fn paths(kind: &str, value: &Value, prefix: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                into.insert(format!("{prefix}{name}"));
                if !ROW_LINES.contains(&(kind, name)) {
                    paths(kind, member, &format!("{prefix}{name}."), into);
                }
            }
        }
        Value::Array(items) => {
            let prefix = format!("{}[].", prefix.trim_end_matches('.'));
            items.iter().filter(|item| item.is_object()).for_each(|item| paths(kind, item, &prefix, into));
        }
        _ => {}
    }
}

fn samples() -> Vec<(Kind, Value)> {
    let all = [json::samples(), differences::samples(), job_run::samples(), commands::samples()];
    let line = |(kind, text): (Kind, String)| (kind, serde_json::from_str(&text).expect("a JSON line"));
    all.into_iter().flatten().map(line).collect()
}

/// The heading of a kind; two commands give a line of the same type.
fn heading(kind: Kind, line: &Value) -> String {
    let word = line["type"].as_str().expect("a type");
    match kind {
        Kind::BackupListed => format!("{word} of list"),
        Kind::BackupShown => format!("{word} of show"),
        _ => word.to_owned(),
    }
}

#[test]
fn every_field_that_is_printed_is_documented_and_the_other_way_round() {
    let printed: Sections = samples()
        .into_iter()
        .map(|(kind, line)| {
            assert_eq!(line["schema"], 1, "{line}");
            let heading = heading(kind, &line);
            let mut fields = BTreeSet::new();
            paths(line["type"].as_str().expect("a type"), &line, "", &mut fields);
            fields.remove("schema");
            fields.remove("type");
            (heading, fields)
        })
        .collect();
    let documented = documented();
    for (name, fields) in &printed {
        assert_eq!(Some(fields), documented.get(name), "printed, and documented, of {name}");
    }
    let unprinted: Vec<_> = documented.keys().filter(|name| !printed.contains_key(*name)).collect();
    assert!(unprinted.is_empty(), "documented and never printed: {unprinted:?}");
}

#[test]
fn every_record_of_the_code_has_a_sample() {
    let mut printed = BTreeSet::new();
    for (_, line) in samples() {
        let mut fields = BTreeSet::new();
        paths(line["type"].as_str().expect("a type"), &line, "", &mut fields);
        printed.extend(fields.iter().map(|path| path.rsplit('.').next().unwrap_or_default().to_owned()));
    }
    let records = serialized(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    assert!(records.len() > 100, "the source is read no more: {records:?}");
    let missing: Vec<String> = records.into_iter().filter(|field| !printed.contains(field)).collect();
    assert!(missing.is_empty(), "fields of records of which no sample is printed: {missing:?}");
}

/// The names of the fields of all structs that are serialized, read from the source; flattened ones have none.
fn serialized(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the source").flatten() {
        let path = entry.path();
        if path.is_dir() {
            names.extend(serialized(&path));
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        let records = text.split("Serialize)]\n").skip(1).filter_map(|after| after.split('}').next());
        for record in records.filter(|record| !record.starts_with("struct Line<")) {
            let record = record.split_once('{').map_or("", |(_, fields)| fields);
            let mut flattened = false;
            for line in record.lines().map(str::trim) {
                match line.split_once(':') {
                    _ if line.starts_with("#[") => flattened |= line.contains("flatten"),
                    Some((name, _)) if !flattened && !line.starts_with("//") => {
                        names.push(name.trim_start_matches("pub(crate) ").trim().to_owned());
                    }
                    Some(_) if !line.starts_with("//") => flattened = false,
                    _ => {}
                }
            }
        }
    }
    names
}
