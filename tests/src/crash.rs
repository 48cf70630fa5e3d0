//! The test's side of `record::crash`. In a shared folder, a test reads which crash points the
//! functions have passed, and writes where they are to stop and how wrong their clocks are.

use std::collections::BTreeMap;
use std::env::temp_dir;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use uuid::Uuid;

/// The folder of one test. Dropping this removes it.
pub struct CrashPoints {
    folder: PathBuf,
}

impl CrashPoints {
    pub fn new() -> Result<CrashPoints> {
        let folder = temp_dir().join(format!("crash-points-{}", Uuid::now_v7()));
        fs::create_dir(&folder)?;
        Ok(CrashPoints { folder })
    }

    /// The environment variable that names the folder to the functions.
    pub fn environment(&self) -> BTreeMap<String, String> {
        [("CRASH_DIR".to_owned(), self.folder.display().to_string())].into()
    }

    /// From now on, a process that passes one of these points is aborted there.
    pub fn crash_at(&self, passes: &[String]) -> Result<()> {
        self.write("crash", passes.join("\n"))
    }

    /// The points passed so far, in order, such as `Dispatch: before settle a batch, time 2`.
    pub fn passed(&self) -> Vec<String> {
        // There is no trace until the first point is passed, and its last line may be incomplete.
        let trace = fs::read_to_string(self.folder.join("trace")).unwrap_or_default();
        trace
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
            .map(str::to_owned)
            .collect()
    }

    /// Sets the clock of each process ahead by one of these numbers of milliseconds. `deadlines`
    /// says whether the deadlines of its invocations follow its clock.
    pub fn set_clocks(&self, ahead_ms: &[i64], deadlines: bool) -> Result<()> {
        let lines: String = ahead_ms.iter().map(|ms| format!("{ms}\n")).collect();
        self.write(
            "deadlines",
            if deadlines {
                lines.clone()
            } else {
                String::new()
            },
        )?;
        self.write("clocks", lines)
    }

    /// Writes a file in one step, so that no process reads half of it.
    fn write(&self, name: &str, text: String) -> Result<()> {
        let draft = self.folder.join(format!("{name}.new"));
        fs::write(&draft, text)?;
        Ok(fs::rename(draft, self.folder.join(name))?)
    }
}

impl Drop for CrashPoints {
    fn drop(&mut self) {
        // A process that is about to end may still write here, which leaves a few lines in a
        // temporary folder.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
