//! What this process holds, and the least `--memory` a run can be kept within.

use crate::error::Error;

/// What a task that is alone needs beside what the process holds before work: a row group with its text as arrays and
/// as encoded columns, and what the allocator keeps. Measured with one thread on zh and en text (`docs/RESULTS.md`).
const TASK_BYTES_MIN: u64 = 40 << 20;
/// What each thread's allocator arena, stack and scratch add.
const THREAD_BYTES: u64 = 16 << 20;

/// Refuses a limit that this tokenizer and these threads would break.
///
/// # Errors
/// [`Error::Usage`], naming the least limit.
pub fn check_limit(memory: u64, threads: usize, resident: u64) -> Result<(), Error> {
    let least = (resident + TASK_BYTES_MIN + threads as u64 * THREAD_BYTES).next_multiple_of(8 << 20);
    if memory >= least {
        return Ok(());
    }
    let (least, found) = (least >> 20, memory >> 20);
    let detail = format!("expected at least {least}MiB for this tokenizer and {threads} threads, found {found}MiB");
    let hint = if threads > 1 { "with fewer --threads less will do" } else { "" };
    Err(Error::usage("--memory", detail, hint))
}

/// Resident memory of this process, in bytes; 0 where the system does not say.
pub fn resident_bytes() -> u64 {
    status_bytes("VmRSS:")
}

/// Most memory this process held, in bytes; 0 where the system does not say.
pub fn peak_resident_bytes() -> u64 {
    status_bytes("VmHWM:")
}

fn status_bytes(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_below_what_the_work_takes_is_refused_by_name() {
        check_limit(1 << 30, 2, 30 << 20).unwrap();
        let error = check_limit(48 << 20, 2, 30 << 20).unwrap_err().to_string();
        assert!(error.contains("expected at least 104MiB for this tokenizer and 2 threads, found 48MiB"), "{error}");
    }

    #[test]
    fn a_process_holds_memory() {
        assert!(resident_bytes() > 1 << 20);
        assert!(peak_resident_bytes() >= resident_bytes() / 2);
    }
}
