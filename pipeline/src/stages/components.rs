//! The cluster stage with `--cluster component`: of all documents that confirmed pairs link, near or far, the best stays.
//!
//! A document's label is the best document it is known to be linked with, at first itself. A task finds the components of
//! its chunk alone (union-find) and gives each the best label among its members and their partners in other chunks, as
//! these were after the round before. Rounds go on until one changes nothing; each carries a
//! label one chunk further. Labels only get better and the best is unique, so the answer does not depend on the chunks. Pairs
//! are known to both sides: the verify stage sends each to the chunk of its better document, too. Task
//! `round x chunks + chunk`; file: `RANK.labels`, of the documents that have a pair.

use std::collections::BTreeMap;

use super::against;
use super::cluster::{ClusterDone, NAME, last_round, rounds};
use super::read::no_such_rank;
use super::verify::{self, edges_file};
use super::walk::{Walk, priority};
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::edges;
use crate::spill::frame::{FrameReader, FrameWriter};
use crate::spill::keys::place;
use crate::spill::losers::{Keeper, Likeness, Loser, chunk_and_row, number};
use crate::spill::parcels::{self, Record};
use crate::spill::wire::{Cursor, put_u32, put_u64};

const FRAME_LABELS: usize = 1 << 15;

/// The cluster stage, by components.
pub struct ComponentsStage;

/// A document by the keep policy: less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Label {
    priority: u64,
    keeper: Keeper,
}

/// Labels of a chunk's documents that have a pair, by row.
type Labels = BTreeMap<u32, Label>;

impl Stage for ComponentsStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn works_in_rounds(&self) -> bool {
        true
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        Ok(rounds(run)? * run.layout()?.chunks.len())
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let chunks = run.layout()?.chunks.len();
        if chunks == 0 {
            return Err(no_such_rank(NAME, rank, chunks));
        }
        let (round, chunk) = (rank / chunks, rank % chunks);
        let pairs = pairs(run, chunk)?;
        let before = match round.checked_sub(1) {
            Some(before) => labels_after(run, before, chunk)?,
            None => own_labels(run, chunk, &pairs)?,
        };
        let mut others = Others { run, round: round.checked_sub(1), chunk: None };
        let labels = best_of_components(chunk as u32, &pairs, &before, |number| others.label(number))?;
        let changed = match round {
            // Nothing was known of other chunks, so wherever there is a partner the next round has to look.
            0 => pairs.iter().filter(|(_, other)| is_elsewhere(run, chunk, *other).unwrap_or(true)).count(),
            _ => labels.iter().filter(|(row, label)| before.get(row) != Some(label)).count(),
        };
        write(run, rank, &labels)?;
        run.mark_done(NAME, rank, &ClusterDone { open: changed as u64, states: rank })
    }
}

/// Whether a document is one of another chunk of this run.
fn is_elsewhere(run: &Run, chunk: usize, number: u64) -> Result<bool, Error> {
    Ok(chunk_and_row(number).0 as usize != chunk && against::file_of(run, number)?.is_none())
}

/// The confirmed pairs of a chunk's documents, better and worse: the row, and the other document.
fn pairs(run: &Run, chunk: usize) -> Result<Vec<(u32, u64)>, Error> {
    let edges = edges::read(&edges_file(run, chunk))?;
    let mut pairs: Vec<(u32, u64)> = edges.iter().map(|edge| (edge.row, edge.better.number)).collect();
    let mut sent: Vec<Record<2>> = Vec::new();
    for rank in 0..run.layout()?.chunks.len() {
        parcels::read(&run.task_file(verify::NAME, rank, "reversed"), chunk as u32, &mut sent)?;
    }
    pairs.extend(sent.iter().map(|[better, worse]| (chunk_and_row(*better).1, *worse)));
    pairs.sort_unstable();
    pairs.dedup();
    Ok(pairs)
}

