//! `pipeline sql`: SQL over the rows of a dataset.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::Value;

use super::Outcome;
use super::print::{event, finish};
use crate::look::human::{Table, one_line};
use crate::query::sql::{Answer, ask};

/// Characters of a cell that people are shown; `--json` has all.
const CELL_CHARS_MAX: usize = 60;

/// Arguments of `pipeline sql`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the dataset
    dir: PathBuf,
    /// A query over the tables documents, rejects and duplicates (Polars SQL); holds the columns it names in memory
    query: String,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Where the folder is no dataset, or the query cannot be answered.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let answer = ask(&crate::look::open(&args.dir)?, &args.query)?;
    let mut out = io::stdout().lock();
    finish(if args.json { event(&mut out, "done", &answer) } else { print(&mut out, &answer) })
}

fn print(out: &mut dyn Write, answer: &Answer) -> io::Result<()> {
    let is_number = |column: &usize| answer.rows.iter().any(|row| row.get(*column).is_some_and(Value::is_number));
    let right: Vec<usize> = (0..answer.columns.len()).filter(is_number).collect();
    let mut table = Table::new(&right);
    table.push(answer.columns.clone());
    for row in &answer.rows {
        table.push(row.iter().map(cell).collect());
    }
    table.write(out, "")
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => one_line(text, CELL_CHARS_MAX),
        other => other.to_string(),
    }
}
