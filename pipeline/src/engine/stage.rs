//! A stage: a set of ranked, idempotent tasks.

use super::progress::Unit;
use super::run::Run;
use crate::error::Error;

/// One link of the chain.
pub trait Stage: Sync {
    /// Name of its folder, of its markers and on the command line.
    fn name(&self) -> &'static str;

    /// How many tasks it has; known once the stage before it is done. A stage that works in rounds counts those of the
    /// rounds it knows to be needed: the number grows when a round is done and another must follow.
    ///
    /// # Errors
    /// Where markers of earlier stages cannot be read.
    fn ranks(&self, run: &Run) -> Result<usize, Error>;

    /// Whether it has more tasks once those that are known are done.
    fn works_in_rounds(&self) -> bool {
        false
    }

    /// Whether it never has more than one task.
    fn is_single(&self) -> bool {
        false
    }

    /// The work of all its tasks, for progress.
    fn work(&self, run: &Run) -> (u64, Unit) {
        (self.ranks(run).unwrap_or_default() as u64, Unit::Things)
    }

    /// What one of its tasks holds when it works on one item at a time, in bytes: as many tasks run at once as fit.
    fn task_bytes(&self, _run: &Run) -> u64 {
        16 << 20
    }

    /// Executes a task, its marker last. Executing it again, or twice at once, gives the same files.
    ///
    /// # Errors
    /// Whatever stops it; what it wrote so far is garbage that its rerun replaces.
    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error>;
}
