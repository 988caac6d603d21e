//! The tokenize stage: one task a chunk; ids of the documents that dedup kept.
//!
//! Files: `RANK.tokens`, one frame beside each frame of the chunk's rows, `RANK.rejects` with the duplicates, and where
//! documents are mixed by tokens `RANK.histogram`.

use std::sync::atomic::Ordering;

use schemas::manifest::Split;
use schemas::rule::{RULE_EMPTY, STAGE_CLEAN, STAGE_DEDUP};
use serde::{Deserialize, Serialize};

use super::against::{self, Lookup};
use super::augment;
use super::duplicates::rule;
use super::losers::losers_of;
use super::mix::group_value;
use super::read::no_such_rank;
use crate::engine::memory::LARGE_BYTES;
use crate::engine::ordered::ordered;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::mix::hash::{subset_hash, weight_hash};
use crate::mix::histogram::Histogram;
use crate::spill::frame::{FrameReader, FrameWriter};
use crate::spill::keys::unpack_place;
use crate::spill::losers::{Likeness, Loser, chunk_and_row};
use crate::spill::rows::{Rejection, RowBlock, RowParts, RowWriter};
use crate::spill::tokens::{SideCounts, TokenWriter};
use crate::tokenize::Scratch;

/// Name of the stage.
pub const NAME: &str = "tokenize";

/// The tokenize stage.
pub struct TokenizeStage;

/// Where a frame of rows and its frame of tokens stand, and what they hold.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct FrameMeta {
    /// Offset in the chunk's rows.
    pub rows_offset: u64,
    /// Offset in the chunk's tokens.
    pub tokens_offset: u64,
    /// Kept documents and tokens, train then val.
    pub sides: [SideCounts; 2],
}

/// What a tokenize task says of itself.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct TokenizeDone {
    /// The chunk's frames, in order.
    pub frames: Vec<FrameMeta>,
    /// Duplicates among its rows, of either kind.
    pub duplicates: u64,
    /// Near-duplicates among those.
    #[serde(default)]
    pub near: u64,
    /// Documents of which nothing is left without the passages that were cut.
    #[serde(default)]
    pub emptied: u64,
}

/// A frame of rows on its way to a worker.
struct Item {
    rows_offset: u64,
    payload: Vec<u8>,
    /// Losers of this frame; rows counted from its start.
    losers: Vec<Loser>,
}

struct Encoded {
    rows_offset: u64,
    tokens: [Vec<u8>; 2],
    sides: [SideCounts; 2],
    rejects: Vec<u8>,
    duplicates: u64,
    near: u64,
    histogram: Histogram,
    emptied: u64,
}

impl Stage for TokenizeStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        augment::units(run)
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let Some(unit) = augment::unit(run, rank)? else { return Err(no_such_rank(NAME, rank, augment::units(run)?)) };
        let losers = if unit.generated { Vec::new() } else { losers_of(run, rank)? };
        let mut frames = Frames { reader: FrameReader::open(&unit.rows)?, losers: &losers, next_row: 0, offset: 0 };
        let mut tokens = FrameWriter::create(&run.task_file(NAME, rank, "tokens"))?;
        let mut rejects = FrameWriter::create(&run.task_file(NAME, rank, "rejects"))?;
        let mut done = TokenizeDone::default();
        let mut histogram = Histogram::default();
        let next = || {
            run.interrupt.check()?;
            frames.next()
        };
        ordered(
            &run.block_bounds(|item: &Item| item.payload.len() as u64),
            next,
            |item| run.encoder.with_scratch(|scratch| encode(run, item, scratch)),
            |encoded| {
                let tokens_offset = tokens.push_pieces(&encoded.tokens)?;
                rejects.push(&encoded.rejects)?;
                done.frames.push(FrameMeta { rows_offset: encoded.rows_offset, tokens_offset, sides: encoded.sides });
                done.duplicates += encoded.duplicates;
                done.near += encoded.near;
                histogram.merge(&encoded.histogram);
                done.emptied += encoded.emptied;
                run.progress.counts.dropped.fetch_add(encoded.duplicates + encoded.emptied, Ordering::Relaxed);
                Ok(())
            },
        )?;
        tokens.finish()?;
        rejects.finish()?;
        if run.mix.needs_counts() {
            histogram.write(&run.task_file(NAME, rank, "histogram"))?;
        }
        run.mark_done(NAME, rank, &done)
    }
}

struct Frames<'a> {
    reader: FrameReader,
    losers: &'a [Loser],
    next_row: u32,
    offset: u64,
}

impl Frames<'_> {
    fn next(&mut self) -> Result<Option<Item>, Error> {
        let rows_offset = self.reader.offset();
        let Some(payload) = self.reader.next_frame()? else { return Ok(None) };
        let rows = RowBlock::count(&payload).ok_or_else(|| self.reader.undecodable())?;
        let end = self.next_row + rows;
        let mine = self.losers.partition_point(|loser| loser.row < end);
        let (mine, rest) = self.losers.split_at(mine);
        let losers = mine.iter().map(|loser| Loser { row: loser.row - self.next_row, ..*loser }).collect();
        self.losers = rest;
        self.next_row = end;
        self.offset = rows_offset;
        Ok(Some(Item { rows_offset, payload, losers }))
    }
}

