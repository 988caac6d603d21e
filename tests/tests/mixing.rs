//! Mixing and progressive subsets, from outside. The oracle is the hash of each text and the numbers asked for.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::args;
use tests::corpus::{Noise, temp_dir, tokenizer, write};
use tests::dataset::Dataset;
use tests::program::{Ended, pipeline};
use tests::table::{self, Row};
use tests::tree::{assert_same_tree, dataset_tree};

/// Documents of three kinds and of none, in two files; one in ten a duplicate.
fn input(dir: &Path) -> std::path::PathBuf {
    let mut noise = Noise(5);
    for name in ["zh/a.jsonl", "en/b.jsonl"] {
        let mut lines = String::new();
        for id in 0..600 {
            let number = noise.below(5_000);
            let kind = match number % 8 {
                0..=3 => r#","kind":"news""#,
                4 | 5 => r#","kind":"law""#,
                6 => r#","kind":"novel""#,
                _ => "",
            };
            lines += &format!(
                "{{\"id\":\"{name}-{id}\",\"text\":\"{} number {number} 的故事\"{kind}}}\n",
                "river ".repeat(number as usize % 9)
            );
        }
        write(&dir.join("in"), name, lines.as_bytes());
    }
    dir.join("in")
}

fn go(input: &Path, out: &Path, more: &[&str]) -> Ended {
    let mut arguments = args!["run", input, "--tokenizer", tokenizer(), "--val-fraction", "0.1", "--out", out];
    arguments.extend(more.iter().map(std::ffi::OsString::from));
    pipeline(arguments)
}

fn run(input: &Path, out: &Path, more: &[&str]) -> Dataset {
    go(input, out, more).ok();
    let dataset = Dataset::open(out);
    let [lines, blank, invalid, dropped, kept] = dataset.ledger();
    assert_eq!(lines, blank + invalid + dropped + kept);
    let documents = |name: &str| dataset.number(&format!("/documents/{name}"));
    assert_eq!(documents("total"), kept + documents("repeated") + documents("generated"));
    assert_eq!(documents("total"), rows(&dataset).len() as u64);
    let rejects = table::rows(&out.join("rejects"), "").len() as u64;
    assert_eq!(rejects, invalid + dropped, "a reject row each");
    pipeline(args!["verify", out]).ok();
    dataset
}

fn rows(dataset: &Dataset) -> Vec<Row> {
    ["train", "val"].iter().flat_map(|split| table::rows(&dataset.dir.join("data"), split)).collect()
}

fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row[column].as_str().unwrap_or("null")
}

/// Copies of each id, by kind.
fn copies(dataset: &Dataset) -> BTreeMap<(String, String), Vec<i64>> {
    let mut found: BTreeMap<(String, String), Vec<i64>> = BTreeMap::new();
    for row in rows(dataset) {
        let key = (text(&row, "kind").to_owned(), text(&row, "doc_id").to_owned());
        found.entry(key).or_default().push(row["copy"].as_i64().expect("a number"));
    }
    found.values_mut().for_each(|copies| copies.sort_unstable());
    found
}

fn tokens_of(dataset: &Dataset, kind: &str) -> u64 {
    rows(dataset).iter().filter(|row| text(row, "kind") == kind).map(|row| row["n_tokens"].as_u64().unwrap()).sum()
}

