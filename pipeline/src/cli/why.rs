//! `pipeline why`: what became of an input line, and the value that decided it.

use std::io::{self, Write};
use std::path::PathBuf;

use schemas::manifest::{Manifest, Split};
use serde::Serialize;
use serde_json::json;
use shards::dataset::Dataset;

use super::Outcome;
use super::print::{event, finish};
use crate::look::fate::{Fate, Origin, fates};
use crate::look::human::{count, one_line, plural};
use crate::look::query::{Place, Query};

/// Characters of a raw line shown to people; `--json` shows all that was kept.
const RAW_CHARS: usize = 200;

/// Arguments of `pipeline why`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the dataset, or its manifest
    dir: PathBuf,
    /// A document's id, FILE:LINE (from 1), or FILE@OFFSET (bytes, in the decompressed stream)
    #[arg(required = true, value_name = "QUERY")]
    queries: Vec<String>,
    /// One JSON object a match instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Where the folder is no dataset or cannot be read, or a query matches nothing.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let dataset = crate::look::open(&args.dir)?;
    let queries: Vec<Query> = args.queries.iter().map(|text| Query::parse(text, dataset.manifest())).collect();
    let answers = fates(&dataset, &queries)?;
    let mut out = io::stdout().lock();
    let print = if args.json { print_json } else { print_text };
    let found = |fates: &Vec<Fate>| fates.iter().any(Fate::is_found);
    let missing = queries.iter().zip(&answers).find(|(_, fates)| !found(fates)).map(|(query, _)| query);
    let outcome = finish(print(&mut out, &queries, &answers, missing.is_none()))?;
    match missing {
        None => Ok(outcome),
        Some(query) => {
            Err(anyhow::anyhow!("{}: nothing matches {}{}", args.dir.display(), query.text(), hint(query, &dataset)))
        }
    }
}

/// A fate and the query that found it.
#[derive(Debug, Serialize)]
struct Match<'a> {
    query: &'a str,
    #[serde(flatten)]
    fate: &'a Fate,
}

fn print_json(out: &mut dyn Write, queries: &[Query], answers: &[Vec<Fate>], is_done: bool) -> io::Result<()> {
    for (query, fates) in queries.iter().zip(answers) {
        for fate in fates {
            event(out, "match", &Match { query: query.text(), fate })?;
        }
    }
    if is_done { event(out, "done", &json!({"queries": queries.len()})) } else { Ok(()) }
}

fn print_text(out: &mut dyn Write, queries: &[Query], answers: &[Vec<Fate>], _is_done: bool) -> io::Result<()> {
    for (query, fates) in queries.iter().zip(answers) {
        for fate in fates {
            writeln!(out, "{}: {}", query.text(), sentence(fate))?;
        }
    }
    Ok(())
}

/// A fate in words.
fn sentence(fate: &Fate) -> String {
    match fate {
        Fate::Kept { origin, copy, split, shard, token_offset, n_tokens } => {
            let copy = if *copy > 0 { format!(", copy {copy}") } else { String::new() };
            let tokens = plural(*n_tokens, "token");
            format!("kept{copy} in {}: {shard}, {tokens} from token {token_offset}\n  {}", split.name(), whence(origin))
        }
        Fate::Rejected { origin, stage, rule, value, n_chars, raw } => {
            let value = value.as_deref().filter(|value| !value.is_empty());
            let value = value.map_or_else(String::new, |value| format!(" ({})", one_line(value, RAW_CHARS)));
            let verb = if stage == schemas::rule::STAGE_READ { "invalid" } else { "dropped" };
            let length = n_chars.map_or_else(String::new, |chars| format!(", {}", plural(chars, "character")));
            let raw = raw.as_deref().map_or_else(String::new, |raw| format!("\n  {}", one_line(raw, RAW_CHARS)));
            format!("{verb} by {stage}: {rule}{value}\n  {}{length}{raw}", whence(origin))
        }
        Fate::Blank { source, line } => format!("blank: line {line} of {source} holds nothing but white space"),
        Fate::Beyond { source, line, lines } => {
            format!("not there: {source} has {}, not {}", plural(*lines, "line"), count(*line))
        }
    }
}

