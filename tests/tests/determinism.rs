//! The same input, configuration and version give the same bytes of the whole dataset but `run/`: for any number of
//! threads, any task boundaries in any order, any memory, any folder.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;
use tests::args;
use tests::corpus::{Noise, made_up_folder, made_up_lines, temp_dir, tokenizer, write};
use tests::program::{Ended, pipeline};
use tests::tree::{Tree, assert_same_tree, dataset_tree};

/// A folder of inputs: many files, one of them compressed, one in a folder, with duplicates across files.
fn make_input(dir: &Path) -> PathBuf {
    let input = made_up_folder(dir, 1, 12, 50_000);
    write(&input, "0100.jsonl.zst", &zstd::encode_all(&made_up_lines(50, 200_000)[..], 3).expect("zstd"));
    write(&input, "nested/c.jsonl", &made_up_lines(51, 100_000));
    input
}

fn config(dir: &Path) -> PathBuf {
    let text = "[filter]\nwhere = \"perplexity < 1800\"\n[split]\nval_fraction = 0.05\n[output]\nshard_tokens = 9000\n";
    write(dir, "config.toml", text.as_bytes())
}

fn run(input: &Path, dir: &Path, flags: &[&str]) -> Tree {
    let out = dir.join("out");
    let mut arguments = args!["run", input, "--config", config(dir), "--tokenizer", tokenizer(), "--out", &out];
    arguments.extend(flags.iter().map(Into::into));
    pipeline(arguments).ok();
    dataset_tree(&out)
}

/// The input, and the tree of a run with one thread and large tasks.
fn reference() -> &'static (TempDir, PathBuf, Tree) {
    static MADE: OnceLock<(TempDir, PathBuf, Tree)> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = temp_dir();
        let input = make_input(dir.path());
        let tree = run(&input, dir.path(), &["--threads", "1"]);
        let shards = tree.keys().filter(|name| name.ends_with(".bin")).count();
        assert!(shards > 4, "{shards} shards: too few to tell of order");
        (dir, input, tree)
    })
}

#[track_caller]
fn assert_reference(tree: &Tree, what: &str) {
    assert_same_tree(&reference().2, tree, what);
}

#[test]
fn two_threads() {
    let dir = temp_dir();
    assert_reference(&run(&reference().1, dir.path(), &["--threads", "2"]), "two threads");
}

#[test]
fn seven_threads() {
    let dir = temp_dir();
    assert_reference(&run(&reference().1, dir.path(), &["--threads", "7"]), "seven threads");
}

/// One file of more than two blocks of 64 MiB, the smallest unit of a task; all but every hundredth line is dropped,
/// which costs little.
#[test]
fn other_task_boundaries_in_one_large_file() {
    let dir = temp_dir();
    let path = dir.path().join("large.jsonl");
    let mut file = BufWriter::new(File::create(&path).expect("an input"));
    let mut noise = Noise(77);
    for id in 0..36_000 {
        let (words, quality) = if id % 100 == 0 { (20, 1) } else { (500 + noise.below(300) as usize, 9) };
        let text = format!("{} {}", noise.number(), "the river rose ".repeat(words / 3 * 2));
        writeln!(file, "{{\"text\": \"{text}\", \"quality\": {quality}, \"id\": {id}}}").expect("a line");
    }
    let bytes = file.into_inner().expect("flushed").metadata().expect("a size").len();
    assert!(bytes > (130 << 20), "{bytes} bytes are too few for three tasks");
    let run = |name: &str, task_bytes: &str, threads: &str| {
        let config = format!("[filter]\nwhere = \"quality < 5\"\n[machine]\ntask_bytes = \"{task_bytes}\"\n");
        let config = write(&dir.path().join(name), "config.toml", config.as_bytes());
        let out = dir.path().join(name).join("out");
        pipeline(args![
            "run",
            &path,
            "--config",
            config,
            "--tokenizer",
            tokenizer(),
            "--out",
            &out,
            "--threads",
            threads
        ])
        .ok();
        dataset_tree(&out)
    };
    assert_same_tree(&run("one", "256MiB", "2"), &run("three", "64MiB", "3"), "one task and three");
}

#[test]
fn a_small_memory_limit() {
    let dir = temp_dir();
    assert_reference(&run(&reference().1, dir.path(), &["--threads", "2", "--memory", "120MiB"]), "120 MiB of memory");
}

#[test]
fn a_moved_input_folder_and_another_work_folder() {
    let dir = temp_dir();
    let moved = dir.path().join("elsewhere/input");
    fs::create_dir_all(moved.join("nested")).expect("folders");
    for name in dataset_tree(&reference().1).keys() {
        fs::copy(reference().1.join(name), moved.join(name)).expect("a copy");
    }
    let work = dir.path().join("work").display().to_string();
    assert_reference(&run(&moved, dir.path(), &["--work-dir", &work]), "a moved input");
}

#[test]
fn tasks_executed_one_by_one_in_another_order() {
    let dir = temp_dir();
    let out = dir.path().join("out");
    let config = config(dir.path());
    let plan = args!["plan", &reference().1, "--config", config, "--tokenizer", tokenizer(), "--out", &out, "--json"];
    let event: Value = last_event(&pipeline(plan).ok());
    let stages: Vec<&str> = event["stages"].as_array().expect("stages").iter().filter_map(Value::as_str).collect();
    let mut noise = Noise(5);
    let mut executed = 0;
    for stage in stages {
        let mut ranks = missing(&out, stage);
        while !ranks.is_empty() {
            let rank = ranks.swap_remove(noise.below(ranks.len() as u64) as usize).to_string();
            let task = || pipeline(args!["task", "--run", &out, "--stage", stage, "--rank", &rank]).ok();
            task();
            executed += 1;
            if noise.below(5) == 0 {
                // An engine may start a task twice.
                task();
            }
        }
        assert!(missing(&out, stage).is_empty(), "stage {stage}");
    }
    assert!(executed > 30, "{executed} tasks");
    pipeline(args!["task", "--run", &out, "--stage", "commit"]).ok();
    assert_reference(&dataset_tree(&out), "tasks in another order");
}

fn last_event(ended: &Ended) -> Value {
    serde_json::from_str(ended.stdout.lines().last().unwrap_or_default()).expect("an event")
}

/// Ranks of a stage that are not done.
fn missing(out: &Path, stage: &str) -> Vec<u64> {
    let status = last_event(&pipeline(args!["status", out, "--json"]).ok());
    let stages = status["stages"].as_array().unwrap_or_else(|| panic!("{status}"));
    let found = stages.iter().find(|entry| entry["stage"] == stage).unwrap_or_else(|| panic!("{status}"));
    let ranks = found["missing"].as_array().unwrap_or_else(|| panic!("{stage} is not ready: {status}"));
    ranks.iter().filter_map(Value::as_u64).collect()
}
