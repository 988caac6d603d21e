//! The augment stage: one task a chunk; versions made of its documents of the training side, which are rows of their own.
//!
//! A version stands for its document in all but text, `copy`, `generated_by` and what is measured, which is measured anew.
//! It is of the training side, for the other is to hold texts as they are. Files: `RANK.rows`. From here on there are twice
//! as many units as chunks: the chunks, then what was made of each.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemas::columns::Kind;
use schemas::manifest::Split;
use serde::{Deserialize, Serialize};

use super::layout::Chunk;
use super::losers::losers_of;
use super::read::no_such_rank;
use super::walk::Walk;
use super::write::place_name;
use crate::augment::command::{Request, Requests, Variants};
use crate::augment::{GENERATED_BY_FIELD, Step};
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::record::{Document, FieldValue, Position, Records};
use crate::spill::frame::FrameWriter;
use crate::spill::rows::{Origin, Row, RowBlock, RowParts, RowWriter};

/// Name of the stage.
pub const NAME: &str = "augment";

const FRAME_TEXT_BYTES: usize = 1 << 20;

/// The augment stage.
pub struct AugmentStage;

/// What an augment task says of itself.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct AugmentDone {
    /// Versions made, by step.
    pub made: BTreeMap<String, u64>,
}

/// What is tokenized and mixed by one task: a chunk, or what was made of one.
#[derive(Debug, Clone)]
pub struct Unit {
    /// The chunk.
    pub chunk: Chunk,
    /// Its rows.
    pub rows: PathBuf,
    /// Whether they were made.
    pub generated: bool,
}

/// How many units there are.
///
/// # Errors
/// Where a marker of the read stage cannot be read.
pub fn units(run: &Run) -> Result<usize, Error> {
    Ok(run.layout()?.chunks.len() * if run.augment.is_on() { 2 } else { 1 })
}

/// A unit; None beyond the last.
///
/// # Errors
/// Where a marker of the read stage cannot be read.
pub fn unit(run: &Run, index: usize) -> Result<Option<Unit>, Error> {
    if index >= units(run)? {
        return Ok(None);
    }
    let chunks = &run.layout()?.chunks;
    let generated = index >= chunks.len();
    let of = if generated { index - chunks.len() } else { index };
    let rows = |chunk: &Chunk| match generated {
        true => run.task_file(NAME, of, "rows"),
        false => chunk.rows_file(run, of),
    };
    Ok(chunks.get(of).map(|chunk| Unit { chunk: *chunk, rows: rows(chunk), generated }))
}

impl Stage for AugmentStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        Ok(run.layout()?.chunks.len())
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let layout = run.layout()?;
        let Some(chunk) = layout.chunks.get(rank) else { return Err(no_such_rank(NAME, rank, layout.chunks.len())) };
        let losers: Vec<u32> = losers_of(run, rank)?.iter().map(|loser| loser.row).collect();
        let line_base = layout.line_bases.get(chunk.part as usize).copied().unwrap_or_default();
        let task = Task { run, rows: chunk.rows_file(run, rank), losers: &losers, line_base };
        let mut out = FrameWriter::create(&run.task_file(NAME, rank, "rows"))?;
        let done = match run.augment.steps.contains(&Step::Command) {
            false => task.make(None, &mut out)?,
            true => std::thread::scope(|scope| {
                let (mut variants, requests) = Variants::start(&run.augment.command)?;
                let sender = scope.spawn(|| task.send(requests));
                let made = task.make(Some(&mut variants), &mut out);
                if made.is_err() {
                    drop(variants); // ends the program, and with it the sender
                    let _ = sender.join();
                    return made;
                }
                sender.join().unwrap_or(Ok(()))?;
                variants.finish()?;
                made
            })?,
        };
        out.finish()?;
        run.mark_done(NAME, rank, &done)
    }
}

struct Task<'a> {
    run: &'a Run,
    rows: PathBuf,
    losers: &'a [u32],
    line_base: u64,
}

