//! The rows of `rejects/` against the ledger: a row for each invalid line and each dropped document, by rule.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rayon::prelude::*;
use schemas::ledger::Ledger;
use schemas::manifest::{FileEntry, Split};
use schemas::rule::STAGE_READ;

use super::{Context, Part};
use crate::dataset::{REJECTS_DIR, data_files, reject_files};
use crate::error::Error;

/// Rows by (stage, rule), for the pairs of a ledger; others are counted together, so that memory stays bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Counts {
    by_rule: BTreeMap<(String, String), u64>,
    others: u64,
}

impl Counts {
    /// The rows a ledger asks for.
    fn of(ledger: &Ledger) -> Counts {
        let invalid = ledger.invalid.iter().map(|(rule, count)| ((STAGE_READ.to_owned(), rule.clone()), *count));
        let dropped = ledger
            .dropped
            .iter()
            .flat_map(|(stage, rules)| rules.iter().map(move |(rule, count)| ((stage.clone(), rule.clone()), *count)));
        Counts { by_rule: invalid.chain(dropped).collect(), others: 0 }
    }

    fn zeroed(&self) -> Counts {
        Counts { by_rule: self.by_rule.keys().map(|key| (key.clone(), 0)).collect(), others: 0 }
    }

    fn count(&mut self, stage: &str, rule: &str) {
        match self.by_rule.get_mut(&(stage.to_owned(), rule.to_owned())) {
            Some(count) => *count += 1,
            None => self.others += 1,
        }
    }

    fn add(&mut self, other: &Counts) {
        for (key, count) in &other.by_rule {
            *self.by_rule.entry(key.clone()).or_default() += count;
        }
        self.others += other.others;
    }

    fn total(&self) -> u64 {
        self.by_rule.values().sum::<u64>() + self.others
    }
}

/// Counts every intact file of rejects and compares the sums with the ledger.
pub(super) fn count(context: &Context<'_>, intact: &(dyn Fn(&str) -> bool + Sync)) -> Part {
    let files: Vec<&FileEntry> = reject_files(context.manifest).collect();
    let parquet = Split::ALL.iter().any(|split| data_files(context.manifest, *split).next().is_some());
    let mut part = Part::default();
    if files.iter().any(|file| !intact(&file.path)) || (files.is_empty() && !parquet) {
        // A damaged file is listed by its checksum; a dataset without Parquet has no rejects.
        return part;
    }
    let expected = Counts::of(&context.manifest.ledger);
    let counted: Vec<Result<Counts, Error>> =
        files.par_iter().map(|file| count_file(context, file, expected.zeroed())).collect();
    let mut found = expected.zeroed();
    for (file, counts) in files.iter().zip(counted) {
        match counts {
            Ok(counts) => {
                check_documents(&mut part, file, counts.total());
                found.add(&counts);
            }
            Err(error) => part.fail(&file.path, &error),
        }
    }
    part.rejects = found.total();
    compare(&mut part, &expected, &found);
    part
}

fn check_documents(part: &mut Part, file: &FileEntry, rows: u64) {
    if let Some(expected) = file.documents.filter(|documents| *documents != rows) {
        part.differ(&file.path, "rows", expected, rows);
    }
}

fn compare(part: &mut Part, expected: &Counts, found: &Counts) {
    for ((stage, rule), expected) in &expected.by_rule {
        let rows = found.by_rule.get(&(stage.clone(), rule.clone())).copied().unwrap_or_default();
        if rows != *expected {
            part.differ(REJECTS_DIR, format!("rows of {stage} {rule}"), expected, rows);
        }
    }
    if found.others > 0 {
        part.differ(REJECTS_DIR, "rows of stages and rules not in the ledger", 0, found.others);
    }
}

fn count_file(context: &Context<'_>, file: &FileEntry, mut counts: Counts) -> Result<Counts, Error> {
    let path = context.dir.join(&file.path);
    let failed = |error| Error::parquet(&path, "rows", error);
    let opened = File::open(&path).map_err(Error::io(&path, "open"))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(opened).map_err(failed)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["stage", "rule"]);
    for batch in builder.with_projection(mask).build().map_err(failed)? {
        count_batch(&path, &batch.map_err(|error| failed(error.into()))?, &mut counts)?;
    }
    context.advance(file.bytes);
    Ok(counts)
}

fn count_batch(path: &Path, batch: &RecordBatch, counts: &mut Counts) -> Result<(), Error> {
    let strings = |name| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    let (Some(stages), Some(rules)) = (strings("stage"), strings("rule")) else {
        let found =
            batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
        return Err(Error::Schema { path: path.to_owned(), expected: "stage Utf8, rule Utf8".to_owned(), found });
    };
    for (stage, rule) in stages.iter().zip(rules.iter()) {
        counts.count(stage.unwrap_or_default(), rule.unwrap_or_default());
    }
    Ok(())
}
