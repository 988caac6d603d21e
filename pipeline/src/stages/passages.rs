//! The passages stage: one task a chunk; the keys of the passages of its kept documents.
//!
//! Files: `RANK.keys`, in partitions of the hash space as band keys are (the priority is the passage's number in its
//! document), and `RANK.counts`: `u32` passages of every row.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::losers::losers_of;
use super::read::no_such_rank;
use super::signatures::BandKeys;
use super::walk::{RowFrame, each_frame};
use crate::dedup::passages::{Finder, Settings};
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::bandkeys::BandKey;
use crate::spill::frame::{FrameReader, FrameWriter};
use crate::spill::wire::put_u32;

/// Name of the stage.
pub const NAME: &str = "passages";

/// The passages stage.
pub struct PassagesStage(pub Settings);

/// What a passages task says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct PassagesDone {
    /// Passages that are looked at.
    pub keys: u64,
}

/// The keys of a chunk.
pub(super) fn keys_file(run: &Run, chunk: usize) -> PathBuf {
    run.task_file(NAME, chunk, "keys")
}

/// For each row of a chunk the number of its first passage among those of the chunk; one more at the end.
pub(super) fn first_passages(run: &Run, chunk: usize) -> Result<Vec<u32>, Error> {
    let mut frames = FrameReader::open(&run.task_file(NAME, chunk, "counts"))?;
    let (mut firsts, mut next) = (vec![0], 0_u32);
    while let Some(frame) = frames.next_frame()? {
        for count in frame.as_chunks::<4>().0 {
            next = next.checked_add(u32::from_le_bytes(*count)).ok_or_else(|| frames.undecodable())?;
            firsts.push(next);
        }
    }
    Ok(firsts)
}

impl Stage for PassagesStage {
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
        let mut keys = BandKeys::new(run, NAME, rank);
        let mut counts = FrameWriter::create(&run.task_file(NAME, rank, "counts"))?;
        let mut done = PassagesDone { keys: 0 };
        each_frame(
            run,
            chunk,
            |frame| found(self.0, frame, &losers),
            |found| {
                done.keys += found.keys.len() as u64;
                counts.push(&found.counts)?;
                keys.push(found.keys.into_iter())
            },
        )?;
        counts.finish()?;
        keys.finish(&keys_file(run, rank))?;
        run.mark_done(NAME, rank, &done)
    }
}

/// The passages of a frame.
struct Found {
    keys: Vec<BandKey>,
    counts: Vec<u8>,
}

fn found(settings: Settings, frame: RowFrame, losers: &[u32]) -> Result<Found, Error> {
    let first_row = frame.first_row;
    let block = frame.decode()?;
    let mut finder = Finder::new(settings);
    let mut found = Found { keys: Vec::new(), counts: Vec::with_capacity(block.rows.len() * 4) };
    for (row, parts) in (first_row..).zip(&block.rows) {
        let count = match losers.binary_search(&row) {
            Ok(_) => 0,
            Err(_) => finder.passages(block.str(&parts.body), |hash, number| {
                found.keys.push(BandKey { hash, row, priority: u64::from(number) });
            }),
        };
        put_u32(&mut found.counts, count);
    }
    Ok(found)
}
