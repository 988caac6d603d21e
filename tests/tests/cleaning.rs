//! Cleaning, the report, and the commands that ask a dataset questions, from outside.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::args;
use tests::corpus::{example, example_config, made_up_folder, temp_dir, tokenizer, write};
use tests::dataset::Dataset;
use tests::program::pipeline;
use tests::table;
use tests::tree::{assert_same_tree, dataset_tree};

/// Lines that need cleaning: the second is a duplicate of the first once both are clean, the third has nothing left.
const LINES: &str = concat!(
    r#"{"id":1,"text":"<p>你好，世界&amp;朋友！！！！！</p>"}"#,
    "\n",
    r#"{"id":2,"text":"你好，世界&朋友！\u200b"}"#,
    "\n",
    r#"{"id":3,"text":"<br>\u200b"}"#,
    "\n",
    r#"{"id":4,"text":"写信到 a.b@example.com 或打 13812345678。"}"#,
    "\n",
);

fn run(input: &Path, out: &Path, more: &[&str]) -> Dataset {
    let mut arguments = args!["run", input, "--tokenizer", tokenizer(), "--out", out];
    arguments.extend(more.iter().map(std::ffi::OsString::from));
    pipeline(arguments).ok();
    Dataset::open(out)
}

fn texts(dataset: &Dataset) -> BTreeMap<String, String> {
    let rows = ["train", "val"].iter().flat_map(|split| table::rows(&dataset.dir.join("data"), split));
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    rows.map(|row| (text(&row["doc_id"]), text(&row["text"]))).collect()
}

fn report(dataset: &Dataset) -> Value {
    serde_json::from_slice(&fs::read(dataset.dir.join("report.json")).expect("a report")).expect("JSON")
}

#[test]
fn texts_are_cleaned_before_they_are_compared_and_what_is_empty_is_dropped() {
    let dir = temp_dir();
    let input = write(dir.path(), "in.jsonl", LINES.as_bytes());
    let dataset = run(&input, &dir.path().join("out"), &["--clean", "usual,privacy", "--val-fraction", "0"]);
    dataset.assert_ledger();
    let texts = texts(&dataset);
    assert_eq!(texts["1"], "你好，世界&朋友！");
    assert_eq!(texts["4"], "写信到 <EMAIL> 或打 <PHONE>。");
    let dropped = &dataset.manifest["ledger"]["dropped"];
    assert_eq!(dropped, &json!({"clean": {"empty": 1}, "dedup": {"exact": 1}}));
    let rejects = table::rows(&dataset.dir.join("rejects"), "");
    let empty = rejects.iter().find(|row| row["stage"] == "clean").expect("a reject");
    assert_eq!((&empty["line"], &empty["rule"]), (&json!(3), &json!("empty")));
    let cleaned = &report(&dataset)["cleaned"];
    assert_eq!(cleaned["html"], json!({"documents": 2, "changes": 4}));
    assert_eq!(cleaned["phones"], json!({"documents": 1, "changes": 1}));
}

#[test]
fn cleaning_moves_no_document_to_the_other_side() {
    let dir = temp_dir();
    let input = made_up_folder(dir.path(), 7, 1, 60_000);
    let sides = |name: &str, more: &[&str]| -> BTreeMap<(String, i64), &'static str> {
        let more: Vec<&str> = ["--val-fraction", "0.3", "--dedup", "none"].iter().chain(more).copied().collect();
        let dataset = run(&input, &dir.path().join(name), &more);
        let place = |row: &table::Row| (row["source"].as_str().unwrap().to_owned(), row["line"].as_i64().unwrap());
        let of = |split| {
            table::rows(&dataset.dir.join("data"), split).iter().map(|row| (place(row), split)).collect::<Vec<_>>()
        };
        of("train").into_iter().chain(of("val")).collect()
    };
    let raw = sides("raw", &[]);
    let cleaned = sides("cleaned", &["--clean", "usual,chinese,sentences"]);
    assert!(raw.values().any(|side| *side == "val"));
    assert_eq!(raw, cleaned);
}

