//! What became of an input line: kept, rejected, blank, or never there.

use arrow::array::RecordBatch;
use schemas::manifest::{Manifest, Split};
use serde::Serialize;
use shards::dataset::Dataset;

use super::query::{Place, Query};
use super::rows::{All, RowFile, any_holds};
use super::{Error, cell};

/// Where a row came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The document's id; None for a line that never became a document.
    pub doc_id: Option<String>,
    /// The input.
    pub source: String,
    /// Line (row for Parquet and CSV), from 1.
    pub line: u64,
    /// Offset in the decompressed stream; None for Parquet.
    pub byte_offset: Option<u64>,
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// It is a document of the dataset.
    Kept {
        /// Where it came from.
        #[serde(flatten)]
        origin: Origin,
        /// 0, or the number of the copy that mixing made.
        copy: i64,
        /// Side of the split.
        split: Split,
        /// Path of the shard.
        shard: String,
        /// Its first token in the shard.
        token_offset: u64,
        /// Its tokens, BOS and EOS included.
        n_tokens: u64,
    },
    /// It is not in the dataset.
    Rejected {
        /// Where it came from.
        #[serde(flatten)]
        origin: Origin,
        /// The stage that left it out.
        stage: String,
        /// The rule of that stage.
        rule: String,
        /// What decided.
        value: Option<String>,
        /// Code points of its text.
        n_chars: Option<u64>,
        /// First bytes of an invalid line, U+FFFD for what is not UTF-8.
        raw: Option<String>,
    },
    /// A line of nothing but white space.
    Blank {
        /// The input.
        source: String,
        /// Line, from 1.
        line: u64,
    },
    /// The input has fewer lines.
    Beyond {
        /// The input.
        source: String,
        /// The line asked for.
        line: u64,
        /// Lines of the input.
        lines: u64,
    },
}

impl Fate {
    /// Whether a line was found, be it a blank one.
    pub fn is_found(&self) -> bool {
        !matches!(self, Fate::Beyond { .. })
    }
}

/// Columns of `data/` that tell a fate.
const KEPT_COLUMNS: [&str; 8] =
    ["doc_id", "source", "line", "byte_offset", "copy", "n_tokens", "shard", "token_offset"];
/// Columns of `rejects/` that tell a fate.
const REJECTED_COLUMNS: [&str; 9] =
    ["source", "line", "byte_offset", "stage", "rule", "value", "doc_id", "n_chars", "raw"];

/// The fates of all queries, in their order, in one pass over `data/` and `rejects/`; none where nothing matches.
///
/// # Errors
/// Where a Parquet file cannot be read.
pub fn fates(dataset: &Dataset, queries: &[Query]) -> Result<Vec<Vec<Fate>>, Error> {
    let mut search = Search {
        alternatives: queries.iter().map(Query::alternatives).collect(),
        found: queries.iter().map(|_| Vec::new()).collect(),
    };
    for split in Split::ALL {
        for entry in dataset.data_files(split) {
            search.look_into(dataset, &entry.path, &KEPT_COLUMNS, |batch, row| kept(split, batch, row))?;
        }
    }
    for entry in dataset.reject_files() {
        search.look_into(dataset, &entry.path, &REJECTED_COLUMNS, rejected)?;
    }
    let has_data = dataset.manifest().documents.total == 0
        || Split::ALL.iter().any(|split| dataset.data_files(*split).next().is_some());
    for (query, found) in queries.iter().zip(&mut search.found) {
        if found.is_empty() {
            found.extend(absent(query, dataset.manifest(), has_data));
        }
    }
    Ok(search.found)
}

struct Search {
    alternatives: Vec<Vec<All>>,
    found: Vec<Vec<Fate>>,
}

impl Search {
    fn look_into(
        &mut self,
        dataset: &Dataset,
        path: &str,
        columns: &[&str],
        fate: impl Fn(&RecordBatch, usize) -> Fate,
    ) -> Result<(), Error> {
        let file = RowFile::open(&dataset.dir().join(path))?;
        let any: Vec<All> = self.alternatives.iter().flatten().cloned().collect();
        for batch in file.find(Some(columns), &any)? {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                for (alternatives, found) in self.alternatives.iter().zip(&mut self.found) {
                    if any_holds(alternatives, &batch, row) {
                        found.push(fate(&batch, row));
                    }
                }
            }
        }
        Ok(())
    }
}

fn unsigned(batch: &RecordBatch, row: usize, column: &str) -> Option<u64> {
    cell::integer(batch, row, column).and_then(|number| u64::try_from(number).ok())
}

fn owned(batch: &RecordBatch, row: usize, column: &str) -> Option<String> {
    cell::text(batch, row, column).map(str::to_owned)
}

