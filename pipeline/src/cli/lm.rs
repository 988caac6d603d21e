//! `pipeline lm`: train the n-gram model that `perplexity` is measured with.

use std::path::{Path, PathBuf};

use schemas::config::Words;
use serde_json::json;

use super::Outcome;
use super::corpus::{open_corpus, pool, print_line, progress_bar};
use crate::engine::memory::{peak_resident_bytes, resident_bytes};
use crate::error::Error;
use crate::lm::{Report, Settings, Trainer};
use crate::measure::Splitter;
use crate::settings::parse_bytes;
use crate::tokenize::corpus::Corpus;

/// Arguments of `pipeline lm`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Train an n-gram model with modified Kneser-Ney smoothing; write it as a KenLM trie
    Train(TrainArgs),
}

#[derive(Debug, clap::Args)]
struct TrainArgs {
    /// Files, folders, globs, or - for standard input; each line of a text is a sentence
    #[arg(required = true, value_name = "CORPUS")]
    inputs: Vec<String>,
    /// Most words of an n-gram, 2 to 6
    #[arg(long, default_value_t = 5, value_name = "N")]
    order: usize,
    /// File for the model; KenLM's programs and measure.perplexity_model read it
    #[arg(long, value_name = "LM")]
    out: PathBuf,
    /// Leave out n-grams that occur at most so often, a number an order: 0,0,1 those that occur once, from order 3 on
    #[arg(long, value_name = "COUNTS", value_delimiter = ',')]
    prune: Vec<u64>,
    /// What a word is: whitespace, punctuation (marks are words too), characters (moreover every CJK character),
    /// sentencepiece (pieces of --sentencepiece-model)
    #[arg(long, default_value = "whitespace", value_name = "WORDS", value_parser = named_words)]
    words: Words,
    /// SentencePiece model, unigram or BPE
    #[arg(long, value_name = "FILE")]
    sentencepiece_model: Option<String>,
    /// Column that holds the text
    #[arg(long, default_value = "text", value_name = "COLUMN")]
    text_column: String,
    /// Most memory to hold; the rest is sorted on disk
    #[arg(long, default_value = "2GiB", value_name = "SIZE")]
    memory: String,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Folder for temporary files [default: beside the model]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Events for machines on stdout
    #[arg(long)]
    json: bool,
}

fn named_words(name: &str) -> Result<Words, String> {
    let value = serde_json::Value::String(name.to_owned());
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Runs the command.
///
/// # Errors
/// What cannot be read, trained or written.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let Command::Train(args) = args.command;
    let settings = settings(&args)?;
    pool(args.threads)?.install(|| train(&args, settings))?;
    Ok(Outcome::Done)
}

/// What blocks of text on their way, buffers and the allocator take beside what is sorted.
const RESERVE_BYTES: u64 = 48 << 20;
const SORT_BYTES_MIN: u64 = 16 << 20;

fn settings(args: &TrainArgs) -> Result<Settings, Error> {
    let memory = parse_bytes("--memory", &args.memory)?;
    let taken = resident_bytes() + RESERVE_BYTES;
    if memory < taken + SORT_BYTES_MIN {
        let least = (taken + SORT_BYTES_MIN).next_multiple_of(8 << 20) >> 20;
        return Err(Error::usage("--memory", format!("expected at least {least}MiB, found {}MiB", memory >> 20), ""));
    }
    let settings = Settings { order: args.order, prune: args.prune.clone(), memory: memory - taken };
    settings.check()?;
    Ok(settings)
}

fn train(args: &TrainArgs, settings: Settings) -> anyhow::Result<()> {
    let ([splitter], _) = Splitter::load([(args.words, "perplexity")], args.sentencepiece_model.as_deref())?;
    let (mut corpus, _spool) = open_corpus(&args.inputs, &args.text_column)?;
    let mut trainer = Trainer::create(settings, &work_folder(args))?;
    let bar = progress_bar(corpus.bytes_total()).with_message("reading");
    while let Some(records) = corpus.next_records()? {
        trainer.add(&records, &splitter)?;
        bar.set_position(corpus.bytes_read());
    }
    let report = trainer.finish(&args.out, |step| bar.set_message(step))?;
    bar.finish_and_clear();
    tell(args, &corpus, &report)
}

fn work_folder(args: &TrainArgs) -> PathBuf {
    let name = args.out.file_name().unwrap_or_default().to_string_lossy();
    let beside = args.out.parent().unwrap_or(Path::new(""));
    args.work_dir.as_deref().unwrap_or(beside).join(format!("{name}.work"))
}

fn words_name(words: Words) -> String {
    serde_json::to_value(words).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn tell(args: &TrainArgs, corpus: &Corpus, report: &Report) -> anyhow::Result<()> {
    for (order, discounts) in (1..).zip(&report.discounts).filter(|(_, discounts)| discounts.is_fallback) {
        eprintln!(
            "note: too few {order}-grams to estimate discounts; fixed ones stand for them: {:?}",
            discounts.amounts
        );
    }
    if report.sums.reserved > 0 {
        eprintln!(
            "note: {} words <s>, </s>, <unk> left out: in a model they mean something else",
            report.sums.reserved
        );
    }
    let ngrams: Vec<String> = report.ngrams.iter().map(u64::to_string).collect();
    eprintln!(
        "trained on {} words in {} lines of {} documents, {} invalid lines skipped: {} n-grams of order 1 to {}\n[measure]\nperplexity_model = {:?}\nperplexity_words = {:?}",
        report.sums.words,
        report.sums.lines,
        corpus.documents,
        corpus.invalid,
        ngrams.join(" + "),
        args.order,
        args.out.display().to_string(),
        words_name(args.words),
    );
    if !args.json {
        return Ok(());
    }
    let discounts: Vec<_> = report.discounts.iter().map(|discounts| json!(discounts.amounts)).collect();
    print_line(&json!({
        "event": "done",
        "model": args.out,
        "bytes": report.bytes,
        "sha256": report.sha256,
        "order": args.order,
        "words": words_name(args.words),
        "documents": corpus.documents,
        "invalid": corpus.invalid,
        "lines": report.sums.lines,
        "tokens": report.sums.words,
        "reserved": report.sums.reserved,
        "ngrams": report.ngrams,
        "pruned": report.pruned,
        "peak_resident_bytes": peak_resident_bytes(),
        "discounts": discounts,
        "discounts_fallback": report.discounts.iter().map(|discounts| discounts.is_fallback).collect::<Vec<_>>(),
    }))
}
