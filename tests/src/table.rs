//! Rows of Parquet files as JSON values, so that a test can say what it expects in one line.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, UInt16Type, UInt32Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value, json};

/// One row, by column.
pub type Row = Map<String, Value>;

/// Rows of the files `dir/PREFIX*.parquet`, in the order of their names; none where the folder is absent.
#[track_caller]
pub fn rows(dir: &Path, prefix: &str) -> Vec<Row> {
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let entries = std::fs::read_dir(dir).map(|entries| entries.map(|entry| entry.expect("an entry").path()).collect());
    let mut paths: Vec<PathBuf> = entries.unwrap_or_default();
    paths.retain(|path| name(path).starts_with(prefix) && name(path).ends_with(".parquet"));
    paths.sort();
    paths.iter().flat_map(|path| file_rows(path)).collect()
}

/// Rows of one file.
#[track_caller]
pub fn file_rows(path: &Path) -> Vec<Row> {
    let open = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(open).and_then(|builder| builder.build());
    let reader = reader.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    reader.flat_map(|batch| batch_rows(&batch.expect("a batch"))).collect()
}

fn batch_rows(batch: &RecordBatch) -> Vec<Row> {
    let schema = batch.schema();
    let row = |index: usize| {
        let cells = schema.fields().iter().zip(batch.columns());
        cells.map(|(field, column)| (field.name().clone(), cell(column, index))).collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

fn cell(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Utf8 => json!(column.as_string::<i32>().value(row)),
        DataType::Boolean => json!(column.as_boolean().value(row)),
        DataType::Int32 => json!(column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => json!(column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => json!(column.as_primitive::<Float64Type>().value(row)),
        DataType::UInt16 => json!(column.as_primitive::<UInt16Type>().value(row)),
        DataType::UInt32 => json!(column.as_primitive::<UInt32Type>().value(row)),
        DataType::Binary => json!(column.as_binary::<i32>().value(row)),
        DataType::List(_) => {
            let list = column.as_list::<i32>().value(row);
            (0..list.len()).map(|index| cell(&list, index)).collect()
        }
        other => panic!("a column of type {other}, which no documented schema has"),
    }
}
