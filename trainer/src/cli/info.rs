//! `trainer info`: the size of a model, and what training it takes.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::console::{duration, event, grouped};
use super::model_args::ModelArgs;
use super::{Outcome, find_checkpoint};
use crate::checkpoint::{STATE_FILE, read_state};
use crate::config::ModelConfig;
use crate::data::Source;
use crate::estimate::{self, TOKENS_A_PARAMETER};
use crate::import;
use crate::model::{matrix_parameter_count, parameter_count};

/// Arguments of `trainer info`.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// A checkpoint, the output folder of a run, or any folder of a Llama
    #[arg(long)]
    checkpoint: Option<PathBuf>,
    /// The data it is to be trained on
    #[arg(long, visible_alias = "data-path")]
    data: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Sequences a micro-batch
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
    /// Micro-batches an optimizer step
    #[arg(long, default_value_t = 8)]
    accumulation_steps: usize,
    /// Passes over the data
    #[arg(long, default_value_t = 1)]
    epochs: u64,
    /// Arithmetic the machine gives, as `trainer doctor` measures it, to tell the time
    #[arg(long, value_name = "GFLOPS")]
    gflops: Option<f64>,
    /// Print an event of JSON
    #[arg(long)]
    json: bool,
}

/// What is told.
struct Told {
    model: ModelConfig,
    step: Option<u64>,
    train_tokens: Option<u64>,
}

impl Told {
    fn of(args: &Args) -> anyhow::Result<Told> {
        let source = args.data.as_deref().map(Source::open).transpose()?;
        let (model, step) = match &args.checkpoint {
            Some(path) => {
                let folder = find_checkpoint(path)?;
                let step = if folder.join(STATE_FILE).is_file() { Some(read_state(&folder)?.step) } else { None };
                (import::read_config(&folder)?, step)
            }
            None => (args.model.config(source.as_ref())?, None),
        };
        Ok(Told { model, step, train_tokens: source.as_ref().map(Source::train_tokens) })
    }

    /// Tokens trained on in all, where there is data.
    fn tokens(&self, args: &Args) -> Option<u64> {
        Some(self.train_tokens?.saturating_mul(args.epochs))
    }

    fn steps(&self, args: &Args) -> Option<u64> {
        let step = args.batch_size * args.accumulation_steps * self.model.max_position_embeddings;
        Some((self.tokens(args)? / (step as u64).max(1)).max(1))
    }

    fn seconds(&self, args: &Args) -> Option<f64> {
        Some(estimate::seconds(&self.model, self.tokens(args)?, args.gflops? * 1e9))
    }

    fn preset(&self) -> Option<&'static str> {
        estimate::preset_for(self.train_tokens?, self.model.vocab_size)
    }

    fn event(&self, args: &Args) -> serde_json::Value {
        serde_json::json!({
            "event": "done", "parameters": parameter_count(&self.model),
            "matrix_parameters": matrix_parameter_count(&self.model),
            "flops_per_token": estimate::flops_per_token(&self.model),
            "state_bytes": estimate::state_bytes(&self.model),
            "activation_bytes": estimate::activation_bytes(&self.model, args.batch_size),
            "train_tokens": self.train_tokens, "steps": self.steps(args), "seconds": self.seconds(args),
            "preset": self.preset(), "step": self.step, "config": self.model,
        })
    }

    fn show(&self, args: &Args) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        let model = &self.model;
        let parameters = parameter_count(model);
        let mib = |bytes: u64| grouped(bytes >> 20);
        writeln!(out, "parameters        {}", grouped(parameters))?;
        writeln!(out, "in products       {}", grouped(matrix_parameter_count(model)))?;
        let (flops, positions) = (grouped(estimate::flops_per_token(model)), model.max_position_embeddings);
        writeln!(out, "FLOPs a token     {flops}  (6N + 12LDT, at {positions} positions)")?;
        writeln!(
            out,
            "training memory   {} MiB for weights, gradients and moments",
            mib(estimate::state_bytes(model))
        )?;
        let activations = mib(estimate::activation_bytes(model, args.batch_size));
        writeln!(out, "                  about {activations} MiB more for {} sequences", args.batch_size)?;
        if let Some(step) = self.step {
            writeln!(out, "steps made        {}", grouped(step))?;
        }
        let (Some(tokens), Some(steps)) = (self.train_tokens, self.steps(args)) else { return Ok(()) };
        writeln!(out, "training tokens   {}  ({:.1} a parameter)", grouped(tokens), tokens as f64 / parameters as f64)?;
        writeln!(out, "steps             {}  ({} epochs)", grouped(steps), args.epochs)?;
        if let (Some(seconds), Some(gflops)) = (self.seconds(args), args.gflops) {
            writeln!(
                out,
                "time              {} at {gflops} GFLOP/s",
                duration(Duration::from_secs_f64(seconds.min(1e12)))
            )?;
        }
        if let Some(preset) = self.preset() {
            writeln!(out, "preset that fits  {preset}  ({TOKENS_A_PARAMETER} tokens a parameter in one epoch)")?;
        }
        Ok(())
    }
}

/// Runs the command.
///
/// # Errors
/// Where the checkpoint or data does not open, or the model is not valid.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let told = Told::of(&args)?;
    match args.json {
        true => event(&told.event(&args))?,
        false => told.show(&args)?,
    }
    Ok(Outcome::Done)
}
