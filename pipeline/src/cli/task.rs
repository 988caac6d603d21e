//! `pipeline task`: executes one task of a planned run, or a share of a stage's; `--stage commit` writes the manifest.

use std::path::{Path, PathBuf};

use schemas::manifest::MANIFEST_FILE;
use serde_json::json;

use super::Outcome;
use crate::engine::execute::execute_share;
use crate::engine::interrupt::Interrupt;
use crate::engine::lock::{FolderLock, Sharing};
use crate::engine::plan::PLAN_FILE;
use crate::engine::progress::{Progress, emit};
use crate::engine::run::{Process, Run};
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::settings::parse_bytes;
use crate::stages::{self, commit};

/// Arguments of `pipeline task`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The dataset folder, or its work folder
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Stage, as `pipeline status` lists them
    #[arg(long)]
    stage: String,
    /// Task of the stage, from 0
    #[arg(long, default_value_t = 0)]
    rank: usize,
    /// Instead of one task all that are missing and whose rank is I modulo N, counted from 0
    #[arg(long, value_name = "I/N", conflicts_with = "rank", value_parser = parse_share)]
    share: Option<(usize, usize)>,
    /// Threads; all cores where not given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Memory limit of this task, where it needs more than the plan's
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Print events as JSON lines on stdout
    #[arg(long)]
    json: bool,
}

fn parse_share(text: &str) -> Result<(usize, usize), String> {
    let parsed = text.split_once('/').and_then(|(share, of)| Some((share.parse().ok()?, of.parse().ok()?)));
    parsed.filter(|(share, of)| share < of).ok_or_else(|| format!("expected I/N with I below N, found {text:?}"))
}

/// Runs the command.
///
/// # Errors
/// [`Error`]; its exit codes are documented.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let memory = args.memory.as_ref().map(|size| parse_bytes("--memory", size)).transpose()?;
    let progress = Progress::new(args.json);
    let process = Process { threads: args.threads, memory, progress, interrupt: Interrupt::install()? };
    if args.stage == commit::NAME && is_committed(&args.run) {
        return Ok(Outcome::Done); // by another attempt
    }
    let run = Run::open(&args.run, process)?;
    let _lock = FolderLock::take(&run.plan.dataset, &run.plan.dataset.join("run"), Sharing::Tasks)?;
    if args.stage == commit::NAME {
        if let Some(last) = stages::chain(&run.plan).last() {
            require_done(&run, last.as_ref())?;
        }
        commit::commit(&run)?;
        commit::clear(&run, 0.0)?;
    } else {
        execute(&run, &args)?;
    }
    if args.json {
        emit(&json!({"event": "done", "stage": args.stage, "rank": args.rank}));
    }
    Ok(Outcome::Done)
}

fn execute(run: &Run, args: &Args) -> Result<(), Error> {
    let chain = stages::chain(&run.plan);
    let Some(stage) = chain.iter().find(|stage| stage.name() == args.stage) else {
        let names: Vec<&str> = chain.iter().map(|stage| stage.name()).collect();
        let detail = format!("expected one of {}, {}; found {}", names.join(", "), commit::NAME, args.stage);
        return Err(Error::usage("--stage", detail, ""));
    };
    if let Some((share, of)) = args.share {
        let before = chain.iter().take_while(|before| before.name() != stage.name()).last();
        before.map_or(Ok(()), |before| require_done(run, before.as_ref()))?;
        return execute_share(run, stage.as_ref(), share, of);
    }
    if run.is_done(stage.name(), args.rank) {
        return Ok(());
    }
    run.make_stage_folder(stage.name())?;
    run.pool.install(|| stage.execute(run, args.rank))
}

/// Whether the dataset around a work folder is committed, and its task files are cleared.
fn is_committed(work_dir: &Path) -> bool {
    let dataset = if work_dir.ends_with("run") { work_dir.parent() } else { Some(work_dir) };
    let is_planned = work_dir.join(PLAN_FILE).exists() || work_dir.join("run").join(PLAN_FILE).exists();
    !is_planned && dataset.is_some_and(|dataset| dataset.join(MANIFEST_FILE).exists())
}

/// A stage's tasks read what all tasks of the stage before wrote.
fn require_done(run: &Run, stage: &dyn Stage) -> Result<(), Error> {
    let name = stage.name();
    let missing = (0..stage.ranks(run)?).find(|rank| !run.is_done(name, *rank));
    missing.map_or(Ok(()), |rank| {
        let detail = format!("expected stage {name} to be done, found no marker for task {rank}");
        Err(Error::Marker { path: run.task_file(name, rank, "done"), detail })
    })
}
