//! The loop: batches in, optimizer steps, evaluations, checkpoints, until the last step or an interruption.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::saver::{Saver, Snapshot};
use super::totals::Totals;
use super::{Evaluation, EvaluationRecord, Guard, Metrics, StepRecord, TrainStep, Verdict, evaluate};
use crate::checkpoint::{self, Best, CheckpointFolder, Checkpoints, DataIdentity, TrainerState};
use crate::config::TrainConfig;
use crate::data::{Loader, Reading, Samples};
use crate::distributed::World;
use crate::error::{Error, Result};
use crate::model::LanguageModel;
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
    /// After each evaluation, with the model as it is.
    fn evaluated(&mut self, _record: &EvaluationRecord, _model: &dyn LanguageModel) {}
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

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Position {
    /// Steps made.
    step: u64,
    /// Samples consumed.
    samples: u64,
    /// Targets trained on.
    tokens: u64,
    /// The best evaluation.
    best: Option<Best>,
}

impl Position {
    pub(super) fn after(state: &TrainerState) -> Position {
        Position { step: state.step, samples: state.samples, tokens: state.tokens, best: state.best }
    }
}

/// A run, ready to make its next step: everything that can be refused has been.
pub struct Run {
    pub(super) config: TrainConfig,
    pub(super) step: Box<dyn TrainStep>,
    pub(super) train: Arc<Samples>,
    pub(super) val: Option<Samples>,
    pub(super) identity: DataIdentity,
    pub(super) tokenizer: Option<PathBuf>,
    pub(super) checkpoints: Checkpoints,
    pub(super) start: Start,
    pub(super) schedule: Schedule,
    pub(super) guard: Guard,
    pub(super) position: Position,
    pub(super) world: World,
    pub(super) saver: Saver,
    /// Held while this run owns the output folder.
    pub(super) _lock: Option<File>,
}