/// Where a row of `data/` or `rejects/` came from.
pub fn origin(batch: &RecordBatch, row: usize) -> Origin {
    Origin {
        doc_id: owned(batch, row, "doc_id"),
        source: owned(batch, row, "source").unwrap_or_default(),
        line: unsigned(batch, row, "line").unwrap_or_default(),
        byte_offset: unsigned(batch, row, "byte_offset"),
    }
}

fn kept(split: Split, batch: &RecordBatch, row: usize) -> Fate {
    let number = unsigned(batch, row, "shard").and_then(|number| u32::try_from(number).ok());
    Fate::Kept {
        origin: origin(batch, row),
        copy: cell::integer(batch, row, "copy").unwrap_or_default(),
        split,
        shard: shards::shard::bin_path(split, number.unwrap_or_default()),
        token_offset: unsigned(batch, row, "token_offset").unwrap_or_default(),
        n_tokens: unsigned(batch, row, "n_tokens").unwrap_or_default(),
    }
}

fn rejected(batch: &RecordBatch, row: usize) -> Fate {
    Fate::Rejected {
        origin: origin(batch, row),
        stage: owned(batch, row, "stage").unwrap_or_default(),
        rule: owned(batch, row, "rule").unwrap_or_default(),
        value: owned(batch, row, "value"),
        n_chars: unsigned(batch, row, "n_chars"),
        raw: cell::binary(batch, row, "raw").map(|raw| String::from_utf8_lossy(raw).into_owned()),
    }
}

/// A line without a row is blank where its input has it, because every other line has one. Without `data/` it may
/// as well be kept, so nothing is said.
fn absent(query: &Query, manifest: &Manifest, has_data: bool) -> Vec<Fate> {
    let Some(Place::Line(line)) = query.place() else { return Vec::new() };
    let inputs = manifest.inputs.iter().filter(|input| query.sources().contains(&input.path));
    let fate = |input: &schemas::manifest::InputEntry| {
        let (source, lines) = (input.path.clone(), input.lines);
        if line == 0 || line > lines {
            Some(Fate::Beyond { source, line, lines })
        } else {
            has_data.then_some(Fate::Blank { source, line })
        }
    };
    inputs.filter_map(fate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::testing::{Doc, Made, dataset};

    fn ask(made: &Made, query: &str) -> Vec<Fate> {
        let dataset = made.open();
        fates(&dataset, &[Query::parse(query, dataset.manifest())]).unwrap().remove(0)
    }

    fn made() -> Made {
        let damaged = Doc::new("", "").invalid("bad_utf8", b"{\xff");
        dataset(&[
            Doc::new("a", "one"),
            Doc::blank(),
            Doc::new("a", "two"),
            Doc::new("d", "three").dropped("dedup", "exact", "a"),
            damaged,
        ])
    }

    #[test]
    fn one_id_may_be_two_documents() {
        let fates = ask(&made(), "a");
        assert_eq!(fates.len(), 2);
        let Fate::Kept { shard, token_offset, n_tokens, .. } = &fates[1] else { panic!("{fates:?}") };
        assert_eq!((shard.as_str(), *token_offset, *n_tokens), ("tokens/train-00000.bin", 5, 5));
    }

    #[test]
    fn a_dropped_document_tells_stage_rule_and_value() {
        let fates = ask(&made(), "in.jsonl:4");
        let [Fate::Rejected { stage, rule, value, .. }] = &fates[..] else { panic!("{fates:?}") };
        assert_eq!((stage.as_str(), rule.as_str(), value.as_deref()), ("dedup", "exact", Some("a")));
    }

    #[test]
    fn an_invalid_line_shows_its_bytes() {
        let fates = ask(&made(), "in.jsonl:5");
        assert!(matches!(&fates[..], [Fate::Rejected { raw: Some(raw), .. }] if raw == "{\u{fffd}"), "{fates:?}");
    }

    #[test]
    fn an_offset_finds_the_line_that_starts_there() {
        let fates = ask(&made(), "in.jsonl@200");
        assert!(matches!(&fates[..], [Fate::Kept { origin, .. }] if origin.line == 3), "{fates:?}");
        assert_eq!(ask(&made(), "in.jsonl@201"), []);
    }

    #[test]
    fn a_line_without_a_row_is_blank_and_one_beyond_the_end_is_said_to_be() {
        assert_eq!(ask(&made(), "in.jsonl:2"), [Fate::Blank { source: "in.jsonl".to_owned(), line: 2 }]);
        let beyond = ask(&made(), "in.jsonl:6");
        assert_eq!(beyond, [Fate::Beyond { source: "in.jsonl".to_owned(), line: 6, lines: 5 }]);
        assert!(!beyond[0].is_found());
        assert_eq!(ask(&made(), "nothing"), []);
    }
}
