//! The cluster stage: which documents stay, so that each of the others has a confirmed pair with one that does (star).
//!
//! The answer is the greedy one: documents in the order of the keep policy, each kept unless a better one it has a pair
//! with is kept. It is unique, so the way to it may be parallel. A task decides what it can of its chunk: a document is
//! dropped once a better partner is known to be kept, and kept once all better partners are known to be dropped. What
//! other chunks decided is read from the round before. Rounds go on until nothing is open; in each at least the best open
//! document is decided, and as a rule a chunk is done in two or three rounds. Task `round x chunks + chunk`; file:
//! `RANK.states`, one byte a row.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::read::no_such_rank;
use super::verify::edges_file;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::edges::{self, Edge};
use crate::spill::frame::{FrameReader, FrameWriter};
use crate::spill::losers::chunk_and_row;

/// Name of the stage.
pub const NAME: &str = "cluster";

/// The cluster stage.
pub struct ClusterStage;

/// What a cluster task says of itself.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ClusterDone {
    /// Documents of the chunk that are not decided; by components, those that the round changed.
    pub open: u64,
    /// The task that wrote the chunk's latest states.
    pub states: usize,
}

/// What is known of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Kept,
    Dropped,
}

impl State {
    fn from_byte(byte: u8) -> State {
        match byte {
            1 => State::Kept,
            2 => State::Dropped,
            _ => State::Open,
        }
    }
}

impl Stage for ClusterStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn works_in_rounds(&self) -> bool {
        true
    }

    /// The tasks of the rounds that are known to be needed: one more round while documents are open after the last.
    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        Ok(rounds(run)? * run.layout()?.chunks.len())
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let chunks = run.layout()?.chunks.len();
        if chunks == 0 {
            return Err(no_such_rank(NAME, rank, chunks));
        }
        let (round, chunk) = (rank / chunks, rank % chunks);
        let before = (round > 0).then(|| run.marker::<ClusterDone>(NAME, rank - chunks)).transpose()?;
        if let Some(before) = before.filter(|before| before.open == 0) {
            return run.mark_done(NAME, rank, &before);
        }
        let edges = edges::read(&edges_file(run, chunk))?;
        let rows = run.layout()?.chunks.get(chunk).map_or(0, |chunk| chunk.rows as usize);
        let mut states = match before {
            Some(before) => read_states(run, before.states)?,
            None => vec![State::Open; rows],
        };
        let others = Others::read(run, chunk, round.checked_sub(1), &edges)?;
        decide(chunk as u32, &edges, &others, &mut states);
        let open = states.iter().filter(|state| **state == State::Open).count() as u64;
        write_states(run, rank, &states)?;
        run.mark_done(NAME, rank, &ClusterDone { open, states: rank })
    }
}

/// The rounds that are known to be needed.
pub(super) fn rounds(run: &Run) -> Result<usize, Error> {
    let chunks = run.layout()?.chunks.len();
    let mut rounds = 1;
    while run_of(run, chunks, rounds - 1)?.is_some_and(|open| open > 0) {
        rounds += 1;
    }
    Ok(rounds)
}

/// Open documents after a round; None where a task of it is not done.
fn run_of(run: &Run, chunks: usize, round: usize) -> Result<Option<u64>, Error> {
    let mut open = 0;
    for rank in round * chunks..(round + 1) * chunks {
        if !run.is_done(NAME, rank) {
            return Ok(None);
        }
        open += run.marker::<ClusterDone>(NAME, rank)?.open;
    }
    Ok(Some(open))
}

/// The last round, once the stage is done: every chunk has a task in it.
pub(super) fn last_round(run: &Run, chunk: usize) -> Result<usize, Error> {
    let chunks = run.layout()?.chunks.len();
    let mut round = 0;
    while run.is_done(NAME, (round + 1) * chunks + chunk) {
        round += 1;
    }
    Ok(round)
}

fn write_states(run: &Run, rank: usize, states: &[State]) -> Result<(), Error> {
    let mut writer = FrameWriter::create(&run.task_file(NAME, rank, "states"))?;
    writer.push(&states.iter().map(|state| *state as u8).collect::<Vec<_>>())?;
    writer.finish()?;
    Ok(())
}

fn read_states(run: &Run, rank: usize) -> Result<Vec<State>, Error> {
    let mut frames = FrameReader::open(&run.task_file(NAME, rank, "states"))?;
    let bytes = frames.next_frame()?.unwrap_or_default();
    Ok(bytes.into_iter().map(State::from_byte).collect())
}

/// States of a chunk after a round.
pub(super) fn states_after(run: &Run, round: usize, chunk: usize) -> Result<Vec<State>, Error> {
    let done: ClusterDone = run.marker(NAME, round * run.layout()?.chunks.len() + chunk)?;
    read_states(run, done.states)
}

