//! The folder of checkpoints: names, which is the latest, publishing, and what is kept.

use std::path::{Path, PathBuf};

use super::files;
use crate::error::{Error, Result};

/// `OUT/checkpoints`.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    root: PathBuf,
}

/// One complete checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointFolder {
    /// The folder.
    pub path: PathBuf,
    /// The optimizer step its name tells.
    pub step: u64,
}

const LATEST: &str = "latest";
const BEST: &str = "best";
const TEMPORARY: &str = ".tmp-";

fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix("step-")?.parse().ok()
}

impl Checkpoints {
    /// The checkpoints of a run's output folder.
    pub fn of_run(out: &Path) -> Checkpoints {
        Checkpoints { root: out.join("checkpoints") }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every complete checkpoint, oldest first.
    ///
    /// # Errors
    /// Where the folder cannot be listed.
    pub fn list(&self) -> Result<Vec<CheckpointFolder>> {
        let mut found = Vec::new();
        for entry in self.entries()? {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let (Some(step), true) = (step_of(&name), entry.is_dir()) {
                found.push(CheckpointFolder { path: entry, step });
            }
        }
        found.sort_by_key(|checkpoint| checkpoint.step);
        Ok(found)
    }

    fn entries(&self) -> Result<Vec<PathBuf>> {
        match std::fs::read_dir(&self.root) {
            Ok(entries) => {
                entries.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>().map_err(Error::io(&self.root))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::io(&self.root)(error)),
        }
    }

    /// The checkpoint to go on from: the one `latest` names, else the newest.
    ///
    /// # Errors
    /// Where the folder cannot be listed.
    pub fn latest(&self) -> Result<Option<CheckpointFolder>> {
        let mut all = self.list()?;
        let name = std::fs::read_to_string(self.root.join(LATEST)).unwrap_or_default();
        match step_of(name.trim()).and_then(|step| all.iter().position(|checkpoint| checkpoint.step == step)) {
            Some(index) => Ok(Some(all.swap_remove(index))),
            None => Ok(all.pop()),
        }
    }

    /// An empty folder to write the checkpoint of `step` into; what a killed save left is deleted.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn begin(&self, step: u64) -> Result<PathBuf> {
        std::fs::create_dir_all(&self.root).map_err(Error::io(&self.root))?;
        self.clear_leftovers()?;
        let path = self.root.join(format!("{TEMPORARY}step-{step:08}"));
        std::fs::create_dir(&path).map_err(Error::io(&path))?;
        Ok(path)
    }

    fn clear_leftovers(&self) -> Result<()> {
        let temporary =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY));
        for path in self.entries()?.into_iter().filter(temporary) {
            std::fs::remove_dir_all(&path).map_err(Error::io(&path))?;
        }
        Ok(())
    }

    /// Publishes a written folder as the checkpoint of `step`, and points `latest` at it.
    ///
    /// # Errors
    /// Where a rename or fsync fails.
    pub fn publish(&self, temporary: &Path, step: u64) -> Result<CheckpointFolder> {
        let name = format!("step-{step:08}");
        let path = self.root.join(&name);
        files::sync(temporary)?;
        if path.exists() {
            // Left by a run that was killed before `latest` was updated, or that went on from an earlier checkpoint.
            let aside = self.root.join(format!("{TEMPORARY}replaced-{name}"));
            std::fs::rename(&path, &aside).map_err(Error::io(&path))?;
        }
        std::fs::rename(temporary, &path).map_err(Error::io(&path))?;
        files::sync(&self.root)?;
        shards::commit::write_atomic(self.root.join(LATEST), format!("{name}\n").as_bytes())?;
        self.clear_leftovers()?;
        Ok(CheckpointFolder { path, step })
    }

    /// Names the checkpoint of `step` the best.
    ///
    /// # Errors
    /// Where the name cannot be written.
    pub fn name_best(&self, step: u64) -> Result<()> {
        shards::commit::write_atomic(self.root.join(BEST), format!("step-{step:08}\n").as_bytes())?;
        Ok(())
    }

    /// Deletes all but the newest `keep` checkpoints up to `step`, and the one that `best` names; 0 keeps all.
    ///
    /// # Errors
    /// Where one cannot be deleted.
    pub fn prune(&self, keep: usize, step: u64) -> Result<()> {
        let best = step_of(std::fs::read_to_string(self.root.join(BEST)).unwrap_or_default().trim());
        let spared = |checkpoint: &CheckpointFolder| checkpoint.step <= step && Some(checkpoint.step) != best;
        let older: Vec<_> = self.list()?.into_iter().filter(spared).collect();
        let excess = if keep == 0 { 0 } else { older.len().saturating_sub(keep) };
        for checkpoint in &older[..excess] {
            std::fs::remove_dir_all(&checkpoint.path).map_err(Error::io(&checkpoint.path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(checkpoints: &Checkpoints, step: u64) -> CheckpointFolder {
        let folder = checkpoints.begin(step).unwrap();
        std::fs::write(folder.join("a"), step.to_string()).unwrap();
        checkpoints.publish(&folder, step).unwrap()
    }

    fn steps(checkpoints: &Checkpoints) -> Vec<u64> {
        checkpoints.list().unwrap().iter().map(|checkpoint| checkpoint.step).collect()
    }

    #[test]
    fn latest_follows_the_file_and_falls_back_to_the_newest() {
        let out = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of_run(out.path());
        assert_eq!(checkpoints.latest().unwrap(), None);
        publish(&checkpoints, 5);
        publish(&checkpoints, 10);
        assert_eq!(checkpoints.latest().unwrap().unwrap().step, 10);
        std::fs::write(checkpoints.root().join("latest"), "step-00000005\n").unwrap();
        assert_eq!(checkpoints.latest().unwrap().unwrap().step, 5);
        std::fs::write(checkpoints.root().join("latest"), "nonsense").unwrap();
        assert_eq!(checkpoints.latest().unwrap().unwrap().step, 10);
    }

    #[test]
    fn a_save_killed_half_way_is_not_a_checkpoint_and_is_cleared() {
        let out = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of_run(out.path());
        publish(&checkpoints, 5);
        checkpoints.begin(10).unwrap();
        assert_eq!(steps(&checkpoints), [5]);
        publish(&checkpoints, 10);
        assert_eq!(std::fs::read_dir(checkpoints.root()).unwrap().count(), 3);
    }

    #[test]
    fn a_checkpoint_that_exists_already_is_replaced() {
        let out = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of_run(out.path());
        let first = publish(&checkpoints, 5);
        std::fs::write(first.path.join("stale"), "x").unwrap();
        let second = publish(&checkpoints, 5);
        assert!(!second.path.join("stale").exists());
        assert_eq!(steps(&checkpoints), [5]);
    }

    #[test]
    fn only_the_last_are_kept_when_asked() {
        let out = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of_run(out.path());
        (1..=4).for_each(|step| drop(publish(&checkpoints, step)));
        checkpoints.prune(0, 4).unwrap();
        assert_eq!(steps(&checkpoints), [1, 2, 3, 4]);
        checkpoints.prune(2, 4).unwrap();
        assert_eq!(steps(&checkpoints), [3, 4]);
    }

    #[test]
    fn the_best_is_kept_beside_the_last() {
        let out = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of_run(out.path());
        (1..=5).for_each(|step| drop(publish(&checkpoints, step)));
        checkpoints.name_best(2).unwrap();
        checkpoints.prune(2, 5).unwrap();
        assert_eq!(steps(&checkpoints), [2, 4, 5]);
    }
}
