//! The main job on the example: corpus, tokenizer, dataset, model, text. What is checked is read by code of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::args;
use tests::corpus::{example, example_config, temp_dir, tokenizer};
use tests::dataset::{Dataset, read_shard, sha256_hex, unigram_entropy};
use tests::program::{pipeline, trainer};
use tests::table;

/// The example's dataset, made once.
fn dataset() -> &'static Dataset {
    static MADE: OnceLock<(TempDir, Dataset)> = OnceLock::new();
    let (_, dataset) = MADE.get_or_init(|| {
        let dir = temp_dir();
        let out = dir.path().join("dataset");
        pipeline(args!["run", example(), "--config", example_config(), "--tokenizer", tokenizer(), "--out", &out]).ok();
        let dataset = Dataset::open(&out);
        (dir, dataset)
    });
    dataset
}

/// The lines of the example by byte offset.
fn example_lines() -> BTreeMap<u64, Vec<u8>> {
    let bytes = fs::read(example()).expect("the example is checked in");
    let mut offset = 0;
    let mut lines = BTreeMap::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        lines.insert(offset, line.strip_suffix(b"\n").unwrap_or(line).to_vec());
        offset += line.len() as u64;
    }
    lines
}

#[test]
fn every_line_of_the_example_has_its_fate() {
    let dataset = dataset();
    dataset.assert_ledger();
    assert_eq!(dataset.number("/ledger/lines"), 185);
    assert_eq!(dataset.number("/ledger/blank"), 4);
    assert_eq!(dataset.number("/ledger/kept"), 150);
    let ledger = &dataset.manifest["ledger"];
    let invalid =
        json!({"bad_utf8": 3, "column_type": 1, "depth": 1, "json_syntax": 8, "text_missing": 2, "text_type": 1});
    assert_eq!(ledger["invalid"], invalid);
    let filter = json!({"lang_score >= 0.5": 1, "null:perplexity": 1, "perplexity < 1500": 5});
    assert_eq!(ledger["dropped"], json!({"dedup": {"exact": 8}, "filter": filter}));
}

#[test]
fn the_manifest_tells_what_was_used() {
    let dataset = dataset();
    let manifest = &dataset.manifest;
    assert_eq!(manifest["format_version"], json!(1));
    assert_eq!(manifest["complete"], json!(true));
    assert_eq!(manifest["dtype"], json!("u16"));
    assert_eq!(manifest["inputs"][0]["path"], json!("corpus.jsonl"));
    assert_eq!(dataset.number("/inputs/0/bytes"), fs::metadata(example()).expect("the example").len());
    let tokenizer_bytes = fs::read(tokenizer()).expect("a tokenizer");
    assert_eq!(manifest["tokenizer"]["hash"], json!(sha256_hex(&tokenizer_bytes)));
    assert_eq!(dataset.number("/tokenizer/vocab_size"), 1024);
    let config = fs::read(dataset.dir.join("config.toml")).expect("config.toml");
    assert_eq!(manifest["config_hash"], json!(sha256_hex(&config)));
    dataset.assert_files();
}

#[test]
fn nothing_of_this_machine_is_in_the_dataset() {
    let dataset = dataset();
    let temporary = std::env::temp_dir().display().to_string();
    for (name, bytes) in tests::tree::dataset_tree(&dataset.dir) {
        for word in [temporary.as_str(), env!("CARGO_MANIFEST_DIR")] {
            let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!found, "{name} holds {word}");
        }
    }
}

#[test]
fn shards_hold_documents_between_bos_and_eos() {
    let dataset = dataset();
    let (bos, eos) = (dataset.number("/tokenizer/bos_id") as u32, dataset.number("/tokenizer/eos_id") as u32);
    for split in ["train", "val"] {
        let documents = dataset.documents(split);
        assert_eq!(documents.len() as u64, dataset.number(&format!("/splits/{split}/documents")));
        let tokens: usize = documents.iter().map(Vec::len).sum();
        assert_eq!(tokens as u64, dataset.number(&format!("/splits/{split}/tokens")));
        for document in &documents {
            assert_eq!((document.first(), document.last()), (Some(&bos), Some(&eos)));
            let inner = &document[1..document.len() - 1];
            assert!(!inner.is_empty() && !inner.contains(&bos) && !inner.contains(&eos));
        }
    }
}

