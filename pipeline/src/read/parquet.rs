//! Parquet inputs, a row group at a time. A part owns the row groups that start in it.
//!
//! A damaged row group keeps its rows before the damage and adds one record; the groups after it are read. So the
//! result is the same however the file is cut into parts.

use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};
use schemas::rule::InvalidRule;

use super::block::{BLOCK_BYTES, Block};
use super::error::Error;
use super::fault::Fault;
use super::inputs::{Input, Part};
use super::raw_file::RawFile;
use super::rows::Rows;
use crate::record::Position;

/// Most rows of a block.
const BLOCK_ROWS_MAX: u64 = 4096;

/// Reads the row groups of a part.
pub struct ParquetReader {
    file: File,
    path: PathBuf,
    raw: RawFile,
    metadata: Option<ArrowReaderMetadata>,
    /// Which top-level columns were declared to be strings.
    strings: Arc<Vec<bool>>,
    groups: VecDeque<usize>,
    current: Option<ParquetRecordBatchReader>,
    /// Damage found before anything was read.
    damage: Option<Fault>,
    next_line: u64,
    stored_bytes_done: u64,
}

/// Why decoding stopped.
enum Stop {
    Io(std::io::Error),
    Damage(String),
}

impl ParquetReader {
    /// Opens a part. A file without a readable footer is one damaged record, in the part at its start.
    pub fn open(input: &Input, part: &Part) -> Result<ParquetReader, Error> {
        let path = &input.path;
        let file = File::open(path).map_err(|source| Error::io("open", path, source))?;
        let mut reader = ParquetReader {
            raw: RawFile::open(path, part.start, part.end, part.start)?,
            file,
            path: path.clone(),
            metadata: None,
            strings: Arc::default(),
            groups: VecDeque::new(),
            current: None,
            damage: None,
            next_line: 0,
            stored_bytes_done: 0,
        };
        let opened = guarded(|| {
            let (metadata, strings) = load(&reader.file)?;
            let groups = owned_groups(&metadata, part, input.bytes);
            Ok((metadata, strings, groups))
        });
        match opened {
            Ok((metadata, strings, groups)) => {
                (reader.metadata, reader.strings, reader.groups) = (Some(metadata), Arc::new(strings), groups);
            }
            Err(Stop::Io(source)) => return Err(Error::io("read", path, source)),
            Err(Stop::Damage(reason)) if part.start == 0 => reader.damage = Some(damage(&reason, "footer")),
            Err(Stop::Damage(_)) => {}
        }
        Ok(reader)
    }

    /// The next rows; None at the end of the part.
    pub fn next_block(&mut self) -> Result<Option<Block>, Error> {
        if let Some(fault) = self.damage.take() {
            return Ok(Some(self.invalid(fault)));
        }
        loop {
            let Some(reader) = &mut self.current else {
                let Some(group) = self.groups.pop_front() else { return Ok(None) };
                match guarded(|| self.start(group)) {
                    Ok(reader) => self.current = Some(reader),
                    Err(stop) => return self.stopped(stop).map(Some),
                }
                continue;
            };
            match guarded(|| Ok(reader.next().transpose()?)) {
                Ok(Some(batch)) => return Ok(Some(self.rows(batch))),
                Ok(None) => self.current = None,
                Err(stop) => {
                    self.current = None;
                    return self.stopped(stop).map(Some);
                }
            }
        }
    }

    fn start(&self, group: usize) -> Result<ParquetRecordBatchReader, ParquetError> {
        let Some(metadata) = self.metadata.clone() else { return Err(ParquetError::General("no footer".to_owned())) };
        let row_group = metadata.metadata().row_group(group);
        let rows = row_group.num_rows().max(1) as u64;
        let row_bytes = (row_group.total_byte_size().max(0) as u64 / rows).max(1);
        let batch_rows = (BLOCK_BYTES as u64 / row_bytes).clamp(1, BLOCK_ROWS_MAX) as usize;
        ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.try_clone()?, metadata)
            .with_row_groups(vec![group])
            .with_batch_size(batch_rows)
            .build()
    }

    fn rows(&mut self, batch: RecordBatch) -> Block {
        let first_line = self.next_line;
        self.next_line += batch.num_rows() as u64;
        self.stored_bytes_done += batch.get_array_memory_size() as u64;
        Block::rows(Rows { batch, first_line, strings: Arc::clone(&self.strings) })
    }

    fn stopped(&mut self, stop: Stop) -> Result<Block, Error> {
        match stop {
            Stop::Io(source) => Err(Error::io("read", &self.path, source)),
            Stop::Damage(reason) => Ok(self.invalid(damage(&reason, "row group"))),
        }
    }

    fn invalid(&mut self, fault: Fault) -> Block {
        let position = Position { line: self.next_line, byte_offset: None };
        self.next_line += 1;
        Block::invalid(fault.into_invalid(position, b""))
    }

    /// Rows handed out so far, and damaged row groups.
    pub fn lines(&self) -> u64 {
        self.next_line
    }

    /// About how many stored bytes have been read: rows are counted by their size in memory.
    pub fn bytes_read(&self, part_bytes: u64) -> u64 {
        self.stored_bytes_done.min(part_bytes)
    }

    /// Reads the part as stored, and returns the digests of its blocks.
    pub fn finish(self) -> Result<Vec<u128>, Error> {
        self.raw.finish()
    }
}

