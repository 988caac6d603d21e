//! The loop: batches in, optimizer steps, evaluations, checkpoints, until the last step or an interruption.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::Device;

use super::{AutogradStep, Evaluation, EvaluationRecord, METRICS_FILE, Metrics, StepRecord, TrainStep, evaluate};
use crate::checkpoint::{
    self, CheckpointFolder, Checkpoints, DataIdentity, Saved, TrainerState, load_model, load_optimizer, read_state,
};
use crate::config::{ModelConfig, Resume, TrainConfig};
use crate::data::{Loader, Source, Windows};
use crate::engine::EngineStep;
use crate::error::{Error, Result};
use crate::import;
use crate::model::{LanguageModel, Llama};
use crate::optimizer::{AdamW, AdamWConfig};
use crate::schedule::Schedule;

/// Whether to go on after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Make the next step.
    Continue,
    /// Save a checkpoint and end.
    Stop,
    /// End as a killed process would, without saving: for tests.
    Abandon,
}

/// Is told what happens, and says whether to go on.
pub trait Observer {
    /// After each step.
    fn step(&mut self, record: &StepRecord, total_steps: u64) -> Control;
    /// After each evaluation.
    fn evaluated(&mut self, _record: &EvaluationRecord) {}
    /// After each checkpoint.
    fn saved(&mut self, _checkpoint: &CheckpointFolder) {}
}

/// Where a run starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At initial weights.
    New,
    /// After a checkpoint.
    After(CheckpointFolder),
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All steps are made.
    Finished,
    /// The observer stopped it; a checkpoint was saved.
    Stopped,
    /// The observer abandoned it.
    Abandoned,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// How it ended.
    pub ended: Ended,
    /// The last step made.
    pub step: u64,
    /// Its loss, where this process made a step.
    pub loss: Option<f64>,
    /// The last evaluation.
    pub val_loss: Option<f64>,
    /// Tokens trained on, since the first step.
    pub tokens: u64,
    /// Time of this process's steps.
    pub elapsed: Duration,
    /// The last checkpoint.
    pub checkpoint: Option<CheckpointFolder>,
}

/// A run, ready to make its next step: everything that can be refused has been.
pub struct Run {
    config: TrainConfig,
    step: Box<dyn TrainStep>,
    train: Arc<Windows>,
    val: Option<Windows>,
    identity: DataIdentity,
    tokenizer: Option<PathBuf>,
    checkpoints: Checkpoints,
    start: Start,
    schedule: Schedule,
    made: u64,
    tokens: u64,
    /// Held while this run owns the output folder.
    _lock: File,
}

/// Takes the output folder for this process.
fn lock(out: &Path) -> Result<File> {
    std::fs::create_dir_all(out).map_err(Error::io(out))?;
    let path = out.join(".lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io(&path))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Busy { path: out.to_path_buf() }),
        Err(error) => Err(Error::io(&path)(error.into())),
    }
}

fn schedule_of(config: &TrainConfig, total_steps: u64) -> Schedule {
    Schedule {
        decay: config.schedule,
        peak: config.learning_rate,
        minimum: config.min_lr,
        warmup_steps: config.warmup_iters,
        decay_steps: (total_steps as f64 * config.decay_fraction).ceil() as u64,
        total_steps,
    }
}

fn find_start(config: &TrainConfig, checkpoints: &Checkpoints) -> Result<Start> {
    match &config.resume {
        Resume::Auto => Ok(checkpoints.latest()?.map_or(Start::New, Start::After)),
        Resume::From(path) => {
            if !path.join(checkpoint::STATE_FILE).is_file() {
                return Err(Error::NoCheckpoint { path: path.clone() });
            }
            let step = read_state(path)?.step;
            Ok(Start::After(CheckpointFolder { path: path.clone(), step }))
        }
        Resume::None => {
            let metrics = config.out.join(METRICS_FILE);
            let has_metrics = std::fs::metadata(metrics).is_ok_and(|file| file.len() > 0);
            match has_metrics || checkpoints.latest()?.is_some() {
                true => Err(Error::Occupied { path: config.out.clone() }),
                false => Ok(Start::New),
            }
        }
    }
}

/// The fastest step for a model.
fn step_for(model: Llama, optimizer: AdamW) -> Result<Box<dyn TrainStep>> {
    Ok(match EngineStep::supports(&model) {
        true => Box::new(EngineStep::new(model, optimizer)?),
        false => Box::new(AutogradStep::new(model, optimizer)),
    })
}

