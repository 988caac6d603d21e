//! `trainer generate`.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::console::event;
use super::{Outcome, find_checkpoint, use_threads};
use crate::checkpoint::load_model;
use crate::error::{Error, Result};
use crate::generate::{Sampling, Stop, TextCodec, generate};
use crate::model::{LanguageModel, Llama};

/// Arguments of `trainer generate`.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// A checkpoint, or the output folder of a run (its latest checkpoint)
    #[arg(long)]
    checkpoint: PathBuf,
    /// The text to continue
    #[arg(long, default_value = "")]
    prompt: String,
    /// Ids to continue instead of a text; ids are printed then
    #[arg(long, value_delimiter = ',', conflicts_with = "prompt")]
    prompt_ids: Vec<u32>,
    /// Most tokens to add
    #[arg(long, default_value_t = 100)]
    max_new_tokens: usize,
    /// Divides the logits; 0 takes the most likely token
    #[arg(long, default_value_t = 0.8)]
    temperature: f64,
    /// Only the most likely tokens; 0 takes all
    #[arg(long, default_value_t = 50)]
    top_k: usize,
    /// Only the most likely tokens that together have this probability
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Of the choices
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// tokenizer.json, or its folder [default: the checkpoint's]
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// cpu
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Threads that compute [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Print one event of JSON with the text, instead of the text as it comes
    #[arg(long)]
    json: bool,
}

/// Writes to stdout at once.
fn show(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::io(Path::new("stdout")))
}

/// The prompt's ids: BOS, where the model has one, then the text.
fn prompt_ids(model: &Llama, codec: &TextCodec, prompt: &str) -> Result<Vec<u32>> {
    let mut ids: Vec<u32> = model.config().bos_token_id.into_iter().collect();
    ids.extend(codec.encode(prompt)?);
    Ok(ids)
}

fn continue_text(args: &Args, model: &Llama, sampling: &Sampling, codec: &TextCodec) -> Result<(String, Stop)> {
    let ids = prompt_ids(model, codec, &args.prompt)?;
    let mut text = String::new();
    let mut give = |piece: &str| {
        text.push_str(piece);
        if args.json { Ok(()) } else { show(piece) }
    };
    give(&args.prompt)?;
    let mut stream = codec.stream();
    let stop = generate(model, &ids, args.max_new_tokens, sampling, |id| give(&stream.push(id)?))?;
    give(&stream.finish()?)?;
    Ok((text, stop))
}

fn continue_ids(args: &Args, model: &Llama, sampling: &Sampling) -> Result<(Vec<u32>, Stop)> {
    let mut ids = Vec::new();
    let stop = generate(model, &args.prompt_ids, args.max_new_tokens, sampling, |id| {
        ids.push(id);
        if args.json { Ok(()) } else { show(&format!("{id} ")) }
    })?;
    Ok((ids, stop))
}

fn reason(stop: Stop) -> &'static str {
    match stop {
        Stop::EndOfText => "end_of_text",
        Stop::Length => "length",
        Stop::Positions => "positions",
    }
}

/// Runs the command.
///
/// # Errors
/// Where the checkpoint or tokenizer does not load, or the prompt does not fit.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let sampling = Sampling { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p, seed: args.seed };
    sampling.validate()?;
    let device = super::pretrain::device(&args.device)?;
    use_threads(args.threads)?;
    let folder = find_checkpoint(&args.checkpoint)?;
    let model = load_model(&folder, &device)?;
    if !args.prompt_ids.is_empty() {
        let (ids, stop) = continue_ids(&args, &model, &sampling)?;
        if args.json {
            event(&serde_json::json!({"event": "done", "ids": ids, "stop": reason(stop)}))?;
        } else {
            show("\n")?;
        }
        return Ok(Outcome::Done);
    }
    let codec = TextCodec::open(args.tokenizer.as_deref().unwrap_or(&folder))?;
    let (text, stop) = continue_text(&args, &model, &sampling, &codec)?;
    if args.json {
        event(&serde_json::json!({"event": "done", "text": text, "stop": reason(stop)}))?;
    } else {
        show("\n")?;
    }
    Ok(Outcome::Done)
}
