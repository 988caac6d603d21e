//! `pipeline tokenizer`: train a tokenizer, compare two.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use schemas::columns::Kind;
use schemas::config::Tokenize;
use schemas::dtype::Dtype;
use serde_json::json;
use shards::commit::write_atomic;

use super::Outcome;
use crate::read::inputs::SPOOL_FILE;
use crate::record::{Document, Records};
use crate::tokenize::corpus::Corpus;
use crate::tokenize::{Encoder, train};

/// Arguments of `pipeline tokenizer`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Train a byte-level BPE tokenizer with <unk>, <s> and </s> as ids 0, 1, 2
    Train(TrainArgs),
    /// Compare how many bytes of text a token of two tokenizers holds, by language
    Compare(CompareArgs),
}

#[derive(Debug, clap::Args)]
struct TrainArgs {
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
    /// Events for machines on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct CompareArgs {
    /// A tokenizer.json, or a folder that holds one
    a: PathBuf,
    /// Another
    b: PathBuf,
    /// Files, folders, globs, or - for standard input
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,
    /// Column that holds the text
    #[arg(long, default_value = "text", value_name = "COLUMN")]
    text_column: String,
    /// Column whose values get a line each
    #[arg(long, default_value = "lang", value_name = "COLUMN")]
    by: String,
    /// Events for machines on stdout
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// What cannot be read, trained or written.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    match args.command {
        Command::Train(args) => train_tokenizer(&args),
        Command::Compare(args) => compare(&args),
    }
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar(bytes_total: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {bytes}/{total_bytes} {bytes_per_sec} {wide_bar} {eta}");
    ProgressBar::new(bytes_total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
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

/// The texts of a corpus; an error ends them and is kept.
struct Texts<'a> {
    corpus: &'a mut Corpus,
    records: Records,
    next: usize,
    bar: ProgressBar,
    failure: &'a mut Option<crate::read::Error>,
}

impl Iterator for Texts<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        while self.next >= self.records.documents.len() {
            self.bar.set_position(self.corpus.bytes_read());
            self.next = 0;
            match self.corpus.next_records() {
                Ok(records) => self.records = records?,
                Err(error) => {
                    *self.failure = Some(error);
                    return None;
                }
            }
        }
        let document = self.records.documents.get(self.next)?;
        self.next += 1;
        Some(self.records.str(document.text).to_owned())
    }
}

fn train_tokenizer(args: &TrainArgs) -> anyhow::Result<Outcome> {
    let (mut corpus, _spool) = open_corpus(&args.inputs, &args.text_column)?;
    let settings = train::Settings {
        vocab_size: args.vocab_size,
        min_frequency: args.min_frequency,
        special: args.special.clone(),
    };
    let bar = progress_bar(corpus.bytes_total()).with_message("training");
    let mut failure = None;
    let texts =
        Texts { corpus: &mut corpus, records: Records::default(), next: 0, bar: bar.clone(), failure: &mut failure };
    let trained = train::train(&settings, texts);
    bar.finish_and_clear();
    if let Some(error) = failure {
        return Err(error.into());
    }
    let trained = trained?;
    write_atomic(args.out.join("tokenizer_config.json"), &trained.config)?;
    let digest = write_atomic(args.out.join("tokenizer.json"), &trained.tokenizer)?;
    report_trained(args, &corpus, trained.merges, &digest.sha256)?;
    Ok(Outcome::Done)
}

fn report_trained(args: &TrainArgs, corpus: &Corpus, merges: usize, sha256: &str) -> anyhow::Result<()> {
    eprintln!(
        "trained {} tokens ({merges} merges) on {} documents, {} invalid lines skipped: {}",
        args.vocab_size,
        corpus.documents,
        corpus.invalid,
        args.out.join("tokenizer.json").display()
    );
    if args.json {
        print_line(&json!({
            "event": "done",
            "vocab_size": args.vocab_size,
            "merges": merges,
            "documents": corpus.documents,
            "invalid": corpus.invalid,
            "tokenizer": args.out.join("tokenizer.json"),
            "sha256": sha256,
        }))?;
    }
    Ok(())
}

fn print_line(value: &serde_json::Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{value}").context("write to stdout")
}

/// Sums over the documents of one language.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    documents: u64,
    bytes: u64,
    tokens: [u64; 2],
}

