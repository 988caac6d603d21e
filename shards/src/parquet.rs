//! Parquet files of a dataset (`data/`, `rejects/`): row groups encoded in parallel, appended in order.
//!
//! Each row group is encoded from nothing but its own rows, so the bytes of a file depend on its rows and on where
//! its row groups end, never on threads. Encodings, by what was measured and by what DuckDB, pyarrow, Polars and
//! `datasets` read: zstd 1 throughout; token ids BYTE_STREAM_SPLIT (the high bytes of an id, always zero, cost
//! nothing), without dictionary and statistics; counters that grow from row to row DELTA_BINARY_PACKED; text PLAIN;
//! other columns with a small dictionary, which the writer gives up where values do not repeat.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::ColumnPath;
use serde_json::{Map, Value, json};

use self::token_column::{TokenChunk, TokenColumn};
use crate::commit::{AtomicFile, FileDigest};
use crate::error::Error;

mod token_column;

/// Key under which `datasets` keeps the features of a file.
pub const HUGGINGFACE_KEY: &str = "huggingface";

/// Level 1 compresses text nearly as level 3 does, at almost twice the speed (FORMAT.md).
const ZSTD_LEVEL: i32 = 1;
/// Bytes of a page before compression: a reader of one row reads one page a column.
const PAGE_BYTES: usize = 1 << 20;
/// Rows of a page, where rows are small.
const PAGE_ROWS: usize = 20_000;
/// Values handed to an encoder at once; the writer cuts further where long values would overfill a page.
const WRITE_BATCH_VALUES: usize = 8 << 10;
/// Bytes of distinct values after which a column's dictionary is given up.
const DICTIONARY_BYTES: usize = 64 << 10;

/// A Parquet file being written; it appears at [`DataFile::finish`], or never.
pub struct DataFile {
    path: PathBuf,
    writer: SerializedFileWriter<Sink>,
    encoder: RowGroupEncoder,
    row_groups: usize,
    rows: u64,
}

impl std::fmt::Debug for DataFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("DataFile");
        shown.field("path", &self.path).field("row_groups", &self.row_groups).field("rows", &self.rows);
        shown.finish_non_exhaustive()
    }
}

impl DataFile {
    /// Starts a file. `key_values` go into its metadata, after the features for `datasets`, which need not be given.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parquet`] where the schema has a type that Parquet lacks.
    pub fn create(
        path: impl Into<PathBuf>,
        schema: SchemaRef,
        key_values: Vec<(String, String)>,
    ) -> Result<DataFile, Error> {
        let path = path.into();
        let failed = |error| Error::parquet(&path, "header", error);
        let sink = Sink(Some(AtomicFile::create(&path)?));
        let options = ArrowWriterOptions::new().with_properties(properties(&schema, key_values).map_err(failed)?);
        let writer = ArrowWriter::try_new_with_options(sink, Arc::clone(&schema), options).map_err(failed)?;
        let (writer, factory) = writer.into_serialized_writer().map_err(failed)?;
        let tokens = TokenColumn::find(&schema, writer.schema_descr());
        let encoder = RowGroupEncoder { path: path.as_path().into(), schema, factory: Arc::new(factory), tokens };
        Ok(DataFile { path, writer, encoder, row_groups: 0, rows: 0 })
    }

    /// The final path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An encoder for any thread.
    pub fn encoder(&self) -> RowGroupEncoder {
        self.encoder.clone()
    }

    /// Rows appended so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes appended so far.
    pub fn bytes_written(&self) -> u64 {
        self.writer.bytes_written() as u64
    }

    /// Appends a row group; the order of calls is the order of rows.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk refuses, [`Error::Parquet`] for a row group of another schema.
    pub fn append(&mut self, encoded: EncodedRowGroup) -> Result<(), Error> {
        let rows = encoded.rows;
        write_row_group(&mut self.writer, encoded).map_err(|error| {
            let place = format!("row group {}", self.row_groups);
            Error::parquet(&self.path, place, error)
        })?;
        self.row_groups += 1;
        self.rows += rows;
        Ok(())
    }

