//! The write stage: one task a shard; `.bin` and `.idx`, and the Parquet file that holds the same documents.
//!
//! The task walks the frames from the shard's first document, cuts row groups by rows and tokens alone (so that they
//! never depend on tasks, threads or memory), and encodes them on every core while it appends in order.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringBuilder};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use schemas::columns::data_schema;
use schemas::dtype::Dtype;
use schemas::manifest::{FileEntry, Split};
use serde::{Deserialize, Serialize};
use shards::parquet::{DataFile, EncodedRowGroup, RowGroupEncoder};
use shards::shard::ShardWriter;

use super::order::{self, OrderDone, RowPlace, ShardPlan};
use super::read::no_such_rank;
use super::source;
use super::table::{Slots, SourceColumns, doc_id};
use super::tokenize::FrameMeta;
use crate::engine::ordered::ordered;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::report::columns::ColumnSketches;
use crate::spill::frame::FrameReader;
use crate::spill::rows::{Origin, RowBlock, RowParts, RowWriter};
use crate::spill::tokens::{RowState, TokenBlock, TokenWriter};

/// Name of the stage.
pub const NAME: &str = "write";

const ROW_GROUP_ROWS: usize = 16_384;
const ROW_GROUP_TOKENS: u64 = 1 << 20;
/// A row group of that size with its text, as arrays and as encoded columns.
const ROW_GROUP_FOOTPRINT: u64 = 24 << 20;

/// The write stage.
pub struct WriteStage;

/// What a write task says of itself: the files of its shard, and what is in them.
#[derive(Debug, Serialize, Deserialize)]
pub struct WriteDone {
    /// `.bin`, `.idx` and, if asked for, `.parquet`.
    pub files: Vec<FileEntry>,
    /// What the report keeps of its documents.
    pub sketches: ColumnSketches,
}

impl Stage for WriteStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        Ok(run.marker::<OrderDone>(order::NAME, 0)?.shards.len())
    }

    fn task_bytes(&self, _run: &Run) -> u64 {
        ROW_GROUP_FOOTPRINT
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let order: OrderDone = run.marker(order::NAME, 0)?;
        let Some(shard) = order.shards.get(rank) else { return Err(no_such_rank(NAME, rank, order.shards.len())) };
        let done = ShardTask { run, order: &order, shard }.write()?;
        run.mark_done(NAME, rank, &done)
    }
}

/// A row group on its way into the files.
struct Encoded {
    group: Group,
    row_group: Option<EncodedRowGroup>,
    sketches: ColumnSketches,
}

struct ShardTask<'a> {
    run: &'a Run,
    order: &'a OrderDone,
    shard: &'a ShardPlan,
}

