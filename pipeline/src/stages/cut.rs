//! The cut stage: one task a chunk; its rows without the copies of passages that go.
//!
//! File: `RANK.rows`, frame by frame as the chunk's, which it stands for from here on. A duplicate has no text in it, and
//! neither has a document of which nothing is left. What goes is a bit a passage, so memory is that of the chunk's passages
//! over eight.

use serde::{Deserialize, Serialize};

use super::losers::losers_of;
use super::passages::first_passages;
use super::read::no_such_rank;
use super::repeats::each_copy;
use super::walk::{RowFrame, each_frame};
use crate::dedup::passages::{Finder, Settings};
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::frame::FrameWriter;
use crate::spill::rows::{RowParts, RowWriter};

/// Name of the stage.
pub const NAME: &str = "cut";

/// The cut stage.
pub struct CutStage(pub Settings);

/// What a cut task says of itself.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct CutDone {
    /// Documents it changed.
    pub documents: u64,
    /// Places it cut.
    pub places: u64,
    /// Documents of which nothing is left.
    pub emptied: u64,
}

impl Stage for CutStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        Ok(run.layout()?.chunks.len())
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let chunks = &run.layout()?.chunks;
        let Some(chunk) = chunks.get(rank) else { return Err(no_such_rank(NAME, rank, chunks.len())) };
        let losers: Vec<u32> = losers_of(run, rank)?.iter().map(|loser| loser.row).collect();
        let gone = Gone::read(run, rank)?;
        let mut rows = FrameWriter::create(&run.task_file(NAME, rank, "rows"))?;
        let mut done = CutDone::default();
        each_frame(
            run,
            chunk,
            |frame| cut(self.0, frame, &losers, &gone),
            |(payload, of_frame)| {
                done.documents += of_frame.documents;
                done.places += of_frame.places;
                done.emptied += of_frame.emptied;
                rows.push(&payload).map(drop)
            },
        )?;
        rows.finish()?;
        run.mark_done(NAME, rank, &done)
    }
}

/// Documents of a chunk of which nothing is left; 0 where no passages are looked for.
pub(super) fn emptied(run: &Run, chunk: usize) -> Result<u64, Error> {
    match run.passages {
        Some(_) => Ok(run.marker::<CutDone>(NAME, chunk)?.emptied),
        None => Ok(0),
    }
}

/// The passages of a chunk that go: a bit each.
struct Gone {
    firsts: Vec<u32>,
    bits: Vec<u64>,
}

impl Gone {
    fn read(run: &Run, chunk: usize) -> Result<Gone, Error> {
        let firsts = first_passages(run, chunk)?;
        let all = firsts.last().copied().unwrap_or_default() as usize;
        let mut gone = Gone { firsts, bits: vec![0; all.div_ceil(64)] };
        each_copy(run, chunk, |row, number| {
            let at = gone.firsts.get(row as usize).copied().unwrap_or_default() as usize + number as usize;
            if let Some(word) = gone.bits.get_mut(at / 64) {
                *word |= 1 << (at % 64);
            }
        })?;
        Ok(gone)
    }

    /// Whether a passage goes, by its number among those of the chunk.
    fn has(&self, at: u32) -> bool {
        self.bits.get(at as usize / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// The passages of a row; empty where it has none.
    fn of_row(&self, row: u32) -> std::ops::Range<u32> {
        let first = |row: usize| self.firsts.get(row).copied().unwrap_or_default();
        first(row as usize)..first(row as usize + 1)
    }
}

fn cut(settings: Settings, frame: RowFrame, losers: &[u32], gone: &Gone) -> Result<(Vec<u8>, CutDone), Error> {
    let first_row = frame.first_row;
    let block = frame.decode()?;
    let finder = Finder::new(settings);
    let (mut out, mut done) = (RowWriter::default(), CutDone::default());
    for (row, parts) in (first_row..).zip(&block.rows) {
        let passages = gone.of_row(row);
        let text = block.str(&parts.body);
        let mut of = RowParts {
            origin: parts.origin,
            side: parts.side,
            n_chars: parts.n_chars,
            body: text.as_bytes(),
            rejection: None,
        };
        if losers.binary_search(&row).is_ok() {
            of.body = b"";
        } else if passages.clone().any(|at| gone.has(at)) {
            let (left, places) = finder.cut(text, |number| gone.has(passages.start + number));
            done.documents += 1;
            done.places += places;
            done.emptied += u64::from(left.is_empty());
            // A document that goes keeps the length it had, for rejects/.
            if !left.is_empty() {
                of.n_chars = Some(left.chars().count() as u64);
            }
            of.body = left.as_bytes();
            block.copy_row(parts, &of, &mut out);
            continue;
        }
        block.copy_row(parts, &of, &mut out);
    }
    Ok((out.finish(&block.names), done))
}
