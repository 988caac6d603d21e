//! `trainer info`: the size and cost of a model.

use std::io::Write;
use std::path::PathBuf;

use super::console::{event, grouped};
use super::model_args::ModelArgs;
use super::{Outcome, find_checkpoint};
use crate::checkpoint::{CONFIG_FILE, STATE_FILE, read_state};
use crate::config::ModelConfig;
use crate::data::Source;
use crate::model::{matrix_parameter_count, parameter_count};

/// Arguments of `trainer info`.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// A checkpoint, or the output folder of a run
    #[arg(long)]
    checkpoint: Option<PathBuf>,
    /// The data it is to be trained on
    #[arg(long, visible_alias = "data-path")]
    data: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Print an event of JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Where the checkpoint or data does not open, or the model is not valid.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let source = args.data.as_deref().map(Source::open).transpose()?;
    let (model, step) = match &args.checkpoint {
        Some(path) => {
            let folder = find_checkpoint(path)?;
            let step = if folder.join(STATE_FILE).is_file() { Some(read_state(&folder)?.step) } else { None };
            (ModelConfig::read(&folder.join(CONFIG_FILE))?, step)
        }
        None => (args.model.config(source.as_ref())?, None),
    };
    let parameters = parameter_count(&model);
    let flops = flops_per_token(&model);
    let tokens = source.as_ref().map(Source::train_tokens);
    if args.json {
        event(&serde_json::json!({
            "event": "done", "parameters": parameters, "matrix_parameters": matrix_parameter_count(&model),
            "flops_per_token": flops, "train_tokens": tokens, "step": step, "config": model,
        }))?;
        return Ok(Outcome::Done);
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "parameters        {}", grouped(parameters))?;
    writeln!(out, "in products       {}", grouped(matrix_parameter_count(&model)))?;
    writeln!(
        out,
        "FLOPs a token     {}  (6N + 12LDT, at {} positions)",
        grouped(flops),
        model.max_position_embeddings
    )?;
    writeln!(out, "weights, moments  {} MiB  (float32)", grouped((parameters * 12) >> 20))?;
    if let Some(step) = step {
        writeln!(out, "steps made        {}", grouped(step))?;
    }
    if let Some(tokens) = tokens {
        writeln!(out, "training tokens   {}  ({:.1} a parameter)", grouped(tokens), tokens as f64 / parameters as f64)?;
    }
    Ok(Outcome::Done)
}

/// Floating-point operations to train on a token: `6N + 12 L D T`, as model FLOPs utilisation counts them.
fn flops_per_token(model: &ModelConfig) -> u64 {
    let attention = 12 * model.num_hidden_layers * model.hidden_size * model.max_position_embeddings;
    6 * matrix_parameter_count(model) + attention as u64
}