#[test]
fn parquet_rows_are_the_shards_documents() {
    let dataset = dataset();
    for split in ["train", "val"] {
        let rows = table::rows(&dataset.dir.join("data"), split);
        assert_eq!(rows.len() as u64, dataset.number(&format!("/splits/{split}/documents")));
        let mut next = 0;
        for (number, path) in dataset.shards(split).iter().enumerate() {
            let shard = read_shard(&dataset.dir.join(path));
            for (document, offset) in shard.documents.iter().zip(&shard.token_offsets) {
                let row = &rows[next];
                assert_eq!(row["tokens"], json!(document), "row {next} of {split}");
                assert_eq!(row["n_tokens"], json!(document.len()));
                assert_eq!((&row["shard"], &row["token_offset"]), (&json!(number), &json!(offset)));
                next += 1;
            }
        }
        assert_eq!(next, rows.len());
    }
}

#[test]
fn rows_point_at_their_lines_and_carry_their_columns() {
    let lines = example_lines();
    let numbers: BTreeMap<u64, u64> = lines.keys().zip(1u64..).map(|(offset, number)| (*offset, number)).collect();
    for split in ["train", "val"] {
        for row in table::rows(&dataset().dir.join("data"), split) {
            let offset = row["byte_offset"].as_u64().expect("an offset");
            let line: Value = serde_json::from_slice(&lines[&offset]).expect("a kept line is JSON");
            assert_eq!(row["line"], json!(numbers[&offset]));
            assert_eq!(row["doc_id"], json!(line["id"].to_string()));
            assert_eq!((&row["source"], &row["copy"]), (&json!("corpus.jsonl"), &json!(0)));
            for (name, value) in line.as_object().expect("an object") {
                let (found, wanted) = (&row[name], value);
                assert!(found == wanted || found.as_f64() == wanted.as_f64(), "{name}: {found} for {wanted}");
            }
        }
    }
}

#[test]
fn documents_stay_in_input_order() {
    for split in ["train", "val"] {
        let rows = table::rows(&dataset().dir.join("data"), split);
        assert!(rows.windows(2).all(|pair| pair[0]["line"].as_u64() < pair[1]["line"].as_u64()), "{split}");
    }
}

#[test]
fn of_equal_documents_the_first_in_input_order_is_kept() {
    let rejects = table::rows(&dataset().dir.join("rejects"), "");
    let mut kept = BTreeMap::new();
    for split in ["train", "val"] {
        for row in table::rows(&dataset().dir.join("data"), split) {
            kept.insert(row["text"].as_str().expect("text").to_owned(), row["line"].as_u64());
        }
    }
    let lines: Vec<Vec<u8>> = example_lines().into_values().collect();
    let duplicates: Vec<_> = rejects.iter().filter(|row| row["rule"] == json!("exact")).collect();
    assert_eq!(duplicates.len(), 8);
    for row in duplicates {
        let number = row["line"].as_u64().expect("a line");
        let line: Value = serde_json::from_slice(&lines[number as usize - 1]).expect("JSON");
        assert!(kept[line["text"].as_str().expect("text")] < Some(number));
    }
}

