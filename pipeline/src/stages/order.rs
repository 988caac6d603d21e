//! The order stage: prefix sums over counts fix every shard, file and column before anything final is written.
//!
//! Documents come in input order, or shuffled. A shard takes documents as long as they fit into `shard_tokens`; one that is longer
//! has a shard of its own. The stage adds up frames, and looks into a frame only where a shard ends in it, so its work
//! is the number of frames plus the number of shards, and its memory does not grow with the corpus.

use schemas::columns::Column;
use schemas::ledger::Ledger;
use schemas::manifest::{DocumentCounts, Split};
use schemas::rule::{RULE_EMPTY, RULE_EXACT, RULE_NEAR, STAGE_CLEAN, STAGE_DEDUP, STAGE_MIX};
use serde::{Deserialize, Serialize};

use super::augment;
use super::mix::{self, MixDone};
use super::source::{self, Source};
use super::tokenize::{self, TokenizeDone};
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::frame::FrameReader;
use crate::spill::tokens::{RowState, SideCounts, TokenBlock};

/// Name of the stage.
pub const NAME: &str = "order";

/// Rows of one file in `rejects/`.
pub const REJECTS_FILE_ROWS: u64 = 1_000_000;

/// The order stage.
pub struct OrderStage;

/// A place among the rows of all sources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPlace {
    /// Position of the source.
    pub source: usize,
    /// Frame of the source.
    pub frame: usize,
    /// Row of the frame.
    pub row: usize,
}

/// One shard: which documents it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardPlan {
    /// Its side.
    pub split: Split,
    /// Its number within the side.
    pub number: u32,
    /// The place of its first document, or one before it without documents of this side between.
    pub start: RowPlace,
    /// How many documents of its side it takes from there.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
}

/// What the order stage fixes.
#[derive(Debug, Serialize, Deserialize)]
pub struct OrderDone {
    /// Every shard: train, then val.
    pub shards: Vec<ShardPlan>,
    /// First chunk and rows to skip of each file of rejects.
    pub reject_files: Vec<(usize, u64)>,
    /// Rows in all of them.
    pub rejects: u64,
    /// Source columns of the dataset.
    pub columns: Vec<Column>,
    /// Whether there is a column `extra`.
    pub extra: bool,
    /// The ledger, balanced.
    pub ledger: Ledger,
    /// Rows of `data/`, by origin.
    pub documents: DocumentCounts,
}

impl OrderDone {
    /// How many shards a side has.
    pub fn shard_count(&self, split: Split) -> usize {
        self.shards.iter().filter(|shard| shard.split == split).count()
    }
}

