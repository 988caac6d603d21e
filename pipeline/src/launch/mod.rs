//! Gives the tasks of a planned run to an engine that places and retries processes.
//!
//! A stage's tasks are dealt out in shares: share i of n is every task whose rank is i modulo n, executed by one process
//! (`pipeline task --share i/n`) that skips what is done. So an engine is asked for a fixed number of jobs a stage before
//! anybody knows how many tasks the stage has, and each job runs as long as its share.
//!
//! **Invariant:** what is done is told by the markers of tasks alone, never by an engine: what it forgets is submitted
//! again, and what it runs twice does no harm.
//!
//! - [`steps`]: the shares that are missing, stage by stage.
//! - [`local`], [`slurm`], [`ray`], [`kubernetes`]: one engine a file.

pub mod kubernetes;
pub mod local;
pub mod ray;
pub mod slurm;
pub mod steps;

use std::path::{Path, PathBuf};

use schemas::config::Launch;
use schemas::manifest::MANIFEST_FILE;

use crate::engine::plan::PLAN_FILE;
use crate::engine::run::Run;
use crate::error::Error;

/// What every engine is told.
pub struct Job<'a> {
    /// The planned run.
    pub run: &'a Run,
    /// Its settings.
    pub settings: Launch,
    /// The program, as every node finds it.
    pub program: PathBuf,
}

impl Job<'_> {
    /// Jobs a stage is cut into.
    pub fn jobs(&self) -> usize {
        self.settings.jobs.map_or(self.run.plan.parts.len().clamp(1, JOBS_DEFAULT_MAX), |jobs| jobs.max(1))
    }

    /// Threads of a job.
    pub fn cpus(&self) -> usize {
        self.settings.cpus.unwrap_or(1).max(1)
    }

    /// Whether the dataset is committed and its task files are cleared.
    pub fn is_committed(&self) -> bool {
        self.run.plan.dataset.join(MANIFEST_FILE).exists() && !self.run.work_dir.join(PLAN_FILE).exists()
    }

    /// The work folder, wherever a job starts.
    pub fn work_dir(&self) -> Result<PathBuf, Error> {
        let folder = &self.run.work_dir;
        std::fs::canonicalize(folder).map_err(|error| Error::io("open", folder, error))
    }

    /// A folder for scripts and logs, made where it is missing.
    pub fn folder(&self) -> Result<PathBuf, Error> {
        let folder = self.work_dir()?.join("launch");
        std::fs::create_dir_all(&folder).map_err(|error| Error::io("create", &folder, error))?;
        Ok(folder)
    }

    /// Arguments of the process that executes a share; `share` may be a variable of a shell.
    pub fn arguments(&self, step: &steps::Step, share: &str) -> Result<Vec<String>, Error> {
        let work_dir = self.work_dir()?.display().to_string();
        let mut arguments: Vec<String> =
            ["task", "--run", &work_dir, "--stage", step.stage, "--threads", &self.cpus().to_string()]
                .map(str::to_owned)
                .into();
        if !step.is_commit() {
            arguments.extend(["--share".to_owned(), format!("{share}/{}", step.of)]);
        }
        Ok(arguments)
    }
}

/// More jobs a stage have to be asked for.
const JOBS_DEFAULT_MAX: usize = 256;

/// Writes a script or driver that a job reads.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(|error| Error::io("write", path, error))
}

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_a_quote_and_a_variable_stays_one_word() {
        assert_eq!(quoted("/a/b-1.x"), "/a/b-1.x");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
