//! The plan of a run: inputs, their parts, the configuration; fixed before any work starts.
//!
//! It lies in the work folder as a marker, so that an interrupted run, or a task on another machine, goes on with the
//! same parts. Nothing in it but the configuration and the inputs' labels, sizes and order reaches the dataset.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use schemas::config::{Config, DedupMethod};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::memory;
use super::run::all_cores;
use crate::against::{self, Earlier};
use crate::decontaminate::{self, Benchmark, Decontaminator};
use crate::dedup::passages;
use crate::dedup::settings::{Near, Settings};
use crate::derive::{DOC_ID, Derived};
use crate::error::Error;
use crate::measure::Measures;
use crate::mix::Mix;
use crate::read::inputs::{Input, Part};
use crate::sources::Sources;
use crate::tokenize::Encoder;
use crate::{read, settings};

/// File of the plan in the work folder.
pub const PLAN_FILE: &str = "plan.json";

/// Everything a task needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// The folder in which the plan was made; paths of inputs, tokenizer and dataset may be relative to it.
    pub folder: PathBuf,
    /// The dataset folder.
    pub dataset: PathBuf,
    /// The configuration, with the tokenizer's path.
    pub config: Config,
    /// The canonical `config.toml`.
    pub config_toml: String,
    /// What makes two runs the same: configuration, tokenizer, inputs.
    pub identity: String,
    /// The inputs, in order.
    pub inputs: Vec<Input>,
    /// Their parts, in order: one read task each.
    pub parts: Vec<Part>,
    /// The datasets it is made from, where it is made from datasets; parts are then their Parquet files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derived: Option<Derived>,
    /// The earlier datasets whose documents are dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<Earlier>,
    /// The benchmarks no document may hold a passage of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub benchmarks: Vec<Benchmark>,
    /// Threads of the machine that planned: what must be the same in every task is reckoned by them.
    pub threads: usize,
    /// Memory limit in bytes.
    pub memory: u64,
    /// What the person should know before work starts.
    pub notes: Vec<String>,
}

/// What a plan is made from.
#[derive(Debug)]
pub struct Request<'a> {
    /// INPUT arguments.
    pub inputs: &'a [String],
    /// Flags and config file, merged.
    pub config: Config,
    /// The dataset folder.
    pub dataset: &'a Path,
    /// The work folder; stdin is spooled here.
    pub work_dir: &'a Path,
}

impl Plan {
    /// Makes a plan: everything that can be refused is refused here.
    ///
    /// # Errors
    /// Bad settings, missing inputs, a tokenizer that does not fit.
    pub fn make(request: Request<'_>, encoder: &Encoder) -> Result<Plan, Error> {
        let Request { inputs, config, dataset, work_dir } = request;
        let inputs = read::inputs::expand(inputs, work_dir)?;
        Plan::of_inputs(config, inputs, dataset, encoder)
    }

    /// Makes a plan for inputs that are known.
    ///
    /// # Errors
    /// Bad settings.
    pub fn of_inputs(config: Config, inputs: Vec<Input>, dataset: &Path, encoder: &Encoder) -> Result<Plan, Error> {
        if config.read.require_license && config.derive.is_none() {
            Sources::from_config(&config.sources)?.require_license(&inputs)?;
        }
        let memory = settings::parse_bytes("--memory", &config.machine.memory)?;
        let threads = config.machine.threads.unwrap_or_else(all_cores);
        memory::check_limit(memory, threads, memory::resident_bytes())?;
        let part_bytes = settings::parse_bytes("machine.task_bytes", &config.machine.task_bytes)?.max(1);
        let parts: Vec<Part> =
            inputs.iter().enumerate().flat_map(|(index, input)| input.parts(index, part_bytes)).collect();
        let token = |id: Option<u32>| id.map_or(Ok("none".to_owned()), |id| encoder.decode(&[id], false));
        let (bos, eos) = (token(encoder.bos_id())?, token(encoder.eos_id())?);
        // A dataset made from datasets measures nothing: its configuration has hashes where files were.
        let measure = match config.derive {
            None => Measures::load(&config.measure)?.canonical().clone(),
            Some(_) => config.measure.clone(),
        };
        let against = match config.derive {
            None => against::open(&config.dedup)?,
            Some(_) => Vec::new(),
        };
        let benchmarks = match config.derive {
            None => decontaminate::benchmarks(&config.decontaminate)?,
            Some(_) => Vec::new(),
        };
        let decontaminator = Decontaminator::load(&benchmarks, config.decontaminate.ngram, memory)?;
        if !decontaminator.is_empty() {
            memory::check_limit(memory, threads, memory::resident_bytes())?;
        }
        let mut named = config.clone();
        if config.derive.is_none() {
            named.decontaminate.benchmarks = benchmarks.iter().map(decontaminate::identity).collect();
            named.dedup.against = against.iter().map(Earlier::identity).collect();
        }
        let config_toml = settings::canonical(&named, &measure, encoder.hash(), &bos, &eos)?;
        let identity = identity(&config_toml, &inputs);
        let notes = [encoder.notes(), decontaminator.notes()].concat();
        let dataset = dataset.to_owned();
        let folder = std::env::current_dir().map_err(|error| Error::io("find", Path::new("."), error))?;
        Ok(Plan {
            folder,
            dataset,
            config,
            config_toml,
            identity,
            inputs,
            parts,
            derived: None,
            against,
            benchmarks,
            threads,
            memory,
            notes,
        })
    }

