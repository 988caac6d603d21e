//! The texts stage: one task a chunk; the texts of its documents that others are to be compared with, each once.
//!
//! Pairs come from anywhere in the corpus. Instead of looking each text up, every chunk is read once, in order, and what
//! is wanted of it is laid aside for the chunks that asked. Files: `RANK.texts`, one frame a document (`u32 part, u64
//! place, text`), and `RANK.addresses`, for each chunk that asked the document and the offset of its frame.

use serde::{Deserialize, Serialize};

use super::candidates;
use super::read::no_such_rank;
use super::walk::Walk;
use crate::dedup::settings::Near;
use crate::engine::progress::Unit;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::frame::{FrameReader, FrameWriter};
use crate::spill::keys::place;
use crate::spill::losers::{Keeper, chunk_and_row, number};
use crate::spill::parcels::{self, ParcelWriter, Record};
use crate::spill::wire::{Cursor, put_u32, put_u64};

/// Name of the stage.
pub const NAME: &str = "texts";

/// The texts stage.
pub struct TextsStage(pub Near);

/// What a texts task says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct TextsDone {
    /// Texts laid aside.
    texts: u64,
}

impl Stage for TextsStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        Ok(run.layout()?.chunks.len())
    }

    fn work(&self, run: &Run) -> (u64, Unit) {
        (self.ranks(run).unwrap_or_default() as u64, Unit::Things)
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let chunks = &run.layout()?.chunks;
        let Some(chunk) = chunks.get(rank) else { return Err(no_such_rank(NAME, rank, chunks.len())) };
        let wanted = candidates::records_for(run, "wanted", rank)?;
        let mut rows: Vec<u32> = wanted.iter().map(|[document, _]| chunk_and_row(*document).1).collect();
        rows.dedup();
        let mut texts = FrameWriter::create(&run.task_file(NAME, rank, "texts"))?;
        let memory = run.plan.memory / 32 / run.threads() as u64;
        let mut addresses = ParcelWriter::<2>::create(&run.task_file(NAME, rank, "addresses"), memory)?;
        let mut asking = wanted.iter().peekable();
        let (mut walk, mut left) = (Walk::new(run, chunk)?, &rows[..]);
        while let Some(frame) = walk.next_with(&mut left)? {
            run.interrupt.check()?;
            let first_row = frame.first_row;
            let block = frame.decode()?;
            for (row, parts) in (first_row..).zip(&block.rows) {
                let document = number(rank as u32, row);
                if asking.peek().is_none_or(|[wanted, _]| *wanted != document) {
                    continue;
                }
                let mut payload = Vec::with_capacity(parts.body.len() + 12);
                put_u32(&mut payload, chunk.part);
                put_u64(&mut payload, place(parts.origin.byte_offset, parts.origin.line));
                if self.0.verify {
                    payload.extend_from_slice(block.bytes(&parts.body));
                }
                let offset = texts.push(&payload)?;
                while let Some([_, chunk]) = asking.next_if(|[wanted, _]| *wanted == document) {
                    addresses.push(*chunk as u32, [document, offset])?;
                }
            }
        }
        texts.finish()?;
        addresses.finish()?;
        run.mark_done(NAME, rank, &TextsDone { texts: rows.len() as u64 })
    }
}

/// A text that was laid aside.
pub(super) struct Text {
    /// The document it is of.
    pub keeper: Keeper,
    payload: Vec<u8>,
}

impl Text {
    /// The text; empty where pairs are not verified.
    pub(super) fn str(&self) -> &str {
        std::str::from_utf8(self.payload.get(12..).unwrap_or_default()).unwrap_or_default()
    }
}

/// The texts laid aside for a chunk, in the order of their documents.
pub(super) struct Texts<'a> {
    run: &'a Run,
    asking: u32,
    from: usize,
    addresses: std::vec::IntoIter<Record<2>>,
    frames: Option<FrameReader>,
}

impl<'a> Texts<'a> {
    pub(super) fn new(run: &'a Run, asking: usize) -> Self {
        Texts { run, asking: asking as u32, from: 0, addresses: Vec::new().into_iter(), frames: None }
    }

    /// The next text of a document for which `wanted` holds.
    pub(super) fn next(&mut self, wanted: impl Fn(u64) -> bool) -> Result<Option<Text>, Error> {
        loop {
            let Some([document, offset]) = self.addresses.find(|[document, _]| wanted(*document)) else {
                if !self.next_chunk()? {
                    return Ok(None);
                }
                continue;
            };
            let frames = match &mut self.frames {
                Some(frames) => frames,
                None => {
                    let path = self.run.task_file(NAME, self.from - 1, "texts");
                    self.frames.insert(FrameReader::open(&path)?)
                }
            };
            frames.seek(offset)?;
            let payload = frames.next_frame()?.ok_or_else(|| frames.undecodable())?;
            let mut cursor = Cursor::new(&payload);
            let (Some(part), Some(place)) = (cursor.u32(), cursor.u64()) else { return Err(frames.undecodable()) };
            return Ok(Some(Text { keeper: Keeper { number: document, part, place }, payload }));
        }
    }

    /// Goes on to the addresses in the next chunk.
    fn next_chunk(&mut self) -> Result<bool, Error> {
        if self.from >= self.run.layout()?.chunks.len() {
            return Ok(false);
        }
        let mut found = Vec::new();
        parcels::read(&self.run.task_file(NAME, self.from, "addresses"), self.asking, &mut found)?;
        found.sort_unstable();
        found.dedup();
        self.addresses = found.into_iter();
        self.frames = None;
        self.from += 1;
        Ok(true)
    }
}
