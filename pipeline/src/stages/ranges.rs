//! Ranges of the hash space: what dedup, candidates and repeats tasks take, one a rank.

use std::ops::Range;

use super::read::no_such_rank;
use crate::engine::run::Run;
use crate::error::Error;

/// How many ranges: so many that the entries of each fit into a sixty-fourth of the memory, whatever the machine, since
/// other threads hold other ranges; at most one a partition.
pub(super) fn count(run: &Run, entries: u64, entry_bytes: u64, partitions: usize) -> usize {
    let ranges = (entries * entry_bytes).div_ceil(run.plan.memory / 64).max(1) as usize;
    ranges.min(partitions)
}

/// The partitions of a rank.
///
/// # Errors
/// [`Error::Usage`] for a rank that the stage does not have.
pub(super) fn of_rank(stage: &str, rank: usize, ranks: usize, partitions: usize) -> Result<Range<usize>, Error> {
    if rank >= ranks {
        return Err(no_such_rank(stage, rank, ranks));
    }
    Ok(partitions * rank / ranks..partitions * (rank + 1) / ranks)
}
