//! The rows of `data/` against the shards: row k of a side is document k of its shards.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, UInt16Type, UInt32Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use rayon::prelude::*;
use schemas::columns::tokens_type;
use schemas::dtype::Dtype;
use schemas::manifest::{FileEntry, Split};

use super::{Context, Part};
use crate::dataset::{data_files, is_inside};
use crate::error::Error;
use crate::index::DocumentSpan;
use crate::shard::ShardReader;
use crate::tokens::decode;

/// Bytes of rows decoded at once, roughly, and rows at most.
const BATCH_BYTES: u64 = 4 << 20;
const BATCH_ROWS: u64 = 1024;

/// A Parquet file and the documents its rows are.
struct Work<'a> {
    split: Split,
    file: &'a FileEntry,
    first_document: u64,
}

/// Compares every intact data file with the shards.
pub(super) fn compare(context: &Context<'_>, intact: &(dyn Fn(&str) -> bool + Sync)) -> Vec<Part> {
    let mut work = Vec::new();
    for split in Split::ALL {
        let mut first_document = 0;
        for file in data_files(context.manifest, split) {
            work.push(Work { split, file, first_document });
            first_document += file.documents.unwrap_or_default();
        }
    }
    work.retain(|work| intact(&work.file.path));
    work.par_iter().map(|work| compare_file(context, work)).collect()
}

fn compare_file(context: &Context<'_>, work: &Work<'_>) -> Part {
    let mut part = Part::default();
    let path = &work.file.path;
    match Rows::open(&context.dir.join(path), context.manifest.dtype) {
        Ok(rows) if rows.total != work.file.documents.unwrap_or_default() => {
            part.differ(path, "rows", work.file.documents.unwrap_or_default(), rows.total);
        }
        Ok(mut rows) => {
            let compared = compare_shards(context, work, &mut rows, &mut part);
            part.check(path, compared);
        }
        Err(error) => part.fail(path, &error),
    }
    context.advance(work.file.bytes);
    part
}

/// Walks the shards whose documents the file holds. A shard that cannot be opened is listed elsewhere.
fn compare_shards(context: &Context<'_>, work: &Work<'_>, rows: &mut Rows, part: &mut Part) -> Result<(), Error> {
    let mut first = work.first_document;
    let mut left = rows.total;
    for (number, bin_path) in (0i64..).zip(&context.manifest.splits.get(work.split).shards) {
        let documents = context.manifest.file(bin_path).and_then(|file| file.documents).unwrap_or_default();
        if first >= documents {
            first -= documents;
            continue;
        }
        let here = left.min(documents - first);
        let shard = is_inside(bin_path).then(|| ShardReader::open(context.dir, bin_path).ok()).flatten();
        match shard.filter(|shard| shard.dtype() == context.manifest.dtype) {
            Some(shard) => compare_shard(&shard, number, first..first + here, rows, part, &work.file.path)?,
            None => (0..here).try_for_each(|_| rows.advance().map(drop))?,
        }
        (first, left) = (0, left - here);
        if left == 0 {
            break;
        }
    }
    Ok(())
}

fn compare_shard(
    shard: &ShardReader,
    number: i64,
    documents: std::ops::Range<u64>,
    rows: &mut Rows,
    part: &mut Part,
    path: &str,
) -> Result<(), Error> {
    let count = (documents.end - documents.start) as usize;
    let mut bytes = Vec::new();
    for span in shard.spans_from(documents.start).take(count) {
        // What an index says wrongly is listed with the index.
        let Ok(span) = span else { return Ok(()) };
        if !rows.advance()? {
            return Ok(());
        }
        if shard.read_document(span, &mut bytes).is_ok() {
            compare_row(rows, number, span, &bytes, part, path);
        }
    }
    Ok(())
}

fn compare_row(rows: &Rows, shard: i64, span: DocumentSpan, bytes: &[u8], part: &mut Part, path: &str) {
    let row = rows.number - 1;
    let found = rows.figures();
    let expected = [("shard", shard), ("token_offset", span.token_offset as i64), ("n_tokens", span.n_tokens as i64)];
    for ((name, expected), found) in expected.into_iter().zip(found) {
        if found != Some(expected) {
            part.differ(path, format!("row {row}, {name}"), expected, found.map_or("null".into(), |it| it.to_string()));
        }
    }
    if let Some((token, expected, found)) = rows.first_difference(bytes) {
        let shown = |id: Option<u32>| id.map_or("nothing".to_owned(), |id| format!("id {id}"));
        part.differ(path, format!("row {row}, tokens[{token}]"), shown(expected), shown(found));
    }
    part.rows += 1;
    part.tokens += span.n_tokens;
}