#[test]
fn rejects_hold_every_line_that_was_not_kept() {
    let lines = example_lines();
    let rejects = table::rows(&dataset().dir.join("rejects"), "");
    assert_eq!(rejects.len(), 31);
    for row in &rejects {
        let line = &lines[&row["byte_offset"].as_u64().expect("an offset")];
        if row["stage"] == json!("read") {
            assert_eq!(row["raw"], json!(line), "{row:?}");
            assert!(row["value"].is_string(), "what was expected and found: {row:?}");
        } else {
            let document: Value = serde_json::from_slice(line).expect("a dropped line is JSON");
            assert_eq!(row["doc_id"], json!(document["id"].to_string()));
            assert_eq!(row["n_chars"], json!(document["text"].as_str().expect("text").chars().count()));
            assert_eq!(row["perplexity"].as_f64(), document["perplexity"].as_f64());
            assert!(row["raw"].is_null());
        }
    }
}

/// Trains a small model on the example.
fn pretrain(out: &Path, steps: u64, extra: &[&str]) -> Vec<Value> {
    let manifest = dataset().dir.join("manifest.json");
    let steps = steps.to_string();
    let shape = ["--dim", "64", "--n-layers", "2", "--n-heads", "4", "--n-kv-heads", "2", "--max-seq-len", "64"];
    let schedule = [
        "--batch-size",
        "8",
        "--accumulation-steps",
        "1",
        "--learning-rate",
        "3e-3",
        "--warmup-iters",
        "10",
        "--seed",
        "3",
    ];
    let mut arguments = args!["pretrain", "--data", manifest, "--out", out, "--max-steps", &steps];
    arguments.extend(shape.iter().chain(&schedule).chain(extra).map(Into::into));
    trainer(arguments).ok();
    let text = fs::read_to_string(out.join("metrics.jsonl")).expect("metrics.jsonl");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of metrics is JSON")).collect()
}

fn checkpoint(out: &Path) -> std::path::PathBuf {
    let latest = fs::read_to_string(out.join("checkpoints/latest")).expect("checkpoints/latest");
    out.join("checkpoints").join(latest.trim())
}

#[test]
fn the_loss_falls_and_text_comes_out() {
    let dir = temp_dir();
    let out = dir.path().join("model");
    let metrics = pretrain(&out, 40, &["--save-interval", "40"]);
    let steps: Vec<&Value> = metrics.iter().filter(|line| line.get("loss").is_some()).collect();
    let numbers: Vec<u64> = steps.iter().filter_map(|line| line["step"].as_u64()).collect();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>(), "one line a step");
    for key in ["loss", "lr", "grad_norm", "tokens", "tokens_per_s"] {
        assert!(steps.iter().all(|line| line[key].is_number()), "{key} on every line");
    }
    let loss = |line: &Value| line["loss"].as_f64().expect("a loss");
    let (first, last) = (loss(steps[0]), loss(steps[39]));
    let uniform = 1024f64.ln();
    assert!((first - uniform).abs() < 0.7, "an untrained model knows nothing: {first} against {uniform}");
    assert!(last < first - 0.7, "{first} -> {last}");

    assert_eq!(checkpoint(&out).file_name().and_then(|name| name.to_str()), Some("step-00000040"));
    let prompt = "The river";
    let generate = |seed: &str| {
        trainer(args![
            "generate",
            "--checkpoint",
            checkpoint(&out),
            "--prompt",
            prompt,
            "--max-new-tokens",
            "12",
            "--temperature",
            "0.8",
            "--top-k",
            "20",
            "--seed",
            seed
        ])
        .ok()
        .stdout
    };
    assert!(!generate("1").trim().is_empty());
    assert_eq!(generate("1"), generate("1"), "the same seed says the same");
}

/// Every tensor of a checkpoint as f32 values, by name.
fn tensors(checkpoint: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = fs::read(checkpoint.join("model.safetensors")).expect("model.safetensors");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let floats = |bytes: &[u8]| bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        assert_eq!(view.dtype(), safetensors::Dtype::F32, "{name}");
        (name, floats(view.data()))
    });
    tensors.collect()
}

