//! The signatures stage: one task a chunk; the band keys of the documents that have no exact duplicate before them.
//!
//! Files: `RANK.bands`; what does not fit into memory at once is written in runs and merged. `RANK.sketches`, where the
//! dataset keeps match keys: `u32 row, values x u16` of each of those documents, in order.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::dedup::exact_losers_of;
use super::read::no_such_rank;
use super::walk::{RowFrame, each_frame, priority};
use crate::dedup::settings::Near;
use crate::dedup::shingles::Shingler;
use crate::dedup::signature::Sketcher;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::bandkeys::{self, BandKey};
use crate::spill::frame::{FrameReader, FrameWriter, attempt_name};
use crate::spill::wire::put_u32;

/// Name of the stage.
pub const NAME: &str = "signatures";

/// The signatures stage.
pub struct SignaturesStage(pub Near);

/// What a signatures task says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignaturesDone {
    /// Band keys of the chunk.
    pub keys: u64,
}

/// The band keys of a chunk.
pub(super) fn bands_file(run: &Run, chunk: usize) -> PathBuf {
    run.task_file(NAME, chunk, "bands")
}

impl Stage for SignaturesStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        Ok(run.layout()?.chunks.len())
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let chunks = &run.layout()?.chunks;
        let Some(chunk) = chunks.get(rank) else { return Err(no_such_rank(NAME, rank, chunks.len())) };
        let losers: Vec<u32> = exact_losers_of(run, rank)?.iter().map(|loser| loser.row).collect();
        let mut keys = BandKeys::new(run, NAME, rank);
        let path = sketches_file(run, rank);
        let mut sketches = run.plan.keeps_keys().then(|| FrameWriter::create(&path)).transpose()?;
        let mut count = 0;
        each_frame(
            run,
            chunk,
            |frame| keys_of(run, &self.0, frame, &losers),
            |found| {
                count += found.keys.len() as u64;
                sketches.as_mut().map(|sketches| sketches.push(&found.sketches)).transpose()?;
                keys.push(found.keys.into_iter())
            },
        )?;
        sketches.map(FrameWriter::finish).transpose()?;
        keys.finish(&bands_file(run, rank))?;
        run.mark_done(NAME, rank, &SignaturesDone { keys: count })
    }
}

/// What a frame's documents are found by.
struct Found {
    keys: Vec<BandKey>,
    sketches: Vec<u8>,
}

fn keys_of(run: &Run, near: &Near, frame: RowFrame, losers: &[u32]) -> Result<Found, Error> {
    let first_row = frame.first_row;
    let block = frame.decode()?;
    let mut shingler = Shingler::new(near.shingle_units);
    let mut sketcher = Sketcher::new(near.bands.values());
    let mut keys = Vec::with_capacity(block.rows.len() * near.bands.bands as usize);
    let mut sketches = Vec::new();
    for (row, parts) in (first_row..).zip(&block.rows) {
        if losers.binary_search(&row).is_ok() {
            continue;
        }
        let Some(signature) = sketcher.sketch(shingler.runs(block.str(&parts.body))) else { continue };
        let priority = priority(run, &block, parts);
        keys.extend(near.bands.keys(signature).map(|hash| BandKey { hash, row, priority }));
        if run.plan.keeps_keys() {
            put_u32(&mut sketches, row);
            signature.iter().for_each(|value| sketches.extend_from_slice(&(*value as u16).to_le_bytes()));
        }
    }
    Ok(Found { keys, sketches })
}

fn sketches_file(run: &Run, chunk: usize) -> PathBuf {
    run.task_file(NAME, chunk, "sketches")
}

/// The signatures of a chunk's documents, in order of rows.
pub(super) struct Sketches {
    frames: FrameReader,
    frame: Vec<u8>,
    at: usize,
    record_bytes: usize,
}

impl Sketches {
    /// Opens those of a chunk.
    pub(super) fn open(run: &Run, chunk: usize) -> Result<Sketches, Error> {
        let record_bytes = 4 + run.dedup.near.map_or(0, |near| near.bands.values() * 2);
        Ok(Sketches { frames: FrameReader::open(&sketches_file(run, chunk))?, frame: Vec::new(), at: 0, record_bytes })
    }

    /// The signature of a row, two bytes a value; None where it has none. Rows are asked for in order.
    pub(super) fn of(&mut self, row: u32) -> Result<Option<&[u8]>, Error> {
        loop {
            if self.at >= self.frame.len() {
                let Some(frame) = self.frames.next_frame()? else { return Ok(None) };
                (self.frame, self.at) = (frame, 0);
            }
            let record =
                self.frame.get(self.at..self.at + self.record_bytes).ok_or_else(|| self.frames.undecodable())?;
            let Some((head, _)) = record.split_first_chunk::<4>() else { return Ok(None) };
            match u32::from_le_bytes(*head).cmp(&row) {
                std::cmp::Ordering::Less => self.at += self.record_bytes,
                std::cmp::Ordering::Equal => break,
                std::cmp::Ordering::Greater => return Ok(None),
            }
        }
        Ok(self.frame.get(self.at + 4..self.at + self.record_bytes))
    }
}

/// Writes band keys, as many at a time as the memory allows.
pub(super) struct BandKeys<'a> {
    run: &'a Run,
    stage: &'static str,
    rank: usize,
    held: Vec<BandKey>,
    held_max: usize,
    runs: Vec<PathBuf>,
}

impl<'a> BandKeys<'a> {
    pub(super) fn new(run: &'a Run, stage: &'static str, rank: usize) -> Self {
        let share = run.plan.memory / 8 / run.threads() as u64;
        let held_max = (share / size_of::<BandKey>() as u64).max(1 << 12) as usize;
        BandKeys { run, stage, rank, held: Vec::new(), held_max, runs: Vec::new() }
    }

    pub(super) fn push(&mut self, keys: impl Iterator<Item = BandKey>) -> Result<(), Error> {
        for key in keys {
            if self.held.len() == self.held_max {
                self.flush()?;
            }
            // Grown by hand: doubling would overshoot the bound.
            if self.held.len() == self.held.capacity() {
                let room = self.held_max - self.held.len();
                self.held.reserve_exact(room.min(self.held.len().max(1 << 14)));
            }
            self.held.push(key);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        // Another attempt of this task may write at the same time.
        let run = attempt_name(&self.run.task_file(self.stage, self.rank, "run"));
        bandkeys::write(&run, &mut self.held)?;
        self.runs.push(run);
        self.held.clear();
        Ok(())
    }

    /// Writes them all to a file.
    pub(super) fn finish(mut self, path: &Path) -> Result<(), Error> {
        if self.runs.is_empty() {
            bandkeys::write(path, &mut self.held)?;
        } else {
            self.flush()?;
            self.held = Vec::new();
            bandkeys::merge(path, &self.runs)?;
            for run in &self.runs {
                std::fs::remove_file(run).map_err(|error| Error::io("remove", run, error))?;
            }
        }
        Ok(())
    }
}
