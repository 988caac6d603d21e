//! The read stage: from bytes to documents that passed every filter, and rejects that did not.
//!
//! One task a part of an input. Blocks of whole lines are parsed, cleaned, filtered and hashed on every core and written in
//! order, cut into chunks of about 64 MiB of text. Files: `RANK.CHUNK.rows`, `.rejects`, `.keys`.

use std::cmp::Ordering as Compare;
use std::sync::atomic::Ordering;

use schemas::columns::Kinds;
use schemas::ledger::Ledger;
use schemas::manifest::Split;
use schemas::rule::{InvalidRule, RULE_EMPTY, STAGE_CLEAN, STAGE_DECONTAMINATE, STAGE_FILTER, STAGE_READ};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::layout::{Chunk, ColumnUnion};
use crate::clean::{self, Cleaned};
use crate::decontaminate::Hit;
use crate::dedup::normalize::Normalizer;
use crate::dedup::shingles::Shingler;
use crate::engine::ordered::ordered;
use crate::engine::progress::Unit;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::filter::Verdict;
use crate::read::{Block, Reader};
use crate::record::{Document, Invalid, Position, Records};
use crate::report::examples::{Example, Reasons, excerpt};
use crate::spill::frame::FrameWriter;
use crate::spill::keys::{self, Key};
use crate::spill::rows::{Origin, Rejection, RowParts, RowWriter};

/// Name of the stage.
pub const NAME: &str = "read";

const CHUNK_TEXT_BYTES: u64 = 64 << 20;
const CHUNK_ROWS_MAX: u64 = 1 << 18;
const KEY_MEMORY_BYTES: u64 = 48;

/// The read stage.
pub struct ReadStage;

/// What a read task says of itself.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ReadDone {
    /// Its chunks, in order.
    pub chunks: Vec<Chunk>,
    /// Lines of the part.
    pub lines: u64,
    /// Digests of the 64 MiB blocks of the part, hexadecimal.
    pub block_hashes: Vec<String>,
    /// Columns and kinds seen, in order of first appearance.
    pub columns: Vec<(String, Kinds)>,
    /// Counts of the part; `kept` are the documents that passed so far.
    pub ledger: Ledger,
    /// What each step of cleaning changed.
    #[serde(default)]
    pub cleaned: clean::Counts,
    /// The beginnings of the first texts each rule dropped; their lines counted from 0 within the part.
    #[serde(default)]
    pub examples: Reasons,
}

impl Stage for ReadStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        Ok(run.plan.parts.len())
    }

    fn work(&self, run: &Run) -> (u64, Unit) {
        (run.plan.input_bytes(), Unit::Bytes)
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let Some(part) = run.plan.parts.get(rank) else { return Err(no_such_rank(NAME, rank, run.plan.parts.len())) };
        let Some(input) = run.plan.inputs.get(part.input) else {
            return Err(no_such_rank("input", part.input, run.plan.inputs.len()));
        };
        run.plan.check_unchanged(input)?;
        let mut reader = Reader::open(input, part, &run.read_options)?;
        let mut output = Output::new(run, rank);
        let mut read_bytes = 0;
        let next = || {
            run.interrupt.check()?;
            let block = reader.next_block()?;
            block.iter().try_for_each(|block| block.check_fits(&input.path, &run.read_options))?;
            let now = reader.bytes_read();
            run.progress.advance(now - read_bytes);
            read_bytes = now;
            Ok(block)
        };
        let input_index = part.input as u32;
        let bounds = run.block_bounds(Block::bytes);
        ordered(&bounds, next, |block| process(run, input_index, block), |block| output.push(block))?;
        let digest = reader.finish()?;
        run.plan.check_unchanged(input)?;
        let mut done = output.finish()?;
        done.lines = digest.lines;
        done.block_hashes = digest.block_hashes.iter().map(|hash| format!("{hash:032x}")).collect();
        run.mark_done(NAME, rank, &done)
    }
}

/// The error for a rank that the stage does not have.
pub(super) fn no_such_rank(stage: &str, rank: usize, ranks: usize) -> Error {
    Error::usage("--rank", format!("{stage} has tasks 0 to {}, found {rank}", ranks.saturating_sub(1)), "")
}

