//! `--dedup minhash`: against brute force, and the same whatever the machine does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tests::args;
use tests::corpus::{corpora, temp_dir, tokenizer};
use tests::dataset::Dataset;
use tests::families::{input_of, made_texts};
use tests::jaccard;
use tests::program::pipeline;
use tests::table::{self, Row};
use tests::tasks;
use tests::tree::{assert_same_tree, dataset_tree};

const THRESHOLD: f64 = 0.8;

/// Runs with `--dedup minhash` and returns the dataset's folder.
fn run(input: &Path, dir: &Path, flags: &[&str]) -> PathBuf {
    let out = dir.join("out");
    let mut arguments =
        args!["run", input, "--tokenizer", tokenizer(), "--out", &out, "--dedup", "minhash", "--val-fraction", "0.05"];
    arguments.extend(flags.iter().map(Into::into));
    pipeline(arguments).ok();
    out
}

fn id(row: &Row) -> usize {
    row["doc_id"].as_str().and_then(|id| id.parse().ok()).expect("an id that is a number")
}

/// What a run made of texts.
struct Outcome {
    kept: BTreeSet<usize>,
    /// Dropped document, kept document, similarity, rule.
    dropped: Vec<(usize, usize, f64, String)>,
}

impl Outcome {
    fn read(out: &Path) -> Outcome {
        let dataset = Dataset::open(out);
        dataset.assert_ledger();
        dataset.assert_files();
        let members = table::rows(&out.join("duplicates"), "");
        let keepers: BTreeMap<i64, usize> =
            members.iter().filter(|row| row["kept"] == true).map(|row| (cluster(row), id(row))).collect();
        let gone = members.iter().filter(|row| row["kept"] == false);
        let dropped = gone.map(|row| {
            let similarity = row["similarity"].as_f64().expect("a similarity");
            (id(row), keepers[&cluster(row)], similarity, row["rule"].as_str().expect("a rule").to_owned())
        });
        let outcome =
            Outcome { kept: table::rows(&out.join("data"), "").iter().map(id).collect(), dropped: dropped.collect() };
        let rule = |rule: &str| outcome.dropped.iter().filter(|(.., of)| of == rule).count() as u64;
        let counted = |rule: &str| dataset.manifest["ledger"]["dropped"]["dedup"][rule].as_u64().unwrap_or_default();
        assert_eq!((rule("exact"), rule("near")), (counted("exact"), counted("near")), "duplicates/ and the ledger");
        outcome
    }

    /// Share of the pairs of which at least one document went.
    fn recall(&self, pairs: &[jaccard::Pair]) -> f64 {
        let missed = pairs.iter().filter(|(left, right, _)| self.kept.contains(left) && self.kept.contains(right));
        1.0 - missed.count() as f64 / pairs.len().max(1) as f64
    }

    /// Every dropped document is as similar to a kept one as it says, and enough.
    fn assert_precise(&self, texts: &[String]) {
        for (gone, keeper, similarity, rule) in &self.dropped {
            assert!(self.kept.contains(keeper), "{gone} went for {keeper}, which is not there");
            let expected = jaccard::similarity(&texts[*gone], &texts[*keeper]);
            if rule == "near" {
                assert_eq!(*similarity, expected, "{gone} and {keeper}");
                assert!(expected >= THRESHOLD, "{gone} and {keeper}: {expected}");
            } else {
                assert_eq!(texts[*gone], texts[*keeper]);
            }
        }
    }
}

fn cluster(row: &Row) -> i64 {
    row["cluster"].as_i64().expect("a cluster")
}

#[test]
fn near_duplicates_are_those_of_brute_force() {
    let dir = temp_dir();
    let texts = made_texts(240, 11);
    let outcome = Outcome::read(&run(&input_of(dir.path(), &texts), dir.path(), &[]));
    outcome.assert_precise(&texts);
    let pairs = jaccard::pairs(&texts, THRESHOLD);
    assert!(pairs.len() > 1_000, "{} pairs: too few to tell", pairs.len());
    let recall = outcome.recall(&pairs);
    assert!(recall >= 0.98, "recall {recall} over {} pairs", pairs.len());
    assert!(outcome.dropped.iter().filter(|(.., rule)| rule == "near").count() > 300);
}

