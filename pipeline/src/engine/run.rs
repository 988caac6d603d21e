//! A run under way: its plan, its folders, and what its tasks share.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::interrupt::Interrupt;
use super::memory::Room;
use super::ordered::Bounds;
use super::plan::{PLAN_FILE, Plan};
use super::progress::Progress;
use super::{execute, marker, memory};
use crate::augment::Augment;
use crate::clean::Cleaner;
use crate::decontaminate::Decontaminator;
use crate::dedup::passages;
use crate::dedup::settings::Settings;
use crate::error::Error;
use crate::filter::{Filter, Lists};
use crate::measure::Measures;
use crate::mix::{Cut, Mix};
use crate::read;
use crate::sources::Sources;
use crate::stages::{self, layout::Layout};
use crate::terms::Terms;
use crate::tokenize::Encoder;

/// A run under way.
pub struct Run {
    /// What is to be done.
    pub plan: Plan,
    /// Folder of task files and markers.
    pub work_dir: PathBuf,
    /// Threads that work.
    pub pool: rayon::ThreadPool,
    /// What people and programs see of it.
    pub progress: Progress,
    /// Whether a signal came.
    pub interrupt: Interrupt,
    /// The tokenizer.
    pub encoder: Encoder,
    /// The steps of cleaning.
    pub cleaner: Cleaner,
    /// The quality columns that are computed.
    pub measures: Measures,
    /// What is declared of inputs.
    pub sources: Sources,
    /// Columns of groups of words.
    pub terms: Terms,
    /// The filter.
    pub filter: Filter,
    /// The lists of the filter.
    pub lists: Lists,
    /// How lines become documents.
    pub read_options: read::Options,
    /// Which passages the corpus holds once.
    pub passages: Option<passages::Settings>,
    /// The passages of benchmarks.
    pub decontaminator: Decontaminator,
    /// How duplicates are found, and which stays.
    pub dedup: Settings,
    /// Which versions are made of documents.
    pub augment: Augment,
    /// How often each document occurs.
    pub mix: Mix,
    /// Memory left for tasks: the limit less what the process held before them.
    work_bytes: u64,
    /// Memory for large documents.
    room: Room,
    layout: OnceLock<Layout>,
    cuts: OnceLock<Vec<Cut>>,
}

/// How this process works.
pub struct Process {
    /// Threads; None: all cores.
    pub threads: Option<usize>,
    /// Memory limit in bytes; None: the plan's, by which tasks were cut.
    pub memory: Option<u64>,
    /// What people and programs see of it.
    pub progress: Progress,
    /// Whether a signal came.
    pub interrupt: Interrupt,
}

