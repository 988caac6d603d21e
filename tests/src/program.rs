//! Runs `pipeline` and `trainer` as child processes and keeps what they said.

use std::ffi::OsStr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Ended {
    /// The command, for messages.
    pub command: String,
    /// Exit code; None where a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Ended {
    /// Reads the result of a command that has ended.
    pub fn new(command: &Command, output: Output) -> Ended {
        Ended {
            command: format!("{command:?}"),
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn code_is(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "signal {:?}\n{self}", self.signal);
        self
    }

    /// Asserts success.
    #[track_caller]
    pub fn ok(self) -> Ended {
        self.code_is(0)
    }

    /// Asserts that it said `part`, as a message or as a result.
    #[track_caller]
    pub fn says(self, part: &str) -> Ended {
        assert!(self.stderr.contains(part) || self.stdout.contains(part), "expected {part:?}\n{self}");
        self
    }

    /// Asserts that this is an error told to a person: a message, and no panic.
    #[track_caller]
    pub fn no_panic(self) -> Ended {
        assert!(!self.stderr.contains("panicked at"), "{self}");
        self
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.command)?;
        writeln!(f, "code {:?} signal {:?}", self.code, self.signal)?;
        write!(f, "--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)
    }
}

/// The folder cargo put this crate's binaries into: the parent of the test's own `deps/`.
fn binaries() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    test.ancestors().nth(2).expect("tests lie in TARGET/PROFILE/deps").to_owned()
}

/// Path of the `pipeline` program.
pub fn pipeline_path() -> PathBuf {
    binaries().join("pipeline-dup")
}

/// Path of the `trainer` program.
pub fn trainer_path() -> PathBuf {
    binaries().join("trainer-dup")
}

fn command<A: AsRef<OsStr>>(program: &Path, name: &str, args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(program);
    command.arg0(name).args(args).stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    command
}

/// `pipeline ARGS...`, not yet started.
pub fn pipeline_command<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    command(&pipeline_path(), "pipeline", args)
}

/// Runs a command to its end.
pub fn run(mut command: Command) -> Ended {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Ended::new(&command, output)
}

/// Runs `pipeline ARGS...`.
pub fn pipeline<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Ended {
    run(pipeline_command(args))
}

/// `trainer ARGS...`, not yet started.
pub fn trainer_command<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    command(&trainer_path(), "trainer", args)
}

/// Runs `trainer ARGS...`.
pub fn trainer<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Ended {
    run(trainer_command(args))
}

/// Whether SIGKILL ended it.
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}

/// A list of arguments of mixed kinds (`&str`, `&Path`, `String`).
#[macro_export]
macro_rules! args {
    ($($arg:expr),* $(,)?) => {
        vec![$(std::ffi::OsString::from($arg)),*]
    };
}