fn hash(text: &str, purpose: &[u8; 8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(text.as_bytes(), u64::from_le_bytes(*purpose))
}

#[test]
fn weights_repeat_and_leave_out_by_the_hash_of_the_text() {
    let dir = temp_dir();
    let input = input(dir.path());
    let plain = run(&input, &dir.path().join("plain"), &[]);
    let weights = ["--mix-by", "kind", "--mix-weights", "news=0.25,law=2,novel=1.5,null=0"];
    let mixed = run(&input, &dir.path().join("mixed"), &weights);
    let found = copies(&mixed);
    let mut expected = 0;
    for row in rows(&plain) {
        let u = hash(text(&row, "text"), b"mix.copy") as f64 / 2_f64.powi(64);
        let times = match text(&row, "kind") {
            "news" => u32::from(u < 0.25),
            "law" => 2,
            "novel" => 1 + u32::from(u < 0.5),
            _ => 0,
        };
        let key = (text(&row, "kind").to_owned(), text(&row, "doc_id").to_owned());
        let copies: Vec<i64> = (0..i64::from(times)).collect();
        assert_eq!(found.get(&key).cloned().unwrap_or_default(), copies, "{key:?}");
        expected += u64::from(times);
    }
    assert_eq!(mixed.number("/documents/total"), expected);
    assert!(mixed.number("/ledger/dropped/mix/kind=null") > 50);
    assert!(mixed.number("/ledger/dropped/mix/kind=news") > 100);
    // The same documents on the same side, and each side mixed alike.
    let side = |dataset: &Dataset, split| -> Vec<String> {
        let rows = table::rows(&dataset.dir.join("data"), split);
        rows.iter().filter(|row| row["copy"] == json!(0)).map(|row| text(row, "doc_id").to_owned()).collect()
    };
    let plain_val = side(&plain, "val");
    assert!(!plain_val.is_empty() && side(&mixed, "val").iter().all(|id| plain_val.contains(id)));
    let report: Value = serde_json::from_slice(&fs::read(mixed.dir.join("report.json")).unwrap()).unwrap();
    let values = report["mix"]["values"].as_array().unwrap();
    let law = values.iter().find(|value| value["value"] == "law").unwrap();
    assert_eq!(law["before"]["tokens"], json!(tokens_of(&plain, "law")));
    assert_eq!(law["after"]["tokens"], json!(tokens_of(&mixed, "law")));
    assert!(report["mix"]["entropy_bits_after"].as_f64() < report["mix"]["entropy_bits_before"].as_f64());
}

#[test]
fn copies_come_after_the_documents_they_repeat() {
    let dir = temp_dir();
    let mixed = run(&input(dir.path()), &dir.path().join("out"), &["--mix-by", "source", "--mix-weights", "zh/*=3"]);
    let copies: Vec<i64> =
        table::rows(&mixed.dir.join("data"), "train").iter().map(|row| row["copy"].as_i64().unwrap()).collect();
    assert!(copies.is_sorted(), "all documents once, then those that occur twice again");
    assert_eq!(copies.last(), Some(&2));
}

#[test]
fn a_token_budget_is_met_to_a_document_and_never_exceeded() {
    let dir = temp_dir();
    let input = input(dir.path());
    let plain = run(&input, &dir.path().join("plain"), &[]);
    let (news, law) = (tokens_of(&plain, "news"), tokens_of(&plain, "law"));
    let tokens = format!("news={},law={},novel=100000000", news / 3, law * 5 / 2);
    let out = dir.path().join("mixed");
    go(&input, &out, &["--mix-by", "kind", "--mix-tokens", &tokens])
        .ok()
        .says("100,000,000 tokens of kind=novel are wanted");
    let mixed = Dataset::open(&out);
    for (kind, wanted) in [("news", news / 3), ("law", law * 5 / 2)] {
        let found = tokens_of(&mixed, kind);
        assert!(found <= wanted && found + 200 > wanted, "{kind}: {found} of {wanted}");
    }
    assert_eq!(tokens_of(&mixed, "novel"), 16 * tokens_of(&plain, "novel"), "mix.max_copies");
    assert_eq!(tokens_of(&mixed, "null"), tokens_of(&plain, "null"), "not named: all there are");
}

#[test]
fn shares_repeat_nothing_and_have_the_ratio_asked_for() {
    let dir = temp_dir();
    let mixed = run(&input(dir.path()), &dir.path().join("out"), &["--mix-by", "kind", "--mix-shares", "law=1,news=1"]);
    let (news, law) = (tokens_of(&mixed, "news") as f64, tokens_of(&mixed, "law") as f64);
    assert!((news / law - 1.0).abs() < 0.02, "{news} and {law}");
    assert_eq!((mixed.number("/documents/repeated"), tokens_of(&mixed, "novel")), (0, 0));
}

#[test]
fn threads_memory_and_tasks_leave_no_trace() {
    let dir = temp_dir();
    let input = input(dir.path());
    for (name, more) in [
        ("weights", &["--mix-by", "kind", "--mix-weights", "news=0.5,law=2.5"][..]),
        ("tokens", &["--mix-by", "kind", "--mix-tokens", "news=3000,law=9000", "--subset", "0.3", "--shuffle"]),
    ] {
        let tree = |run_name: &str, machine: &[&str]| {
            let out = dir.path().join(format!("{name}-{run_name}"));
            go(&input, &out, &[more, machine].concat()).ok();
            dataset_tree(&out)
        };
        let one = tree("one", &["--threads", "1"]);
        assert_same_tree(&one, &tree("five", &["--threads", "5"]), "five threads");
        assert_same_tree(&one, &tree("memory", &["--threads", "2", "--memory", "112MiB"]), "less memory");
    }
}

/// Each shard of a smaller subset is the beginning of the larger one's: what `trainer pretrain --grown-from` needs.
#[test]
fn a_subset_is_the_beginning_of_every_larger_one() {
    let dir = temp_dir();
    let input = input(dir.path());
    for more in
        [&["--shard-tokens", "4000"][..], &["--mix-by", "kind", "--mix-tokens", "law=20000,news=4000"], &["--shuffle"]]
    {
        let name = more[0];
        let subsets = ["0.1", "0.3", "1"].map(|subset| {
            run(&input, &dir.path().join(format!("{name}{subset}")), &[more, &["--subset", subset]].concat())
        });
        let whole = subsets[2].number("/documents/total") as f64;
        for (subset, share) in subsets.iter().zip([0.1, 0.3, 1.0]) {
            let found = subset.number("/documents/total") as f64 / whole;
            assert!((found - share).abs() < 0.05, "{found} for {share}");
        }
        for pair in subsets.windows(2) {
            let shards = pair[0].shards("train");
            for shard in &shards {
                let (small, large) =
                    (fs::read(pair[0].dir.join(shard)).unwrap(), fs::read(pair[1].dir.join(shard)).unwrap());
                assert!(!small.is_empty() && large.starts_with(&small), "{name} {shard}");
            }
        }
    }
}

#[test]
fn what_contradicts_itself_is_refused_before_work() {
    let dir = temp_dir();
    let input = input(dir.path());
    let refused = |more: &[&str]| go(&input, &dir.path().join("out"), more).code_is(2).no_panic();
    refused(&["--mix-by", "kind"]).says("nothing is asked of it");
    refused(&["--mix-weights", "law=1"]).says("the column to mix by");
    refused(&["--mix-by", "kind", "--mix-weights", "law"]).says("VALUE=NUMBER");
    refused(&["--mix-by", "kind", "--mix-weights", "law=99"]).says("mix.max_copies");
    refused(&["--subset", "0.2"]).says("expected one of 0.1, 0.3, 1");
    refused(&["--mix-by", "kind", "--mix-shares", "poem=1"]).says("kind=poem");
}
