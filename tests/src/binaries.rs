//! The functions' own binaries, built by the cargo that runs this process.
//!
//! `cargo test` builds no binaries of other packages, so the stack asks for them: once per process, into the same
//! target directory. The whole workspace is named, not the functions alone, because cargo chooses the features of
//! the dependencies by what it builds together: so chosen, they are those of the surrounding build, and only the
//! binaries themselves are left to do, and `shared` once more for its crash points. By then the surrounding cargo has
//! let go of its locks.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

/// Cargo tells these to what it runs. Build scripts of some dependencies watch them, and would run again.
const ABOUT_THIS_PACKAGE: &[&str] =
    &["CARGO_BIN_", "CARGO_CRATE_", "CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_PRIMARY_", "CARGO_TARGET_TMPDIR"];

/// Name to path of every binary of the workspace. Blocks, for a minute if nothing was built before.
pub fn build() -> Result<&'static BTreeMap<String, PathBuf>> {
    static BUILT: OnceLock<Result<BTreeMap<String, PathBuf>>> = OnceLock::new();
    BUILT.get_or_init(cargo_build).as_ref().map_err(|error| anyhow!("{error:#}"))
}

fn cargo_build() -> Result<BTreeMap<String, PathBuf>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--workspace", "--bins", "--example", "local", "--message-format=json-render-diagnostics"]);
    // Crash points do nothing until a test names a folder for them, and a release build refuses them.
    command.args(if cfg!(debug_assertions) {
        ["--features", "shared/crash-points"].as_slice()
    } else {
        &["--release"]
    });
    for (name, _) in env::vars_os() {
        let about_this_package = |prefix: &&str| name.to_string_lossy().starts_with(*prefix);
        if ABOUT_THIS_PACKAGE.iter().any(about_this_package) {
            command.env_remove(name);
        }
    }
    let output = command
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo build: cannot be started")?;
    ensure!(output.status.success(), "cargo build: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(executable).collect())
}

/// One line of cargo's report, if it is about a binary.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let report: Value = serde_json::from_str(line).ok()?;
    let path = report["executable"].as_str()?;
    let name = report["target"]["name"].as_str()?;
    Some((name.to_owned(), path.into()))
}
