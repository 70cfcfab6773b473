//! One process, measured by the kernel's own accounts: wall time, CPU seconds and peak memory of it and its children.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

/// Runs the words behind it and prints what `getrusage` says of them.
const WRAPPER: &str = r#"
import json, resource, subprocess, sys, time
begun = time.monotonic()
code = subprocess.run(sys.argv[2:]).returncode
wall = time.monotonic() - begun
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as out:
    json.dump({"wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "memory_bytes": used.ru_maxrss * 1024, "code": code}, out)
"#;

/// What a run took.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Taken {
    /// Seconds from start to end.
    pub wall_s: f64,
    /// CPU seconds of user and system.
    pub cpu_s: f64,
    /// Greatest resident memory of one of its processes.
    pub memory_bytes: u64,
    code: i32,
}

/// Which cores client and server may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The server on the first core, the client on the second, as on hosts of their own.
    Apart,
    /// Both on all.
    Shared,
}

impl Setting {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apart => "apart",
            Self::Shared => "shared",
        }
    }

    fn cores(self, own: u32) -> String {
        match self {
            Self::Apart => own.to_string(),
            Self::Shared => "0-1".to_owned(),
        }
    }

    /// Puts the running servers on their cores.
    ///
    /// # Errors
    /// If the system does not let us.
    pub async fn pin_servers(self) -> Result<()> {
        let mut pinned = 0;
        for entry in std::fs::read_dir("/proc")?.filter_map(Result::ok) {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            let is_node = line.contains("org.apache.cassandra.service.CassandraDaemon") && line.contains("cluster-");
            if !is_node || line.starts_with("sh") {
                continue;
            }
            let id = entry.file_name().to_string_lossy().into_owned();
            let status = Command::new("taskset").args(["-acp", &self.cores(0), &id]).stdout(Stdio::null()).status();
            ensure!(status.await.context("run taskset")?.success(), "taskset can't pin process {id}");
            pinned += 1;
        }
        ensure!(pinned > 0, "no running Cassandra was found to pin");
        Ok(())
    }
}

/// Runs words to their end in a directory and says what that took.
///
/// # Errors
/// If they can't be run or fail; holds the end of what they said.
pub async fn measure(setting: Setting, words: &[String], directory: &Path) -> Result<Taken> {
    let accounts = directory.join("accounts.json");
    let mut command = Command::new("taskset");
    command.args(["-c", &setting.cores(1), "python3", "-c", WRAPPER]).arg(&accounts).args(words);
    command.env("XDG_STATE_HOME", directory.join("state")).current_dir(directory).stdin(Stdio::null());
    let output = command.output().await.with_context(|| format!("run {words:?}"))?;
    let text = std::fs::read_to_string(&accounts).with_context(|| format!("no accounts of {words:?}"))?;
    let taken: Taken = serde_json::from_str(&text)?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let tail: Vec<&str> = said.lines().rev().take(15).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    ensure!(taken.code == 0, "exit code {} from {}:\n{}", taken.code, words.join(" "), tail.join("\n"));
    Ok(taken)
}
