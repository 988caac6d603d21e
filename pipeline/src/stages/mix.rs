//! The two stages of mixing. `budget`, a single task, only where documents are mixed by tokens: adds up what every chunk
//! has and finds how often documents of each group occur. `mix`, one task a chunk: which documents go, and the walks in
//! which those that stay are written.
//!
//! A walk is a step of the subset and a pass over its documents: all of the first step once, those that occur twice
//! again, and so on, then the documents of the next step. So copies of a document do not stand side by side, and a
//! subset is the beginning of every larger one. Rows are not written again: a walk of a chunk is a token file whose other rows are
//! marked as dropped. Files: `RANK.WALK.tokens`, `RANK.WALK.frames`, `RANK.rejects`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use schemas::rule::{RULE_SUBSET, STAGE_MIX};
use serde::{Deserialize, Serialize};

use super::augment::{self, Unit};
use super::read::no_such_rank;
use super::tokenize::{self, FrameMeta, TokenizeDone};
use crate::engine::marker;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::mix::hash::{subset_hash, unit, weight_hash};
use crate::mix::histogram::{self, RANGES};
use crate::mix::settings::{NULL, SOURCE};
use crate::mix::{Cut, Mix};
use crate::report::shares::Shares;
use crate::spill::frame::{FrameReader, FrameWriter};
use crate::spill::rows::{Rejection, Row, RowBlock, RowParts, RowWriter};
use crate::spill::tokens::{RowState, TokenBlock, TokenWriter};

/// Name of the stage that chooses documents.
pub const NAME: &str = "mix";
/// Name of the stage that finds how many.
pub const BUDGET: &str = "budget";

const VALUE_BYTES_MAX: usize = 64;

/// Finds how often documents of each group occur.
pub struct BudgetStage;

/// Chooses documents.
pub struct MixStage;

/// What the budget task says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct BudgetDone {
    /// How often documents occur, by group.
    pub cuts: Vec<Cut>,
    /// Tokens wanted of each group; None: all there are.
    pub wanted: Vec<Option<u64>>,
    /// Tokens each group has.
    pub found: Vec<u64>,
}

/// What a mix task says of itself.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct MixDone {
    /// Documents that go, by rule.
    pub dropped: BTreeMap<String, u64>,
    /// Documents beyond the first of each line.
    pub repeated: u64,
    /// Documents that are written.
    pub written: u64,
    /// Documents and tokens by value, of those that came here and are in the subset.
    pub before: Shares,
    /// The same of what is written.
    pub after: Shares,
}

/// The value by which a row is mixed.
pub(super) fn group_value<'a>(run: &'a Run, block: &'a RowBlock, row: &Row) -> &'a str {
    let Some(by) = run.mix.by.as_deref() else { return NULL };
    let of_row = |name: &str| {
        let name = block.names.iter().position(|known| known == name)?;
        let value = block.values_of(row).iter().find(|value| value.name as usize == name)?;
        Some(block.str(&value.bytes))
    };
    match by {
        SOURCE => run.plan.inputs.get(row.origin.input as usize).map_or(NULL, |input| &input.label),
        name => of_row(name).unwrap_or(NULL),
    }
}

/// Passes over the documents of a step: most times a document occurs.
///
/// # Errors
/// Where the marker of the budget stage cannot be read.
pub fn passes(run: &Run) -> Result<usize, Error> {
    Ok(run.cuts()?.iter().map(|cut| cut.copies_max()).max().unwrap_or_default() as usize)
}

/// Walks over the chunks.
///
/// # Errors
/// As [`passes`].
pub fn walks(run: &Run) -> Result<usize, Error> {
    if !run.mix.is_on() { Ok(1) } else { Ok(passes(run)? * run.mix.steps.len().max(1)) }
}

/// The token file and the frames of a walk over a chunk; no frames where none of its documents is in it.
///
/// # Errors
/// Where the file of frames is damaged.
pub fn walk_of(run: &Run, walk: usize, chunk: usize) -> Result<(std::path::PathBuf, TokenizeDone), Error> {
    let file = |kind: &str| run.task_file(NAME, chunk, &format!("{walk:04}.{kind}"));
    let frames: Option<Vec<FrameMeta>> = marker::read(&file("frames"))?;
    Ok((file("tokens"), TokenizeDone { frames: frames.unwrap_or_default(), ..TokenizeDone::default() }))
}

