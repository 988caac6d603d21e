//! `--against`: what an earlier dataset holds is dropped by its keys alone, and named.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tests::args;
use tests::corpus::{temp_dir, tokenizer};
use tests::dataset::Dataset;
use tests::families::{input_of, made_texts};
use tests::jaccard;
use tests::program::pipeline;
use tests::table::{self, Row};
use tests::tasks;
use tests::tree::{assert_same_tree, dataset_tree};

fn arguments(command: &str, input: &Path, out: &Path, flags: &[&str]) -> Vec<OsString> {
    let mut arguments = args![command, input, "--tokenizer", tokenizer(), "--out", out, "--val-fraction", "0.05"];
    arguments.extend(flags.iter().map(Into::into));
    arguments
}

fn run(texts: &[String], out: &Path, flags: &[&str]) {
    let input = input_of(&out.with_extension("input"), texts);
    pipeline(arguments("run", &input, out, flags)).ok();
}

/// Runs and returns the dataset's folder, without any file that holds text.
fn earlier(texts: &[String], dir: &Path, name: &str, flags: &[&str]) -> PathBuf {
    let out = dir.join(name);
    run(texts, &out, flags);
    for folder in ["data", "tokens", "rejects", "duplicates"] {
        let folder = out.join(folder);
        if folder.exists() {
            std::fs::remove_dir_all(folder).expect("a folder of the dataset goes");
        }
    }
    out
}

fn flag(path: &Path) -> &str {
    path.to_str().expect("a path that is UTF-8")
}

fn id(row: &Row) -> usize {
    row["doc_id"].as_str().and_then(|id| id.parse().ok()).expect("an id that is a number")
}

/// Every row of rejects/: the id, the rule, what decided.
fn rejects(out: &Path) -> Vec<(usize, String, String)> {
    let text = |row: &Row, column: &str| row[column].as_str().expect("a string").to_owned();
    let rows = table::rows(&out.join("rejects"), "");
    rows.iter().map(|row| (id(row), text(row, "rule"), text(row, "value"))).collect()
}

#[test]
fn exact_duplicates_of_earlier_datasets_go_and_name_the_document_there() {
    let dir = temp_dir();
    let text = |n: usize| format!("text number {n} says what it says");
    let texts = |range: std::ops::Range<usize>| range.map(text).collect::<Vec<_>>();
    let first = earlier(&texts(0..10), dir.path(), "first", &[]);
    let second = earlier(&texts(5..20), dir.path(), "second", &[]);
    let out = dir.path().join("out");
    // 0..10 is in the first, 10..20 in the second, 20..25 in none; 24 twice.
    let all: Vec<String> = (0..25).map(text).chain([text(24)]).collect();
    run(&all, &out, &["--against", flag(&first), flag(&second), "--keep", "longest"]);
    let dataset = Dataset::open(&out);
    dataset.assert_ledger();
    dataset.assert_files();
    assert_eq!((dataset.number("/ledger/dropped/dedup/exact"), dataset.number("/ledger/kept")), (21, 5));
    let value = |n: usize| if n < 10 { format!("first: {n}") } else { format!("second: {}", n - 5) };
    let expected: Vec<_> = (0..20).map(|n| (n, "exact".to_owned(), value(n))).collect();
    assert_eq!(rejects(&out)[..20], expected);
    pipeline(args!["why", &out, "13"]).ok().says("dropped by dedup: exact (second: 8)");
    // In duplicates/ each document that went has the one it went for, which is marked with its dataset.
    let members = table::rows(&out.join("duplicates"), "");
    let keepers: BTreeMap<i64, &Row> =
        members.iter().filter(|row| row["kept"] == true).map(|row| (row["cluster"].as_i64().unwrap(), row)).collect();
    let gone: Vec<&Row> = members.iter().filter(|row| row["kept"] == false).collect();
    assert_eq!((keepers.len(), gone.len()), (21, 21));
    for row in gone {
        let keeper = keepers[&row["cluster"].as_i64().unwrap()];
        let named = keeper["dataset"].as_str().map(|dataset| format!("{dataset}: {}", id(keeper)));
        let expected = (id(row) < 20).then(|| value(id(row)));
        assert_eq!(named, expected, "{row:?}");
        assert_eq!(keeper["source"], "texts.jsonl");
    }
    let config = std::fs::read_to_string(out.join("config.toml")).unwrap();
    let hash = Dataset::open(&first).manifest["manifest_hash"].as_str().unwrap().to_owned();
    assert!(config.contains(&format!("first@sha256:{hash}")), "{config}");
    assert!(!config.contains(flag(dir.path())), "no path of the machine: {config}");
}

