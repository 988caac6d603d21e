//! The repeats stage: one task a range of passage hashes; the copies that go.
//!
//! A task reads its range of every chunk's keys in input order, twice where a count decides over all copies. Its memory is
//! that of the distinct hashes of its range. File: `RANK.copies`, addressed to the chunk of the copy: row and number of the
//! passage in one.

use std::collections::HashMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::passages::{self, PassagesDone, keys_file};
use super::ranges;
use crate::dedup::passages::Settings;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::bandkeys::{self, BandKey, PARTITIONS};
use crate::spill::losers::number;
use crate::spill::parcels::{self, ParcelWriter, Record};

/// Name of the stage.
pub const NAME: &str = "repeats";

/// A distinct hash in the table, with the table's room to grow.
const SLOT_BYTES: u64 = 40;

/// The repeats stage.
pub struct RepeatsStage(pub Settings);

/// What a repeats task says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct RepeatsDone {
    /// Copies that go.
    pub copies: u64,
}

/// Copies of a passage: all, and those seen so far.
#[derive(Default)]
struct Copies {
    all: u32,
    seen: u32,
}

impl Stage for RepeatsStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        range_count(run)
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let range = ranges::of_rank(NAME, rank, range_count(run)?, PARTITIONS)?;
        let mut table: HashMap<u64, Copies> = HashMap::new();
        if self.0.everywhere.is_some() {
            each_key(run, &range, |_, key| {
                let copies = table.entry(key.hash).or_default();
                copies.all = copies.all.saturating_add(1);
                Ok(())
            })?;
        }
        let memory = run.plan.memory / 32 / run.threads() as u64;
        let mut gone = ParcelWriter::<1>::create(&run.task_file(NAME, rank, "copies"), memory)?;
        let mut done = RepeatsDone { copies: 0 };
        each_key(run, &range, |chunk, key| {
            let copies = table.entry(key.hash).or_default();
            let copy = copies.seen;
            copies.seen = copies.seen.saturating_add(1);
            if self.0.goes(copy, copies.all) {
                done.copies += 1;
                gone.push(chunk, [number(key.row, key.priority as u32)])?;
            }
            Ok(())
        })?;
        gone.finish()?;
        run.mark_done(NAME, rank, &done)
    }
}

/// Calls `each` for every copy of the passages of a chunk that go: row, and number of the passage in its document.
pub(super) fn each_copy(run: &Run, chunk: usize, mut each: impl FnMut(u32, u32)) -> Result<(), Error> {
    let mut records: Vec<Record<1>> = Vec::new();
    for rank in 0..range_count(run)? {
        run.interrupt.check()?;
        records.clear();
        parcels::read(&run.task_file(NAME, rank, "copies"), chunk as u32, &mut records)?;
        records.iter().for_each(|[copy]| each((copy >> 32) as u32, *copy as u32));
    }
    Ok(())
}

/// Calls `each` for every key of a range, equal ones in input order.
fn each_key(
    run: &Run,
    range: &Range<usize>,
    mut each: impl FnMut(u32, BandKey) -> Result<(), Error>,
) -> Result<(), Error> {
    for chunk in 0..run.layout()?.chunks.len() {
        run.interrupt.check()?;
        let mut failed = Ok(());
        bandkeys::read(&keys_file(run, chunk), range.start, range.end, |key| {
            if failed.is_ok() {
                failed = each(chunk as u32, key);
            }
        })?;
        failed?;
    }
    Ok(())
}

fn range_count(run: &Run) -> Result<usize, Error> {
    let chunks = 0..run.layout()?.chunks.len();
    let keys = chunks.map(|chunk| Ok(run.marker::<PassagesDone>(passages::NAME, chunk)?.keys));
    let keys: u64 = keys.sum::<Result<u64, Error>>()?;
    Ok(ranges::count(run, keys, SLOT_BYTES, PARTITIONS))
}