fn whence(origin: &Origin) -> String {
    let id = origin.doc_id.as_deref().map_or_else(String::new, |id| format!("{}, ", one_line(id, RAW_CHARS)));
    let offset = origin.byte_offset.map_or_else(String::new, |offset| format!(", byte {offset}"));
    format!("{id}{} line {}{offset}", origin.source, origin.line)
}

fn hint(query: &Query, dataset: &Dataset) -> String {
    let manifest = dataset.manifest();
    let has_data = Split::ALL.iter().any(|split| dataset.data_files(*split).next().is_some());
    let hint = match query.place() {
        Some(_) if query.sources().is_empty() => format!("the inputs are {}", few_inputs(manifest)),
        Some(Place::Offset(_)) => "an offset is that of a line's first byte".to_owned(),
        _ if !has_data => {
            "this dataset has no data/ (--no-parquet), so only lines that were left out are known".to_owned()
        }
        Some(_) => return String::new(),
        None => "a query is an id, FILE:LINE or FILE@OFFSET".to_owned(),
    };
    format!("\nhint: {hint}")
}

fn few_inputs(manifest: &Manifest) -> String {
    let few: Vec<&str> = manifest.inputs.iter().take(5).map(|input| input.path.as_str()).collect();
    let more = manifest.inputs.len().saturating_sub(few.len());
    format!("{}{}", few.join(", "), if more > 0 { format!(" and {more} more") } else { String::new() })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::look::testing::{Doc, dataset};

    fn answer(docs: &[Doc], query: &str) -> Vec<String> {
        let made = dataset(docs);
        let dataset = made.open();
        let queries = [Query::parse(query, dataset.manifest())];
        fates(&dataset, &queries).unwrap()[0].iter().map(sentence).collect()
    }

    #[test]
    fn a_kept_document_is_found_in_its_shard() {
        let said = answer(&[Doc::new("a", "one")], "a");
        assert_eq!(
            said,
            ["kept in train: tokens/train-00000.bin, 5 tokens from token 0\n  a, in.jsonl line 1, byte 0"]
        );
    }

    #[test]
    fn a_dropped_document_tells_the_value_that_decided() {
        let said = answer(&[Doc::new("a", "one").dropped("filter", "perplexity < 1500", "1720.5")], "a");
        assert_eq!(said, ["dropped by filter: perplexity < 1500 (1720.5)\n  a, in.jsonl line 1, byte 0, 3 characters"]);
    }

    #[test]
    fn a_damaged_line_shows_its_first_bytes() {
        let said = answer(&[Doc::new("", "").invalid("bad_utf8", b"{\xff\n")], "in.jsonl:1");
        assert!(said[0].starts_with("invalid by read: bad_utf8") && said[0].ends_with("\n  {\u{fffd}\\n"), "{said:?}");
    }

    #[test]
    fn a_line_beyond_the_input_is_said_to_be() {
        assert_eq!(answer(&[Doc::new("a", "one")], "in.jsonl:7"), ["not there: in.jsonl has 1 line, not 7"]);
    }

    #[test]
    fn programs_get_one_event_a_match() {
        let made = dataset(&[Doc::new("a", "one"), Doc::new("a", "two")]);
        let dataset = made.open();
        let queries = [Query::parse("a", dataset.manifest())];
        let mut out = Vec::new();
        print_json(&mut out, &queries, &fates(&dataset, &queries).unwrap(), true).unwrap();
        let events: Vec<Value> =
            String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.len(), 3);
        assert_eq!(
            (&events[1]["fate"], &events[1]["line"], &events[2]["event"]),
            (&json!("kept"), &json!(2), &json!("done"))
        );
    }
}
