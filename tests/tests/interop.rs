//! Other people's tools open what we write: the Python packages that `scripts/interop-setup.sh` installs.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::args;
use tests::corpus::{corpora, example, example_config, root, temp_dir, tokenizer};
use tests::program::{Ended, pipeline, run, trainer, trainer_command};

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

/// A small model trained for a few steps on the example, with event files.
fn checkpoint() -> &'static (PathBuf, PathBuf) {
    static TRAINED: OnceLock<(TempDir, (PathBuf, PathBuf))> = OnceLock::new();
    let (_, paths) = TRAINED.get_or_init(|| {
        let dir = temp_dir();
        let out = dir.path().join("model");
        let manifest = example_dataset().join("manifest.json");
        let mut arguments = args!["pretrain", "--data", manifest, "--out", &out, "--tensorboard"];
        let shape = "--dim 64 --n-layers 2 --n-heads 4 --n-kv-heads 2 --hidden-dim 80 --max-seq-len 64";
        let run = "--batch-size 4 --accumulation-steps 1 --learning-rate 3e-3 --max-steps 20 --save-interval 20";
        arguments.extend(shape.split(' ').chain(run.split(' ')).map(Into::into));
        trainer(arguments).ok();
        let checkpoint = out.join("checkpoints/step-00000020");
        (dir, (out, checkpoint))
    });
    paths
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn a_checkpoint_has_the_layout_of_hugging_face() {
    script("checkpoint.py", &[&checkpoint().1], temp_dir().path());
}

const PROMPT_IDS: [u32; 12] = [1, 400, 77, 512, 300, 301, 900, 12, 64, 65, 66, 3];

