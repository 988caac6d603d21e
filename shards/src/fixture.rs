//! A small dataset for this crate's tests: two sides, several shards and Parquet files, rejects, a true ledger.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, UInt16Array, UInt32Array,
    new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, SchemaRef};
use schemas::columns::{self, Column, ColumnType};
use schemas::dtype::Dtype;
use schemas::ledger::Ledger;
use schemas::manifest::{DocumentCounts, FileEntry, InputEntry, Manifest, Split, SplitEntry, Splits, TokenizerEntry};

use crate::commit::{FileDigest, write_atomic};
use crate::dataset::write_manifest;
use crate::parquet::DataFile;
use crate::shard::ShardWriter;
use crate::tokens;

/// Ids run below this.
pub const VOCAB_SIZE: u32 = 300;
/// Documents of a shard; a Parquet file of the train side holds two shards.
pub const SHARD_DOCUMENTS: u64 = 40;
/// Shards of the train side; the val side has one.
pub const TRAIN_SHARDS: u32 = 4;
/// Lines dropped as exact duplicates; each leaves a row in rejects, as one damaged line does.
pub const DUPLICATES: u64 = 5;

/// A row of `data/`.
#[derive(Debug, Clone)]
pub struct Row {
    pub line: i64,
    pub text: String,
    pub tokens: Vec<u32>,
    pub shard: i32,
    pub token_offset: i64,
}

fn source_columns() -> Vec<Column> {
    let column_type = ColumnType::Float64;
    vec![Column { source_name: "perplexity".into(), name: "perplexity".into(), column_type }]
}

/// The columns of the fixture's `data/`.
pub fn data_schema(dtype: Dtype) -> SchemaRef {
    Arc::new(columns::data_schema(&source_columns(), false, dtype))
}

/// Rows that differ from each other, all of shard 0.
pub fn rows(first: u64, count: u64) -> Vec<Row> {
    let mut token_offset = 0;
    let mut next = |line: u64| {
        let tokens: Vec<u32> =
            (0..1 + line % 7).map(|at| ((line * 31 + at * 7) % u64::from(VOCAB_SIZE)) as u32).collect();
        let row = Row { line: line as i64 + 1, text: format!("text {line} 文"), shard: 0, token_offset, tokens };
        token_offset += row.tokens.len() as i64;
        row
    };
    (first..first + count).map(&mut next).collect()
}

fn token_lists(dtype: Dtype, rows: &[Row]) -> ArrayRef {
    let ids = rows.iter().flat_map(|row| row.tokens.iter().copied());
    let values: ArrayRef = match dtype {
        Dtype::U16 => Arc::new(ids.map(|id| id as u16).collect::<UInt16Array>()),
        Dtype::U32 => Arc::new(ids.collect::<UInt32Array>()),
    };
    let DataType::List(element) = columns::tokens_type(dtype) else { unreachable!("tokens are a list") };
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| row.tokens.len()));
    Arc::new(ListArray::new(element, offsets, values, None))
}

/// The rows as a batch of [`data_schema`].
pub fn batch(dtype: Dtype, rows: &[Row]) -> RecordBatch {
    let strings = |value: &dyn Fn(&Row) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(value).map(Some).collect::<StringArray>())
    };
    let long = |value: fn(&Row) -> i64| -> ArrayRef { Arc::new(rows.iter().map(value).collect::<Int64Array>()) };
    let short = |value: fn(&Row) -> i32| -> ArrayRef { Arc::new(rows.iter().map(value).collect::<Int32Array>()) };
    let perplexity: Float64Array = rows.iter().map(|row| row.line as f64 / 2.0).collect();
    let columns = vec![
        strings(&|row| format!("a.jsonl@{}", row.line)),
        strings(&|row| row.text.clone()),
        strings(&|_| "a.jsonl".to_owned()),
        long(|row| row.line),
        long(|row| row.line * 10),
        short(|_| 0),
        Arc::new(perplexity),
        token_lists(dtype, rows),
        short(|row| row.tokens.len() as i32),
        short(|row| row.shard),
        long(|row| row.token_offset),
    ];
    RecordBatch::try_new(data_schema(dtype), columns).unwrap()
}

fn write_shard(dir: &Path, split: Split, number: u32) -> (Vec<Row>, [FileEntry; 2]) {
    let mut shard = ShardWriter::create(dir, split, number, Dtype::U16).unwrap();
    let mut rows = rows(u64::from(number) * SHARD_DOCUMENTS, SHARD_DOCUMENTS);
    for row in &mut rows {
        let mut bytes = Vec::new();
        tokens::encode(&row.tokens, Dtype::U16, &mut bytes).unwrap();
        shard.push_document(&bytes).unwrap();
        row.shard = number as i32;
    }
    (rows, shard.finish().unwrap())
}