impl Stage for OrderStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, _run: &Run) -> Result<usize, Error> {
        Ok(1)
    }

    fn is_single(&self) -> bool {
        true
    }

    fn execute(&self, run: &Run, _rank: usize) -> Result<(), Error> {
        let layout = run.layout()?;
        let mut ledger = layout.ledger.clone();
        let mut fills = Split::ALL.map(|split| Fill::new(split, run.plan.config.output.shard_tokens));
        let mut rejects = RejectFiles::default();
        let mut repeated = 0;
        for index in 0..source::count(run)? {
            let Some(source) = source::open(run, index)? else { continue };
            for (frame, meta) in source.done.frames.iter().enumerate() {
                let place = RowPlace { source: index, frame, row: 0 };
                for (fill, counts) in fills.iter_mut().zip(meta.sides) {
                    fill.frame(place, counts, || read_tokens(run, &source, meta.tokens_offset))?;
                }
            }
        }
        for (index, chunk) in layout.chunks.iter().enumerate() {
            let done: TokenizeDone = run.marker(tokenize::NAME, index)?;
            ledger.drop(STAGE_DEDUP, RULE_EXACT, done.duplicates - done.near);
            ledger.drop(STAGE_DEDUP, RULE_NEAR, done.near);
            ledger.drop(STAGE_CLEAN, RULE_EMPTY, done.emptied);
            ledger.kept -= done.duplicates + done.emptied;
            let mixed: MixDone = if run.mix.is_on() { run.marker(mix::NAME, index)? } else { MixDone::default() };
            mixed.dropped.iter().for_each(|(rule, count)| ledger.drop(STAGE_MIX, rule, *count));
            let dropped: u64 = mixed.dropped.values().sum();
            ledger.kept -= dropped;
            repeated += mixed.repeated;
            rejects.chunk(index, u64::from(chunk.rejects) + done.duplicates + done.emptied + dropped);
        }
        let mut generated = 0;
        for index in layout.chunks.len()..augment::units(run)? {
            generated += match run.mix.is_on() {
                true => run.marker::<MixDone>(mix::NAME, index)?.written,
                false => {
                    let done: TokenizeDone = run.marker(tokenize::NAME, index)?;
                    done.frames.iter().flat_map(|frame| frame.sides).map(|side| side.documents).sum()
                }
            };
        }
        let kept = ledger.kept;
        let documents = DocumentCounts { total: kept + repeated + generated, kept, repeated, generated };
        refuse_too_many_invalid(run, &ledger)?;
        let shards: Vec<ShardPlan> = fills.into_iter().flat_map(Fill::finish).collect();
        check(&ledger, &documents, &shards, rejects.rows)?;
        let order = OrderDone {
            shards,
            reject_files: rejects.files,
            rejects: rejects.rows,
            columns: layout.columns.clone(),
            extra: layout.extra,
            ledger,
            documents,
        };
        run.mark_done(NAME, 0, &order)
    }
}

fn check(ledger: &Ledger, documents: &DocumentCounts, shards: &[ShardPlan], rejects: u64) -> Result<(), Error> {
    let differ = |what: &str, expected: u64, found: u64| {
        if expected == found {
            return Ok(());
        }
        Err(Error::Inconsistent { what: what.to_owned(), expected: expected.to_string(), found: found.to_string() })
    };
    ledger.balance().map_err(|error| Error::Inconsistent {
        what: "ledger".to_owned(),
        expected: error.lines.to_string(),
        found: error.to_string(),
    })?;
    differ("documents in shards", documents.total, shards.iter().map(|shard| shard.documents).sum())?;
    differ("rows of rejects", ledger.invalid_total() + ledger.dropped_total(), rejects)
}

fn refuse_too_many_invalid(run: &Run, ledger: &Ledger) -> Result<(), Error> {
    let Some(max) = run.plan.config.read.max_invalid else { return Ok(()) };
    let invalid = ledger.invalid_total();
    if invalid as f64 <= max * ledger.lines as f64 {
        return Ok(());
    }
    let rules: Vec<String> = ledger.invalid.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
    Err(Error::TooManyInvalid { invalid, lines: ledger.lines, max, rules: rules.join(", ") })
}

fn read_tokens(run: &Run, source: &Source, offset: u64) -> Result<TokenBlock, Error> {
    let mut reader = FrameReader::open(&source.tokens)?;
    reader.seek(offset)?;
    let payload = reader.next_frame()?.ok_or_else(|| reader.undecodable())?;
    TokenBlock::decode(payload, run.plan.config.tokenize.dtype).ok_or_else(|| reader.undecodable())
}

/// Fills the shards of one side.
struct Fill {
    split: Split,
    shard_tokens: u64,
    open: Option<ShardPlan>,
    closed: Vec<ShardPlan>,
}

impl Fill {
    fn new(split: Split, shard_tokens: u64) -> Self {
        Fill { split, shard_tokens, open: None, closed: Vec::new() }
    }