/// Asks a served model for the log-probabilities of [`PROMPT_IDS`].
fn served_logprobs(model: &Path) -> Vec<f64> {
    // What transformers saves has no tokenizer.
    let tokenizer = &checkpoint().1;
    let mut server =
        trainer_command(args!["serve", "--checkpoint", model, "--tokenizer", tokenizer, "--port", "0", "--json"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the trainer starts");
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("piped")).read_line(&mut line).expect("an event");
    let listening: Value = serde_json::from_str(&line).expect("an event of JSON");
    let address = listening["address"].as_str().expect("an address");
    let body = json!({"prompt": PROMPT_IDS, "max_tokens": 0, "echo": true, "logprobs": 0}).to_string();
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let head = format!("POST /v1/completions HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    server.kill().and_then(|()| server.wait()).expect("the server ends");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let answer: Value = serde_json::from_str(body).expect("an answer of JSON");
    let told = answer["choices"][0]["logprobs"]["token_logprobs"].as_array().expect("log-probabilities");
    told.iter().filter_map(Value::as_f64).collect()
}

/// What the trainer makes of [`PROMPT_IDS`], as `tests/interop/llama.py` wants it, in a file.
fn told(model: &Path, folder: &Path) -> PathBuf {
    let ids = PROMPT_IDS.map(|id| id.to_string()).join(",");
    let mut arguments = args!["generate", "--checkpoint", model, "--prompt-ids", ids];
    arguments.extend("--max-new-tokens 20 --temperature 0 --ignore-eos --json".split(' ').map(Into::into));
    let generated: Value = serde_json::from_str(&trainer(arguments).ok().stdout).expect("an event of JSON");
    let told = json!({"ids": PROMPT_IDS, "logprobs": served_logprobs(model), "greedy": generated["ids"]});
    let path = folder.join("told.json");
    fs::write(&path, told.to_string()).expect("written");
    path
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn logits_and_greedy_text_are_those_of_the_public_definition() {
    let (dir, model) = (temp_dir(), &checkpoint().1);
    script("llama.py", &[model, &told(model, dir.path())], dir.path());
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn a_model_exported_in_several_files_is_the_same() {
    let (dir, model) = (temp_dir(), &checkpoint().1);
    let sharded = dir.path().join("sharded");
    trainer(args!["export", "--checkpoint", model, "--to", "hf", "--out", &sharded, "--max-shard-bytes", "100000"])
        .ok();
    script("llama.py", &[&sharded, &told(model, dir.path())], dir.path());
    script("llama.py", &[model, &told(&sharded, dir.path())], dir.path());
}

/// Also reads back what `transformers` saved, by the trainer.
#[test]
#[ignore = "needs interop-setup and torch, which it does not install: pip install torch into target/interop"]
fn logits_and_greedy_text_are_those_of_transformers_itself() {
    if run_python("import torch").is_none() {
        println!("skipped: no torch in target/interop");
        return;
    }
    let (dir, model) = (temp_dir(), &checkpoint().1);
    let saved = dir.path().join("saved");
    script("transformers_model.py", &[model, &told(model, dir.path()), &saved], dir.path());
    assert!(saved.join("model.safetensors.index.json").is_file(), "transformers saved several files");
    script("transformers_model.py", &[model, &told(&saved, dir.path())], dir.path());
}

/// The output of a line of Python; none where it fails.
fn run_python(line: &str) -> Option<String> {
    let output = Command::new(python()).args(["-c", line]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn gguf_files_are_read_by_the_gguf_package() {
    let (dir, model) = (temp_dir(), &checkpoint().1);
    let files = ["f32", "f16", "q8_0"].map(|dtype| dir.path().join(format!("{dtype}.gguf")));
    for file in &files {
        let dtype = file.file_stem().expect("a name");
        trainer(args!["export", "--checkpoint", model, "--to", "gguf", "--out", file, "--dtype", dtype]).ok();
    }
    script("gguf_file.py", &[model, &files[0], &files[1], &files[2]], dir.path());
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn event_files_are_read_by_tensorboard() {
    script("event_file.py", &[&checkpoint().0], temp_dir().path());
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

/// Trains 50 steps, and one at rest from the same start, and has numpy train the same model in float64.
fn trained_a_second_time(flags: &[&str]) {
    let dir = temp_dir();
    let (tokens, rest, out) = (dir.path().join("tokens.bin"), dir.path().join("rest"), dir.path().join("run"));
    let ids = (0..9000u32).scan(7, |id, i| {
        *id = if i * i % 8 == 0 { (*id + i) % 61 } else { (*id * 5 + 7) % 61 };
        Some(*id as u16)
    });
    fs::write(&tokens, ids.flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).expect("the tokens are written");
    let pretrain = |out: &Path, steps: &str, more: &[&str]| {
        let shape =
            ["--dim=32", "--n-layers=2", "--n-heads=4", "--n-kv-heads=2", "--hidden-dim=40", "--max-seq-len=24"];
        let batch = ["--vocab-size=61", "--batch-size=4", "--accumulation-steps=2", "--warmup-iters=5", "--seed=3"];
        let mut arguments = args!["pretrain", "--data", &tokens, "--out", out, "--max-steps", steps, "--threads=1"];
        arguments.extend(shape.iter().chain(&batch).chain(flags).chain(more).map(Into::into));
        trainer(arguments).ok();
    };
    pretrain(&rest, "1", &["--learning-rate=0", "--grad-clip=0"]);
    pretrain(&out, "50", &["--learning-rate=3e-3"]);
    script("train_reference.py", &[&tokens, &rest, &out], dir.path());
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn a_dense_model_has_the_losses_and_gradients_of_numpy() {
    trained_a_second_time(&[]);
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn a_model_with_experts_has_the_losses_and_gradients_of_numpy() {
    trained_a_second_time(&["--use-moe", "--aux-loss-alpha=0.1"]);
    trained_a_second_time(&["--use-moe", "--num-experts-per-tok=1", "--seq-aux=false", "--tie-embeddings=false"]);
}

/// Trains, measures, and compares with formulas and with KenLM.
fn language_model(order: &str, prune: &str) {
    let dir = temp_dir();
    let (corpus, model, out) = (dir.path().join("corpus.jsonl"), dir.path().join("lm"), dir.path().join("dataset"));
    script("language_model.py", &[Path::new("make"), &corpus], dir.path());
    pipeline(args!["lm", "train", &corpus, "--order", order, "--prune", prune, "--out", &model]).ok();
    let run = args!["run", &corpus, "--tokenizer", tokenizer(), "--out", &out, "--measure", "perplexity"];
    pipeline([run, args!["--perplexity-model", &model]].concat()).ok();
    let check = [Path::new("check"), &corpus, &model, &out, Path::new(order), Path::new(prune)];
    script("language_model.py", &check, dir.path());
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn a_trained_language_model_has_the_probabilities_of_the_formulas_in_kenlm() {
    language_model("5", "0,0,0,0,0");
    language_model("3", "0,0,1");
    language_model("4", "0,1,1,2");
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn languages_are_those_of_the_fasttext_package() {
    let dir = temp_dir();
    script("fasttext_language.py", &[Path::new("make"), dir.path()], dir.path());
    for name in ["model.bin", "model.ftz"] {
        let (out, model) = (dir.path().join(format!("of-{name}")), dir.path().join(name));
        let config = dir.path().join("config.toml");
        fs::write(&config, format!("[measure]\nlang_model = {model:?}\n")).expect("a config");
        let run = args!["run", dir.path().join("corpus.jsonl"), "--tokenizer", tokenizer(), "--out", &out];
        pipeline([run, args!["--config", &config, "--measure", "language"]].concat()).ok();
        script("fasttext_language.py", &[Path::new("check"), dir.path(), &out, &model], dir.path());
    }
}

#[test]
#[ignore = "needs scripts/interop-setup.sh"]
fn sentencepiece_words_are_those_of_the_package() {
    let dir = temp_dir();
    script("sentencepiece_words.py", &[Path::new("make"), dir.path()], dir.path());
    for name in ["unigram", "bpe", "bytes", "suffix"] {
        let (model, out) = (dir.path().join(format!("{name}.model")), dir.path().join(format!("{name}.lm")));
        let train = args!["lm", "train", dir.path().join("corpus.jsonl"), "--order", "2", "--out", &out];
        pipeline([train, args!["--words", "sentencepiece", "--sentencepiece-model", &model]].concat()).ok();
        script("sentencepiece_words.py", &[Path::new("check"), dir.path(), Path::new(name), &out], dir.path());
    }
}
