//! One flipped byte in any file of a dataset, a run or a checkpoint is found, named, and an error of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;
use tests::args;
use tests::corpus::{example, example_config, made_up_folder, temp_dir, tokenizer, write};
use tests::program::{Ended, pipeline, pipeline_path, trainer};
use tests::strace::{self, Fault, Threads};
use tests::tree::{assert_same_tree, dataset_tree};

/// A copy of the example's dataset that may be damaged.
fn dataset(dir: &Path) -> PathBuf {
    static MADE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, made) = MADE.get_or_init(|| {
        let dir = temp_dir();
        let out = dir.path().join("dataset");
        pipeline(args!["run", example(), "--config", example_config(), "--tokenizer", tokenizer(), "--out", &out]).ok();
        (dir, out)
    });
    let copy = dir.join("dataset");
    for (name, bytes) in dataset_tree(made) {
        write(&copy, &name, &bytes);
    }
    copy
}

/// Flips a bit of the byte at `at`, counted from the end where negative.
fn flip(path: &Path, at: i64) {
    let mut bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let index = if at < 0 { bytes.len() as i64 + at } else { at } as usize;
    bytes[index] ^= 0x10;
    fs::write(path, bytes).expect("the file is writable");
}

fn pretrain(dataset: &Path, out: &Path, extra: &[&str]) -> Ended {
    let mut arguments = args![
        "pretrain",
        "--data",
        dataset.join("manifest.json"),
        "--out",
        out,
        "--dim",
        "32",
        "--n-layers",
        "1",
        "--n-heads",
        "2",
        "--n-kv-heads",
        "1",
        "--max-seq-len",
        "32",
        "--batch-size",
        "2",
        "--accumulation-steps",
        "1",
        "--save-interval",
        "2"
    ];
    arguments.extend(extra.iter().map(Into::into));
    trainer(arguments)
}

#[test]
fn an_unharmed_dataset_verifies() {
    let dir = temp_dir();
    pipeline(args!["verify", dataset(dir.path())]).ok();
}

#[test]
fn every_file_of_a_dataset_is_verified() {
    let dir = temp_dir();
    let dataset = dataset(dir.path());
    let names: Vec<String> = dataset_tree(&dataset).into_keys().filter(|name| name != "manifest.json").collect();
    for name in names {
        let path = dataset.join(&name);
        let length = fs::metadata(&path).expect("a file").len() as i64;
        flip(&path, length / 2);
        pipeline(args!["verify", &dataset]).code_is(5).no_panic().says(&name);
        flip(&path, length / 2);
    }
    pipeline(args!["verify", &dataset]).ok();
}

#[test]
fn a_missing_and_a_shortened_file_are_verified() {
    let dir = temp_dir();
    let dataset = dataset(dir.path());
    let shard = dataset.join("tokens/train-00000.bin");
    let bytes = fs::read(&shard).expect("a shard");
    fs::write(&shard, &bytes[..bytes.len() - 2]).expect("the file is writable");
    pipeline(args!["verify", &dataset]).code_is(5).says("train-00000.bin");
    fs::remove_file(&shard).expect("the file is there");
    pipeline(args!["verify", &dataset]).code_is(5).says("train-00000.bin");
}

#[test]
fn a_changed_number_in_the_manifest_is_found() {
    let dir = temp_dir();
    let dataset = dataset(dir.path());
    let path = dataset.join("manifest.json");
    let text = fs::read_to_string(&path).expect("a manifest");
    let changed = text.replacen("\"kept\": 150", "\"kept\": 151", 1).replacen("\"kept\":150", "\"kept\":151", 1);
    assert_ne!(changed, text);
    fs::write(&path, changed).expect("the file is writable");
    let ended = pipeline(args!["verify", &dataset]).no_panic();
    assert!(matches!(ended.code, Some(1 | 5)), "{ended}");
    ended.says("manifest.json");
    let ended = pretrain(&dataset, &dir.path().join("model"), &["--max-steps", "1"]).no_panic();
    assert!(!matches!(ended.code, Some(0) | None), "{ended}");
    ended.says("manifest.json");
}

#[test]
fn a_manifest_cut_short_is_found() {
    let dir = temp_dir();
    let dataset = dataset(dir.path());
    let path = dataset.join("manifest.json");
    let bytes = fs::read(&path).expect("a manifest");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("the file is writable");
    let ended = pipeline(args!["verify", &dataset]).no_panic().says("manifest.json");
    assert!(matches!(ended.code, Some(1 | 5)), "{ended}");
}