impl Stage for BudgetStage {
    fn name(&self) -> &'static str {
        BUDGET
    }

    fn ranks(&self, _run: &Run) -> Result<usize, Error> {
        Ok(1)
    }

    fn execute(&self, run: &Run, _rank: usize) -> Result<(), Error> {
        let mut tokens = vec![vec![0; RANGES]; run.mix.groups.len()];
        for unit in 0..augment::units(run)? {
            run.interrupt.check()?;
            histogram::add_file(&run.task_file(tokenize::NAME, unit, "histogram"), &mut tokens)?;
        }
        let found: Vec<u64> = tokens.iter().map(|ranges| ranges.iter().sum()).collect();
        let (cuts, wanted) = (run.mix.cuts_of_tokens(&tokens)?, run.mix.wanted(&found)?);
        run.mark_done(BUDGET, 0, &BudgetDone { cuts, wanted, found })
    }
}

impl Stage for MixStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        augment::units(run)
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let Some(unit) = augment::unit(run, rank)? else { return Err(no_such_rank(NAME, rank, augment::units(run)?)) };
        let task = Task { run, rank, mix: &run.mix, cuts: run.cuts()?, passes: passes(run)? };
        let done = task.execute(&unit)?;
        run.progress.counts.dropped.fetch_add(done.dropped.values().sum(), Ordering::Relaxed);
        run.mark_done(NAME, rank, &done)
    }
}

struct Task<'a> {
    run: &'a Run,
    rank: usize,
    mix: &'a Mix,
    cuts: &'a [Cut],
    passes: usize,
}

/// What becomes of a document.
enum Fate {
    /// The walks it is in, first and one past the last.
    In(usize, usize),
    /// Rule and value.
    Out(String, String),
}

/// A walk that is being written.
struct OpenWalk {
    tokens: FrameWriter,
    frames: Vec<FrameMeta>,
}

