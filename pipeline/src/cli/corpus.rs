//! What commands that train on a corpus share: its inputs, a spool for standard input, threads, a progress bar.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use crate::read::inputs::SPOOL_FILE;
use crate::tokenize::corpus::Corpus;

/// A bar of bytes read on a terminal, nothing elsewhere.
pub(super) fn progress_bar(bytes_total: u64) -> ProgressBar {
    bar(bytes_total, "{msg} {bytes}/{total_bytes} {bytes_per_sec} {wide_bar} {eta}")
}

pub(super) fn bar(total: u64, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A corpus, and the folder its standard input is spooled to, which is deleted at the end.
pub(super) fn open_corpus(inputs: &[String], text_column: &str) -> anyhow::Result<(Corpus, Spool)> {
    let spool = Spool(std::env::temp_dir().join(format!("shardmill-corpus-{}", std::process::id())));
    Ok((Corpus::open(inputs, text_column, &spool.0)?, spool))
}

/// A folder that holds at most a copy of standard input.
pub(super) struct Spool(PathBuf);

impl Drop for Spool {
    fn drop(&mut self) {
        // Nothing is there unless `-` was given; what cannot be deleted is in the system's temporary folder.
        let _ = std::fs::remove_file(self.0.join(SPOOL_FILE));
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// As many threads as asked for, or as there are cores.
pub(super) fn pool(threads: Option<usize>) -> anyhow::Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).build().context("start threads")
}

pub(super) fn print_line(value: &serde_json::Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{value}").context("write to stdout")
}
