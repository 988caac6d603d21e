//! `pipeline merge`: several datasets joined into one.

use std::path::PathBuf;

use super::Outcome;
use super::derive::{Common, derive};
use crate::derive::Step;

/// Arguments of `pipeline merge`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The datasets, in the order in which their documents shall come; duplicates among them stay
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
///
/// # Errors
/// Where the datasets do not have the same tokenizer, BOS, EOS and dtype, or lack `data/`.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    Ok(derive(&args.dirs, Step::Merge, &args.common)?.report(&args.common))
}