impl Run {
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
        self.position.step
    }

    /// Sequences of an epoch, and of the validation side.
    pub fn windows(&self) -> (u64, Option<u64>) {
        (self.train.count(), self.val.as_ref().map(Samples::count))
    }

    /// Ranks that train together.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The model.
    pub fn model(&self) -> &dyn LanguageModel {
        self.step.model()
    }

    pub(super) fn loader(&self) -> Result<Loader> {
        let reading = Reading {
            first_sample: self.position.samples,
            sequences: self.config.batch_size,
            rank: self.world.rank(),
            ranks: self.world.size(),
        };
        Loader::new(self.train.clone(), reading, self.config.num_workers)
    }

    fn summary(&self) -> Summary {
        Summary {
            ended: Ended::Finished,
            step: self.position.step,
            loss: None,
            val_loss: None,
            tokens: self.position.tokens,
            elapsed: Duration::ZERO,
            checkpoint: match &self.start {
                Start::New => None,
                Start::After(checkpoint) => Some(checkpoint.clone()),
            },
        }
    }

    /// Trains until the last step, or until the observer of a rank ends it.
    ///
    /// # Errors
    /// Where reading, computing or writing fails, the guard stops, or a rank has gone; the last checkpoint stays.
    pub fn train(mut self, observer: &mut dyn Observer) -> Result<Summary> {
        let mut metrics = match self.world.is_first() {
            true => Some(Metrics::resume(&self.config.out, self.position.step)?),
            false => None,
        };
        let (mut loader, mut summary) = (self.loader()?, self.summary());
        while self.position.step < self.schedule.total_steps {
            let started = Instant::now();
            let record = self.one_step(&mut loader, started)?;
            summary.elapsed += started.elapsed();
            if let Some(metrics) = &mut metrics {
                metrics.append(&record)?;
            }
            let control = self.agree(observer.step(&record, self.schedule.total_steps))?;
            (summary.step, summary.loss, summary.tokens) = (record.step, Some(record.loss), record.tokens);
            if control == Control::Abandon {
                summary.ended = Ended::Abandoned;
                return Ok(summary);
            }
            let last = self.position.step == self.schedule.total_steps;
            let mut best = false;
            if last || due(self.position.step, self.config.eval_interval) {
                let (val_loss, better) = self.evaluate(metrics.as_mut(), observer)?;
                (summary.val_loss, best) = (val_loss.or(summary.val_loss), better && self.config.keep_best);
            }
            if last || best || control == Control::Stop || due(self.position.step, self.config.save_interval) {
                self.step.download()?;
                self.save(metrics.as_ref(), observer, &mut summary)?;
            }
            self.note_saved(Saver::poll, observer, &mut summary)?;
            if control == Control::Stop && !last {
                summary.ended = Ended::Stopped;
                break;
            }
        }
        self.note_saved(Saver::finish, observer, &mut summary)?;
        // No rank ends before the checkpoint is durable, so that a launcher ends none that still writes.
        self.world.largest(0)?;
        Ok(summary)
    }

    /// What the most impatient rank wants.
    fn agree(&mut self, control: Control) -> Result<Control> {
        let wish = match control {
            Control::Continue => 0,
            Control::Stop => 1,
            Control::Abandon => 2,
        };
        Ok(match self.world.largest(wish)? {
            0 => Control::Continue,
            1 => Control::Stop,
            _ => Control::Abandon,
        })
    }

    /// Gradients of the next global batch, and its losses.
    pub(super) fn accumulate(&mut self, loader: &mut Loader) -> Result<Totals> {
        let mut totals = Totals::default();
        for _ in 0..self.config.accumulation_steps {
            totals.add(&self.step.micro_batch(&loader.next_batch()?)?);
        }
        self.position.samples += self.config.global_batch(self.world.size());
        if let Some(gradients) = self.step.gradients() {
            gradients.sum_over_ranks(&mut self.world)?;
        }
        totals.over_ranks(&mut self.world)
    }

    fn one_step(&mut self, loader: &mut Loader, started: Instant) -> Result<StepRecord> {
        let step = self.position.step + 1;
        let totals = self.accumulate(loader)?;
        let (loss, grad_norm) = (totals.loss(), self.step.gradient_norm()?);
        let lr = self.schedule.learning_rate(step);
        let verdict = self.guard.judge(step, loss, grad_norm)?;
        match verdict {
            Verdict::Learn => self.step.update(lr, grad_norm, self.config.grad_clip)?,
            Verdict::Skip => self.step.discard()?,
        }
        self.position.step = step;
        self.position.tokens += totals.tokens();
        let experts = self.model().config().moe.as_ref().map_or(0, |moe| moe.n_routed_experts);
        Ok(StepRecord {
            step,
            loss,
            lr,
            grad_norm,
            tokens: self.position.tokens,
            tokens_per_s: totals.tokens() as f64 / started.elapsed().as_secs_f64().max(1e-9),
            aux_loss: totals.aux_loss(),
            expert_load: totals.expert_load(experts),
            z_loss: totals.z_loss(),
            skipped: verdict == Verdict::Skip,
        })
    }

    /// The validation loss, and whether it is the best so far.
    fn evaluate(&mut self, metrics: Option<&mut Metrics>, observer: &mut dyn Observer) -> Result<(Option<f64>, bool)> {
        let Some(val) = &self.val else { return Ok((None, false)) };
        let extent = (self.config.batch_size, self.config.eval_batches);
        let evaluation: Evaluation = evaluate(&*self.step, val, extent, &mut self.world)?;
        let (step, val_loss) = (self.position.step, evaluation.loss);
        if !val_loss.is_finite() {
            return Err(Error::NotFinite { step, quantity: "validation loss", value: val_loss });
        }
        let record = EvaluationRecord { step, val_loss, val_ppl: evaluation.perplexity() };
        if let Some(metrics) = metrics {
            metrics.append(&record)?;
        }
        // The observer may continue texts with the model.
        self.step.download()?;
        observer.evaluated(&record, self.step.model());
        let better = self.position.best.is_none_or(|best| val_loss < best.val_loss);
        if better {
            self.position.best = Some(Best { step, val_loss });
        }
        Ok((Some(val_loss), better))
    }

    /// Starts to save, after the save before has ended; rank 0 writes.
    fn save(&mut self, metrics: Option<&Metrics>, observer: &mut dyn Observer, summary: &mut Summary) -> Result<()> {
        self.note_saved(Saver::finish, observer, summary)?;
        let Some(metrics) = metrics else { return Ok(()) };
        metrics.sync()?;
        let (model, optimizer) = (self.step.model(), self.step.optimizer());
        let snapshot = Snapshot {
            model: model.config().clone(),
            parameters: model.parameters().snapshot()?,
            moments: optimizer.moments().to_vec(),
            state: self.state(optimizer.updates()),
            tokenizer: self.tokenizer.clone(),
        };
        self.saver.start(&self.checkpoints, snapshot)
    }

    fn state(&self, updates: u64) -> TrainerState {
        TrainerState {
            format_version: checkpoint::STATE_VERSION,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            step: self.position.step,
            samples: self.position.samples,
            tokens: self.position.tokens,
            updates: Some(updates),
            guard: self.guard.state(),
            best: self.position.best,
            world_size: self.world.size(),
            threads: rayon::current_num_threads(),
            data: self.identity.clone(),
            config: self.config.clone(),
            files: Default::default(),
        }
    }

    /// Tells the observer of a checkpoint that has become durable.
    fn note_saved(
        &mut self,
        written: fn(&mut Saver) -> Result<Option<CheckpointFolder>>,
        observer: &mut dyn Observer,
        summary: &mut Summary,
    ) -> Result<()> {
        if let Some(checkpoint) = written(&mut self.saver)? {
            observer.saved(&checkpoint);
            summary.checkpoint = Some(checkpoint);
        }
        Ok(())
    }
}