    /// Adds a frame; looks into it only where the open shard does not take it whole.
    fn frame(
        &mut self,
        place: RowPlace,
        counts: SideCounts,
        tokens: impl FnOnce() -> Result<TokenBlock, Error>,
    ) -> Result<(), Error> {
        if counts.documents == 0 {
            return Ok(());
        }
        let filled = self.open.map_or(0, |open| open.tokens);
        if filled + counts.tokens <= self.shard_tokens {
            self.add(place, counts);
            return Ok(());
        }
        let block = tokens()?;
        for (row, (state, count)) in block.states.iter().zip(&block.counts).enumerate() {
            if *state == RowState::Kept(self.split) {
                self.document(RowPlace { row, ..place }, u64::from(*count));
            }
        }
        Ok(())
    }

    fn document(&mut self, place: RowPlace, tokens: u64) {
        if self.open.is_some_and(|open| open.tokens + tokens > self.shard_tokens) {
            self.closed.extend(self.open.take());
        }
        self.add(place, SideCounts { documents: 1, tokens });
    }

    fn add(&mut self, place: RowPlace, counts: SideCounts) {
        let number = self.closed.len() as u32;
        let fresh = ShardPlan { split: self.split, number, start: place, documents: 0, tokens: 0 };
        let open = self.open.get_or_insert(fresh);
        open.documents += counts.documents;
        open.tokens += counts.tokens;
    }

    fn finish(mut self) -> Vec<ShardPlan> {
        self.closed.extend(self.open.take());
        self.closed
    }
}

/// Cuts the rejects of all chunks into files of [`REJECTS_FILE_ROWS`].
#[derive(Default)]
struct RejectFiles {
    files: Vec<(usize, u64)>,
    rows: u64,
}

impl RejectFiles {
    fn chunk(&mut self, index: usize, rows: u64) {
        while (self.files.len() as u64) * REJECTS_FILE_ROWS < self.rows + rows {
            let skip = self.files.len() as u64 * REJECTS_FILE_ROWS - self.rows;
            self.files.push((index, skip));
        }
        self.rows += rows;
    }
}

#[cfg(test)]
mod tests {
    use schemas::dtype::Dtype;

    use super::*;
    use crate::spill::tokens::TokenWriter;

    fn block(lengths: &[usize]) -> TokenBlock {
        let mut writer = TokenWriter::new(Dtype::U16);
        lengths.iter().for_each(|length| writer.kept(Split::Train, &vec![1; *length]));
        TokenBlock::decode(writer.finish().concat(), Dtype::U16).unwrap()
    }

    fn filled(shard_tokens: u64, frames: &[&[usize]]) -> Vec<(u64, u64)> {
        let mut fill = Fill::new(Split::Train, shard_tokens);
        for (frame, lengths) in frames.iter().enumerate() {
            let counts = SideCounts {
                documents: lengths.len() as u64,
                tokens: lengths.iter().map(|length| *length as u64).sum(),
            };
            fill.frame(RowPlace { source: 0, frame, row: 0 }, counts, || Ok(block(lengths))).unwrap();
        }
        fill.finish().iter().map(|shard| (shard.documents, shard.tokens)).collect()
    }

    #[test]
    fn a_shard_is_never_longer_than_asked_for() {
        assert_eq!(filled(10, &[&[4, 4, 4], &[4, 2, 4]]), [(2, 8), (3, 10), (1, 4)]);
    }

    #[test]
    fn a_document_longer_than_a_shard_has_one_of_its_own() {
        assert_eq!(filled(10, &[&[4, 25, 4]]), [(1, 4), (1, 25), (1, 4)]);
    }

    #[test]
    fn frames_do_not_change_where_shards_end() {
        let one = filled(10, &[&[4, 4, 4, 4, 2, 4]]);
        assert_eq!(filled(10, &[&[4], &[4], &[4], &[4], &[2], &[4]]), one);
    }

    #[test]
    fn files_of_rejects_start_where_the_last_one_is_full() {
        let mut files = RejectFiles::default();
        files.chunk(0, REJECTS_FILE_ROWS + 5);
        files.chunk(1, REJECTS_FILE_ROWS);
        assert_eq!(files.files, [(0, 0), (0, REJECTS_FILE_ROWS), (1, REJECTS_FILE_ROWS - 5)]);
    }
}
