//! What a dataset's Parquet files say of its documents: shard n and data file n hold the same documents in the same
//! order.

use std::fs::File;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use schemas::manifest::Split;
use shards::dataset::Dataset;

use crate::error::{Error, Result};

/// The builder of a reader over the data file of a shard, and its path.
fn open(dataset: &Dataset, split: Split, shard: usize) -> Result<(PathBuf, ParquetRecordBatchReaderBuilder<File>)> {
    let Some(entry) = dataset.data_files(split).nth(shard) else {
        let problem = "has no data/*.parquet, so nothing is known of its documents but their tokens".to_owned();
        return Err(Error::Data { path: dataset.dir().to_path_buf(), problem });
    };
    let path = dataset.dir().join(&entry.path);
    let file = File::open(&path).map_err(Error::io(&path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|error| Error::Data { path: path.clone(), problem: error.to_string() })?;
    Ok((path, builder))
}

fn mask(builder: &ParquetRecordBatchReaderBuilder<File>, columns: &[&str]) -> ProjectionMask {
    ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied())
}

/// Every value of a column of a batch as text; nulls as `null`.
fn texts(path: &std::path::Path, batch: &RecordBatch, name: &str) -> Result<Vec<String>> {
    let problem = |problem: String| Error::Data { path: path.to_path_buf(), problem };
    let Some(array) = batch.column_by_name(name) else { return Err(problem(format!("no column `{name}`"))) };
    let options = FormatOptions::default().with_null("null");
    let formatter = ArrayFormatter::try_new(array, &options).map_err(|error| problem(error.to_string()))?;
    let text = |row| formatter.value(row).try_to_string().map_err(|error| problem(error.to_string()));
    (0..array.len()).map(text).collect()
}

/// The values of a column for the documents of a shard, in order, as text.
///
/// # Errors
/// Where the dataset has no Parquet files, or none has the column: the columns there are, are named.
pub fn column(dataset: &Dataset, split: Split, shard: usize, name: &str) -> Result<Vec<String>> {
    let (path, builder) = open(dataset, split, shard)?;
    if builder.schema().column_with_name(name).is_none() {
        let names: Vec<&str> = builder.schema().fields().iter().map(|field| field.name().as_str()).collect();
        let problem = format!("no column `{name}`; there are {}", names.join(", "));
        return Err(Error::Data { path, problem });
    }
    let mask = mask(&builder, &[name]);
    let reader = builder.with_projection(mask).build();
    let reader = reader.map_err(|error| Error::Data { path: path.clone(), problem: error.to_string() })?;
    let mut values = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| Error::Data { path: path.clone(), problem: error.to_string() })?;
        values.extend(texts(&path, &batch, name)?);
    }
    Ok(values)
}

/// What identifies a document, and how it begins.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DocumentRow {
    /// Its id.
    pub doc_id: String,
    /// The input it came from.
    pub source: String,
    /// The line there, from 1.
    pub line: String,
    /// Its first characters.
    pub text: String,
}

/// Characters shown of a text.
const SHOWN_CHARS: usize = 60;

/// The beginning of a text, on one line.
fn beginning(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// The rows of some documents of a shard, given in ascending order.
///
/// # Errors
/// Where the dataset has no Parquet files, or one cannot be read.
pub fn describe(dataset: &Dataset, split: Split, shard: usize, documents: &[u64]) -> Result<Vec<DocumentRow>> {
    let (path, builder) = open(dataset, split, shard)?;
    let (mut selectors, mut next) = (Vec::new(), 0);
    for &document in documents {
        let document = document as usize;
        selectors.push(RowSelector::skip(document.saturating_sub(next)));
        selectors.push(RowSelector::select(1));
        next = document + 1;
    }
    let mask = mask(&builder, &["doc_id", "source", "line", "text"]);
    let reader = builder.with_projection(mask).with_row_selection(RowSelection::from(selectors)).build();
    let reader = reader.map_err(|error| Error::Data { path: path.clone(), problem: error.to_string() })?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| Error::Data { path: path.clone(), problem: error.to_string() })?;
        let of = |name| texts(&path, &batch, name);
        let columns = of("doc_id")?.into_iter().zip(of("source")?).zip(of("line")?).zip(of("text")?);
        rows.extend(columns.map(|(((doc_id, source), line), text)| DocumentRow {
            doc_id,
            source,
            line,
            text: beginning(&text),
        }));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tiny_dataset;

    #[test]
    fn a_dataset_without_parquet_says_so() {
        let folder = tempfile::tempdir().unwrap();
        tiny_dataset(folder.path(), 50, 1);
        let dataset = Dataset::open(folder.path()).unwrap();
        let error = column(&dataset, Split::Train, 0, "lang").unwrap_err().to_string();
        assert!(error.contains("no data/*.parquet"), "{error}");
    }

    #[test]
    fn a_beginning_is_one_line_of_bounded_length() {
        assert_eq!(beginning("a\nb"), "a b");
        assert_eq!(beginning(&"字".repeat(61)).chars().count(), 61);
    }
}
