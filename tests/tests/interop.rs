//! Other people's tools open what we write: the Python packages that `scripts/interop-setup.sh` installs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;
use tests::args;
use tests::corpus::{corpora, example, example_config, root, temp_dir, tokenizer};
use tests::program::{Ended, pipeline, run, trainer};

/// The environment's Python: TARGET/interop/bin/python.
fn python() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    test.ancestors().nth(3).expect("tests lie in TARGET/PROFILE/deps").join("interop/bin/python")
}

/// Runs `tests/interop/SCRIPT ARGS...` in `folder`.
#[track_caller]
fn script(name: &str, args: &[&Path], folder: &Path) -> Ended {
    let mut command = Command::new(python());
    command.arg(root().join("tests/interop").join(name)).args(args).current_dir(folder);
    // `datasets` caches what it reads; two tests must not share a cache, nor leave one behind.
    command.env("HF_HOME", folder.join("hf")).env("HF_HUB_OFFLINE", "1").env("TOKENIZERS_PARALLELISM", "true");
    run(command).ok()
}

/// A folder that holds the example's dataset at `out/quickstart/dataset`, as the quickstart makes it.
fn example_folder() -> &'static Path {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let dir = MADE.get_or_init(|| {
        let dir = temp_dir();
        let out = dir.path().join("out/quickstart/dataset");
        pipeline(args!["run", example(), "--config", example_config(), "--tokenizer", tokenizer(), "--out", &out]).ok();
        dir
    });
    dir.path()
}

fn example_dataset() -> PathBuf {
    example_folder().join("out/quickstart/dataset")
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn ids_are_those_of_the_python_tokenizers_package() {
    script("ids.py", &[&example_dataset()], temp_dir().path());
}

/// A dataset of the foreign sample with a foreign tokenizer, checked in every way that does not depend on the text.
fn foreign(tokenizer: &str, flags: &[&str]) {
    let dir = temp_dir();
    let out = dir.path().join("dataset");
    let input = corpora().join("corpora/sample_zh_en.jsonl.zst");
    let file = corpora().join("tokenizers").join(tokenizer).join("tokenizer.json");
    let mut arguments = args!["run", input, "--tokenizer", file, "--out", &out, "--shard-tokens", "500000"];
    arguments.extend(flags.iter().map(Into::into));
    pipeline(arguments).ok();
    script("ids.py", &[&out], dir.path());
    script("shards.py", &[&out], dir.path());
}

#[test]
#[ignore = "needs scripts/interop-setup.sh and SHARDMILL_CORPORA"]
fn foreign_text_with_minimind_v1() {
    foreign("minimind-v1-6400", &[]);
}

#[test]
#[ignore = "needs scripts/interop-setup.sh and SHARDMILL_CORPORA"]
fn foreign_text_with_minimind_latest() {
    foreign("minimind-latest-6400", &[]);
}

#[test]
#[ignore = "needs scripts/interop-setup.sh and SHARDMILL_CORPORA"]
fn foreign_text_with_gpt2() {
    foreign("gpt2-50257", &["--bos", "none", "--eos", "<|endoftext|>"]);
}

#[test]
#[ignore = "needs scripts/interop-setup.sh and SHARDMILL_CORPORA"]
fn foreign_text_with_llama2() {
    foreign("llama2-32000", &[]);
}

#[test]
#[ignore = "needs scripts/interop-setup.sh and SHARDMILL_CORPORA"]
fn foreign_text_with_qwen_in_four_bytes() {
    foreign("qwen-151k", &["--dtype", "u32", "--bos", "none", "--eos", "<|endoftext|>"]);
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn shards_by_numpy_from_the_documented_layout() {
    script("shards.py", &[&example_dataset()], temp_dir().path());
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn shards_by_megatron_core() {
    script("megatron_reader.py", &[&example_dataset()], temp_dir().path());
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn parquet_by_every_reader() {
    script("parquet_readers.py", &[&example_dataset()], temp_dir().path());
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn the_tokenizer_loads_in_transformers() {
    let folder = tokenizer().parent().expect("a folder");
    script("transformers_tokenizer.py", &[folder], temp_dir().path());
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn manifest_and_config_fit_their_json_schemas() {
    script("json_schema.py", &[&example_dataset(), &root().join("schemas/json")], temp_dir().path());
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn a_checkpoint_has_the_layout_of_hugging_face() {
    let dir = temp_dir();
    let out = dir.path().join("model");
    let manifest = example_dataset().join("manifest.json");
    trainer(args![
        "pretrain",
        "--data",
        manifest,
        "--out",
        &out,
        "--dim",
        "64",
        "--n-layers",
        "2",
        "--n-heads",
        "4",
        "--n-kv-heads",
        "2",
        "--max-seq-len",
        "32",
        "--batch-size",
        "2",
        "--accumulation-steps",
        "1",
        "--max-steps",
        "2",
        "--save-interval",
        "2"
    ])
    .ok();
    script("checkpoint.py", &[&out.join("checkpoints/step-00000002")], dir.path());
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn every_query_of_the_inspect_document_runs() {
    script("inspect_document.py", &[&root().join("docs/INSPECT.md")], example_folder());
}

#[test]
#[ignore = "needs scripts/interop-setup.sh and SHARDMILL_CORPORA"]
fn quality_columns_by_their_definitions_in_plain_python() {
    let dir = temp_dir();
    let (input, config, out) =
        (dir.path().join("odd.jsonl"), dir.path().join("config.toml"), dir.path().join("dataset"));
    let script_name = "quality_columns.py";
    script(script_name, &[Path::new("make"), &input], dir.path());
    std::fs::write(&config, "[measure]\ngopher_words = \"whitespace\"\n").expect("a configuration is written");
    let measures = ["--measure", "basic,gopher,fineweb,c4", "--dedup", "none"];
    let mut arguments = args!["run", &input, "--config", &config, "--tokenizer", tokenizer(), "--out", &out];
    arguments.extend(measures.iter().map(Into::into));
    pipeline(arguments).ok();
    script(script_name, &[Path::new("check"), &out, &corpora().join("quality/special_chars.txt")], dir.path());
}
