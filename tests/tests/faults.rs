//! A disk that is full, or fails: a clear error that names the file, exit 1, and a rerun that finishes.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::args;
use tests::corpus::{made_up_folder, made_up_lines, temp_dir, tokenizer, write};
use tests::program::{Ended, pipeline, pipeline_path};
use tests::strace::{self, Fault, Threads};
use tests::tree::{assert_same_tree, dataset_tree};

fn arguments(input: &Path, out: &Path) -> Vec<OsString> {
    args!["run", input, "--tokenizer", tokenizer(), "--out", out, "--threads", "1"]
}

/// Asserts that a run failed for a reason a person understands: message, file, no panic.
#[track_caller]
fn assert_told(ended: &Ended, reason: &str, out: &Path, what: &str) {
    assert_eq!(ended.code, Some(1), "{what}\n{ended}");
    assert!(!ended.stderr.contains("panicked"), "{what}\n{ended}");
    assert!(ended.stderr.contains(reason), "{what}: no {reason:?}\n{ended}");
    assert!(ended.stderr.contains(&out.display().to_string()), "{what}: no file is named\n{ended}");
}

/// Injects an error at calls of some names, evenly sampled; each failing run is told, and its rerun finishes.
fn inject_everywhere(calls: &[&str], what: &str, reason: &str) {
    assert!(strace::is_present(), "strace is missing, or may not trace");
    let dir = temp_dir();
    let input = made_up_folder(dir.path(), 21, 3, 7_000);
    let whole = dir.path().join("whole");
    pipeline(arguments(&input, &whole)).ok();
    let wanted = dataset_tree(&whole);
    let mut failed = 0;
    for threads in Threads::WAYS {
        let (counted, log) = (dir.path().join("counted"), dir.path().join("count.log"));
        let _ = fs::remove_dir_all(&counted);
        let counts = strace::count(threads, &pipeline_path(), &arguments(&input, &counted), &log);
        for (call, count) in counts.into_iter().filter(|(call, _)| calls.contains(call)) {
            for when in (1..=count).step_by(count.div_ceil(25) as usize) {
                let fault = Fault { threads, call, what, when };
                let out = dir.path().join("faulty");
                let _ = fs::remove_dir_all(&out);
                let ended = strace::inject(fault, &pipeline_path(), &arguments(&input, &out));
                // A message that could not be printed is no reason to fail; everything else is.
                if ended.code != Some(0) {
                    assert_told(&ended, reason, &out, &format!("{fault:?}"));
                    failed += 1;
                }
                pipeline(arguments(&input, &out)).ok();
                assert_same_tree(&wanted, &dataset_tree(&out), &format!("{fault:?}"));
            }
        }
    }
    assert!(failed > 0, "no injected fault was felt");
}

#[test]
#[ignore = "needs strace"]
fn eio_at_any_write() {
    inject_everywhere(&["write", "pwrite64", "writev"], "error=EIO", "Input/output error");
}

#[test]
#[ignore = "needs strace"]
fn eio_at_any_fsync() {
    inject_everywhere(&["fsync", "fdatasync"], "error=EIO", "Input/output error");
}

#[test]
#[ignore = "needs strace"]
fn enospc_at_any_write() {
    inject_everywhere(&["write", "pwrite64", "writev"], "error=ENOSPC", "No space left on device");
}

/// A small file system in memory, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(dir: &Path, size: &str) -> SmallDisk {
        let point = dir.join("small-disk");
        fs::create_dir_all(&point).expect("a mount point");
        let options = format!("size={size},mode=700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "shardmill-test"]).arg(&point).status();
        assert!(mounted.is_ok_and(|status| status.success()), "tmpfs is not mounted: this test needs root");
        SmallDisk(point)
    }

    fn grow(&self, size: &str) {
        let grown = Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0).status();
        assert!(grown.is_ok_and(|status| status.success()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Text that shrinks a hundredfold, so that no estimate from the compressed size foresees what it needs.
fn well_compressed() -> Vec<u8> {
    let line = |n: usize| format!("{{\"text\": \"{} {n}\", \"id\": {n}}}\n", "the river rose again and ".repeat(150));
    let lines: String = (0..3_000).map(line).collect();
    zstd::encode_all(lines.as_bytes(), 3).expect("zstd")
}

#[test]
#[ignore = "needs root"]
fn a_full_disk_in_the_middle_of_a_run() {
    let dir = temp_dir();
    let input = write(dir.path(), "input.jsonl.zst", &well_compressed());
    let whole = dir.path().join("whole");
    pipeline(arguments(&input, &whole)).ok();
    let disk = SmallDisk::mount(dir.path(), "6m");
    let out = disk.0.join("dataset");
    assert_told(&pipeline(arguments(&input, &out)), "No space left on device", &out, "a disk of 6 MiB");
    assert!(!out.join("manifest.json").exists(), "nothing is committed");
    disk.grow("200m");
    pipeline(arguments(&input, &out)).ok();
    assert_same_tree(&dataset_tree(&whole), &dataset_tree(&out), "after the disk has grown");
}

#[test]
#[ignore = "needs root"]
fn a_disk_that_is_too_small_is_refused_before_work() {
    let dir = temp_dir();
    let input = write(dir.path(), "input.jsonl", &made_up_lines(22, 4_000_000));
    let disk = SmallDisk::mount(dir.path(), "3m");
    let out = disk.0.join("dataset");
    let ended = pipeline(arguments(&input, &out)).no_panic();
    assert!(matches!(ended.code, Some(1 | 2)), "{ended}");
    assert!(ended.stderr.contains(&out.display().to_string()), "{ended}");
    assert!(!out.join("run/read").exists(), "work had begun\n{ended}");
}
