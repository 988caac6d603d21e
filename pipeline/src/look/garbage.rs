//! What lies in a dataset folder without being part of the dataset: temporary files of writers that died, task files
//! of a run that is over, shards of a run that was abandoned.
//!
//! Only what a run makes is ever touched: temporary names, the folders and the top-level names of a dataset. A file
//! of another name at the top is somebody's, and is left and named.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use schemas::manifest::{MANIFEST_FILE, Manifest};
use serde::Serialize;
use shards::commit::is_temporary;

use super::Error;
use crate::engine::lock::{FolderLock, Sharing};

/// Folders that a run makes in a dataset.
const FOLDERS: [&str; 6] = ["tokens", "data", "rejects", "duplicates", "keys", RUN];
/// Files that a run makes at the top of a dataset.
const FILES: [&str; 6] =
    ["config.toml", "tokenizer.json", "tokenizer_config.json", "README.md", "report.html", "report.json"];
const RUN: &str = "run";
const LOCK: &str = "lock";
/// How the run of a committed dataset went; worth keeping though no manifest lists it.
const RUN_REPORT: &str = "run.json";

/// A file that no manifest lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stray {
    /// Path relative to the dataset folder.
    pub path: PathBuf,
    /// Its size; 0 for a link.
    pub bytes: u64,
}

/// What `pipeline clean` would delete and what it leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// Files to delete, by path.
    pub files: Vec<Stray>,
    /// Names at the top that no run makes; they stay.
    pub left: Vec<PathBuf>,
}

impl Garbage {
    /// Bytes of the files to delete.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Whether a folder without a manifest is that of a run that began here.
pub fn is_unfinished_run(folder: &Path) -> bool {
    !folder.join(MANIFEST_FILE).exists() && folder.join(RUN).join("plan.json").exists()
}

/// Finds what the manifest does not list, but for the run's report; without a manifest, everything that a run makes.
///
/// # Errors
/// [`Error::Io`].
pub fn find(folder: &Path, manifest: Option<&Manifest>) -> Result<Garbage, Error> {
    let listed: BTreeSet<&Path> =
        manifest.iter().flat_map(|manifest| manifest.files.iter().map(|file| Path::new(&file.path))).collect();
    let mut garbage = Garbage::default();
    for entry in entries(folder)? {
        let name = PathBuf::from(entry.file_name());
        let path = folder.join(&name);
        let is_folder = kind(&path)?.is_dir();
        if is_folder && FOLDERS.iter().any(|known| name == Path::new(known)) {
            walk(folder, &name, &listed, &mut garbage.files)?;
        } else if listed.contains(name.as_path()) || name == Path::new(MANIFEST_FILE) {
            continue;
        } else if !is_folder && (is_temporary(name.as_os_str()) || FILES.iter().any(|known| name == Path::new(known))) {
            garbage.files.push(stray(&path, name)?);
        } else {
            garbage.left.push(name);
        }
    }
    let keep = |path: &Path| {
        path == Path::new(RUN).join(LOCK) || (manifest.is_some() && path == Path::new(RUN).join(RUN_REPORT))
    };
    garbage.files.retain(|file| !keep(&file.path));
    garbage.files.sort_by(|left, right| left.path.cmp(&right.path));
    garbage.left.sort();
    Ok(garbage)
}

fn walk(folder: &Path, relative: &Path, listed: &BTreeSet<&Path>, files: &mut Vec<Stray>) -> Result<(), Error> {
    for entry in entries(&folder.join(relative))? {
        let relative = relative.join(entry.file_name());
        let path = folder.join(&relative);
        if kind(&path)?.is_dir() {
            walk(folder, &relative, listed, files)?;
        } else if !listed.contains(relative.as_path()) {
            files.push(stray(&path, relative)?);
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, Error> {
    let read = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<fs::DirEntry>, _>>());
    read.map_err(|error| Error::io(folder, "list", error))
}

/// Of the name itself: a link to a folder is a link, and what it leads to is not looked at.
fn kind(path: &Path) -> Result<fs::FileType, Error> {
    fs::symlink_metadata(path).map(|found| found.file_type()).map_err(|error| Error::io(path, "stat", error))
}

fn stray(path: &Path, relative: PathBuf) -> Result<Stray, Error> {
    let found = fs::symlink_metadata(path).map_err(|error| Error::io(path, "stat", error))?;
    Ok(Stray { path: relative, bytes: if found.is_file() { found.len() } else { 0 } })
}

/// Deletes the files found, then the folders that are empty, and the lock last.
///
/// # Errors
/// [`Error::Io`] for the first file that cannot be deleted; those before it are gone.
pub fn delete(folder: &Path, garbage: &Garbage) -> Result<(), Error> {
    for file in &garbage.files {
        let path = folder.join(&file.path);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(&path, "delete", error));
            }
            _ => {}
        }
    }
    let _ = fs::remove_file(folder.join(RUN).join(LOCK)); // a lock nobody holds but us; a stale one does no harm
    for name in FOLDERS {
        remove_empty(&folder.join(name));
    }
    Ok(())
}

