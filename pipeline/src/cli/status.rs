//! `pipeline status`: which tasks of a run are done.

use std::path::PathBuf;

use serde_json::json;

use super::Outcome;
use crate::engine::interrupt::Interrupt;
use crate::engine::progress::{Progress, emit};
use crate::engine::run::{Process, Run};
use crate::stages;

/// Arguments of `pipeline status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The dataset folder
    dir: PathBuf,
    /// Print events as JSON lines on stdout
    #[arg(long)]
    json: bool,
}

/// Runs the command. The tasks of a stage are known once the stage before it is done.
///
/// # Errors
/// Where the folder holds neither a run nor a dataset.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    if args.dir.join(schemas::manifest::MANIFEST_FILE).exists() {
        if args.json {
            emit(&json!({"event": "done", "committed": true}));
        } else {
            println!("committed");
        }
        return Ok(Outcome::Done);
    }
    let process =
        Process { threads: Some(1), memory: None, progress: Progress::new(false), interrupt: Interrupt::default() };
    let run = Run::open(&args.dir, process)?;
    let mut stages_done = Vec::new();
    for stage in stages::chain(&run.plan) {
        let counts = stage.ranks(&run).ok().map(|ranks| {
            let missing: Vec<usize> = (0..ranks).filter(|rank| !run.is_done(stage.name(), *rank)).collect();
            (ranks, missing)
        });
        if !args.json {
            match &counts {
                Some((ranks, missing)) => println!("{:>9}  {} of {ranks} done", stage.name(), ranks - missing.len()),
                None => println!("{:>9}  waits for the stage before it", stage.name()),
            }
        }
        let (ranks, missing) = counts.unzip();
        stages_done.push(json!({"stage": stage.name(), "tasks": ranks, "missing": missing}));
    }
    if args.json {
        emit(&json!({"event": "done", "committed": false, "stages": stages_done}));
    }
    Ok(Outcome::Done)
}
