//! `pipeline tokenizer`: train a tokenizer, compare two.

mod compare;
mod train;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use super::Outcome;
use crate::read::inputs::SPOOL_FILE;
use crate::tokenize::corpus::Corpus;

/// Arguments of `pipeline tokenizer`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Train a byte-level BPE tokenizer with <unk>, <s> and </s> as ids 0, 1, 2
    Train(train::Args),
    /// Compare how much text a token of two tokenizers holds, by language or script
    Compare(compare::Args),
}

/// Runs the command.
///
/// # Errors
/// What cannot be read, trained or written.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    match args.command {
        Command::Train(args) => train::run(&args),
        Command::Compare(args) => compare::run(&args),
    }
}

/// A bar of bytes read on a terminal, nothing elsewhere.
fn progress_bar(bytes_total: u64) -> ProgressBar {
    bar(bytes_total, "{msg} {bytes}/{total_bytes} {bytes_per_sec} {wide_bar} {eta}")
}

fn bar(total: u64, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A corpus, and the folder its standard input is spooled to, which is deleted at the end.
fn open_corpus(inputs: &[String], text_column: &str) -> anyhow::Result<(Corpus, Spool)> {
    let spool = Spool(std::env::temp_dir().join(format!("shardmill-tokenizer-{}", std::process::id())));
    Ok((Corpus::open(inputs, text_column, &spool.0)?, spool))
}

/// A folder that holds at most a copy of standard input.
struct Spool(PathBuf);

impl Drop for Spool {
    fn drop(&mut self) {
        // Nothing is there unless `-` was given; what cannot be deleted is in the system's temporary folder.
        let _ = std::fs::remove_file(self.0.join(SPOOL_FILE));
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// As many threads as asked for, or as there are cores.
fn pool(threads: Option<usize>) -> anyhow::Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).build().context("start threads")
}

fn print_line(value: &serde_json::Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{value}").context("write to stdout")
}
