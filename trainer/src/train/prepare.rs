//! Opening a run: data, output folder, checkpoint and model, with everything refused that can be.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;

use super::run::{Position, Start};
use super::saver::Saver;
use super::{Guard, METRICS_FILE, Run};
use crate::checkpoint::{
    self, CheckpointFolder, Checkpoints, DataIdentity, GrownAt, TrainerState, load_model, load_optimizer, read_state,
};
use crate::config::{ModelConfig, Resume, TrainConfig};
use crate::data::Corpus;
use crate::distributed::World;
use crate::engine::Compute;
use crate::error::{Error, Result};
use crate::import;
use crate::model::{LanguageModel, Llama};
use crate::optimizer::{AdamW, AdamWConfig};
use crate::schedule::Schedule;

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

/// Has every rank start where rank 0 does: another may see a newer or an older folder.
fn agree_on_start(start: Start, config: &TrainConfig, world: &mut World) -> Result<Start> {
    let own = match &start {
        Start::New => 0,
        Start::After(checkpoint) => checkpoint.step + 1,
    };
    let agreed = world.first_says(own)?;
    if agreed == own {
        return Ok(start);
    }
    let Some(step) = agreed.checked_sub(1) else { return Ok(Start::New) };
    let found = Checkpoints::of_run(&config.out).list()?.into_iter().find(|checkpoint| checkpoint.step == step);
    found.map(Start::After).ok_or_else(|| Error::NoCheckpoint { path: config.out.join(format!("step-{step:08}")) })
}

/// The weights a new run starts with.
fn initial_model(model: &ModelConfig, config: &TrainConfig) -> Result<Llama> {
    match &config.init_from {
        Some(folder) => import::load_as(model, folder, &Device::Cpu),
        None => Llama::init(model, config.seed, &Device::Cpu),
    }
}

/// What identifies the data of a run that starts after `state`, and how many samples it had consumed when it grew.
fn identity_of(corpus: &Corpus, config: &TrainConfig, state: Option<&TrainerState>) -> Result<(DataIdentity, u64)> {
    let hash = corpus.identity();
    let mut identity = DataIdentity {
        hash,
        windows: 0,
        sequence_length: config.sequence_length,
        seed: config.seed,
        packing: config.packing,
        grown: None,
    };
    let Some(from) = corpus.grown_from() else { return Ok((identity, 0)) };
    let samples = match state {
        None => 0,
        // Already on the larger dataset: the change was then.
        Some(state) if state.data.hash == identity.hash => state.data.grown.as_ref().map_or(0, |grown| grown.samples),
        Some(state) if state.data.hash == from => state.samples,
        Some(state) => {
            let (field, expected, found) = ("the data's hash".to_owned(), from, state.data.hash.clone());
            return Err(Error::Mismatch { path: config.out.clone(), field, expected, found });
        }
    };
    identity.grown = Some(GrownAt { from, samples });
    Ok((identity, samples))
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
    let mut before = state.data.clone();
    if identity.grown.as_ref().is_some_and(|grown| grown.from == before.hash) {
        // The change of the data is asked for.
        (before.hash, before.windows) = (identity.hash.clone(), identity.windows);
    }
    match identity.difference(&before) {
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
    /// Where settings, data, output folder or checkpoint do not fit, or a rank has gone.
    pub fn prepare(
        model: &ModelConfig,
        config: TrainConfig,
        corpus: &Corpus,
        tokenizer: Option<PathBuf>,
        compute: &Compute,
        mut world: World,
    ) -> Result<Run> {
        config.validate()?;
        model.validate()?;
        compute.check(model, &config, world.size())?;
        // Opened first, so that data which does not fit leaves no folder behind.
        let val = corpus.val(&config, model.vocab_size)?;
        let lock = if world.is_first() { Some(lock(&config.out)?) } else { None };
        let checkpoints = Checkpoints::of_run(&config.out);
        let start = agree_on_start(find_start(&config, &checkpoints)?, &config, &mut world)?;
        let state = match &start {
            Start::New => None,
            Start::After(CheckpointFolder { path, .. }) => Some(read_state(path)?),
        };
        let (mut identity, consumed) = identity_of(corpus, &config, state.as_ref())?;
        let train = Arc::new(corpus.train(&config, model.vocab_size, consumed)?);
        identity.windows = train.count();
        let schedule = schedule_of(&config, config.total_steps(train.count(), world.size()));
        let adamw = AdamWConfig {
            beta1: config.beta1,
            beta2: config.beta2,
            eps: config.adam_eps,
            weight_decay: config.weight_decay,
        };
        let rows_max = config.batch_size * config.sequence_length;
        let (step, position) = match (&start, &state) {
            (Start::After(CheckpointFolder { path, .. }), Some(state)) => {
                let loaded = load_model(path, &Device::Cpu)?.with_training_options(config.training_options());
                check_same(path, model, &loaded, &identity, state)?;
                let moments = load_optimizer(path, loaded.parameters())?;
                let optimizer = AdamW::restore(adamw, moments, state.updates.unwrap_or(state.step));
                (compute.step(loaded, optimizer, rows_max)?, Position::after(state))
            }
            _ => {
                let model = initial_model(model, &config)?.with_training_options(config.training_options());
                let optimizer = AdamW::new(adamw, model.parameters());
                (compute.step(model, optimizer, rows_max)?, Position::default())
            }
        };
        let guard_state = state.as_ref().map(|state| state.guard).unwrap_or_default();
        let guard = Guard::new(config.spike_policy, config.spike_factor, guard_state);
        let tokenizer = tokenizer.or_else(|| corpus.first().ok()?.tokenizer_folder().map(Path::to_path_buf));
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
            guard,
            position,
            world,
            saver: Saver::default(),
            _lock: lock,
        })
    }
}
