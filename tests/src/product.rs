//! The `ringvault` binary as a process: run, watched, interrupted, and what it said taken apart.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::cache;
use crate::cassandra::TestCluster;

/// No command of a test takes longer; one that does hangs.
const RUN_MAX: Duration = Duration::from_secs(1200);
/// How often a running process is looked at for its peak memory.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Path of the binary: `RINGVAULT_BIN`, or built now by the cargo that runs the tests.
///
/// # Errors
/// If it can't be built; the message holds what the compiler said.
pub fn binary() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|error| anyhow!("{error}"))
}

fn build() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("RINGVAULT_BIN") {
        return Ok(PathBuf::from(named));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The whole workspace with all targets, as ./test builds it: another selection would select other features and
    // build every dependency twice.
    let output = std::process::Command::new(cargo)
        .args(["build", "--workspace", "--all-targets", "--message-format=json-render-diagnostics"])
        .current_dir(cache::workspace_root())
        .output()
        .context("run cargo build")?;
    ensure!(output.status.success(), "ringvault does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    let executables = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "ringvault" && message["target"]["kind"][0] == "bin")
        .filter(|message| message["profile"]["test"] == false)
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect::<Vec<_>>();
    executables.into_iter().next_back().context("cargo build names no executable ringvault")
}

/// How a process ended and what it said.
#[derive(Clone, Debug)]
pub struct Run {
    /// The command line, for messages.
    pub command: String,
    /// Exit code; none after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// From start to end.
    pub elapsed: Duration,
    /// Greatest resident memory in bytes, as the kernel counted it (`VmHWM`).
    pub memory_peak: u64,
}

impl Run {
    /// # Errors
    /// If it ended otherwise; holds all that it said.
    pub fn expect(self, code: i32) -> Result<Self> {
        if self.code == Some(code) {
            return Ok(self);
        }
        bail!("exit code {:?} and not {code} from {self}", self.code)
    }

    /// JSON lines of a type, in order.
    pub fn lines(&self, kind: &str) -> Vec<Value> {
        let parsed = self.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        parsed.filter(|line| line["type"] == kind).collect()
    }

    /// The last JSON line of a type.
    ///
    /// # Errors
    /// If there is none; holds all that it said.
    pub fn line(&self, kind: &str) -> Result<Value> {
        self.lines(kind).pop().with_context(|| format!("no line of type {kind} from {self}"))
    }

    /// A number of the `summary` line.
    ///
    /// # Errors
    /// If it is not there.
    pub fn figure(&self, name: &str) -> Result<u64> {
        let summary = self.line("summary")?;
        summary[name].as_u64().with_context(|| format!("no figure {name} in {summary}"))
    }

    /// Text of the `summary` line.
    ///
    /// # Errors
    /// If it is not there.
    pub fn text(&self, name: &str) -> Result<String> {
        let summary = self.line("summary")?;
        let text = summary[name].as_str().map(ToOwned::to_owned);
        text.with_context(|| format!("no text {name} in {summary}"))
    }

    /// Checks a failure: exit code, kind, and words that the message must hold (case does not matter).
    ///
    /// # Errors
    /// If it is another failure, or none.
    pub fn refused(self, code: i32, kinds: &[&str], words: &[&str]) -> Result<String> {
        let run = self.expect(code)?;
        let error = run.line("error")?;
        let kind = error["kind"].as_str().unwrap_or_default();
        ensure!(kinds.contains(&kind), "the error is of kind {kind} and not {kinds:?}: {error}");
        ensure!(error["exit_code"] == code, "the error names another exit code: {error}");
        let message = error["message"].as_str().unwrap_or_default().to_owned();
        let lower = message.to_lowercase();
        for word in words {
            ensure!(lower.contains(&word.to_lowercase()), "the message lacks \"{word}\": {message}");
        }
        ensure!(!message.contains("panicked"), "a panic: {message}");
        Ok(message)
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tail = |text: &str| -> String {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(25)..].join("\n")
        };
        write!(f, "{}\n--- stdout\n{}\n--- stderr\n{}", self.command, tail(&self.stdout), tail(&self.stderr))
    }
}

/// A started process.
#[derive(Debug)]
pub struct Running {
    child: Child,
    command: String,
    begun: Instant,
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<Vec<u8>>,
    memory_peak: u64,
}