/// Removes a folder whose tree holds no file; `remove_dir` refuses any other.
fn remove_empty(folder: &Path) {
    let Ok(entries) = entries(folder) else { return };
    entries
        .iter()
        .map(fs::DirEntry::path)
        .filter(|path| kind(path).is_ok_and(|kind| kind.is_dir()))
        .for_each(|path| remove_empty(&path));
    let _ = fs::remove_dir(folder);
}

/// Takes the lock of a folder's run, if it has one.
///
/// # Errors
/// [`crate::error::Error::Busy`] naming the process that holds it.
pub fn lock(folder: &Path) -> Result<Option<FolderLock>, crate::error::Error> {
    let run = folder.join(RUN);
    if !run.join(LOCK).exists() {
        return Ok(None);
    }
    FolderLock::take(folder, &run, Sharing::Alone).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::testing::{Doc, dataset};

    fn write(folder: &Path, name: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "12345").unwrap();
    }

    fn paths(garbage: &Garbage) -> Vec<&str> {
        garbage.files.iter().map(|file| file.path.to_str().unwrap()).collect()
    }

    #[test]
    fn what_the_manifest_does_not_list_goes_and_the_dataset_stays() {
        let made = dataset(&[Doc::new("a", "one")]);
        let strays = [
            "data/train-00000-of-00009.parquet",
            "manifest.json.tmp-1-2-3",
            "run/read/0.rows",
            "tokens/train-00007.bin",
        ];
        strays.iter().for_each(|name| write(made.path(), name));
        let garbage = find(made.path(), Some(made.open().manifest())).unwrap();
        assert_eq!(paths(&garbage), strays);
        assert_eq!(garbage.bytes(), 20);
        delete(made.path(), &garbage).unwrap();
        assert_eq!(find(made.path(), Some(made.open().manifest())).unwrap(), Garbage::default());
        assert!(!made.path().join("run").exists());
    }

    #[test]
    fn the_report_of_the_run_stays_beside_its_dataset() {
        let made = dataset(&[Doc::new("a", "one")]);
        write(made.path(), "run/run.json");
        assert_eq!(find(made.path(), Some(made.open().manifest())).unwrap().files, []);
        assert_eq!(paths(&find(made.path(), None).unwrap()).last(), Some(&"tokens/train-00000.idx"));
    }

    #[test]
    fn a_file_of_a_name_that_no_run_makes_is_left_and_named() {
        let made = dataset(&[Doc::new("a", "one")]);
        write(made.path(), "notes.txt");
        write(made.path(), "models/weights.bin");
        let garbage = find(made.path(), Some(made.open().manifest())).unwrap();
        assert_eq!(garbage.files, []);
        assert_eq!(garbage.left, [PathBuf::from("models"), PathBuf::from("notes.txt")]);
    }

    #[test]
    fn what_a_link_leads_to_is_not_touched() {
        let made = dataset(&[Doc::new("a", "one")]);
        let elsewhere = tempfile::tempdir().unwrap();
        write(elsewhere.path(), "precious");
        std::os::unix::fs::symlink(elsewhere.path(), made.path().join("tokens/link")).unwrap();
        let garbage = find(made.path(), Some(made.open().manifest())).unwrap();
        assert_eq!(paths(&garbage), ["tokens/link"]);
        delete(made.path(), &garbage).unwrap();
        assert!(elsewhere.path().join("precious").exists());
    }

    #[test]
    fn an_unfinished_run_is_known_by_its_plan() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_unfinished_run(folder.path()));
        write(folder.path(), "run/plan.json");
        assert!(is_unfinished_run(folder.path()));
    }

    #[test]
    fn a_folder_that_a_run_holds_is_refused_and_the_run_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("run")).unwrap();
        assert!(lock(folder.path()).unwrap().is_none());
        let held = FolderLock::take(folder.path(), &folder.path().join("run"), Sharing::Alone).unwrap();
        let error = lock(folder.path()).unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        assert!(lock(folder.path()).unwrap().is_some());
    }
}
