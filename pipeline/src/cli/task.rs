//! `pipeline task`: executes one task of a planned run; `--stage commit` writes the manifest.

use std::path::PathBuf;

use serde_json::json;

use super::Outcome;
use crate::engine::interrupt::Interrupt;
use crate::engine::lock::{FolderLock, Sharing};
use crate::engine::progress::{Progress, emit};
use crate::engine::run::{Process, Run};
use crate::error::Error;
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
    /// Threads; all cores where not given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Print events as JSON lines on stdout
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Error`]; its exit codes are documented.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let process =
        Process { threads: args.threads, progress: Progress::new(args.json), interrupt: Interrupt::install()? };
    let run = Run::open(&args.run, process)?;
    let _lock = FolderLock::take(&run.plan.dataset, &run.plan.dataset.join("run"), Sharing::Tasks)?;
    if args.stage == commit::NAME {
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
    if run.is_done(stage.name(), args.rank) {
        return Ok(());
    }
    run.make_stage_folder(stage.name())?;
    run.pool.install(|| stage.execute(run, args.rank))
}