fn encode(run: &Run, item: Item, scratch: &mut Scratch) -> Result<Encoded, Error> {
    let Some(block) = RowBlock::decode(item.payload) else {
        return Err(Error::Inconsistent {
            what: "frame of rows".to_owned(),
            expected: "a decodable frame".to_owned(),
            found: "other bytes with a right checksum".to_owned(),
        });
    };
    let mut tokens = TokenWriter::new(run.plan.config.tokenize.dtype);
    let mut rejects = RowWriter::default();
    let mut ids = Vec::new();
    let mut losers = item.losers.iter().peekable();
    let mut names = Lookup::names(run);
    let (mut near, mut emptied) = (0, 0);
    let (mix, mut histogram) = (&run.mix, Histogram::default());
    let skips = mix.has_subset() && !mix.needs_counts();
    for (index, row) in block.rows.iter().enumerate() {
        if let Some(loser) = losers.next_if(|loser| loser.row as usize == index) {
            tokens.dropped();
            let value = reason(run, &mut names, loser)?;
            let rule = rule(loser.likeness).to_owned();
            near += u64::from(loser.likeness != Likeness::Exact);
            let rejection = Some(Rejection { stage: STAGE_DEDUP.to_owned(), rule, value });
            let parts = RowParts { origin: row.origin, side: Split::Train, n_chars: row.n_chars, body: b"", rejection };
            block.copy_row(row, &parts, &mut rejects);
            continue;
        }
        if run.passages.is_some() && row.body.is_empty() {
            tokens.dropped();
            emptied += 1;
            let (stage, rule) = (STAGE_CLEAN.to_owned(), RULE_EMPTY.to_owned());
            let value = run.passages.map_or(String::new(), |passages| passages.step().to_owned());
            let rejection = Some(Rejection { stage, rule, value });
            let parts = RowParts { origin: row.origin, side: Split::Train, n_chars: row.n_chars, body: b"", rejection };
            block.copy_row(row, &parts, &mut rejects);
            continue;
        }
        let text = block.bytes(&row.body);
        if skips && mix.step_of(subset_hash(text, mix.seed)).is_none() {
            tokens.beyond_subset();
            continue;
        }
        ids.clear();
        run.encoder.encode(block.str(&row.body), scratch, &mut ids)?;
        tokens.kept(row.side, &ids);
        if mix.needs_counts() {
            let group = mix.group_of(group_value(run, &block, row));
            histogram.push(group, weight_hash(text, mix.seed), ids.len() as u64);
        }
        if ids.capacity() as u64 > LARGE_BYTES {
            ids = Vec::new();
        }
    }
    let sides = tokens.sides;
    let duplicates = u64::from(rejects.len()) - emptied;
    run.progress.counts.tokens.fetch_add(sides.iter().map(|side| side.tokens).sum(), Ordering::Relaxed);
    Ok(Encoded {
        rows_offset: item.rows_offset,
        tokens: tokens.finish(),
        sides,
        rejects: rejects.finish(&block.names),
        duplicates,
        near,
        histogram,
        emptied,
    })
}

/// The document that is kept, and for a near-duplicate how similar the two are: `FILE@OFFSET similarity=0.8732`. One of an
/// earlier dataset by its id there: `DATASET: ID similarity=0.8732`.
fn reason<'a>(run: &'a Run, names: &mut Lookup<'a>, loser: &Loser) -> Result<String, Error> {
    let keeper = match against::file_of(run, loser.keeper.number)? {
        Some(file) => {
            let name = names.name(file, chunk_and_row(loser.keeper.number).1)?;
            let dataset = run.plan.against.get(name.dataset).map_or("?", |earlier| earlier.name.as_str());
            format!("{dataset}: {}", name.doc_id)
        }
        None => keeper_name(run, loser)?,
    };
    Ok(match loser.likeness {
        Likeness::Near(bits) => format!("{keeper} similarity={:.4}", f64::from_bits(bits)),
        Likeness::Exact | Likeness::Unverified => keeper,
    })
}

/// `FILE@OFFSET` of the document that is kept, `FILE:LINE` for inputs without offsets.
fn keeper_name(run: &Run, loser: &Loser) -> Result<String, Error> {
    let part = loser.keeper.part as usize;
    let input = run.plan.parts.get(part).and_then(|part| run.plan.inputs.get(part.input));
    let label = input.map_or("?", |input| input.label.as_str());
    Ok(match unpack_place(loser.keeper.place) {
        Ok(offset) => format!("{label}@{offset}"),
        Err(line) => format!("{label}:{}", run.layout()?.line_bases.get(part).copied().unwrap_or_default() + line + 1),
    })
}
