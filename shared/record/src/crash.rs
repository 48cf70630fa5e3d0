//! Crash points: where a test can stop a function's process, and how wrong it can set its clock.
//!
//! Every write to a store and every request to a provider has a point before it and one after it.
//! With the feature `crash-points`, each pass of a point is added to the file `trace` in the
//! folder that `CRASH_DIR` names, and a process aborts at a pass that the folder's file `crash`
//! lists. Without the feature none of this happens. A release build refuses the feature, so no
//! deployed binary can be made to stop.

#[cfg(all(feature = "crash-points", not(debug_assertions)))]
compile_error!("crash points must not be in a release build");

#[cfg(not(feature = "crash-points"))]
pub use nothing::{around, skew};
#[cfg(feature = "crash-points")]
pub use points::{around, skew};

#[cfg(not(feature = "crash-points"))]
mod nothing {
    use jiff::SignedDuration;

    /// Makes the call, and nothing else.
    pub fn around<F: Future>(_action: &str, call: F) -> F {
        call
    }

    /// No skew: the clock is the machine's.
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

    /// How far this process's `clocks`, or the `deadlines` that Lambda gives it, run ahead. The
    /// file of that name has milliseconds, one number per line; each process keeps to a line.
    pub fn skew(of: &str) -> SignedDuration {
        let lines = folder()
            .and_then(|folder| read_to_string(folder.join(of)).ok())
            .unwrap_or_default();
        let choices: Vec<i64> = lines.lines().filter_map(|line| line.parse().ok()).collect();
        let own = process::id() as usize % choices.len().max(1);
        SignedDuration::from_millis(choices.get(own).copied().unwrap_or_default())
    }

    fn pass(action: &str, when: &str) {
        // If the trace cannot be written, the process goes on and the test misses the point.
        if let Ok(true) = must_abort(action, when) {
            process::abort();
        }
    }

    /// Adds this pass to the trace, and returns whether the process must abort at it. Passes are
    /// counted over all processes of the function, so no two have the same number.
    fn must_abort(action: &str, when: &str) -> Result<bool> {
        let Some(folder) = folder() else {
            return Ok(false);
        };
        let mut trace = File::options()
            .append(true)
            .create(true)
            .read(true)
            .open(folder.join("trace"))?;
        // The lock is held until the file is closed.
        trace.lock()?;
        let mut passed = String::new();
        trace.read_to_string(&mut passed)?;
        let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
        let point = format!("{function}: {when} {action}, time ");
        let time = passed
            .lines()
            .filter(|line| line.starts_with(&point))
            .count()
            + 1;
        let pass = format!("{point}{time}");
        writeln!(trace, "{pass}")?;
        let crashes = read_to_string(folder.join("crash")).unwrap_or_default();
        Ok(crashes.lines().any(|line| line == pass))
    }

    fn folder() -> Option<PathBuf> {
        std::env::var_os("CRASH_DIR").map(PathBuf::from)
    }
}
