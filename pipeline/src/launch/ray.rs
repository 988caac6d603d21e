//! Ray: the shares as tasks of a running cluster, by a small driver in Python that is part of this program.

use std::process::{Command, Stdio};

use serde_json::json;

use super::steps::steps;
use super::{Job, write};
use crate::error::Error;

const DRIVER: &str = include_str!("ray_driver.py");

/// Executes every share on a cluster and waits for it.
///
/// # Errors
/// [`Error::Engine`] where the driver fails.
pub fn run(job: &Job<'_>, python: &str, address: &str) -> Result<(), Error> {
    let folder = job.folder()?;
    let (driver, spec) = (folder.join("ray_driver.py"), folder.join("ray.json"));
    write(&driver, DRIVER)?;
    write(&spec, &spec_of(job, address)?)?;
    let mut command = Command::new(python);
    command.arg(&driver).arg(&spec).stdin(Stdio::null()).stdout(Stdio::null());
    let failed = |detail, hint: &str| Error::Engine { engine: "ray", detail, hint: hint.to_owned() };
    let hint = "--python names an interpreter that can `import ray`";
    let status = command.status().map_err(|error| failed(format!("start {python}: {error}"), hint))?;
    if status.success() {
        return Ok(());
    }
    Err(failed(format!("the driver ended with {status}"), "the reason stands above; launch again for what is missing"))
}

/// What the driver reads.
///
/// # Errors
/// Where a marker is damaged.
pub fn spec_of(job: &Job<'_>, address: &str) -> Result<String, Error> {
    let program = job.program.display().to_string();
    let mut listed = Vec::new();
    for step in steps(job.run, job.jobs())? {
        let commands = step.shares.iter().map(|share| {
            let arguments = job.arguments(&step, &share.to_string())?;
            Ok(std::iter::once(program.clone()).chain(arguments).collect::<Vec<String>>())
        });
        let commands = commands.collect::<Result<Vec<_>, Error>>()?;
        listed.push(json!({"stage": step.stage, "commands": commands}));
    }
    let spec = json!({"address": address, "cpus": job.cpus(), "retries": job.settings.retries, "steps": listed});
    Ok(serde_json::to_string_pretty(&spec).unwrap_or_default() + "\n")
}