/// What other chunks decided about the better partners of this one's documents. Those of earlier datasets stay.
pub(super) struct Others {
    /// The run's own chunks.
    own: u32,
    states: BTreeMap<u64, State>,
}

impl Others {
    /// Reads the states after a round, one chunk at a time; before the first round nothing is decided.
    pub(super) fn read(run: &Run, own: usize, round: Option<usize>, edges: &[Edge]) -> Result<Others, Error> {
        let chunks = run.layout()?.chunks.len() as u32;
        let mut others = Others { own: chunks, states: BTreeMap::new() };
        let Some(round) = round else { return Ok(others) };
        let mut wanted: Vec<u64> = edges.iter().map(|edge| edge.better.number).collect();
        wanted.sort_unstable();
        wanted.dedup();
        for group in wanted.chunk_by(|left, right| chunk_and_row(*left).0 == chunk_and_row(*right).0) {
            let Some(chunk) = group.first().map(|number| chunk_and_row(*number).0 as usize) else { continue };
            if chunk == own || chunk >= chunks as usize {
                continue;
            }
            let states = states_after(run, round, chunk)?;
            others.states.extend(group.iter().map(|number| {
                (*number, states.get(chunk_and_row(*number).1 as usize).copied().unwrap_or(State::Open))
            }));
        }
        Ok(others)
    }

    pub(super) fn state(&self, number: u64) -> State {
        if chunk_and_row(number).0 >= self.own {
            return State::Kept;
        }
        self.states.get(&number).copied().unwrap_or(State::Open)
    }
}

/// Decides what can be decided: sweeps until a sweep decides nothing. With the first document kept, better ones come
/// earlier, and one sweep does.
fn decide(chunk: u32, edges: &[Edge], others: &Others, states: &mut [State]) {
    let mut groups = edges.chunk_by(|left, right| left.row == right.row).peekable();
    for (row, state) in states.iter_mut().enumerate() {
        match groups.next_if(|group| group.first().is_some_and(|edge| edge.row as usize == row)) {
            Some(_) => {}
            None => *state = State::Kept,
        }
    }
    let mut changed = true;
    while std::mem::take(&mut changed) {
        for group in edges.chunk_by(|left, right| left.row == right.row) {
            let Some(row) = group.first().map(|edge| edge.row as usize) else { continue };
            if states.get(row) != Some(&State::Open) {
                continue;
            }
            let decided = verdict(group.iter().map(|edge| {
                let (home, better) = chunk_and_row(edge.better.number);
                if home == chunk {
                    states.get(better as usize).copied().unwrap_or(State::Open)
                } else {
                    others.state(edge.better.number)
                }
            }));
            if let (true, Some(state)) = (decided != State::Open, states.get_mut(row)) {
                *state = decided;
                changed = true;
            }
        }
    }
}

fn verdict(better: impl Iterator<Item = State>) -> State {
    let mut verdict = State::Kept;
    for state in better {
        match state {
            State::Kept => return State::Dropped,
            State::Open => verdict = State::Open,
            State::Dropped => {}
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spill::losers::{Keeper, number};

    fn edge(row: u32, chunk: u32, better: u32) -> Edge {
        let better = Keeper { number: number(chunk, better), part: 0, place: 0 };
        Edge { row, better, similarity_bits: 0 }
    }

    fn others<const N: usize>(states: [(u64, State); N]) -> Others {
        Others { own: 9, states: states.into() }
    }

    #[test]
    fn a_document_of_an_earlier_dataset_stays() {
        let mut states = vec![State::Open; 2];
        decide(0, &[edge(0, 9, 3), edge(1, 0, 0)], &others([]), &mut states);
        assert_eq!(states, [State::Dropped, State::Kept]);
    }

    #[test]
    fn a_chain_keeps_every_second_document() {
        let edges: Vec<Edge> = (1..6).map(|row| edge(row, 0, row - 1)).collect();
        let mut states = vec![State::Open; 6];
        decide(0, &edges, &others([]), &mut states);
        let kept = |row: usize| if row.is_multiple_of(2) { State::Kept } else { State::Dropped };
        assert_eq!(states, (0..6).map(kept).collect::<Vec<_>>());
    }

    #[test]
    fn a_better_document_may_come_later() {
        let edges = [edge(0, 0, 2), edge(1, 0, 0)];
        let mut states = vec![State::Open; 3];
        decide(0, &edges, &others([]), &mut states);
        assert_eq!(states, [State::Dropped, State::Kept, State::Kept]);
    }

    #[test]
    fn what_hangs_on_another_chunk_waits_for_it() {
        let edges = [edge(0, 7, 3), edge(1, 0, 0)];
        let mut states = vec![State::Open; 2];
        decide(0, &edges, &others([]), &mut states);
        assert_eq!(states, [State::Open; 2]);
        decide(0, &edges, &others([(number(7, 3), State::Kept)]), &mut states);
        assert_eq!(states, [State::Dropped, State::Kept]);
    }
}
