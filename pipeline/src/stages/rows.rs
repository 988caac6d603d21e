//! The read stage of a dataset made from datasets: rows of `data/` and `rejects/` instead of lines.
//!
//! One task a Parquet file, whose checksum is looked at first. What a row carries stays as it is: text, columns,
//! place, id, side; a document whose id is listed becomes a reject. The task files are those of [`super::read`], so
//! every later stage is the same.

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use schemas::columns::{EXACT_INTEGER_MAX, Kind, Kinds, RESERVED};
use schemas::ledger::Ledger;
use schemas::manifest::Split;
use schemas::rule::{RULE_IDS, STAGE_REMOVE};

use super::read::{self, Output, Processed, no_such_rank};
use crate::derive::ids::Ids;
use crate::derive::{DOC_ID, Derived, SourceFile};
use crate::engine::ordered::ordered;
use crate::engine::progress::Unit;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::look::cell;
use crate::look::rows::RowFile;
use crate::spill::rows::{Origin, Rejection, RowParts, RowWriter};

/// Columns of `rejects/` that are not the input's.
const REJECT_COLUMNS: [&str; 9] = ["source", "line", "byte_offset", "stage", "rule", "value", DOC_ID, "n_chars", "raw"];

/// The read stage of a dataset made from datasets.
#[derive(Default)]
pub struct RowsStage {
    ids: OnceLock<Ids>,
}

impl Stage for RowsStage {
    fn name(&self) -> &'static str {
        read::NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        Ok(run.plan.parts.len())
    }

    fn work(&self, run: &Run) -> (u64, Unit) {
        (run.plan.parts.iter().map(|part| part.end).sum(), Unit::Bytes)
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let derived = run.plan.derived.as_ref();
        let Some((derived, file)) = derived.and_then(|derived| Some((derived, derived.files.get(rank)?))) else {
            return Err(no_such_rank(read::NAME, rank, run.plan.parts.len()));
        };
        check_hash(file)?;
        let source = Source::open(derived, file, self.ids(run, derived)?)?;
        let mut batches = source.file.stream(Some(&source.columns()))?;
        let mut output = Output::new(run, rank);
        let next = || {
            run.interrupt.check()?;
            batches.next().transpose().map_err(Error::from)
        };
        let bounds = run.block_bounds(|batch: &RecordBatch| batch.get_array_memory_size() as u64);
        ordered(&bounds, next, |batch| source.process(&batch), |block| output.push(block))?;
        run.progress.advance(file.bytes);
        run.mark_done(read::NAME, rank, &output.finish()?)
    }
}

impl RowsStage {
    fn ids(&self, run: &Run, derived: &Derived) -> Result<&Ids, Error> {
        if let Some(ids) = self.ids.get() {
            return Ok(ids);
        }
        let ids = derived.ids.as_ref().map_or_else(|| Ok(Ids::default()), |file| Ids::load(file, run.plan.memory))?;
        Ok(self.ids.get_or_init(|| ids))
    }
}

fn check_hash(file: &SourceFile) -> Result<(), Error> {
    let found = shards::commit::hash_file(&file.path)?.sha256;
    if found == file.sha256 {
        return Ok(());
    }
    let (path, expected) = (file.path.clone(), file.sha256.clone());
    Err(shards::Error::FileHash { path, expected, found }.into())
}

/// An open Parquet file and what its columns are.
struct Source<'a> {
    file: RowFile,
    split: Option<Split>,
    ids: &'a Ids,
    inputs: HashMap<&'a str, u32>,
    /// Columns of the input: the name in the file, and in the dataset.
    names: Vec<(String, String)>,
}

impl<'a> Source<'a> {
    fn open(derived: &'a Derived, source: &SourceFile, ids: &'a Ids) -> Result<Self, Error> {
        let file = RowFile::open(&source.path)?;
        let of_dataset = derived.inputs.iter().enumerate().skip(source.first_input).take(source.inputs);
        let mut inputs = HashMap::new();
        for (index, input) in of_dataset {
            inputs.entry(input.path.as_str()).or_insert(index as u32);
        }
        let fields = file.schema().fields().iter().map(|field| field.name().clone());
        let names = match source.split {
            Some(_) => {
                fields.filter(|name| !RESERVED.contains(&name.as_str())).map(|name| (name.clone(), name)).collect()
            }
            None => {
                let data = data_columns(derived, source)?;
                let own = fields.skip(REJECT_COLUMNS.len());
                own.map(|name| (name.clone(), dataset_name(name, data.as_deref()))).collect()
            }
        };
        Ok(Source { file, split: source.split, ids, inputs, names })
    }

