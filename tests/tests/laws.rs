//! The laws of the workspace: arrows between rooms, homes of foreign crates, length of files, no path of a machine.
//!
//! They are checked on sources and on `cargo metadata`, so that a wrong import fails a test before it becomes a habit.
#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ringvault_tests::cache::workspace_root;

/// Package → packages of ours that it may depend on, dev-dependencies included.
const ARROWS: &[(&str, &[&str])] = &[
    ("ringvault-proto", &[]),
    ("ringvault-runtime", &["ringvault-proto"]),
    ("ringvault-archive", &["ringvault-proto", "ringvault-runtime"]),
    ("ringvault-coordinator", &["ringvault-proto", "ringvault-runtime", "ringvault-archive"]),
    ("ringvault-worker", &["ringvault-proto", "ringvault-runtime", "ringvault-archive"]),
    ("ringvault-client", &["ringvault-proto", "ringvault-runtime"]),
    (
        "ringvault",
        &[
            "ringvault-proto",
            "ringvault-runtime",
            "ringvault-archive",
            "ringvault-coordinator",
            "ringvault-worker",
            "ringvault-client",
        ],
    ),
    // Not to the rooms that move rows: the comparator shares no code with what it judges. In-process tests of those
    // rooms live with them.
    ("ringvault-tests", &["ringvault-proto", "ringvault-runtime", "ringvault-coordinator", "ringvault-client"]),
];

/// Foreign path → the only places where it may stand. tests/ may use all of them.
const HOMES: &[(&str, &[&str])] = &[
    ("scylla", &["worker/src/cql"]),
    ("scylla_cql_core", &["worker/src/cql"]),
    ("object_store", &["archive/"]),
    ("zstd", &["archive/"]),
    ("flate2", &["archive/"]),
    ("blake3", &["archive/"]),
    // The driver takes the client's side of TLS as a rustls type.
    ("rustls", &["runtime/src/net", "worker/src/cql/tls"]),
    // A channel of ours carries the trace; tonic's own does not.
    ("tonic::transport", &["runtime/src/net"]),
    ("hyper", &["runtime/src/net"]),
    ("tokio::net::TcpListener", &["runtime/src/net", "client/cli/src/embedded.rs"]),
    ("hyper_util", &["runtime/src/net"]),
    ("tracing_subscriber", &["runtime/src/telemetry"]),
    ("opentelemetry", &["runtime/src/telemetry"]),
    ("opentelemetry_sdk", &["runtime/src/telemetry"]),
    ("opentelemetry_otlp", &["runtime/src/telemetry"]),
    ("opentelemetry_prometheus", &["runtime/src/telemetry"]),
    ("tracing_opentelemetry", &["runtime/src/telemetry"]),
    ("prometheus", &["runtime/src/telemetry"]),
    ("clap", &["client/cli/"]),
    ("terminal_size", &["client/cli/"]),
    ("tikv_jemallocator", &["client/cli/"]),
    ("rustix", &["archive/src/repository/"]),
    ("anyhow", &["client/cli/"]),
    ("rusqlite", &["coordinator/src/journal"]),
    ("protox", &["proto/"]),
    ("prost_types", &["proto/"]),
];

/// Lines a file may have before its tests.
const FILE_LINES_MAX: usize = 500;

