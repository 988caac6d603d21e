//! The column chunk of token ids, encoded from the ids as they lie in a shard.
//!
//! The Parquet crate takes Arrow lists, for which it makes 12 bytes of levels an element and copies each id four
//! times. Here a row's levels are two runs, and the planes of BYTE_STREAM_SPLIT stream into zstd as they are made: a
//! document of any length takes memory for its compressed bytes alone.
//!
//! Layout: <https://parquet.apache.org/docs/file-format/> (data pages v1, RLE levels, BYTE_STREAM_SPLIT).

use std::io::{self, Write};
use std::mem::size_of;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Schema, UInt16Type, UInt32Type};
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};
use schemas::columns::tokens_type;
use schemas::dtype::Dtype;
use zstd::stream::raw::{self, CParameter};
use zstd::stream::write::Encoder;
use zstd::zstd_safe::CCtx;

use super::{PAGE_BYTES, PAGE_ROWS, ZSTD_LEVEL};

/// Bytes of an id in the file, whatever its width in the shard: Parquet keeps 16-bit integers in 32 bits.
const VALUE_BYTES: usize = size_of::<u32>();

/// The column of a schema that this module encodes.
#[derive(Debug, Clone)]
pub(super) struct TokenColumn {
    /// Its place among the fields.
    pub(super) field: usize,
    descriptor: ColumnDescPtr,
    /// Bytes of an id in memory: 2 or 4.
    id_bytes: usize,
}

impl TokenColumn {
    /// The column `tokens`, if the schema has one as `schemas` defines it.
    pub(super) fn find(schema: &Schema, parquet: &SchemaDescriptor) -> Option<TokenColumn> {
        let (field, found) = schema.column_with_name("tokens")?;
        let dtype = [Dtype::U16, Dtype::U32].into_iter().find(|dtype| tokens_type(*dtype) == *found.data_type())?;
        let leaf = (0..parquet.num_columns()).find(|leaf| parquet.get_column_root_idx(*leaf) == field)?;
        (!found.is_nullable()).then(|| TokenColumn {
            field,
            descriptor: parquet.column(leaf),
            id_bytes: dtype.token_bytes(),
        })
    }

    /// The ids of each row of an Arrow list, as bytes; None for an array of another type.
    pub(super) fn rows<'a>(&self, lists: &'a ArrayRef) -> Option<Vec<&'a [u8]>> {
        let lists = lists.as_list_opt::<i32>()?;
        let bytes = match lists.value_type() {
            DataType::UInt16 => lists.values().as_primitive::<UInt16Type>().values().inner().as_slice(),
            _ => lists.values().as_primitive_opt::<UInt32Type>()?.values().inner().as_slice(),
        };
        let bounds = lists.value_offsets().windows(2);
        bounds.map(|bounds| bytes.get(bounds[0] as usize * self.id_bytes..bounds[1] as usize * self.id_bytes)).collect()
    }
}

/// An encoded column chunk and what the file's metadata say of it.
pub(super) struct TokenChunk {
    pub(super) bytes: Bytes,
    pub(super) close: ColumnCloseResult,
}

/// Encodes rows of little-endian ids. A page ends by its rows and ids alone.
///
/// # Errors
/// [`ParquetError`] for a row whose page would be larger than Parquet's 2 GiB.
pub(super) fn encode(column: &TokenColumn, rows: &[&[u8]]) -> Result<TokenChunk, ParquetError> {
    let id_bytes = column.id_bytes;
    let mut sink = TrackedWrite::new(Vec::new());
    let mut totals = Totals::default();
    let mut offsets = OffsetIndexBuilder::new();
    let mut pages = SerializedPageWriter::new(&mut sink);
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(ZSTD_LEVEL)).map_err(zstd_error)?;
    let mut rest = rows;
    while !rest.is_empty() {
        let (page_rows, next) = rest.split_at(rows_of_page(rest, id_bytes));
        rest = next;
        let (page, values) = encode_page(page_rows, id_bytes, &mut context)?;
        let spec = pages.write_page(page)?;
        offsets.append_row_count(page_rows.len() as i64);
        offsets.append_offset_and_size(spec.offset as i64, spec.compressed_size as i32);
        totals.compressed += spec.compressed_size as i64;
        totals.uncompressed += spec.uncompressed_size as i64;
        totals.values += values as i64;
        totals.pages += 1;
    }
    pages.close()?;
    let stats = PageEncodingStats {
        page_type: PageType::DATA_PAGE,
        encoding: Encoding::BYTE_STREAM_SPLIT,
        count: totals.pages,
    };
    let metadata = ColumnChunkMetaData::builder(column.descriptor.clone())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_encodings(vec![Encoding::RLE, Encoding::BYTE_STREAM_SPLIT])
        .set_page_encoding_stats(vec![stats])
        .set_total_compressed_size(totals.compressed)
        .set_total_uncompressed_size(totals.uncompressed)
        .set_num_values(totals.values)
        .set_data_page_offset(0)
        .build()?;
    let close = ColumnCloseResult {
        bytes_written: totals.compressed as u64,
        rows_written: rows.len() as u64,
        metadata,
        bloom_filter: None,
        column_index: None,
        offset_index: Some(offsets.build()),
    };
    Ok(TokenChunk { bytes: sink.into_inner()?.into(), close })
}