impl ShardTask<'_> {
    fn write(&self) -> Result<WriteDone, Error> {
        let config = &self.run.plan.config;
        let dataset = &self.run.plan.dataset;
        let schema = Arc::new(data_schema(&self.order.columns, self.order.extra, config.tokenize.dtype));
        let path = self.data_path();
        let mut data = match config.output.parquet {
            true => Some(DataFile::create(dataset.join(&path), Arc::clone(&schema), Vec::new())?),
            false => None,
        };
        let encoder = data.as_ref().map(DataFile::encoder);
        let others = Arc::new(without_tokens(&schema));
        let mut bin = ShardWriter::create(dataset, self.shard.split, self.shard.number, config.tokenize.dtype)?;
        let mut groups = Groups::new(self)?;
        let bounds = self.run.bounds(ROW_GROUP_FOOTPRINT, Group::largest_document);
        let next = || {
            self.run.interrupt.check()?;
            groups.next()
        };
        let work = |group: Group| self.encode(group, &others, encoder.as_ref());
        let mut sketches = ColumnSketches::default();
        ordered(&bounds, next, work, |encoded: Encoded| {
            encoded.group.documents().try_for_each(|(piece, row)| bin.push_document(piece.tokens.ids(row)))?;
            sketches.merge(&encoded.sketches);
            match (&mut data, encoded.row_group) {
                (Some(data), Some(encoded)) => Ok(data.append(encoded)?),
                _ => Ok(()),
            }
        })?;
        let mut files = Vec::from(bin.finish()?);
        if let Some(data) = data {
            let digest = data.finish()?;
            let (documents, tokens) = (Some(self.shard.documents), Some(self.shard.tokens));
            files.push(FileEntry { path, bytes: digest.bytes, documents, tokens, sha256: digest.sha256 });
        }
        Ok(WriteDone { files, sketches })
    }

    fn data_path(&self) -> String {
        let split = self.shard.split;
        format!("data/{}-{:05}-of-{:05}.parquet", split.name(), self.shard.number, self.order.shard_count(split))
    }

    fn encode(&self, group: Group, others: &Arc<Schema>, encoder: Option<&RowGroupEncoder>) -> Result<Encoded, Error> {
        let batch = self.batch(&group, others)?;
        let mut sketches = ColumnSketches::default();
        sketches.push(&batch);
        let encode = |encoder: &RowGroupEncoder| {
            let ids: Vec<&[u8]> = group.documents().map(|(piece, row)| piece.tokens.ids(row)).collect();
            encoder.encode_with_tokens(&batch, &ids)
        };
        let row_group = encoder.map(encode).transpose()?;
        Ok(Encoded { group, row_group, sketches })
    }

    /// Every column but the ids, which the encoder takes as they lie in their frames.
    fn batch(&self, group: &Group, others: &Arc<Schema>) -> Result<RecordBatch, Error> {
        let rows = group.rows;
        let mut doc_ids = StringBuilder::with_capacity(rows, rows * 24);
        let mut texts = StringBuilder::with_capacity(rows, group.text_bytes);
        let mut sources = StringBuilder::with_capacity(rows, rows * 16);
        let (mut lines, mut offsets) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let mut copies = Vec::with_capacity(rows);
        let mut columns = SourceColumns::new(&self.order.columns, self.order.extra);
        let mut slots = Slots::default();
        for piece in &group.pieces {
            let map = columns.map(&piece.block);
            let id_name = id_name(self.run, &piece.block);
            for index in piece.selected() {
                let Some(row) = piece.block.rows.get(index) else { continue };
                let source = self.run.plan.inputs.get(row.origin.input as usize).map_or("", |input| &input.label);
                let line = piece.line_base + row.origin.line + 1;
                doc_ids.append_value(doc_id(&piece.block, row, id_name, || place_name(source, line, &row.origin)));
                texts.append_value(piece.block.str(&row.body));
                sources.append_value(source);
                lines.push(line as i64);
                copies.push((piece.copy + row.origin.copy) as i32);
                offsets.push(row.origin.byte_offset.map(|offset| offset as i64));
                columns.row(&piece.block, row, &map, &mut slots);
            }
        }
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(doc_ids.finish()),
            Arc::new(texts.finish()),
            Arc::new(sources.finish()),
            Arc::new(Int64Array::from(lines)),
            Arc::new(Int64Array::from(offsets)),
            Arc::new(Int32Array::from(copies)),
        ];
        arrays.extend(columns.finish());
        arrays.extend(self.token_columns(group));
        Ok(RecordBatch::try_new(Arc::clone(others), arrays)?)
    }

    /// `n_tokens, shard, token_offset`.
    fn token_columns(&self, group: &Group) -> [ArrayRef; 3] {
        let dtype = self.run.plan.config.tokenize.dtype;
        let mut counts = Vec::with_capacity(group.rows);
        let mut starts = Vec::with_capacity(group.rows);
        let mut next = group.first_token;
        for (piece, row) in group.documents() {
            let count = piece.tokens.ids(row).len() / dtype.token_bytes();
            starts.push(next as i64);
            counts.push(count as i32);
            next += count as u64;
        }
        [
            Arc::new(Int32Array::from(counts)),
            Arc::new(Int32Array::from(vec![self.shard.number as i32; group.rows])),
            Arc::new(Int64Array::from(starts)),
        ]
    }
}

fn without_tokens(schema: &Schema) -> Schema {
    let others = schema.fields().iter().filter(|field| field.name() != "tokens");
    Schema::new(others.cloned().collect::<Vec<_>>())
}

