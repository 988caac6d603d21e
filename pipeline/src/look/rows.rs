//! `data/` and `rejects/`, pruned by row-group statistics, projected to the columns asked for, filtered before any
//! other column is decoded, and handed out in batches of a bounded number of bytes.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowFilter,
};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;

use super::{Error, cell};

/// Bytes of a batch before compression, by the mean of its row group; a batch has at least one row.
pub const BATCH_BYTES: u64 = 4 << 20;
const BATCH_ROWS_MAX: u64 = 8_192;

/// One equality on a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Equals {
    /// A string column.
    Text(&'static str, String),
    /// An integer column.
    Integer(&'static str, i64),
}

impl Equals {
    fn column(&self) -> &'static str {
        match self {
            Equals::Text(column, _) | Equals::Integer(column, _) => column,
        }
    }

    fn holds(&self, batch: &RecordBatch, row: usize) -> bool {
        match self {
            Equals::Text(column, value) => cell::text(batch, row, column) == Some(value),
            Equals::Integer(column, value) => cell::integer(batch, row, column) == Some(*value),
        }
    }

    /// False only where the statistics show that no row of the group is equal. Bounds of long strings are cut to
    /// shorter ones, which still bound.
    fn may_hold(&self, group: &RowGroupMetaData) -> bool {
        let named = group.columns().iter().find(|column| column.column_path().string() == self.column());
        let Some(statistics) = named.and_then(|column| column.statistics()) else { return true };
        match (self, statistics) {
            (Equals::Text(_, value), Statistics::ByteArray(_)) => {
                let (min, max) = (statistics.min_bytes_opt(), statistics.max_bytes_opt());
                min.is_none_or(|min| min <= value.as_bytes()) && max.is_none_or(|max| value.as_bytes() <= max)
            }
            (Equals::Integer(_, value), Statistics::Int64(range)) => {
                range.min_opt().is_none_or(|min| min <= value) && range.max_opt().is_none_or(|max| value <= max)
            }
            (Equals::Integer(_, value), Statistics::Int32(range)) => {
                range.min_opt().is_none_or(|min| i64::from(*min) <= *value)
                    && range.max_opt().is_none_or(|max| *value <= i64::from(*max))
            }
            _ => true,
        }
    }
}

/// Equalities that must all hold.
pub type All = Vec<Equals>;

/// Whether one of the alternatives holds for a row; its columns are in the batch.
pub fn any_holds(alternatives: &[All], batch: &RecordBatch, row: usize) -> bool {
    alternatives.iter().any(|all| all.iter().all(|equals| equals.holds(batch, row)))
}

/// A Parquet file of a dataset.
#[derive(Debug)]
pub struct RowFile {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
}

impl RowFile {
    /// Reads the footer of a file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Parquet`].
    pub fn open(path: &Path) -> Result<RowFile, Error> {
        let file = open(path)?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new());
        let metadata = metadata.map_err(|error| Error::parquet(path, "footer", error))?;
        Ok(RowFile { path: path.to_owned(), metadata })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its columns.
    pub fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// Streams all rows with the columns named (all of them where None), in file order.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Parquet`].
    pub fn stream(&self, columns: Option<&[&str]>) -> Result<Rows, Error> {
        let groups = (0..self.metadata.metadata().num_row_groups()).collect();
        self.read(columns, groups, None)
    }

    /// Streams the rows for which one of the alternatives holds; its columns are among those named.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Parquet`].
    pub fn find(&self, columns: Option<&[&str]>, alternatives: &[All]) -> Result<Rows, Error> {
        let groups = self.metadata.metadata().row_groups().iter().enumerate();
        let may_hold = |group| alternatives.iter().any(|all| all.iter().all(|equals| equals.may_hold(group)));
        let groups = groups.filter(|(_, group)| may_hold(group)).map(|(number, _)| number).collect();
        self.read(columns, groups, Some(alternatives))
    }

    fn read(&self, columns: Option<&[&str]>, groups: Vec<usize>, filter: Option<&[All]>) -> Result<Rows, Error> {
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(open(&self.path)?, self.metadata.clone());
        let projection = columns.map_or(ProjectionMask::all(), |columns| self.mask(columns));
        if let Some(alternatives) = filter {
            builder = builder.with_row_filter(self.row_filter(alternatives));
        }
        let rows = self.batch_rows(&groups, &projection);
        let builder = builder.with_batch_size(rows).with_row_groups(groups).with_projection(projection);
        let reader = builder.build().map_err(|error| Error::parquet(&self.path, "rows", error))?;
        Ok(Rows { path: self.path.clone(), reader })
    }