#[test]
fn threads_and_tasks_leave_no_trace_in_cleaned_datasets_and_reports() {
    let dir = temp_dir();
    let input = made_up_folder(dir.path(), 11, 3, 40_000);
    let trees = ["1", "2", "5"].map(|threads| {
        let out = dir.path().join(threads);
        run(&input, &out, &["--clean", "web,privacy", "--threads", threads]);
        dataset_tree(&out)
    });
    assert_same_tree(&trees[0], &trees[1], "two threads");
    assert_same_tree(&trees[0], &trees[2], "five threads");
}

#[test]
fn unknown_steps_and_missing_lists_are_usage_errors() {
    let dir = temp_dir();
    let go = |more: Vec<std::ffi::OsString>| {
        let mut arguments = args!["run", example(), "--tokenizer", tokenizer(), "--out", dir.path().join("out")];
        arguments.extend(more);
        pipeline(arguments).code_is(2)
    };
    go(args!["--clean", "htlm"]).says("htlm").says("html");
    go(args!["--clean", "simplified,traditional"]).says("undo each other");
    go(args!["--clean", "flagged_words"]).says("[clean.flagged_words]");
    let config = write(dir.path(), "c.toml", b"[clean]\nsteps = [\"boilerplate\"]\nboilerplate = \"absent.txt\"\n");
    go(args!["--config", config]).says("absent.txt");
}

#[test]
fn flagged_words_are_counted_by_category_and_their_lists_are_in_the_configuration_by_hash() {
    let dir = temp_dir();
    let input = write(dir.path(), "in.jsonl", "{\"text\":\"这里有坏词，还有Bad word\"}\n".as_bytes());
    let words = write(dir.path(), "words.txt", "# a list\n坏词\nbad\n".as_bytes());
    let toml = format!("[clean]\nsteps = [\"flagged_words\"]\n[clean.flagged_words]\nviolence = {words:?}\n");
    let config = write(dir.path(), "c.toml", toml.as_bytes());
    let config = config.display().to_string();
    let dataset = run(&input, &dir.path().join("out"), &["--config", &config, "--val-fraction", "0"]);
    assert_eq!(texts(&dataset).into_values().collect::<Vec<_>>(), ["这里有***，还有*** word"]);
    assert_eq!(report(&dataset)["cleaned"], json!({"flagged_words:violence": {"documents": 1, "changes": 2}}));
    let copy = fs::read_to_string(dataset.dir.join("config.toml")).expect("config.toml");
    assert!(copy.contains("violence = \"sha256:") && !copy.contains("words.txt"), "{copy}");
}

/// The example's dataset.
fn example_dataset(dir: &Path) -> PathBuf {
    let out = dir.join("dataset");
    pipeline(args!["run", example(), "--config", example_config(), "--tokenizer", tokenizer(), "--out", &out]).ok();
    out
}

#[test]
fn the_report_counts_what_the_dataset_holds() {
    let dir = temp_dir();
    let dataset = Dataset::open(&example_dataset(dir.path()));
    let report = report(&dataset);
    assert_eq!(report["ledger"], dataset.manifest["ledger"]);
    let rows: Vec<table::Row> =
        ["train", "val"].iter().flat_map(|split| table::rows(&dataset.dir.join("data"), split)).collect();
    let column = report["numbers"].as_array().unwrap().iter().find(|column| column["name"] == "perplexity").unwrap();
    let values: Vec<f64> = rows.iter().filter_map(|row| row["perplexity"].as_f64()).collect();
    assert_eq!(column["kept"]["count"], json!(values.len()));
    assert_eq!(column["kept"]["max"].as_f64(), values.iter().copied().reduce(f64::max));
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    assert!((column["kept"]["mean"].as_f64().unwrap() - mean).abs() < 1e-6 * mean);
    assert_eq!(column["thresholds"], json!([{"column": "perplexity", "operator": "<", "value": 1500.0}]));
    let bins = column["bins"].as_array().unwrap();
    let kept: u64 = bins.iter().map(|bin| bin["kept"].as_u64().unwrap()).sum();
    assert_eq!(kept, values.len() as u64);
    let reasons = report["rejects"].as_array().unwrap();
    let counted: u64 = reasons.iter().map(|reason| reason["count"].as_u64().unwrap()).sum();
    assert_eq!(counted, table::rows(&dataset.dir.join("rejects"), "").len() as u64);
    let filtered = reasons.iter().find(|reason| reason["rule"] == "perplexity < 1500").unwrap();
    assert!(filtered["examples"][0]["excerpt"].as_str().unwrap().chars().count() > 10, "{filtered}");
    let page = fs::read_to_string(dataset.dir.join("report.html")).expect("a page");
    assert!(page.contains("\"report_version\":1") && !page.contains("/*FIGURES*/"));
}

