//! `--passages`: copies of lines, paragraphs and runs of units are those of a plain scan of the corpus, and are cut.

use std::collections::HashMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::args;
use tests::corpus::{Noise, temp_dir, tokenizer};
use tests::dataset::Dataset;
use tests::families::input_of;
use tests::program::pipeline;
use tests::table;
use tests::tasks;
use tests::tree::{assert_same_tree, dataset_tree};

/// Documents of lines and paragraphs that repeat, within a document and over documents, some of nothing else.
fn made(documents: usize) -> Vec<String> {
    let mut noise = Noise(12);
    let mut sentence = |kinds: u64| {
        let number = noise.below(kinds);
        let mut words = Noise(number + 1);
        match number % 3 {
            0 => (0..8 + words.below(9)).map(|_| char::from_u32(0x4E00 + words.below(900) as u32).unwrap()).collect(),
            1 => format!("short {number}"),
            _ => (0..9 + words.below(5)).map(|_| format!("w{}", words.below(50))).collect::<Vec<_>>().join(" "),
        }
    };
    let mut texts = Vec::new();
    for number in 0..documents {
        let kinds = if number % 9 == 8 { 12 } else { 400 };
        let lines: Vec<String> = (0..1 + number % 7).map(|_| sentence(kinds)).collect();
        texts.push(lines.join(["\n", "\n\n", " \r\n", "\n \n"][number % 4]));
    }
    texts
}

fn arguments(command: &str, input: &Path, out: &Path, flags: &[&str]) -> Vec<OsString> {
    let mut arguments = args![command, input, "--tokenizer", tokenizer(), "--out", out, "--val-fraction", "0"];
    arguments.extend(flags.iter().map(OsString::from));
    arguments
}

/// Byte ranges of the pieces of a text, and the text each is compared by; None: it is not looked at.
type Pieces = Vec<(Range<usize>, Option<String>)>;

fn looked_at(piece: &str, range: Range<usize>) -> (Range<usize>, Option<String>) {
    let trimmed = piece.trim();
    (range, (trimmed.chars().count() >= 10).then(|| trimmed.to_owned()))
}

fn lines(text: &str) -> Pieces {
    let mut at = 0;
    let line = |line: &str| {
        at += line.len();
        looked_at(line, at - line.len()..at)
    };
    text.split_inclusive('\n').map(line).collect()
}

fn paragraphs(text: &str) -> Pieces {
    let mut starts = vec![0];
    let (mut at, mut blank) = (0, false);
    for line in text.split_inclusive('\n') {
        if blank && !line.trim().is_empty() {
            starts.push(at);
        }
        blank = line.trim().is_empty();
        at += line.len();
    }
    starts.push(text.len());
    starts.windows(2).map(|ends| looked_at(&text[ends[0]..ends[1]], ends[0]..ends[1])).collect()
}

/// Runs of 12 units: words of ASCII letters and digits, and Han characters, which is all that `made` writes.
fn runs(text: &str) -> Pieces {
    let mut units: Vec<Range<usize>> = Vec::new();
    for (at, character) in text.char_indices() {
        let end = at + character.len_utf8();
        match character {
            '\u{4e00}'..='\u{9fff}' => units.push(at..end),
            c if c.is_ascii_alphanumeric() => match units.last_mut() {
                Some(word) if word.end == at && text.as_bytes()[at - 1].is_ascii() => word.end = end,
                _ => units.push(at..end),
            },
            _ => {}
        }
    }
    let key = |run: &[Range<usize>]| run.iter().map(|unit| &text[unit.clone()]).collect::<Vec<_>>().join("\u{1f}");
    units.windows(12).map(|run| (run[0].start..run[11].end, Some(key(run)))).collect()
}

/// Texts without what goes; None where nothing visible is left.
fn brute_force(
    texts: &[String],
    pieces: fn(&str) -> Pieces,
    copies: u32,
    everywhere: Option<u32>,
) -> Vec<Option<String>> {
    let mut all: HashMap<String, u32> = HashMap::new();
    texts
        .iter()
        .flat_map(|text| pieces(text))
        .filter_map(|(_, key)| key)
        .for_each(|key| *all.entry(key).or_default() += 1);
    let mut seen: HashMap<String, u32> = HashMap::new();
    let cut = |text: &String| {
        let mut keep = vec![true; text.len()];
        for (range, key) in pieces(text) {
            let Some(key) = key else { continue };
            let copy = seen.entry(key.clone()).or_default();
            if *copy >= copies || everywhere.is_some_and(|everywhere| all[&key] > everywhere) {
                keep[range].fill(false);
            }
            *copy += 1;
        }
        let left: Vec<u8> = text.bytes().zip(&keep).filter(|(_, keep)| **keep).map(|(byte, _)| byte).collect();
        let left = String::from_utf8(left).expect("cuts between characters");
        (keep.iter().all(|keep| *keep) || !left.trim().is_empty()).then_some(left)
    };
    texts.iter().map(cut).collect()
}