    /// Writes the footer and commits the file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Parquet`].
    pub fn finish(mut self) -> Result<FileDigest, Error> {
        self.writer.finish().map_err(|error| Error::parquet(&self.path, "footer", error))?;
        let file = self.writer.inner_mut().0.take();
        let absent = || Error::io(&self.path, "commit")(io::Error::other("the file is committed"));
        file.ok_or_else(absent)?.commit()
    }
}

/// The file under a Parquet writer, which can be taken out once the footer is written: the writer's own way loses
/// the kind of a system error.
#[derive(Debug)]
struct Sink(Option<AtomicFile>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.as_mut().map_or_else(|| Err(io::Error::other("the file is committed")), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), Write::flush)
    }
}

fn write_row_group(writer: &mut SerializedFileWriter<Sink>, encoded: EncodedRowGroup) -> Result<(), ParquetError> {
    let mut row_group = writer.next_row_group()?;
    for chunk in encoded.chunks {
        chunk.append_to(&mut row_group)?;
    }
    row_group.close().map(drop)
}

/// Encodes row groups of one file, on any thread.
#[derive(Debug, Clone)]
pub struct RowGroupEncoder {
    path: Arc<Path>,
    schema: SchemaRef,
    factory: Arc<ArrowRowGroupWriterFactory>,
    tokens: Option<TokenColumn>,
}

impl RowGroupEncoder {
    /// The columns of the file.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Encodes and compresses a batch as one row group.
    ///
    /// # Errors
    /// [`Error::Schema`] for a batch of other columns, [`Error::Parquet`].
    pub fn encode(&self, batch: &RecordBatch) -> Result<EncodedRowGroup, Error> {
        self.check_schema(batch.schema_ref().fields().iter())?;
        let Some(column) = &self.tokens else { return self.encode_checked(batch, &[]) };
        let mut others = batch.clone();
        let lists = others.remove_column(column.field);
        let ids = column.rows(&lists).unwrap_or_default();
        self.encode_checked(&others, &ids)
    }

    /// Encodes and compresses rows as one row group: every column but `tokens` as a batch, and the ids of each row,
    /// little-endian, of the column's width.
    ///
    /// # Errors
    /// As [`RowGroupEncoder::encode`].
    pub fn encode_with_tokens(&self, others: &RecordBatch, ids: &[&[u8]]) -> Result<EncodedRowGroup, Error> {
        let fields: Vec<&FieldRef> = others.schema_ref().fields().iter().collect();
        let at = self.tokens.as_ref().map_or(fields.len(), |column| column.field).min(fields.len());
        let tokens = self.tokens.as_ref().and_then(|column| self.schema.fields().get(column.field));
        let (before, behind) = fields.split_at(at);
        self.check_schema(before.iter().copied().chain(tokens).chain(behind.iter().copied()))?;
        self.encode_checked(others, ids)
    }

    fn encode_checked(&self, others: &RecordBatch, ids: &[&[u8]]) -> Result<EncodedRowGroup, Error> {
        let rows = others.num_rows() as u64;
        let chunks = self.encode_columns(others.columns(), ids, rows);
        let chunks = chunks.map_err(|error| Error::parquet(&self.path, "encoding", error))?;
        Ok(EncodedRowGroup { chunks, rows })
    }

