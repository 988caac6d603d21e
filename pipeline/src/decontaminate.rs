//! Decontamination: documents that hold a passage of a benchmark are dropped.
//!
//! A passage is a run of n units ([`crate::dedup::units`]: words, or characters of scripts without spaces), 13 as in GPT-3
//! (Brown et al. 2020, appendix C). Every string of a benchmark's records counts, nested ones too; one of fewer than n
//! units is not looked for, because short phrases stand in many texts. Runs are held as 64-bit hashes.

use std::ops::Range;
use std::path::{Path, PathBuf};

use schemas::columns::Kind;
use schemas::config::{Decontaminate, Read};
use serde::{Deserialize, Serialize};

use crate::dedup::shingles::Shingler;
use crate::dedup::units::scan;
use crate::error::Error;
use crate::read::inputs::expand;
use crate::read::{Input, Options, Part, Reader};
use crate::record::{Document, Records};

/// Fewest units of a passage: shorter ones stand in every text.
const UNITS_MIN: u32 = 4;
const UNITS_MAX: u32 = 64;
/// Share of the memory limit the passages may take.
const MEMORY_SHARE: u64 = 8;
/// Characters of a passage that `rejects/` shows.
const SHOWN_CHARS: usize = 120;

/// A file of benchmark records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Benchmark {
    /// The file.
    pub input: Input,
    /// sha256 of its bytes when the run was planned.
    pub sha256: String,
}

/// Finds the files of `decontaminate.benchmarks`.
///
/// # Errors
/// [`Error::Usage`] for a length out of range; missing files.
pub fn benchmarks(config: &Decontaminate) -> Result<Vec<Benchmark>, Error> {
    if !(UNITS_MIN..=UNITS_MAX).contains(&config.ngram) {
        let detail = format!("expected {UNITS_MIN} to {UNITS_MAX} units, found {}", config.ngram);
        return Err(Error::usage("--ngram", detail, ""));
    }
    if config.benchmarks.iter().any(|benchmark| benchmark == "-") {
        return Err(Error::usage("--decontaminate", "expected files, found -", "write the benchmark to a file"));
    }
    if config.benchmarks.is_empty() {
        return Ok(Vec::new());
    }
    let inputs = expand(&config.benchmarks, Path::new(""))?;
    let real = |path: &PathBuf| std::fs::canonicalize(path).map_err(|error| Error::io("open", path, error));
    let benchmark = |mut input: Input| {
        input.path = real(&input.path)?;
        Ok(Benchmark { sha256: shards::commit::hash_file(&input.path)?.sha256, input })
    };
    inputs.into_iter().map(benchmark).collect()
}

/// How a benchmark stands in `config.toml`.
pub fn identity(benchmark: &Benchmark) -> String {
    format!("{}@sha256:{}", benchmark.input.label, benchmark.sha256)
}

/// A passage of a document that a benchmark has, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit<'a> {
    /// Name of the benchmark's file: the rule in the ledger.
    pub benchmark: &'a str,
    /// Where, in the benchmark and in the document: `line 3, bytes 10..90: "..."`.
    pub value: String,
}

/// The passages of all benchmarks.
#[derive(Debug, Default)]
pub struct Decontaminator {
    units: usize,
    labels: Vec<String>,
    /// Sorted by hash; of equal ones the first in the order of the benchmarks.
    passages: Vec<Passage>,
    /// A bit for each value of the low bits of a hash: most look-ups end here.
    filter: Vec<u64>,
    /// What a person should know of it.
    notes: Vec<String>,
}

/// Hash, benchmark, line from 1.
type Passage = (u64, u32, u32);

impl Decontaminator {
    /// Reads benchmarks.
    ///
    /// # Errors
    /// [`Error::InputChanged`]; [`Error::Usage`] where they hold more than fits, or a damaged record.
    pub fn load(benchmarks: &[Benchmark], ngram: u32, memory: u64) -> Result<Decontaminator, Error> {
        let mut passages = Passages { units: ngram as usize, found: Vec::new(), room: memory / MEMORY_SHARE / 16 };
        let mut notes = Vec::new();
        for (number, benchmark) in benchmarks.iter().enumerate() {
            notes.extend(passages.read(number as u32, benchmark)?);
        }
        let mut found = passages.found;
        found.sort_unstable();
        found.dedup_by_key(|(hash, ..)| *hash);
        found.shrink_to_fit();
        let mut filter = vec![0_u64; (found.len() / 4).next_power_of_two()];
        for (hash, ..) in &found {
            let (word, bit) = filter_place(*hash, filter.len());
            if let Some(word) = filter.get_mut(word) {
                *word |= bit;
            }
        }
        let labels = benchmarks.iter().map(|benchmark| benchmark.input.label.clone()).collect();
        Ok(Decontaminator { units: ngram as usize, labels, passages: found, filter, notes })
    }

    /// Whether there is anything to look for.
    pub fn is_empty(&self) -> bool {
        self.passages.is_empty()
    }