fn damage(reason: &str, what: &str) -> Fault {
    Fault::new(InvalidRule::StreamCorrupt, format!("parquet {what} is corrupt: {reason}"))
}

/// Runs a decoder of foreign bytes.
///
/// Catching panics is the last resort: the parquet crate checks most of what it reads, but of 145 corrupt files tried
/// some made readers built on it panic, and one damaged file must not end a run over thousands.
fn guarded<T>(decode: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, Stop> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(stop(error)),
        Err(_) => Err(Stop::Damage("the decoder panicked".to_owned())),
    }
}

fn stop(error: ParquetError) -> Stop {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) if source.kind() != std::io::ErrorKind::UnexpectedEof && source.raw_os_error().is_some() => {
                Stop::Io(*source)
            }
            Ok(source) => Stop::Damage(source.to_string()),
            Err(source) => Stop::Damage(source.to_string()),
        },
        other => Stop::Damage(other.to_string()),
    }
}

/// The footer, with top-level strings declared as bytes: their UTF-8 is checked row by row, so that a bad byte costs
/// its row and not its batch. Also which columns those were.
fn load(file: &File) -> Result<(ArrowReaderMetadata, Vec<bool>), ParquetError> {
    let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let declared = ArrowReaderMetadata::load(file, options())?;
    let root = declared.parquet_schema().root_schema();
    let strings: Vec<bool> = root.get_fields().iter().map(is_string).collect();
    let fields = root.get_fields().iter().map(as_bytes).collect::<Result<Vec<TypePtr>, ParquetError>>()?;
    let schema = Type::group_type_builder(root.name()).with_fields(fields).build()?;
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(schema)));
    Ok((ArrowReaderMetadata::load(file, options().with_parquet_schema(schema))?, strings))
}

fn is_string(field: &TypePtr) -> bool {
    let info = field.get_basic_info();
    let flat =
        field.is_primitive() && info.has_repetition() && info.repetition() != parquet::basic::Repetition::REPEATED;
    let bytes = flat && field.get_physical_type() == Physical::BYTE_ARRAY;
    let logical = matches!(info.logical_type_ref(), Some(LogicalType::String | LogicalType::Json | LogicalType::Enum));
    let converted = matches!(info.converted_type(), ConvertedType::UTF8 | ConvertedType::JSON | ConvertedType::ENUM);
    bytes && (logical || converted)
}

fn as_bytes(field: &TypePtr) -> Result<TypePtr, ParquetError> {
    if !is_string(field) {
        return Ok(Arc::clone(field));
    }
    let info = field.get_basic_info();
    let id = info.has_id().then(|| info.id());
    let builder = Type::primitive_type_builder(field.name(), Physical::BYTE_ARRAY);
    Ok(Arc::new(builder.with_repetition(info.repetition()).with_id(id).build()?))
}

/// Row groups that start in a part, in their order. A group that claims to start before the one in front of it, or
/// beyond the file, is taken to start there, so that every group has one owner.
fn owned_groups(metadata: &ArrowReaderMetadata, part: &Part, file_bytes: u64) -> VecDeque<usize> {
    let mut latest = 0;
    let groups = metadata.metadata().row_groups().iter().enumerate();
    let starts = groups.map(|(index, group)| {
        let start = group.columns().first().map_or(0, |column| column.byte_range().0);
        latest = start.min(file_bytes.saturating_sub(1)).max(latest);
        (index, latest)
    });
    starts.filter(|(_, start)| (part.start..part.end).contains(start)).map(|(index, _)| index).collect()
}
