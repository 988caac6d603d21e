//! One run at a time on a dataset folder: a lock the system drops when the process ends, however it ends.
//!
//! `pipeline run` holds it alone; single tasks (`pipeline task`) share it among themselves.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::error::Error;

/// Held for as long as this value lives.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// Whether others may hold the lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody else.
    Alone,
    /// Other single tasks.
    Tasks,
}

impl FolderLock {
    /// Takes the lock `run/lock` of a dataset folder; `run` exists.
    ///
    /// # Errors
    /// [`Error::Busy`] naming the process that holds it.
    pub fn take(dataset: &Path, run: &Path, sharing: Sharing) -> Result<FolderLock, Error> {
        let path = run.join("lock");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(|error| Error::io("open", &path, error))?;
        let operation = match sharing {
            Sharing::Alone => FlockOperation::NonBlockingLockExclusive,
            Sharing::Tasks => FlockOperation::NonBlockingLockShared,
        };
        match flock(&file, operation) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut owner = String::new();
                let _ = file.read_to_string(&mut owner); // a nameless owner is still an owner
                let owner =
                    if owner.trim().is_empty() { "another process".to_owned() } else { owner.trim().to_owned() };
                return Err(Error::Busy { path: dataset.to_owned(), owner });
            }
            Err(error) => return Err(Error::io("lock", &path, error.into())),
        }
        let owner = format!("process {} on {}", std::process::id(), host_name());
        let named = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(owner.as_bytes()));
        named.map_err(|error| Error::io("write", &path, error))?;
        Ok(FolderLock { _file: file })
    }
}

/// Name of this machine, where the system tells it.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "this machine".to_owned() } else { name.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_refused_and_the_first_named() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::take(folder.path(), folder.path(), Sharing::Alone).unwrap();
        let error = FolderLock::take(folder.path(), folder.path(), Sharing::Alone).unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        FolderLock::take(folder.path(), folder.path(), Sharing::Alone).unwrap();
    }
}