#[test]
fn arrows_between_rooms_point_as_the_design_draws_them() {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(workspace_root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata answers");
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some(allowed) = arrows.get(package.name.as_str()) else {
            wrong.push(format!("{} is a new package without arrows: add it here and to DESIGN", package.name));
            continue;
        };
        let targets = package.dependencies.iter().map(|dependency| dependency.name.as_str());
        for target in targets.filter(|name| ours.contains(name) && !allowed.contains(name)) {
            wrong.push(format!("{} must not depend on {target}", package.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn foreign_crates_stay_in_their_homes() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        // A room's own integration tests may bring servers and doubles of their own.
        let tests = path.starts_with("tests/") || path.contains("/tests/") && !path.contains("/src/");
        if tests || path.starts_with("proto/src/gen/") {
            continue;
        }
        let code = without_comments_and_strings(&text);
        for (foreign, homes) in HOMES {
            let at_home = homes.iter().any(|home| path.starts_with(home));
            if !at_home && let Some(line) = uses(&code, foreign) {
                wrong.push(format!("{path}:{line}: {foreign} lives in {}", homes.join(" and ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_binary_names_coordinator_and_worker_in_one_file() {
    for room in ["ringvault_coordinator", "ringvault_worker"] {
        let files: Vec<String> = sources()
            .into_iter()
            .filter(|(path, _)| path.starts_with("client/cli/"))
            .filter(|(_, text)| uses(&without_comments_and_strings(text), room).is_some())
            .map(|(path, _)| path)
            .collect();
        assert_eq!(files, ["client/cli/src/embedded.rs"], "{room} is wired in one file");
    }
}

#[test]
fn no_file_is_longer_than_500_lines_before_its_tests() {
    let mut long = Vec::new();
    for (path, text) in sources() {
        if path.starts_with("proto/src/gen/") {
            continue;
        }
        let before_tests = text.find("#[cfg(test)]\nmod ").map_or(text.as_str(), |at| &text[..at]);
        let lines = before_tests.lines().count();
        if lines > FILE_LINES_MAX {
            long.push(format!("{path} has {lines} lines: split it"));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn every_rust_file_says_what_it_owns() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| !path.starts_with("proto/src/gen/"))
        // `mod tests;` is documented by what it tests.
        .filter(|(path, _)| !path.ends_with("/tests.rs") && !path.contains("/tests/"))
        .filter(|(_, text)| !text.trim_start().starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "these files start without //!:\n{}", silent.join("\n"));
}

#[test]
fn every_package_takes_the_workspace_lints() {
    for manifest in files().into_iter().filter(|path| path.ends_with("Cargo.toml")) {
        let text = fs::read_to_string(workspace_root().join(&manifest)).expect("a listed file can be read");
        let takes = text.contains("[lints]\nworkspace = true") || text.contains("[workspace]");
        assert!(takes, "{manifest} has no [lints] workspace = true");
    }
}

#[test]
fn no_file_holds_a_path_of_a_machine() {
    // In pieces, so that this file does not hold them.
    let paths =
        [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/Us", "ers/"], ["C:", "\\"]].map(|parts| parts.concat());
    let mut wrong = Vec::new();
    for path in files() {
        let Ok(text) = fs::read_to_string(workspace_root().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if paths.iter().any(|machine| line.contains(machine.as_str())) {
                wrong.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rust sources with their text, paths relative to the root.
fn sources() -> Vec<(String, String)> {
    let rust = files().into_iter().filter(|path| path.ends_with(".rs"));
    rust.map(|path| (path.clone(), fs::read_to_string(workspace_root().join(&path)).expect("it is listed"))).collect()
}

/// Files of the project, paths relative to the root, sorted; what is built, fetched or versioned away is left out.
fn files() -> Vec<String> {
    let root = workspace_root();
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the project can be read") {
            let path: PathBuf = entry.expect("an entry of it").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() && !["target", ".git", ".cache"].contains(&name.as_str()) {
                open.push(path);
            } else if path.is_file() {
                found.push(relative(&root, &path));
            }
        }
    }
    found.sort();
    found
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).expect("it lies below the root").display().to_string()
}

/// Blanks line comments and string contents, and keeps lines as they are.
fn without_comments_and_strings(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let mut in_string = false;
        let mut previous = ' ';
        let mut characters = line.chars().peekable();
        while let Some(c) = characters.next() {
            if c == '"' && previous != '\\' && previous != '\'' {
                in_string = !in_string;
            } else if !in_string && c == '/' && characters.peek() == Some(&'/') {
                break;
            } else if !in_string {
                out.push(c);
            }
            previous = c;
        }
        out.push('\n');
    }
    out
}

/// The first line that uses this path: `path::…`, `use path;`, or the last part inside braces of a `use`.
fn uses(code: &str, path: &str) -> Option<usize> {
    let (parent, last) = path.rsplit_once("::").unwrap_or(("", path));
    for (number, line) in code.lines().enumerate() {
        let direct = line.match_indices(path).any(|(at, _)| {
            let (before, after) = (line[..at].chars().next_back(), &line[at + path.len()..]);
            let starts = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '.');
            let ends = !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            // A field may have the same name: `scylla: bool`.
            let as_path = after.starts_with("::") || !parent.is_empty() || line.trim_start().starts_with("use ");
            starts && ends && as_path
        });
        let braced = !parent.is_empty()
            && line.contains(&format!("{parent}::{{"))
            && line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == last);
        if direct || braced {
            return Some(number + 1);
        }
    }
    None
}

#[test]
fn the_search_for_uses_finds_paths_and_nothing_else() {
    let finds = |code: &str, path: &str| uses(&without_comments_and_strings(code), path).is_some();
    assert!(finds("use scylla::client::session::Session;", "scylla"));
    assert!(finds("let s = scylla::client::x();", "scylla"));
    assert!(finds("use zstd;", "zstd"));
    assert!(finds("use a::transport::{Channel, Server};", "a::transport::Server"));
    assert!(!finds("use a::transport::Channel;", "a::transport::Server"));
    assert!(!finds("// scylla::client", "scylla"));
    assert!(!finds("pub scylla: bool,", "scylla"));
    assert!(!finds("let text = \"scylla::client\";", "scylla"));
    assert!(!finds("use crate::scylla::x; let my_scylla = 1; self.scylla.x();", "scylla"));
}