/// A block, ready to be written.
pub(super) struct Processed {
    pub(super) rows: Vec<u8>,
    pub(super) row_count: u32,
    pub(super) rejects: Vec<u8>,
    pub(super) reject_count: u32,
    /// Keys with rows counted from the start of the block.
    pub(super) keys: Vec<Key>,
    pub(super) text_bytes: u64,
    pub(super) columns: Vec<(String, Kinds)>,
    pub(super) ledger: Ledger,
    pub(super) cleaned: clean::Counts,
    pub(super) examples: Reasons,
}

fn process(run: &Run, input: u32, block: Block) -> Result<Processed, Error> {
    let mut records = block.parse(&run.read_options);
    let cleaned = clean::clean_records(&run.cleaner, &mut records);
    let source = run.plan.inputs.get(input as usize).map_or("", |input| &input.label);
    run.sources.apply(&mut records, source);
    run.terms.apply(&mut records);
    run.measures.apply(&mut records);
    let verdicts = run.filter.apply(&records)?;
    let mut sorter = Sorter::new(run, input, &records, &cleaned);
    let mut invalid = records.invalid.iter().peekable();
    for (index, (document, verdict)) in records.documents.iter().zip(verdicts).enumerate() {
        while let Some(damaged) = invalid.next_if(|damaged| damaged.position.line < document.position.line) {
            sorter.damaged(damaged);
        }
        sorter.document(index, document, verdict);
    }
    invalid.for_each(|damaged| sorter.damaged(damaged));
    let processed = sorter.finish();
    Ok(Processed { cleaned: cleaned.counts, ..processed })
}

/// Sends each record of a block where it belongs.
struct Sorter<'a> {
    run: &'a Run,
    input: u32,
    records: &'a Records,
    rows: RowWriter,
    rejects: RowWriter,
    keys: Vec<Key>,
    kinds: Vec<Kinds>,
    text_bytes: u64,
    ledger: Ledger,
    split_by: Option<u32>,
    normalizer: Normalizer,
    /// Where there are benchmarks.
    shingler: Option<Shingler>,
    cleaned: &'a Cleaned,
    examples: Reasons,
}

impl<'a> Sorter<'a> {
    fn new(run: &'a Run, input: u32, records: &'a Records, cleaned: &'a Cleaned) -> Self {
        let ledger = Ledger { lines: records.lines, blank: records.blank, ..Ledger::default() };
        let split_by = run.plan.config.split.by.as_ref();
        let split_by = split_by.and_then(|column| records.names.iter().position(|name| name == column));
        Sorter {
            run,
            input,
            records,
            rows: RowWriter::default(),
            rejects: RowWriter::default(),
            keys: Vec::with_capacity(records.documents.len()),
            kinds: vec![Kinds::default(); records.names.len()],
            text_bytes: 0,
            ledger,
            split_by: split_by.map(|index| index as u32),
            normalizer: run.dedup.normalizer.clone(),
            shingler: (!run.decontaminator.is_empty()).then(|| run.decontaminator.shingler()),
            cleaned,
            examples: Reasons::default(),
        }
    }

    fn origin(&self, position: Position) -> Origin {
        Origin { input: self.input, line: position.line, byte_offset: position.byte_offset, copy: 0 }
    }

    fn damaged(&mut self, damaged: &Invalid) {
        self.invalid(damaged.position, damaged.rule, damaged.detail.clone(), &damaged.raw);
    }

    fn invalid(&mut self, position: Position, rule: InvalidRule, detail: String, raw: &[u8]) {
        self.ledger.invalidate(rule.name(), 1);
        let rejection = Rejection { stage: STAGE_READ.to_owned(), rule: rule.name().to_owned(), value: detail };
        let origin = self.origin(position);
        let rejection = Some(rejection);
        self.rejects.row(&RowParts { origin, side: Split::Train, n_chars: None, body: raw, rejection });
    }

    fn document(&mut self, index: usize, document: &Document, verdict: Verdict) {
        let text = self.records.bytes(document.text);
        match (verdict, self.cleaned.dropped(index)) {
            (Verdict::Invalid { detail }, _) => {
                let raw = self.records.raw_of(document);
                self.invalid(document.position, InvalidRule::ColumnType, detail, raw);
                return;
            }
            (_, Some((rule, value))) => self.dropped(document, STAGE_CLEAN, rule.to_owned(), value.to_owned()),
            (verdict, None) => self.judged(index, document, verdict, text),
        }
        for field in self.records.fields_of(document) {
            if let Some(kinds) = self.kinds.get_mut(field.name as usize) {
                kinds.insert(field.kind);
            }
        }
    }

