//! `pipeline inspect`: a dataset at a glance, one document whole, or a stretch of a shard decoded.

use std::io::{self, Write};
use std::path::PathBuf;

use schemas::ledger::Ledger;
use serde_json::json;
use shards::dataset::Dataset;

use super::Outcome;
use super::print::{event, finish};
use crate::look::document::{DocumentView, documents};
use crate::look::human::{Table, bytes, count, mean, one_line, plural, share};
use crate::look::place::{DocumentBounds, PlaceView, place};
use crate::look::query::Query;
use crate::look::summary::{Side, Summary, summary};

/// Rules shown to people; `--json` shows all.
const RULES_SHOWN: usize = 10;
/// Ids of a document shown to people; `--json` shows all.
const IDS_SHOWN: usize = 32;

/// Arguments of `pipeline inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the dataset, or its manifest
    dir: PathBuf,
    /// Show a document: its id, FILE:LINE, or FILE@OFFSET
    #[arg(long, value_name = "ID", conflicts_with = "shard")]
    doc: Option<String>,
    /// Show a stretch of this shard, such as tokens/train-00000.bin
    #[arg(long, value_name = "FILE")]
    shard: Option<String>,
    /// Token of the shard to show, from 0
    #[arg(long, value_name = "N", requires = "shard", default_value_t = 0)]
    at: u64,
    /// How many tokens to show around it
    #[arg(long, value_name = "N", requires = "shard", default_value_t = 64)]
    count: u64,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Where the folder is no dataset, a file of it cannot be read, or no document has the id.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let dataset = crate::look::open(&args.dir)?;
    let mut out = io::stdout().lock();
    if let Some(id) = &args.doc {
        let views = documents(&dataset, &Query::parse(id, dataset.manifest()))?;
        anyhow::ensure!(
            !views.is_empty(),
            "{}: no document is called {id}\nhint: `pipeline why {} {id}` tells whether a line of that name was left out",
            args.dir.display(),
            args.dir.display()
        );
        return finish(print_documents(&mut out, &views, args.json));
    }
    if let Some(shard) = &args.shard {
        let view = place(&dataset, shard, args.at, args.count)?;
        return finish(print_place(&mut out, &dataset, &view, args.json));
    }
    let summary = summary(&dataset)?;
    finish(if args.json { event(&mut out, "done", &summary) } else { print_summary(&mut out, &summary) })
}

fn print_summary(out: &mut dyn Write, summary: &Summary) -> io::Result<()> {
    let state = if summary.complete { "complete" } else { "INCOMPLETE: an input stream was damaged" };
    let tokenizer = &summary.tokenizer;
    let special = |id: Option<u32>| id.map_or("none".to_owned(), |id| id.to_string());
    let mut head = Table::new(&[]);
    head.row(["dataset", &summary.folder]);
    head.row(["state", &format!("{state}; format {}, written by {}", summary.format_version, summary.tool_version)]);
    head.row(["inputs", &format!("{}, {}", plural(summary.inputs.files, "file"), bytes(summary.inputs.bytes))]);
    head.row(["files", &format!("{}, {}", plural(summary.files.count, "file"), bytes(summary.files.bytes))]);
    let vocabulary = format!("{} ids as {}", count(u64::from(tokenizer.vocab_size)), summary.dtype);
    let (bos, eos) = (special(tokenizer.bos_id), special(tokenizer.eos_id));
    head.row(["tokenizer", &format!("{vocabulary}; BOS {bos}, EOS {eos}; sha256 {}", short(&tokenizer.hash))]);
    head.row(["config", &format!("sha256 {}", short(&summary.config_hash))]);
    head.row(["identity", &format!("sha256 {} (of the manifest)", short(&summary.manifest_hash))]);
    head.write(out, "")?;
    writeln!(out)?;
    splits(summary).write(out, "")?;
    writeln!(out, "\nlines")?;
    waterfall(&summary.ledger).write(out, "  ")?;
    print_rules(out, summary)?;
    print_columns(out, summary)
}

fn short(hash: &str) -> &str {
    hash.get(..16).unwrap_or(hash)
}

fn splits(summary: &Summary) -> Table {
    let mut table = Table::new(&[1, 2, 3, 4, 5]);
    table.row(["split", "documents", "tokens", "bytes", "tokens/document", "shards"]);
    let mut add = |name: &str, side: &Side| {
        let per_document = mean(side.tokens, side.documents);
        table.row([
            name,
            &count(side.documents),
            &count(side.tokens),
            &bytes(side.bytes),
            &per_document,
            &count(side.shards),
        ]);
    };
    let (train, val) = (&summary.train, &summary.val);
    add("train", train);
    add("val", val);
    let total = Side {
        documents: train.documents + val.documents,
        tokens: train.tokens + val.tokens,
        bytes: train.bytes + val.bytes,
        shards: train.shards + val.shards,
        tokens_per_document: None,
    };
    add("both", &total);
    table
}

/// From the lines read to the lines kept, one step a row.
fn waterfall(ledger: &Ledger) -> Table {
    let mut table = Table::new(&[1, 2]);
    let mut step = |name: &str, lines: u64| table.row([name, &count(lines), &share(lines, ledger.lines)]);
    step("  read", ledger.lines);
    step("- blank", ledger.blank);
    step("- invalid", ledger.invalid_total());
    for (stage, rules) in &ledger.dropped {
        step(&format!("- dropped by {stage}"), rules.values().sum());
    }
    step("= kept", ledger.kept);
    table
}