/// The weights a new run starts with.
fn initial_model(model: &ModelConfig, config: &TrainConfig, device: &Device) -> Result<Llama> {
    match &config.init_from {
        Some(folder) => import::load_as(model, folder, device),
        None => Llama::init(model, config.seed, device),
    }
}

/// Refuses a checkpoint of another model or other data, naming the field.
fn check_same(
    folder: &Path,
    model: &ModelConfig,
    loaded: &Llama,
    identity: &DataIdentity,
    state: &TrainerState,
) -> Result<()> {
    let differs = |field: String, expected: String, found: String| {
        Err(Error::Mismatch { path: folder.to_path_buf(), field, expected, found })
    };
    if let Some((field, expected, found)) = model.difference(loaded.config()) {
        return differs(field, expected, found);
    }
    match identity.difference(&state.data) {
        Some((field, expected, found)) => differs(field.to_owned(), expected, found),
        None => Ok(()),
    }
}

impl Run {
    /// Opens data and output folder, makes or loads the model, and validates everything.
    ///
    /// `tokenizer` overrides where the tokenizer's files are taken from.
    ///
    /// # Errors
    /// Where settings, data, output folder or checkpoint do not fit.
    pub fn prepare(
        model: &ModelConfig,
        config: TrainConfig,
        source: &Source,
        tokenizer: Option<PathBuf>,
        device: &Device,
    ) -> Result<Run> {
        config.validate()?;
        model.validate()?;
        let train = Arc::new(source.train(config.sequence_length, model.vocab_size, config.seed)?);
        let val = source.val(config.sequence_length, model.vocab_size)?.filter(|windows| windows.count() > 0);
        let identity = DataIdentity {
            hash: source.identity(),
            windows: train.count(),
            sequence_length: config.sequence_length,
            seed: config.seed,
        };
        let schedule = schedule_of(&config, config.total_steps(train.count(), 1));
        let lock = lock(&config.out)?;
        let checkpoints = Checkpoints::of_run(&config.out);
        let start = find_start(&config, &checkpoints)?;
        let adamw = AdamWConfig {
            beta1: config.beta1,
            beta2: config.beta2,
            eps: config.adam_eps,
            weight_decay: config.weight_decay,
        };
        let (step, made, tokens) = match &start {
            Start::New => {
                let model = initial_model(model, &config, device)?.with_training_options(config.training_options());
                let optimizer = AdamW::new(adamw, model.parameters());
                (step_for(model, optimizer)?, 0, 0)
            }
            Start::After(CheckpointFolder { path, .. }) => {
                let state = read_state(path)?;
                let loaded = load_model(path, device)?.with_training_options(config.training_options());
                check_same(path, model, &loaded, &identity, &state)?;
                let moments = load_optimizer(path, loaded.parameters())?;
                (step_for(loaded, AdamW::restore(adamw, moments, state.step))?, state.step, state.tokens)
            }
        };
        let tokenizer = tokenizer.or_else(|| source.tokenizer_folder().map(Path::to_path_buf));
        Ok(Run {
            config,
            step,
            train,
            val,
            identity,
            tokenizer,
            checkpoints,
            start,
            schedule,
            made,
            tokens,
            _lock: lock,
        })
    }

    /// Where this run starts.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// Steps in all.
    pub fn total_steps(&self) -> u64 {
        self.schedule.total_steps
    }

    /// Steps made before this process.
    pub fn steps_made(&self) -> u64 {
        self.made
    }

    /// Windows of an epoch, and of the validation side.
    pub fn windows(&self) -> (u64, Option<u64>) {
        (self.train.count(), self.val.as_ref().map(Windows::count))
    }

    /// The model.
    pub fn model(&self) -> &dyn LanguageModel {
        self.step.model()
    }