impl Run {
    /// Makes ready to execute tasks of a plan.
    ///
    /// # Errors
    /// A filter or template that cannot be compiled; no threads.
    pub fn new(plan: Plan, work_dir: &Path, encoder: Encoder, process: Process) -> Result<Run, Error> {
        let threads = process.threads.unwrap_or_else(all_cores).max(1);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("worker-{i}")).build();
        let pool = pool.map_err(|error| Error::usage("--threads", error.to_string(), ""))?;
        // What is made from datasets was cleaned already, and the lists are not at hand.
        let cleaner = match plan.derived {
            Some(_) => Cleaner::default(),
            None => Cleaner::of_config(&plan.config.clean)?,
        };
        let (terms, lists) = match plan.derived {
            Some(_) => (Terms::default(), Lists::default()),
            None => (Terms::from_config(&plan.config.terms)?, Lists::from_config(&plan.config.filter)?),
        };
        let sources = Sources::from_config(&plan.config.sources)?;
        let filter = Filter::plan_for(&plan.config.filter, &plan.config.read.text_column)?;
        let measures = if plan.derived.is_some() { Measures::default() } else { Measures::load(&plan.config.measure)? };
        measures.refuse_changed(&plan.config_toml)?;
        let dedup = Settings::from_config(&plan.config.dedup)?;
        let ngram = plan.config.decontaminate.ngram;
        let decontaminator = Decontaminator::load(&plan.benchmarks, ngram, plan.memory)?;
        let memory_bytes = process.memory.unwrap_or(plan.memory);
        let work_bytes = memory_bytes.saturating_sub(memory::resident_bytes());
        let room = Room::new(work_bytes, threads);
        let read_options = read::Options::from_config(&plan.config.read)?.within(room.document_bytes_max());
        Ok(Run {
            work_bytes,
            room,
            mix: plan.mix()?,
            augment: if plan.derived.is_some() {
                Augment::default()
            } else {
                Augment::from_config(&plan.config.augment)?
            },
            passages: plan.passages(),
            plan,
            work_dir: work_dir.to_owned(),
            pool,
            progress: process.progress,
            interrupt: process.interrupt,
            encoder,
            cleaner,
            measures,
            sources,
            terms,
            filter,
            lists,
            read_options,
            decontaminator,
            dedup,
            layout: OnceLock::new(),
            cuts: OnceLock::new(),
        })
    }

    /// Opens a planned run by its dataset folder or its work folder, and goes to the folder in which it was planned.
    ///
    /// # Errors
    /// [`Error::Marker`] where there is no plan; whatever [`Run::new`] refuses.
    pub fn open(folder: &Path, process: Process) -> Result<Run, Error> {
        let inside = folder.join("run");
        let work_dir = if folder.join(PLAN_FILE).exists() { folder.to_owned() } else { inside };
        let path = work_dir.join(PLAN_FILE);
        let absent =
            || Error::Marker { path: path.clone(), detail: "expected the plan of a run, found none".to_owned() };
        let plan: Plan = marker::read(&path)?.ok_or_else(absent)?;
        let work_dir = std::fs::canonicalize(&work_dir).map_err(|error| Error::io("open", &work_dir, error))?;
        std::env::set_current_dir(&plan.folder).map_err(|error| Error::io("go to", &plan.folder, error))?;
        let encoder = Encoder::load(Path::new(&plan.config.tokenize.tokenizer), &plan.config.tokenize)?;
        Run::new(plan, &work_dir, encoder, process)
    }

    /// Threads of the pool.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// How many tasks of this size run at once within the memory limit.
    pub fn tasks_at_once(&self, task_bytes: u64) -> usize {
        ((self.work_bytes / task_bytes.max(1)) as usize).clamp(1, self.threads())
    }

    /// How many items of a task exist at once: enough to keep every thread busy, few enough for the memory.
    fn items_in_flight(&self, item_bytes: u64) -> usize {
        let tasks = self.tasks_at_once(item_bytes) as u64;
        let fit = self.work_bytes / 2 / item_bytes.max(1) / tasks;
        (fit as usize).clamp(1, self.threads() + 2)
    }

    /// Bounds for blocks between reader and writer of one task; `weigh` gives the bytes of a block's documents.
    pub fn block_bounds<T>(&self, weigh: fn(&T) -> u64) -> Bounds<'_, T> {
        const BLOCK_FOOTPRINT: u64 = 12 << 20;
        self.bounds(BLOCK_FOOTPRINT, weigh)
    }

    /// Bounds for items of this size; `weigh` gives the bytes of an item's documents.
    pub fn bounds<T>(&self, item_bytes: u64, weigh: fn(&T) -> u64) -> Bounds<'_, T> {
        Bounds { items: self.items_in_flight(item_bytes), room: &self.room, weigh }
    }

    /// Executes every stage that is not done.
    ///
    /// # Errors
    /// The first error of the first stage that fails.
    pub fn execute_all(&self) -> Result<(), Error> {
        stages::chain(&self.plan).iter().try_for_each(|stage| execute::execute(self, stage.as_ref()))
    }

    /// A file of a task: `WORK/STAGE/RANK.NAME`.
    pub fn task_file(&self, stage: &str, rank: usize, name: &str) -> PathBuf {
        self.work_dir.join(stage).join(format!("{rank:06}.{name}"))
    }

    /// Whether a task is done.
    pub fn is_done(&self, stage: &str, rank: usize) -> bool {
        self.task_file(stage, rank, "done").exists()
    }

    /// Marks a task done.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk refuses.
    pub fn mark_done(&self, stage: &str, rank: usize, payload: &impl Serialize) -> Result<(), Error> {
        marker::write(&self.task_file(stage, rank, "done"), payload)
    }

    /// What a task that must be done says of itself.
    ///
    /// # Errors
    /// [`Error::Marker`] where it is not done or its marker is damaged.
    pub fn marker<T: DeserializeOwned>(&self, stage: &str, rank: usize) -> Result<T, Error> {
        let path = self.task_file(stage, rank, "done");
        let detail = format!("expected stage {stage} to be done, found no marker for task {rank}");
        marker::read(&path)?.ok_or(Error::Marker { path, detail })
    }

    /// Makes the folder of a stage.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk refuses.
    pub fn make_stage_folder(&self, stage: &str) -> Result<(), Error> {
        let folder = self.work_dir.join(stage);
        std::fs::create_dir_all(&folder).map_err(|error| Error::io("create", &folder, error))
    }

    /// How often documents occur, by group; where they are mixed by tokens, once those are counted.
    ///
    /// # Errors
    /// Where the marker of the budget stage cannot be read.
    pub fn cuts(&self) -> Result<&[Cut], Error> {
        if let Some(cuts) = self.cuts.get() {
            return Ok(cuts);
        }
        let cuts = match self.mix.cuts_of_weights() {
            Some(cuts) => cuts,
            None => self.marker::<stages::mix::BudgetDone>(stages::mix::BUDGET, 0)?.cuts,
        };
        Ok(self.cuts.get_or_init(|| cuts))
    }

    /// What the read stage found, once it is done.
    ///
    /// # Errors
    /// Where a marker of the read stage cannot be read.
    pub fn layout(&self) -> Result<&Layout, Error> {
        if let Some(layout) = self.layout.get() {
            return Ok(layout);
        }
        let layout = Layout::load(self)?;
        Ok(self.layout.get_or_init(|| layout))
    }
}

/// Cores this process may use.
pub(super) fn all_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
