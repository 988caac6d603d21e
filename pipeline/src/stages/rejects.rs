//! The rejects stage: one task a file of `rejects/`; every line that was not kept, in input order, and why.
//!
//! A chunk's rejects come from the read stage, dedup and mixing; each is in the order of lines, so a merge of the streams
//! is.

use std::iter::Peekable;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, Int64Array, StringBuilder};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use schemas::columns::rejects_schema;
use schemas::manifest::FileEntry;
use schemas::rule::STAGE_READ;
use serde::{Deserialize, Serialize};
use shards::parquet::DataFile;

use super::mix;
use super::order::{self, OrderDone, REJECTS_FILE_ROWS};
use super::read::no_such_rank;
use super::table::{Slots, SourceColumns, doc_id};
use super::tokenize;
use super::write::{id_name, place_name};
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::look::cell;
use crate::report::columns::ColumnSketches;
use crate::report::examples::{Example, Reasons, excerpt};
use crate::spill::frame::FrameReader;
use crate::spill::rows::{Row, RowBlock};

/// Name of the stage.
pub const NAME: &str = "rejects";

const ROW_GROUP_ROWS: usize = 65_536;
const ROW_GROUP_BYTES: usize = 8 << 20;

/// The rejects stage.
pub struct RejectsStage;

/// What a rejects task says of itself: its file.
#[derive(Debug, Serialize, Deserialize)]
pub struct RejectsDone {
    /// The Parquet file.
    pub files: Vec<FileEntry>,
    /// What the report keeps of rejected documents.
    pub sketches: ColumnSketches,
    /// Why lines were rejected.
    pub reasons: Reasons,
}

impl Stage for RejectsStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        Ok(run.marker::<OrderDone>(order::NAME, 0)?.reject_files.len())
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let order: OrderDone = run.marker(order::NAME, 0)?;
        let files = order.reject_files.len();
        let Some(&(chunk, skip)) = order.reject_files.get(rank) else { return Err(no_such_rank(NAME, rank, files)) };
        let rows = (order.rejects - rank as u64 * REJECTS_FILE_ROWS).min(REJECTS_FILE_ROWS);
        let path = format!("rejects/rejects-{rank:05}-of-{files:05}.parquet");
        let schema = Arc::new(rejects_schema(&order.columns));
        let mut file = DataFile::create(run.plan.dataset.join(&path), Arc::clone(&schema), Vec::new())?;
        let encoder = file.encoder();
        let mut table = Table::new(run, &order, &schema);
        let mut looked_at = LookedAt::default();
        let mut stream = Stream { run, next_chunk: chunk, lines: None };
        for _ in 0..skip {
            stream.next()?;
        }
        for _ in 0..rows {
            let Some(reject) = stream.next()? else { return Err(ends_early(rows)) };
            table.push(&reject);
            if table.rows >= ROW_GROUP_ROWS || table.bytes >= ROW_GROUP_BYTES {
                run.interrupt.check()?;
                let full = std::mem::replace(&mut table, Table::new(run, &order, &schema)).finish()?;
                looked_at.push(&full);
                file.append(encoder.encode(&full)?)?;
            }
        }
        if table.rows > 0 {
            let rest = table.finish()?;
            looked_at.push(&rest);
            file.append(encoder.encode(&rest)?)?;
        }
        let digest = file.finish()?;
        let entry = FileEntry { path, bytes: digest.bytes, documents: Some(rows), tokens: None, sha256: digest.sha256 };
        let LookedAt { sketches, reasons } = looked_at;
        run.mark_done(NAME, rank, &RejectsDone { files: vec![entry], sketches, reasons })
    }
}

fn ends_early(rows: u64) -> Error {
    Error::Inconsistent {
        what: "rows of rejects".to_owned(),
        expected: rows.to_string(),
        found: "fewer in the task files".to_owned(),
    }
}

/// What the report keeps of the rows of a file.
#[derive(Default)]
struct LookedAt {
    sketches: ColumnSketches,
    reasons: Reasons,
}

impl LookedAt {
    fn push(&mut self, batch: &RecordBatch) {
        self.sketches.push(batch);
        let text = |row, column| cell::text(batch, row, column).unwrap_or_default();
        for row in 0..batch.num_rows() {
            self.reasons.push(text(row, "stage"), text(row, "rule"), || Example {
                doc_id: text(row, "doc_id").to_owned(),
                source: text(row, "source").to_owned(),
                line: cell::integer(batch, row, "line").unwrap_or_default(),
                value: text(row, "value").to_owned(),
                excerpt: cell::binary(batch, row, "raw").map(|raw| excerpt(&String::from_utf8_lossy(raw))),
            });
        }
    }
}

/// A rejected row with its block.
struct Reject {
    block: Arc<RowBlock>,
    row: Row,
    line: u64,
}

/// The rejects of all chunks from one on.
struct Stream<'a> {
    run: &'a Run,
    next_chunk: usize,
    lines: Option<Merge>,
}

