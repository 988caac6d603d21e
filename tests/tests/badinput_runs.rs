//! Every one-fault file of `tests/badinputs` through the whole of `pipeline run`: the fate its table says, the exit
//! code that follows, a ledger that balances, and a reject for every line that was not kept.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tests::args;
use tests::corpus::{root, temp_dir, tokenizer, write};
use tests::dataset::Dataset;
use tests::program::pipeline;
use tests::table;

/// A row of `EXPECTED.tsv`.
struct Expected {
    file: String,
    kept: Vec<String>,
    dropped: String,
    invalid: String,
    blank: u64,
    lines: u64,
}

fn expected() -> Vec<Expected> {
    let table = fs::read_to_string(root().join("tests/badinputs/EXPECTED.tsv")).expect("the table");
    let rows: Vec<Expected> = table.lines().skip(1).map(row).collect();
    assert!(rows.len() > 40, "{} rows", rows.len());
    rows
}

fn row(line: &str) -> Expected {
    let fields: Vec<&str> = line.split('\t').collect();
    let [file, kept, dropped, invalid, blank, lines] = fields[..] else { panic!("{line}") };
    let number = |text: &str| text.parse::<u64>().expect("a count");
    let list = |text: &str| if text == "-" { String::new() } else { text.to_owned() };
    let (file, dropped, invalid) = (file.to_owned(), list(dropped), list(invalid));
    Expected { file, kept: ids(&list(kept)), dropped, invalid, blank: number(blank), lines: number(lines) }
}

/// `0-2,7` as `0 1 2 7`.
fn ids(list: &str) -> Vec<String> {
    let range = |item: &str| match item.split_once('-').map(|(from, to)| (from.parse::<u64>(), to.parse::<u64>())) {
        Some((Ok(from), Ok(to))) => (from..=to).map(|id| id.to_string()).collect(),
        _ => vec![item.to_owned()],
    };
    list.split(',').filter(|item| !item.is_empty()).flat_map(range).collect()
}

/// The input: carried with the tests, or made here where it is too large to carry.
fn input(name: &str, dir: &Path) -> PathBuf {
    let carried = root().join("tests/badinputs").join(name);
    if carried.exists() {
        return carried;
    }
    let good = |id: u32| format!("{{\"text\": \"a good line {id}\", \"id\": {id}}}\n");
    let around = |line: String| format!("{}{}{line}\n{}{}", good(0), good(1), good(100), good(101)).into_bytes();
    let bytes = match name {
        "43_deep_unclosed_100k.jsonl" => {
            around(format!("{{\"text\":\"deep\",\"id\":50,\"x\":{}", "[{\"a\":".repeat(50_000)))
        }
        "45_many_keys_50k.jsonl" => {
            let keys: String = (0..50_000).map(|key| format!(",\"k{key}\":{key}")).collect();
            around(format!("{{\"text\":\"keys\",\"id\":50{keys}}}"))
        }
        "65_gzip_bomb_1GiB_spaces.jsonl.gz" => gibibyte_of_spaces(),
        other => panic!("{other} is neither carried nor made"),
    };
    write(dir, name, &bytes)
}

fn gibibyte_of_spaces() -> Vec<u8> {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    let spaces = vec![b' '; 1 << 20];
    (0..1024).for_each(|_| bomb.write_all(&spaces).expect("gzip"));
    bomb.finish().expect("gzip")
}

/// `{"a": {"b": 1}}` as `a/b=1`.
fn counts(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Object(map) => map
            .iter()
            .flat_map(|(name, value)| {
                counts(value, &if path.is_empty() { name.clone() } else { format!("{path}/{name}") })
            })
            .collect(),
        count => vec![format!("{path}={count}")],
    }
}

fn check(expected: &Expected) {
    let dir = temp_dir();
    let (path, out) = (input(&expected.file, dir.path()), dir.path().join("out"));
    let flags = args!["--dedup", "none", "--val-fraction", "0", "--memory", "1GiB"];
    let mut arguments = args!["run", &path, "--tokenizer", tokenizer(), "--out", &out];
    arguments.extend(flags);
    let damaged = expected.invalid.contains("stream_");
    let ended = pipeline(arguments).no_panic().code_is(if damaged { 3 } else { 0 });
    let dataset = Dataset::open(&out);
    let what = format!("{}\n{ended}\n{:#}", expected.file, dataset.manifest["ledger"]);
    dataset.assert_ledger();
    dataset.assert_files();
    assert_eq!(dataset.manifest["complete"], Value::Bool(!damaged), "{what}");
    assert_eq!(dataset.number("/ledger/lines"), expected.lines, "{what}");
    assert_eq!(dataset.number("/ledger/blank"), expected.blank, "{what}");
    assert_eq!(counts(&dataset.manifest["ledger"]["invalid"], "").join(","), expected.invalid, "{what}");
    assert_eq!(counts(&dataset.manifest["ledger"]["dropped"], "").join(","), expected.dropped, "{what}");
    let rows = table::rows(&out.join("data"), "train");
    let kept: Vec<&str> = rows.iter().filter_map(|row| row["doc_id"].as_str()).collect();
    assert_eq!(kept, expected.kept, "{what}");
    let rejected = table::rows(&out.join("rejects"), "").len() as u64;
    assert_eq!(rejected, expected.lines - expected.blank - expected.kept.len() as u64, "{what}");
}

#[test]
fn every_one_fault_file_has_its_fate() {
    expected().iter().for_each(check);
}
