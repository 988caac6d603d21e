//! `trainer import`.

use std::path::{Path, PathBuf};

use candle_core::Device;

use super::console::{event, grouped};
use super::{Outcome, find_checkpoint};
use crate::checkpoint::Precision;
use crate::export::hugging_face::{self, Layout, SHARD_BYTES_MAX};
use crate::import::{self, RopeLayout};
use crate::model::{LanguageModel, parameter_count};

/// Arguments of `trainer import`.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// A folder with config.json and safetensors, one file or several, by Hugging Face's names or the notebook's
    from: PathBuf,
    /// The new folder
    #[arg(long)]
    out: PathBuf,
    /// How rotary embedding pairs elements there [default: interleaved for the notebook's names, else half]
    #[arg(long, value_enum)]
    rope: Option<RopeLayout>,
    /// Folder of the tokenizer's files [default: FROM]
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// Print an event of JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Where the folder does not hold a Llama, or the new one cannot be written.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let folder = find_checkpoint(&args.from)?;
    let model = import::load(&folder, args.rope, &Device::Cpu)?;
    let tokenizer = args.tokenizer.as_deref().unwrap_or(&folder);
    let tokenizer = if tokenizer.is_file() { tokenizer.parent().unwrap_or(Path::new(".")) } else { tokenizer };
    let layout = Layout { precision: Precision::Float32, shard_bytes_max: SHARD_BYTES_MAX };
    hugging_face::write(&model, Some(tokenizer), &args.out, layout)?;
    let parameters = parameter_count(model.config());
    eprintln!("{}: {} parameters", args.out.display(), grouped(parameters));
    eprintln!("train it further with: trainer pretrain --init-from {} --data ...", args.out.display());
    if args.json {
        event(&serde_json::json!({"event": "done", "path": args.out, "parameters": parameters}))?;
    }
    Ok(Outcome::Done)
}
