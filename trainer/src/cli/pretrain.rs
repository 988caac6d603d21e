//! `trainer pretrain`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use candle_core::Device;

use super::console::{duration, event, grouped};
use super::logging_args::LoggingArgs;
use super::model_args::ModelArgs;
use super::signals::Signals;
use super::{Outcome, find_checkpoint, use_threads};
use crate::checkpoint::CheckpointFolder;
use crate::config::{DEFAULT_EPOCHS, ModelConfig, Resume, TrainConfig};
use crate::data::{Source, Verify};
use crate::error::Error;
use crate::import;
use crate::logging::Loggers;
use crate::model::parameter_count;
use crate::report;
use crate::train::{Control, Ended, EvaluationRecord, Observer, Run, Start, StepRecord, Summary};

/// Arguments of `trainer pretrain`. Flags may be written with underscores, as the notebook does.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// A manifest, a dataset folder, or a bare .bin of uint16
    #[arg(long, visible_alias = "data-path")]
    data: PathBuf,
    /// Where metrics and checkpoints go
    #[arg(long, visible_alias = "out-dir", default_value = "out")]
    out: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Sequences a micro-batch
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
    /// Micro-batches an optimizer step
    #[arg(long, default_value_t = 8)]
    accumulation_steps: usize,
    /// Highest learning rate
    #[arg(long, default_value_t = 2e-4)]
    learning_rate: f64,
    /// Learning rate of the last step [default: a tenth of --learning-rate]
    #[arg(long)]
    min_lr: Option<f64>,
    /// Decoupled weight decay, on matrices only
    #[arg(long, default_value_t = 0.1)]
    weight_decay: f64,
    /// Decay of the first moment
    #[arg(long, default_value_t = 0.9)]
    beta1: f64,
    /// Decay of the second moment
    #[arg(long, default_value_t = 0.95)]
    beta2: f64,
    /// Largest gradient norm; 0 does not clip
    #[arg(long, default_value_t = 1.0)]
    grad_clip: f64,
    /// Optimizer steps over which the learning rate rises from 0
    #[arg(long, default_value_t = 0)]
    warmup_iters: u64,
    /// Passes over the data
    #[arg(long, default_value_t = DEFAULT_EPOCHS)]
    epochs: u64,
    /// Optimizer steps in all; wins over --epochs
    #[arg(long)]
    max_steps: Option<u64>,
    /// Optimizer steps between checkpoints; 0 saves at the end only
    #[arg(long, default_value_t = 1000)]
    save_interval: u64,
    /// Optimizer steps between evaluations; 0 evaluates at the end only
    #[arg(long, default_value_t = 1000)]
    eval_interval: u64,
    /// Micro-batches an evaluation
    #[arg(long, default_value_t = 8)]
    eval_batches: usize,
    /// Optimizer steps between lines on the console
    #[arg(long, default_value_t = 100)]
    log_interval: u64,
    /// Of initial weights and sample order
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Precision of the computation: bfloat16 (float32 where the device has none, as the CPU here) or float32
    #[arg(long, default_value = "bfloat16")]
    dtype: String,
    /// cpu
    #[arg(long, default_value = "cpu")]
    device: String,
    /// auto goes on from the latest checkpoint of --out; none starts anew; or the folder of a checkpoint
    #[arg(long, default_value = "auto")]
    resume: String,
    /// Folder of a model to train further, of this program or others; the shape is its own [default: start anew]
    #[arg(long, value_name = "DIR")]
    init_from: Option<PathBuf>,
    /// Threads that read batches ahead
    #[arg(long, default_value_t = 8)]
    num_workers: usize,
    /// Threads that compute [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Checkpoints kept; 0 keeps all
    #[arg(long, default_value_t = 0)]
    keep_last: usize,
    /// Check the shards' checksums: while training, from each shard's first use on; all before; or not at all
    #[arg(long, value_enum, default_value_t = VerifyArg::Background)]
    verify: VerifyArg,
    /// tokenizer.json, or its folder, to go with the checkpoints [default: the dataset's]
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    #[command(flatten)]
    logging: LoggingArgs,
    /// Print events as lines of JSON on stdout
    #[arg(long)]
    json: bool,
}

/// `--verify`.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum VerifyArg {
    Background,
    Full,
    Off,
}

impl From<VerifyArg> for Verify {
    fn from(argument: VerifyArg) -> Verify {
        match argument {
            VerifyArg::Background => Verify::Background,
            VerifyArg::Full => Verify::Full,
            VerifyArg::Off => Verify::Off,
        }
    }
}

