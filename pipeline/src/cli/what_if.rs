//! `pipeline what-if`: what another condition would keep of a dataset.

use std::io::{self, Write};
use std::path::PathBuf;

use schemas::config::Filter;

use super::Outcome;
use super::preset::named;
use super::print::{event, finish};
use crate::error::Error;
use crate::filter::presets::{expression, names_of};
use crate::look::human::{Table, count, share};
use crate::query::what_if::{WhatIf, ask};

/// Arguments of `pipeline what-if`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the dataset
    dir: PathBuf,
    /// The condition, as that of `pipeline run --where`
    #[arg(long = "where", value_name = "SQL")]
    where_sql: Option<String>,
    /// The conditions of a preset, before those of --where; several separated by commas
    #[arg(long, value_name = "NAMES")]
    preset: Option<String>,
    /// Show how what would be kept divides over the values of a column of numbers
    #[arg(long, value_name = "COLUMN")]
    sweep: Option<String>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Where the folder is no dataset, or the condition cannot be asked of it.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    if args.where_sql.is_none() && args.sweep.is_none() && args.preset.is_none() {
        let detail = "expected a condition, --preset NAME or --sweep COLUMN, found none";
        return Err(Error::usage("--where", detail, "").into());
    }
    if let Some(names) = &args.preset {
        names_of(names).try_for_each(|name| named(name).map(drop))?;
    }
    let filter = Filter { preset: args.preset.clone(), where_sql: args.where_sql.clone(), ..Filter::default() };
    let found = ask(&crate::look::open(&args.dir)?, expression(&filter).as_deref(), args.sweep.as_deref())?;
    let mut out = io::stdout().lock();
    finish(if args.json { event(&mut out, "done", &found) } else { print(&mut out, &args, &found) })
}

fn print(out: &mut dyn Write, args: &Args, found: &WhatIf) -> io::Result<()> {
    let tokens = |tokens: u64, estimated: bool| {
        let known = !estimated || found.tokens_per_char.is_some();
        if known { format!("{}{}", if estimated { "about " } else { "" }, count(tokens)) } else { "unknown".to_owned() }
    };
    let mut table = Table::new(&[1, 2]);
    table.push(vec![String::new(), "documents".to_owned(), "tokens".to_owned()]);
    table.push(vec!["in the dataset".to_owned(), count(found.now.documents), tokens(found.now.tokens, false)]);
    table.push(vec!["of these kept".to_owned(), count(found.kept.documents), tokens(found.kept.tokens, false)]);
    let back = format!("kept of {} that the filter rejected", count(found.rejected));
    table.push(vec![back, count(found.back.documents), tokens(found.back.tokens, true)]);
    table.write(out, "")?;
    if found.back.documents > 0 {
        writeln!(
            out,
            "\nwhat was rejected was not looked at for duplicates; its tokens are estimated from its characters"
        )?;
    }
    match &args.sweep {
        Some(column) => print_sweep(out, column, found),
        None => Ok(()),
    }
}

fn print_sweep(out: &mut dyn Write, column: &str, found: &WhatIf) -> io::Result<()> {
    let all = found.kept.documents + found.back.documents;
    let mut table = Table::new(&[0, 1, 2, 3, 4, 5]);
    let head = [column, "documents <=", "share", "tokens <=", "documents >", "tokens >"];
    table.push(head.map(str::to_owned).to_vec());
    for point in &found.sweep {
        table.push(vec![
            point.value.to_string(),
            count(point.up_to.documents),
            share(point.up_to.documents, all),
            count(point.up_to.tokens),
            count(point.above.documents),
            count(point.above.tokens),
        ]);
    }
    writeln!(out)?;
    table.write(out, "")
}