/// The name of the id column in a block, if it has one.
pub(super) fn id_name(run: &Run, block: &RowBlock) -> Option<u32> {
    let column = run.plan.id_column();
    block.names.iter().position(|name| name == column).map(|index| index as u32)
}

/// `FILE@OFFSET`, or `FILE:LINE` for inputs without offsets.
pub(super) fn place_name(source: &str, line: u64, origin: &Origin) -> String {
    match origin.byte_offset {
        Some(offset) => format!("{source}@{offset}"),
        None => format!("{source}:{line}"),
    }
}

/// Rows of one frame that a row group takes: those of its side from `first` to `last`.
struct Piece {
    block: Arc<RowBlock>,
    tokens: Arc<TokenBlock>,
    split: Split,
    line_base: u64,
    copy: u32,
    first: usize,
    last: usize,
}

impl Piece {
    fn selected(&self) -> impl Iterator<Item = usize> + '_ {
        let kept = |index: &usize| self.tokens.states.get(*index) == Some(&RowState::Kept(self.split));
        (self.first..self.last).filter(kept)
    }
}

/// A row group.
#[derive(Default)]
struct Group {
    pieces: Vec<Piece>,
    rows: usize,
    tokens: u64,
    text_bytes: usize,
    largest_document: u64,
    first_token: u64,
}

impl Group {
    fn largest_document(&self) -> u64 {
        self.largest_document
    }

    fn documents(&self) -> impl Iterator<Item = (&Piece, usize)> {
        self.pieces.iter().flat_map(|piece| piece.selected().map(move |row| (piece, row)))
    }

    fn is_full(&self) -> bool {
        self.rows >= ROW_GROUP_ROWS || self.tokens >= ROW_GROUP_TOKENS
    }
}

/// Walks the frames of a shard and cuts row groups.
struct Groups<'a> {
    run: &'a Run,
    split: Split,
    next_frame: RowPlace,
    documents_left: u64,
    first_token: u64,
    source: Option<OpenSource>,
    frame: Option<Piece>,
}

struct OpenSource {
    index: usize,
    line_base: u64,
    copy: u32,
    frames: Vec<FrameMeta>,
    rows: FrameReader,
    tokens: FrameReader,
}

impl<'a> Groups<'a> {
    fn new(task: &ShardTask<'a>) -> Result<Self, Error> {
        let ShardPlan { split, start, documents, .. } = *task.shard;
        let mut groups = Groups {
            run: task.run,
            split,
            next_frame: RowPlace { row: 0, ..start },
            documents_left: documents,
            first_token: 0,
            source: None,
            frame: None,
        };
        groups.open_frame(start.row)?;
        Ok(groups)
    }

    fn next(&mut self) -> Result<Option<Group>, Error> {
        let mut group = Group { first_token: self.first_token, ..Group::default() };
        while self.documents_left > 0 && !group.is_full() {
            match self.frame.take() {
                Some(frame) => self.take_rows(frame, &mut group),
                None => self.open_frame(0)?,
            }
        }
        self.first_token += group.tokens;
        Ok((group.rows > 0).then_some(group))
    }

    /// Moves rows of the frame into the group until either is exhausted.
    fn take_rows(&mut self, mut frame: Piece, group: &mut Group) {
        let first = frame.first;
        let mut last = first;
        for index in frame.selected() {
            if self.documents_left == 0 || group.is_full() {
                break;
            }
            last = index + 1;
            self.documents_left -= 1;
            group.rows += 1;
            group.tokens += u64::from(frame.tokens.counts.get(index).copied().unwrap_or_default());
            let bytes = frame.block.rows.get(index).map_or(0, |row| row.body.len());
            group.text_bytes += bytes;
            group.largest_document = group.largest_document.max(bytes as u64);
        }
        if last > first {
            let (block, tokens) = (Arc::clone(&frame.block), Arc::clone(&frame.tokens));
            group.pieces.push(Piece { block, tokens, first, last, ..frame });
        }
        if group.is_full() || self.documents_left == 0 {
            frame.first = last;
            self.frame = Some(frame);
        }
    }