impl Args {
    fn config(&self) -> crate::Result<TrainConfig> {
        Ok(TrainConfig {
            data: self.data.clone(),
            out: self.out.clone(),
            batch_size: self.batch_size,
            accumulation_steps: self.accumulation_steps,
            sequence_length: self.model.positions()?,
            learning_rate: self.learning_rate,
            min_lr: self.min_lr.unwrap_or(self.learning_rate / 10.0),
            weight_decay: self.weight_decay,
            beta1: self.beta1,
            beta2: self.beta2,
            grad_clip: self.grad_clip,
            warmup_iters: self.warmup_iters,
            epochs: self.epochs,
            max_steps: self.max_steps,
            save_interval: self.save_interval,
            eval_interval: self.eval_interval,
            eval_batches: self.eval_batches,
            log_interval: self.log_interval,
            seed: self.seed,
            num_workers: self.num_workers,
            keep_last: self.keep_last,
            resume: match self.resume.as_str() {
                "auto" => Resume::Auto,
                "none" => Resume::None,
                path => Resume::From(path.into()),
            },
            init_from: self.init_from.clone(),
            ..TrainConfig::default()
        })
    }

    fn tokenizer_folder(&self) -> Option<PathBuf> {
        let path = self.tokenizer.as_ref()?;
        Some(if path.is_file() { path.parent()?.to_path_buf() } else { path.clone() })
    }
}

/// The device asked for.
pub fn device(name: &str) -> crate::Result<Device> {
    match name {
        "cpu" => Ok(Device::Cpu),
        cuda if cuda.starts_with("cuda") => {
            Err(Error::Device { device: name.into(), problem: "this trainer was built without CUDA; use cpu".into() })
        }
        _ => Err(Error::Device { device: name.into(), problem: "unknown; use cpu".into() }),
    }
}

/// Checks the precision asked for, and says once what is used.
fn check_dtype(name: &str) -> crate::Result<()> {
    match name {
        "float32" => Ok(()),
        "bfloat16" => {
            eprintln!("dtype: float32; candle has no bfloat16 arithmetic on the CPU");
            Ok(())
        }
        _ => {
            let problem = format!("`{name}` is not supported, only bfloat16 and float32");
            Err(Error::Config { field: "dtype", problem })
        }
    }
}

/// Shows a run on the console.
struct Console {
    signals: Signals,
    log_interval: u64,
    json: bool,
    last_step: u64,
    last_tokens: Option<u64>,
    last_time: Instant,
    loggers: Loggers,
}

impl Console {
    /// Hands a record to the loggers.
    fn log(&mut self, record: &impl serde::Serialize) {
        if let Some(problem) = self.loggers.record(record) {
            eprintln!("{problem}");
        }
    }

    fn line(&mut self, record: &StepRecord, total: u64) {
        let elapsed = self.last_time.elapsed();
        let tokens = record.tokens - self.last_tokens.unwrap_or(record.tokens);
        let rate = if tokens == 0 { record.tokens_per_s } else { tokens as f64 / elapsed.as_secs_f64().max(1e-9) };
        let made = record.step - self.last_step;
        let left = elapsed.as_secs_f64() / made.max(1) as f64 * (total - record.step) as f64;
        eprintln!(
            "step {}/{total}  loss {:.4}  lr {:.3e}  grad_norm {:.3}  {} tokens/s  ETA {}",
            record.step,
            record.loss,
            record.lr,
            record.grad_norm,
            grouped(rate as u64),
            duration(Duration::from_secs_f64(left.clamp(0.0, 1e9))),
        );
        (self.last_step, self.last_tokens, self.last_time) = (record.step, Some(record.tokens), Instant::now());
    }

    fn event(&self, value: serde_json::Value) {
        if self.json {
            // A reader that has gone does not end a training run.
            let _ = event(&value);
        }
    }
}

impl Observer for Console {
    fn step(&mut self, record: &StepRecord, total_steps: u64) -> Control {
        self.log(record);
        let first = self.last_tokens.is_none();
        let due = self.log_interval > 0 && record.step.is_multiple_of(self.log_interval);
        if first || due || record.step == total_steps {
            self.line(record, total_steps);
        }
        if self.signals.received().is_some() { Control::Stop } else { Control::Continue }
    }

    fn evaluated(&mut self, record: &EvaluationRecord) {
        self.log(record);
        eprintln!("step {}  val_loss {:.4}  val_ppl {:.2}", record.step, record.val_loss, record.val_ppl);
        self.event(serde_json::json!({"event": "evaluated", "step": record.step, "val_loss": record.val_loss}));
    }

