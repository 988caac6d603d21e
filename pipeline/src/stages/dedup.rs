//! The dedup stage: equal content hashes, global over all inputs; the keep policy's best document stays.
//!
//! One task a range of hashes, as many ranges as keep each within its share of the memory. A task reads its range of
//! every chunk's keys, sorts, and writes the documents that are not best, with the place of the one that is.

use serde::{Deserialize, Serialize};

use super::against;
use super::ranges;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::keys::{Key, KeyReader, LocalDuplicate, PARTITIONS};
use crate::spill::losers::{self, Keeper, Likeness, Loser, number};

/// Name of the stage.
pub const NAME: &str = "dedup";

/// A key in memory with its chunk, and the worst case of a loser beside it.
const ENTRY_BYTES: u64 = 48 + 48;

/// The dedup stage.
pub struct DedupStage;

/// What a dedup task says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct DedupDone {
    /// Keys in its range.
    pub keys: u64,
    /// Documents that go.
    pub losers: u64,
}

impl Stage for DedupStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        range_count(run)
    }

    fn task_bytes(&self, run: &Run) -> u64 {
        let range = keys(run).and_then(|keys| Ok(keys * ENTRY_BYTES / range_count(run)? as u64)).unwrap_or_default();
        range * 9 / 8 + (4 << 20)
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let range = ranges::of_rank(NAME, rank, range_count(run)?, PARTITIONS)?;
        let mut entries = Vec::new();
        for (index, chunk) in run.layout()?.chunks.iter().enumerate() {
            run.interrupt.check()?;
            let mut keys = KeyReader::open(&chunk.file(run, "keys"))?;
            let (chunk, part) = (index as u32, chunk.part);
            keys.partitions(range.start, range.end, |key| {
                entries.push(Entry {
                    hash: key.hash,
                    priority: key.priority,
                    chunk,
                    row: key.row,
                    place: key.place,
                    part,
                });
            })?;
        }
        let own = run.layout()?.chunks.len() as u32;
        for file in 0..against::count(run) {
            run.interrupt.check()?;
            let chunk = own + file as u32;
            KeyReader::open(&against::keys_file(run, file))?.partitions(range.start, range.end, |key| {
                let Key { hash, priority, row, place } = key;
                entries.push(Entry { hash, priority, chunk, row, place, part: 0 });
            })?;
        }
        entries.sort_unstable();
        let mut found = find_losers(&entries, own);
        losers::write(&run.task_file(NAME, rank, "losers"), &mut found)?;
        run.mark_done(NAME, rank, &DedupDone { keys: entries.len() as u64, losers: found.len() as u64 })
    }
}

/// Ordered by hash, then by the keep policy, then by input order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    hash: u128,
    priority: u64,
    chunk: u32,
    row: u32,
    place: u64,
    part: u32,
}

/// Every document of the `own` chunks that is not the best of its hash.
fn find_losers(entries: &[Entry], own: u32) -> Vec<Loser> {
    let mut losers = Vec::new();
    for group in entries.chunk_by(|left, right| left.hash == right.hash) {
        let Some((best, rest)) = group.split_first() else { continue };
        let keeper = Keeper { number: number(best.chunk, best.row), part: best.part, place: best.place };
        losers.extend(rest.iter().filter(|entry| entry.chunk < own).map(|entry| Loser {
            chunk: entry.chunk,
            row: entry.row,
            keeper,
            likeness: Likeness::Exact,
        }));
    }
    losers
}

fn range_count(run: &Run) -> Result<usize, Error> {
    Ok(ranges::count(run, keys(run)?, ENTRY_BYTES, PARTITIONS))
}

fn keys(run: &Run) -> Result<u64, Error> {
    let own: u64 = run.layout()?.chunks.iter().map(|chunk| u64::from(chunk.rows)).sum();
    Ok(own + against::documents(run))
}

/// The exact duplicates of a chunk, in order of rows. Their keeper may yet go as a near-duplicate.
pub(super) fn exact_losers_of(run: &Run, chunk_index: usize) -> Result<Vec<Loser>, Error> {
    let Some(chunk) = run.layout()?.chunks.get(chunk_index) else { return Ok(Vec::new()) };
    let index = chunk_index as u32;
    let mut found = Vec::new();
    for rank in 0..range_count(run)? {
        found.extend(losers::read(&run.task_file(NAME, rank, "losers"), index)?);
    }
    found.sort_unstable();
    let keys = KeyReader::open(&chunk.file(run, "keys"))?;
    let local = keys.local_duplicates().iter().map(|duplicate| resolve(duplicate, index, chunk.part, &found));
    let local: Vec<Loser> = local.collect();
    found.extend(local);
    found.sort_unstable();
    Ok(found)
}

/// A duplicate within the chunk: its keeper is the best of the chunk, or whatever that one lost against.
fn resolve(duplicate: &LocalDuplicate, chunk: u32, part: u32, losers: &[Loser]) -> Loser {
    let best = losers.binary_search_by_key(&duplicate.first, |loser| loser.row).ok().and_then(|at| losers.get(at));
    let own = Keeper { number: number(chunk, duplicate.first), part, place: duplicate.first_place };
    let keeper = best.map_or(own, |best| best.keeper);
    Loser { chunk, row: duplicate.row, keeper, likeness: Likeness::Exact }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(hash: u128, chunk: u32, row: u32) -> Entry {
        Entry { hash, priority: 0, chunk, row, place: u64::from(row), part: chunk }
    }

    #[test]
    fn the_first_in_input_order_is_kept() {
        let mut entries = [entry(7, 2, 0), entry(7, 1, 9), entry(8, 0, 0), entry(7, 1, 3)];
        entries.sort_unstable();
        let losers = find_losers(&entries, 9);
        assert_eq!(losers.iter().map(|loser| (loser.chunk, loser.row)).collect::<Vec<_>>(), [(1, 9), (2, 0)]);
        assert!(losers.iter().all(|loser| loser.keeper.part == 1 && loser.keeper.place == 3));
    }

    #[test]
    fn the_keep_policy_comes_before_input_order() {
        let mut entries = [Entry { priority: 1, ..entry(7, 0, 0) }, entry(7, 1, 9)];
        entries.sort_unstable();
        let losers = find_losers(&entries, 9);
        assert_eq!((losers[0].chunk, losers[0].keeper.number), (0, number(1, 9)));
    }

    #[test]
    fn a_document_of_an_earlier_dataset_stays_and_is_no_loser() {
        let earlier = |chunk| Entry { priority: 0, ..entry(7, chunk, 5) };
        let mut entries = [Entry { priority: 1, ..entry(7, 0, 0) }, earlier(3), earlier(2)];
        entries.sort_unstable();
        let losers = find_losers(&entries, 2);
        assert_eq!(
            losers.iter().map(|loser| (loser.chunk, loser.keeper.number)).collect::<Vec<_>>(),
            [(0, number(2, 5))]
        );
    }

    #[test]
    fn a_local_duplicate_of_a_loser_points_to_the_real_keeper() {
        let keeper = Keeper { number: number(0, 1), part: 0, place: 77 };
        let loser = Loser { chunk: 5, row: 2, keeper, likeness: Likeness::Exact };
        let duplicate = LocalDuplicate { row: 4, first: 2, first_place: 1 };
        let resolved = resolve(&duplicate, 5, 3, &[loser]);
        assert_eq!(resolved.keeper, keeper);
        let own = resolve(&LocalDuplicate { row: 4, first: 3, first_place: 1 }, 5, 3, &[loser]);
        assert_eq!(own.keeper, Keeper { number: number(5, 3), part: 3, place: 1 });
    }
}
