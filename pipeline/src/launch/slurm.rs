//! Slurm: a job array a step, each waiting for the one before, submitted by `sbatch`.
//!
//! A share that fails or is told to stop asks for its own requeue from inside (`scontrol requeue` keeps what depends on
//! the array waiting, which RequeueExit does not), as often as it may be retried. Arrays whose predecessor failed for good
//! leave the queue. Slurm may forget jobs when its controller dies; [`watch`] submits again what is missing.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::steps::{Step, steps};
use super::{Job, quoted, write};
use crate::error::Error;

const POLL: Duration = Duration::from_secs(2);
/// Seconds before its time limit at which a job is told to stop.
const WARNING_S: u32 = 60;

/// The name of every job of a run: what it works in, hashed.
pub fn job_name(job: &Job<'_>) -> Result<String, Error> {
    Ok(format!("shardmill-{:08x}", xxh3_64(job.work_dir()?.as_os_str().as_encoded_bytes()) as u32))
}

/// The batch script of a step.
///
/// # Errors
/// Where the work folder is gone.
pub fn script(job: &Job<'_>, step: &Step, folder: &Path) -> Result<String, Error> {
    let settings = &job.settings;
    let shares = step.shares.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let arguments = job.arguments(step, "$SLURM_ARRAY_TASK_ID")?;
    // The share holds a variable that the shell has to see.
    let shell = |word: &String| if word.starts_with('$') { format!("\"{word}\"") } else { quoted(word) };
    let command: Vec<String> = std::iter::once(job.program.display().to_string()).chain(arguments).collect();
    let command = command.iter().map(shell).collect::<Vec<_>>().join(" ");
    let mut text = String::from("#!/bin/bash\n");
    let memory_mib = job.run.plan.memory.div_ceil(1 << 20);
    let mut option = |option: String| {
        let _ = writeln!(text, "#SBATCH {option}"); // writing to a string does not fail
    };
    option(format!("--job-name={}", job_name(job)?));
    option(format!("--comment=stage-{}", step.stage));
    option(format!("--array={shares}"));
    option(format!("--output={}/{}-%A_%a.log", folder.display(), step.stage));
    option("--open-mode=append".to_owned());
    option("--requeue".to_owned());
    option("--kill-on-invalid-dep=yes".to_owned());
    option(format!("--signal=B:USR1@{WARNING_S}"));
    option("--ntasks=1".to_owned());
    option(format!("--cpus-per-task={}", job.cpus()));
    option(format!("--mem={memory_mib}M"));
    settings.partition.iter().for_each(|name| option(format!("--partition={name}")));
    settings.time.iter().for_each(|time| option(format!("--time={time}")));
    settings.options.iter().for_each(|extra| option(extra.clone()));
    let _ = write!(
        text,
        "{}",
        include_str!("share.sh").replace("@COMMAND@", &command).replace("@RETRIES@", &settings.retries.to_string())
    );
    Ok(text)
}

/// Submits every step that is left. Returns the ids of the arrays.
///
/// # Errors
/// [`Error::Engine`] where `sbatch` refuses.
pub fn submit(job: &Job<'_>) -> Result<Vec<String>, Error> {
    let folder = job.folder()?;
    let mut ids: Vec<String> = Vec::new();
    for (number, step) in steps(job.run, job.jobs())?.iter().enumerate() {
        let path = folder.join(format!("{number:02}-{}.sbatch", step.stage));
        write(&path, &script(job, step, &folder)?)?;
        let mut command = Command::new("sbatch");
        command.arg("--parsable");
        if let Some(before) = ids.last() {
            command.arg(format!("--dependency=afterok:{before}"));
        }
        let said = said(command.arg(&path))?;
        ids.push(said.trim().split(';').next().unwrap_or_default().to_owned());
    }
    Ok(ids)
}

/// Jobs of this run that Slurm has; None where its controller does not answer.
pub fn queued(job: &Job<'_>) -> Result<Option<usize>, Error> {
    let name = job_name(job)?;
    let listed = said(Command::new("squeue").args(["--noheader", "--format=%i", "--name", &name]));
    Ok(listed.ok().map(|said| said.lines().filter(|line| !line.trim().is_empty()).count()))
}

/// Waits for the commit, and submits again what Slurm gave up or forgot.
///
/// # Errors
/// [`Error::Engine`] where submitting again as often as jobs may be retried did not help.
pub fn watch(job: &Job<'_>) -> Result<(), Error> {
    let mut submitted = 0;
    let mut silent = false;
    loop {
        sleep(POLL);
        job.run.interrupt.check()?;
        if job.is_committed() {
            return Ok(());
        }
        match queued(job)? {
            Some(0) if job.is_committed() => return Ok(()),
            Some(0) if submitted > job.settings.retries => {
                let detail = format!("the run was submitted {} times and is not committed", submitted + 1);
                let hint = format!("the logs are in {}", job.folder()?.display());
                return Err(Error::Engine { engine: "slurm", detail, hint });
            }
            Some(0) => {
                eprintln!("slurm has no job of this run any more; what is missing is submitted again");
                // A controller that is starting up may refuse; the next look tries again.
                if let Err(error) = submit(job) {
                    eprintln!("{error}");
                }
                submitted += 1;
            }
            found => {
                if found.is_none() && !silent {
                    eprintln!("slurm does not answer; waiting");
                }
                silent = found.is_none();
            }
        }
    }
}

fn said(command: &mut Command) -> Result<String, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |detail| Error::Engine { engine: "slurm", detail, hint: "sinfo tells whether Slurm is up".to_owned() };
    let output = command.output().map_err(|error| failed(format!("start {program}: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