/// The first of each set of texts that pairs link, near or far, among those without an equal text before them.
fn component_firsts(texts: &[String], pairs: &[jaccard::Pair]) -> BTreeMap<usize, usize> {
    let mut first: Vec<usize> = (0..texts.len()).collect();
    loop {
        let before = first.clone();
        for (left, right, _) in pairs {
            let least = first[*left].min(first[*right]);
            (first[*left], first[*right]) = (least, least);
        }
        if first == before {
            return (0..texts.len()).zip(first).collect();
        }
    }
}

#[test]
fn components_are_those_of_brute_force_over_the_pairs_that_were_confirmed() {
    let dir = temp_dir();
    // Families in files of their own pieces, so that components lie in several chunks.
    let texts = made_texts(120, 17);
    let folder = dir.path().join("input");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (number, part) in texts.chunks(texts.len().div_ceil(6)).enumerate() {
        let mut lines = String::new();
        for (at, text) in part.iter().enumerate() {
            let id = number * texts.len().div_ceil(6) + at;
            lines += &format!("{}\n", serde_json::json!({"text": text, "id": id.to_string()}));
        }
        tests::corpus::write(&folder, &format!("{number}.jsonl"), lines.as_bytes());
    }
    let outcome = |name: &str, flags: &[&str]| {
        let out = run(&folder, &dir.path().join(name), flags);
        table::rows(&out.join("data"), "").iter().map(id).collect::<BTreeSet<usize>>()
    };
    let kept = outcome("component", &["--cluster", "component", "--threads", "2"]);
    // Every pair that bands catch is confirmed; brute force without those a band misses would keep more, never fewer.
    let pairs = jaccard::pairs(&texts, THRESHOLD);
    let firsts = component_firsts(&texts, &pairs);
    let expected: BTreeSet<usize> = firsts.values().copied().collect();
    assert!(expected.is_subset(&kept), "a document went that no pair links with a better one");
    assert!(kept.len() <= expected.len() + expected.len() / 20, "{} kept, {} components", kept.len(), expected.len());
    let star = outcome("star", &["--threads", "2"]);
    assert!(kept.is_subset(&star) && star.len() > kept.len() + 20, "{} and {}", star.len(), kept.len());
    // What went names the kept document of its own component.
    let members = table::rows(&dir.path().join("component/out/duplicates"), "");
    let keepers: BTreeMap<i64, usize> =
        members.iter().filter(|row| row["kept"] == true).map(|row| (cluster(row), id(row))).collect();
    for row in members.iter().filter(|row| row["kept"] == false) {
        let keeper = keepers[&cluster(row)];
        assert!(kept.contains(&keeper) && firsts[&keeper] == firsts[&id(row)], "{} went for {keeper}", id(row));
    }
    let dataset = Dataset::open(&dir.path().join("component/out"));
    dataset.assert_ledger();
    dataset.assert_files();
}

#[test]
fn texts_shorter_than_a_shingle_neither_vanish_nor_collide() {
    let dir = temp_dir();
    let texts = ["one two", "two one", "1 + 1", "1 - 1", "!", "?", " \t ", "好", "好的", "One  two", "的好"];
    let texts = texts.map(str::to_owned).to_vec();
    let outcome = Outcome::read(&run(&input_of(dir.path(), &texts), dir.path(), &[]));
    let gone: Vec<(usize, usize)> = outcome.dropped.iter().map(|(gone, keeper, ..)| (*gone, *keeper)).collect();
    assert_eq!(gone, [(9, 0)], "only case and space differ");
    assert_eq!(outcome.kept.len(), texts.len() - 1);
}

#[test]
fn the_keep_policy_decides_who_stays() {
    let dir = temp_dir();
    let base: Vec<String> = (0..100).map(|n| format!("w{n}")).collect();
    let texts: Vec<String> = (0..4).map(|more| format!("{}{}", base.join(" "), " and more".repeat(more))).collect();
    let input = input_of(dir.path(), &texts);
    // Scores of ids 0 to 3 are 0, 919, 838 and 757.
    for (policy, keeper) in [("first", 0), ("longest", 3), ("score desc", 1), ("score asc", 0)] {
        let folder = dir.path().join(policy.replace(' ', "_"));
        let outcome = Outcome::read(&run(&input, &folder, &["--keep", policy]));
        assert_eq!(outcome.kept, [keeper].into(), "{policy}");
        outcome.assert_precise(&texts);
    }
}

