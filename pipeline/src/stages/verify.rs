//! The verify stage: one task a chunk; which of its documents' candidate pairs are as similar as asked for.
//!
//! The exact Jaccard similarity of the shingle sets decides, so no document is dropped for an accident of hashes. The sets
//! of the chunk's own documents are held, as many at a time as the memory allows; for each such batch the texts laid aside
//! for the chunk stream past once. Of a document of an earlier dataset there is the signature alone: the share of its
//! values that agree estimates the similarity (standard error 0.036 at 0.8 with 126 values). Files: `RANK.edges`; with
//! `--cluster component` `RANK.reversed`, the same pairs addressed to the chunks of their better documents.

use std::collections::HashMap;

use schemas::config::Cluster;
use serde::{Deserialize, Serialize};

use super::against::Lookup;
use super::candidates;
use super::read::no_such_rank;
use super::texts::{Text, Texts};
use super::walk::Walk;
use crate::dedup::settings::Near;
use crate::dedup::shingles::{Shingler, jaccard};
use crate::dedup::signature::Sketcher;
use crate::engine::ordered::ordered;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::edges::{self, Edge};
use crate::spill::losers::{Keeper, chunk_and_row, number};
use crate::spill::parcels::{ParcelWriter, Record};

/// Name of the stage.
pub const NAME: &str = "verify";

/// The verify stage.
pub struct VerifyStage(pub Near);

/// What a verify task says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct VerifyDone {
    /// Pairs that were compared.
    pub compared: u64,
    /// Pairs that are as similar as asked for.
    pub confirmed: u64,
}

impl Stage for VerifyStage {
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
        let task = Task { run, near: &self.0, rank, pairs: candidates::records_for(run, "pairs", rank)? };
        let mut confirmed = if self.0.verify { task.confirm()? } else { task.accept()? };
        edges::write(&edges_file(run, rank), &mut confirmed)?;
        if self.0.cluster == Cluster::Component {
            task.reverse(&confirmed)?;
        }
        let done = VerifyDone { compared: task.pairs.len() as u64, confirmed: confirmed.len() as u64 };
        run.mark_done(NAME, rank, &done)
    }
}

/// The confirmed pairs of a chunk.
pub(super) fn edges_file(run: &Run, chunk: usize) -> std::path::PathBuf {
    run.task_file(NAME, chunk, "edges")
}

struct Task<'a> {
    run: &'a Run,
    near: &'a Near,
    rank: usize,
    /// Better document, worse document of this chunk; sorted.
    pairs: Vec<Record<2>>,
}

/// Shingle sets of rows.
type Sets = HashMap<u32, Vec<u64>>;