#[test]
fn training_ends_below_unigram_entropy_with_every_parameter_changed() {
    let dir = temp_dir();
    let (early, late) = (dir.path().join("early"), dir.path().join("late"));
    pretrain(&early, 1, &["--save-interval", "1"]);
    let metrics = pretrain(&late, 400, &["--save-interval", "400"]);
    let (before, after) = (tensors(&checkpoint(&early)), tensors(&checkpoint(&late)));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (name, values) in &before {
        let moved = values.iter().zip(&after[name]).filter(|(a, b)| a != b).count();
        assert!(moved * 100 >= values.len() * 99, "{name}: {moved} of {} values changed", values.len());
    }
    let entropy = unigram_entropy(&dataset().documents("val"));
    let val_loss = metrics.iter().filter_map(|line| line["val_loss"].as_f64()).next_back().expect("a validation loss");
    assert!(val_loss < entropy, "validation loss {val_loss}, unigram entropy {entropy}");
}

/// One text of each kind: kept, too short, without stop words, a line that repeats.
fn gopher_texts() -> [String; 4] {
    let word = |at: usize| format!("{}{}word", char::from(b'a' + (at / 26) as u8), char::from(b'a' + (at % 26) as u8));
    let plain = |count: usize| (0..count).map(word).collect::<Vec<_>>().join(" ");
    let good = format!("the end of {}", plain(60));
    let repeated = format!("{good}\n{}", ["again\n"; 4].concat());
    [good.clone(), "the end of it".to_owned(), plain(60), repeated]
}

#[test]
fn a_preset_drops_under_its_conditions_and_its_name_stays_in_the_dataset() {
    let dir = temp_dir();
    let (input, out) = (dir.path().join("corpus.jsonl"), dir.path().join("dataset"));
    let lines = gopher_texts().map(|text| json!({"text": text}).to_string() + "\n").concat();
    fs::write(&input, lines).expect("the corpus is written");
    pipeline(args![
        "run",
        &input,
        "--preset",
        "gopher",
        "--where",
        "n_chars < 9000",
        "--tokenizer",
        tokenizer(),
        "--out",
        &out
    ])
    .ok();
    let dataset = Dataset::open(&out);
    let dropped =
        json!({"filter": {"gopher_n_words >= 50": 1, "gopher_stop_words >= 2": 1, "gopher_dup_line_frac <= 0.3": 1}});
    assert_eq!(dataset.manifest["ledger"]["dropped"], dropped);
    let config = fs::read_to_string(out.join("config.toml")).expect("the dataset has its configuration");
    assert!(config.contains("preset = \"gopher-1\"") && config.contains("where = \"n_chars < 9000\""), "{config}");
    // The dataset's own configuration makes the same dataset: nothing is to be done.
    let own = out.join("config.toml");
    pipeline(args!["run", &input, "--config", &own, "--tokenizer", tokenizer(), "--out", &out])
        .ok()
        .says("nothing to do");
}

#[test]
fn what_preset_prints_is_taken_by_where_under_the_same_rules() {
    let dir = temp_dir();
    let input = dir.path().join("corpus.jsonl");
    let lines = gopher_texts().map(|text| json!({"text": text}).to_string() + "\n").concat();
    fs::write(&input, lines).expect("the corpus is written");
    let printed = pipeline(args!["preset", "gopher"]).ok().stdout;
    let (named, written) = (dir.path().join("named"), dir.path().join("written"));
    pipeline(args!["run", &input, "--preset", "gopher", "--tokenizer", tokenizer(), "--out", &named]).ok();
    pipeline(args![
        "run",
        &input,
        "--measure",
        "gopher",
        "--where",
        &printed,
        "--tokenizer",
        tokenizer(),
        "--out",
        &written
    ])
    .ok();
    assert_eq!(Dataset::open(&named).manifest["ledger"], Dataset::open(&written).manifest["ledger"]);
}

#[test]
fn an_unknown_preset_is_a_usage_error_with_the_names_there_are() {
    pipeline(args!["preset", "gofer"]).code_is(2).says("industry-zh");
    pipeline(args!["run", example(), "--preset", "gofer", "--tokenizer", tokenizer(), "--out", "nowhere"])
        .code_is(2)
        .says("industry-zh");
}