#[test]
fn a_page_repeated_with_small_changes_a_thousand_times_leaves_one() {
    let dir = temp_dir();
    let page: Vec<String> = (0..300).map(|n| format!("w{n}")).collect();
    let texts: Vec<String> = (0..1_000).map(|n| format!("{} visitor {n}", page.join(" "))).collect();
    let outcome = Outcome::read(&run(&input_of(dir.path(), &texts), dir.path(), &[]));
    assert_eq!(outcome.kept, [0].into());
}

#[test]
fn an_exact_duplicate_of_a_near_duplicate_names_a_document_that_is_kept() {
    let dir = temp_dir();
    let page: Vec<String> = (0..60).map(|n| format!("w{n}")).collect();
    let (first, second) = (page.join(" "), format!("{} end", page.join(" ")));
    let texts = [first, second.clone(), second];
    let outcome = Outcome::read(&run(&input_of(dir.path(), &texts), dir.path(), &[]));
    let rules: Vec<(usize, usize, &str)> = outcome.dropped.iter().map(|(g, k, _, r)| (*g, *k, r.as_str())).collect();
    assert_eq!(rules, [(1, 0, "near"), (2, 0, "near")]);
}

#[test]
fn why_names_the_kept_document_and_the_similarity() {
    let dir = temp_dir();
    let page: Vec<String> = (0..60).map(|n| format!("w{n}")).collect();
    let texts = [page.join(" "), format!("{} end", page.join(" "))];
    let out = run(&input_of(dir.path(), &texts), dir.path(), &[]);
    pipeline(args!["why", &out, "1"]).ok().says("dropped by dedup: near (texts.jsonl@0 similarity=0.9825)");
}

#[test]
fn explain_compares_a_dropped_document_with_the_kept_one() {
    let dir = temp_dir();
    let page: Vec<String> = (0..60).map(|n| format!("w{n}")).collect();
    let texts = [page.join(" "), format!("{} end", page.join(" "))];
    let out = run(&input_of(dir.path(), &texts), dir.path(), &[]);
    let said = pipeline(args!["explain", &out, "0", "1"]).ok();
    let said = said.says("A  0, texts.jsonl line 1: kept in").says("B  1, texts.jsonl line 2: dropped by dedup: near");
    said.says("similarity 0.9825: 56 of 57 shingles of 5 units").says("  w0 w1 w2 w3");
    pipeline(args!["explain", &out, "0", "nobody"]).code_is(1).says("no document is called nobody");
}

#[test]
fn normalised_texts_are_exact_duplicates_only_when_asked_for() {
    let dir = temp_dir();
    let texts = ["The River, rose!", "the river  rose", "ＴＨＥ river rose"].map(str::to_owned).to_vec();
    let input = input_of(dir.path(), &texts);
    let kept = |name: &str, flags: &[&str]| {
        let flags = [flags, &["--dedup", "exact", "--val-fraction", "0"]].concat();
        let out = dir.path().join(name);
        let mut arguments = args!["run", &input, "--tokenizer", tokenizer(), "--out", &out];
        arguments.extend(flags.iter().map(Into::into));
        pipeline(arguments).ok();
        Dataset::open(&out).number("/ledger/kept")
    };
    assert_eq!(kept("plain", &[]), 3);
    assert_eq!(kept("some", &["--normalize", "case,whitespace,punctuation"]), 2);
    assert_eq!(kept("all", &["--normalize", "case,whitespace,punctuation,width"]), 1);
}

/// Families whose members lie in different files, so in different tasks.
fn made_folder(dir: &Path) -> PathBuf {
    let folder = dir.join("input");
    let texts = made_texts(300, 5);
    for (number, part) in texts.chunks(texts.len().div_ceil(11)).enumerate() {
        let from = input_of(&dir.join(format!("part{number}")), part);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::rename(from, folder.join(format!("{number:02}.jsonl"))).expect("moved");
    }
    folder
}

