//! `trainer export`.

use std::path::{Path, PathBuf};

use candle_core::Device;

use super::console::{event, grouped};
use super::{Outcome, find_checkpoint};
use crate::checkpoint::{Precision, load_model};
use crate::error::Error;
use crate::export::gguf::{self, Encoding, Vocabulary};
use crate::export::hugging_face::{self, Layout, SHARD_BYTES_MAX};
use crate::model::{LanguageModel, Llama, parameter_count};

/// Arguments of `trainer export`.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// A checkpoint, the output folder of a run (its latest checkpoint), or any folder of a Llama
    #[arg(long)]
    checkpoint: PathBuf,
    /// The form to write
    #[arg(long, value_enum)]
    to: Form,
    /// The file (gguf) or new folder (hf) to write
    #[arg(long)]
    out: PathBuf,
    /// Precision of matrices: f32, f16, bf16 (hf), q8_0 (gguf)
    #[arg(long, default_value = "f32")]
    dtype: String,
    /// Largest weight file of a folder
    #[arg(long, default_value_t = SHARD_BYTES_MAX)]
    max_shard_bytes: u64,
    /// tokenizer.json, or its folder [default: the checkpoint's]
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// llama.cpp's name of how the tokenizer splits text, where it is not known [gguf]
    #[arg(long, value_name = "NAME")]
    pre: Option<String>,
    /// What llama.cpp shows as the model's name [default: the name of --out] [gguf]
    #[arg(long)]
    name: Option<String>,
    /// Print an event of JSON
    #[arg(long)]
    json: bool,
}

/// `--to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// One file for llama.cpp
    Gguf,
    /// A folder for Hugging Face's tools
    Hf,
}

/// The value of an enumeration with this name.
fn dtype<T: clap::ValueEnum>(name: &str) -> crate::Result<T> {
    let names = || T::value_variants().iter().filter_map(|v| Some(v.to_possible_value()?.get_name().to_owned()));
    let problem = || format!("`{name}` is not one of {}", names().collect::<Vec<_>>().join(", "));
    T::from_str(name, true).map_err(|_| Error::Config { field: "dtype", problem: problem() })
}

fn tokenizer_file(path: &Path) -> Option<PathBuf> {
    let file = if path.is_dir() { path.join("tokenizer.json") } else { path.to_path_buf() };
    file.is_file().then_some(file)
}

/// Writes the GGUF; says so where it goes without a vocabulary.
fn write_gguf(args: &Args, model: &Llama, tokenizer: &Path) -> crate::Result<()> {
    let encoding: Encoding = dtype(&args.dtype)?;
    let vocabulary = match tokenizer_file(tokenizer) {
        Some(file) => Some(Vocabulary::read(&file, args.pre.as_deref())?),
        None => {
            eprintln!("no tokenizer.json in {}: the file takes and gives ids only", tokenizer.display());
            None
        }
    };
    let stem = args.out.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = args.name.clone().or(stem).unwrap_or_default();
    gguf::write(model, vocabulary.as_ref(), &name, encoding, &args.out)
}

fn write_folder(args: &Args, model: &Llama, tokenizer: &Path) -> crate::Result<()> {
    let precision: Precision = dtype(&args.dtype)?;
    let tokenizer = if tokenizer.is_dir() { Some(tokenizer) } else { tokenizer.parent() };
    let layout = Layout { precision, shard_bytes_max: args.max_shard_bytes };
    hugging_face::write(model, tokenizer, &args.out, layout)
}

/// Runs the command.
///
/// # Errors
/// Where the checkpoint does not load, or the form cannot hold it.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    match args.to {
        Form::Gguf => dtype::<Encoding>(&args.dtype).map(drop)?,
        Form::Hf => dtype::<Precision>(&args.dtype).map(drop)?,
    }
    let folder = find_checkpoint(&args.checkpoint)?;
    let model = load_model(&folder, &Device::Cpu)?;
    let tokenizer = args.tokenizer.as_deref().unwrap_or(&folder);
    match args.to {
        Form::Gguf => write_gguf(&args, &model, tokenizer)?,
        Form::Hf => write_folder(&args, &model, tokenizer)?,
    }
    let parameters = parameter_count(model.config());
    eprintln!("{}: {} parameters as {}", args.out.display(), grouped(parameters), args.dtype);
    if args.json {
        event(&serde_json::json!({"event": "done", "path": args.out, "parameters": parameters}))?;
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_precision_that_the_form_has_not_is_refused_with_those_it_has() {
        let error = dtype::<Encoding>("bf16").unwrap_err().to_string();
        assert_eq!(error, "dtype: `bf16` is not one of f32, f16, q8_0");
        assert_eq!(dtype::<Precision>("bf16").unwrap(), Precision::BFloat16);
    }
}