    /// Whether the run looks for duplicates; in what is made from datasets they were looked for already.
    pub fn finds_duplicates(&self) -> bool {
        self.config.dedup.method != DedupMethod::None && self.derived.is_none()
    }

    /// Whether the dataset keeps the match keys of its documents. Where a mix chooses among them, keys of what is left
    /// out would pass for keys of what is there.
    pub fn keeps_keys(&self) -> bool {
        let mixes = crate::mix::Mix::from_config(&self.config.mix).is_ok_and(|mix| mix.is_on());
        self.finds_duplicates() && self.config.output.keys && !mixes
    }

    /// Which passages are looked for; in what is made from datasets they were looked for already. The section was checked
    /// when the plan was made.
    pub fn passages(&self) -> Option<passages::Settings> {
        passages::Settings::from_config(&self.config.passages).ok()?.filter(|_| self.derived.is_none())
    }

    /// How near-duplicates are looked for, if they are. The section was checked when the plan was made.
    pub fn near(&self) -> Option<Near> {
        let settings = Settings::from_config(&self.config.dedup).ok()?;
        settings.near.filter(|_| self.finds_duplicates())
    }

    /// Whether versions are made of documents. Of what is made from datasets they were made already.
    pub fn is_augmented(&self) -> bool {
        let augment = &self.config.augment;
        self.derived.is_none()
            && (augment.synonyms.is_some() || augment.shuffle_sentences || !augment.command.is_empty())
    }

    /// How documents are mixed. What is made from datasets was mixed already.
    ///
    /// # Errors
    /// [`Error::Usage`] where the section is refused.
    pub fn mix(&self) -> Result<Mix, Error> {
        match self.derived {
            Some(_) => Mix::from_config(&schemas::config::Mix::default()),
            None => Mix::from_config(&self.config.mix),
        }
    }

    /// Whether documents are mixed, or a subset is written. The section was checked when the plan was made.
    pub fn is_mixed(&self) -> bool {
        self.mix().is_ok_and(|mix| mix.is_on())
    }

    /// Column of the documents' ids.
    pub fn id_column(&self) -> &str {
        if self.derived.is_some() { DOC_ID } else { self.config.read.id_column.as_deref().unwrap_or("id") }
    }

    /// Bytes of all inputs as stored.
    pub fn input_bytes(&self) -> u64 {
        self.inputs.iter().map(|input| input.bytes).sum()
    }

    /// Disk the run needs beside its inputs, in bytes: an upper estimate.
    ///
    /// Task files hold the text once (compressed inputs are taken to grow five-fold) and its tokens; shards and Parquet
    /// the tokens again and the text compressed.
    pub fn disk_bytes(&self) -> u64 {
        let text: u64 = self.inputs.iter().map(|input| input.bytes * if input.is_compressed() { 5 } else { 1 }).sum();
        text + (text as f64 * 1.5 * self.copies_mean()) as u64 + (1 << 20)
    }

    /// Most often that documents occur on average, as far as weights say; a budget of tokens says nothing beforehand.
    fn copies_mean(&self) -> f64 {
        let augment = &self.config.augment;
        let made = [augment.synonyms.is_some(), augment.shuffle_sentences, !augment.command.is_empty()];
        let versions = 1 + made.iter().filter(|made| **made).count();
        self.config.mix.weights.values().copied().fold(1.0, f64::max) * versions as f64
    }

    /// Checks that an input is still what was planned.
    ///
    /// # Errors
    /// [`Error::InputChanged`].
    pub fn check_unchanged(&self, input: &Input) -> Result<(), Error> {
        let metadata = std::fs::metadata(&input.path).map_err(|error| Error::io("open", &input.path, error))?;
        let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
        if metadata.len() == input.bytes && modified == input.modified {
            return Ok(());
        }
        Err(Error::InputChanged {
            path: input.path.clone(),
            expected: describe(input.bytes, input.modified),
            found: describe(metadata.len(), modified),
        })
    }
}

fn describe(bytes: u64, modified: SystemTime) -> String {
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{bytes} bytes, modified at {}.{:09}", since.as_secs(), since.subsec_nanos())
}

fn identity(config_toml: &str, inputs: &[Input]) -> String {
    let mut text = config_toml.to_owned();
    for input in inputs {
        text.push_str(&format!("{}\t{}\n", input.label, input.bytes));
    }
    format!("{:032x}", xxh3_128(text.as_bytes()))
}
