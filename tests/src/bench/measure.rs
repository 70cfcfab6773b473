//! One process, measured by the kernel's own accounts: wall time, CPU seconds and peak memory of it and its children. What
//! it says of itself is taken from its line of type `summary`, if it prints one.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::process::Command;

use crate::cache;

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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// Seconds from start to end.
    pub wall_s: f64,
    /// CPU seconds of user and system.
    pub cpu_s: f64,
    /// Greatest resident memory of one of its processes.
    pub memory_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Accounts {
    #[serde(flatten)]
    taken: Taken,
    code: i32,
}

/// A run that ended well.
#[derive(Clone, Debug)]
pub struct Ran {
    /// What it took.
    pub taken: Taken,
    /// Its last JSON line of type `summary`.
    pub summary: Option<Value>,
}

impl Ran {
    /// A number of the summary.
    pub fn figure(&self, name: &str) -> Option<u64> {
        self.summary.as_ref()?[name].as_u64()
    }
}

/// Which cores client and server may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// The server on the first core, the client on the second, as on hosts of their own.
    Apart,
    /// Both on all.
    Shared,
}

impl Setting {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Apart, Self::Shared];

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

    /// Puts this run's servers on their cores.
    ///
    /// # Errors
    /// If the system does not let us.
    pub async fn pin_servers(self) -> Result<()> {
        let mut pinned = 0;
        let own = cache::running()?.display().to_string();
        for entry in std::fs::read_dir("/proc")?.filter_map(Result::ok) {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            let is_node = line.contains("org.apache.cassandra.service.CassandraDaemon") && line.contains(&own);
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

/// Puts this process on the client's cores: for a load that comes out of it.
///
/// # Errors
/// If the system does not let us.
pub async fn pin_self(setting: Setting) -> Result<()> {
    let id = std::process::id().to_string();
    let status = Command::new("taskset").args(["-acp", &setting.cores(1), &id]).stdout(Stdio::null()).status();
    ensure!(status.await.context("run taskset")?.success(), "taskset can't pin this process");
    Ok(())
}

/// Runs words to their end in a directory and says what that took.
///
/// # Errors
/// If they can't be run or fail; holds the end of what they said.
pub async fn measure(setting: Setting, words: &[String], directory: &Path) -> Result<Ran> {
    let accounts = directory.join("accounts.json");
    let mut command = Command::new("taskset");
    command.args(["-c", &setting.cores(1), "python3", "-c", WRAPPER]).arg(&accounts).args(words);
    command.env("XDG_STATE_HOME", directory.join("state")).current_dir(directory).stdin(Stdio::null());
    let output = command.output().await.with_context(|| format!("run {words:?}"))?;
    let complaint = || {
        let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        format!("{}:\n{}", words.join(" "), lines[lines.len().saturating_sub(15)..].join("\n"))
    };
    let text = std::fs::read_to_string(&accounts).with_context(|| format!("no accounts of {}", complaint()))?;
    std::fs::remove_file(&accounts).context("remove the accounts")?;
    let read: Accounts = serde_json::from_str(&text)?;
    ensure!(read.code == 0, "exit code {} from {}", read.code, complaint());
    Ok(Ran { taken: read.taken, summary: summary(&String::from_utf8_lossy(&output.stdout)) })
}

fn summary(said: &str) -> Option<Value> {
    let lines = said.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.into_iter().find(|line| line["type"] == "summary")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_summary_is_found_among_other_lines() {
        let said =
            "noise\n{\"type\":\"summary\",\"rows\":1}\n{\"type\":\"summary\",\"rows\":2}\n{\"type\":\"note\"}\n[1]\n";
        assert_eq!(summary(said).expect("there is one")["rows"], 2);
        assert_eq!(summary("nothing of that kind"), None);
    }
}
