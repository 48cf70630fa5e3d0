//! Crash points: where a test stops a function's process, and how wrong a test sets its clock.
//!
//! Every write to a store and every call of a provider has a point before it and one after it. With the feature
//! `crash-points`, each time that a process passes one is written down in the folder that `CRASH_DIR` names, and
//! a process that passes one which the folder's file `crash` lists is aborted there. Without the feature nothing
//! of this exists, and a release build refuses the feature: no deployed binary can be told to stop.

#[cfg(all(feature = "crash-points", not(debug_assertions)))]
compile_error!("crash points belong into no release build");

#[cfg(not(feature = "crash-points"))]
pub use nothing::{around, skew};
#[cfg(feature = "crash-points")]
pub use points::{around, skew};

#[cfg(not(feature = "crash-points"))]
mod nothing {
    use jiff::SignedDuration;

    /// The call itself.
    pub fn around<F: Future>(_action: &str, call: F) -> F {
        call
    }

    /// A clock is as right as the machine's.
    pub fn skew(_of: &str) -> SignedDuration {
        SignedDuration::ZERO
    }
}

#[cfg(feature = "crash-points")]
mod points {
    use std::fs::{File, read_to_string};
    use std::io::{Read, Result, Write};
    use std::path::PathBuf;
    use std::process;

    use jiff::SignedDuration;

    /// Makes the call, with a point before it and one after it.
    pub async fn around<F: Future>(action: &str, call: F) -> F::Output {
        pass(action, "before");
        let output = call.await;
        pass(action, "after");
        output
    }

    /// How far this process's `clocks`, or the `deadlines` that it is told, are ahead: the file of that name has
    /// milliseconds, line by line, and each process keeps to a line of its own.
    pub fn skew(of: &str) -> SignedDuration {
        let lines = folder().and_then(|folder| read_to_string(folder.join(of)).ok()).unwrap_or_default();
        let choices: Vec<i64> = lines.lines().filter_map(|line| line.parse().ok()).collect();
        let own = process::id() as usize % choices.len().max(1);
        SignedDuration::from_millis(choices.get(own).copied().unwrap_or_default())
    }

    fn pass(action: &str, when: &str) {
        // A point that can't be written down is one that the test will miss in the trace.
        if let Ok(true) = is_deadly(action, when) {
            process::abort();
        }
    }

    /// Counts how often the function has passed the point, over all its processes, and looks up whether this is
    /// the time to stop there: no two processes pass the same point for the same time.
    fn is_deadly(action: &str, when: &str) -> Result<bool> {
        let Some(folder) = folder() else { return Ok(false) };
        let mut trace = File::options().append(true).create(true).read(true).open(folder.join("trace"))?;
        // Held until the file is closed.
        trace.lock()?;
        let mut passed = String::new();
        trace.read_to_string(&mut passed)?;
        let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
        let point = format!("{function}: {when} {action}, time ");
        let time = passed.lines().filter(|line| line.starts_with(&point)).count() + 1;
        let pass = format!("{point}{time}");
        writeln!(trace, "{pass}")?;
        let deadly = read_to_string(folder.join("crash")).unwrap_or_default();
        Ok(deadly.lines().any(|line| line == pass))
    }

    fn folder() -> Option<PathBuf> {
        std::env::var_os("CRASH_DIR").map(PathBuf::from)
    }
}