fn assert_brute_force(name: &str, pieces: fn(&str) -> Pieces, copies: u32, everywhere: Option<u32>, flags: &[&str]) {
    let dir = temp_dir();
    let texts = made(700);
    let out = dir.path().join("out");
    let input = input_of(dir.path(), &texts);
    let flags = [&["--passages", name, "--dedup", "none", "--threads", "2"], flags].concat();
    pipeline(arguments("run", &input, &out, &flags)).ok();
    let dataset = Dataset::open(&out);
    dataset.assert_ledger();
    dataset.assert_files();
    let expected = brute_force(&texts, pieces, copies, everywhere);
    let id = |row: &table::Row| row["doc_id"].as_str().unwrap().parse::<usize>().unwrap();
    let found: HashMap<usize, String> = table::rows(&out.join("data"), "")
        .iter()
        .map(|row| (id(row), row["text"].as_str().unwrap().to_owned()))
        .collect();
    for (number, expected) in expected.iter().enumerate() {
        assert_eq!(found.get(&number), expected.as_ref(), "{name}, document {number} of {:?}", texts[number]);
    }
    let changed = expected.iter().zip(&texts).filter(|(left, text)| left.as_ref() != Some(text)).count();
    let emptied = expected.iter().filter(|left| left.is_none()).count() as u64;
    assert!(changed > 100 && changed < 690, "{name}: {changed} documents: too few or many to tell");
    let report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["cleaned"][format!("repeated_{name}s")]["documents"], changed);
    let rejects = table::rows(&out.join("rejects"), "");
    assert_eq!(rejects.len() as u64, emptied);
    assert!(rejects.iter().all(|row| row["stage"] == "clean" && row["rule"] == "empty"));
    if emptied > 0 {
        assert_eq!(dataset.number("/ledger/dropped/clean/empty"), emptied);
    }
}

#[test]
fn lines_are_those_of_brute_force() {
    assert_brute_force("line", lines, 1, None, &["--passage-chars", "10"]);
}

#[test]
fn lines_may_stay_twice_and_boilerplate_goes_everywhere() {
    let flags = ["--passage-chars", "10", "--passage-copies", "2", "--passage-everywhere", "9"];
    assert_brute_force("line", lines, 2, Some(9), &flags);
}

#[test]
fn paragraphs_are_those_of_brute_force() {
    assert_brute_force("paragraph", paragraphs, 1, None, &["--passage-chars", "10"]);
}

#[test]
fn substrings_are_those_of_brute_force() {
    assert_brute_force("substring", runs, 1, None, &["--passage-units", "12"]);
}

#[test]
fn threads_memory_tasks_and_shuffling_leave_no_trace_and_keys_agree() {
    let dir = temp_dir();
    let folder = dir.path().join("input");
    std::fs::create_dir_all(&folder).unwrap();
    for (number, part) in made(900).chunks(200).enumerate() {
        let from = input_of(&dir.path().join(format!("part{number}")), part);
        std::fs::rename(from, folder.join(format!("{number:02}.jsonl"))).unwrap();
    }
    let flags = ["--passages", "substring", "--passage-units", "12", "--dedup", "minhash"];
    let run = |name: &str, more: &[&str]| -> PathBuf {
        let out = dir.path().join(name);
        pipeline(arguments("run", &folder, &out, &[&flags[..], more].concat())).ok();
        out
    };
    let one = dataset_tree(&run("one", &["--threads", "1"]));
    assert_same_tree(&one, &dataset_tree(&run("small", &["--threads", "2", "--memory", "120MiB"])), "120 MiB");
    let out = dir.path().join("tasks");
    let more = ["--threads", "2", "--memory", "120MiB"];
    tasks::one_by_one(arguments("plan", &folder, &out, &[&flags[..], &more].concat()), &out);
    assert_same_tree(&one, &dataset_tree(&out), "tasks one by one, in another order");
    let shuffled = Dataset::open(&run("shuffled", &["--shuffle"]));
    shuffled.assert_files();
    // keys/ holds the documents that stayed: a later run accepts it.
    run("later", &["--against", shuffled.dir.to_str().unwrap()]);
}

#[test]
fn settings_that_cut_nothing_or_everything_are_refused() {
    let dir = temp_dir();
    let input = input_of(dir.path(), &made(3));
    let refused = |flags: &[&str], what: &str| {
        let flags = [&["--passages", "line"], flags].concat();
        pipeline(arguments("run", &input, &dir.path().join("out"), &flags)).code_is(2).says(what);
    };
    refused(&["--passage-copies", "0"], "--passage-copies: expected at least 1");
    refused(
        &["--passage-copies", "3", "--passage-everywhere", "2"],
        "--passage-everywhere: expected at least the 3 copies",
    );
    refused(&["--passage-units", "2"], "--passage-units: expected 8 to 1000 units");
}