#[test]
fn threads_memory_and_the_order_of_tasks_leave_no_trace() {
    let dir: TempDir = temp_dir();
    let input = made_folder(dir.path());
    let tree = |name: &str, flags: &[&str]| {
        let flags = [flags, &["--keep", "score desc"]].concat();
        dataset_tree(&run(&input, &dir.path().join(name), &flags))
    };
    let one = tree("one", &["--threads", "1"]);
    assert_same_tree(&one, &tree("two", &["--threads", "2"]), "two threads");
    assert_same_tree(&one, &tree("seven", &["--threads", "7"]), "seven threads");
    assert_same_tree(&one, &tree("small", &["--threads", "2", "--memory", "120MiB"]), "120 MiB of memory");
    assert_same_tree(&one, &one_by_one(&input, &dir.path().join("tasks"), &[]), "tasks one by one, in another order");
    let component = tree("component", &["--cluster", "component"]);
    let tasks = one_by_one(&input, &dir.path().join("component_tasks"), &["--cluster", "component"]);
    assert_same_tree(&component, &tasks, "components, tasks one by one");
}

/// The same run, each task a process of its own, later ranks first.
fn one_by_one(input: &Path, dir: &Path, more: &[&str]) -> tests::tree::Tree {
    let out = dir.join("out");
    let plan =
        args!["plan", input, "--tokenizer", tokenizer(), "--out", &out, "--dedup", "minhash", "--val-fraction", "0.05"];
    let flags = args!["--keep", "score desc", "--threads", "2", "--memory", "120MiB"];
    let more: Vec<_> = more.iter().map(Into::into).collect();
    tasks::one_by_one([plan, flags, more].concat(), &out);
    dataset_tree(&out)
}

/// Precision and recall over real versions of pages. `--nocapture` prints the curve of `docs/RESULTS.md`.
fn real(name: &str, keep: impl Fn(&str) -> bool) {
    let path = corpora().join("corpora").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = String::from_utf8(zstd::decode_all(&bytes[..]).expect("zstd")).expect("UTF-8");
    let text =
        |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["text"].as_str().expect("text").to_owned();
    let texts: Vec<String> = lines.lines().map(text).filter(|text| keep(text)).collect();
    let dir = temp_dir();
    let out = run(&input_of(dir.path(), &texts), dir.path(), &[]);
    let outcome = Outcome::read(&out);
    outcome.assert_precise(&texts);
    let exact: BTreeSet<usize> =
        outcome.dropped.iter().filter(|(.., rule)| rule == "exact").map(|(gone, ..)| *gone).collect();
    let pairs = jaccard::pairs(&texts, 0.5);
    println!("{name}: {} documents, {} dropped", texts.len(), outcome.dropped.len());
    for tenth in 10..20 {
        let (from, to) = (f64::from(tenth) / 20.0, f64::from(tenth + 1) / 20.0);
        let of_bin: Vec<jaccard::Pair> =
            pairs.iter().copied().filter(|(.., s)| (from..to).contains(s) || (tenth == 19 && *s == 1.0)).collect();
        println!("  {from:.2}: {:6} pairs, {:.4} resolved", of_bin.len(), outcome.recall(&of_bin));
    }
    let near: Vec<jaccard::Pair> = pairs
        .into_iter()
        .filter(|(left, right, similarity)| *similarity >= THRESHOLD && !exact.contains(left) && !exact.contains(right))
        .collect();
    let recall = outcome.recall(&near);
    println!("  recall at {THRESHOLD} and above: {recall:.4} of {} pairs", near.len());
    assert!(near.len() > 300 && recall >= 0.98, "recall {recall} over {} pairs", near.len());
}

#[test]
#[ignore = "needs SHARDMILL_CORPORA"]
fn versions_of_a_manual() {
    real("version_folders.jsonl.zst", |_| true);
}

#[test]
#[ignore = "needs SHARDMILL_CORPORA"]
fn versions_of_pages_through_history() {
    real("history_versions.jsonl.zst", |_| true);
}

#[test]
#[ignore = "needs SHARDMILL_CORPORA"]
fn versions_of_chinese_pages_alone() {
    real("history_versions.jsonl.zst", |text| {
        let han = text.chars().filter(|character| ('\u{4e00}'..='\u{9fff}').contains(character)).count();
        han * 4 > text.chars().count()
    });
}
