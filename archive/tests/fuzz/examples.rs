//! The corpus: golden files, and the inputs in `corpus/`.

use std::path::{Path, PathBuf};

use ringvault_archive::table::TableLayout;
use ringvault_proto::v1;
use serde_json::Value;

/// A row line and the table that it is of.
pub(crate) struct LineExample {
    pub(crate) layout: TableLayout,
    pub(crate) line: Vec<u8>,
}

/// The directory of this crate's tests.
fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// A golden file.
pub(crate) fn golden(name: &str) -> Vec<u8> {
    let path = tests().join("golden").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The files of a directory of the corpus, by name; and the golden ones that are given.
pub(crate) fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = tests().join("corpus").join(name);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&directory)
        .map(|entries| entries.map(|entry| entry.expect("a readable directory").path()).collect())
        .unwrap_or_default();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a readable file")).collect()
}

/// The lines of a file of the corpus, each a JSON object.
pub(crate) fn corpus_lines(name: &str) -> Vec<Value> {
    let path = tests().join("corpus").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Every row line of the golden file and of the corpus.
pub(crate) fn line_examples() -> Vec<LineExample> {
    let golden = String::from_utf8(golden("row_lines.jsonl")).expect("text");
    let golden = golden.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    golden.chain(corpus_lines("row_lines.jsonl")).map(|example| line_example(&example)).collect()
}

fn line_example(example: &Value) -> LineExample {
    let columns = example["columns"].as_array().expect("columns").iter().map(|column| {
        let part = |at: usize| column[at].as_str().expect("text").to_owned();
        let kind = v1::ColumnKind::from_str_name(&format!("COLUMN_KIND_{}", part(1).to_uppercase())).expect("a role");
        v1::Column { name: part(0), kind: kind.into(), r#type: part(2), reversed: false }
    });
    let types = example["user_types"].as_object().into_iter().flatten().map(|(name, fields)| v1::UserType {
        name: name.clone(),
        fields: fields
            .as_array()
            .expect("fields")
            .iter()
            .map(|field| v1::Column {
                name: field[0].as_str().expect("a name").to_owned(),
                r#type: field[1].as_str().expect("a type").to_owned(),
                ..v1::Column::default()
            })
            .collect(),
    });
    let message = v1::InspectedTable {
        table: Some(v1::TableName { keyspace: "ks".to_owned(), table: "t".to_owned() }),
        columns: columns.collect(),
        types: types.collect(),
        ..v1::InspectedTable::default()
    };
    LineExample {
        layout: TableLayout::from_message(&message).expect("a table"),
        line: example["line"].as_str().expect("a line").as_bytes().to_vec(),
    }
}
