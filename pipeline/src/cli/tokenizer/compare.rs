//! `pipeline tokenizer compare`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use schemas::columns::Kind;
use schemas::config::Tokenize;
use schemas::dtype::Dtype;
use serde_json::{Value, json};

use crate::cli::Outcome;
use crate::cli::corpus::{open_corpus, pool, print_line, progress_bar};
use crate::record::{Document, Records};
use crate::tokenize::Encoder;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A tokenizer.json, or a folder that holds one
    a: PathBuf,
    /// Another
    b: PathBuf,
    /// Files, folders, globs, or - for standard input; without any, the vocabularies alone are compared
    #[arg(value_name = "INPUT")]
    inputs: Vec<String>,
    /// Column that holds the text
    #[arg(long, default_value = "text", value_name = "COLUMN")]
    text_column: String,
    /// Column whose values get a line each; documents without one go by the script of their text
    #[arg(long, default_value = "lang", value_name = "COLUMN")]
    by: String,
    /// Threads; all cores where not given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Events for machines on stdout
    #[arg(long)]
    json: bool,
}

/// Sums over the documents of one group.
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

    fn tokens_per_document(&self) -> [f64; 2] {
        self.tokens.map(|tokens| tokens as f64 / self.documents.max(1) as f64)
    }
}

/// What documents have in common: what they are grouped by, the column or [`SCRIPT`], and its value.
type Group = (String, String);

/// What documents without the column are grouped by.
const SCRIPT: &str = "script";
/// Most groups that get a line of their own.
const GROUPS_MAX: usize = 200;

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let encoders = [load(&args.a)?, load(&args.b)?];
    let vocabularies = Vocabularies::of(&encoders)?;
    let mut groups: BTreeMap<Group, Sums> = BTreeMap::new();
    if !args.inputs.is_empty() {
        pool(args.threads)?.install(|| encode(args, &encoders, &mut groups))?;
    }
    let mut total = Sums::default();
    groups.values().for_each(|sums| total.add(*sums));
    match args.json {
        true => print_line(&event(&vocabularies, &groups, total))?,
        false => print(args, &vocabularies, &groups, total)?,
    }
    Ok(Outcome::Done)
}

fn encode(args: &Args, encoders: &[Encoder; 2], groups: &mut BTreeMap<Group, Sums>) -> anyhow::Result<()> {
    let (mut corpus, _spool) = open_corpus(&args.inputs, &args.text_column)?;
    let bar = progress_bar(corpus.bytes_total()).with_message("encoding");
    while let Some(records) = corpus.next_records()? {
        for (group, sums) in sums_of(&records, encoders, &args.by)? {
            let known = groups.len() < GROUPS_MAX || groups.contains_key(&group);
            let group = if known { group } else { (group.0, "(others)".to_owned()) };
            groups.entry(group).or_default().add(sums);
        }
        bar.set_position(corpus.bytes_read());
    }
    bar.finish_and_clear();
    Ok(())
}

/// BOS and EOS are left out: they say nothing of the text.
fn load(path: &Path) -> anyhow::Result<Encoder> {
    let none = || Some("none".to_owned());
    let settings = Tokenize { bos: none(), eos: none(), dtype: Dtype::U32, ..Tokenize::default() };
    Ok(Encoder::load(path, &settings)?)
}

fn sums_of(records: &Records, encoders: &[Encoder; 2], by: &str) -> anyhow::Result<Vec<(Group, Sums)>> {
    let name = records.names.iter().position(|name| name == by).map(|name| name as u32);
    let of_document = |ids: &mut Vec<u32>, document: &Document| {
        let text = records.str(document.text);
        let mut sums = Sums { documents: 1, bytes: text.len() as u64, tokens: [0; 2] };
        for (encoder, tokens) in encoders.iter().zip(&mut sums.tokens) {
            ids.clear();
            encoder.with_scratch(|scratch| encoder.encode(text, scratch, ids))?;
            *tokens = ids.len() as u64;
        }
        let group = match value_of(records, document, name) {
            Some(value) => (by.to_owned(), value),
            None => (SCRIPT.to_owned(), script_of(text).to_owned()),
        };
        Ok((group, sums))
    };
    records.documents.par_iter().map_init(Vec::new, of_document).collect()
}

fn value_of(records: &Records, document: &Document, name: Option<u32>) -> Option<String> {
    let fields = records.fields_of(document).iter();
    let mut named = fields.filter(|field| Some(field.name) == name && field.kind == Kind::String);
    named.next().map(|field| records.str(field.value).chars().take(32).collect())
}

