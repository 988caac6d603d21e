//! `pipeline clean`: deletes what no manifest lists from a dataset folder.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Outcome;
use super::print::{event, finish};
use crate::look::garbage::{self, Garbage};
use crate::look::human::{bytes, plural};

/// Files named to people; `--json` names all.
const FILES_SHOWN: usize = 50;

/// Arguments of `pipeline clean`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the dataset
    dir: PathBuf,
    /// Only tell what would be deleted
    #[arg(long)]
    dry_run: bool,
    /// Give up a run that has not committed: delete all it has made, finished tasks too
    #[arg(long)]
    abandon: bool,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Where the folder is no dataset, a run works on it, or a file cannot be deleted.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let lock = garbage::lock(&args.dir)?;
    let garbage = find(&args)?;
    if !args.dry_run {
        garbage::delete(&args.dir, &garbage)?;
    }
    drop(lock);
    let mut out = io::stdout().lock();
    finish(if args.json { print_json(&mut out, &args, &garbage) } else { print_text(&mut out, &args, &garbage) })
}

fn find(args: &Args) -> anyhow::Result<Garbage> {
    if args.abandon && garbage::is_unfinished_run(&args.dir) {
        return Ok(garbage::find(&args.dir, None)?);
    }
    let dataset = crate::look::open(&args.dir).map_err(|error| hint_abandon(&args.dir, error))?;
    Ok(garbage::find(dataset.dir(), Some(dataset.manifest()))?)
}

fn hint_abandon(dir: &Path, error: crate::look::Error) -> anyhow::Error {
    match error {
        crate::look::Error::NotCommitted { .. } => anyhow::anyhow!(
            "{}: the run in this folder has not committed\nhint: the same `pipeline run` command finishes it; \
             `pipeline clean --abandon` deletes what it has made",
            dir.display()
        ),
        other => other.into(),
    }
}

fn print_json(out: &mut dyn Write, args: &Args, garbage: &Garbage) -> io::Result<()> {
    let bytes = garbage.bytes();
    let fields = json!({"deleted": !args.dry_run, "bytes": bytes, "files": garbage.files, "left": garbage.left});
    event(out, "done", &fields)
}

fn print_text(out: &mut dyn Write, args: &Args, garbage: &Garbage) -> io::Result<()> {
    for file in garbage.files.iter().take(FILES_SHOWN) {
        writeln!(out, "{}  {}", file.path.display(), bytes(file.bytes))?;
    }
    let more = garbage.files.len().saturating_sub(FILES_SHOWN);
    if more > 0 {
        writeln!(out, "and {}", plural(more as u64, "other file"))?;
    }
    let verb = if args.dry_run { "would be deleted" } else { "deleted" };
    writeln!(out, "{verb}: {}, {}", plural(garbage.files.len() as u64, "file"), bytes(garbage.bytes()))?;
    if !garbage.left.is_empty() {
        let left: Vec<String> = garbage.left.iter().map(|path| path.display().to_string()).collect();
        writeln!(out, "left, because no run makes files of that name: {}", left.join(", "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::testing::{Doc, dataset};

    fn args(dir: &Path) -> Args {
        Args { dir: dir.to_owned(), dry_run: false, abandon: false, json: true }
    }

    #[test]
    fn a_dry_run_deletes_nothing() {
        let made = dataset(&[Doc::new("a", "one")]);
        let stray = made.path().join("tokens/train-00009.bin");
        std::fs::write(&stray, "x").unwrap();
        run(Args { dry_run: true, ..args(made.path()) }).unwrap();
        assert!(stray.exists());
        run(args(made.path())).unwrap();
        assert!(!stray.exists());
        made.open();
    }

    #[test]
    fn a_folder_without_a_manifest_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let precious = folder.path().join("data/precious.parquet");
        std::fs::write(&precious, "x").unwrap();
        for abandon in [false, true] {
            let error = run(Args { abandon, ..args(folder.path()) }).unwrap_err();
            assert!(format!("{error:#}").contains("no manifest.json"), "{error:#}");
        }
        assert!(precious.exists());
    }

    #[test]
    fn an_unfinished_run_goes_only_when_it_is_abandoned() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        std::fs::write(folder.path().join("run/plan.json"), "{}").unwrap();
        let error = run(args(folder.path())).unwrap_err();
        assert!(format!("{error:#}").contains("--abandon"), "{error:#}");
        run(Args { abandon: true, ..args(folder.path()) }).unwrap();
        assert!(!folder.path().join("run").exists());
    }
}
