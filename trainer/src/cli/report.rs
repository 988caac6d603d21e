//! `trainer report`: the page of a run.

use std::path::PathBuf;

use super::Outcome;
use super::console::event;
use crate::error::Error;
use crate::report;
use crate::train::METRICS_FILE;

/// Arguments of `trainer report`.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// The output folder of a run
    run: PathBuf,
    /// Where the page goes [default: report.html in the folder]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print an event of JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Where the folder is none of a run, or the page cannot be written.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    if !args.run.join(METRICS_FILE).is_file() {
        let problem = format!("holds no {METRICS_FILE}, so it is not the output folder of a run");
        return Err(Error::Data { path: args.run, problem }.into());
    }
    let path = report::write(&args.run, args.out.as_deref())?;
    eprintln!("{}", path.display());
    if args.json {
        event(&serde_json::json!({"event": "done", "path": path}))?;
    }
    Ok(Outcome::Done)
}
