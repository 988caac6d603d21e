//! `pipeline tokenizer`: train a tokenizer, compare two.

mod compare;
mod train;

use super::Outcome;

/// Arguments of `pipeline tokenizer`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Train a byte-level BPE tokenizer with <unk>, <s> and </s> as ids 0, 1, 2
    Train(train::Args),
    /// Compare how much text a token of two tokenizers holds, by language or script
    Compare(compare::Args),
}

/// Runs the command.
///
/// # Errors
/// What cannot be read, trained or written.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    match args.command {
        Command::Train(args) => train::run(&args),
        Command::Compare(args) => compare::run(&args),
    }
}
