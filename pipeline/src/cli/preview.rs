//! `pipeline preview`: the first records of a file, whatever its format, as a run would see them.

use std::io::{self, Write};

use schemas::columns::Kind;
use serde_json::{Map, Value, json};

use super::Outcome;
use super::check::{ReadFlags, Spool, open, printed};
use crate::error::Error;
use crate::look::human;
use crate::read::inputs;
use crate::record::{Document, FieldValue, Invalid, Position, Records};

/// Characters of a field that are shown to people; a text is given ten times as many.
const FIELD_CHARS_MAX: usize = 120;

/// Arguments of `pipeline preview`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file, or - for standard input; of a glob or folder the first
    #[arg(value_name = "FILE")]
    file: String,
    /// Records to show
    #[arg(short = 'n', long, value_name = "N", default_value_t = 5)]
    records: usize,
    /// Print each record whole, as one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    read: ReadFlags,
}

/// A record to show.
enum Shown<'a> {
    Document(&'a Document),
    Invalid(&'a Invalid),
}

impl Shown<'_> {
    fn position(&self) -> Position {
        match self {
            Shown::Document(document) => document.position,
            Shown::Invalid(invalid) => invalid.position,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// What cannot be found or read; a usage error for flags that do not fit the file.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    printed(preview(&args))
}

fn preview(args: &Args) -> anyhow::Result<Outcome> {
    let options = args.read.options()?;
    let spool = Spool::new();
    let files = inputs::expand(std::slice::from_ref(&args.file), spool.path()).map_err(Error::from)?;
    let Some(input) = files.first() else { return Ok(Outcome::Done) };
    let mut reader = open(input, &options)?;
    let mut left = args.records;
    while left > 0
        && let Some(block) = reader.next_block().map_err(Error::from)?
    {
        let records = block.parse(&options);
        for shown in in_order(&records).iter().take(left) {
            print(args, &input.label, &records, shown)?;
        }
        left = left.saturating_sub(records.documents.len() + records.invalid.len());
    }
    Ok(Outcome::Done)
}

fn in_order(records: &Records) -> Vec<Shown<'_>> {
    let documents = records.documents.iter().map(Shown::Document);
    let mut all: Vec<Shown<'_>> = documents.chain(records.invalid.iter().map(Shown::Invalid)).collect();
    all.sort_by_key(|shown| shown.position().line);
    all
}

fn print(args: &Args, label: &str, records: &Records, shown: &Shown<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match shown {
        _ if args.json => writeln!(out, "{}", as_json(label, records, shown)),
        Shown::Document(document) => print_document(&mut out, label, records, document),
        Shown::Invalid(invalid) => {
            let place = place(label, invalid.position);
            writeln!(out, "{place}\n  invalid, {}: {}\n", invalid.rule.name(), invalid.detail)
        }
    }
}

fn place(label: &str, position: Position) -> String {
    let offset = position.byte_offset.map(|offset| format!(", byte {offset}")).unwrap_or_default();
    format!("{label}:{}{offset}", position.line + 1)
}

fn print_document(out: &mut dyn Write, label: &str, records: &Records, document: &Document) -> io::Result<()> {
    writeln!(out, "{}", place(label, document.position))?;
    let text = records.str(document.text);
    let characters = text.chars().count() as u64;
    writeln!(
        out,
        "  text ({}): {}",
        human::plural(characters, "character"),
        human::one_line(text, FIELD_CHARS_MAX * 10)
    )?;
    for field in records.fields_of(document) {
        let name = records.names.get(field.name as usize).map(String::as_str).unwrap_or_default();
        writeln!(out, "  {name}: {}", human::one_line(records.str(field.value), FIELD_CHARS_MAX))?;
    }
    writeln!(out)
}

fn as_json(label: &str, records: &Records, shown: &Shown<'_>) -> Value {
    let position = shown.position();
    let mut record = Map::new();
    record.insert("source".to_owned(), json!(label));
    record.insert("line".to_owned(), json!(position.line + 1));
    record.insert("byte_offset".to_owned(), json!(position.byte_offset));
    match shown {
        Shown::Invalid(invalid) => {
            record.insert("rule".to_owned(), json!(invalid.rule.name()));
            record.insert("reason".to_owned(), json!(invalid.detail));
        }
        Shown::Document(document) => {
            let fields = records.fields_of(document).iter().map(|field| {
                let name = records.names.get(field.name as usize).cloned().unwrap_or_default();
                (name, field_json(records, field))
            });
            record.insert("text".to_owned(), json!(records.str(document.text)));
            record.insert("fields".to_owned(), Value::Object(fields.collect()));
        }
    }
    Value::Object(record)
}

/// A field as JSON; an integer that JSON libraries would round stays a string.
fn field_json(records: &Records, field: &FieldValue) -> Value {
    let text = records.str(field.value);
    match field.kind {
        Kind::String | Kind::BigInt => json!(text),
        _ => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
    }
}
