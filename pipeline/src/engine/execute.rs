//! Executes the missing tasks of a stage on this machine's cores.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::progress::Unit;
use super::run::Run;
use super::stage::Stage;
use crate::error::Error;

/// Runs every task of the stage that has no marker. Each thread of the pool takes the next rank, as long as the memory
/// has room for one more task; the others work off the blocks of those. A stage that works in rounds has more tasks once those are done.
///
/// # Errors
/// The first error; tasks under way are ended between two blocks.
pub fn execute(run: &Run, stage: &dyn Stage) -> Result<(), Error> {
    loop {
        let missing: Vec<usize> = (0..stage.ranks(run)?).filter(|rank| !run.is_done(stage.name(), *rank)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        execute_tasks(run, stage, missing)?;
    }
}

/// Runs the missing tasks of a share: those whose rank is `share` modulo `of`. The only share of a stage goes on until
/// nothing is missing; one of several leaves later rounds to later steps.
///
/// # Errors
/// As [`execute`].
pub fn execute_share(run: &Run, stage: &dyn Stage, share: usize, of: usize) -> Result<(), Error> {
    if of <= 1 {
        return execute(run, stage);
    }
    let ranks = (share..stage.ranks(run)?).step_by(of);
    let missing: Vec<usize> = ranks.filter(|rank| !run.is_done(stage.name(), *rank)).collect();
    if missing.is_empty() { Ok(()) } else { execute_tasks(run, stage, missing) }
}

fn execute_tasks(run: &Run, stage: &dyn Stage, missing: Vec<usize>) -> Result<(), Error> {
    run.make_stage_folder(stage.name())?;
    let (total, unit) = stage.work(run);
    let clock = run.progress.begin(stage.name(), missing.len(), total, unit);
    let team = Team { missing, next: AtomicUsize::new(0), ended: AtomicUsize::new(0), failure: Mutex::new(None) };
    let tasks_at_once = run.tasks_at_once(stage.task_bytes(run));
    run.pool.broadcast(|thread| team.work(run, stage, unit, thread.index() < tasks_at_once));
    run.progress.end(clock);
    match team.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

struct Team {
    missing: Vec<usize>,
    next: AtomicUsize,
    ended: AtomicUsize,
    failure: Mutex<Option<Error>>,
}

impl Team {
    fn work(&self, run: &Run, stage: &dyn Stage, unit: Unit, takes_tasks: bool) {
        while takes_tasks && let Some(rank) = self.take() {
            if let Err(error) = run.interrupt.check().and_then(|()| stage.execute(run, rank)) {
                forget_damaged(run, &error);
                self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
            if unit == Unit::Things {
                run.progress.advance(1);
            }
            self.ended.fetch_add(1, Ordering::AcqRel);
        }
        while !self.is_over() {
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }

    /// Whether no task is under way and none will be begun.
    fn is_over(&self) -> bool {
        let taken = self.next.load(Ordering::Acquire).min(self.missing.len());
        self.ended.load(Ordering::Acquire) >= taken && (taken == self.missing.len() || self.has_failed())
    }

    fn has_failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take(&self) -> Option<usize> {
        if self.has_failed() {
            return None;
        }
        self.missing.get(self.next.fetch_add(1, Ordering::AcqRel)).copied()
    }
}

/// Where a task file is damaged or gone, deletes the marker of the task that wrote it, so that the next run heals it.
fn forget_damaged(run: &Run, error: &Error) {
    let path = match error {
        Error::TaskFile { path, .. } => path,
        Error::Io { path, source, .. } if source.kind() == std::io::ErrorKind::NotFound => path,
        _ => return,
    };
    if let (true, Some(marker)) = (path.starts_with(&run.work_dir), marker_of(path)) {
        let _ = std::fs::remove_file(marker); // best effort: without it the next run reports the same error
    }
}

/// `read/00003.0001.rows` was written by the task whose marker is `read/00003.done`.
fn marker_of(path: &Path) -> Option<std::path::PathBuf> {
    let name = path.file_name()?.to_str()?;
    let (rank, _) = name.split_once('.')?;
    Some(path.with_file_name(format!("{rank}.done")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_file_names_the_marker_of_its_task() {
        let marker = marker_of(Path::new("/run/read/000003.0001.rows"));
        assert_eq!(marker.as_deref(), Some(Path::new("/run/read/000003.done")));
    }
}