/// Every document that has a pair, labelled with itself.
fn own_labels(run: &Run, chunk: usize, pairs: &[(u32, u64)]) -> Result<Labels, Error> {
    let mut labels = Labels::new();
    let Some(of) = run.layout()?.chunks.get(chunk) else { return Ok(labels) };
    let mut rows: Vec<u32> = pairs.iter().map(|(row, _)| *row).collect();
    rows.dedup();
    let (mut walk, mut left) = (Walk::new(run, of)?, &rows[..]);
    while let Some(frame) = walk.next_with(&mut left)? {
        run.interrupt.check()?;
        let first_row = frame.first_row;
        let block = frame.decode()?;
        for (row, parts) in (first_row..).zip(&block.rows).filter(|(row, _)| rows.binary_search(row).is_ok()) {
            let place = place(parts.origin.byte_offset, parts.origin.line);
            let keeper = Keeper { number: number(chunk as u32, row), part: of.part, place };
            labels.insert(row, Label { priority: priority(run, &block, parts), keeper });
        }
    }
    Ok(labels)
}

/// Gives the components of a chunk the best label of their members and of those members' partners elsewhere.
fn best_of_components(
    chunk: u32,
    pairs: &[(u32, u64)],
    before: &Labels,
    mut label: impl FnMut(u64) -> Result<Option<Label>, Error>,
) -> Result<Labels, Error> {
    let mut parents: BTreeMap<u32, u32> = before.keys().map(|row| (*row, *row)).collect();
    for (row, other) in pairs {
        let (home, partner) = chunk_and_row(*other);
        if home == chunk {
            let (left, right) = (root(&mut parents, *row), root(&mut parents, partner));
            parents.insert(left.max(right), left.min(right));
        }
    }
    let mut best: BTreeMap<u32, Label> = BTreeMap::new();
    let mut offer = |root: u32, label: Label| {
        best.entry(root).and_modify(|held| *held = (*held).min(label)).or_insert(label);
    };
    before.iter().for_each(|(row, label)| offer(root(&mut parents, *row), *label));
    let mut elsewhere: Vec<(u64, u32)> =
        pairs.iter().filter(|(_, other)| chunk_and_row(*other).0 != chunk).map(|(row, other)| (*other, *row)).collect();
    elsewhere.sort_unstable();
    for (other, row) in elsewhere {
        if let Some(label) = label(other)? {
            offer(root(&mut parents, row), label);
        }
    }
    let of = |(row, label): (&u32, &Label)| (*row, best.get(&root(&mut parents, *row)).copied().unwrap_or(*label));
    Ok(before.iter().map(of).collect())
}

/// The representative of a row; halves the way to it.
fn root(parents: &mut BTreeMap<u32, u32>, mut row: u32) -> u32 {
    loop {
        let parent = parents.get(&row).copied().unwrap_or(row);
        if parent == row {
            return row;
        }
        let grandparent = parents.get(&parent).copied().unwrap_or(parent);
        parents.insert(row, grandparent);
        row = grandparent;
    }
}

/// Labels of documents elsewhere, asked for in order: one chunk's are held at a time.
struct Others<'a> {
    run: &'a Run,
    round: Option<usize>,
    chunk: Option<(u32, Labels)>,
}

impl Others<'_> {
    fn label(&mut self, number: u64) -> Result<Option<Label>, Error> {
        if against::file_of(self.run, number)?.is_some() {
            return Ok(Some(Label { priority: 0, keeper: Keeper { number, part: 0, place: 0 } }));
        }
        let Some(round) = self.round else { return Ok(None) };
        let (home, row) = chunk_and_row(number);
        if self.chunk.as_ref().is_none_or(|(held, _)| *held != home) {
            self.chunk = Some((home, labels_after(self.run, round, home as usize)?));
        }
        Ok(self.chunk.as_ref().and_then(|(_, labels)| labels.get(&row).copied()))
    }
}

