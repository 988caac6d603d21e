//! The signatures stage: one task a chunk; the band keys of the documents that have no exact duplicate before them.
//!
//! File: `RANK.bands`; what does not fit into memory at once is written in runs and merged.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::dedup::exact_losers_of;
use super::read::no_such_rank;
use super::walk::{RowFrame, Walk, priority};
use crate::dedup::settings::Near;
use crate::dedup::shingles::Shingler;
use crate::dedup::signature::Sketcher;
use crate::engine::ordered::ordered;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::bandkeys::{self, BandKey};

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
        let mut walk = Walk::new(run, chunk)?;
        let mut keys = Keys::new(run, rank);
        let next = || {
            run.interrupt.check()?;
            walk.next_frame()
        };
        ordered(run.in_flight(), next, |frame| keys_of(run, &self.0, frame, &losers), |found| keys.push(found))?;
        let done = keys.finish()?;
        run.mark_done(NAME, rank, &done)
    }
}

fn keys_of(run: &Run, near: &Near, frame: RowFrame, losers: &[u32]) -> Result<Vec<BandKey>, Error> {
    let first_row = frame.first_row;
    let block = frame.decode()?;
    let mut shingler = Shingler::new(near.shingle_units);
    let mut sketcher = Sketcher::new(near.bands.values());
    let mut keys = Vec::with_capacity(block.rows.len() * near.bands.bands as usize);
    for (row, parts) in (first_row..).zip(&block.rows) {
        if losers.binary_search(&row).is_ok() {
            continue;
        }
        let Some(signature) = sketcher.sketch(shingler.runs(block.str(&parts.body))) else { continue };
        let priority = priority(run, &block, parts);
        keys.extend(near.bands.keys(signature).map(|hash| BandKey { hash, row, priority }));
    }
    Ok(keys)
}

/// Writes the keys of a chunk, as many at a time as the memory allows.
struct Keys<'a> {
    run: &'a Run,
    rank: usize,
    held: Vec<BandKey>,
    held_max: usize,
    runs: Vec<PathBuf>,
    keys: u64,
}

impl<'a> Keys<'a> {
    fn new(run: &'a Run, rank: usize) -> Self {
        let share = run.plan.memory / 8 / run.threads() as u64;
        let held_max = (share / size_of::<BandKey>() as u64).max(1 << 12) as usize;
        Keys { run, rank, held: Vec::new(), held_max, runs: Vec::new(), keys: 0 }
    }

    fn push(&mut self, keys: Vec<BandKey>) -> Result<(), Error> {
        self.keys += keys.len() as u64;
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
        let name = format!("{:03}-{}.run", self.runs.len(), std::process::id());
        let run = self.run.task_file(NAME, self.rank, &name);
        bandkeys::write(&run, &mut self.held)?;
        self.runs.push(run);
        self.held.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<SignaturesDone, Error> {
        let path = bands_file(self.run, self.rank);
        if self.runs.is_empty() {
            bandkeys::write(&path, &mut self.held)?;
        } else {
            self.flush()?;
            self.held = Vec::new();
            bandkeys::merge(&path, &self.runs)?;
            for run in &self.runs {
                std::fs::remove_file(run).map_err(|error| Error::io("remove", run, error))?;
            }
        }
        Ok(SignaturesDone { keys: self.keys })
    }
}
