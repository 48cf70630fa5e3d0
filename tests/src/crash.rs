//! The other side of `shared::crash`: a folder in which a test reads what points the functions have passed, and
//! writes where they are to stop and how wrong their clocks are.

use std::collections::BTreeMap;
use std::env::temp_dir;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use uuid::Uuid;

pub struct Points {
    folder: PathBuf,
}

impl Points {
    pub fn new() -> Result<Points> {
        let folder = temp_dir().join(format!("crash-points-{}", Uuid::now_v7()));
        fs::create_dir(&folder)?;
        Ok(Points { folder })
    }

    /// What tells the functions of this folder.
    pub fn environment(&self) -> BTreeMap<String, String> {
        [("CRASH_DIR".to_owned(), self.folder.display().to_string())].into()
    }

    /// From now on, the processes that pass these are aborted there.
    pub fn crash_at(&self, passes: &[String]) -> Result<()> {
        self.write("crash", passes.join("\n"))
    }

    /// What was passed so far, in order, e.g. `Dispatch: before settle a batch, time 2`.
    pub fn passed(&self) -> Vec<String> {
        // There is no trace before the first point was passed, and its last line may still be written.
        let trace = fs::read_to_string(self.folder.join("trace")).unwrap_or_default();
        trace.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
    }

    /// Sets the clocks of the processes so many milliseconds ahead, each process to one of these, and the
    /// deadlines that they are told likewise, or not.
    pub fn set_clocks(&self, ahead_ms: &[i64], deadlines: bool) -> Result<()> {
        let lines: String = ahead_ms.iter().map(|ms| format!("{ms}\n")).collect();
        self.write("deadlines", if deadlines { lines.clone() } else { String::new() })?;
        self.write("clocks", lines)
    }

    /// In one go, so that no process reads half of it.
    fn write(&self, name: &str, text: String) -> Result<()> {
        let draft = self.folder.join(format!("{name}.new"));
        fs::write(&draft, text)?;
        Ok(fs::rename(draft, self.folder.join(name))?)
    }
}

impl Drop for Points {
    fn drop(&mut self) {
        // A process that is about to end may still write into it; what is left is a few lines in a temporary folder.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