#[test]
fn sql_answers_from_the_rows() {
    let dir = temp_dir();
    let out = example_dataset(dir.path());
    let dataset = Dataset::open(&out);
    let ask = |query: &str| -> Value {
        let said = pipeline(args!["sql", &out, query, "--json"]).ok().stdout;
        serde_json::from_str(&said).expect("one object")
    };
    let found = ask("SELECT count(*) AS n, sum(n_tokens) AS tokens, avg(perplexity) AS p FROM documents");
    let tokens = dataset.number("/splits/train/tokens") + dataset.number("/splits/val/tokens");
    assert_eq!(found["rows"][0][0], json!(dataset.number("/ledger/kept")));
    assert_eq!(found["rows"][0][1], json!(tokens));
    let by_rule = ask("SELECT stage, count(*) AS n FROM rejects GROUP BY stage ORDER BY stage");
    assert_eq!(by_rule["rows"], json!([["dedup", 8], ["filter", 7], ["read", 16]]));
    pipeline(args!["sql", &out, "SELECT colour FROM documents"]).code_is(1).says("colour").says("perplexity");
}

#[test]
fn what_if_agrees_with_a_run_under_the_other_condition() {
    let dir = temp_dir();
    let out = example_dataset(dir.path());
    let other = "perplexity < 1000 AND lang_score >= 0.5";
    let ask = |condition: &str, more: &[&str]| -> Value {
        let mut arguments = args!["what-if", &out, "--where", condition, "--json"];
        arguments.extend(more.iter().map(std::ffi::OsString::from));
        serde_json::from_str(&pipeline(arguments).ok().stdout).expect("one object")
    };
    let found = ask(other, &["--sweep", "perplexity"]);
    let strict = dir.path().join("strict");
    let arguments = args![
        "run",
        example(),
        "--config",
        example_config(),
        "--where",
        other,
        "--tokenizer",
        tokenizer(),
        "--out",
        &strict
    ];
    pipeline(arguments).ok();
    let strict = Dataset::open(&strict);
    let tokens = strict.number("/splits/train/tokens") + strict.number("/splits/val/tokens");
    assert_eq!(found["kept"], json!({"documents": strict.number("/ledger/kept"), "tokens": tokens}));
    assert_eq!(found["back"]["documents"], json!(0));
    let points = found["sweep"].as_array().unwrap();
    assert_eq!(points.last().unwrap()["up_to"]["documents"], found["kept"]["documents"]);
    let looser = ask("perplexity < 1000000", &[]);
    assert!(looser["back"]["documents"].as_u64().unwrap() > 0 && looser["back"]["tokens"].as_u64().unwrap() > 0);
}

#[test]
fn diff_tells_what_another_condition_changed() {
    let dir = temp_dir();
    let out = example_dataset(dir.path());
    pipeline(args!["diff", &out, &out]).ok().says("no difference");
    let strict = dir.path().join("strict");
    let arguments = args![
        "run",
        example(),
        "--config",
        example_config(),
        "--where",
        "perplexity < 300",
        "--tokenizer",
        tokenizer(),
        "--out",
        &strict
    ];
    pipeline(arguments).ok();
    let said = pipeline(args!["diff", &out, &strict]).ok();
    said.says("perplexity < 300").says("are in the first alone").says("train tokens");
}