#[derive(Default)]
struct Totals {
    compressed: i64,
    uncompressed: i64,
    values: i64,
    pages: i32,
}

/// How many of the rows make a page: as many as reach the bytes or the rows of one.
fn rows_of_page(rows: &[&[u8]], id_bytes: usize) -> usize {
    let mut values = 0;
    let full = rows.iter().take(PAGE_ROWS).position(|row| {
        values += row.len() / id_bytes;
        values * VALUE_BYTES >= PAGE_BYTES
    });
    full.map_or(rows.len().min(PAGE_ROWS), |last| last + 1)
}

/// A page, and its values: its ids, and one for each row without ids.
fn encode_page(
    rows: &[&[u8]],
    id_bytes: usize,
    context: &mut CCtx<'static>,
) -> Result<(CompressedPage, usize), ParquetError> {
    let (repetition, definition) = levels(rows, id_bytes);
    let ids: usize = rows.iter().map(|row| row.len() / id_bytes).sum();
    let values = ids + rows.iter().filter(|row| row.is_empty()).count();
    let bytes = repetition.len() + definition.len() + ids * VALUE_BYTES;
    if i32::try_from(bytes).is_err() {
        return Err(ParquetError::General(format!("a row of {ids} tokens: a page holds 2 GiB")));
    }
    let mut encoder = raw::Encoder::with_context(context);
    encoder.set_pledged_src_size(Some(bytes as u64))?;
    let mut out = Encoder::with_encoder(Vec::with_capacity(bytes / 3), encoder);
    out.write_all(&repetition)?;
    out.write_all(&definition)?;
    for plane in 0..VALUE_BYTES {
        write_plane(&mut out, rows, id_bytes, plane)?;
    }
    let page = Page::DataPage {
        buf: out.finish()?.into(),
        num_values: values as u32,
        encoding: Encoding::BYTE_STREAM_SPLIT,
        def_level_encoding: Encoding::RLE,
        rep_level_encoding: Encoding::RLE,
        statistics: None,
    };
    Ok((CompressedPage::new(page, bytes), values))
}

/// Byte `plane` of every id, counted from the low end; zeros beyond the width of the shard's ids.
fn write_plane(out: &mut impl Write, rows: &[&[u8]], id_bytes: usize, plane: usize) -> io::Result<()> {
    let mut block = [0_u8; 32 << 10];
    for row in rows {
        for ids in row.chunks(block.len() * id_bytes) {
            let count = ids.len() / id_bytes;
            let Some(bytes) = block.get_mut(..count) else { continue };
            match id_bytes {
                2 => pick::<2>(ids, plane, bytes),
                _ => pick::<4>(ids, plane, bytes),
            }
            out.write_all(bytes)?;
        }
    }
    Ok(())
}

fn pick<const WIDTH: usize>(ids: &[u8], plane: usize, out: &mut [u8]) {
    match plane < WIDTH {
        true => out.iter_mut().zip(ids.as_chunks::<WIDTH>().0).for_each(|(byte, id)| *byte = id[plane]),
        false => out.fill(0),
    }
}

/// Repetition levels (0 where a row begins, 1 within it) and definition levels (1 for an id, 0 for a row without
/// any), each behind its length as RLE runs of one bit.
fn levels(rows: &[&[u8]], id_bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let mut repetition = Runs::default();
    let mut definition = Runs::default();
    for row in rows {
        let ids = row.len() / id_bytes;
        repetition.push(0, 1);
        repetition.push(1, ids.saturating_sub(1));
        definition.push(u8::from(ids > 0), ids.max(1));
    }
    (repetition.finish(), definition.finish())
}

