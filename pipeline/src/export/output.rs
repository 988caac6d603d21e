//! The folder an export writes to: nothing is replaced unasked, and nothing of an earlier export stays beside a new
//! one, because readers of these formats glob.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use shards::commit::AtomicFile;
use shards::dataset::Dataset;

use super::{Error, Request};

/// A name, or a family of names with a number in it, relative to the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    before: String,
    after: Option<String>,
}

impl Pattern {
    /// This name alone.
    pub fn exact(name: &str) -> Pattern {
        Pattern { before: name.to_owned(), after: None }
    }

    /// `before`, digits, `after`.
    pub fn numbered(before: &str, after: &str) -> Pattern {
        Pattern { before: before.to_owned(), after: Some(after.to_owned()) }
    }

    fn matches(&self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(&self.before) else { return false };
        match &self.after {
            None => rest.is_empty(),
            Some(after) => rest
                .strip_suffix(after.as_str())
                .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())),
        }
    }

    fn folder(&self) -> &str {
        self.before.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WrittenFile {
    /// Path relative to the folder.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// sha256 of its bytes.
    pub sha256: String,
}

/// What an export wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Documents written.
    pub documents: u64,
    /// Tokens written; 0 for text formats.
    pub tokens: u64,
    /// The files, in the order in which they were committed.
    pub files: Vec<WrittenFile>,
    /// What a person should know about them.
    pub notes: Vec<String>,
}

/// The folder an export writes to.
#[derive(Debug)]
pub struct Output {
    folder: PathBuf,
    written: Written,
}

impl Output {
    /// Makes the folder, and with `--force` deletes what is there of this format.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::IntoDataset`], [`Error::Io`].
    pub(super) fn open(dataset: &Dataset, request: &Request, patterns: Vec<Pattern>) -> Result<Output, Error> {
        let folder = request.out.clone();
        fs::create_dir_all(&folder).map_err(|error| Error::io(&folder, "create folder", error))?;
        if same(&folder, dataset.dir()) {
            return Err(Error::IntoDataset { path: folder });
        }
        for name in existing(&folder, &patterns)? {
            let path = folder.join(name);
            if !request.force {
                return Err(Error::Exists { path });
            }
            fs::remove_file(&path).map_err(|error| Error::io(&path, "delete", error))?;
        }
        Ok(Output { folder, written: Written::default() })
    }

    /// Starts a file of the folder.
    ///
    /// # Errors
    /// [`Error::Shards`] with the system's refusal.
    pub fn create(&self, name: &str) -> Result<AtomicFile, Error> {
        Ok(AtomicFile::create(self.folder.join(name))?)
    }

    /// Commits a file made by [`Output::create`].
    ///
    /// # Errors
    /// [`Error::Shards`] with the system's refusal.
    pub fn commit(&mut self, name: &str, file: AtomicFile) -> Result<u64, Error> {
        let digest = file.commit()?;
        self.written.files.push(WrittenFile { path: name.to_owned(), bytes: digest.bytes, sha256: digest.sha256 });
        Ok(digest.bytes)
    }

    /// Commits a small file whole.
    ///
    /// # Errors
    /// [`Error::Shards`] with the system's refusal.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut file = self.create(name)?;
        file.append(bytes)?;
        self.commit(name, file).map(drop)
    }

    /// Counts what went into the files.
    pub fn count(&mut self, documents: u64, tokens: u64) {
        self.written.documents += documents;
        self.written.tokens += tokens;
    }

    /// Adds what a person should know.
    pub fn note(&mut self, note: impl Into<String>) {
        self.written.notes.push(note.into());
    }

    /// What was written.
    pub(super) fn finish(self) -> Written {
        self.written
    }
}

fn same(left: &Path, right: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    real(left).is_some_and(|left| Some(left) == real(right))
}

fn existing(folder: &Path, patterns: &[Pattern]) -> Result<Vec<String>, Error> {
    let mut folders: Vec<&str> = patterns.iter().map(Pattern::folder).collect();
    folders.sort_unstable();
    folders.dedup();
    let mut found = Vec::new();
    for inner in folders {
        let path = folder.join(inner);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.map_err(|error| Error::io(&path, "list", error))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| Error::io(&path, "list", error))?;
            let file_name = entry.file_name();
            let file_name = file_name.to_string_lossy();
            let name = if inner.is_empty() { file_name.into_owned() } else { format!("{inner}/{file_name}") };
            if patterns.iter().any(|pattern| pattern.matches(&name)) {
                found.push(name);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_of_names_has_a_number_and_nothing_else_in_it() {
        let pattern = Pattern::numbered("train/shard.", ".mds");
        assert!(pattern.matches("train/shard.00012.mds"));
        assert!(!pattern.matches("train/shard..mds"));
        assert!(!pattern.matches("train/shard.old.mds"));
        assert!(!pattern.matches("val/shard.00012.mds"));
        assert!(Pattern::exact("train.bin").matches("train.bin"));
        assert!(!Pattern::exact("train.bin").matches("train.bin.old"));
    }
}