    /// What a person should know of the benchmarks.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What makes the runs that [`Decontaminator::find`] looks up.
    pub fn shingler(&self) -> Shingler {
        Shingler::new(self.units)
    }

    /// The first passage of a text that a benchmark has.
    pub fn find(&self, shingler: &mut Shingler, text: &str) -> Option<Hit<'_>> {
        let runs = shingler.runs(text);
        let (first, (_, benchmark, line)) =
            runs.iter().enumerate().find_map(|(at, run)| Some((at, self.get(*run)?)))?;
        let known = runs.get(first..).unwrap_or_default().iter().take_while(|run| self.get(**run).is_some()).count();
        let bytes = unit_bytes(text, first, first + known + self.units - 2);
        let passage: String = text.get(bytes.clone()).unwrap_or_default().chars().take(SHOWN_CHARS).collect();
        let value = format!("line {line}, bytes {}..{}: {passage:?}", bytes.start, bytes.end);
        Some(Hit { benchmark: self.labels.get(benchmark as usize)?, value })
    }

    fn get(&self, hash: u64) -> Option<Passage> {
        let (word, bit) = filter_place(hash, self.filter.len());
        if self.filter.get(word).is_none_or(|word| word & bit == 0) {
            return None;
        }
        let at = self.passages.binary_search_by_key(&hash, |(hash, ..)| *hash).ok()?;
        self.passages.get(at).copied()
    }
}

/// Word and bit of a hash; `words` is a power of two.
fn filter_place(hash: u64, words: usize) -> (usize, u64) {
    ((hash >> 6) as usize & words.saturating_sub(1), 1 << (hash & 63))
}

/// Bytes of a text from one of its units to another.
fn unit_bytes(text: &str, first: usize, last: usize) -> Range<usize> {
    let (mut at, mut range) = (0, 0..text.len());
    scan(text, |_, bytes| {
        if at == first {
            range.start = bytes.start;
        }
        if at == last {
            range.end = bytes.end;
        }
        at += 1;
    });
    range
}

struct Passages {
    units: usize,
    found: Vec<Passage>,
    room: u64,
}

impl Passages {
    /// Reads a benchmark; a note where it holds records that are not looked for.
    fn read(&mut self, number: u32, benchmark: &Benchmark) -> Result<Option<String>, Error> {
        let Benchmark { input, sha256 } = benchmark;
        let found = shards::commit::hash_file(&input.path)?.sha256;
        if found != *sha256 {
            let expected = format!("sha256 {sha256}");
            return Err(Error::InputChanged { path: input.path.clone(), expected, found: format!("sha256 {found}") });
        }
        let options = Options::fields_alone(&Read::default())?;
        let mut reader = Reader::open(input, &Part { input: 0, start: 0, end: input.bytes }, &options)?;
        let mut shingler = Shingler::new(self.units);
        let (mut records_read, mut unused) = (0, 0);
        while let Some(block) = reader.next_block()? {
            let records = block.parse(&options);
            if let Some(damaged) = records.invalid.first() {
                let place = format!("{}:{}", input.path.display(), damaged.position.line + 1);
                let detail = format!("{place}: {}: {}", damaged.rule.name(), damaged.detail);
                return Err(Error::usage("--decontaminate", detail, "a benchmark has to be read whole"));
            }
            for document in &records.documents {
                let before = self.found.len();
                let line = document.position.line as u32 + 1;
                each_string(&records, document, |text| self.push(&mut shingler, text, number, line));
                records_read += 1;
                unused += u64::from(self.found.len() == before);
            }
            if self.found.len() as u64 > self.room {
                let detail = format!("the benchmarks hold more than {} runs of {} units", self.room, self.units);
                return Err(Error::usage("--memory", detail, "give more --memory, or fewer benchmarks"));
            }
        }
        let (label, units) = (&input.label, self.units);
        let note = || {
            format!(
                "{label}: {unused} of {records_read} records have no string of {units} units and are not looked for"
            )
        };
        Ok((unused > 0).then(note))
    }

    fn push(&mut self, shingler: &mut Shingler, text: &str, number: u32, line: u32) {
        let mut units = 0;
        scan(text, |_, _| units += 1);
        if units >= self.units {
            self.found.extend(shingler.runs(text).iter().map(|run| (*run, number, line)));
        }
    }
}

/// Calls `each` for the text and every string field of a record.
fn each_string(records: &Records, document: &Document, mut each: impl FnMut(&str)) {
    each(records.str(document.text));
    for field in records.fields_of(document) {
        match field.kind {
            Kind::String => each(records.str(field.value)),
            Kind::Json => {
                let value: serde_json::Value = serde_json::from_slice(records.bytes(field.value)).unwrap_or_default();
                each_nested(&value, &mut each);
            }
            _ => {}
        }
    }
}

fn each_nested(value: &serde_json::Value, each: &mut impl FnMut(&str)) {
    match value {
        serde_json::Value::String(text) => each(text),
        serde_json::Value::Array(items) => items.iter().for_each(|item| each_nested(item, each)),
        serde_json::Value::Object(members) => members.values().for_each(|member| each_nested(member, each)),
        _ => {}
    }
}
