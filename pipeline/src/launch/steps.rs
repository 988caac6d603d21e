//! What is left of a run, as steps that follow each other: the shares of a stage that miss a task.

use crate::engine::run::Run;
use crate::error::Error;
use crate::stages::{chain, commit};

/// Rounds of a stage that are shared out before one job does what is left: as a rule two are all.
const ROUNDS_SHARED: usize = 2;

/// Shares that may be executed at once, once the step before is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The stage.
    pub stage: &'static str,
    /// Which shares.
    pub shares: Vec<usize>,
    /// How many shares the stage is cut into.
    pub of: usize,
}

impl Step {
    /// Whether it is the commit, which is one process and no stage.
    pub fn is_commit(&self) -> bool {
        self.stage == commit::NAME
    }
}

/// The steps that are left, the commit last, with at most `jobs` shares a stage.
///
/// # Errors
/// Where a marker is damaged.
pub fn steps(run: &Run, jobs: usize) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    for stage in chain(&run.plan) {
        let name = stage.name();
        // The stages behind the first that misses something: nobody knows their tasks yet.
        let ranks = if steps.is_empty() { Some(stage.ranks(run)?) } else { None };
        let step = match ranks {
            Some(ranks) => {
                let of = jobs.min(ranks).max(1);
                let is_missing = |share: &usize| (*share..ranks).step_by(of).any(|rank| !run.is_done(name, rank));
                Step { stage: name, shares: (0..of).filter(is_missing).collect(), of }
            }
            None => Step { stage: name, shares: (0..jobs).collect(), of: jobs },
        };
        if step.shares.is_empty() {
            continue;
        }
        if stage.works_in_rounds() {
            let round = Step { stage: name, shares: (0..jobs).collect(), of: jobs };
            steps.extend(vec![round; ROUNDS_SHARED]);
            steps.push(Step { stage: name, shares: vec![0], of: 1 });
        } else if stage.is_single() {
            steps.push(Step { stage: name, shares: vec![0], of: 1 });
        } else {
            steps.push(step);
        }
    }
    steps.push(Step { stage: commit::NAME, shares: vec![0], of: 1 });
    Ok(steps)
}
