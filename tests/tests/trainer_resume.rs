//! A training run killed at any moment resumes to the same losses and the same weights.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::args;
use tests::corpus::{example, example_config, temp_dir, tokenizer};
use tests::program::{pipeline, trainer, trainer_command, was_killed};

const STEPS: u64 = 24;

fn pretrain(dataset: &Path, out: &Path) -> Vec<OsString> {
    args![
        "pretrain",
        "--data",
        dataset.join("manifest.json"),
        "--out",
        out,
        "--dim",
        "32",
        "--n-layers",
        "2",
        "--n-heads",
        "2",
        "--n-kv-heads",
        "1",
        "--max-seq-len",
        "32",
        "--batch-size",
        "4",
        "--accumulation-steps",
        "2",
        "--learning-rate",
        "1e-3",
        "--warmup-iters",
        "4",
        "--max-steps",
        STEPS.to_string(),
        "--save-interval",
        "5",
        "--seed",
        "9",
        "--resume",
        "auto"
    ]
}

fn dataset(dir: &Path) -> PathBuf {
    let out = dir.join("dataset");
    pipeline(args!["run", example(), "--config", example_config(), "--tokenizer", tokenizer(), "--out", &out]).ok();
    out
}

fn metrics(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("metrics.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Step, loss, rate, norm and tokens of each step: all of a metrics line that is no measure of time.
fn course(out: &Path) -> Vec<String> {
    let steps = metrics(out).into_iter().filter(|line| line.get("loss").is_some());
    steps.map(|line| ["step", "loss", "lr", "grad_norm", "tokens"].map(|key| line[key].to_string()).join(" ")).collect()
}

fn weights(out: &Path) -> Vec<u8> {
    fs::read(out.join(format!("checkpoints/step-{STEPS:08}/model.safetensors"))).expect("the last checkpoint")
}

/// Kills the training as soon as its metrics have `lines` lines.
fn kill_at(dataset: &Path, out: &Path, lines: usize) {
    let mut command = trainer_command(pretrain(dataset, out));
    command.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let mut child = command.spawn().expect("the program starts");
    let started = Instant::now();
    while metrics(out).len() < lines {
        assert!(started.elapsed() < Duration::from_secs(120), "no {lines} lines of metrics after two minutes");
        assert!(child.try_wait().expect("a status").is_none(), "the training ended before line {lines}");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("a signal is sent");
    assert!(was_killed(child.wait().expect("the program ends")));
}

#[test]
fn killed_and_resumed_training_has_the_same_course() {
    let dir = temp_dir();
    let dataset = dataset(dir.path());
    let whole = dir.path().join("whole");
    trainer(pretrain(&dataset, &whole)).ok();
    assert_eq!(course(&whole).len() as u64, STEPS);
    let broken = dir.path().join("broken");
    for lines in [3, 8, 17] {
        kill_at(&dataset, &broken, lines);
    }
    trainer(pretrain(&dataset, &broken)).ok();
    assert_eq!(course(&broken), course(&whole));
    assert!(weights(&broken) == weights(&whole), "weights differ");
}
