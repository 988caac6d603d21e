//! Processes on this machine: what the other engines do, without one.

use std::process::{Child, Command, Stdio};

use super::Job;
use super::steps::{Step, steps};
use crate::error::Error;

/// Executes every share, as many processes at once as there are jobs.
///
/// # Errors
/// A share that fails more often than it may be retried.
pub fn run(job: &Job<'_>) -> Result<(), Error> {
    for step in steps(job.run, job.jobs())? {
        let mut left = step.shares.clone();
        for attempt in 0..=job.settings.retries {
            left = failed(job, &step, &left)?;
            if left.is_empty() {
                break;
            }
            let shares = left.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            if attempt == job.settings.retries {
                let detail =
                    format!("stage {}: shares {shares} of {} failed {} times", step.stage, step.of, attempt + 1);
                return Err(Error::Engine { engine: "local", detail, hint: "the reason stands above".to_owned() });
            }
            eprintln!("stage {}: shares {shares} of {} failed and are tried again", step.stage, step.of);
        }
    }
    Ok(())
}

/// Executes shares at once; returns those that failed.
fn failed(job: &Job<'_>, step: &Step, shares: &[usize]) -> Result<Vec<usize>, Error> {
    let mut children: Vec<(usize, Child)> = Vec::new();
    for share in shares {
        let mut command = Command::new(&job.program);
        command.args(job.arguments(step, &share.to_string())?).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().map_err(|error| Error::io("start", &job.program, error))?;
        children.push((*share, child));
    }
    let mut failed = Vec::new();
    for (share, mut child) in children {
        let status = child.wait().map_err(|error| Error::io("wait for", &job.program, error))?;
        if !status.success() {
            failed.push(share);
        }
        // A signal to this process is for all of it; the shares got it, too, or end on their own.
        job.run.interrupt.check()?;
    }
    Ok(failed)
}
