//! What this process holds, the least `--memory` a run can be kept within, and room for documents beyond a block.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::error::Error;

/// What a task that is alone needs beside what the process holds before work: a row group with its text as arrays and
/// as encoded columns, and what the allocator keeps. Measured with one thread on zh and en text (`docs/RESULTS.md`).
const TASK_BYTES_MIN: u64 = 40 << 20;
/// What each thread's allocator arena, stack and scratch add.
const THREAD_BYTES: u64 = 16 << 20;

/// Times its size that a document takes where it takes most: its text and ids in the tokenize stage, its text, ids and
/// encoded columns in the write stage. Measured on long lines of words and of single bytes (`docs/RESULTS.md`).
const DOCUMENT_FACTOR: u64 = 9;
/// Documents up to this size are within what every task has anyway.
pub const LARGE_BYTES: u64 = 2 << 20;

/// Memory beside that of tasks for documents larger than [`LARGE_BYTES`], shared by all tasks of a process.
#[derive(Debug)]
pub struct Room {
    capacity: u64,
    held: Mutex<u64>,
    freed: Condvar,
}

/// A part of the room, given back when dropped.
#[derive(Debug)]
pub struct Held<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Room {
    /// What is left of the memory for work once each task and thread has its own.
    pub fn new(work_bytes: u64, threads: usize) -> Room {
        let capacity = work_bytes.saturating_sub(TASK_BYTES_MIN + threads as u64 * THREAD_BYTES);
        Room { capacity, held: Mutex::new(0), freed: Condvar::new() }
    }

    /// The longest document that fits, in bytes.
    pub fn document_bytes_max(&self) -> u64 {
        (self.capacity / DOCUMENT_FACTOR).max(LARGE_BYTES)
    }

    /// Takes what the work on so many bytes of documents needs, if there is room. What would need more than there is
    /// at all gets in where nothing else is held.
    pub fn try_hold(&self, document_bytes: u64) -> Option<Held<'_>> {
        let bytes = Self::need(document_bytes);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        (*held == 0 || *held + bytes <= self.capacity).then(|| {
            *held += bytes;
            Held { room: self, bytes }
        })
    }

    /// As [`Room::try_hold`], but waits until there is room.
    pub fn hold(&self, document_bytes: u64) -> Held<'_> {
        let bytes = Self::need(document_bytes);
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |held: &mut u64| *held > 0 && *held + bytes > self.capacity;
        let mut held = self.freed.wait_while(held, full).unwrap_or_else(PoisonError::into_inner);
        *held += bytes;
        Held { room: self, bytes }
    }

    fn need(document_bytes: u64) -> u64 {
        if document_bytes > LARGE_BYTES { document_bytes * DOCUMENT_FACTOR } else { 0 }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.room.held.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.room.freed.notify_all();
    }
}

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
    fn large_documents_wait_for_room_and_small_ones_do_not() {
        let room = Room::new(TASK_BYTES_MIN + THREAD_BYTES + (90 << 20), 1);
        assert_eq!(room.document_bytes_max(), 10 << 20);
        let first = room.try_hold(6 << 20).unwrap();
        assert!(room.try_hold(6 << 20).is_none());
        assert!(room.try_hold(LARGE_BYTES).is_some());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| drop(room.hold(6 << 20)));
            drop(first);
            waiting.join().unwrap();
        });
        assert!(room.try_hold(1 << 30).is_some(), "what never fits gets in alone");
    }

    #[test]
    fn a_process_holds_memory() {
        assert!(resident_bytes() > 1 << 20);
        assert!(peak_resident_bytes() >= resident_bytes() / 2);
    }
}