    /// Trains until the last step, or until the observer ends it.
    ///
    /// # Errors
    /// Where reading, computing or writing fails, or loss or gradient norm are not finite; the last checkpoint stays.
    pub fn train(mut self, observer: &mut dyn Observer) -> Result<Summary> {
        let samples = self.made * self.config.global_batch(1);
        let mut metrics = Metrics::resume(&self.config.out, self.made)?;
        let workers = self.config.num_workers;
        let mut loader = Loader::new(self.train.clone(), self.config.batch_size, samples, workers)?;
        let mut summary = Summary {
            ended: Ended::Finished,
            step: self.made,
            loss: None,
            val_loss: None,
            tokens: self.tokens,
            elapsed: Duration::ZERO,
            checkpoint: match &self.start {
                Start::New => None,
                Start::After(checkpoint) => Some(checkpoint.clone()),
            },
        };
        while self.made < self.schedule.total_steps {
            let started = Instant::now();
            let record = self.one_step(&mut loader, started)?;
            summary.elapsed += started.elapsed();
            metrics.append(&record)?;
            let control = observer.step(&record, self.schedule.total_steps);
            (summary.step, summary.loss, summary.tokens) = (record.step, Some(record.loss), record.tokens);
            if control == Control::Abandon {
                summary.ended = Ended::Abandoned;
                return Ok(summary);
            }
            let last = self.made == self.schedule.total_steps;
            if last || due(self.made, self.config.eval_interval) {
                summary.val_loss = self.evaluate(&mut metrics, observer)?.or(summary.val_loss);
            }
            if last || control == Control::Stop || due(self.made, self.config.save_interval) {
                summary.checkpoint = Some(self.save(&metrics, observer)?);
            }
            if control == Control::Stop && !last {
                summary.ended = Ended::Stopped;
                return Ok(summary);
            }
        }
        Ok(summary)
    }

    fn one_step(&mut self, loader: &mut Loader, started: Instant) -> Result<StepRecord> {
        let step = self.made + 1;
        let (mut loss, mut tokens) = (0f64, 0u64);
        for _ in 0..self.config.accumulation_steps {
            let batch = loader.next_batch()?;
            loss += self.step.micro_batch(&batch)?.parts.cross_entropy / self.config.accumulation_steps as f64;
            tokens += batch.tokens();
        }
        finite(step, "loss", loss)?;
        let grad_norm = self.step.gradient_norm()?;
        finite(step, "gradient norm", grad_norm)?;
        let lr = self.schedule.learning_rate(step);
        self.step.update(lr, grad_norm, self.config.grad_clip)?;
        (self.made, self.tokens) = (step, self.tokens + tokens);
        let tokens_per_s = tokens as f64 / started.elapsed().as_secs_f64().max(1e-9);
        Ok(StepRecord { step, loss, lr, grad_norm, tokens: self.tokens, tokens_per_s })
    }

    fn evaluate(&self, metrics: &mut Metrics, observer: &mut dyn Observer) -> Result<Option<f64>> {
        let Some(val) = &self.val else { return Ok(None) };
        let evaluation: Evaluation = evaluate(&*self.step, val, self.config.batch_size, self.config.eval_batches)?;
        let record = EvaluationRecord { step: self.made, val_loss: evaluation.loss, val_ppl: evaluation.perplexity() };
        finite(self.made, "validation loss", record.val_loss)?;
        metrics.append(&record)?;
        observer.evaluated(&record);
        Ok(Some(record.val_loss))
    }

    fn save(&self, metrics: &Metrics, observer: &mut dyn Observer) -> Result<CheckpointFolder> {
        metrics.sync()?;
        let state = TrainerState {
            format_version: checkpoint::STATE_VERSION,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            step: self.made,
            samples: self.made * self.config.global_batch(1),
            tokens: self.tokens,
            threads: rayon::current_num_threads(),
            data: self.identity.clone(),
            config: self.config.clone(),
            files: Default::default(),
        };
        let saved = Saved {
            model: self.step.model().config(),
            parameters: self.step.model().parameters(),
            moments: self.step.optimizer().moments(),
            state,
            tokenizer: self.tokenizer.as_deref(),
        };
        let folder = checkpoint::save(&self.checkpoints, saved)?;
        self.checkpoints.prune(self.config.keep_last, self.made)?;
        observer.saved(&folder);
        Ok(folder)
    }
}

fn due(step: u64, interval: u64) -> bool {
    interval > 0 && step.is_multiple_of(interval)
}