fn print_rules(out: &mut dyn Write, summary: &Summary) -> io::Result<()> {
    if summary.top_rules.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nrules that took most lines")?;
    let mut table = Table::new(&[2, 3]);
    for rule in summary.top_rules.iter().take(RULES_SHOWN) {
        table.row([
            &rule.stage,
            &one_line(&rule.rule, 60),
            &count(rule.lines),
            &share(rule.lines, summary.ledger.lines),
        ]);
    }
    table.write(out, "  ")?;
    let more = summary.top_rules.len().saturating_sub(RULES_SHOWN);
    if more > 0 { writeln!(out, "  and {more} more (--json shows all)") } else { Ok(()) }
}

fn print_columns(out: &mut dyn Write, summary: &Summary) -> io::Result<()> {
    if summary.columns.is_empty() {
        return Ok(());
    }
    writeln!(out, "\ncolumns of the input")?;
    let mut table = Table::new(&[]);
    summary.columns.iter().for_each(|column| table.row([&column.name, &column.type_name]));
    table.write(out, "  ")
}

fn print_documents(out: &mut dyn Write, views: &[DocumentView], as_json: bool) -> io::Result<()> {
    if as_json {
        return event(out, "done", &json!({"documents": views}));
    }
    for (index, view) in views.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        print_document(out, view)?;
    }
    Ok(())
}

fn print_document(out: &mut dyn Write, view: &DocumentView) -> io::Result<()> {
    let mut table = Table::new(&[]);
    table.row(["split", view.split.name()]);
    for (column, value) in view.row.iter().filter(|(column, _)| *column != "text") {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        table.row([column, &one_line(&shown, 100)]);
    }
    table.write(out, "")?;
    let ids: Vec<String> = view.tokens.iter().take(IDS_SHOWN).map(u32::to_string).collect();
    let more = if view.tokens.len() > IDS_SHOWN { " ..." } else { "" };
    writeln!(out, "tokens  {}{more}\n\n{}", ids.join(" "), view.decoded)
}

fn print_place(out: &mut dyn Write, dataset: &Dataset, view: &PlaceView, as_json: bool) -> io::Result<()> {
    if as_json {
        return event(out, "done", view);
    }
    let last = view.from + view.ids.len() as u64 - 1;
    writeln!(out, "{}: tokens {} to {last} of {}", view.shard, view.from, count(view.shard_tokens))?;
    let mut table = Table::new(&[0]);
    for bounds in &view.documents {
        let here = if holds(bounds, view.at) { format!("<- token {}", view.at) } else { String::new() };
        let end = bounds.token_offset + bounds.n_tokens;
        let range = format!("tokens {} to {}", bounds.token_offset, end.saturating_sub(1));
        table.row([&format!("document {}", bounds.document), &range, &origin_line(bounds), &here]);
    }
    table.write(out, "  ")?;
    writeln!(out)?;
    for (row, ids) in view.ids.chunks(16).enumerate() {
        let cells: Vec<String> = ids.iter().map(|id| format!("{id:>5}")).collect();
        writeln!(out, "{:>10}  {}", view.from + row as u64 * 16, cells.join(" "))?;
    }
    writeln!(out, "\n{}", view.text)?;
    let unknown = view.documents.iter().all(|bounds| bounds.origin.is_none());
    if unknown {
        writeln!(out, "({} has no data/, so ids and sources are not known)", dataset.dir().display())
    } else {
        Ok(())
    }
}

fn holds(bounds: &DocumentBounds, at: u64) -> bool {
    (bounds.token_offset..bounds.token_offset + bounds.n_tokens).contains(&at)
}

fn origin_line(bounds: &DocumentBounds) -> String {
    bounds.origin.as_ref().map_or_else(String::new, |origin| {
        let id = origin.doc_id.as_deref().unwrap_or_default();
        format!("{}  {}:{}", one_line(id, 60), origin.source, origin.line)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::look::testing::{Doc, dataset};

    fn shown(print: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_waterfall_goes_from_read_to_kept() {
        let mut ledger = Ledger { lines: 1000, blank: 1, kept: 979, ..Ledger::default() };
        ledger.invalidate("json_syntax", 10);
        ledger.drop("dedup", "exact", 10);
        assert_eq!(
            waterfall(&ledger).lines(),
            [
                "  read              1,000  100.0 %",
                "- blank                 1    0.1 %",
                "- invalid              10    1.0 %",
                "- dropped by dedup     10    1.0 %",
                "= kept                979   97.9 %",
            ]
        );
    }

    #[test]
    fn a_summary_is_text_for_people_and_one_object_for_programs() {
        let made = dataset(&[Doc::new("a", "one"), Doc::new("b", "x").dropped("dedup", "exact", "a")]);
        let summary = summary(&made.open()).unwrap();
        let text = shown(|out| print_summary(out, &summary));
        assert!(text.contains("259 ids as u16; BOS 1, EOS 2") && text.contains("score  double"), "{text}");
        let object: Value = serde_json::from_str(&shown(|out| event(out, "done", &summary))).unwrap();
        assert_eq!((&object["event"], &object["train"]["tokens"]), (&json!("done"), &json!(5)));
    }

    #[test]
    fn a_place_names_the_document_of_its_token() {
        let made = dataset(&[Doc::new("a", "one"), Doc::new("b", "two")]);
        let dataset = made.open();
        let view = place(&dataset, "tokens/train-00000.bin", 6, 4).unwrap();
        let text = shown(|out| print_place(out, &dataset, &view, false));
        assert!(text.contains("document 1  tokens 5 to 9  b  in.jsonl:2  <- token 6"), "{text}");
    }
}
