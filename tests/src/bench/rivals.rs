//! The tools that people use today, fetched once into the cache: DSBulk by Maven, cqlsh by pip.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cache;

/// cqlsh as a package of its own.
const CQLSH: &str = "cqlsh==6.2.2";

/// The directory of DSBulk's jars.
///
/// # Errors
/// If Maven can't fetch them.
pub fn dsbulk() -> Result<PathBuf> {
    let jars = cache::root()?.join("dsbulk");
    if !jars.join("complete").exists() {
        let mut mvn = Command::new("mvn");
        mvn.args(["-B", "-q", "-f"]).arg(cache::workspace_root().join("tests/bench/pom.xml"));
        mvn.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
        mvn.arg(format!("-DoutputDirectory={}", jars.display()));
        ensure!(mvn.status().context("run mvn")?.success(), "Maven can't fetch DSBulk: look at the network and ~/.m2");
        std::fs::write(jars.join("complete"), b"")?;
    }
    Ok(jars)
}

/// The `cqlsh` command in an environment of its own.
///
/// # Errors
/// If pip can't fetch it.
pub fn cqlsh() -> Result<PathBuf> {
    let home = cache::root()?.join("cqlsh");
    let command = home.join("bin/cqlsh");
    if !home.join("complete").exists() {
        let made = Command::new("python3").args(["-m", "venv"]).arg(&home).status().context("run python3")?;
        ensure!(made.success(), "python3 can't make a virtual environment: install its venv module");
        let fetched = Command::new(home.join("bin/pip")).args(["install", "-q", CQLSH]).status().context("run pip")?;
        ensure!(fetched.success(), "pip can't fetch {CQLSH}: look at the network");
        std::fs::write(home.join("complete"), b"")?;
    }
    Ok(command)
}