impl Stream<'_> {
    fn next(&mut self) -> Result<Option<Reject>, Error> {
        loop {
            if let Some(merge) = &mut self.lines
                && let Some(reject) = merge.next()?
            {
                return Ok(Some(reject));
            }
            let layout = self.run.layout()?;
            let Some(chunk) = layout.chunks.get(self.next_chunk) else { return Ok(None) };
            let base = layout.line_bases.get(chunk.part as usize).copied().unwrap_or_default();
            let read = FrameReader::open(&chunk.file(self.run, "rejects"))?;
            let dedup = FrameReader::open(&self.run.task_file(tokenize::NAME, self.next_chunk, "rejects"))?;
            let mut streams = vec![Rows::new(read, base), Rows::new(dedup, base)];
            if self.run.mix.is_on() {
                let mix = FrameReader::open(&self.run.task_file(mix::NAME, self.next_chunk, "rejects"))?;
                streams.push(Rows::new(mix, base));
            }
            self.lines = Some(Merge(streams));
            self.next_chunk += 1;
        }
    }
}

/// Streams of rejects merged by line.
struct Merge(Vec<Rows>);

impl Merge {
    fn next(&mut self) -> Result<Option<Reject>, Error> {
        let mut first: Option<(u64, usize)> = None;
        for (index, rows) in self.0.iter_mut().enumerate() {
            if let Some(line) = rows.line()?
                && first.is_none_or(|(least, _)| line < least)
            {
                first = Some((line, index));
            }
        }
        Ok(first.and_then(|(_, index)| self.0.get_mut(index)?.take()))
    }
}

/// The rows of a task file of rejects.
struct Rows {
    reader: FrameReader,
    base: u64,
    block: Arc<RowBlock>,
    rows: Peekable<std::vec::IntoIter<Row>>,
}

impl Rows {
    fn new(reader: FrameReader, base: u64) -> Self {
        Rows { reader, base, block: Arc::default(), rows: Vec::new().into_iter().peekable() }
    }

    fn line(&mut self) -> Result<Option<u64>, Error> {
        while self.rows.peek().is_none() {
            let Some(payload) = self.reader.next_frame()? else { return Ok(None) };
            let mut block = RowBlock::decode(payload).ok_or_else(|| self.reader.undecodable())?;
            self.rows = std::mem::take(&mut block.rows).into_iter().peekable();
            self.block = Arc::new(block);
        }
        Ok(self.rows.peek().map(|row| row.origin.line))
    }

    fn take(&mut self) -> Option<Reject> {
        let row = self.rows.next()?;
        Some(Reject { block: Arc::clone(&self.block), line: self.base + row.origin.line + 1, row })
    }
}

/// Columns of a row group.
struct Table<'a> {
    run: &'a Run,
    schema: &'a Arc<Schema>,
    sources: StringBuilder,
    lines: Vec<i64>,
    offsets: Vec<Option<i64>>,
    stages: StringBuilder,
    rules: StringBuilder,
    values: StringBuilder,
    doc_ids: StringBuilder,
    n_chars: Vec<Option<i64>>,
    raw: BinaryBuilder,
    columns: SourceColumns<'a>,
    slots: Slots,
    rows: usize,
    bytes: usize,
}

impl<'a> Table<'a> {
    fn new(run: &'a Run, order: &'a OrderDone, schema: &'a Arc<Schema>) -> Self {
        Table {
            run,
            schema,
            sources: StringBuilder::new(),
            lines: Vec::new(),
            offsets: Vec::new(),
            stages: StringBuilder::new(),
            rules: StringBuilder::new(),
            values: StringBuilder::new(),
            doc_ids: StringBuilder::new(),
            n_chars: Vec::new(),
            raw: BinaryBuilder::new(),
            columns: SourceColumns::new(&order.columns, false),
            slots: Slots::default(),
            rows: 0,
            bytes: 0,
        }
    }

    fn push(&mut self, reject: &Reject) {
        let Reject { block, row, line } = reject;
        let Some(rejection) = &row.rejection else { return };
        let source = self.run.plan.inputs.get(row.origin.input as usize).map_or("", |input| &input.label);
        let invalid = rejection.stage == STAGE_READ;
        self.sources.append_value(source);
        self.lines.push(*line as i64);
        self.offsets.push(row.origin.byte_offset.map(|offset| offset as i64));
        self.stages.append_value(&rejection.stage);
        self.rules.append_value(&rejection.rule);
        self.values.append_value(&rejection.value);
        self.n_chars.push(row.n_chars.map(|count| count as i64));
        if invalid {
            self.doc_ids.append_null();
            self.raw.append_value(block.bytes(&row.body));
        } else {
            let id = id_name(self.run, block);
            self.doc_ids.append_value(doc_id(block, row, id, || place_name(source, *line, &row.origin)));
            self.raw.append_null();
        }
        let map = self.columns.map(block);
        self.columns.row(block, row, &map, &mut self.slots);
        self.rows += 1;
        self.bytes += row.body.len() + rejection.value.len() + 16 * row.values.len() + 64;
    }

    fn finish(mut self) -> Result<RecordBatch, Error> {
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(self.sources.finish()),
            Arc::new(Int64Array::from(self.lines)),
            Arc::new(Int64Array::from(self.offsets)),
            Arc::new(self.stages.finish()),
            Arc::new(self.rules.finish()),
            Arc::new(self.values.finish()),
            Arc::new(self.doc_ids.finish()),
            Arc::new(Int64Array::from(self.n_chars)),
            Arc::new(self.raw.finish()),
        ];
        arrays.extend(self.columns.finish());
        Ok(RecordBatch::try_new(Arc::clone(self.schema), arrays)?)
    }
}
