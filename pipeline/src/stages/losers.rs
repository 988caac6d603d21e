//! The losers stage: one task a chunk; every document that goes, exact and near duplicates together, and what it goes for.
//!
//! An exact duplicate of a document that goes as a near-duplicate goes for the same document, and is near to it in the same
//! degree. So whatever is dropped names a document that is kept. Files: `RANK.losers`, and `RANK.keepers`, addressed to the
//! chunk of the kept document.

use serde::{Deserialize, Serialize};

use super::dedup::exact_losers_of;
use super::read::no_such_rank;
use super::settle::near_losers_of;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::losers::{self, Loser, chunk_and_row};
use crate::spill::parcels::{self, ParcelWriter, Record};

/// Name of the stage.
pub const NAME: &str = "losers";

/// The losers stage.
pub struct LosersStage;

/// What a losers task says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct LosersDone {
    /// Documents that go.
    pub losers: u64,
}

impl Stage for LosersStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        Ok(run.layout()?.chunks.len())
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let chunks = run.layout()?.chunks.len();
        if rank >= chunks {
            return Err(no_such_rank(NAME, rank, chunks));
        }
        let mut found = exact_losers_of(run, rank)?;
        if run.dedup.near.is_some() {
            follow(run, &mut found)?;
            found.extend(near_losers_of(run, rank)?);
        }
        let memory = run.plan.memory / 32 / run.threads() as u64;
        let mut keepers = ParcelWriter::<1>::create(&run.task_file(NAME, rank, "keepers"), memory)?;
        found.iter().try_for_each(|loser| {
            let number = loser.keeper.number;
            keepers.push(chunk_and_row(number).0, [number])
        })?;
        keepers.finish()?;
        losers::write(&run.task_file(NAME, rank, "losers"), &mut found)?;
        run.mark_done(NAME, rank, &LosersDone { losers: found.len() as u64 })
    }
}

/// Where the keeper of an exact duplicate goes itself, the document goes for what its keeper goes for.
fn follow(run: &Run, losers: &mut [Loser]) -> Result<(), Error> {
    let own = run.layout()?.chunks.len();
    losers.sort_unstable_by_key(|loser| loser.keeper.number);
    let home = |loser: &Loser| chunk_and_row(loser.keeper.number).0;
    for group in losers.chunk_by_mut(|left, right| home(left) == home(right)) {
        let Some(chunk) = group.first().map(home) else { continue };
        if chunk as usize >= own {
            break; // documents of earlier datasets stay
        }
        let near = near_losers_of(run, chunk as usize)?;
        for loser in group {
            let row = chunk_and_row(loser.keeper.number).1;
            if let Some(gone) = near.binary_search_by_key(&row, |near| near.row).ok().and_then(|at| near.get(at)) {
                (loser.keeper, loser.likeness) = (gone.keeper, gone.likeness);
            }
        }
    }
    Ok(())
}

/// The documents of a chunk that go, in order of rows.
pub(super) fn losers_of(run: &Run, chunk: usize) -> Result<Vec<Loser>, Error> {
    if !run.plan.finds_duplicates() {
        return Ok(Vec::new());
    }
    losers::read(&run.task_file(NAME, chunk, "losers"), chunk as u32)
}

/// The rows of a chunk that others go for, sorted; a chunk beyond the run's own is a file of an earlier dataset.
pub(super) fn keepers_of(run: &Run, chunk: usize) -> Result<Vec<u32>, Error> {
    let mut found: Vec<Record<1>> = Vec::new();
    for rank in 0..run.layout()?.chunks.len() {
        parcels::read(&run.task_file(NAME, rank, "keepers"), chunk as u32, &mut found)?;
    }
    let mut rows: Vec<u32> = found.iter().map(|[number]| chunk_and_row(*number).1).collect();
    rows.sort_unstable();
    rows.dedup();
    Ok(rows)
}