/// Of a pair of documents the signatures agree in 126 places, each with the chance of their similarity: beyond three
/// standard errors (0.107 at 0.8) from the threshold an estimate does not miss.
#[test]
fn near_duplicates_of_an_earlier_dataset_are_those_of_brute_force() {
    let dir = temp_dir();
    let texts = made_texts(240, 23);
    let (old, new) = texts.split_at(texts.len() / 2);
    let kept_old = dir.path().join("old");
    run(old, &kept_old, &["--dedup", "minhash"]);
    let kept: BTreeSet<usize> = table::rows(&kept_old.join("data"), "").iter().map(id).collect();
    let out = dir.path().join("out");
    std::fs::remove_dir_all(kept_old.join("data")).unwrap();
    run(new, &out, &["--dedup", "minhash", "--against", flag(&kept_old)]);
    Dataset::open(&out).assert_ledger();
    let mut of_earlier = 0;
    for (gone, rule, value) in rejects(&out) {
        let Some(named) = value.strip_prefix("old: ") else { continue };
        of_earlier += 1;
        let mut words = named.split(' ');
        let there: usize = words.next().unwrap().parse().unwrap();
        assert!(kept.contains(&there), "{there} is not in the earlier dataset");
        let similarity = jaccard::similarity(&new[gone], &old[there]);
        if rule == "exact" {
            assert_eq!(new[gone], old[there]);
        } else {
            let said: f64 = words.next().unwrap().strip_prefix("similarity=").unwrap().parse().unwrap();
            assert!(
                (similarity - said).abs() < 0.15 && similarity > 0.69,
                "{gone}, {there}: {similarity}, said {said}"
            );
        }
    }
    assert!(of_earlier > 300, "{of_earlier} documents: too few to tell");
    let stayed: BTreeSet<usize> = table::rows(&out.join("data"), "").iter().map(id).collect();
    let pairs: Vec<_> = jaccard::pairs(&texts, 0.9)
        .into_iter()
        .filter(|(left, right, _)| kept.contains(left) && *right >= old.len())
        .collect();
    let missed = pairs.iter().filter(|(_, right, _)| stayed.contains(&(right - old.len()))).count();
    assert!(pairs.len() > 300, "{} pairs", pairs.len());
    assert!(missed * 100 <= pairs.len() * 2, "{missed} of {} missed", pairs.len());
}

#[test]
fn a_second_run_over_the_same_input_keeps_nothing() {
    let dir = temp_dir();
    let texts = made_texts(60, 3);
    let old = earlier(&texts, dir.path(), "old", &["--dedup", "minhash"]);
    let out = dir.path().join("out");
    run(&texts, &out, &["--dedup", "minhash", "--against", flag(&old)]);
    // What went from the first run as a near-duplicate has a match key in common with what stayed; most go for it.
    let dataset = Dataset::open(&out);
    let near = Dataset::open(&old).number("/ledger/dropped/dedup/near");
    assert!(dataset.number("/ledger/kept") * 10 <= near, "{} of {near} stayed", dataset.number("/ledger/kept"));
    assert!(dataset.number("/ledger/dropped/dedup/exact") >= Dataset::open(&old).number("/ledger/kept"));
}

#[test]
fn threads_memory_and_the_order_of_tasks_leave_no_trace() {
    let dir = temp_dir();
    let texts = made_texts(150, 9);
    let (old, new) = texts.split_at(texts.len() / 2);
    let old = earlier(old, dir.path(), "old", &["--dedup", "minhash"]);
    let folder = dir.path().join("input");
    std::fs::create_dir_all(&folder).unwrap();
    for (number, part) in new.chunks(100).enumerate() {
        let from = input_of(&dir.path().join(format!("part{number}")), part);
        std::fs::rename(from, folder.join(format!("{number:02}.jsonl"))).unwrap();
    }
    let flags = ["--dedup", "minhash", "--against", flag(&old), "--keep", "score desc"];
    let tree = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        pipeline(arguments("run", &folder, &out, &[&flags[..], more].concat())).ok();
        dataset_tree(&out)
    };
    let one = tree("one", &["--threads", "1"]);
    assert!(one.keys().any(|path| path.starts_with("keys/keys-00000-of-")), "{:?}", one.keys());
    assert_same_tree(&one, &tree("small", &["--threads", "2", "--memory", "120MiB"]), "120 MiB of memory");
    let out = dir.path().join("tasks");
    let more = ["--threads", "2", "--memory", "120MiB"];
    tasks::one_by_one(arguments("plan", &folder, &out, &[&flags[..], &more].concat()), &out);
    assert_same_tree(&one, &dataset_tree(&out), "tasks one by one, in another order");
}

#[test]
fn keys_that_cannot_be_compared_are_refused_before_work() {
    let dir = temp_dir();
    let texts = made_texts(3, 1);
    let exact = earlier(&texts, dir.path(), "exact", &[]);
    let near = earlier(&texts, dir.path(), "near", &["--dedup", "minhash"]);
    let without = earlier(&texts, dir.path(), "without", &["--no-keys"]);
    let input = input_of(dir.path(), &texts);
    let out = dir.path().join("out");
    let refused = |old: &Path, flags: &[&str], what: &str| {
        let flags = [flags, &["--against", flag(old)]].concat();
        pipeline(arguments("run", &input, &out, &flags)).code_is(2).says("--against: ").says(what);
        assert!(!out.join("run/plan.json").exists());
    };
    refused(&exact, &["--dedup", "minhash"], "expected keys of near-duplicates");
    refused(&exact, &["--normalize", "case"], "may differ in case, found nothing");
    refused(&exact, &["--dedup", "none"], "needs --dedup exact or minhash");
    refused(&without, &[], "in keys/, found 0");
    refused(&near, &["--dedup", "minhash", "--threshold", "0.7"], "18 bands of 7 rows");
    pipeline(arguments("run", &input, &out, &["--against", flag(dir.path())]))
        .says("expected a dataset, found no manifest.json");
}

#[test]
fn a_damaged_file_of_keys_is_refused_by_its_checksum() {
    let dir = temp_dir();
    let texts = made_texts(3, 1);
    let old = earlier(&texts, dir.path(), "old", &[]);
    let path = old.join("keys/keys-00000-of-00001.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let input = input_of(dir.path(), &texts);
    let out = dir.path().join("out");
    pipeline(arguments("run", &input, &out, &["--against", flag(&old)])).code_is(1).says("keys-00000-of-00001.parquet");
}
