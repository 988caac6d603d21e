//! `--memory` is a contract: a run's peak stays under it, or the run is refused before it works.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::args;
use tests::corpus::{example, made_up_folder, temp_dir, tokenizer};
use tests::program::pipeline;

/// Most memory a committed run held, in MiB, by its own report.
fn peak_mib(out: &Path) -> u64 {
    let text = fs::read(out.join("run/run.json")).expect("run/run.json");
    let report: Value = serde_json::from_slice(&text).expect("JSON");
    report["peak_resident_bytes"].as_u64().expect("a peak") >> 20
}

#[test]
fn the_peak_stays_under_the_limit() {
    let dir = temp_dir();
    let input = made_up_folder(dir.path(), 71, 4, 20_000_000);
    for (threads, memory) in [("1", 96), ("2", 112)] {
        let (out, limit) = (dir.path().join(threads), format!("{memory}MiB"));
        let flags = args!["run", &input, "--tokenizer", tokenizer(), "--out", &out];
        pipeline([flags, args!["--threads", threads, "--memory", &limit]].concat()).ok();
        let peak = peak_mib(&out);
        assert!(peak > 30, "{peak} MiB are too few to be true");
        assert!(peak <= memory, "{threads} threads: {peak} MiB, over the limit of {limit}");
    }
}

#[test]
fn a_limit_that_cannot_be_kept_is_refused_before_work() {
    let dir = temp_dir();
    let out = dir.path().join("out");
    let flags = args!["run", example(), "--tokenizer", tokenizer(), "--out", &out, "--memory", "32MiB"];
    pipeline(flags).code_is(2).says("--memory: expected at least").says("found 32MiB");
    assert!(!out.join("run/read").exists());
}
