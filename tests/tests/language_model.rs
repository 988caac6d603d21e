//! `pipeline lm train`: the same bytes for any memory and threads, within the memory it is given.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::args;
use tests::corpus::{example, made_up_folder, root, temp_dir, tokenizer};
use tests::program::pipeline;

/// A model, and the event that tells of it.
fn model(dir: &Path, name: &str, input: &Path, flags: &[&str]) -> (PathBuf, Value) {
    let out = dir.join(name);
    let mut arguments = args!["lm", "train", input, "--out", &out, "--json"];
    arguments.extend(flags.iter().map(Into::into));
    let done = serde_json::from_str(&pipeline(arguments).ok().stdout).expect("an event");
    assert!(!dir.join(format!("{name}.work")).exists(), "the work folder is gone");
    (out, done)
}

#[test]
fn memory_and_threads_change_no_byte() {
    let dir = temp_dir();
    let input = made_up_folder(dir.path(), 72, 2, 6_000_000);
    let flags = ["--words", "characters", "--prune", "0,0,1"];
    let (little, done) =
        model(dir.path(), "little", &input, &[&flags[..], &["--memory", "96MiB", "--threads", "1"]].concat());
    let (much, _) = model(dir.path(), "much", &input, &[&flags[..], &["--memory", "2GiB", "--threads", "2"]].concat());
    assert!(fs::read(&little).expect("a model") == fs::read(&much).expect("a model"));
    let peak = done["peak_resident_bytes"].as_u64().expect("a peak") >> 20;
    assert!((20..=96).contains(&peak), "{peak} MiB at a limit of 96");
}

#[test]
fn the_example_has_the_model_of_its_own_corpus() {
    let dir = temp_dir();
    let shipped = root().join("examples/quickstart/tiny.lm");
    let flags = ["--order", "3", "--prune", "0,2", "--words", "characters"];
    let (made, _) = model(dir.path(), "tiny.lm", &example(), &flags);
    assert!(fs::read(made).expect("a model") == fs::read(&shipped).expect("the example's model"));

    let out = dir.path().join("dataset");
    let run = args!["run", example(), "--tokenizer", tokenizer(), "--out", &out, "--measure", "perplexity"];
    fs::write(dir.path().join("again.toml"), "[measure]\nrecompute = true\n").expect("a config");
    let config = args!["--config", dir.path().join("again.toml"), "--perplexity-model", &shipped];
    pipeline([run, config, args!["--perplexity-words", "characters", "--where", "perplexity > 1"]].concat()).ok();
    let manifest = fs::read(out.join("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    assert!(manifest["ledger"]["kept"].as_u64().expect("a count") > 100);
}

#[test]
fn what_no_model_can_be_is_refused() {
    let dir = temp_dir();
    let out = dir.path().join("lm");
    let refused = |flags: &[&str], says: &str| {
        let mut arguments = args!["lm", "train", example(), "--out", &out];
        arguments.extend(flags.iter().map(Into::into));
        pipeline(arguments).code_is(2).says(says);
        assert!(!out.exists());
    };
    refused(&["--order", "7"], "--order: expected 2 to 6, found 7");
    refused(&["--prune", "1"], "--prune: expected 0 first, found 1");
    refused(&["--prune", "0,2,1"], "--prune: expected ascending numbers, found 0,2,1");
    refused(&["--memory", "20MiB"], "--memory: expected at least");
    refused(&["--text-column", "no such"], "expected text, found no word");
}