impl Task<'_> {
    fn execute(&self, unit: &Unit) -> Result<MixDone, Error> {
        let dtype = self.run.plan.config.tokenize.dtype;
        let tokenized: TokenizeDone = self.run.marker(tokenize::NAME, self.rank)?;
        let mut rows = FrameReader::open(&unit.rows)?;
        let mut tokens = FrameReader::open(&self.run.task_file(tokenize::NAME, self.rank, "tokens"))?;
        let mut rejects = FrameWriter::create(&self.run.task_file(NAME, self.rank, "rejects"))?;
        let mut walks: Vec<Option<OpenWalk>> = (0..walks(self.run)?).map(|_| None).collect();
        let mut done = MixDone::default();
        for meta in tokenized.frames {
            self.run.interrupt.check()?;
            let payload = rows.next_frame()?;
            let block = payload.and_then(RowBlock::decode).ok_or_else(|| rows.undecodable())?;
            let payload = tokens.next_frame()?;
            let ids = payload.and_then(|ids| TokenBlock::decode(ids, dtype)).ok_or_else(|| tokens.undecodable())?;
            let fates = self.fates(&block, &ids, &mut done);
            // A version that is left out is no line that is lost.
            if !unit.generated {
                rejects.push(&reject_rows(&block, &fates))?;
            }
            for (number, walk) in walks.iter_mut().enumerate() {
                self.write_walk((number, walk), &meta, &ids, &fates)?;
            }
        }
        rejects.finish()?;
        for (number, walk) in walks.into_iter().enumerate() {
            let Some(walk) = walk else { continue };
            walk.tokens.finish()?;
            marker::write(&self.run.task_file(NAME, self.rank, &format!("{number:04}.frames")), &walk.frames)?;
        }
        if unit.generated {
            done.dropped.clear();
        }
        Ok(done)
    }

    fn fates(&self, block: &RowBlock, ids: &TokenBlock, done: &mut MixDone) -> Vec<Option<Fate>> {
        let rows = block.rows.iter().zip(ids.states.iter().zip(&ids.counts));
        let fate = |(row, (state, tokens)): (&Row, (&RowState, &u32))| {
            if *state == RowState::Dropped {
                return None;
            }
            let value = group_value(self.run, block, row);
            let fate = self.fate(block.bytes(&row.body), value);
            self.count(&fate, value, u64::from(*tokens), done);
            Some(fate)
        };
        rows.map(fate).collect()
    }

    fn fate(&self, text: &[u8], value: &str) -> Fate {
        let hash = subset_hash(text, self.mix.seed);
        let Some(step) = self.mix.step_of(hash) else {
            return Fate::Out(RULE_SUBSET.to_owned(), format!("hash={:.6}", unit(hash)));
        };
        let hash = weight_hash(text, self.mix.seed);
        let group = self.mix.group_of(value);
        let copies = self.cuts.get(group).map_or(1, |cut| cut.copies(hash)) as usize;
        let first = step * self.passes;
        match copies {
            0 => {
                let (by, name) = (self.mix.by.as_deref().unwrap_or_default(), self.mix.groups.get(group));
                let rule = format!("{by}={}", name.map_or(NULL, String::as_str));
                Fate::Out(rule, format!("{by}={value}, hash={:.6}", unit(hash)))
            }
            copies => Fate::In(first, first + copies),
        }
    }

    fn count(&self, fate: &Fate, value: &str, tokens: u64, done: &mut MixDone) {
        let value = match value.len() > VALUE_BYTES_MAX {
            true => self.mix.groups.get(self.mix.group_of(value)).map_or(NULL, String::as_str),
            false => value,
        };
        match fate {
            Fate::Out(rule, _) => {
                *done.dropped.entry(rule.clone()).or_default() += 1;
                if rule != RULE_SUBSET && self.mix.by.is_some() {
                    done.before.push(Some(value), tokens);
                }
            }
            Fate::In(first, last) => {
                done.repeated += (last - first - 1) as u64;
                done.written += (last - first) as u64;
                if self.mix.by.is_some() {
                    done.before.push(Some(value), tokens);
                    (*first..*last).for_each(|_| done.after.push(Some(value), tokens));
                }
            }
        }
    }

    fn write_walk(
        &self,
        (number, walk): (usize, &mut Option<OpenWalk>),
        meta: &FrameMeta,
        ids: &TokenBlock,
        fates: &[Option<Fate>],
    ) -> Result<(), Error> {
        let is_in =
            |fate: &Option<Fate>| matches!(fate, Some(Fate::In(first, last)) if (*first..*last).contains(&number));
        if !fates.iter().any(is_in) {
            return Ok(());
        }
        let mut tokens = TokenWriter::new(self.run.plan.config.tokenize.dtype);
        for (row, (state, fate)) in ids.states.iter().zip(fates).enumerate() {
            match state {
                RowState::Kept(side) if is_in(fate) => tokens.kept_bytes(*side, ids.ids(row)),
                _ => tokens.dropped(),
            }
        }
        let walk = match walk {
            Some(walk) => walk,
            None => walk.insert(OpenWalk {
                tokens: FrameWriter::create(&self.run.task_file(NAME, self.rank, &format!("{number:04}.tokens")))?,
                frames: Vec::new(),
            }),
        };
        let sides = tokens.sides;
        let tokens_offset = walk.tokens.push_pieces(&tokens.finish())?;
        walk.frames.push(FrameMeta { rows_offset: meta.rows_offset, tokens_offset, sides });
        Ok(())
    }
}

fn reject_rows(block: &RowBlock, fates: &[Option<Fate>]) -> Vec<u8> {
    let mut rejects = RowWriter::default();
    for (row, fate) in block.rows.iter().zip(fates) {
        let Some(Fate::Out(rule, value)) = fate else { continue };
        let rejection = Rejection { stage: STAGE_MIX.to_owned(), rule: rule.clone(), value: value.clone() };
        let parts = RowParts {
            origin: row.origin,
            side: row.side,
            n_chars: row.n_chars,
            body: b"",
            rejection: Some(rejection),
        };
        block.copy_row(row, &parts, &mut rejects);
    }
    rejects.finish(&block.names)
}