impl Task<'_> {
    /// Hands every document that versions are made of to `visit`, and a frame's end to `end`.
    fn walk(
        &self,
        mut visit: impl FnMut(&RowBlock, &Row) -> Result<(), Error>,
        mut end: impl FnMut(&RowBlock) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut walk = Walk::open(&self.rows)?;
        while let Some(frame) = walk.next_frame()? {
            self.run.interrupt.check()?;
            let first = frame.first_row;
            let block = frame.decode()?;
            for (number, row) in (first..).zip(&block.rows) {
                let stays = self.losers.binary_search(&number).is_err() && !row.body.is_empty();
                if stays && row.side == Split::Train {
                    visit(&block, row)?;
                }
            }
            end(&block)?;
        }
        Ok(())
    }

    fn place(&self, row: &Row) -> String {
        let label = self.run.plan.inputs.get(row.origin.input as usize).map_or("", |input| &input.label);
        place_name(label, self.line_base + row.origin.line + 1, &row.origin)
    }

    /// Sends all documents to the program. Where it reads no more, its answers say what is wrong.
    fn send(&self, mut requests: Requests) -> Result<(), Error> {
        let mut open = true;
        self.walk(
            |block, row| {
                open = open && requests.send(&Request { id: &self.place(row), text: block.str(&row.body) }).is_ok();
                Ok(())
            },
            |_| Ok(()),
        )?;
        let _ = requests.finish();
        Ok(())
    }

    fn make(&self, mut variants: Option<&mut Variants>, out: &mut FrameWriter) -> Result<AugmentDone, Error> {
        let mut done = AugmentDone::default();
        let made = std::cell::RefCell::new(Made::default());
        let mut write = |made: &mut Made, block: &RowBlock| -> Result<(), Error> {
            let versions = std::mem::take(made);
            out.push(&versions.rows(self.run, block)).map(drop)
        };
        let write = std::cell::RefCell::new(&mut write);
        self.walk(
            |block, row| {
                let text = block.str(&row.body);
                for (number, step) in (1..).zip(&self.run.augment.steps) {
                    let version = match (step, &mut variants) {
                        (Step::Command, Some(variants)) => {
                            variants.receive(&self.place(row))?.filter(|made| made != text && !made.is_empty())
                        }
                        _ => self.run.augment.version(*step, text),
                    };
                    if let Some(version) = version {
                        *done.made.entry(step.name().to_owned()).or_default() += 1;
                        made.borrow_mut().push(block, row, (number, *step), &version);
                    }
                }
                let mut made = made.borrow_mut();
                if made.records.arena.len() >= FRAME_TEXT_BYTES { write.borrow_mut()(&mut made, block) } else { Ok(()) }
            },
            |block| write.borrow_mut()(&mut made.borrow_mut(), block),
        )?;
        Ok(done)
    }
}

/// Versions of documents of one frame.
#[derive(Default)]
struct Made {
    records: Records,
    origins: Vec<Origin>,
}

impl Made {
    fn push(&mut self, block: &RowBlock, row: &Row, (number, step): (u32, Step), text: &str) {
        let first_field = self.records.fields.len() as u32;
        let text = self.records.push_bytes(text.as_bytes());
        for value in block.values_of(row) {
            let bytes = self.records.push_bytes(block.bytes(&value.bytes));
            self.records.fields.push(FieldValue { name: value.name, kind: value.kind, value: bytes });
        }
        let value = self.records.push_bytes(step.name().as_bytes());
        self.records.fields.push(FieldValue { name: block.names.len() as u32, kind: Kind::String, value });
        let position = Position { line: row.origin.line, byte_offset: row.origin.byte_offset };
        let (last_field, raw) = (self.records.fields.len() as u32, Default::default());
        self.records.documents.push(Document { position, text, first_field, last_field, raw });
        self.origins.push(Origin { copy: number, ..row.origin });
    }

    /// A frame of the versions: what was measured of their documents is measured of them.
    fn rows(mut self, run: &Run, block: &RowBlock) -> Vec<u8> {
        if self.origins.is_empty() {
            return Vec::new();
        }
        let config = &run.plan.config;
        let is_measured = |name: &String| {
            config.measure.columns.iter().any(|column| column.name() == name) || config.terms.contains_key(name)
        };
        let measured: Vec<bool> = block.names.iter().map(is_measured).collect();
        for field in &mut self.records.fields {
            if measured.get(field.name as usize) == Some(&true) {
                field.kind = Kind::Null;
            }
        }
        self.records.names = block.names.iter().cloned().chain([GENERATED_BY_FIELD.to_owned()]).collect();
        run.terms.apply(&mut self.records);
        run.measures.apply(&mut self.records);
        let mut out = RowWriter::default();
        for (document, origin) in self.records.documents.iter().zip(self.origins) {
            let body = self.records.bytes(document.text);
            let n_chars = Some(self.records.str(document.text).chars().count() as u64);
            out.row(&RowParts { origin, side: Split::Train, n_chars, body, rejection: None });
            for field in self.records.fields_of(document) {
                out.value(field.name, field.kind, self.records.bytes(field.value));
            }
        }
        out.finish(&self.records.names)
    }
}
