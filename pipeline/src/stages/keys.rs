//! The keys stage: one task a file of `keys/`; content hash and signature of every document that is kept, in input order,
//! for a later run with `--against`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, Int64Array, StringBuilder};
use arrow::record_batch::RecordBatch;
use schemas::columns::keys_schema;
use schemas::manifest::FileEntry;
use serde::{Deserialize, Serialize};
use shards::parquet::DataFile;

use super::cut::emptied;
use super::layout::Chunk;
use super::losers::{self, LosersDone, losers_of};
use super::read::no_such_rank;
use super::signatures::Sketches;
use super::table::doc_id;
use super::walk::Walk;
use super::write::{id_name, place_name};
use crate::against::KEYS_DIR;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::keys::{KeyReader, PARTITIONS};

/// Name of the stage.
pub const NAME: &str = KEYS_DIR;

/// A later run holds the exact keys of one file at once.
const FILE_ROWS: u64 = 1 << 17;
const ROW_GROUP_ROWS: usize = 1 << 14;

/// The keys stage.
pub struct KeysStage;

/// What a keys task says of itself: its file.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeysDone {
    /// The Parquet file.
    pub file: FileEntry,
}

impl Stage for KeysStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        Ok(kept(run)?.iter().sum::<u64>().div_ceil(FILE_ROWS) as usize)
    }

    fn task_bytes(&self, _run: &Run) -> u64 {
        32 << 20
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let kept = kept(run)?;
        let documents: u64 = kept.iter().sum();
        let files = documents.div_ceil(FILE_ROWS) as usize;
        if rank >= files {
            return Err(no_such_rank(NAME, rank, files));
        }
        let first = rank as u64 * FILE_ROWS;
        let rows = (documents - first).min(FILE_ROWS);
        let path = format!("{NAME}/{NAME}-{rank:05}-of-{files:05}.parquet");
        let folder = run.plan.dataset.join(NAME);
        std::fs::create_dir_all(&folder).map_err(|error| Error::io("create", &folder, error))?;
        let file = DataFile::create(run.plan.dataset.join(&path), Arc::new(keys_schema()), Vec::new())?;
        let mut table = Table { file, group: Group::default(), left: rows };
        let mut before = 0;
        for (chunk, count) in kept.iter().enumerate() {
            if before + count > first && table.left > 0 {
                table.chunk(run, chunk, first.saturating_sub(before))?;
            }
            before += count;
        }
        table.flush()?;
        let digest = table.file.finish()?;
        let entry = FileEntry { path, bytes: digest.bytes, documents: Some(rows), tokens: None, sha256: digest.sha256 };
        run.mark_done(NAME, rank, &KeysDone { file: entry })
    }
}

/// The files of `keys/`.
pub(super) fn files(run: &Run) -> Result<Vec<FileEntry>, Error> {
    let ranks = 0..KeysStage.ranks(run)?;
    ranks.map(|rank| Ok(run.marker::<KeysDone>(NAME, rank)?.file)).collect()
}

/// Kept documents of each chunk.
fn kept(run: &Run) -> Result<Vec<u64>, Error> {
    let chunks = run.layout()?.chunks.iter().enumerate();
    let kept = chunks.map(|(index, chunk)| {
        Ok(u64::from(chunk.rows) - run.marker::<LosersDone>(losers::NAME, index)?.losers - emptied(run, index)?)
    });
    kept.collect()
}

/// The file under way.
struct Table {
    file: DataFile,
    group: Group,
    left: u64,
}

impl Table {
    /// Appends the kept documents of a chunk but the first ones, until the file is full.
    fn chunk(&mut self, run: &Run, index: usize, mut skip: u64) -> Result<(), Error> {
        let layout = run.layout()?;
        let Some(chunk) = layout.chunks.get(index) else { return Ok(()) };
        let line_base = layout.line_bases.get(chunk.part as usize).copied().unwrap_or_default();
        let hashes = hashes(run, chunk)?;
        let losers = losers_of(run, index)?;
        let mut losers = losers.iter().map(|loser| loser.row).peekable();
        let mut sketches = run.dedup.near.map(|_| Sketches::open(run, index)).transpose()?;
        let mut walk = Walk::open(&chunk.rows_file(run, index))?;
        while let Some(frame) = walk.next_frame()? {
            run.interrupt.check()?;
            let first_row = frame.first_row;
            let block = frame.decode()?;
            let id = id_name(run, &block);
            for (row, parts) in (first_row..).zip(&block.rows) {
                if losers.next_if_eq(&row).is_some() || parts.body.is_empty() {
                    continue;
                }
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                if self.left == 0 {
                    return Ok(());
                }
                self.left -= 1;
                let line = line_base + parts.origin.line + 1;
                let input = run.plan.inputs.get(parts.origin.input as usize);
                let source = input.map_or("", |input| input.label.as_str());
                let group = &mut self.group;
                group.ids.append_value(doc_id(&block, parts, id, || place_name(source, line, &parts.origin)));
                group.sources.append_value(source);
                group.lines.push(line as i64);
                group.offsets.push(parts.origin.byte_offset.map(|offset| offset as i64));
                group.hashes.append_value(hashes.get(row as usize).copied().unwrap_or_default().to_be_bytes());
                let sketch = sketches.as_mut().map(|sketches| sketches.of(row)).transpose()?.flatten();
                group.signatures.append_option(sketch);
                if group.lines.len() == ROW_GROUP_ROWS {
                    self.flush()?;
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.group.lines.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.group).finish()?;
        self.file.append(self.file.encoder().encode(&batch)?)?;
        Ok(())
    }
}

/// Content hashes of a chunk's rows; 0 for a duplicate within the chunk.
fn hashes(run: &Run, chunk: &Chunk) -> Result<Vec<u128>, Error> {
    let mut hashes = vec![0; chunk.rows as usize];
    KeyReader::open(&chunk.file(run, "keys"))?.partitions(0, PARTITIONS, |key| {
        if let Some(hash) = hashes.get_mut(key.row as usize) {
            *hash = key.hash;
        }
    })?;
    Ok(hashes)
}

/// Columns of a row group.
#[derive(Default)]
struct Group {
    ids: StringBuilder,
    sources: StringBuilder,
    lines: Vec<i64>,
    offsets: Vec<Option<i64>>,
    hashes: BinaryBuilder,
    signatures: BinaryBuilder,
}

impl Group {
    fn finish(mut self) -> Result<RecordBatch, Error> {
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(self.ids.finish()),
            Arc::new(self.sources.finish()),
            Arc::new(Int64Array::from(self.lines)),
            Arc::new(Int64Array::from(self.offsets)),
            Arc::new(self.hashes.finish()),
            Arc::new(self.signatures.finish()),
        ];
        Ok(RecordBatch::try_new(Arc::new(keys_schema()), arrays)?)
    }
}