#[test]
fn a_trainer_refuses_a_damaged_index() {
    let dir = temp_dir();
    let dataset = dataset(dir.path());
    for at in [0, 9, 17, 18] {
        flip(&dataset.join("tokens/train-00000.idx"), at);
        let ended = pretrain(&dataset, &dir.path().join("model"), &["--max-steps", "1"]).no_panic();
        assert!(!matches!(ended.code, Some(0) | None), "byte {at}\n{ended}");
        ended.says("train-00000.idx");
        flip(&dataset.join("tokens/train-00000.idx"), at);
    }
}

#[test]
fn a_trainer_told_to_verify_refuses_a_damaged_shard() {
    let dir = temp_dir();
    let dataset = dataset(dir.path());
    flip(&dataset.join("tokens/train-00000.bin"), -7);
    let ended = pretrain(&dataset, &dir.path().join("model"), &["--max-steps", "1", "--verify", "full"]).no_panic();
    assert!(!matches!(ended.code, Some(0) | None), "{ended}");
    ended.says("train-00000.bin");
}

#[test]
fn a_damaged_checkpoint_is_neither_resumed_nor_generated_from() {
    let dir = temp_dir();
    let dataset = dataset(dir.path());
    let out = dir.path().join("model");
    pretrain(&dataset, &out, &["--max-steps", "2"]).ok();
    let checkpoint = out.join("checkpoints/step-00000002");
    for entry in fs::read_dir(&checkpoint).expect("a checkpoint").map(|entry| entry.expect("an entry").path()) {
        if entry.extension().is_none_or(|extension| extension != "safetensors") {
            continue;
        }
        flip(&entry, 3);
        let name = entry.file_name().expect("a name").to_string_lossy().into_owned();
        let ended = pretrain(&dataset, &out, &["--max-steps", "4", "--resume", "auto"]).no_panic();
        assert!(!matches!(ended.code, Some(0) | None), "{name}\n{ended}");
        ended.says(&name);
        flip(&entry, 3);
    }
    flip(&checkpoint.join("model.safetensors"), 3);
    let ended =
        trainer(args!["generate", "--checkpoint", &checkpoint, "--prompt", "a", "--max-new-tokens", "1"]).no_panic();
    assert!(!matches!(ended.code, Some(0) | None), "{ended}");
    ended.says("model.safetensors");
}

/// A run killed in the middle, with finished tasks behind it.
fn broken_run(dir: &Path) -> (Vec<std::ffi::OsString>, PathBuf) {
    let input = made_up_folder(dir, 41, 6, 10_000);
    let out = dir.join("out");
    let arguments = |out: &Path| args!["run", &input, "--tokenizer", tokenizer(), "--out", out, "--threads", "1"];
    let (counted, log) = (dir.join("counted"), dir.join("count.log"));
    let counts = strace::count(Threads::All, &pipeline_path(), &arguments(&counted), &log);
    let fault = Fault { threads: Threads::All, call: "rename", what: "signal=KILL", when: counts["rename"] / 2 };
    let ended = strace::inject(fault, &pipeline_path(), &arguments(&out));
    assert_eq!(ended.signal, Some(9), "{ended}");
    (arguments(&out), out)
}

#[test]
#[ignore = "needs strace"]
fn a_damaged_marker_is_named_and_its_removal_heals() {
    let dir = temp_dir();
    let (arguments, out) = broken_run(dir.path());
    let marker = out.join("run/read/000001.done");
    flip(&marker, 30);
    let ended = pipeline(arguments.clone()).code_is(1).no_panic();
    ended.says("000001.done");
    fs::remove_file(&marker).expect("the hint can be followed");
    pipeline(arguments).ok();
    assert_same_tree(&dataset_tree(&dir.path().join("counted")), &dataset_tree(&out), "healed");
}

#[test]
#[ignore = "needs strace"]
fn a_damaged_task_file_is_found_and_healed_by_the_next_run() {
    let dir = temp_dir();
    let (arguments, out) = broken_run(dir.path());
    let folder = out.join("run/read");
    let entries = fs::read_dir(&folder).expect("task files").map(|entry| entry.expect("an entry").path());
    let rows: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension != "done")).collect();
    assert!(!rows.is_empty());
    let wanted = dataset_tree(&dir.path().join("counted"));
    let largest = rows.iter().max_by_key(|path| fs::metadata(path).map_or(0, |meta| meta.len())).expect("a task file");
    flip(largest, -20);
    let mut ended = pipeline(arguments.clone());
    if ended.code != Some(0) {
        ended = ended.code_is(1).no_panic().says(&largest.file_name().expect("a name").to_string_lossy());
        assert!(!out.join("manifest.json").exists(), "{ended}");
        pipeline(arguments).ok();
    }
    assert_same_tree(&wanted, &dataset_tree(&out), "healed");
}