fn due(step: u64, interval: u64) -> bool {
    interval > 0 && step.is_multiple_of(interval)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{ModelConfig, ModelShape, MoeConfig, Packing, Resume};
    use crate::data::{Corpus, Verify};
    use crate::distributed::testing::ranks;
    use crate::engine::Compute;
    use crate::testing::{tiny_dataset, tiny_dataset_of};
    use crate::train::{METRICS_FILE, SpikePolicy};

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

    fn prepare_on(compute: &Compute, model: &ModelConfig, config: TrainConfig, world: World) -> Result<Run> {
        let corpus = Corpus::open(&config, Verify::Background)?;
        Run::prepare(model, config, &corpus, None, compute, world)
    }

    fn prepare_with(model: &ModelConfig, config: TrainConfig, world: World) -> Result<Run> {
        prepare_on(&Compute::cpu(), model, config, world)
    }

    fn prepare(config: TrainConfig) -> Result<Run> {
        prepare_with(&model(), config, World::alone())
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
        let other = ModelConfig { num_hidden_layers: 3, ..model() };
        let error = prepare_with(&other, config, World::alone()).err().unwrap();
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

    /// A model and settings with every option that has state or randomness.
    fn full(data: &Path, out: &Path) -> (ModelConfig, TrainConfig) {
        let shape = ModelShape {
            dim: 32,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: Some(2),
            hidden_dim: Some(32),
            vocab_size: 50,
            max_seq_len: 32,
            dropout: 0.1,
            moe: Some(MoeConfig::default()),
            ..ModelShape::default()
        };
        let config = TrainConfig {
            sequence_length: 32,
            packing: Packing::BestFit,
            z_loss: 1e-4,
            spike_policy: SpikePolicy::Skip,
            // Low enough that the guard has something to skip.
            spike_factor: 1.05,
            keep_best: true,
            keep_last: 1,
            max_steps: Some(40),
            save_interval: 7,
            eval_interval: 5,
            ..config(data, out)
        };
        (shape.config(Some(1), Some(2)).unwrap(), config)
    }

    fn train_full(data: &Path, out: &Path, at: u64, then: Control) -> Vec<StepRecord> {
        let ((model, config), mut records) = (full(data, out), Vec::new());
        let run = prepare_with(&model, config, World::alone()).unwrap();
        run.train(&mut Script { at, then, records: &mut records }).unwrap();
        records
    }

    #[test]
    fn experts_dropout_packing_and_guard_resume_to_the_same_losses() {
        let data = dataset();
        let (unbroken, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let records = train_full(data.path(), unbroken.path(), 99, Control::Continue);
        assert!(records.iter().any(|record| record.skipped) && records.iter().any(|record| !record.skipped));
        let load: f64 = records[0].expert_load.as_ref().unwrap().iter().sum();
        assert!((load - 1.0).abs() < 1e-9 && records[0].aux_loss.unwrap() > 0.0 && records[0].z_loss.unwrap() > 0.0);
        for at in [9, 24, 36] {
            train_full(data.path(), broken.path(), at, Control::Abandon);
        }
        train_full(data.path(), broken.path(), 99, Control::Continue);
        assert_eq!(metrics(broken.path()), metrics(unbroken.path()));
        let best = |out: &Path| std::fs::read_to_string(out.join("checkpoints/best")).unwrap();
        assert_eq!(best(broken.path()), best(unbroken.path()));
        assert!(unbroken.path().join("checkpoints").join(best(unbroken.path()).trim()).is_dir());
    }

    /// The losses of a run of `size` ranks at a global batch of 8 sequences.
    fn losses_of_ranks(data: &Path, size: usize) -> Vec<(f64, f64)> {
        let out = tempfile::tempdir().unwrap();
        let records = ranks(size, |world| {
            let accumulation_steps = 4 / size;
            let config = TrainConfig { batch_size: 2, accumulation_steps, num_workers: 1, ..config(data, out.path()) };
            let mut records = Vec::new();
            let run = prepare_with(&model(), config, world).unwrap();
            run.train(&mut Script { at: 99, then: Control::Continue, records: &mut records }).unwrap();
            records
        });
        let of = |records: &Vec<StepRecord>| records.iter().map(|r| (r.loss, r.grad_norm)).collect::<Vec<_>>();
        assert!(records.iter().all(|of_rank| of(of_rank) == of(&records[0])), "ranks disagree");
        assert_eq!(metrics(out.path()).iter().filter(|line| line.get("loss").is_some()).count(), 12);
        of(&records[0])
    }

    #[test]
    fn two_and_four_ranks_have_the_losses_of_one() {
        let data = dataset();
        let one = losses_of_ranks(data.path(), 1);
        for size in [2, 4] {
            for (a, b) in losses_of_ranks(data.path(), size).iter().zip(&one) {
                assert!((a.0 - b.0).abs() < 1e-4 * b.0 && (a.1 - b.1).abs() < 1e-3 * b.1, "{size} ranks: {a:?}, {b:?}");
            }
        }
    }

    #[test]
    fn a_rank_that_wants_to_stop_stops_all_after_the_same_step() {
        let (data, out) = (dataset(), tempfile::tempdir().unwrap());
        let steps = ranks(2, |world| {
            let at = if world.rank() == 1 { 5 } else { 99 };
            let run = prepare_with(&model(), config(data.path(), out.path()), world).unwrap();
            run.train(&mut Script { at, then: Control::Stop, records: &mut Vec::new() }).unwrap().step
        });
        assert_eq!(steps, [5, 5]);
        assert_eq!(Checkpoints::of_run(out.path()).latest().unwrap().unwrap().step, 5);
    }

    #[test]
    fn a_run_goes_on_with_data_that_has_grown() {
        let (folder, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (small, large) = (folder.path().join("small"), folder.path().join("large"));
        tiny_dataset_of(&small, 50, 1, |_| 30);
        tiny_dataset(&large, 50, 2);
        train(&config(&small, out.path()), 6, Control::Stop);
        let grown = TrainConfig { grown_from: Some(small.clone()), ..config(&large, out.path()) };
        let unasked = TrainConfig { grown_from: None, ..grown.clone() };
        assert!(matches!(prepare(unasked), Err(Error::Mismatch { .. })));
        // Killed on the larger dataset, it knows when the change was.
        train(&grown, 9, Control::Abandon);
        let (rest, _) = train(&grown, 99, Control::Continue);
        assert_eq!(rest.last().unwrap().step, 12);
        let state = checkpoint::read_state(&out.path().join("checkpoints/step-00000012")).unwrap();
        assert_eq!(state.data.grown.unwrap().samples, 6 * 8);
    }

    #[test]
    fn two_datasets_are_mixed_by_their_weights() {
        let (data, other, out) = (dataset(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        tiny_dataset(other.path(), 50, 1);
        let more_data = vec![other.path().to_path_buf()];
        let mixed = TrainConfig { more_data, data_weights: vec![1.0, 3.0], ..config(data.path(), out.path()) };
        let corpus = Corpus::open(&mixed, Verify::Background).unwrap();
        let samples = corpus.train(&mixed, 50, 0).unwrap();
        let second = (0..4096).filter(|sample| samples.spans(*sample).unwrap().0 == 1).count();
        assert_eq!(second, 3072);
        assert_eq!(train(&mixed, 99, Control::Continue).0.len(), 12);
        let unequal = TrainConfig { data_weights: vec![1.0], ..mixed };
        assert!(matches!(Corpus::open(&unequal, Verify::Background), Err(Error::Config { field: "data_weights", .. })));
    }

    #[test]
    fn a_weight_that_is_not_finite_never_reaches_a_checkpoint() {
        let (data, out) = (dataset(), tempfile::tempdir().unwrap());
        let mad = TrainConfig {
            learning_rate: 1e39,
            min_lr: 1e39,
            grad_clip: 0.0,
            save_interval: 1,
            ..config(data.path(), out.path())
        };
        let run = prepare(TrainConfig { warmup_iters: 0, ..mad }).unwrap();
        let error = run.train(&mut Script { at: 99, then: Control::Stop, records: &mut Vec::new() });
        assert!(matches!(error, Err(Error::NotFinite { .. })), "{error:?}");
        assert_eq!(Checkpoints::of_run(out.path()).list().unwrap(), []);
    }

    #[test]
    fn the_learning_rate_finder_suggests_a_rate_and_saves_nothing() {
        let (data, out) = (dataset(), tempfile::tempdir().unwrap());
        let run = prepare(config(data.path(), out.path())).unwrap();
        let search = run.find_learning_rate(40, |_| {}).unwrap();
        let suggestion = search.suggestion.unwrap();
        assert!((1e-5..1e-1).contains(&suggestion), "{suggestion}");
        assert!(search.trials.len() > 10 && Checkpoints::of_run(out.path()).list().unwrap().is_empty());
    }

    /// A run by the CUDA kernels gives the losses of the CPU's, and either goes on from the other's checkpoint.
    #[test]
    #[ignore = "needs cxx, a C++ compiler"]
    fn a_run_on_the_emulated_device_has_the_losses_of_the_cpu_and_exchanges_checkpoints_with_it() {
        let data = dataset();
        let shape =
            ModelShape { dim: 32, n_layers: 2, n_heads: 4, vocab_size: 50, max_seq_len: 16, ..ModelShape::default() };
        let model = ModelShape { n_kv_heads: Some(2), ..shape }.config(Some(1), Some(2)).unwrap();
        // Above the rounding of gradients, so that equal gradients give equal updates.
        let few = |out: &Path| TrainConfig {
            max_steps: Some(4),
            adam_eps: 1e-3,
            save_interval: 2,
            ..config(data.path(), out)
        };
        let train = |compute: &Compute, out: &Path, stop_at: u64| {
            let (mut records, run) = (Vec::new(), prepare_on(compute, &model, few(out), World::alone()).unwrap());
            let summary = run.train(&mut Script { at: stop_at, then: Control::Stop, records: &mut records }).unwrap();
            (records.iter().map(|record| (record.loss, record.grad_norm)).collect::<Vec<_>>(), summary.val_loss)
        };
        let same = |found: &[(f64, f64)], expected: &[(f64, f64)]| {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found.0 - expected.0).abs() < 1e-5 * expected.0, "{found:?} {expected:?}");
                assert!((found.1 - expected.1).abs() < 1e-4 * expected.1, "{found:?} {expected:?}");
            }
        };
        let (cpu, device) = (Compute::cpu(), Compute::emulator());
        let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let (expected, val_loss) = train(&cpu, folders[0].path(), 99);
        let val_loss = val_loss.unwrap();
        for (out, first, then) in [(folders[1].path(), &device, &cpu), (folders[2].path(), &cpu, &device)] {
            let (begun, _) = train(first, out, 2);
            let (ended, found) = train(then, out, 99);
            same(&begun, &expected[..2]);
            same(&ended, &expected[2..]);
            assert!((found.unwrap() - val_loss).abs() < 1e-5 * val_loss);
        }
    }
}