fn labels_after(run: &Run, round: usize, chunk: usize) -> Result<Labels, Error> {
    let rank = round * run.layout()?.chunks.len() + chunk;
    let mut frames = FrameReader::open(&run.task_file(NAME, rank, "labels"))?;
    let mut labels = Labels::new();
    while let Some(frame) = frames.next_frame()? {
        let mut cursor = Cursor::new(&frame);
        while let (Some(row), Some(part), Some(priority), Some(number), Some(place)) =
            (cursor.u32(), cursor.u32(), cursor.u64(), cursor.u64(), cursor.u64())
        {
            labels.insert(row, Label { priority, keeper: Keeper { number, part, place } });
        }
    }
    Ok(labels)
}

fn write(run: &Run, rank: usize, labels: &Labels) -> Result<(), Error> {
    let mut writer = FrameWriter::create(&run.task_file(NAME, rank, "labels"))?;
    let mut frame = Vec::new();
    for (at, (row, Label { priority, keeper })) in labels.iter().enumerate() {
        put_u32(&mut frame, *row);
        put_u32(&mut frame, keeper.part);
        put_u64(&mut frame, *priority);
        put_u64(&mut frame, keeper.number);
        put_u64(&mut frame, keeper.place);
        if (at + 1) % FRAME_LABELS == 0 {
            writer.push(&frame)?;
            frame.clear();
        }
    }
    writer.push(&frame)?;
    writer.finish()?;
    Ok(())
}

/// The documents of a chunk that are not the best of their component. How similar the two are is known where they were
/// compared.
pub(super) fn losers(run: &Run, chunk: usize) -> Result<Vec<Loser>, Error> {
    let labels = labels_after(run, last_round(run, chunk)?, chunk)?;
    let edges = edges::read(&edges_file(run, chunk))?;
    let likeness = |row: u32, keeper: &Keeper| {
        let first = edges.partition_point(|edge| edge.row < row);
        let own = edges.get(first..).unwrap_or_default().iter().take_while(|edge| edge.row == row);
        let compared = own.into_iter().find(|edge| edge.better.number == keeper.number);
        let bits = compared.map(|edge| edge.similarity_bits).filter(|bits| !f64::from_bits(*bits).is_nan());
        bits.map_or(Likeness::Unverified, Likeness::Near)
    };
    let gone = labels.iter().filter(|(row, label)| label.keeper.number != number(chunk as u32, **row));
    let loser = |(row, label): (&u32, &Label)| Loser {
        chunk: chunk as u32,
        row: *row,
        keeper: label.keeper,
        likeness: likeness(*row, &label.keeper),
    };
    Ok(gone.map(loser).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(priority: u64, chunk: u32, row: u32) -> Label {
        Label { priority, keeper: Keeper { number: number(chunk, row), part: 0, place: 0 } }
    }

    fn rows(labels: &Labels) -> Vec<(u32, u64)> {
        labels.iter().map(|(row, label)| (*row, label.keeper.number)).collect()
    }

    #[test]
    fn a_chain_is_one_component_and_the_policy_chooses_its_best() {
        let before: Labels = (0..5).map(|row| (row, label(9 - u64::from(row == 3), 0, row))).collect();
        let pairs: Vec<(u32, u64)> = (1..4).map(|row| (row, number(0, row - 1))).collect();
        let labels = best_of_components(0, &pairs, &before, |_| Ok(None)).unwrap();
        assert_eq!(rows(&labels), [(0, 3), (1, 3), (2, 3), (3, 3), (4, 4)]);
    }

    #[test]
    fn what_a_partner_elsewhere_knows_reaches_the_whole_component() {
        let before: Labels = (0..3).map(|row| (row, label(9, 7, row))).collect();
        let pairs = [(0, number(7, 1)), (1, number(3, 8))];
        let labels = best_of_components(7, &pairs, &before, |_| Ok(Some(label(9, 1, 1)))).unwrap();
        assert_eq!(rows(&labels), [(0, number(1, 1)), (1, number(1, 1)), (2, number(7, 2))]);
    }
}
