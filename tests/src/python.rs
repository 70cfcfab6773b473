//! Another language: Python reads stored files and parses their lines, so that readability is not judged by our own code.
//! zstd comes from the `zstd` command, or else from PyPI's `zstandard` (once, into the cache).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::cache;

/// The package for machines without a `zstd` command.
const ZSTD_PACKAGE: &str = "zstandard==0.23.0";

/// Prints each parsed line again, as compact JSON; a line that is no JSON object ends it with an error.
const PROGRAM: &str = r#"
import gzip, io, json, subprocess, sys, shutil
path = sys.argv[1]
if path.endswith(".zst"):
    if shutil.which("zstd"):
        data = subprocess.run(["zstd", "-dcq", path], check=True, stdout=subprocess.PIPE).stdout
    else:
        import zstandard
        data = zstandard.ZstdDecompressor().stream_reader(open(path, "rb")).read()
elif path.endswith(".gz"):
    data = gzip.open(path).read()
else:
    data = open(path, "rb").read()
assert data == b"" or data.endswith(b"\n"), "the last line has no end"
for line in data.decode("utf-8").split("\n")[:-1]:
    value = json.loads(line)
    assert isinstance(value, dict), "a line is no object"
    sys.stdout.write(json.dumps(value) + "\n")
"#;

/// The JSON lines of a stored file (`.jsonl`, `.jsonl.gz`, `.jsonl.zst`), decompressed and parsed by Python.
///
/// # Errors
/// If Python can't read or parse it.
pub async fn json_lines(path: &Path) -> Result<Vec<Value>> {
    let mut python = Command::new("python3");
    python.arg("-c").arg(PROGRAM).arg(path);
    if let Some(packages) = packages().await? {
        python.env("PYTHONPATH", packages);
    }
    let output = python.output().await.context("run python3")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "python can't read {}: {complaint}", path.display());
    let text = String::from_utf8(output.stdout).context("python prints UTF-8")?;
    text.lines().map(|line| serde_json::from_str(line).context("python prints JSON")).collect()
}

/// Where `zstandard` lies, if it is needed.
async fn packages() -> Result<Option<PathBuf>> {
    let there = Command::new("sh").args(["-c", "command -v zstd >/dev/null"]).status().await?;
    if there.success() {
        return Ok(None);
    }
    let directory = cache::root()?.join("python");
    if !directory.join("zstandard").exists() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "-q", "--target"]).arg(&directory).arg(ZSTD_PACKAGE);
        ensure!(pip.status().await?.success(), "pip can't install {ZSTD_PACKAGE}");
    }
    Ok(Some(directory))
}
