//! Every file of `tests/badinputs` has the fate that `EXPECTED.tsv` gives it; and JSONTestSuite.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use pipeline::read::{Options, Reader, inputs, json::Parser};
use pipeline::record::Records;
use schemas::config::Read;

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
struct Fate {
    kept: Vec<String>,
    dropped: String,
    invalid: String,
    blank: u64,
    lines: u64,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/badinputs")
}

fn expected() -> Vec<(String, Fate)> {
    let table = fs::read_to_string(folder().join("EXPECTED.tsv")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let fate = Fate {
            kept: ids(cells[1]),
            dropped: cells[2].to_owned(),
            invalid: cells[3].to_owned(),
            blank: cells[4].parse().unwrap(),
            lines: cells[5].parse().unwrap(),
        };
        (cells[0].to_owned(), fate)
    };
    table.lines().skip(1).map(row).collect()
}

fn ids(cell: &str) -> Vec<String> {
    let range = |part: &str| match part.split_once('-') {
        Some((first, last)) => {
            let (first, last): (u32, u32) = (first.parse().unwrap(), last.parse().unwrap());
            (first..=last).map(|id| id.to_string()).collect()
        }
        None => vec![part.to_owned()],
    };
    if cell == "-" { Vec::new() } else { cell.split(',').flat_map(range).collect() }
}

/// Files that are too large to carry.
fn make(name: &str, path: &Path) {
    let good = |id: u32| format!("{{\"text\": \"a good line {id}\", \"id\": {id}}}\n");
    let around = |line: String| format!("{}{}{line}\n{}{}", good(0), good(1), good(100), good(101));
    match name {
        "43_deep_unclosed_100k.jsonl" => {
            let deep = format!("{{\"text\":\"deep\",\"id\":50,\"x\":{}", "[{\"a\":".repeat(50_000));
            fs::write(path, around(deep)).unwrap();
        }
        "45_many_keys_50k.jsonl" => {
            let keys: String = (0..50_000).map(|key| format!(",\"k{key}\":{key}")).collect();
            fs::write(path, around(format!("{{\"text\":\"keys\",\"id\":50{keys}}}"))).unwrap();
        }
        "65_gzip_bomb_1GiB_spaces.jsonl.gz" => {
            let mut bomb = GzEncoder::new(fs::File::create(path).unwrap(), Compression::fast());
            let spaces = vec![b' '; 1 << 20];
            (0..1024).for_each(|_| bomb.write_all(&spaces).unwrap());
            bomb.finish().unwrap();
        }
        other => panic!("no such file: {other}"),
    }
}

fn fate(path: &Path) -> Fate {
    let options = Options::from_config(&Read::default()).unwrap();
    let input = inputs::expand(&[path.display().to_string()], path).unwrap().remove(0);
    let mut fate = Fate { kept: Vec::new(), dropped: "-".to_owned(), invalid: String::new(), blank: 0, lines: 0 };
    let (mut empty, mut invalid) = (0, BTreeMap::new());
    for part in input.parts(0, u64::MAX) {
        let mut reader = Reader::open(&input, &part, &options).unwrap();
        while let Some(block) = reader.next_block().unwrap() {
            let records = block.parse(&options);
            fate.blank += records.blank;
            fate.lines += records.lines;
            records.invalid.iter().for_each(|damaged| *invalid.entry(damaged.rule.name()).or_insert(0) += 1);
            for document in &records.documents {
                match records.str(document.text) {
                    "" => empty += 1,
                    _ => fate.kept.push(id(&records, document)),
                }
            }
        }
        assert_eq!(reader.finish().unwrap().lines, fate.lines);
    }
    if empty > 0 {
        fate.dropped = format!("clean/empty={empty}");
    }
    let invalid: Vec<String> = invalid.iter().map(|(rule, count)| format!("{rule}={count}")).collect();
    fate.invalid = if invalid.is_empty() { "-".to_owned() } else { invalid.join(",") };
    fate
}

fn id(records: &Records, document: &pipeline::record::Document) -> String {
    let fields = records.fields_of(document);
    let id = fields.iter().find(|field| records.names[field.name as usize] == "id").unwrap();
    records.str(id.value).to_owned()
}

#[test]
fn every_bad_input_has_its_expected_fate() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, expected) in expected() {
        let mut path = folder().join(&name);
        if !path.exists() {
            path = scratch.path().join(&name);
            make(&name, &path);
        }
        assert_eq!(fate(&path), expected, "{name}");
    }
}

#[test]
fn every_carried_file_is_in_the_table() {
    let listed: Vec<String> = expected().into_iter().map(|(name, _)| name).collect();
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(listed.contains(&name) || name == "EXPECTED.tsv" || name == "README.md", "{name}");
    }
}

#[test]
fn the_ledger_adds_up_on_every_file() {
    for (name, fate) in expected() {
        let counts = |cell: &str| -> u64 {
            cell.split(',')
                .filter_map(|part| part.split_once('='))
                .map(|(_, count)| count.parse::<u64>().unwrap())
                .sum()
        };
        let sum = fate.kept.len() as u64 + counts(&fate.dropped) + counts(&fate.invalid) + fate.blank;
        assert_eq!(fate.lines, sum, "{name}");
    }
}

fn corpora() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    std::env::var_os("SHARDMILL_CORPORA").map_or(default, PathBuf::from)
}

/// A value of the suite as a field of a line.
fn accepts(value: &[u8]) -> bool {
    let options = Options::from_config(&Read { max_depth: 1 << 20, ..Read::default() }).unwrap();
    let line = [b"{\"text\":\"\",\"x\":", value, b"}"].concat();
    std::str::from_utf8(&line).is_ok() && Parser::new(&options).object(&line, &mut Records::default()).is_ok()
}

#[test]
#[ignore = "needs JSONTestSuite from SHARDMILL_CORPORA/badinputs"]
fn json_test_suite_is_accepted_and_refused_as_it_says() {
    let suite = corpora().join("badinputs/JSONTestSuite/test_parsing");
    // The suite accepts duplicate keys, which are faults here.
    let stricter = ["y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"];
    let mut seen = (0, 0);
    for entry in fs::read_dir(suite).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let accepted = accepts(&fs::read(&path).unwrap());
        match name.as_bytes()[0] {
            b'y' => {
                seen.0 += 1;
                assert_eq!(accepted, !stricter.contains(&name.as_str()), "{name}");
            }
            b'n' => {
                seen.1 += 1;
                assert!(!accepted, "{name}");
            }
            _ => {}
        }
    }
    assert!(seen.0 > 0 && seen.1 > 0);
}

#[test]
#[ignore = "needs SHARDMILL_CORPORA/badinputs/made"]
fn the_original_large_files_have_the_fate_of_those_made_here() {
    let made = corpora().join("badinputs/made");
    for (name, expected) in expected() {
        assert_eq!(fate(&made.join(&name)), expected, "{name}");
    }
}
