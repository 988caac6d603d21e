//! JSONTestSuite, each case as the value of a field in a line of its own: what must be accepted is kept, what must be
//! refused costs that line alone, and every line is counted.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::json;
use tests::args;
use tests::corpus::{corpora, temp_dir, tokenizer, write};
use tests::dataset::Dataset;
use tests::program::pipeline;
use tests::table;

/// Cases whose names begin with `prefix`, as names and bytes; those with a line end cannot stand on one line.
fn cases(prefix: &str) -> Vec<(String, Vec<u8>)> {
    let folder = corpora().join("badinputs/JSONTestSuite/test_parsing");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |path: &Path| {
        (path.file_stem().expect("a name").to_string_lossy().into_owned(), fs::read(path).expect("a case"))
    };
    let mut cases: Vec<_> = entries.map(|entry| read(&entry.expect("an entry").path())).collect();
    cases.retain(|(name, bytes)| name.starts_with(prefix) && !bytes.contains(&b'\n') && !bytes.contains(&b'\r'));
    cases.sort();
    assert!(cases.len() > 20, "{} cases", cases.len());
    cases
}

/// Runs lines `{"text": NAME, "value": CASE}` and returns the names of the cases that were kept.
fn kept(cases: &[(String, Vec<u8>)]) -> BTreeSet<String> {
    let dir = temp_dir();
    let mut lines = Vec::new();
    for (name, bytes) in cases {
        lines.extend_from_slice(format!("{{\"text\": \"{name}\", \"value\": ").as_bytes());
        lines.extend_from_slice(bytes);
        lines.extend_from_slice(b"}\n");
    }
    let input = write(dir.path(), "cases.jsonl", &lines);
    let out = dir.path().join("out");
    pipeline(args!["run", input, "--tokenizer", tokenizer(), "--out", &out, "--val-fraction", "0"]).ok();
    let dataset = Dataset::open(&out);
    dataset.assert_ledger();
    assert_eq!(dataset.number("/ledger/lines"), cases.len() as u64);
    let rejects = table::rows(&out.join("rejects"), "");
    assert_eq!(rejects.len() as u64, dataset.number("/ledger/lines") - dataset.number("/ledger/kept"));
    let rows = table::rows(&out.join("data"), "");
    rows.iter().map(|row| row["text"].as_str().expect("text").to_owned()).collect()
}

#[test]
#[ignore = "needs SHARDMILL_CORPORA"]
fn what_must_be_accepted_is_kept_but_for_duplicate_keys() {
    let cases = cases("y_");
    let kept = kept(&cases);
    let refused: Vec<&str> = cases.iter().map(|(name, _)| name.as_str()).filter(|name| !kept.contains(*name)).collect();
    assert_eq!(json!(refused), json!(["y_object_duplicated_key", "y_object_duplicated_key_and_value"]));
}

#[test]
#[ignore = "needs SHARDMILL_CORPORA"]
fn what_must_be_refused_costs_its_line() {
    assert_eq!(kept(&cases("n_")), BTreeSet::new());
}

#[test]
#[ignore = "needs SHARDMILL_CORPORA"]
fn what_parsers_may_decide_is_decided_and_counted() {
    let kept = kept(&cases("i_"));
    // Numbers that no float holds and text that is no Unicode are refused; large integers stay exact.
    assert!(kept.contains("i_number_too_big_pos_int") && kept.contains("i_number_too_big_neg_int"), "{kept:?}");
    assert!(!kept.contains("i_number_huge_exp"), "{kept:?}");
    assert!(!kept.iter().any(|name| name.contains("surrogate") || name.contains("invalid")), "{kept:?}");
}
