//! The settle stage: one task a chunk; for each near-duplicate that goes, the kept document most similar to it, or the
//! best of its component.
//!
//! File: `RANK.losers`.

use serde::{Deserialize, Serialize};

use schemas::config::Cluster;

use super::cluster::{Others, State, last_round, states_after};
use super::components;
use super::read::no_such_rank;
use super::verify::edges_file;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::edges::{self, Edge};
use crate::spill::losers::{self, Likeness, Loser, chunk_and_row};

/// Name of the stage.
pub const NAME: &str = "settle";

/// The settle stage.
pub struct SettleStage;

/// What a settle task says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct SettleDone {
    /// Near-duplicates that go.
    pub losers: u64,
}

impl Stage for SettleStage {
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
        if run.dedup.near.is_some_and(|near| near.cluster == Cluster::Component) {
            let mut found = components::losers(run, rank)?;
            losers::write(&run.task_file(NAME, rank, "losers"), &mut found)?;
            return run.mark_done(NAME, rank, &SettleDone { losers: found.len() as u64 });
        }
        let edges = edges::read(&edges_file(run, rank))?;
        let round = last_round(run, rank)?;
        let own = states_after(run, round, rank)?;
        let others = Others::read(run, rank, Some(round), &edges)?;
        let state = |number| {
            let (chunk, row) = chunk_and_row(number);
            if chunk as usize == rank {
                own.get(row as usize).copied().unwrap_or(State::Open)
            } else {
                others.state(number)
            }
        };
        let mut found = Vec::new();
        for group in edges.chunk_by(|left, right| left.row == right.row) {
            let Some(row) = group.first().map(|edge| edge.row) else { continue };
            if own.get(row as usize) == Some(&State::Dropped) {
                let kept = group.iter().filter(|edge| state(edge.better.number) == State::Kept);
                found.extend(kept.reduce(nearest).map(|edge| loser(rank, edge)));
            }
        }
        losers::write(&run.task_file(NAME, rank, "losers"), &mut found)?;
        run.mark_done(NAME, rank, &SettleDone { losers: found.len() as u64 })
    }
}

/// The more similar of two; edges come in input order, so among equals the first stays.
fn nearest<'a>(left: &'a Edge, right: &'a Edge) -> &'a Edge {
    let (l, r) = (f64::from_bits(left.similarity_bits), f64::from_bits(right.similarity_bits));
    if r > l { right } else { left }
}

fn loser(chunk: usize, edge: &Edge) -> Loser {
    let unverified = f64::from_bits(edge.similarity_bits).is_nan();
    let likeness = if unverified { Likeness::Unverified } else { Likeness::Near(edge.similarity_bits) };
    Loser { chunk: chunk as u32, row: edge.row, keeper: edge.better, likeness }
}

/// The near-duplicates of a chunk, in order of rows.
pub(super) fn near_losers_of(run: &Run, chunk: usize) -> Result<Vec<Loser>, Error> {
    losers::read(&run.task_file(NAME, chunk, "losers"), chunk as u32)
}