    fn contaminated(&mut self, document: &Document) -> Option<Hit<'a>> {
        let shingler = self.shingler.as_mut()?;
        self.run.decontaminator.find(shingler, self.records.str(document.text))
    }

    fn judged(&mut self, index: usize, document: &Document, verdict: Verdict, text: &[u8]) {
        let source = self.run.plan.inputs.get(self.input as usize).map_or("", |input| &input.label);
        if let Some((rule, value)) = self.run.lists.judge(self.records, document, source) {
            return self.dropped(document, STAGE_FILTER, rule.to_owned(), value);
        }
        match verdict {
            Verdict::Drop { rule, value } => {
                let rule = self.run.filter.rules().get(usize::from(rule)).cloned().unwrap_or_default();
                self.dropped(document, STAGE_FILTER, rule, value);
            }
            _ if text.is_empty() => {
                self.dropped(document, STAGE_CLEAN, RULE_EMPTY.to_owned(), "n_chars=0".to_owned());
            }
            _ => match self.contaminated(document) {
                Some(Hit { benchmark, value }) => {
                    self.dropped(document, STAGE_DECONTAMINATE, benchmark.to_owned(), value);
                }
                None => self.kept(index, document, text),
            },
        }
    }

    fn kept(&mut self, index: usize, document: &Document, text: &[u8]) {
        self.ledger.kept += 1;
        self.text_bytes += text.len() as u64;
        let position = document.position;
        let n_chars = count_chars(text);
        self.keys.push(Key {
            hash: self.normalizer.hash(text),
            priority: self.priority(document, n_chars),
            row: self.rows.len(),
            place: keys::place(position.byte_offset, position.line),
        });
        let raw = self.cleaned.raw_text(index).map_or(text, |raw| self.records.bytes(raw));
        let side = self.side(document, raw);
        let origin = self.origin(position);
        self.rows.row(&RowParts { origin, side, n_chars: Some(n_chars), body: text, rejection: None });
        put_fields(self.records, document, &mut self.rows);
    }

    /// The document's priority under the keep policy.
    fn priority(&self, document: &Document, n_chars: u64) -> u64 {
        let keep = &self.run.dedup.keep;
        let lexeme = keep.column().and_then(|column| {
            let name = self.records.names.iter().position(|name| name == column)?;
            let field = self.records.fields_of(document).iter().find(|field| field.name as usize == name)?;
            std::str::from_utf8(self.records.bytes(field.value)).ok()
        });
        keep.priority(n_chars, lexeme)
    }

    fn dropped(&mut self, document: &Document, stage: &str, rule: String, value: String) {
        self.ledger.drop(stage, &rule, 1);
        self.examples.push(stage, &rule, || Example {
            doc_id: String::new(),
            source: String::new(),
            line: document.position.line as i64,
            value: String::new(),
            excerpt: Some(excerpt(self.records.str(document.text))),
        });
        let rejection = Some(Rejection { stage: stage.to_owned(), rule, value });
        let n_chars = Some(count_chars(self.records.bytes(document.text)));
        let origin = self.origin(document.position);
        self.rejects.row(&RowParts { origin, side: Split::Train, n_chars, body: b"", rejection });
        put_fields(self.records, document, &mut self.rejects);
    }

    /// The side is a hash of the text as it was read, or of the column that keeps documents together, so a document
    /// never changes sides.
    fn side(&self, document: &Document, raw_text: &[u8]) -> Split {
        let split = &self.run.plan.config.split;
        let together = self.split_by.and_then(|name| {
            let field = self.records.fields_of(document).iter().find(|field| field.name == name)?;
            Some(self.records.bytes(field.value))
        });
        let hash = xxh3_64_with_seed(together.unwrap_or(raw_text), split.seed);
        let unit = (hash >> 11) as f64 / (1_u64 << 53) as f64;
        match unit.partial_cmp(&split.val_fraction) {
            Some(Compare::Less) => Split::Val,
            _ => Split::Train,
        }
    }

    fn finish(self) -> Processed {
        let names = &self.records.names;
        Processed {
            row_count: self.rows.len(),
            rows: self.rows.finish(names),
            reject_count: self.rejects.len(),
            rejects: self.rejects.finish(names),
            keys: self.keys,
            text_bytes: self.text_bytes,
            columns: names.iter().cloned().zip(self.kinds).filter(|(_, kinds)| *kinds != Kinds::default()).collect(),
            ledger: self.ledger,
            cleaned: clean::Counts::new(),
            examples: self.examples,
        }
    }
}