/// The columns of a data file that tell of tokens, row by row.
struct Rows {
    reader: ParquetRecordBatchReader,
    path: std::path::PathBuf,
    dtype: Dtype,
    batch: Option<RecordBatch>,
    /// Row of the batch.
    row: usize,
    /// Rows advanced to.
    number: u64,
    total: u64,
}

impl Rows {
    fn open(path: &Path, dtype: Dtype) -> Result<Rows, Error> {
        let failed = |error| Error::parquet(path, "footer", error);
        let file = File::open(path).map_err(Error::io(path, "open"))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
        check_columns(path, builder.schema(), dtype)?;
        let metadata = builder.metadata();
        let total = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or_default();
        let batch_rows =
            batch_rows(metadata.row_groups().iter().map(|group| (group.num_rows(), group.total_byte_size())));
        let columns = ["shard", "token_offset", "n_tokens", "tokens"];
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
        let reader = builder.with_projection(mask).with_batch_size(batch_rows).build().map_err(failed)?;
        Ok(Rows { reader, path: path.to_owned(), dtype, batch: None, row: 0, number: 0, total })
    }

    /// Goes to the next row; false at the end.
    fn advance(&mut self) -> Result<bool, Error> {
        self.row += 1;
        while self.batch.as_ref().is_none_or(|batch| self.row >= batch.num_rows()) {
            let next = self.reader.next().transpose();
            let place = format!("row {}", self.number);
            self.batch = next.map_err(|error| Error::parquet(&self.path, place, error.into()))?;
            self.row = 0;
            if self.batch.is_none() {
                return Ok(false);
            }
        }
        self.number += 1;
        Ok(true)
    }

    fn column(&self, name: &str) -> Option<&ArrayRef> {
        let column = self.batch.as_ref()?.column_by_name(name)?;
        (self.row < column.len() && !column.is_null(self.row)).then_some(column)
    }

    /// shard, token_offset, n_tokens of the row; None where null.
    fn figures(&self) -> [Option<i64>; 3] {
        let short = |name| Some(i64::from(self.column(name)?.as_primitive_opt::<Int32Type>()?.value(self.row)));
        let offset = || Some(self.column("token_offset")?.as_primitive_opt::<Int64Type>()?.value(self.row));
        [short("shard"), offset(), short("n_tokens")]
    }

    /// The first token in which the row and a document's bytes differ: position, the document's id, the row's.
    fn first_difference(&self, bytes: &[u8]) -> Option<(usize, Option<u32>, Option<u32>)> {
        let mut expected = decode(bytes, self.dtype);
        let ids = self.column("tokens").and_then(|column| column.as_list_opt::<i32>()).map(|lists| self.ids(lists));
        let mut found = ids.unwrap_or_default().into_iter();
        (0..)
            .map_while(|at| match (expected.next(), found.next()) {
                (None, None) => None,
                (expected, found) => Some((at, expected, found)),
            })
            .find(|(_, expected, found)| expected != found)
    }

    fn ids(&self, lists: &ListArray) -> Vec<u32> {
        let ids = lists.value(self.row);
        if let Some(ids) = ids.as_primitive_opt::<UInt16Type>() {
            return ids.values().iter().map(|id| u32::from(*id)).collect();
        }
        ids.as_primitive_opt::<UInt32Type>().map(|ids| ids.values().to_vec()).unwrap_or_default()
    }
}

fn check_columns(path: &Path, schema: &arrow::datatypes::Schema, dtype: Dtype) -> Result<(), Error> {
    let needed = [
        ("shard", DataType::Int32),
        ("token_offset", DataType::Int64),
        ("n_tokens", DataType::Int32),
        ("tokens", tokens_type(dtype)),
    ];
    for (name, expected) in needed {
        let found = schema.field_with_name(name).ok().map(|field| field.data_type());
        if found != Some(&expected) {
            let found = found.map_or("no such column".to_owned(), DataType::to_string);
            return Err(Error::Schema { path: path.to_owned(), expected: format!("{name} {expected}"), found });
        }
    }
    Ok(())
}

/// Rows to decode at once so that a batch stays near [`BATCH_BYTES`], by the largest rows of any row group.
fn batch_rows(row_groups: impl Iterator<Item = (i64, i64)>) -> usize {
    let mean = row_groups.map(|(rows, bytes)| bytes.max(1).unsigned_abs().div_ceil(rows.max(1).unsigned_abs())).max();
    (BATCH_BYTES / mean.unwrap_or(1)).clamp(1, BATCH_ROWS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_rows_are_decoded_a_few_at_a_time() {
        assert_eq!(batch_rows([(1000, 1000)].into_iter()), 1024);
        assert_eq!(batch_rows([(1000, 1000), (10, 10 << 20)].into_iter()), 4);
        assert_eq!(batch_rows([(1, 1 << 40)].into_iter()), 1);
        assert_eq!(batch_rows([(-1, -5), (0, 0)].into_iter()), 1024);
    }
}
