//! Builds the binaries of the functions with the cargo that runs this process.
//!
//! `cargo test` does not build binaries of other packages, so the stack builds them: once per
//! process, into the same target directory, when the outer cargo has released its locks. It builds
//! the whole workspace and not the functions alone, because cargo chooses the features of the
//! dependencies by what it builds together. This way they are those of the outer build, and only
//! the binaries are left to build, and the crates of `shared` with their crash points.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

/// Cargo sets these variables for what it runs. The build scripts of some dependencies watch them,
/// and would run again.
const ABOUT_THIS_PACKAGE: &[&str] = &[
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_",
    "CARGO_TARGET_TMPDIR",
];

/// The path of every binary of the workspace, by name. It blocks, for a minute if nothing was built
/// before.
pub fn build() -> Result<&'static BTreeMap<String, PathBuf>> {
    static BUILT: OnceLock<Result<BTreeMap<String, PathBuf>>> = OnceLock::new();
    BUILT
        .get_or_init(cargo_build)
        .as_ref()
        .map_err(|error| anyhow!("{error:#}"))
}

fn cargo_build() -> Result<BTreeMap<String, PathBuf>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--workspace",
        "--bins",
        "--example",
        "local",
        "--message-format=json-render-diagnostics",
    ]);
    // Crash points do nothing until a test names a folder for them. A release build refuses them.
    command.args(if cfg!(debug_assertions) {
        ["--features", "record/crash-points"].as_slice()
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
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(executable)
        .collect())
}

/// The name and the path of a binary, if this line of cargo's output is about one.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let report: Value = serde_json::from_str(line).ok()?;
    let path = report["executable"].as_str()?;
    let name = report["target"]["name"].as_str()?;
    Some((name.to_owned(), path.into()))
}