fn put_fields(records: &Records, document: &Document, out: &mut RowWriter) {
    for field in records.fields_of(document) {
        out.value(field.name, field.kind, records.bytes(field.value));
    }
}

/// Code points of valid UTF-8: bytes that do not continue one.
fn count_chars(text: &[u8]) -> u64 {
    text.iter().filter(|byte| (**byte as i8) >= -0x40).count() as u64
}

/// The chunk that is being written.
struct OpenChunk {
    rows: FrameWriter,
    rejects: FrameWriter,
    keys: Vec<Key>,
    text_bytes: u64,
    chunk: Chunk,
}

/// Writes the blocks of a task, in order, into chunks.
pub(super) struct Output<'a> {
    run: &'a Run,
    rank: usize,
    rows_max: u64,
    open: Option<OpenChunk>,
    columns: ColumnUnion,
    done: ReadDone,
}

impl<'a> Output<'a> {
    pub(super) fn new(run: &'a Run, rank: usize) -> Self {
        let keys_fit = run.plan.memory / 16 / run.threads() as u64 / KEY_MEMORY_BYTES;
        let rows_max = keys_fit.clamp(1 << 10, CHUNK_ROWS_MAX);
        Output { run, rank, rows_max, open: None, columns: ColumnUnion::default(), done: ReadDone::default() }
    }

    pub(super) fn push(&mut self, block: Processed) -> Result<(), Error> {
        let counts = &self.run.progress.counts;
        counts.lines.fetch_add(block.ledger.lines, Ordering::Relaxed);
        counts.invalid.fetch_add(block.ledger.invalid_total(), Ordering::Relaxed);
        counts.dropped.fetch_add(block.ledger.dropped_total(), Ordering::Relaxed);
        self.done.ledger.merge(&block.ledger);
        clean::merge_counts(&mut self.done.cleaned, &block.cleaned);
        self.done.examples.merge(&block.examples);
        self.columns.merge(&block.columns);
        if block.row_count == 0 && block.reject_count == 0 {
            return Ok(());
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        let first_row = open.chunk.rows;
        open.rows.push(&block.rows)?;
        open.rejects.push(&block.rejects)?;
        open.keys.extend(block.keys.iter().map(|key| Key { row: key.row + first_row, ..*key }));
        open.chunk.rows += block.row_count;
        open.chunk.rejects += block.reject_count;
        open.text_bytes += block.text_bytes;
        let lines = u64::from(open.chunk.rows).max(u64::from(open.chunk.rejects));
        if open.text_bytes >= CHUNK_TEXT_BYTES || lines >= self.rows_max {
            return self.end(open);
        }
        self.open = Some(open);
        Ok(())
    }

    fn begin(&self) -> Result<OpenChunk, Error> {
        let chunk = Chunk { part: self.rank as u32, number: self.done.chunks.len() as u32, rows: 0, rejects: 0 };
        Ok(OpenChunk {
            rows: FrameWriter::create(&chunk.file(self.run, "rows"))?,
            rejects: FrameWriter::create(&chunk.file(self.run, "rejects"))?,
            keys: Vec::new(),
            text_bytes: 0,
            chunk,
        })
    }

    fn end(&mut self, mut open: OpenChunk) -> Result<(), Error> {
        open.rows.finish()?;
        open.rejects.finish()?;
        if self.run.plan.finds_duplicates() {
            keys::write(&open.chunk.file(self.run, "keys"), &mut open.keys)?;
        }
        self.done.chunks.push(open.chunk);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<ReadDone, Error> {
        if let Some(open) = self.open.take() {
            self.end(open)?;
        }
        self.done.columns = self.columns.into_seen();
        Ok(self.done)
    }
}
