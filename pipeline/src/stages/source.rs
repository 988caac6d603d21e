//! What the order and write stages walk: frames of rows with their frames of tokens, in the order of the dataset.
//!
//! In input order a source is a chunk (or what was made of one) and what the tokenize stage made of it, or, where documents are mixed, one of the
//! walks over a chunk ([`super::mix`]); with `--shuffle` it is a bucket of those.

use std::path::PathBuf;

use super::tokenize::{self, TokenizeDone};
use super::{augment, mix, shuffle};
use crate::engine::run::Run;
use crate::error::Error;

/// One file of rows and one of tokens, frame beside frame.
pub struct Source {
    /// Rows.
    pub rows: PathBuf,
    /// Tokens.
    pub tokens: PathBuf,
    /// First line of its rows within their input, minus one.
    pub line_base: u64,
    /// Added to the copy number of its rows.
    pub copy: u32,
    /// Step of the subset in which its documents come in.
    pub step: usize,
    /// Its frames.
    pub done: TokenizeDone,
}

/// How many sources there are.
///
/// # Errors
/// Where a marker cannot be read.
pub fn count(run: &Run) -> Result<usize, Error> {
    match run.plan.config.order.shuffle {
        true => shuffle::buckets(run),
        false => count_in_order(run),
    }
}

/// How many sources there are before they are shuffled.
///
/// # Errors
/// Where a marker cannot be read.
pub fn count_in_order(run: &Run) -> Result<usize, Error> {
    Ok(augment::units(run)? * mix::walks(run)?)
}

/// A source; None beyond the last.
///
/// # Errors
/// Where a marker cannot be read.
pub fn open(run: &Run, index: usize) -> Result<Option<Source>, Error> {
    if !run.plan.config.order.shuffle {
        return open_in_order(run, index);
    }
    if index >= shuffle::buckets(run)? {
        return Ok(None);
    }
    Ok(Some(Source {
        rows: run.task_file(shuffle::GATHER, index, "rows"),
        tokens: run.task_file(shuffle::GATHER, index, "tokens"),
        line_base: 0,
        copy: 0,
        step: 0,
        done: run.marker(shuffle::GATHER, index)?,
    }))
}

/// A source before it is shuffled; None beyond the last.
///
/// # Errors
/// Where a marker cannot be read.
pub fn open_in_order(run: &Run, index: usize) -> Result<Option<Source>, Error> {
    let layout = run.layout()?;
    let units = augment::units(run)?;
    let (Some(walk), Some(number)) = (index.checked_div(units), index.checked_rem(units)) else { return Ok(None) };
    let Some(unit) = augment::unit(run, number)? else { return Ok(None) };
    if walk >= mix::walks(run)? {
        return Ok(None);
    }
    let line_base = layout.line_bases.get(unit.chunk.part as usize).copied().unwrap_or_default();
    let rows = unit.rows;
    if !run.mix.is_on() {
        let (tokens, done) = (run.task_file(tokenize::NAME, number, "tokens"), run.marker(tokenize::NAME, number)?);
        return Ok(Some(Source { rows, tokens, line_base, copy: 0, step: 0, done }));
    }
    let passes = mix::passes(run)?;
    let (tokens, done) = mix::walk_of(run, walk, number)?;
    Ok(Some(Source {
        rows,
        tokens,
        line_base,
        copy: (walk % passes * (1 + run.augment.steps.len())) as u32,
        step: walk / passes,
        done,
    }))
}