impl Running {
    /// Its process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal by name (`INT`, `TERM`, `KILL`) to this process only.
    ///
    /// # Errors
    /// If the process has ended.
    pub async fn signal(&self, name: &str) -> Result<()> {
        let id = self.child.id().context("the process has ended")?.to_string();
        // `kill` of the shell: signals from Rust would need unsafe code.
        let sent = Command::new("sh").args(["-c", "kill -\"$1\" \"$2\"", "kill", name, &id]).status().await?;
        ensure!(sent.success(), "no signal {name} to {id}");
        Ok(())
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// If the system won't say.
    pub fn ended(&mut self) -> Result<bool> {
        self.look();
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// If it takes longer than `limit`; it is killed then.
    pub async fn wait(mut self, limit: Duration) -> Result<Run> {
        let ended = tokio::time::timeout(limit, async {
            loop {
                match tokio::time::timeout(LOOK_EVERY, self.child.wait()).await {
                    Ok(status) => break status,
                    Err(_) => self.look(),
                }
            }
        })
        .await;
        let status = match ended {
            Ok(status) => Some(status?),
            Err(_) => {
                self.child.kill().await?;
                None
            }
        };
        let stdout = String::from_utf8_lossy(&self.stdout.await?).into_owned();
        let stderr = String::from_utf8_lossy(&self.stderr.await?).into_owned();
        let run = Run {
            command: self.command,
            code: status.and_then(|status| status.code()),
            stdout,
            stderr,
            elapsed: self.begun.elapsed(),
            memory_peak: self.memory_peak,
        };
        ensure!(status.is_some(), "still running after {limit:?}, killed: {run}");
        Ok(run)
    }

    /// Reads the kernel's own high-water mark, which only grows.
    fn look(&mut self) {
        let Some(id) = self.child.id() else { return };
        let Ok(status) = std::fs::read_to_string(format!("/proc/{id}/status")) else { return };
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = kilobytes.and_then(|text| text.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        self.memory_peak = self.memory_peak.max(number.unwrap_or(0) * 1024);
    }
}

/// A place for one test: a repository, a state directory, and how to reach a cluster.
#[derive(Debug)]
pub struct Workbench {
    directory: tempfile::TempDir,
    connection: Vec<String>,
    environment: Vec<(String, String)>,
    wrapper: Vec<OsString>,
}

impl Workbench {
    /// A fresh place whose commands go to this cluster; it stays behind where `RINGVAULT_TEST_KEEP` is set.
    ///
    /// # Errors
    /// If there is no room for it.
    pub fn new(cluster: &TestCluster) -> Result<Self> {
        let keep = std::env::var_os("RINGVAULT_TEST_KEEP").is_some();
        let directory = tempfile::Builder::new().prefix("ringvault-test-").disable_cleanup(keep).tempdir()?;
        let connection =
            ["--hosts".to_owned(), cluster.hosts(), "--port".to_owned(), cluster.port().to_string()].to_vec();
        Ok(Self { directory, connection, environment: Vec::new(), wrapper: Vec::new() })
    }

    /// The test's directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The repository's directory; Ringvault makes it.
    pub fn repository(&self) -> PathBuf {
        self.directory.path().join("repository")
    }

    /// The repository as an argument.
    pub fn repository_argument(&self) -> String {
        self.repository().display().to_string()
    }

    /// Sets an environment variable of all further commands.
    pub fn set_environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        self.environment.extend(variables);
    }

    /// Runs all further commands behind these words.
    pub fn set_wrapper(&mut self, words: &[&str]) {
        self.wrapper = words.iter().map(OsString::from).collect();
    }

    /// Replaces the connection flags of `backup`, `restore` and `plan`.
    pub fn set_connection(&mut self, flags: &[&str]) {
        self.connection = flags.iter().map(ToString::to_string).collect();
    }

    /// Starts `ringvault` with these arguments and `--json`.
    ///
    /// # Errors
    /// If it can't be built or started.
    pub fn start(&self, arguments: &[&str]) -> Result<Running> {
        let mut command = self.command(arguments)?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        spawn(command, arguments)
    }

    /// Starts `ringvault` as [`Workbench::start`] does, with more environment; what it says is appended to a file, and not
    /// held in memory.
    ///
    /// # Errors
    /// If it can't be built or started, or the file can't be opened.
    pub fn start_into(&self, arguments: &[&str], environment: &[(String, String)], file: &Path) -> Result<Running> {
        let mut command = self.command(arguments)?;
        let file = std::fs::File::options().create(true).append(true).open(file).context("open a log")?;
        command.stdout(file.try_clone().context("share a log")?).stderr(file);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        spawn(command, arguments)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let binary = binary()?;
        let mut words: Vec<OsString> = self.wrapper.clone();
        words.push(binary.into());
        words.extend(arguments.iter().map(OsString::from));
        words.push("--json".into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(self.path());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("RINGVAULT_") || text.starts_with("AWS_") {
                command.env_remove(&name);
            }
        }
        command.env("XDG_STATE_HOME", self.path().join("state"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).kill_on_drop(true);
        Ok(command)
    }

    /// Runs `ringvault` to its end.
    ///
    /// # Errors
    /// If it can't be started or hangs; not if it fails.
    pub async fn run(&self, arguments: &[&str]) -> Result<Run> {
        self.start(arguments)?.wait(RUN_MAX).await
    }

    /// The words of `backup`, with connection and repository.
    pub fn backup_words(&self, keyspace: &str, more: &[&str]) -> Vec<String> {
        self.words("backup", keyspace, more)
    }

    /// The words of `restore`, with connection and repository.
    pub fn restore_words(&self, keyspace: &str, more: &[&str]) -> Vec<String> {
        self.words("restore", keyspace, more)
    }

    fn words(&self, command: &str, keyspace: &str, more: &[&str]) -> Vec<String> {
        let repository = self.repository_argument();
        let mut words: Vec<String> = [command, keyspace, &repository].map(ToOwned::to_owned).to_vec();
        words.extend(self.connection.iter().cloned());
        words.extend(more.iter().map(ToString::to_string));
        words
    }

    /// Runs `backup KEYSPACE repository`, whatever comes of it.
    ///
    /// # Errors
    /// As [`Workbench::run`].
    pub async fn try_backup(&self, keyspace: &str, more: &[&str]) -> Result<Run> {
        self.run(&as_strs(&self.backup_words(keyspace, more))).await
    }

    /// Runs `restore KEYSPACE repository`, whatever comes of it.
    ///
    /// # Errors
    /// As [`Workbench::run`].
    pub async fn try_restore(&self, keyspace: &str, more: &[&str]) -> Result<Run> {
        self.run(&as_strs(&self.restore_words(keyspace, more))).await
    }

    /// A backup that must succeed.
    ///
    /// # Errors
    /// If it does not.
    pub async fn backup(&self, keyspace: &str, more: &[&str]) -> Result<Run> {
        self.try_backup(keyspace, more).await?.expect(0)
    }

    /// A restore that must succeed.
    ///
    /// # Errors
    /// If it does not.
    pub async fn restore(&self, keyspace: &str, more: &[&str]) -> Result<Run> {
        self.try_restore(keyspace, more).await?.expect(0)
    }

    /// All files of the repository below `part`, relative to it, sorted, with their lengths.
    ///
    /// # Errors
    /// If they can't be listed.
    pub fn files(&self, part: &str) -> Result<Vec<(String, u64)>> {
        files_below(&self.repository().join(part))
    }
}

fn spawn(mut command: Command, arguments: &[&str]) -> Result<Running> {
    let begun = Instant::now();
    let mut child = command.spawn().context("start ringvault")?;
    let stdout = tokio::spawn(read_all(child.stdout.take()));
    let stderr = tokio::spawn(read_all(child.stderr.take()));
    let command = format!("ringvault {}", arguments.join(" "));
    Ok(Running { child, command, begun, stdout, stderr, memory_peak: 0 })
}

/// All files below a directory, relative to it, sorted, with their lengths; none where there is no directory.
///
/// # Errors
/// If they can't be listed.
pub fn files_below(root: &Path) -> Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        if !directory.exists() {
            continue;
        }
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else {
                let path = entry.path();
                let name = path.strip_prefix(root).expect("listed below it").display().to_string();
                found.push((name, entry.metadata().map_or(0, |data| data.len())));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Borrowed words, as [`Workbench::run`] takes them.
pub fn as_strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// What a process says; nothing where that goes to a file.
async fn read_all(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut all = Vec::new();
    if let Some(mut from) = from {
        // A pipe that breaks has ended.
        let _ = from.read_to_end(&mut all).await;
    }
    all
}
