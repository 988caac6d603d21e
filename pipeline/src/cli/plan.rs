//! `pipeline plan`: writes the plan of a run without executing it, so that tasks can be placed one by one.

use super::{Outcome, run};

/// Runs the command: the arguments are those of `pipeline run`.
///
/// # Errors
/// Whatever `pipeline run` would refuse.
pub fn run(args: run::Args) -> anyhow::Result<Outcome> {
    run::plan(args)
}