    fn saved(&mut self, checkpoint: &CheckpointFolder) {
        eprintln!("saved {}", checkpoint.path.display());
        self.event(serde_json::json!({"event": "saved", "step": checkpoint.step, "path": checkpoint.path}));
    }
}

fn introduce(run: &Run, config: &TrainConfig) {
    let model = run.model().config();
    eprintln!(
        "model: {} parameters; dim {}, {} layers, {} heads ({} key and value heads), vocabulary {}",
        grouped(parameter_count(model)),
        model.hidden_size,
        model.num_hidden_layers,
        model.num_attention_heads,
        model.kv_heads(),
        grouped(model.vocab_size as u64),
    );
    let (train, val) = run.windows();
    let val = val.map_or("no validation split".to_owned(), |windows| format!("{} to validate on", grouped(windows)));
    eprintln!("data: {} windows of {} tokens, {val}", grouped(train), config.sequence_length);
    eprintln!(
        "run: {} steps of {} x {} sequences ({} tokens), {} threads",
        grouped(run.total_steps()),
        config.accumulation_steps,
        config.batch_size,
        grouped(config.global_batch(1) * config.sequence_length as u64),
        rayon::current_num_threads(),
    );
    match run.start() {
        Start::After(checkpoint) => {
            eprintln!("resuming after step {} from {}", checkpoint.step, checkpoint.path.display())
        }
        Start::New => {}
    }
}

fn conclude(summary: &Summary, total: u64, json: bool) -> anyhow::Result<()> {
    let checkpoint = summary.checkpoint.as_ref().map(|checkpoint| checkpoint.path.clone());
    match summary.ended {
        Ended::Finished => eprintln!("done: step {} of {total} in {}", summary.step, duration(summary.elapsed)),
        _ => eprintln!("interrupted after step {} of {total}; the same command goes on", summary.step),
    }
    if json {
        let name = if summary.ended == Ended::Finished { "done" } else { "interrupted" };
        event(&serde_json::json!({
            "event": name, "step": summary.step, "total_steps": total, "loss": summary.loss,
            "val_loss": summary.val_loss, "tokens": summary.tokens, "checkpoint": checkpoint,
        }))?;
    }
    Ok(())
}

/// Runs the command.
///
/// # Errors
/// Where settings, data or checkpoints do not fit, or training fails.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let device = device(&args.device)?;
    check_dtype(&args.dtype)?;
    use_threads(args.threads)?;
    let mut config = args.config()?;
    config.init_from = config.init_from.as_deref().map(find_checkpoint).transpose()?;
    config.validate()?;
    args.logging.check()?;
    let source = Source::open(&args.data)?.verified(args.verify.into())?;
    let model = match &config.init_from {
        Some(folder) => {
            let theirs = import::continued(folder, config.sequence_length, &source)?;
            ModelConfig { dropout: args.model.dropout, attention_dropout: args.model.dropout, ..theirs }
        }
        None => args.model.config(Some(&source))?,
    };
    let signals = Signals::install().context("cannot install signal handlers")?;
    let run = Run::prepare(&model, config.clone(), &source, args.tokenizer_folder(), &device)?;
    introduce(&run, &config);
    let mut console = Console {
        signals,
        log_interval: config.log_interval,
        json: args.json,
        last_step: run.steps_made(),
        last_tokens: None,
        last_time: Instant::now(),
        loggers: args.logging.start(&config, run.steps_made())?,
    };
    let total = run.total_steps();
    let summary = run.train(&mut console);
    if let Some(problem) = console.loggers.finish() {
        eprintln!("{problem}");
    }
    let summary = summary?;
    match report::write(&config.out, None) {
        Ok(path) => eprintln!("report: {}", path.display()),
        Err(error) => eprintln!("report: {error}"),
    }
    conclude(&summary, total, args.json)?;
    match (summary.ended, console.signals.received()) {
        (Ended::Stopped, Some(signal)) => Ok(Outcome::Interrupted(signal)),
        _ => Ok(Outcome::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuda_is_refused_with_its_reason() {
        assert!(device("cuda:0").unwrap_err().to_string().contains("built without CUDA"));
        assert!(device("tpu").is_err());
    }

    #[test]
    fn an_unknown_dtype_is_refused() {
        assert!(check_dtype("int8").unwrap_err().to_string().starts_with("dtype: `int8`"));
    }
}