    fn check_schema<'a>(&self, found: impl Iterator<Item = &'a FieldRef>) -> Result<(), Error> {
        let shape = |field: &FieldRef| format!("{} {}", field.name(), field.data_type());
        let expected: Vec<String> = self.schema.fields().iter().map(shape).collect();
        let found: Vec<String> = found.map(shape).collect();
        if expected == found {
            return Ok(());
        }
        Err(Error::Schema { path: self.path.to_path_buf(), expected: expected.join(", "), found: found.join(", ") })
    }

    fn encode_columns(&self, others: &[ArrayRef], ids: &[&[u8]], rows: u64) -> Result<Vec<Chunk>, ParquetError> {
        // The number of the row group matters to encrypted files only.
        let mut writers = self.factory.create_column_writers(0)?.into_iter();
        let mut others = others.iter();
        let mut chunks = Vec::with_capacity(self.schema.fields().len());
        for (at, field) in self.schema.fields().iter().enumerate() {
            if let Some(column) = self.tokens.as_ref().filter(|column| column.field == at) {
                if ids.len() as u64 != rows {
                    return Err(ParquetError::General(format!("ids of {} rows beside {rows} rows", ids.len())));
                }
                writers.next();
                chunks.push(Chunk::Tokens(token_column::encode(column, ids)?));
                continue;
            }
            let Some(array) = others.next() else { break };
            for (leaf, mut writer) in compute_leaves(field, array)?.iter().zip(&mut writers) {
                writer.write(leaf)?;
                chunks.push(Chunk::Arrow(writer.close()?));
            }
        }
        Ok(chunks)
    }
}

/// An encoded column of a row group.
enum Chunk {
    Arrow(ArrowColumnChunk),
    Tokens(TokenChunk),
}

impl Chunk {
    fn bytes(&self) -> u64 {
        match self {
            Chunk::Arrow(chunk) => chunk.close().bytes_written,
            Chunk::Tokens(chunk) => chunk.bytes.len() as u64,
        }
    }

    fn append_to(self, row_group: &mut SerializedRowGroupWriter<'_, Sink>) -> Result<(), ParquetError> {
        match self {
            Chunk::Arrow(chunk) => chunk.append_to_row_group(row_group),
            Chunk::Tokens(chunk) => row_group.append_column(&chunk.bytes, chunk.close),
        }
    }
}

/// An encoded row group, on its way to [`DataFile::append`].
pub struct EncodedRowGroup {
    chunks: Vec<Chunk>,
    rows: u64,
}

impl std::fmt::Debug for EncodedRowGroup {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EncodedRowGroup").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl EncodedRowGroup {
    /// Rows in it.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes it will take in the file, and takes in memory until then.
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(Chunk::bytes).sum()
    }
}

fn properties(schema: &Schema, key_values: Vec<(String, String)>) -> Result<WriterProperties, ParquetError> {
    let given = key_values.iter().any(|(key, _)| key == HUGGINGFACE_KEY);
    let info = (!given).then(|| (HUGGINGFACE_KEY.to_owned(), huggingface_info(schema)));
    let metadata = info.into_iter().chain(key_values).map(|(key, value)| KeyValue::new(key, value)).collect();
    let builder = WriterProperties::builder()
        .set_created_by(format!("shardmill {}", schemas::TOOL_VERSION))
        .set_key_value_metadata(Some(metadata))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(WRITE_BATCH_VALUES)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_max_row_group_row_count(None);
    let with_column = |builder, field: &Arc<arrow::datatypes::Field>| match field.data_type() {
        DataType::List(element) => {
            let path = vec![field.name().clone(), "list".to_owned(), element.name().clone()];
            token_column(builder, ColumnPath::new(path))
        }
        _ => scalar_column(builder, field.name()),
    };
    Ok(schema.fields().iter().fold(builder, with_column).build())
}

fn token_column(builder: WriterPropertiesBuilder, path: ColumnPath) -> WriterPropertiesBuilder {
    builder
        .set_column_dictionary_enabled(path.clone(), false)
        .set_column_encoding(path.clone(), Encoding::BYTE_STREAM_SPLIT)
        .set_column_statistics_enabled(path, EnabledStatistics::None)
}

