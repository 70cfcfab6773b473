//! Another language: Python reads stored files and parses their lines, so that readability is not judged by our own code,
//! and the examples for Python are run as they stand. Packages come from PyPI, once, into the cache; zstd from the `zstd`
//! command where there is one.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::cache;

/// No program of a test takes longer; one that does hangs.
const RUN_MAX: Duration = Duration::from_secs(300);
/// How packages are installed; a directory and their names follow.
const PIP: &[&str] = &["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-warn-script-location"];

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
        install(&directory, &[ZSTD_PACKAGE.as_ref()]).await?;
    }
    Ok(Some(directory))
}

async fn install(directory: &Path, what: &[&std::ffi::OsStr]) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args(PIP).arg("--target").arg(directory).args(what);
    let output = pip.output().await.context("run pip")?;
    ensure!(output.status.success(), "pip can't install {what:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The Python examples with the packages that they pin.
#[derive(Clone, Debug)]
pub struct Examples {
    directory: PathBuf,
    packages: PathBuf,
}

impl Examples {
    /// The examples of the workspace; their packages are fetched if they are not there in these versions.
    ///
    /// # Errors
    /// If pip can't install them.
    pub async fn prepare() -> Result<Self> {
        let directory = cache::workspace_root().join("deploy/examples/python");
        let requirements = directory.join("requirements.txt");
        let wanted = std::fs::read_to_string(&requirements).context("read requirements.txt")?;
        let packages = cache::root()?.join("python-examples");
        let _lock = cache::lock("python-examples")?;
        let installed = packages.join("requirements.txt");
        if std::fs::read_to_string(&installed).ok().as_deref() != Some(&wanted) {
            crate::runner::say("fetching the packages of the Python examples");
            if packages.exists() {
                std::fs::remove_dir_all(&packages).context("remove older packages")?;
            }
            install(&packages, &["-r".as_ref(), requirements.as_os_str()]).await?;
            std::fs::write(installed, wanted).context("remember the versions")?;
        }
        Ok(Self { directory, packages })
    }

    /// Starts an example. It writes nothing into the workspace.
    ///
    /// # Errors
    /// If Python is not there.
    pub fn start(&self, program: &str, arguments: &[&str]) -> Result<Child> {
        let mut python = Command::new("python3");
        python.arg("-u").arg(self.directory.join(program)).args(arguments);
        python.env("PYTHONPATH", &self.packages).env("PYTHONDONTWRITEBYTECODE", "1").env("GRPC_VERBOSITY", "NONE");
        python.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        python.spawn().context("start python3")
    }

    /// Runs an example to its end.
    ///
    /// # Errors
    /// If it can't be started or hangs; not if it fails.
    pub async fn run(&self, program: &str, arguments: &[&str]) -> Result<Said> {
        Said::of(self.start(program, arguments)?).await
    }
}

/// How an example ended and what it said.
#[derive(Clone, Debug)]
pub struct Said {
    /// Exit code; none after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Waits for the end of a program and reads what it said.
    ///
    /// # Errors
    /// If it hangs.
    pub async fn of(child: Child) -> Result<Self> {
        let Ok(ended) = tokio::time::timeout(RUN_MAX, child.wait_with_output()).await else {
            bail!("a Python program still runs after {RUN_MAX:?}");
        };
        let Output { status, stdout, stderr } = ended?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Self { code: status.code(), out: text(&stdout), err: text(&stderr) })
    }

    /// # Errors
    /// If it ended otherwise; holds all that it said.
    pub fn expect(self, code: i32) -> Result<Self> {
        ensure!(self.code == Some(code), "exit code {:?} and not {code}: {self}", self.code);
        Ok(self)
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--- stdout\n{}\n--- stderr\n{}", self.out, self.err)
    }
}
