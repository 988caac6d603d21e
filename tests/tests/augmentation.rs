//! Versions made of documents, from outside: each is marked, none is taken for text of the input.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::args;
use tests::corpus::{Noise, temp_dir, tokenizer, write};
use tests::dataset::Dataset;
use tests::program::{Ended, pipeline};
use tests::table::{self, Row};
use tests::tree::{assert_same_tree, dataset_tree};

fn input(dir: &Path) -> std::path::PathBuf {
    let mut noise = Noise(9);
    let mut lines = String::new();
    for id in 0..300 {
        let number = noise.below(2_000);
        lines += &format!(
            "{{\"id\":{id},\"text\":\"第{number}条河很长。The big river rose {number} times. 昨夜又涨了！\",\"generated_by\":\"theirs\",\"n\":{}}}\n",
            number % 3
        );
    }
    write(dir, "in.jsonl", lines.as_bytes())
}

fn config(dir: &Path, augment: &str) -> String {
    let dictionary = write(dir, "synonyms.tsv", "big\tlarge\thuge\n很长\t相当长\n".as_bytes());
    let text =
        format!("[augment]\nsynonyms = {dictionary:?}\nsynonym_fraction = 1.0\nshuffle_sentences = true\n{augment}");
    write(dir, "augment.toml", text.as_bytes()).display().to_string()
}

fn go(dir: &Path, out: &str, more: &[&str]) -> Ended {
    let mut arguments =
        args!["run", dir.join("in.jsonl"), "--tokenizer", tokenizer(), "--val-fraction", "0.2", "--out", dir.join(out)];
    arguments.extend(more.iter().map(OsString::from));
    pipeline(arguments)
}

fn rows(dataset: &Dataset, split: &str) -> Vec<Row> {
    table::rows(&dataset.dir.join("data"), split)
}

#[test]
fn versions_are_marked_measured_anew_and_counted() {
    let dir = temp_dir();
    input(dir.path());
    let config = config(dir.path(), "command = [\"sed\", 's/\"text\":\"/\"text\":\"另一种说法：/']\n");
    go(dir.path(), "out", &["--config", &config, "--measure", "n_chars"]).ok();
    let dataset = Dataset::open(&dir.path().join("out"));
    dataset.assert_files();
    pipeline(args!["verify", &dataset.dir]).ok();
    let [lines, blank, invalid, dropped, kept] = dataset.ledger();
    assert_eq!(lines, blank + invalid + dropped + kept, "versions are no lines");
    let (train, val) = (rows(&dataset, "train"), rows(&dataset, "val"));
    assert!(val.len() > 20 && val.iter().all(|row| row["generated_by"].is_null() && row["copy"] == json!(0)));
    let originals: Vec<&Row> = train.iter().filter(|row| row["generated_by"].is_null()).collect();
    assert_eq!((originals.len() + val.len()) as u64, kept);
    assert_eq!(dataset.number("/documents/generated"), (train.len() - originals.len()) as u64);
    let version = |row: &Row, name: &str| {
        let same = |other: &&Row| other["doc_id"] == row["doc_id"] && other["generated_by"] == name;
        train.iter().find(same)
    };
    let mut shuffled = 0;
    for row in &originals {
        let text = row["text"].as_str().unwrap();
        let synonyms = version(row, "synonyms").expect("every text has a word of the dictionary");
        assert!(
            ["large", "huge"]
                .iter()
                .any(|word| synonyms["text"] == text.replace("big", word).replace("很长", "相当长"))
        );
        let command = version(row, "command").expect("a version");
        assert_eq!(command["text"], json!(format!("另一种说法：{text}")));
        shuffled += u64::from(version(row, "sentences").is_some());
        for (version, copy) in [(synonyms, 1), (command, 3)] {
            assert_eq!((&version["copy"], &version["line"], &version["n"]), (&json!(copy), &row["line"], &row["n"]));
            assert_eq!(version["n_chars"], json!(version["text"].as_str().unwrap().chars().count()));
            assert_eq!(version["source_generated_by"], json!("theirs"), "the source's column of that name gave way");
        }
    }
    assert!(shuffled > originals.len() as u64 / 2 && shuffled < originals.len() as u64);
    let report: Value = serde_json::from_slice(&fs::read(dataset.dir.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["documents"]["generated"], json!(dataset.number("/documents/generated")));
}

#[test]
fn versions_are_mixed_like_documents_and_leave_no_trace_of_threads() {
    let dir = temp_dir();
    input(dir.path());
    let config = config(dir.path(), "");
    let tree = |name: &str, threads: &str| {
        let mix = ["--mix-by", "n", "--mix-weights", "0=0,1=2", "--subset", "1", "--shuffle"];
        go(dir.path(), name, &[&["--config", &config, "--threads", threads][..], &mix].concat()).ok();
        dataset_tree(&dir.path().join(name))
    };
    assert_same_tree(&tree("one", "1"), &tree("four", "4"), "four threads");
    let dataset = Dataset::open(&dir.path().join("one"));
    pipeline(args!["verify", &dataset.dir]).ok();
    let train = rows(&dataset, "train");
    assert!(train.iter().all(|row| row["n"] != json!(0)));
    let mut numbers: Vec<(String, i64)> =
        train.iter().map(|row| (row["doc_id"].to_string(), row["copy"].as_i64().unwrap())).collect();
    numbers.sort();
    assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "each copy and version has a number of its own");
    let rejects = table::rows(&dataset.dir.join("rejects"), "").len() as u64;
    assert_eq!(rejects, dataset.ledger()[3], "versions left out are no rejects");
}

#[test]
fn a_command_that_does_not_do_what_it_should_is_told_by_name() {
    let dir = temp_dir();
    input(dir.path());
    for (command, message) in [
        ("[\"absent-program-of-this-test\"]", "absent-program"),
        ("[\"true\"]", "found the end"),
        ("[\"head\", \"-n\", \"3\"]", "in line 4"),
        ("[\"sed\", \"s/in.jsonl/other/\"]", "expected the answer for in.jsonl@"),
        ("[\"yes\", \"no JSON\"]", "no JSON"),
        ("[\"sh\", \"-c\", \"cat; exit 3\"]", "exit status: 3"),
        ("[\"sh\", \"-c\", \"cat; echo {}\"]", "more than an answer"),
    ] {
        let config = config(dir.path(), &format!("command = {command}\n"));
        go(dir.path(), "out", &["--config", &config]).code_is(1).no_panic().says(message);
        fs::remove_dir_all(dir.path().join("out")).unwrap();
    }
    let config = write(dir.path(), "c.toml", b"[augment]\nsynonyms = \"in.jsonl\"\n").display().to_string();
    go(dir.path(), "out", &["--config", &config]).code_is(2);
}
