//! What version 1 wrote, every later version reads: `tests/compat/v1` was made once and is never made again.
//!
//! It holds a dataset of the first forty lines of the example, and a checkpoint of a small model trained on it.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tests::args;
use tests::corpus::{root, temp_dir, write};
use tests::dataset::Dataset;
use tests::program::{pipeline, trainer};
use tests::tree::dataset_tree;

fn v1(name: &str) -> PathBuf {
    root().join("tests/compat/v1").join(name)
}

#[test]
fn a_dataset_of_version_1_is_sound() {
    pipeline(args!["verify", v1("dataset")]).ok();
    let dataset = Dataset::open(&v1("dataset"));
    dataset.assert_ledger();
    dataset.assert_files();
    assert_eq!(dataset.manifest["format_version"], 1);
}

#[test]
fn a_document_of_version_1_is_found_and_decoded() {
    let shown = pipeline(args!["inspect", v1("dataset"), "--doc", "2022", "--json"]).ok().stdout;
    let event: Value = serde_json::from_str(shown.lines().last().unwrap_or_default()).expect("an event");
    assert!(event.to_string().contains("corpus.jsonl"), "{event}");
}

#[test]
fn a_dataset_of_version_1_is_encoded_anew_to_the_same_shards() {
    let dir = temp_dir();
    let out = dir.path().join("again");
    let tokenizer = v1("dataset").join("tokenizer.json");
    pipeline(args!["retokenize", v1("dataset"), "--tokenizer", tokenizer, "--out", &out]).ok();
    for name in ["tokens/train-00000.bin", "tokens/train-00000.idx", "tokens/val-00000.bin", "tokens/val-00000.idx"] {
        let read = |dataset: &PathBuf| fs::read(dataset.join(name)).expect(name);
        assert!(read(&v1("dataset")) == read(&out), "{name}");
    }
}

#[test]
fn training_goes_on_from_a_checkpoint_of_version_1() {
    let dir = temp_dir();
    for (name, bytes) in dataset_tree(&v1("model")) {
        write(&dir.path().join("model"), &name, &bytes);
    }
    let out = dir.path().join("model");
    let flags = fs::read_to_string(v1("model.flags")).expect("the flags it was trained with");
    let mut arguments = args!["pretrain", "--data", v1("dataset").join("manifest.json"), "--out", &out];
    arguments.extend(flags.split_whitespace().map(Into::into));
    arguments.extend(args!["--max-steps", "21"]);
    trainer(arguments).ok();
    let metrics = fs::read_to_string(out.join("metrics.jsonl")).expect("metrics");
    let lines: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let losses: Vec<f64> = lines.iter().filter_map(|line| line["loss"].as_f64()).collect();
    assert_eq!(losses.len(), 21, "{metrics}");
    assert!((losses[20] - losses[19]).abs() < 1.0, "the loss goes on where it was: {losses:?}");
}

#[test]
fn a_checkpoint_of_version_1_writes_text() {
    let checkpoint = v1("model/checkpoints/step-00000020");
    let flags = args!["generate", "--checkpoint", checkpoint, "--prompt", "The", "--max-new-tokens", "8"];
    assert!(!trainer(flags).ok().stdout.trim().is_empty());
}
