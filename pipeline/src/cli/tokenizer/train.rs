//! `pipeline tokenizer train`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::iter::{ParallelBridge, ParallelIterator};
use serde_json::json;
use shards::commit::write_atomic;

use crate::cli::Outcome;
use crate::cli::corpus::{bar, open_corpus, pool, print_line, progress_bar};
use crate::engine::memory::resident_bytes;
use crate::settings::parse_bytes;
use crate::tokenize::corpus::Corpus;
use crate::tokenize::train::{Settings, Trained, Trainer};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files, folders, globs, or - for standard input
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,
    /// Tokens in all: special ones, 256 bytes, merges
    #[arg(long, default_value_t = 6400)]
    vocab_size: usize,
    /// Folder for tokenizer.json and tokenizer_config.json
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Special tokens after <unk>, <s>, </s>, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "TOKENS")]
    special: Vec<String>,
    /// Column that holds the text
    #[arg(long, default_value = "text", value_name = "COLUMN")]
    text_column: String,
    /// Least count of a pair that is merged
    #[arg(long, default_value_t = 2, value_name = "N")]
    min_frequency: u64,
    /// Threads; all cores where not given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Most resident memory: a corpus whose distinct words do not fit is refused
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    memory: String,
    /// Events for machines on stdout
    #[arg(long)]
    json: bool,
}

/// What a thread holds of the input: a block as stored, its records, and its words.
const THREAD_BYTES: u64 = 24 << 20;

/// Counted lines.
#[derive(Default)]
struct Lines {
    documents: AtomicU64,
    invalid: AtomicU64,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let settings =
        Settings { vocab_size: args.vocab_size, min_frequency: args.min_frequency, special: args.special.clone() };
    let pool = pool(args.threads)?;
    let held = resident_bytes() + pool.current_num_threads() as u64 * THREAD_BYTES;
    let trainer = Trainer::new(settings, held, parse_bytes("--memory", &args.memory)?)?;
    let (mut corpus, _spool) = open_corpus(&args.inputs, &args.text_column)?;
    let lines = Lines::default();
    let trained = pool.install(|| train(trainer, &mut corpus, &lines, args))?;
    write_atomic(args.out.join("tokenizer_config.json"), &trained.config)?;
    let digest = write_atomic(args.out.join("tokenizer.json"), &trained.tokenizer)?;
    report(args, &lines, trained.merges, &digest.sha256)?;
    Ok(Outcome::Done)
}

fn train(trainer: Trainer, corpus: &mut Corpus, lines: &Lines, args: &Args) -> anyhow::Result<Trained> {
    let bar_read = progress_bar(corpus.bytes_total()).with_message("counting words");
    let options = corpus.options().clone();
    let failure = Mutex::new(None);
    let blocks = std::iter::from_fn(|| {
        bar_read.set_position(corpus.bytes_read());
        corpus.next_block().unwrap_or_else(|error| {
            *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            None
        })
    });
    blocks.par_bridge().try_for_each(|block| {
        let records = block.parse(&options);
        lines.documents.fetch_add(records.documents.len() as u64, Ordering::Relaxed);
        lines.invalid.fetch_add(records.invalid.len() as u64, Ordering::Relaxed);
        trainer.add(records.documents.iter().map(|document| records.str(document.text)))
    })?;
    bar_read.finish_and_clear();
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error.into());
    }
    let bar_merge = bar(args.vocab_size as u64, "merging {pos}/{len} {wide_bar} {eta}");
    let trained = trainer.finish(|| bar_merge.inc(1))?;
    bar_merge.finish_and_clear();
    Ok(trained)
}

fn report(args: &Args, lines: &Lines, merges: usize, sha256: &str) -> anyhow::Result<()> {
    let documents = lines.documents.load(Ordering::Relaxed);
    let invalid = lines.invalid.load(Ordering::Relaxed);
    let path = args.out.join("tokenizer.json");
    eprintln!(
        "trained {} tokens ({merges} merges) on {documents} documents, {invalid} invalid lines skipped: {}",
        args.vocab_size,
        path.display()
    );
    if args.json {
        print_line(&json!({
            "event": "done",
            "vocab_size": args.vocab_size,
            "merges": merges,
            "documents": documents,
            "invalid": invalid,
            "tokenizer": path,
            "sha256": sha256,
        }))?;
    }
    Ok(())
}
