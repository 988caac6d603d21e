//! What the order and write stages walk: frames of rows with their frames of tokens, in the order of the dataset.
//!
//! In input order a source is a chunk and what the tokenize stage made of it; with `--shuffle` it is a bucket.

use std::path::PathBuf;

use super::shuffle;
use super::tokenize::{self, TokenizeDone};
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
        false => Ok(run.layout()?.chunks.len()),
    }
}

/// A source; None beyond the last.
///
/// # Errors
/// Where a marker cannot be read.
pub fn open(run: &Run, index: usize) -> Result<Option<Source>, Error> {
    if index >= count(run)? {
        return Ok(None);
    }
    if run.plan.config.order.shuffle {
        return Ok(Some(Source {
            rows: run.task_file(shuffle::GATHER, index, "rows"),
            tokens: run.task_file(shuffle::GATHER, index, "tokens"),
            line_base: 0,
            done: run.marker(shuffle::GATHER, index)?,
        }));
    }
    let layout = run.layout()?;
    let Some(chunk) = layout.chunks.get(index) else { return Ok(None) };
    Ok(Some(Source {
        rows: chunk.file(run, "rows"),
        tokens: run.task_file(tokenize::NAME, index, "tokens"),
        line_base: layout.line_bases.get(chunk.part as usize).copied().unwrap_or_default(),
        done: run.marker(tokenize::NAME, index)?,
    }))
}