fn zstd_error(code: usize) -> ParquetError {
    ParquetError::General(format!("zstd: {}", zstd::zstd_safe::get_error_name(code)))
}

/// Runs of levels of one bit in Parquet's RLE, behind four bytes for their length.
struct Runs {
    out: Vec<u8>,
    level: u8,
    count: usize,
}

impl Default for Runs {
    fn default() -> Self {
        Runs { out: vec![0; size_of::<u32>()], level: 0, count: 0 }
    }
}

impl Runs {
    fn push(&mut self, level: u8, count: usize) {
        if level != self.level && count > 0 {
            self.end_run();
            self.level = level;
        }
        self.count += count;
    }

    fn end_run(&mut self) {
        if self.count == 0 {
            return;
        }
        let mut header = self.count << 1;
        while header >= 0x80 {
            self.out.push(header as u8 | 0x80);
            header >>= 7;
        }
        self.out.extend_from_slice(&[header as u8, self.level]);
        self.count = 0;
    }

    fn finish(mut self) -> Vec<u8> {
        self.end_run();
        let length = (self.out.len() - size_of::<u32>()) as u32;
        self.out.iter_mut().zip(length.to_le_bytes()).for_each(|(byte, length)| *byte = length);
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::sync::Arc;

    use arrow::array::{Array, ListArray, RecordBatch};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use proptest::prelude::*;

    use crate::fixture::{Row, batch, data_schema, rows};
    use crate::parquet::DataFile;

    /// Writes the rows as two row groups and reads them with the Parquet crate's own reader.
    fn there_and_back(dtype: Dtype, tokens: &[Vec<u32>]) -> Vec<Vec<u32>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let rows: Vec<Row> = rows(0, tokens.len() as u64)
            .into_iter()
            .zip(tokens)
            .map(|(row, tokens)| Row { tokens: tokens.clone(), ..row })
            .collect();
        let mut file = DataFile::create(&path, data_schema(dtype), Vec::new()).unwrap();
        let whole = batch(dtype, &rows);
        for half in [whole.slice(0, rows.len() / 2), whole.slice(rows.len() / 2, rows.len() - rows.len() / 2)] {
            file.append(file.encoder().encode(&half).unwrap()).unwrap();
        }
        file.finish().unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap().build().unwrap();
        let read: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        read.iter().flat_map(|batch| ids(batch.column_by_name("tokens").unwrap().as_list::<i32>())).collect()
    }

    fn ids(lists: &ListArray) -> Vec<Vec<u32>> {
        let wide = |row: Arc<dyn Array>| arrow::compute::cast(&row, &DataType::UInt32).unwrap();
        lists.iter().map(|row| wide(row.unwrap()).as_primitive::<UInt32Type>().values().to_vec()).collect()
    }

    #[test]
    fn a_row_longer_than_a_page_and_rows_without_ids_come_back() {
        let long: Vec<u32> = (0..700_000).map(|id| id * 7 % 65_536).collect();
        let tokens = [vec![], vec![1], long.clone(), vec![], vec![65_535, 0], long];
        assert_eq!(there_and_back(Dtype::U16, &tokens), tokens);
        assert_eq!(there_and_back(Dtype::U32, &tokens), tokens);
    }

    #[test]
    fn more_rows_than_a_page_holds_come_back() {
        let tokens: Vec<Vec<u32>> = (0..50_001).map(|row| vec![row % 65_536; row as usize % 3]).collect();
        assert_eq!(there_and_back(Dtype::U16, &tokens), tokens);
    }

    #[test]
    fn ids_of_fewer_rows_than_the_others_have_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = DataFile::create(folder.path().join("a"), data_schema(Dtype::U16), Vec::new()).unwrap();
        let mut others = batch(Dtype::U16, &rows(0, 3));
        others.remove_column(others.schema().index_of("tokens").unwrap());
        let error = file.encoder().encode_with_tokens(&others, &[&[1, 0], &[2, 0]]).unwrap_err().to_string();
        assert!(error.contains("ids of 2 rows beside 3 rows"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn any_ids_come_back(tokens in prop::collection::vec(prop::collection::vec(any::<u32>(), 0..200), 0..60)) {
            prop_assert_eq!(&there_and_back(Dtype::U32, &tokens), &tokens);
            let narrow: Vec<Vec<u32>> =
                tokens.iter().map(|row| row.iter().map(|id| id & 0xffff).collect()).collect();
            prop_assert_eq!(there_and_back(Dtype::U16, &narrow), narrow);
        }
    }
}