fn finite(step: u64, quantity: &'static str, value: f64) -> Result<()> {
    if value.is_finite() { Ok(()) } else { Err(Error::NotFinite { step, quantity, value }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelShape;
    use crate::testing::tiny_dataset;

    /// Does with each step what it is told for that step; keeps the records.
    struct Script<'a> {
        at: u64,
        then: Control,
        records: &'a mut Vec<StepRecord>,
    }

    impl Observer for Script<'_> {
        fn step(&mut self, record: &StepRecord, _total_steps: u64) -> Control {
            self.records.push(record.clone());
            if record.step == self.at { self.then } else { Control::Continue }
        }
    }

    fn model() -> ModelConfig {
        let shape = ModelShape {
            dim: 32,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: Some(2),
            vocab_size: 50,
            max_seq_len: 16,
            ..ModelShape::default()
        };
        shape.config(Some(1), Some(2)).unwrap()
    }

    fn config(data: &Path, out: &Path) -> TrainConfig {
        TrainConfig {
            data: data.to_path_buf(),
            out: out.to_path_buf(),
            batch_size: 4,
            accumulation_steps: 2,
            sequence_length: 16,
            learning_rate: 3e-3,
            warmup_iters: 3,
            max_steps: Some(12),
            save_interval: 4,
            eval_interval: 3,
            eval_batches: 2,
            num_workers: 2,
            ..TrainConfig::default()
        }
    }

    fn prepare(config: TrainConfig) -> Result<Run> {
        let source = Source::open(&config.data)?;
        Run::prepare(&model(), config, &source, None, &Device::Cpu)
    }

    /// Trains until step `at`, then does `then`; returns the steps made and the summary.
    fn train(config: &TrainConfig, at: u64, then: Control) -> (Vec<StepRecord>, Summary) {
        let mut records = Vec::new();
        let summary = prepare(config.clone()).unwrap().train(&mut Script { at, then, records: &mut records }).unwrap();
        (records, summary)
    }

    fn dataset() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        tiny_dataset(folder.path(), 50, 2);
        folder
    }

    /// Every line of `metrics.jsonl` without the rate, which is no part of the result.
    fn metrics(out: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(out.join(METRICS_FILE)).unwrap();
        let without_rate = |line: &str| {
            let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
            value.as_object_mut().unwrap().remove("tokens_per_s");
            value
        };
        text.lines().map(without_rate).collect()
    }

    fn weights(out: &Path) -> Vec<u8> {
        std::fs::read(out.join("checkpoints/step-00000012").join(checkpoint::MODEL_FILE)).unwrap()
    }

    #[test]
    fn metrics_have_each_step_once_and_the_documented_fields() {
        let (data, out) = (dataset(), tempfile::tempdir().unwrap());
        let (records, summary) = train(&config(data.path(), out.path()), 99, Control::Continue);
        assert_eq!((summary.ended, summary.step, summary.tokens), (Ended::Finished, 12, 12 * 8 * 16));
        let lines = metrics(out.path());
        let steps: Vec<u64> =
            lines.iter().filter(|l| l.get("loss").is_some()).map(|l| l["step"].as_u64().unwrap()).collect();
        assert_eq!(steps, (1..=12).collect::<Vec<_>>());
        let keys: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["step", "loss", "lr", "grad_norm", "tokens"]);
        let evaluated: Vec<u64> =
            lines.iter().filter(|l| l.get("val_ppl").is_some()).map(|l| l["step"].as_u64().unwrap()).collect();
        assert_eq!(evaluated, [3, 6, 9, 12]);
        assert!(records[11].loss < records[0].loss);
        assert!(records.iter().all(|record| record.tokens_per_s > 0.0));
    }

    #[test]
    fn a_killed_run_resumes_to_the_same_losses_and_weights() {
        let data = dataset();
        let (unbroken, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        train(&config(data.path(), unbroken.path()), 99, Control::Continue);
        let config = config(data.path(), broken.path());
        // Killed between checkpoints, before the first one, and just after one.
        for at in [2, 5, 9] {
            let (_, summary) = train(&config, at, Control::Abandon);
            assert_eq!(summary.ended, Ended::Abandoned);
        }
        let (rest, _) = train(&config, 99, Control::Continue);
        assert_eq!(rest[0].step, 9);
        assert_eq!(metrics(broken.path()), metrics(unbroken.path()));
        assert_eq!(weights(broken.path()), weights(unbroken.path()));
    }

    #[test]
    fn a_run_killed_inside_a_save_resumes_to_the_same_losses() {
        let data = dataset();
        let (unbroken, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        train(&config(data.path(), unbroken.path()), 99, Control::Continue);
        let config = config(data.path(), broken.path());
        train(&config, 9, Control::Abandon);
        let checkpoints = broken.path().join("checkpoints");
        // A half-written folder, and a published one that `latest` does not name yet.
        std::fs::create_dir(checkpoints.join(".tmp-step-00000012")).unwrap();
        std::fs::write(checkpoints.join(".tmp-step-00000012/model.safetensors"), "half").unwrap();
        std::fs::write(checkpoints.join("latest"), "step-00000004\n").unwrap();
        let (rest, _) = train(&config, 99, Control::Continue);
        assert_eq!(rest[0].step, 5);
        assert_eq!(metrics(broken.path()), metrics(unbroken.path()));
        assert_eq!(weights(broken.path()), weights(unbroken.path()));
        assert!(!checkpoints.join(".tmp-step-00000012").exists());
    }

    #[test]
    fn an_interrupted_run_saves_and_the_same_command_goes_on() {
        let (data, out) = (dataset(), tempfile::tempdir().unwrap());
        let config = config(data.path(), out.path());
        let (_, summary) = train(&config, 6, Control::Stop);
        assert_eq!((summary.ended, summary.checkpoint.unwrap().step), (Ended::Stopped, 6));
        let (rest, summary) = train(&config, 99, Control::Continue);
        assert_eq!((rest[0].step, summary.ended), (7, Ended::Finished));
        let (none, summary) = train(&config, 99, Control::Continue);
        assert_eq!((none.len(), summary.step), (0, 12));
    }

    #[test]
    fn losses_are_the_same_for_any_number_of_threads() {
        let data = dataset();
        let with = |threads: usize| {
            let out = tempfile::tempdir().unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| train(&config(data.path(), out.path()), 99, Control::Continue));
            metrics(out.path())
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn another_model_is_refused_by_the_name_of_the_field() {
        let (data, out) = (dataset(), tempfile::tempdir().unwrap());
        let config = config(data.path(), out.path());
        train(&config, 4, Control::Stop);
        let source = Source::open(&config.data).unwrap();
        let other = ModelConfig { num_hidden_layers: 3, ..model() };
        let error = Run::prepare(&other, config, &source, None, &Device::Cpu).err().unwrap();
        assert!(matches!(&error, Error::Mismatch { field, .. } if field == "num_hidden_layers"), "{error}");
    }

    #[test]
    fn other_data_and_another_seed_are_refused_by_name() {
        let (data, other, out) = (dataset(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        tiny_dataset(other.path(), 50, 3);
        let config = config(data.path(), out.path());
        train(&config, 4, Control::Stop);
        let field = |config| match prepare(config).err().unwrap() {
            Error::Mismatch { field, .. } => field,
            error => panic!("{error}"),
        };
        assert_eq!(field(TrainConfig { data: other.path().to_path_buf(), ..config.clone() }), "the data's hash");
        assert_eq!(field(TrainConfig { seed: 1, ..config }), "seed");
    }

    #[test]
    fn a_folder_with_a_run_is_refused_without_resume() {
        let (data, out) = (dataset(), tempfile::tempdir().unwrap());
        let config = config(data.path(), out.path());
        train(&config, 2, Control::Abandon);
        let anew = TrainConfig { resume: Resume::None, ..config };
        assert!(matches!(prepare(anew), Err(Error::Occupied { .. })));
    }

    #[test]
    fn a_folder_in_use_is_refused() {
        let (data, out) = (dataset(), tempfile::tempdir().unwrap());
        let config = config(data.path(), out.path());
        let _running = prepare(config.clone()).unwrap();
        assert!(matches!(prepare(config), Err(Error::Busy { .. })));
    }

    #[test]
    fn resuming_from_a_folder_without_a_checkpoint_is_refused() {
        let (data, out) = (dataset(), tempfile::tempdir().unwrap());
        let config = TrainConfig { resume: Resume::From(data.path().to_path_buf()), ..config(data.path(), out.path()) };
        assert!(matches!(prepare(config), Err(Error::NoCheckpoint { .. })));
    }

    #[test]
    fn divergence_ends_the_run_and_spares_the_last_checkpoint() {
        let (data, out) = (dataset(), tempfile::tempdir().unwrap());
        let config = config(data.path(), out.path());
        train(&config, 5, Control::Abandon);
        let mad = TrainConfig { learning_rate: 1e30, min_lr: 1e30, grad_clip: 0.0, ..config };
        let error = prepare(mad).unwrap().train(&mut Script { at: 99, then: Control::Stop, records: &mut Vec::new() });
        assert!(matches!(error, Err(Error::NotFinite { .. })), "{error:?}");
        let left = Checkpoints::of_run(out.path()).list().unwrap();
        assert_eq!(left.iter().map(|checkpoint| checkpoint.step).collect::<Vec<_>>(), [4]);
    }
}
