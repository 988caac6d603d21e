//! The command line: one file a subcommand, each an `Args` and a `run`.
//!
//! Results for machines go to stdout (`--json`: one event a line, the last `done` or `error`); progress and messages
//! for people go to stderr.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::json;

use crate::engine::progress::emit;
use crate::error::Error;

// First, because its macros are in scope in what follows it.
#[macro_use]
mod say;

mod check;
mod clean;
mod corpus;
mod dedup;
mod derive;
mod diff;
mod explain;
mod export;
mod flags;
mod inspect;
mod launch;
mod lm;
mod merge;
mod mix;
mod plan;
mod preset;
mod preview;
mod print;
mod remove;
mod retokenize;
mod run;
mod schema;
mod sql;
mod status;
mod task;
mod tokenizer;
mod verify;
mod what_if;
mod why;

/// How a command that did not fail ended: the documented exit codes but for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 0.
    Done,
    /// 3: committed, but an input stream was damaged.
    Incomplete,
    /// 5: the dataset is not what its manifest says.
    VerifyFailed,
}

impl Outcome {
    fn code(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::Incomplete => 3,
            Outcome::VerifyFailed => 5,
        }
    }
}

/// Raw text corpora in, training shards out.
#[derive(Debug, Parser)]
#[command(name = "pipeline", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a dataset from text: read, filter, deduplicate, tokenize, write
    Run(run::Args),
    /// Write the plan of a run without executing it
    Plan(run::Args),
    /// Give the tasks of a planned run to Slurm, Ray, Kubernetes or processes here
    Launch(launch::Args),
    /// Execute one task of a run, or a share of a stage's
    Task(task::Args),
    /// Show which tasks of a run are done
    Status(status::Args),
    /// List the filters that have names, or print one as an expression
    Preset(preset::Args),
    /// Show the first records of a file
    Preview(preview::Args),
    /// Check the format of files, line by line
    Check(check::Args),
    /// Summarise a dataset, or show a document or a place in a shard
    Inspect(inspect::Args),
    /// Tell what became of an input line
    Why(why::Args),
    /// Tell how similar two documents are, and what they share
    Explain(explain::Args),
    /// Ask SQL over the documents, rejects and duplicates of a dataset
    Sql(sql::Args),
    /// Tell what another condition would keep
    WhatIf(what_if::Args),
    /// Tell what differs between two datasets
    Diff(diff::Args),
    /// Check every checksum and every count of a dataset
    Verify(verify::Args),
    /// Write a dataset in another trainer's format
    Export(export::Args),
    /// Join datasets into one
    Merge(merge::Args),
    /// Take documents out of a dataset
    Remove(remove::Args),
    /// Encode a dataset anew with another tokenizer
    Retokenize(retokenize::Args),
    /// Delete what no manifest lists from a dataset folder
    Clean(clean::Args),
    /// Train or look into tokenizers
    Tokenizer(tokenizer::Args),
    /// Train n-gram language models
    Lm(lm::Args),
    /// Print the JSON Schema of manifest or config
    Schema(schema::Args),
}

fn dispatch(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Launch(args) => launch::run(args),
        Command::Task(args) => task::run(args),
        Command::Status(args) => status::run(args),
        Command::Preset(args) => preset::run(args),
        Command::Preview(args) => preview::run(args),
        Command::Check(args) => check::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Why(args) => why::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Sql(args) => sql::run(args),
        Command::WhatIf(args) => what_if::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Export(args) => export::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Remove(args) => remove::run(args),
        Command::Retokenize(args) => retokenize::run(args),
        Command::Clean(args) => clean::run(args),
        Command::Tokenizer(args) => tokenizer::run(args),
        Command::Lm(args) => lm::run(args),
        Command::Schema(args) => schema::run(args),
    }
}

/// Runs the program: parses arguments, dispatches, prints errors, returns the documented exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(outcome) => ExitCode::from(outcome.code()),
        Err(error) => ExitCode::from(fail(&error)),
    }
}

/// Tells people on stderr, and with `--json` programs on stdout, why the command failed.
fn fail(error: &anyhow::Error) -> u8 {
    let code = error.downcast_ref::<Error>().map_or(1, Error::exit_code);
    let message = format!("{error:#}");
    eprintln!("error: {message}");
    if std::env::args().any(|argument| argument == "--json") {
        let (message, hint) = message.split_once("\nhint: ").map_or((message.as_str(), None), |(m, h)| (m, Some(h)));
        emit(&json!({"event": "error", "message": message, "hint": hint, "exit_code": code}));
    }
    code
}
