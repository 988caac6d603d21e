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

/// Lines of these many characters, each three bytes that no token joins: nothing takes more memory a byte.
fn lines_of_rare_characters(lengths: &[usize]) -> String {
    let rare = |at: usize| char::from_u32(0x3400 + (at * 7919 % 0x1980) as u32).expect("a character of this block");
    let line = |(number, length): (usize, &usize)| {
        let text: String = (0..*length).map(|at| rare(at + number)).collect();
        format!("{{\"text\":\"{text}\"}}\n")
    };
    lengths.iter().enumerate().map(line).collect()
}

#[test]
fn long_lines_keep_the_limit_or_are_refused_until_it_is_raised() {
    let dir = temp_dir();
    let (input, out) = (dir.path().join("long.jsonl"), dir.path().join("out"));
    fs::write(&input, lines_of_rare_characters(&[100, 4_000_000, 3_000_000, 100, 4_000_000])).expect("an input");
    let flags = |memory: u64| {
        let limit = format!("{memory}MiB");
        let flags = args!["run", &input, "--tokenizer", tokenizer(), "--out", &out];
        [flags, args!["--threads", "2", "--memory", &limit]].concat()
    };
    pipeline(flags(128))
        .code_is(1)
        .says("read the record at byte 312 of")
        .says("for which `--memory` has room, found 12000012");
    pipeline(flags(320)).ok();
    let peak = peak_mib(&out);
    assert!((100..=320).contains(&peak), "{peak} MiB at a limit of 320");
    let verified = pipeline(args!["verify", &out]);
    verified.ok();
}

#[test]
fn a_line_longer_than_both_limits_is_dropped_in_little_memory() {
    let dir = temp_dir();
    let (input, out) = (dir.path().join("long.jsonl"), dir.path().join("out"));
    fs::write(&input, lines_of_rare_characters(&[100, 14_000_000, 100])).expect("an input");
    let flags = args!["run", &input, "--tokenizer", tokenizer(), "--out", &out, "--max-line-bytes", "32MiB"];
    pipeline([flags, args!["--threads", "1", "--memory", "96MiB"]].concat()).ok();
    let peak = peak_mib(&out);
    assert!(peak <= 96, "{peak} MiB at a limit of 96");
    let manifest = fs::read_to_string(out.join("manifest.json")).expect("a manifest");
    assert!(manifest.contains("\"line_too_long\": 1"), "{manifest}");
}
