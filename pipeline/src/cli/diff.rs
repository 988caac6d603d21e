//! `pipeline diff`: what differs between two datasets.

use std::io::{self, Write};
use std::path::PathBuf;

use super::Outcome;
use super::print::{event, finish};
use crate::look::human::{Table, count};
use crate::query::compare::{Difference, Documents, compare};

/// Arguments of `pipeline diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of one dataset
    first: PathBuf,
    /// Folder of the other
    second: PathBuf,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Where a folder is no dataset, or rows cannot be read.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let difference = compare(&crate::look::open(&args.first)?, &crate::look::open(&args.second)?)?;
    let mut out = io::stdout().lock();
    finish(if args.json { event(&mut out, "done", &difference) } else { print(&mut out, &difference) })
}

fn print(out: &mut dyn Write, difference: &Difference) -> io::Result<()> {
    if difference.is_none() {
        return writeln!(out, "no difference: {} documents of the same ids and texts", count(difference.same));
    }
    for (mark, lines) in [("-", &difference.config.0), ("+", &difference.config.1)] {
        lines.iter().try_for_each(|line| writeln!(out, "{mark} {line}"))?;
    }
    let mut table = Table::new(&[1, 2]);
    table.push(vec![String::new(), "first".to_owned(), "second".to_owned()]);
    for (name, (first, second)) in &difference.counts {
        table.push(vec![name.clone(), count(*first), count(*second)]);
    }
    if !difference.counts.is_empty() {
        table.write(out, "")?;
    }
    writeln!(out, "{} documents are the same", count(difference.same))?;
    let kinds = [
        ("have another text", &difference.changed),
        ("are in the first alone", &difference.only_first),
        ("are in the second alone", &difference.only_second),
    ];
    kinds.into_iter().try_for_each(|(name, documents)| print_documents(out, name, documents))
}

fn print_documents(out: &mut dyn Write, name: &str, documents: &Documents) -> io::Result<()> {
    if documents.count == 0 {
        return Ok(());
    }
    let more = if documents.count > documents.ids.len() as u64 { ", ..." } else { "" };
    writeln!(out, "{} {name}: {}{more}", count(documents.count), documents.ids.join(", "))
}
