//! The candidates stage: one task a range of band keys; pairs of documents that share one.
//!
//! A task reads its range of every chunk's keys twice, in input order: once to learn which keys repeat and which document
//! is best under each, once to link ([`crate::dedup::links`]). Its memory is that of the distinct keys of its range, so a
//! key that a million documents share costs no more than another. Files: `RANK.pairs`, addressed to the chunk of the worse
//! document, and `RANK.wanted`, the better ones, addressed to their own chunk with the chunk that asks for their text.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize};

use super::against;
use super::ranges;
use super::signatures::bands_file;
use crate::dedup::keep::Rank;
use crate::dedup::links::{Neighbours, Pair};
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::bandkeys::{self, PARTITIONS};
use crate::spill::losers::{chunk_and_row, number};
use crate::spill::parcels::{self, ParcelWriter, Record};

/// Name of the stage.
pub const NAME: &str = "candidates";

/// A distinct key in the table, with the table's room to grow.
const SLOT_BYTES: u64 = 72;

/// The candidates stage.
pub struct CandidatesStage;

/// What a candidates task says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct CandidatesDone {
    /// Keys that more than one document has.
    pub buckets: u64,
    /// Pairs they were linked in; a pair counts once a key.
    pub pairs: u64,
}

impl Stage for CandidatesStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        range_count(run)
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let range = ranges::of_rank(NAME, rank, range_count(run)?, PARTITIONS)?;
        let mut table = Table::default();
        each_key(run, &range, |hash, document| {
            table.count(hash, document);
            Ok(())
        })?;
        table.drop_singles();
        let memory = run.plan.memory / 32 / run.threads() as u64;
        let mut pairs = ParcelWriter::<2>::create(&run.task_file(NAME, rank, "pairs"), memory)?;
        let mut wanted = ParcelWriter::<2>::create(&run.task_file(NAME, rank, "wanted"), memory)?;
        let mut done = CandidatesDone { buckets: table.slots.len() as u64, pairs: 0 };
        let mut found = Vec::new();
        let own = run.layout()?.chunks.len() as u32;
        each_key(run, &range, |hash, document| {
            table.link(hash, document, |pair| found.push(pair));
            done.pairs += found.len() as u64;
            found.drain(..).try_for_each(|pair: Pair| {
                let (from, to) = (chunk_and_row(pair.worse).0, chunk_and_row(pair.better).0);
                if from >= own {
                    return Ok(()); // two documents of earlier datasets
                }
                pairs.push(from, [pair.better, pair.worse])?;
                if to < own { wanted.push(to, [pair.better, u64::from(from)]) } else { Ok(()) }
            })
        })?;
        pairs.finish()?;
        wanted.finish()?;
        run.mark_done(NAME, rank, &done)
    }
}

/// The records of one kind that all tasks addressed to a chunk, sorted, each once.
pub(super) fn records_for(run: &Run, kind: &str, chunk: usize) -> Result<Vec<Record<2>>, Error> {
    let mut records = Vec::new();
    for rank in 0..range_count(run)? {
        parcels::read(&run.task_file(NAME, rank, kind), chunk as u32, &mut records)?;
    }
    records.sort_unstable();
    records.dedup();
    Ok(records)
}

/// Calls `each` for every key of a range of partitions and the document that has it: those of earlier datasets, then
/// chunk by chunk in input order.
fn each_key(
    run: &Run,
    range: &std::ops::Range<usize>,
    mut each: impl FnMut(u64, Rank) -> Result<(), Error>,
) -> Result<(), Error> {
    let own = run.layout()?.chunks.len();
    let earlier = (0..against::count(run)).map(|file| (own + file, against::bands_file(run, file)));
    for (chunk, path) in earlier.chain((0..own).map(|chunk| (chunk, bands_file(run, chunk)))) {
        run.interrupt.check()?;
        let mut keys = Vec::new();
        bandkeys::read(&path, range.start, range.end, |key| keys.push(key))?;
        for key in keys {
            let document = number(chunk as u32, key.row);
            each(key.hash, Rank { priority: key.priority, document })?;
        }
    }
    Ok(())
}

fn range_count(run: &Run) -> Result<usize, Error> {
    let bands = run.dedup.near.map_or(0, |near| u64::from(near.bands.bands));
    let own: u64 = run.layout()?.chunks.iter().map(|chunk| u64::from(chunk.rows)).sum();
    let documents = own + against::documents(run);
    Ok(ranges::count(run, documents * bands, SLOT_BYTES, PARTITIONS))
}

/// A key's documents so far.
struct Slot {
    best: Rank,
    repeats: bool,
    neighbours: Option<Box<Neighbours>>,
}

#[derive(Default)]
struct Table {
    slots: HashMap<u64, Slot, BuildHasherDefault<KeyHasher>>,
}

impl Table {
    fn count(&mut self, hash: u64, document: Rank) {
        let fresh = || Slot { best: document, repeats: false, neighbours: None };
        let slot = self.slots.entry(hash).or_insert_with(fresh);
        slot.repeats |= slot.best.document != document.document;
        slot.best = slot.best.min(document);
    }

    fn drop_singles(&mut self) {
        self.slots.retain(|_, slot| slot.repeats);
        self.slots.shrink_to_fit();
    }

    fn link(&mut self, hash: u64, document: Rank, each: impl FnMut(Pair)) {
        if let Some(slot) = self.slots.get_mut(&hash) {
            slot.neighbours.get_or_insert_default().push(document, slot.best, each);
        }
    }
}

/// Keys are hashes; within a range their top bits are alike, and the table looks at those.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_repeat_are_linked_and_the_best_is_met_though_it_comes_last() {
        let mut table = Table::default();
        let rank = |document, priority| Rank { priority, document };
        let seen = [(7, rank(1, 5)), (9, rank(2, 5)), (7, rank(3, 5)), (7, rank(4, 0))];
        seen.iter().for_each(|(hash, document)| table.count(*hash, *document));
        table.drop_singles();
        let mut pairs = Vec::new();
        seen.iter().for_each(|(hash, document)| table.link(*hash, *document, |pair| pairs.push(pair)));
        pairs.sort_unstable();
        pairs.dedup();
        let pair = |worse, better| Pair { worse, better };
        assert_eq!(pairs, [pair(1, 4), pair(3, 1), pair(3, 4)]);
    }
}
