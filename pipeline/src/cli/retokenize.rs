//! `pipeline retokenize`: a dataset encoded anew with another tokenizer.

use std::path::PathBuf;

use schemas::config::Tokenize;
use schemas::dtype::Dtype;

use super::Outcome;
use super::derive::{Common, derive};
use crate::derive::Step;

/// Arguments of `pipeline retokenize`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The dataset
    dir: PathBuf,
    /// tokenizer.json; BOS and EOS are read from tokenizer_config.json beside it
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// Token before each document, or `none`
    #[arg(long, value_name = "TOKEN")]
    bos: Option<String>,
    /// Token after each document, or `none`
    #[arg(long, value_name = "TOKEN")]
    eos: Option<String>,
    /// Width of a token id
    #[arg(long, value_name = "WIDTH", value_parser = ["u16", "u32"], default_value = "u16")]
    dtype: String,
    /// Encode text that looks like a special token as that token
    #[arg(long)]
    allow_special: bool,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
///
/// # Errors
/// Where the dataset lacks `data/`, or the tokenizer does not fit.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let tokenizer = if args.tokenizer.is_dir() { args.tokenizer.join("tokenizer.json") } else { args.tokenizer };
    let tokenize = Tokenize {
        tokenizer: tokenizer.display().to_string(),
        bos: args.bos,
        eos: args.eos,
        dtype: if args.dtype == "u32" { Dtype::U32 } else { Dtype::U16 },
        allow_special: args.allow_special,
    };
    Ok(derive(&[args.dir], Step::Retokenize { tokenize }, &args.common)?.report(&args.common))
}