    /// Opens the next frame that has documents of this side, from row `first`.
    fn open_frame(&mut self, first: usize) -> Result<(), Error> {
        loop {
            self.open_source()?;
            let Some(source) = &mut self.source else { return Err(ends_early(self.documents_left)) };
            let Some(meta) = source.frames.get(self.next_frame.frame).copied() else {
                self.next_frame = RowPlace { source: source.index + 1, frame: 0, row: 0 };
                continue;
            };
            self.next_frame.frame += 1;
            let side = usize::from(self.split == Split::Val);
            if meta.sides.get(side).is_some_and(|counts| counts.documents > 0) {
                let frame = read_frame(self.run, source, &meta, self.split, first)?;
                self.frame = Some(frame);
                return Ok(());
            }
        }
    }

    fn open_source(&mut self) -> Result<(), Error> {
        let index = self.next_frame.source;
        if self.source.as_ref().is_some_and(|source| source.index == index) {
            return Ok(());
        }
        // A walk of mixed documents over a chunk that has none of them has no files.
        let mut found = None;
        for index in index..source::count(self.run)? {
            found = source::open(self.run, index)?
                .filter(|source| !source.done.frames.is_empty())
                .map(|open| (index, open));
            if found.is_some() {
                break;
            }
        }
        let Some((index, source)) = found else {
            self.source = None;
            return Ok(());
        };
        if index != self.next_frame.source {
            self.next_frame = RowPlace { source: index, frame: 0, row: 0 };
        }
        let (rows, tokens) = (FrameReader::open(&source.rows)?, FrameReader::open(&source.tokens)?);
        let (line_base, copy, frames) = (source.line_base, source.copy, source.done.frames);
        self.source = Some(OpenSource { index, line_base, copy, frames, rows, tokens });
        Ok(())
    }
}

fn ends_early(documents: u64) -> Error {
    Error::Inconsistent {
        what: "documents of a shard".to_owned(),
        expected: format!("{documents} more"),
        found: "no more frames".to_owned(),
    }
}

/// Reads a frame. Where this side has few of its rows (the val side, as a rule), they are copied out, so that a row
/// group never holds a thousand frames for the sake of a few documents each.
fn read_frame(
    run: &Run,
    source: &mut OpenSource,
    meta: &FrameMeta,
    split: Split,
    first: usize,
) -> Result<Piece, Error> {
    let dtype = run.plan.config.tokenize.dtype;
    source.rows.seek(meta.rows_offset)?;
    let rows = source.rows.next_frame()?.and_then(RowBlock::decode).ok_or_else(|| source.rows.undecodable())?;
    source.tokens.seek(meta.tokens_offset)?;
    let tokens = source.tokens.next_frame()?.and_then(|payload| TokenBlock::decode(payload, dtype));
    let tokens = tokens.ok_or_else(|| source.tokens.undecodable())?;
    let (line_base, copy) = (source.line_base, source.copy);
    let last = rows.rows.len();
    let whole = Piece { block: Arc::new(rows), tokens: Arc::new(tokens), split, line_base, copy, first, last };
    let count = whole.selected().count();
    if count * 2 >= last { Ok(whole) } else { copy_selected(&whole, dtype).ok_or_else(|| source.rows.undecodable()) }
}

fn copy_selected(piece: &Piece, dtype: Dtype) -> Option<Piece> {
    let mut rows = RowWriter::default();
    let mut tokens = TokenWriter::new(dtype);
    let mut count = 0;
    for index in piece.selected() {
        let row = piece.block.rows.get(index)?;
        let body = piece.block.bytes(&row.body);
        let parts = RowParts { origin: row.origin, side: row.side, n_chars: row.n_chars, body, rejection: None };
        piece.block.copy_row(row, &parts, &mut rows);
        tokens.kept_bytes(piece.split, piece.tokens.ids(index));
        count += 1;
    }
    let block = if count == 0 { RowBlock::default() } else { RowBlock::decode(rows.finish(&piece.block.names))? };
    let tokens = TokenBlock::decode(tokens.finish().concat(), dtype)?;
    Some(Piece { block: Arc::new(block), tokens: Arc::new(tokens), first: 0, last: count, ..*piece })
}
