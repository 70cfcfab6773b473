//! One node: a JVM behind a small guard process, which ends it when the test process is gone, however that ended.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::install::Installation;
use super::{CQL_PORT, STORAGE_PORT, jvm, lane};

/// Runs the command line given to it and kills it when its own standard input closes: the test process holds the other
/// end, so a panic, an abort and a SIGKILL of it all end the node. Ends when the command ends.
const GUARD: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
node=$!
( cat <&3 >/dev/null; kill -KILL "$node" 2>/dev/null ) &
exec 3<&-
wait "$node"
"#;

/// How long a port of a node that has just gone may stay taken.
const PORT_WAIT: Duration = Duration::from_secs(30);
/// How long a node may take to open its CQL port.
const START_WAIT: Duration = Duration::from_secs(180);

/// A running, or stopped, node.
#[derive(Debug)]
pub(crate) struct Node {
    installation: Installation,
    index: usize,
    address: String,
    directory: PathBuf,
    heap_mb: u32,
    guard: Option<Child>,
}

impl Node {
    pub(crate) fn new(installation: Installation, index: usize, directory: PathBuf, heap_mb: u32) -> Self {
        Self { installation, index, address: address(index), directory, heap_mb, guard: None }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Process id of the guard, which is the process group of the JVM.
    fn group(&self) -> Option<u32> {
        self.guard.as_ref().map(Child::id)
    }

    /// Starts the JVM; its ports must be free, or become so within half a minute.
    pub(crate) fn spawn(&mut self) -> Result<()> {
        for port in [CQL_PORT, STORAGE_PORT] {
            wait_until_free(&self.address, port)?;
        }
        let log = File::options().create(true).append(true).open(self.log_path()).context("open the node's log")?;
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "guard"]).arg(&self.installation.java);
        command.args(jvm::arguments(&self.installation, self.index, &self.directory, self.heap_mb));
        command.current_dir(&self.directory).process_group(0);
        command.stdin(Stdio::piped()).stdout(log.try_clone().context("share the node's log")?).stderr(log);
        self.guard = Some(command.spawn().context("start the node's guard")?);
        Ok(())
    }

    /// Waits for the CQL port. Fails with the log's tail if the JVM ends before, or takes too long.
    pub(crate) fn wait_for_cql(&mut self) -> Result<()> {
        let socket: SocketAddr = format!("{}:{CQL_PORT}", self.address).parse().context("a node's address")?;
        let begun = Instant::now();
        while TcpStream::connect_timeout(&socket, Duration::from_secs(1)).is_err() {
            if let Some(status) = self.guard.as_mut().and_then(|guard| guard.try_wait().ok().flatten()) {
                bail!(
                    "the node at {} ended while it started ({status}); its log ends with\n{}",
                    self.address,
                    self.log_tail(60)
                );
            }
            if begun.elapsed() > START_WAIT {
                bail!("no CQL port at {socket} after {START_WAIT:?}; the node's log ends with\n{}", self.log_tail(60));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Kills the node at once, as a crash would; its data stays.
    pub(crate) fn kill(&mut self) {
        let Some(group) = self.group() else { return };
        kill_group(group);
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            // The group is gone, so this returns at once.
            let _ = guard.wait();
        }
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("node.log")
    }

    /// The last lines of what the node logged.
    pub(crate) fn log_tail(&self, lines: usize) -> String {
        self.last_lines(lines, |_| true)
    }

    /// The last warnings and errors of it, but those that every start brings.
    pub(crate) fn complaints(&self, lines: usize) -> String {
        let loud = |line: &str| line.starts_with("WARN ") || line.starts_with("ERROR ");
        self.last_lines(lines, |line| loud(line) && !line.contains("[main]"))
    }

    fn last_lines(&self, lines: usize, wanted: impl Fn(&str) -> bool) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().filter(|line| wanted(line)).collect();
        all[all.len().saturating_sub(lines)..].join(
            "
",
        )
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Loopback address of the node with this index.
pub(crate) fn address(index: usize) -> String {
    format!("127.0.{}.{}", lane(), index + 1)
}

/// SIGKILL to a process group that this process started.
fn kill_group(group: u32) {
    // `kill` of the shell: signals from Rust would need unsafe code.
    let _ = Command::new("sh")
        .args(["-c", "kill -KILL -- \"-$1\"", "kill", &group.to_string()])
        .stderr(Stdio::null())
        .status();
}

fn wait_until_free(address: &str, port: u16) -> Result<()> {
    let begun = Instant::now();
    loop {
        match TcpListener::bind((address, port)) {
            Ok(_) => return Ok(()),
            Err(error) if begun.elapsed() > PORT_WAIT => {
                bail!("{address}:{port} is taken by another process ({error}): stop it, the tests need this port")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(250)),
        }
    }
}