fn scalar_column(builder: WriterPropertiesBuilder, name: &str) -> WriterPropertiesBuilder {
    let path = ColumnPath::new(vec![name.to_owned()]);
    match name {
        "text" | "doc_id" | "raw" | "value" | "hash" | "signature" => {
            builder.set_column_dictionary_enabled(path, false)
        }
        "line" | "byte_offset" | "token_offset" | "n_tokens" | "n_chars" => builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
        _ => builder,
    }
}

/// The features of a file as `datasets` writes them, so that it need not guess: `tokens` is List(Value("uint16")).
pub fn huggingface_info(schema: &Schema) -> String {
    let features = schema.fields().iter().map(|field| (field.name().clone(), feature(field.data_type())));
    json!({"info": {"features": features.collect::<Map<String, Value>>()}}).to_string()
}

fn feature(data_type: &DataType) -> Value {
    let name = match data_type {
        DataType::List(element) => return json!({"feature": feature(element.data_type()), "_type": "List"}),
        DataType::Boolean => "bool",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::UInt16 => "uint16",
        DataType::UInt32 => "uint32",
        DataType::Float64 => "float64",
        DataType::Binary => "binary",
        _ => "string",
    };
    json!({"dtype": name, "_type": "Value"})
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, Int64Array, StringArray};
    use arrow::datatypes::Field;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::metadata::ParquetMetaData;
    use parquet::file::reader::FileReader;
    use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
    use schemas::dtype::Dtype;
    use std::fs::{self, File};

    use crate::fixture::{Row, batch, data_schema, rows};

    fn written(path: &Path, row_groups: &[RecordBatch], threads: usize) -> FileDigest {
        let mut file = DataFile::create(path, data_schema(Dtype::U16), Vec::new()).unwrap();
        let encoder = file.encoder();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let encoded: Vec<EncodedRowGroup> = pool.install(|| {
            use rayon::prelude::*;
            row_groups.par_iter().map(|batch| encoder.encode(batch).unwrap()).collect()
        });
        encoded.into_iter().for_each(|row_group| file.append(row_group).unwrap());
        file.finish().unwrap()
    }

    fn batches(count: u64) -> Vec<RecordBatch> {
        (0..count).map(|group| batch(Dtype::U16, &rows(group * 50, 50))).collect()
    }

    fn metadata(path: &Path) -> ParquetMetaData {
        let options = ReadOptionsBuilder::new().with_page_index().build();
        let reader = SerializedFileReader::new_with_options(File::open(path).unwrap(), options).unwrap();
        reader.metadata().clone()
    }

    fn column(metadata: &ParquetMetaData, name: &str) -> usize {
        let schema = metadata.file_metadata().schema_descr();
        (0..schema.num_columns()).find(|at| schema.column(*at).path().string() == name).unwrap()
    }

    #[test]
    fn the_bytes_do_not_depend_on_threads() {
        let folder = tempfile::tempdir().unwrap();
        let batches = batches(9);
        let paths: Vec<PathBuf> = (0..3).map(|n| folder.path().join(format!("{n}.parquet"))).collect();
        let digests: Vec<FileDigest> =
            paths.iter().zip([1, 2, 7]).map(|(path, threads)| written(path, &batches, threads)).collect();
        assert_eq!(digests[0], digests[1]);
        assert_eq!(digests[0], digests[2]);
        assert_eq!(crate::commit::hash_file(&paths[0]).unwrap(), digests[0]);
    }

    #[test]
    fn rows_come_back_in_the_order_of_the_appends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let batches = batches(4);
        written(&path, &batches, 2);
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
        let read: Vec<RecordBatch> = reader.with_batch_size(50).build().unwrap().map(Result::unwrap).collect();
        for (read, expected) in read.iter().zip(&batches) {
            assert_eq!(read.columns(), expected.columns());
        }
        assert_eq!(read.len(), 4);
    }

    #[test]
    fn tokens_are_byte_stream_split_without_dictionary_or_statistics() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        written(&path, &batches(1), 1);
        let metadata = metadata(&path);
        let tokens = metadata.row_group(0).column(column(&metadata, "tokens.list.element"));
        assert!(tokens.encodings().any(|encoding| encoding == Encoding::BYTE_STREAM_SPLIT));
        assert!(tokens.dictionary_page_offset().is_none() && tokens.statistics().is_none());
    }

    #[test]
    fn other_columns_have_statistics_and_a_page_index() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        written(&path, &batches(1), 1);
        let metadata = metadata(&path);
        for name in ["line", "text", "perplexity"] {
            let chunk = metadata.row_group(0).column(column(&metadata, name));
            assert!(chunk.statistics().is_some() && chunk.column_index_offset().is_some(), "{name}");
            assert!(chunk.offset_index_offset().is_some(), "{name}");
        }
        let source = metadata.row_group(0).column(column(&metadata, "source"));
        assert!(source.dictionary_page_offset().is_some());
    }

    #[test]
    fn metadata_names_the_writer_and_the_features() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        written(&path, &batches(1), 1);
        let metadata = metadata(&path);
        let file = metadata.file_metadata();
        assert_eq!(file.created_by(), Some(format!("shardmill {}", schemas::TOOL_VERSION).as_str()));
        let key_values = file.key_value_metadata().unwrap();
        let info = key_values.iter().find(|pair| pair.key == HUGGINGFACE_KEY).and_then(|pair| pair.value.clone());
        let info: Value = serde_json::from_str(&info.unwrap()).unwrap();
        let expected = json!({"feature": {"dtype": "uint16", "_type": "Value"}, "_type": "List"});
        assert_eq!(info["info"]["features"]["tokens"], expected);
    }

    #[test]
    fn long_documents_do_not_make_long_pages() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let long = |row: &Row| Row { text: row.text.repeat(2000), tokens: row.tokens.repeat(500), ..row.clone() };
        let rows: Vec<Row> = rows(0, 300).iter().map(long).collect();
        written(&path, &[batch(Dtype::U16, &rows)], 1);
        let metadata = metadata(&path);
        for name in ["text", "tokens.list.element"] {
            let at = column(&metadata, name);
            let pages = metadata.page_index_for_row_group(0).page_locations(at).unwrap().len() as i64;
            let bytes = metadata.row_group(0).column(at).uncompressed_size();
            assert!(bytes > 2 << 20 && bytes / pages < 2 << 20, "{name}: {bytes} bytes in {pages} pages");
        }
    }

    #[test]
    fn a_batch_of_other_columns_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = DataFile::create(folder.path().join("a"), data_schema(Dtype::U16), Vec::new()).unwrap();
        let error = file.encoder().encode(&batch(Dtype::U32, &rows(0, 1))).unwrap_err();
        assert!(matches!(&error, Error::Schema { found, .. } if found.contains("UInt32")), "{error}");
    }

    #[test]
    fn a_file_that_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = DataFile::create(folder.path().join("a"), data_schema(Dtype::U16), Vec::new()).unwrap();
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_without_rows_has_its_columns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        written(&path, &[], 1);
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
        assert_eq!(reader.schema().fields(), data_schema(Dtype::U16).fields());
    }

    #[test]
    fn a_column_with_a_dot_in_its_name_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let schema = Arc::new(Schema::new(vec![
            Field::new("meta.source", DataType::Utf8, true),
            Field::new("line", DataType::Int64, false),
        ]));
        let columns: Vec<Arc<dyn Array>> =
            vec![Arc::new(StringArray::from(vec![Some("a"), None])), Arc::new(Int64Array::from(vec![1, 2]))];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let mut file = DataFile::create(&path, schema, Vec::new()).unwrap();
        let encoded = file.encoder().encode(&batch).unwrap();
        assert_eq!(encoded.rows(), 2);
        assert!(encoded.bytes() > 0);
        file.append(encoded).unwrap();
        assert_eq!(file.rows(), 2);
        file.finish().unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
        assert_eq!(reader.build().unwrap().next().unwrap().unwrap().columns(), batch.columns());
    }
}