impl Task<'_> {
    /// The rows of this chunk that a document is to be compared with.
    fn rows_against(&self, better: u64) -> impl Iterator<Item = u32> {
        let first = self.pairs.partition_point(|[document, _]| *document < better);
        let pairs = self.pairs.get(first..).unwrap_or_default();
        pairs.iter().take_while(move |[document, _]| *document == better).map(|[_, worse]| chunk_and_row(*worse).1)
    }

    /// Sends the confirmed pairs to the chunks of their better documents.
    fn reverse(&self, confirmed: &[Edge]) -> Result<(), Error> {
        let own = self.run.layout()?.chunks.len() as u32;
        let memory = self.run.plan.memory / 32 / self.run.threads() as u64;
        let mut reversed = ParcelWriter::<2>::create(&self.run.task_file(NAME, self.rank, "reversed"), memory)?;
        for edge in confirmed {
            let better = edge.better.number;
            if chunk_and_row(better).0 < own {
                reversed.push(chunk_and_row(better).0, [better, number(self.rank as u32, edge.row)])?;
            }
        }
        reversed.finish()
    }

    /// Every candidate pair, unseen.
    fn accept(&self) -> Result<Vec<Edge>, Error> {
        let mut texts = Texts::new(self.run, self.rank);
        let mut edges = Vec::new();
        while let Some(text) = texts.next(|_| true)? {
            let rows = self.rows_against(text.keeper.number);
            let edge = |row| Edge { row, better: text.keeper, similarity_bits: f64::NAN.to_bits() };
            edges.extend(rows.map(edge));
        }
        for (better, row) in self.earlier_pairs()? {
            edges.push(Edge { row, better: earlier(better), similarity_bits: f64::NAN.to_bits() });
        }
        Ok(edges)
    }

    /// The pairs with documents of earlier datasets: that document, and the row of this chunk.
    fn earlier_pairs(&self) -> Result<impl Iterator<Item = (u64, u32)>, Error> {
        let own = self.run.layout()?.chunks.len() as u32;
        let first = self.pairs.partition_point(|[better, _]| chunk_and_row(*better).0 < own);
        let pairs = self.pairs.get(first..).unwrap_or_default();
        Ok(pairs.iter().map(|[better, worse]| (*better, chunk_and_row(*worse).1)))
    }

    fn confirm(&self) -> Result<Vec<Edge>, Error> {
        let mut rows: Vec<u32> = self.pairs.iter().map(|[_, worse]| chunk_and_row(*worse).1).collect();
        rows.sort_unstable();
        rows.dedup();
        let mut edges = Vec::new();
        let mut batches = Batches { task: self, left: &rows, walk: None };
        while let Some(sets) = batches.next()? {
            self.confirm_batch(&sets, &mut edges)?;
        }
        Ok(edges)
    }

    fn confirm_batch(&self, sets: &Sets, edges: &mut Vec<Edge>) -> Result<(), Error> {
        let mut texts = Texts::new(self.run, self.rank);
        let next = || {
            self.run.interrupt.check()?;
            texts.next(|better| self.rows_against(better).any(|row| sets.contains_key(&row)))
        };
        ordered(
            &self.run.block_bounds(|text: &Text| text.str().len() as u64),
            next,
            |text| Ok(self.compare(&text, sets)),
            |found| {
                edges.extend(found);
                Ok(())
            },
        )?;
        self.confirm_earlier(sets, edges)
    }

    /// Pairs with documents of earlier datasets, by their signatures.
    fn confirm_earlier(&self, sets: &Sets, edges: &mut Vec<Edge>) -> Result<(), Error> {
        let own = self.run.layout()?.chunks.len() as u32;
        let mut lookup = Lookup::sketches(self.run);
        let mut sketcher = Sketcher::new(self.near.bands.values());
        for (better, row) in self.earlier_pairs()? {
            let Some(signature) = sets.get(&row).and_then(|set| sketcher.sketch(set)) else { continue };
            let (chunk, of_file) = chunk_and_row(better);
            let theirs = lookup.sketch((chunk - own) as usize, of_file)?;
            let agree = signature.iter().zip(&theirs).filter(|(mine, theirs)| **mine as u16 == **theirs as u16).count();
            let similarity = agree as f64 / signature.len() as f64;
            if similarity >= self.near.threshold {
                edges.push(Edge { row, better: earlier(better), similarity_bits: similarity.to_bits() });
            }
        }
        Ok(())
    }

    fn compare(&self, text: &Text, sets: &Sets) -> Vec<Edge> {
        let better = Shingler::new(self.near.shingle_units).set(text.str());
        let compare = |row: u32| {
            let similarity = jaccard(sets.get(&row)?, &better);
            let edge = Edge { row, better: text.keeper, similarity_bits: similarity.to_bits() };
            (similarity >= self.near.threshold).then_some(edge)
        };
        self.rows_against(text.keeper.number).filter_map(compare).collect()
    }
}

/// A document of an earlier dataset has a number and no place in this run's inputs.
fn earlier(number: u64) -> Keeper {
    Keeper { number, part: 0, place: 0 }
}

/// Shingle sets of a chunk's rows, as many at a time as the memory allows.
struct Batches<'a> {
    task: &'a Task<'a>,
    left: &'a [u32],
    walk: Option<Walk>,
}

impl Batches<'_> {
    fn next(&mut self) -> Result<Option<Sets>, Error> {
        let Task { run, near, rank, .. } = self.task;
        let Some(chunk) = run.layout()?.chunks.get(*rank) else { return Ok(None) };
        let walk = match &mut self.walk {
            Some(walk) => walk,
            None => self.walk.insert(Walk::new(run, chunk)?),
        };
        let share = run.plan.memory / 8 / run.threads() as u64;
        let (mut sets, mut bytes) = (Sets::new(), 0);
        let mut shingler = Shingler::new(near.shingle_units);
        while bytes < share {
            run.interrupt.check()?;
            let before = self.left;
            let Some(frame) = walk.next_with(&mut self.left)? else { break };
            let wanted = before.get(..before.len() - self.left.len()).unwrap_or_default();
            let first_row = frame.first_row;
            let block = frame.decode()?;
            for row in wanted {
                let Some(parts) = block.rows.get((row - first_row) as usize) else { continue };
                let set = shingler.set(block.str(&parts.body));
                bytes += set.len() as u64 * 8 + 64;
                sets.insert(*row, set);
            }
        }
        Ok((!sets.is_empty()).then_some(sets))
    }
}