impl Sums {
    fn add(&mut self, other: Sums) {
        self.documents += other.documents;
        self.bytes += other.bytes;
        self.tokens = [self.tokens[0] + other.tokens[0], self.tokens[1] + other.tokens[1]];
    }

    fn bytes_per_token(&self) -> [f64; 2] {
        self.tokens.map(|tokens| self.bytes as f64 / tokens.max(1) as f64)
    }
}

/// Most languages that get a line of their own.
const GROUPS_MAX: usize = 200;

fn compare(args: &CompareArgs) -> anyhow::Result<Outcome> {
    let encoders = [load(&args.a)?, load(&args.b)?];
    let (mut corpus, _spool) = open_corpus(&args.inputs, &args.text_column)?;
    let bar = progress_bar(corpus.bytes_total()).with_message("encoding");
    let mut groups: BTreeMap<String, Sums> = BTreeMap::new();
    while let Some(records) = corpus.next_records()? {
        for (group, sums) in sums_of(&records, &encoders, &args.by)? {
            let known = groups.len() < GROUPS_MAX || groups.contains_key(&group);
            groups.entry(if known { group } else { "(others)".to_owned() }).or_default().add(sums);
        }
        bar.set_position(corpus.bytes_read());
    }
    bar.finish_and_clear();
    report_compared(args, &groups)?;
    Ok(Outcome::Done)
}

/// BOS and EOS are left out: they say nothing of the text.
fn load(path: &Path) -> anyhow::Result<Encoder> {
    let none = || Some("none".to_owned());
    let settings = Tokenize { bos: none(), eos: none(), dtype: Dtype::U32, ..Tokenize::default() };
    Ok(Encoder::load(path, &settings)?)
}

fn sums_of(records: &Records, encoders: &[Encoder; 2], by: &str) -> anyhow::Result<BTreeMap<String, Sums>> {
    let name = records.names.iter().position(|name| name == by).map(|name| name as u32);
    let of_document = |ids: &mut Vec<u32>, document: &Document| {
        let text = records.str(document.text);
        let mut sums = Sums { documents: 1, bytes: text.len() as u64, tokens: [0; 2] };
        for (encoder, tokens) in encoders.iter().zip(&mut sums.tokens) {
            ids.clear();
            encoder.with_scratch(|scratch| encoder.encode(text, scratch, ids))?;
            *tokens = ids.len() as u64;
        }
        Ok((group_of(records, document, name), sums))
    };
    let each: anyhow::Result<Vec<(String, Sums)>> =
        records.documents.par_iter().map_init(Vec::new, of_document).collect();
    let mut groups: BTreeMap<String, Sums> = BTreeMap::new();
    each?.into_iter().for_each(|(group, sums)| groups.entry(group).or_default().add(sums));
    Ok(groups)
}

fn group_of(records: &Records, document: &Document, name: Option<u32>) -> String {
    let fields = records.fields_of(document).iter();
    let mut named = fields.filter(|field| Some(field.name) == name && field.kind == Kind::String);
    named.next().map_or_else(String::new, |field| records.str(field.value).chars().take(32).collect())
}

fn report_compared(args: &CompareArgs, groups: &BTreeMap<String, Sums>) -> anyhow::Result<()> {
    let mut total = Sums::default();
    groups.values().for_each(|sums| total.add(*sums));
    let lines = groups.iter().filter(|_| groups.len() > 1).map(|(group, sums)| (group.as_str(), *sums));
    let lines: Vec<(&str, Sums)> = lines.chain([("all", total)]).collect();
    if args.json {
        let line = |(group, sums): &(&str, Sums)| {
            let [a, b] = sums.bytes_per_token();
            json!({"group": group, "documents": sums.documents, "bytes": sums.bytes, "tokens_a": sums.tokens[0],
                "tokens_b": sums.tokens[1], "bytes_per_token_a": a, "bytes_per_token_b": b})
        };
        return print_line(&json!({"event": "done", "groups": lines.iter().map(line).collect::<Vec<_>>()}));
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<12} {:>10} {:>14} {:>14} {:>14} {:>7}",
        args.by, "documents", "bytes", "A bytes/token", "B bytes/token", "B/A"
    )?;
    for (group, sums) in lines {
        let [a, b] = sums.bytes_per_token();
        let ratio = if a > 0.0 { b / a } else { 0.0 };
        writeln!(out, "{group:<12} {:>10} {:>14} {a:>14.3} {b:>14.3} {ratio:>7.3}", sums.documents, sums.bytes)?;
    }
    Ok(())
}