/// The script of most of a text's letters, by its Unicode name; Japanese is what holds any number of kana.
fn script_of(text: &str) -> &'static str {
    use whatlang::Script;
    match whatlang::detect_script(text) {
        None => "none",
        Some(Script::Mandarin) if text.chars().any(|c| matches!(c, '\u{3041}'..='\u{30fa}')) => "Japanese",
        Some(Script::Hiragana | Script::Katakana) => "Japanese",
        Some(Script::Mandarin) => "Han",
        Some(script) => Script::all().iter().find(|known| **known == script).map_or("none", Script::name),
    }
}

/// The entries of two vocabularies.
struct Vocabularies {
    sizes: [u32; 2],
    shared: usize,
}

impl Vocabularies {
    fn of([a, b]: &[Encoder; 2]) -> anyhow::Result<Vocabularies> {
        let shared = a.entries()?.intersection(&b.entries()?).count();
        Ok(Vocabularies { sizes: [a.vocab_size(), b.vocab_size()], shared })
    }
}

fn event(vocabularies: &Vocabularies, groups: &BTreeMap<Group, Sums>, total: Sums) -> Value {
    let line = |by: &str, group: &str, sums: &Sums| {
        let ([a, b], [tokens_a, tokens_b]) = (sums.bytes_per_token(), sums.tokens_per_document());
        json!({"by": by, "group": group, "documents": sums.documents, "bytes": sums.bytes,
            "tokens_a": sums.tokens[0], "tokens_b": sums.tokens[1], "bytes_per_token_a": a, "bytes_per_token_b": b,
            "tokens_per_document_a": tokens_a, "tokens_per_document_b": tokens_b})
    };
    let mut lines: Vec<Value> = groups.iter().map(|((by, group), sums)| line(by, group, sums)).collect();
    if total.documents > 0 {
        lines.push(line("all", "all", &total));
    }
    let [a, b] = vocabularies.sizes;
    json!({"event": "done", "vocab_size_a": a, "vocab_size_b": b, "entries_shared": vocabularies.shared,
        "groups": lines})
}

fn print(args: &Args, vocabularies: &Vocabularies, groups: &BTreeMap<Group, Sums>, total: Sums) -> anyhow::Result<()> {
    let out = &mut std::io::stdout().lock();
    let ([a, b], shared) = (vocabularies.sizes, vocabularies.shared);
    writeln!(
        out,
        "A  {a} tokens  {}\nB  {b} tokens  {}\n{shared} entries are in both",
        args.a.display(),
        args.b.display()
    )?;
    if total.documents == 0 {
        return Ok(());
    }
    row(out, &"", [&"", &"", &"bytes a token", &"", &"tokens a document", &"", &""])?;
    row(out, &"", [&"documents", &"bytes", &"A", &"B", &"A", &"B", &"tokens B/A"])?;
    let all = ("all".to_owned(), String::new());
    for ((by, group), sums) in groups.iter().chain([(&all, &total)]) {
        let digits = |value: f64| format!("{value:.3}");
        let [a, b] = sums.bytes_per_token().map(digits);
        let [tokens_a, tokens_b] = sums.tokens_per_document().map(|value| format!("{value:.1}"));
        let ratio = digits(sums.tokens[1] as f64 / sums.tokens[0].max(1) as f64);
        let name = format!("{by} {group}");
        row(out, &name, [&sums.documents, &sums.bytes, &a, &b, &tokens_a, &tokens_b, &ratio])?;
    }
    Ok(())
}

fn row(out: &mut dyn Write, name: &dyn Display, [a, b, c, d, e, f, g]: [&dyn Display; 7]) -> std::io::Result<()> {
    let line = format!("{name:<20} {a:>10} {b:>14} {c:>13} {d:>9} {e:>17} {f:>9} {g:>10}");
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_goes_by_the_script_of_most_of_its_letters() {
        assert_eq!(script_of("Hello, \u{4e16}"), "Latin");
        assert_eq!(script_of("\u{4f60}\u{597d}\u{4e16}\u{754c} a"), "Han");
        assert_eq!(script_of("\u{6f22}\u{5b57}\u{3068}\u{4eee}\u{540d}"), "Japanese");
        assert_eq!(script_of("\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442}"), "Cyrillic");
        assert_eq!(script_of("\u{d55c}\u{ad6d}\u{c5b4}"), "Hangul");
        assert_eq!(script_of("12 + 3"), "none");
    }
}