    fn columns(&self) -> Vec<&str> {
        let fixed: &[&str] = match self.split {
            Some(_) => &[DOC_ID, "text", "source", "line", "byte_offset"],
            None => &REJECT_COLUMNS,
        };
        fixed.iter().copied().chain(self.names.iter().map(|(name, _)| name.as_str())).collect()
    }

    fn process(&self, batch: &RecordBatch) -> Result<Processed, Error> {
        let mut block = Block::new(self, batch);
        for row in 0..batch.num_rows() {
            let origin = self.origin(batch, row)?;
            match self.split {
                Some(split) => block.document(row, origin, split)?,
                None => block.reject(row, origin),
            }
        }
        Ok(block.finish())
    }

    fn origin(&self, batch: &RecordBatch, row: usize) -> Result<Origin, Error> {
        let source = cell::text(batch, row, "source").unwrap_or_default();
        let Some(input) = self.inputs.get(source) else {
            return Err(self.unexpected("source", "an input that the manifest lists", source));
        };
        let line = cell::integer(batch, row, "line").and_then(|line| u64::try_from(line - 1).ok());
        let Some(line) = line else { return Err(self.unexpected("line", "a line number from 1", "none")) };
        let byte_offset = cell::integer(batch, row, "byte_offset").and_then(|offset| u64::try_from(offset).ok());
        Ok(Origin { input: *input, line, byte_offset, copy: 0 })
    }

    fn unexpected(&self, column: &str, expected: &'static str, found: &str) -> Error {
        let (path, column, found) = (self.file.path().to_owned(), column.to_owned(), found.to_owned());
        crate::look::Error::Column { path, column, expected, found }.into()
    }
}

/// The columns of the same dataset's `data/`, if it has documents.
fn data_columns(derived: &Derived, rejects: &SourceFile) -> Result<Option<Vec<String>>, Error> {
    let same = |file: &&SourceFile| file.split.is_some() && file.first_input == rejects.first_input;
    let Some(file) = derived.files.iter().find(same) else { return Ok(None) };
    let file = RowFile::open(Path::new(&file.path))?;
    Ok(Some(file.schema().fields().iter().map(|field| field.name().clone()).collect()))
}

/// In `rejects/` a column that would be called as one of its own has a prefix that it has not in `data/`.
fn dataset_name(name: String, data: Option<&[String]>) -> String {
    let bare = name.strip_prefix("source_").filter(|bare| REJECT_COLUMNS.contains(bare));
    let Some(bare) = bare.filter(|bare| !RESERVED.contains(bare)) else { return name };
    match data {
        Some(data) if !data.iter().any(|column| column == bare) => name,
        _ => bare.to_owned(),
    }
}

/// The rows of one batch on their way to task files.
struct Block<'a> {
    source: &'a Source<'a>,
    batch: &'a RecordBatch,
    names: Vec<String>,
    kinds: Vec<Kinds>,
    rows: RowWriter,
    rejects: RowWriter,
    text_bytes: u64,
    ledger: Ledger,
}

impl<'a> Block<'a> {
    fn new(source: &'a Source<'a>, batch: &'a RecordBatch) -> Self {
        let names = source.names.iter().map(|(_, name)| name.clone()).chain([DOC_ID.to_owned()]).collect();
        let kinds = source.names.iter().map(|(name, _)| declared(batch, name)).collect();
        let (rows, rejects) = (RowWriter::default(), RowWriter::default());
        Block { source, batch, names, kinds, rows, rejects, text_bytes: 0, ledger: Ledger::default() }
    }

    fn document(&mut self, row: usize, origin: Origin, side: Split) -> Result<(), Error> {
        let id = cell::text(self.batch, row, DOC_ID);
        let Some(id) = id else { return Err(self.source.unexpected(DOC_ID, "an id", "null")) };
        let Some(text) = cell::text(self.batch, row, "text") else {
            return Err(self.source.unexpected("text", "a text", "null"));
        };
        let n_chars = Some(text.chars().count() as u64);
        if self.source.ids.contains(id.as_bytes()) {
            self.ledger.drop(STAGE_REMOVE, RULE_IDS, 1);
            let rejection =
                Some(Rejection { stage: STAGE_REMOVE.to_owned(), rule: RULE_IDS.to_owned(), value: id.to_owned() });
            self.rejects.row(&RowParts { origin, side: Split::Train, n_chars, body: b"", rejection });
            put_values(self.source, self.batch, row, &mut self.kinds, &mut self.rejects);
            return Ok(());
        }
        self.ledger.kept += 1;
        self.text_bytes += text.len() as u64;
        self.rows.row(&RowParts { origin, side, n_chars, body: text.as_bytes(), rejection: None });
        put_values(self.source, self.batch, row, &mut self.kinds, &mut self.rows);
        Ok(())
    }