fn file_entry(path: String, digest: FileDigest, documents: Option<u64>) -> FileEntry {
    FileEntry { path, bytes: digest.bytes, documents, tokens: None, sha256: digest.sha256 }
}

/// Writes rows as `path`, in row groups of 30.
pub fn write_data(dir: &Path, path: &str, rows: &[Row]) -> FileEntry {
    let mut file = DataFile::create(dir.join(path), data_schema(Dtype::U16), Vec::new()).unwrap();
    for rows in rows.chunks(30) {
        let encoded = file.encoder().encode(&batch(Dtype::U16, rows)).unwrap();
        file.append(encoded).unwrap();
    }
    file_entry(path.to_owned(), file.finish().unwrap(), Some(rows.len() as u64))
}

/// Writes `rejects/rejects-00000-of-00001.parquet` with a row for each stage and rule given.
pub fn write_rejects(dir: &Path, stages_and_rules: &[(&str, &str)]) -> FileEntry {
    let schema = Arc::new(columns::rejects_schema(&source_columns()));
    let count = stages_and_rules.len();
    let given = |field: &Arc<Field>| -> ArrayRef {
        let strings = |value: &dyn Fn(&(&str, &str)) -> String| -> ArrayRef {
            Arc::new(stages_and_rules.iter().map(value).map(Some).collect::<StringArray>())
        };
        match field.name().as_str() {
            "source" => strings(&|_| "a.jsonl".to_owned()),
            "stage" => strings(&|(stage, _)| (*stage).to_owned()),
            "rule" => strings(&|(_, rule)| (*rule).to_owned()),
            "line" => Arc::new((0..count as i64).collect::<Int64Array>()),
            _ => new_null_array(field.data_type(), count),
        }
    };
    let columns = schema.fields().iter().map(given).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let path = "rejects/rejects-00000-of-00001.parquet".to_owned();
    let mut file = DataFile::create(dir.join(&path), schema, Vec::new()).unwrap();
    let encoded = file.encoder().encode(&batch).unwrap();
    file.append(encoded).unwrap();
    file_entry(path, file.finish().unwrap(), Some(count as u64))
}

fn write_side(dir: &Path, split: Split, shards: u32, shards_a_file: usize, files: &mut Vec<FileEntry>) -> SplitEntry {
    let mut side = SplitEntry::default();
    let written: Vec<_> = (0..shards).map(|number| write_shard(dir, split, number)).collect();
    let count = written.len().div_ceil(shards_a_file);
    for (at, group) in written.chunks(shards_a_file).enumerate() {
        let rows: Vec<Row> = group.iter().flat_map(|(rows, _)| rows.clone()).collect();
        files.push(write_data(dir, &format!("data/{}-{at:05}-of-{count:05}.parquet", split.name()), &rows));
    }
    for (rows, [bin, idx]) in written {
        side.documents += rows.len() as u64;
        side.tokens += bin.tokens.unwrap();
        side.shards.push(bin.path.clone());
        files.extend([bin, idx]);
    }
    side
}

/// A manifest of the fixture, with its files written but itself not.
pub fn uncommitted(dir: &Path) -> Manifest {
    let mut files = Vec::new();
    let train = write_side(dir, Split::Train, TRAIN_SHARDS, 2, &mut files);
    let val = write_side(dir, Split::Val, 1, 1, &mut files);
    let mut reasons = vec![("read", "json_syntax")];
    reasons.extend((0..DUPLICATES).map(|_| ("dedup", "exact")));
    files.push(write_rejects(dir, &reasons));
    let config = write_atomic(dir.join("config.toml"), b"[read]\n").unwrap();
    files.push(file_entry("config.toml".to_owned(), config.clone(), None));
    let kept = train.documents + val.documents;
    let mut ledger = Ledger { kept, blank: 2, lines: kept + 3 + DUPLICATES, ..Ledger::default() };
    ledger.invalidate("json_syntax", 1);
    ledger.drop("dedup", "exact", DUPLICATES);
    Manifest {
        format_version: schemas::FORMAT_VERSION,
        tool_version: "0.1.0".to_owned(),
        config_hash: config.sha256,
        tokenizer: TokenizerEntry { hash: String::new(), vocab_size: VOCAB_SIZE, bos_id: None, eos_id: None },
        dtype: Dtype::U16,
        inputs: vec![InputEntry {
            path: "a.jsonl".into(),
            bytes: 1,
            hash: String::new(),
            lines: ledger.lines,
            license: None,
            origin: None,
        }],
        documents: DocumentCounts { total: kept, kept, repeated: 0, generated: 0 },
        ledger,
        splits: Splits { train, val },
        files,
        complete: true,
        manifest_hash: String::new(),
    }
}

/// Writes the whole fixture and returns its manifest.
pub fn committed(dir: &Path) -> Manifest {
    let manifest = uncommitted(dir);
    write_manifest(dir, manifest.clone()).unwrap();
    manifest
}