    fn mask(&self, columns: &[&str]) -> ProjectionMask {
        ProjectionMask::columns(self.metadata.parquet_schema(), columns.iter().copied())
    }

    fn row_filter(&self, alternatives: &[All]) -> RowFilter {
        let columns: BTreeSet<&str> = alternatives.iter().flatten().map(Equals::column).collect();
        let mask = self.mask(&columns.into_iter().collect::<Vec<&str>>());
        let alternatives = alternatives.to_vec();
        let predicate = ArrowPredicateFn::new(mask, move |batch: RecordBatch| {
            let holds = (0..batch.num_rows()).map(|row| Some(any_holds(&alternatives, &batch, row)));
            Ok(holds.collect::<BooleanArray>())
        });
        RowFilter::new(vec![Box::new(predicate)])
    }

    /// Rows whose projected columns take about [`BATCH_BYTES`], by the row group with the longest rows.
    fn batch_rows(&self, groups: &[usize], projection: &ProjectionMask) -> usize {
        let groups = groups.iter().filter_map(|number| self.metadata.metadata().row_groups().get(*number));
        let row_bytes = groups.map(|group| {
            let columns = group.columns().iter().enumerate().filter(|(leaf, _)| projection.leaf_included(*leaf));
            let bytes: i64 = columns.map(|(_, column)| column.uncompressed_size()).sum();
            u64::try_from(bytes / group.num_rows().max(1)).unwrap_or_default()
        });
        let rows = BATCH_BYTES / row_bytes.max().unwrap_or_default().max(1);
        rows.clamp(1, BATCH_ROWS_MAX) as usize
    }
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|error| Error::io(path, "open", error))
}

/// Batches of rows, in file order.
#[derive(Debug)]
pub struct Rows {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(batch.map_err(|error| Error::parquet(&self.path, "rows", error.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::testing::{Doc, dataset};

    fn found(file: &RowFile, alternatives: &[All]) -> Vec<String> {
        let batches = file.find(Some(&["doc_id", "source", "line"]), alternatives).unwrap();
        let ids = batches.flat_map(|batch| {
            let batch = batch.unwrap();
            (0..batch.num_rows())
                .map(|row| cell::text(&batch, row, "doc_id").unwrap().to_owned())
                .collect::<Vec<String>>()
        });
        ids.collect()
    }

    #[test]
    fn rows_are_found_in_the_row_groups_that_statistics_leave() {
        let made = dataset(&[Doc::new("a", "one"), Doc::new("b", "two"), Doc::new("c", "three")]);
        let file = RowFile::open(&made.path().join("data/train-00000-of-00001.parquet")).unwrap();
        let by_id = vec![Equals::Text("doc_id", "b".to_owned())];
        let by_line = vec![Equals::Text("source", "in.jsonl".to_owned()), Equals::Integer("line", 3)];
        assert_eq!(found(&file, &[by_id.clone(), by_line]), ["b", "c"]);
        assert_eq!(found(&file, &[by_id]), ["b"]);
        assert_eq!(found(&file, &[vec![Equals::Integer("line", 99)]]), Vec::<String>::new());
    }

    #[test]
    fn statistics_rule_a_row_group_out_by_its_bounds() {
        let made = dataset(&[Doc::new("b", "one"), Doc::new("d", "two")]);
        let file = RowFile::open(&made.path().join("data/train-00000-of-00001.parquet")).unwrap();
        let group = &file.metadata.metadata().row_groups()[0];
        let may_hold = |id: &str| Equals::Text("doc_id", id.to_owned()).may_hold(group);
        assert_eq!((may_hold("a"), may_hold("b"), may_hold("c"), may_hold("e")), (false, true, true, false));
        assert!(!Equals::Integer("n_tokens", 1000).may_hold(group));
    }

    #[test]
    fn a_file_that_is_no_parquet_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        std::fs::write(&path, b"not parquet").unwrap();
        let error = RowFile::open(&path).unwrap_err().to_string();
        assert!(error.contains("x.parquet: footer: "), "{error}");
    }
}
