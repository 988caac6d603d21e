//! `trainer pretrain`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::console::{duration, event, grouped};
use super::logging_args::LoggingArgs;
use super::model_args::ModelArgs;
use super::prompts::Prompts;
use super::signals::Signals;
use super::throughput::{measured_peak_flops, utilisation_percent};
use super::{Outcome, find_checkpoint, use_threads};
use crate::checkpoint::CheckpointFolder;
use crate::config::{DEFAULT_EPOCHS, ModelConfig, Packing, Resume, TrainConfig};
use crate::data::{Corpus, Verify};
use crate::distributed::{Patience, Place, World, place};
use crate::engine::Compute;
use crate::error::Error;
use crate::estimate;
use crate::import;
use crate::logging::Loggers;
use crate::model::{LanguageModel, parameter_count};
use crate::report;
use crate::schedule::Decay;
use crate::train::{Control, Ended, EvaluationRecord, Observer, Run, SpikePolicy, Start, StepRecord, Summary};

/// Arguments of `trainer pretrain`. Flags may be written with underscores, as the notebook does.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// A manifest, a dataset folder, or a bare .bin of uint16; several times to mix datasets
    #[arg(long, visible_alias = "data-path", required = true)]
    data: Vec<PathBuf>,
    /// Shares of the datasets, in their order, as 3,1 [default: by their tokens]
    #[arg(long, value_delimiter = ',')]
    data_weights: Vec<f64>,
    /// The smaller dataset that the run to be resumed was on, which --data has grown from; nothing is repeated
    #[arg(long)]
    grown_from: Option<PathBuf>,
    /// How documents become sequences: back to back, or whole and padded (which masks them)
    #[arg(long, value_enum, default_value_t = Packing::Concatenate)]
    packing: Packing,
    /// Attention stays within a document, and positions count from its start
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    document_mask: bool,
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
    /// How the learning rate falls after the warm-up
    #[arg(long, value_enum, default_value_t = Decay::Cosine)]
    schedule: Decay,
    /// Share of the steps over which it falls, with --schedule wsd
    #[arg(long, default_value_t = 0.1)]
    decay_fraction: f64,
    /// Decoupled weight decay, on matrices only
    #[arg(long, default_value_t = 0.1)]
    weight_decay: f64,
    /// Decay of the first moment
    #[arg(long, default_value_t = 0.9)]
    beta1: f64,
    /// Decay of the second moment
    #[arg(long, default_value_t = 0.95)]
    beta2: f64,
    /// Added to the root of the second moment
    #[arg(long, default_value_t = 1e-8)]
    adam_eps: f64,
    /// Weight of the z-loss, the mean squared logarithm of the softmax's sum
    #[arg(long, default_value_t = 0.0)]
    z_loss: f64,
    /// What happens to a step whose loss or gradient norm is not finite or spikes: the run stops, or leaves it out
    #[arg(long, value_enum, default_value_t = SpikePolicy::Stop)]
    spike_policy: SpikePolicy,
    /// A loss or gradient norm beyond this multiple of its moving mean is a spike; 0 is never
    #[arg(long, default_value_t = 0.0)]
    spike_factor: f64,
    /// Largest gradient norm; 0 does not clip
    #[arg(long, default_value_t = 1.0)]
    grad_clip: f64,
    /// Optimizer steps over which the learning rate rises from 0
    #[arg(long, default_value_t = 0)]
    warmup_iters: u64,
    /// Passes over the data
    #[arg(long, default_value_t = DEFAULT_EPOCHS)]
    epochs: u64,
    /// Optimizer steps in all; wins over --max-tokens and --epochs
    #[arg(long)]
    max_steps: Option<u64>,
    /// Tokens in all; wins over --epochs
    #[arg(long)]
    max_tokens: Option<u64>,
    /// Save and exit with 0 after this time: seconds, or as 90m, 12h, 1-06:00:00
    #[arg(long, value_parser = time_limit)]
    time_limit: Option<Duration>,
    /// Fused attention where the device has it; false takes the standard one
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    flash_attn: bool,
    /// Compute activations again in the backward pass instead of keeping them: less memory, a third more work
    #[arg(long)]
    recompute: bool,
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
    /// Precision of the computation: bfloat16, float16 or float32; on the CPU all compute in float32
    #[arg(long, default_value = "bfloat16")]
    dtype: String,
    /// cpu, or cuda:N with a trainer built for it (dense models, one rank)
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
    /// Save an evaluation better than all before, and keep its checkpoint beside the last
    #[arg(long)]
    keep_best: bool,
    /// A text to continue at each evaluation; may be given several times
    #[arg(long)]
    sample_prompt: Vec<String>,
    /// Tokens of each such text
    #[arg(long, default_value_t = 64)]
    sample_tokens: usize,
    /// Try this many rising learning rates, suggest one, and end
    #[arg(long, value_name = "STEPS", num_args = 0..=1, default_missing_value = "100")]
    find_lr: Option<usize>,
    /// Demand several ranks; they are used whenever torchrun, Slurm or Open MPI has set their variables
    #[arg(long)]
    ddp: bool,
    /// Rank on this machine; the launcher's variables say it [the notebook's default: -1]
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    local_rank: i64,
    /// Seconds without a word from a neighbour rank after which the run ends with an error
    #[arg(long, default_value_t = 1800)]
    rank_timeout: u64,
    /// Peak of the device in TFLOP/s, for the MFU [default: what a matrix product reaches here, measured at the start]
    #[arg(long)]
    peak_tflops: Option<f64>,
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
            data: self.data.first().cloned().unwrap_or_default(),
            more_data: self.data.iter().skip(1).cloned().collect(),
            data_weights: self.data_weights.clone(),
            grown_from: self.grown_from.clone(),
            packing: self.packing,
            document_mask: self.document_mask,
            schedule: self.schedule,
            decay_fraction: self.decay_fraction,
            adam_eps: self.adam_eps,
            z_loss: self.z_loss,
            spike_policy: self.spike_policy,
            spike_factor: self.spike_factor,
            max_tokens: self.max_tokens,
            flash_attn: self.flash_attn,
            recompute: self.recompute,
            keep_best: self.keep_best,
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
        })
    }

    fn tokenizer_folder(&self) -> Option<PathBuf> {
        let path = self.tokenizer.as_ref()?;
        Some(if path.is_file() { path.parent()?.to_path_buf() } else { path.clone() })
    }
}

