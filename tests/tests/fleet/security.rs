//! Certificates and roles between coordinator, workers and clients, TLS to the database, and no secret anywhere.

mod canary;
mod database;
mod refused;
mod swapped;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringvault_tests::product::{Running, Workbench};
use ringvault_tests::runner::Test;

use crate::support::until;

/// How long a process may take to end.
const END_MAX: Duration = Duration::from_secs(60);

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = refused::tests();
    tests.extend(swapped::tests());
    // These want clusters of their own.
    tests.extend(canary::tests());
    tests.extend(database::tests());
    tests
}

/// Words that name certificate files.
fn tls_words(ca: &Path, cert: &Path, key: &Path) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    ["--tls-ca", &text(ca), "--tls-cert", &text(cert), "--tls-key", &text(key)].map(ToOwned::to_owned).to_vec()
}

/// Waits until a log holds a line with all of these words; that line.
async fn until_logged(path: &Path, words: &[&str]) -> Result<String> {
    let what = format!("{words:?} in {}", path.display());
    let found = until(&what, async || {
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        let line = text.lines().find(|line| words.iter().all(|word| line.contains(word)));
        Ok(line.map(ToOwned::to_owned))
    });
    found.await.with_context(|| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned())
}

/// A coordinator beside a fleet, which no worker calls.
struct Lonely {
    process: Running,
    address: String,
    log: std::path::PathBuf,
}

impl Lonely {
    /// Starts one on a free port of loopback; `name` is also that of its log.
    async fn start(bench: &Workbench, name: &str, tls: &[String]) -> Result<Self> {
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let (state, log) = (bench.path().join(format!("{name}-state")), bench.path().join(format!("{name}.log")));
        let state = state.display().to_string();
        let words = ["coordinator", "--listen", &address, "--state-dir", &state];
        let words: Vec<&str> = words.into_iter().chain(tls.iter().map(String::as_str)).collect();
        let mut process = bench.start_into(&words, &[], &log)?;
        until("a coordinator that listens", async || {
            ensure!(!process.ended()?, "it ended: {}", std::fs::read_to_string(&log)?);
            Ok(tokio::net::TcpStream::connect(&address).await.ok().map(drop))
        })
        .await?;
        Ok(Self { process, address, log })
    }

    async fn stop(self) -> Result<()> {
        self.process.signal("TERM").await?;
        self.process.wait(END_MAX).await.map(drop)
    }
}
