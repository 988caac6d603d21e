//! The programs under injected kills and faults.
//!
//! strace turns a chosen system call into SIGKILL or into an error: the N-th `write`, say. It counts calls by name and
//! by thread, and it must trace the program itself, not a shell that starts it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::program::{Ended, run};

/// Calls that change what is on disk: data, durability, names. The kernel has several of each kind.
pub const CALLS: [&str; 13] = [
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "copy_file_range",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "linkat",
    "unlink",
    "ftruncate",
];

/// Whether strace is there and allowed to trace.
pub fn is_present() -> bool {
    let traced = Command::new("strace").args(["-e", "trace=none", "true"]).stderr(Stdio::null()).status();
    traced.is_ok_and(|status| status.success())
}

/// Whose calls are counted and struck. Counts are by thread, so with every thread traced the busiest one is struck
/// first, and what the main thread does last (the commit) is reached only with the main thread traced alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The thread that reads the arguments, plans and commits.
    Main,
    /// That one and those that work.
    All,
}

impl Threads {
    /// Both ways.
    pub const WAYS: [Threads; 2] = [Threads::Main, Threads::All];
}

// No --seccomp-bpf, which would be faster: with it strace 6.1 loses count, and `when=2` never strikes.
fn strace(threads: Threads, options: &[String], program: &Path, args: &[OsString]) -> Command {
    let mut command = Command::new("strace");
    if threads == Threads::All {
        command.arg("-f");
    }
    command.arg("-qq").args(options).arg(program).args(args);
    command.stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    command
}

fn traced(log: &Path, calls: &str) -> Vec<String> {
    vec!["-o".to_owned(), log.display().to_string(), "-e".to_owned(), format!("trace={calls}")]
}

/// How often `program ARGS...` makes each call of [`CALLS`], in the thread that makes it most often: the largest N at
/// which [`inject`] still strikes. Calls that are never made are left out.
pub fn count(threads: Threads, program: &Path, args: &[OsString], log: &Path) -> BTreeMap<&'static str, u64> {
    run(strace(threads, &traced(log, &CALLS.join(",")), program, args)).ok();
    let log = std::fs::read_to_string(log).expect("strace wrote its log");
    let mut by_thread = BTreeMap::<(&str, &str), u64>::new();
    for line in log.lines() {
        // With several threads a line begins with the thread's number.
        let (thread, call) = match threads {
            Threads::All => line.split_once(char::is_whitespace).unwrap_or_default(),
            Threads::Main => ("", line),
        };
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        *by_thread.entry((name, thread)).or_default() += 1;
    }
    let most = |call: &str| by_thread.iter().filter(|((name, _), _)| *name == call).map(|(_, count)| *count).max();
    CALLS.into_iter().filter_map(|call| Some((call, most(call)?))).collect()
}

/// What to do to which call.
#[derive(Debug, Clone, Copy)]
pub struct Fault<'a> {
    /// Whose calls.
    pub threads: Threads,
    /// Their name.
    pub call: &'a str,
    /// `signal=KILL`, `error=EIO`.
    pub what: &'a str,
    /// The number of the call, from 1.
    pub when: u64,
}

/// Runs `program ARGS...` with one fault.
pub fn inject(fault: Fault<'_>, program: &Path, args: &[OsString]) -> Ended {
    let Fault { threads, call, what, when } = fault;
    let mut options = traced(Path::new("/dev/null"), call);
    options.extend(["-e".to_owned(), format!("inject={call}:{what}:when={when}")]);
    run(strace(threads, &options, program, args))
}

/// Runs `program ARGS...` and returns how it ended with a log of every rename: each names the file that came to be.
pub fn renames(program: &Path, args: &[OsString], log: &Path) -> (Ended, String) {
    let ended = run(strace(Threads::All, &traced(log, "rename,renameat,renameat2,linkat"), program, args));
    (ended, std::fs::read_to_string(log).expect("strace wrote its log"))
}