/// `90`, `90s`, `90m`, `12h`, `2d`, `HH:MM:SS`, `D-HH:MM:SS` as a time.
fn time_limit(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is no time: give seconds, or as 90m, 12h, 06:30:00, 1-06:00:00");
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    if text.contains(':') {
        let (days, clock) = text.split_once('-').unwrap_or(("0", text));
        let fields = clock.split(':').map(number).collect::<Result<Vec<u64>, String>>()?;
        let seconds = fields.iter().try_fold(0u64, |sum, field| sum.checked_mul(60)?.checked_add(*field));
        let all = number(days)?.checked_mul(86_400).zip(seconds).and_then(|(days, rest)| days.checked_add(rest));
        return all.map(Duration::from_secs).ok_or_else(wrong);
    }
    let unit = |suffix| text.strip_suffix(suffix);
    let (count, seconds) = match (unit('s'), unit('m'), unit('h'), unit('d')) {
        (Some(count), ..) => (count, 1),
        (_, Some(count), ..) => (count, 60),
        (_, _, Some(count), _) => (count, 3600),
        (.., Some(count)) => (count, 86_400),
        _ => (text, 1),
    };
    number(count)?.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
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
    /// When the run is to end.
    deadline: Option<Instant>,
    /// Ranks other than 0 say nothing.
    speaks: bool,
    prompts: Prompts,
    flops_per_token: u64,
    peak_flops: f64,
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
        let mfu = utilisation_percent(self.flops_per_token, rate, self.peak_flops);
        let made = record.step - self.last_step;
        let left = elapsed.as_secs_f64() / made.max(1) as f64 * (total - record.step) as f64;
        eprintln!(
            "step {}/{total}  loss {:.4}{}  lr {:.3e}  grad_norm {:.3}  {} tokens/s  MFU {mfu:.1} %  ETA {}{}",
            record.step,
            record.loss,
            balance(record),
            record.lr,
            record.grad_norm,
            grouped(rate as u64),
            duration(Duration::from_secs_f64(left.clamp(0.0, 1e9))),
            if record.skipped { "  SKIPPED" } else { "" },
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

/// Auxiliary loss and load of the experts, where there are any.
fn balance(record: &StepRecord) -> String {
    let (Some(aux_loss), Some(load)) = (record.aux_loss, &record.expert_load) else { return String::new() };
    let load: Vec<String> = load.iter().map(|share| format!("{:.0}", 100.0 * share)).collect();
    format!("  aux_loss {aux_loss:.4}  experts {} %", load.join("/"))
}

impl Observer for Console {
    fn step(&mut self, record: &StepRecord, total_steps: u64) -> Control {
        self.log(record);
        let first = self.last_tokens.is_none();
        let due = self.log_interval > 0 && record.step.is_multiple_of(self.log_interval);
        if self.speaks && (first || due || record.skipped || record.step == total_steps) {
            self.line(record, total_steps);
        }
        let over = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if over || self.signals.received().is_some() { Control::Stop } else { Control::Continue }
    }

    fn evaluated(&mut self, record: &EvaluationRecord, model: &dyn LanguageModel) {
        if !self.speaks {
            return;
        }
        self.log(record);
        match self.prompts.continue_all(model, record.step) {
            Ok(texts) => texts.iter().for_each(|(prompt, text)| eprintln!("step {}  {prompt}|{text}", record.step)),
            Err(error) => eprintln!("step {}  no text: {error}", record.step),
        }
        eprintln!("step {}  val_loss {:.4}  val_ppl {:.2}", record.step, record.val_loss, record.val_ppl);
        self.event(serde_json::json!({"event": "evaluated", "step": record.step, "val_loss": record.val_loss}));
    }

    fn saved(&mut self, checkpoint: &CheckpointFolder) {
        eprintln!("saved {}", checkpoint.path.display());
        self.event(serde_json::json!({"event": "saved", "step": checkpoint.step, "path": checkpoint.path}));
    }
}

fn introduce(run: &Run, config: &TrainConfig, flops_per_token: u64, peak_flops: f64) {
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
    if let Some(moe) = &model.moe {
        let (all, chosen, shared) = (moe.n_routed_experts, moe.num_experts_per_tok, moe.n_shared_experts);
        eprintln!("experts: {chosen} of {all} a token, {shared} shared; the auxiliary loss is added to the loss");
    }
    let total_flops = flops_per_token as f64 * config.sequence_length as f64;
    let total_flops = total_flops * config.global_batch(run.world().size()) as f64 * run.total_steps() as f64;
    eprintln!(
        "cost: {} FLOPs a token, {total_flops:.2e} in all; MFU is of {:.3} TFLOP/s",
        grouped(flops_per_token),
        peak_flops / 1e12,
    );
    let (train, val) = run.windows();
    let val = val.map_or("no validation split".to_owned(), |windows| format!("{} to validate on", grouped(windows)));
    eprintln!("data: {} windows of {} tokens, {val}", grouped(train), config.sequence_length);
    eprintln!(
        "run: {} steps of {} x {} sequences{} ({} tokens), {} threads",
        grouped(run.total_steps()),
        config.accumulation_steps,
        config.batch_size,
        if run.world().size() > 1 { format!(" on each of {} ranks", run.world().size()) } else { String::new() },
        grouped(config.global_batch(run.world().size()) * config.sequence_length as u64),
        rayon::current_num_threads(),
    );
    if !config.flash_attn {
        eprintln!("attention: the standard one, by --flash-attn false");
    }
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
        _ => eprintln!("stopped after step {} of {total}; the same command goes on", summary.step),
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

/// This process among several ranks, where a launcher has started some.
fn place_among_ranks(args: &Args) -> crate::Result<Option<Place>> {
    let place = place(|name| std::env::var(name).ok())?;
    if args.ddp && place.is_none() {
        let problem =
            "wants several ranks, but neither torchrun nor Slurm nor Open MPI has set its variables".to_owned();
        return Err(Error::Config { field: "ddp", problem });
    }
    Ok(place.filter(|place| place.size > 1))
}

/// Joins the other ranks, where there are some.
fn join_world(args: &Args, place: Option<Place>, config: &TrainConfig, model: &ModelConfig) -> crate::Result<World> {
    let Some(place) = place else { return Ok(World::alone()) };
    // Paths may differ between machines; what decides the numbers may not.
    let settings = TrainConfig { data: PathBuf::new(), out: PathBuf::new(), num_workers: 1, ..config.clone() };
    let settings = TrainConfig { more_data: Vec::new(), resume: Resume::Auto, grown_from: None, ..settings };
    let fingerprint = crate::rng::stream(&format!("{settings:?} {model:?}"));
    let patience = Patience { silence: Duration::from_secs(args.rank_timeout.max(1)), ..Patience::default() };
    World::join(&place, fingerprint, patience)
}

/// Tries learning rates and suggests one.
fn find_learning_rate(run: Run, steps: usize, speaks: bool, json: bool) -> anyhow::Result<Outcome> {
    let search = run.find_learning_rate(steps, |trial| {
        if speaks {
            eprintln!("lr {:.3e}  loss {:.4}  smoothed {:.4}", trial.learning_rate, trial.loss, trial.smoothed);
        }
    })?;
    let suggestion = search.suggestion.context("no learning rate gave a finite loss")?;
    if speaks {
        eprintln!("suggestion: --learning-rate {suggestion:.1e}, a tenth of the rate with the lowest loss");
    }
    if speaks && json {
        event(&serde_json::json!({"event": "done", "learning_rate": suggestion, "trials": search.trials.len()}))?;
    }
    Ok(Outcome::Done)
}

/// Runs the command.
///
/// # Errors
/// Where settings, data or checkpoints do not fit, or training fails.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let compute = Compute::new(&args.device, &args.dtype)?;
    use_threads(args.threads)?;
    let mut config = args.config()?;
    config.init_from = config.init_from.as_deref().map(find_checkpoint).transpose()?;
    config.validate()?;
    args.logging.check()?;
    let corpus = Corpus::open(&config, args.verify.into())?;
    let source = corpus.first()?;
    let model = match &config.init_from {
        Some(folder) => {
            let theirs = import::continued(folder, config.sequence_length, source)?;
            ModelConfig { dropout: args.model.dropout, attention_dropout: args.model.dropout, ..theirs }
        }
        None => args.model.config(Some(source))?,
    };
    let place = place_among_ranks(&args)?;
    compute.check(&model, &config, place.as_ref().map_or(1, |place| place.size))?;
    let world = join_world(&args, place, &config, &model)?;
    let speaks = world.is_first();
    if let Some(remark) = compute.remark().filter(|_| speaks) {
        eprintln!("{remark}");
    }
    let signals = Signals::install().context("cannot install signal handlers")?;
    let tokenizer = args.tokenizer_folder();
    let run = Run::prepare(&model, config.clone(), &corpus, tokenizer.clone(), &compute, world)?;
    if let Some(steps) = args.find_lr {
        return find_learning_rate(run, steps, speaks, args.json);
    }
    let flops_per_token = estimate::flops_per_token(&model);
    let peak_flops = match args.peak_tflops {
        Some(peak) => peak * 1e12,
        None => compute.measured_peak_flops()?.unwrap_or_else(measured_peak_flops),
    } * run.world().size() as f64;
    if speaks {
        introduce(&run, &config, flops_per_token, peak_flops);
    }
    let tokenizer = tokenizer.or_else(|| Some(corpus.first().ok()?.tokenizer_folder()?.to_path_buf()));
    let (prompts, new_tokens) = (args.sample_prompt.clone(), args.sample_tokens);
    let mut console = Console {
        signals,
        log_interval: config.log_interval,
        json: args.json,
        last_step: run.steps_made(),
        last_tokens: None,
        last_time: Instant::now(),
        // Rank 0 speaks to the loggers too.
        loggers: if speaks { args.logging.start(&config, run.steps_made())? } else { Loggers::default() },
        deadline: args.time_limit.map(|limit| started + limit),
        speaks,
        prompts: Prompts::new(&config.out, tokenizer.as_deref(), prompts, new_tokens, run.steps_made())?,
        flops_per_token,
        peak_flops,
    };
    let total = run.total_steps();
    let summary = run.train(&mut console);
    if let Some(problem) = console.loggers.finish() {
        eprintln!("{problem}");
    }
    let summary = summary?;
    if speaks {
        match report::write(&config.out, None) {
            Ok(path) => eprintln!("report: {}", path.display()),
            Err(error) => eprintln!("report: {error}"),
        }
        conclude(&summary, total, args.json)?;
    }
    match (summary.ended, console.signals.interrupted()) {
        (Ended::Stopped, Some(signal)) => Ok(Outcome::Interrupted(signal)),
        _ => Ok(Outcome::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_and_slurm_write_them() {
        let seconds = |text| time_limit(text).map(|time| time.as_secs());
        assert_eq!(["90", "90s", "2m", "3h", "1d"].map(seconds), [90, 90, 120, 10_800, 86_400].map(Ok));
        assert_eq!(["01:02:03", "1-00:00:10", "02:30"].map(seconds), [3723, 86_410, 150].map(Ok));
        assert!(seconds("soon").is_err() && seconds("1:x").is_err() && seconds("99999999999999999d").is_err());
    }
}
