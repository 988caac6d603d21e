//! `--decontaminate`: documents that hold a passage of a benchmark go, and say which.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::path::Path;

use serde_json::json;
use tests::args;
use tests::corpus::{Noise, temp_dir, tokenizer, write};
use tests::dataset::Dataset;
use tests::families::input_of;
use tests::jaccard::units;
use tests::program::pipeline;
use tests::table;
use tests::tree::{assert_same_tree, dataset_tree};

const NGRAM: usize = 13;

fn words(noise: &mut Noise, count: u64, chinese: bool) -> Vec<String> {
    let word = |n: u64| match chinese {
        true => char::from_u32(0x4E00 + n as u32).expect("a Han character").to_string(),
        false => format!("w{n}"),
    };
    (0..count).map(|_| word(noise.below(3_000))).collect()
}

/// Strings of benchmark records, and texts of which some hold 12, some 13 units of one.
fn made() -> (Vec<String>, Vec<String>) {
    let mut noise = Noise(4);
    let (mut benchmarks, mut texts) = (Vec::new(), Vec::new());
    for number in 0..120 {
        let chinese = number % 2 == 0;
        let (length, glue) = (5 + noise.below(40), if chinese { "" } else { " " });
        let question = words(&mut noise, length, chinese);
        let mut text = words(&mut noise, 60, chinese);
        let taken = (question.len()).min(12 + (number % 3) as usize);
        let from = noise.below((question.len() - taken + 1) as u64) as usize;
        text.splice(20..20, question[from..from + taken].iter().cloned());
        benchmarks.push(question.join(glue));
        // The text has it in other case and with other marks between.
        texts.push(if chinese { text.join("，") } else { text.join(", ").to_uppercase() });
    }
    (benchmarks, texts)
}

/// Documents that share a run of 13 units with a benchmark, by comparing strings.
fn brute_force(benchmarks: &[String], texts: &[String]) -> BTreeSet<usize> {
    let runs = |text: &String| units(text).windows(NGRAM).map(<[String]>::to_vec).collect::<Vec<_>>();
    let known: HashSet<Vec<String>> = benchmarks.iter().flat_map(runs).collect();
    let hit = |text: &&String| runs(text).iter().any(|run| known.contains(run));
    texts.iter().enumerate().filter(|(_, text)| hit(text)).map(|(id, _)| id).collect()
}

/// Two files: strings in fields, and nested in arrays and objects.
fn write_benchmarks(dir: &Path, strings: &[String]) -> [std::path::PathBuf; 2] {
    let (mut flat, mut nested) = (String::new(), String::new());
    for (number, text) in strings.iter().enumerate() {
        match number % 2 {
            0 => flat += &format!("{}\n", json!({"question": text, "answer": "yes", "n": number})),
            _ => nested += &format!("{}\n", json!({"task": {"choices": ["no", text]}})),
        }
    }
    [write(dir, "flat.jsonl", flat.as_bytes()), write(dir, "nested.jsonl", nested.as_bytes())]
}

fn arguments(input: &Path, out: &Path, benchmarks: &[std::path::PathBuf], flags: &[&str]) -> Vec<OsString> {
    let mut arguments = args!["run", input, "--tokenizer", tokenizer(), "--out", out, "--decontaminate"];
    arguments.extend(benchmarks.iter().map(OsString::from));
    arguments.extend(flags.iter().map(OsString::from));
    arguments
}

#[test]
fn documents_with_a_passage_of_a_benchmark_are_those_of_brute_force() {
    let dir = temp_dir();
    let (strings, texts) = made();
    let files = write_benchmarks(dir.path(), &strings);
    let input = input_of(dir.path(), &texts);
    let out = dir.path().join("out");
    let said = pipeline(arguments(&input, &out, &files, &["--threads", "2"])).ok();
    said.says("records have no string of 13 units");
    let dataset = Dataset::open(&out);
    dataset.assert_ledger();
    dataset.assert_files();
    let rejects = table::rows(&out.join("rejects"), "");
    let gone: BTreeSet<usize> = rejects.iter().map(|row| row["doc_id"].as_str().unwrap().parse().unwrap()).collect();
    let expected = brute_force(&strings, &texts);
    assert!((20..100).contains(&expected.len()), "{} documents", expected.len());
    assert_eq!(gone, expected);
    for row in &rejects {
        assert_eq!(row["stage"], "decontaminate");
        let id: usize = row["doc_id"].as_str().unwrap().parse().unwrap();
        assert_eq!(row["rule"], if id.is_multiple_of(2) { "flat.jsonl" } else { "nested.jsonl" });
        // `line 3, bytes 10..90: "..."`: those bytes hold the passage and nothing around it.
        let value = row["value"].as_str().unwrap();
        assert!(value.starts_with(&format!("line {}, bytes ", id / 2 + 1)), "{id}: {value}");
        let (from, to) = value.split(['s', ':']).nth(1).unwrap().trim().split_once("..").unwrap();
        let passage = &texts[id][from.parse().unwrap()..to.parse().unwrap()];
        assert!((NGRAM..=NGRAM + 1).contains(&units(passage).len()), "{passage}");
        assert!(units(&strings[id]).windows(units(passage).len()).any(|run| run == units(passage)), "{passage}");
    }
    pipeline(args!["why", &out, expected.first().unwrap().to_string()]).ok().says("dropped by decontaminate: ");
}

#[test]
fn threads_leave_no_trace_and_the_benchmarks_stand_in_the_configuration() {
    let dir = temp_dir();
    let (strings, texts) = made();
    let files = write_benchmarks(dir.path(), &strings);
    let input = input_of(dir.path(), &texts);
    let tree = |name: &str, threads: &str| {
        let out = dir.path().join(name);
        pipeline(arguments(&input, &out, &files, &["--threads", threads])).ok();
        dataset_tree(&out)
    };
    let one = tree("one", "1");
    assert_same_tree(&one, &tree("three", "3"), "three threads");
    let config = String::from_utf8(one["config.toml"].clone()).unwrap();
    assert!(config.contains("flat.jsonl@sha256:") && !config.contains(dir.path().to_str().unwrap()), "{config}");
}

#[test]
fn benchmarks_that_cannot_be_looked_for_are_refused_before_work() {
    let dir = temp_dir();
    let input = input_of(dir.path(), &["text".to_owned()]);
    let out = dir.path().join("out");
    let broken = write(dir.path(), "broken.jsonl", b"{\"question\": \"one\"}\n{\"question\n");
    let refused = |file: &Path, flags: &[&str], what: &str| {
        pipeline(arguments(&input, &out, &[file.to_owned()], flags)).says(what).code_is(2);
        assert!(!out.join("run/plan.json").exists());
    };
    refused(&broken, &[], "broken.jsonl:2: json_syntax");
    refused(&input, &["--ngram", "2"], "--ngram: expected 4 to 64 units, found 2");
    refused(&dir.path().join("absent.jsonl"), &[], "absent.jsonl");
}