    fn reject(&mut self, row: usize, origin: Origin) {
        let text = |column| cell::text(self.batch, row, column).unwrap_or_default().to_owned();
        let rejection = Some(Rejection { stage: text("stage"), rule: text("rule"), value: text("value") });
        let n_chars = cell::integer(self.batch, row, "n_chars").and_then(|chars| u64::try_from(chars).ok());
        let body = cell::binary(self.batch, row, "raw").unwrap_or_default();
        self.rejects.row(&RowParts { origin, side: Split::Train, n_chars, body, rejection });
        put_values(self.source, self.batch, row, &mut self.kinds, &mut self.rejects);
    }

    fn finish(self) -> Processed {
        let (row_count, reject_count) = (self.rows.len(), self.rejects.len());
        let names = self.source.names.iter().map(|(_, name)| name.clone());
        Processed {
            rows: self.rows.finish(&self.names),
            row_count,
            rejects: self.rejects.finish(&self.names),
            reject_count,
            keys: Vec::new(),
            text_bytes: self.text_bytes,
            columns: names.zip(self.kinds).collect(),
            ledger: self.ledger,
            cleaned: crate::clean::Counts::new(),
            examples: crate::report::examples::Reasons::default(),
        }
    }
}

/// What the type of a column says of its values: a column of a type keeps it, be all its values taken out.
fn declared(batch: &RecordBatch, name: &str) -> Kinds {
    let mut kinds = Kinds::default();
    kinds.insert(match batch.column_by_name(name).map(|array| array.data_type()) {
        Some(DataType::Boolean) => Kind::Bool,
        Some(DataType::Int64) => Kind::Int,
        Some(DataType::Float64) => Kind::Float,
        _ => Kind::Null,
    });
    kinds
}

fn put_values(source: &Source<'_>, batch: &RecordBatch, row: usize, kinds: &mut [Kinds], out: &mut RowWriter) {
    for (index, ((name, _), seen)) in source.names.iter().zip(kinds).enumerate() {
        let Some((kind, lexeme)) = batch.column_by_name(name).and_then(|array| lexeme(array, row)) else { continue };
        seen.insert(kind);
        out.value(index as u32, kind, lexeme.as_bytes());
    }
    if let Some(id) = cell::text(batch, row, DOC_ID) {
        out.value(source.names.len() as u32, Kind::String, id.as_bytes());
    }
}

/// A value as a task file holds it; None where it is null.
fn lexeme(array: &dyn Array, row: usize) -> Option<(Kind, std::borrow::Cow<'_, str>)> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => (Kind::Bool, array.as_boolean().value(row).to_string().into()),
        DataType::Int64 => {
            let number = array.as_primitive::<Int64Type>().value(row);
            let kind = if number.unsigned_abs() <= EXACT_INTEGER_MAX { Kind::Int } else { Kind::WideInt };
            (kind, number.to_string().into())
        }
        // Debug prints the shortest digits that read back as the same float, with a fraction or an exponent.
        DataType::Float64 => (Kind::Float, format!("{:?}", array.as_primitive::<Float64Type>().value(row)).into()),
        DataType::Utf8 => (Kind::String, array.as_string::<i32>().value(row).into()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_renamed_in_rejects_gets_its_name_back() {
        let data = ["value".to_owned(), "source_rule".to_owned()];
        assert_eq!(dataset_name("source_value".to_owned(), Some(&data)), "value");
        assert_eq!(dataset_name("source_rule".to_owned(), Some(&data)), "source_rule");
        assert_eq!(dataset_name("source_value".to_owned(), None), "value");
        assert_eq!(dataset_name("source_text".to_owned(), None), "source_text");
        assert_eq!(dataset_name("score".to_owned(), None), "score");
    }

    #[test]
    fn a_float_reads_back_as_itself() {
        for number in [0.1, 1e300, 5e-324, -0.0, 3.0] {
            let array = arrow::array::Float64Array::from(vec![number]);
            let (kind, text) = lexeme(&array, 0).unwrap();
            assert_eq!(kind, Kind::Float);
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits());
        }
    }

    #[test]
    fn an_integer_that_a_float_cannot_hold_is_wide() {
        let array = arrow::array::Int64Array::from(vec![1 << 53, (1 << 53) + 1]);
        assert_eq!(lexeme(&array, 0).unwrap().0, Kind::Int);
        assert_eq!(lexeme(&array, 1).unwrap().0, Kind::WideInt);
    }
}
