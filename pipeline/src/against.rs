//! Earlier datasets that a run is compared with (`--against`), as their manifests and configurations tell of them.
//!
//! Of an earlier dataset only `keys/` is read, never its text. Keys are comparable where they were made in the same way,
//! so a dataset with other settings of normalisation, shingles or bands is refused when the run is planned.

use std::fs;
use std::path::{Path, PathBuf};

use schemas::config::{Config, Dedup, DedupMethod};
use schemas::manifest::{FileEntry, Manifest};
use serde::{Deserialize, Serialize};
use shards::dataset::{check_size, manifest_path, read_manifest};

use crate::dedup::settings::Settings;
use crate::error::Error;
use crate::look;
use crate::read::labels::{Label, distinct};
use crate::settings;

/// Folder of match keys in a dataset.
pub const KEYS_DIR: &str = "keys";

/// An earlier dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// Its folder's name, with folders around it where two have the same.
    pub name: String,
    /// What it is.
    pub manifest_hash: String,
    /// Its files of match keys, in order.
    pub files: Vec<KeysFile>,
}

/// A file of `keys/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysFile {
    /// Where it lies.
    pub path: PathBuf,
    /// sha256 of its bytes, by the manifest.
    pub sha256: String,
    /// Documents it holds the keys of.
    pub documents: u64,
}

impl Earlier {
    /// How it stands in `config.toml`.
    pub fn identity(&self) -> String {
        format!("{}@sha256:{}", self.name, self.manifest_hash)
    }
}

/// Opens the datasets of `dedup.against` and refuses those whose keys say nothing about this run's documents.
///
/// # Errors
/// [`Error::Usage`] naming the dataset; what opening a dataset finds wrong.
pub fn open(dedup: &Dedup) -> Result<Vec<Earlier>, Error> {
    if dedup.against.is_empty() {
        return Ok(Vec::new());
    }
    if dedup.method == DedupMethod::None {
        return Err(refused("looking for documents of earlier datasets needs --dedup exact or minhash".to_owned(), ""));
    }
    let folders = dedup.against.iter().map(|folder| real_folder(folder)).collect::<Result<Vec<_>, _>>()?;
    let names = distinct(folders.iter().map(|folder| Label::new(folder, 1)).collect());
    names.into_iter().zip(&folders).map(|(name, folder)| open_one(name, folder, dedup)).collect()
}

fn real_folder(folder: &str) -> Result<PathBuf, Error> {
    look::require_manifest(Path::new(folder))?;
    let real = fs::canonicalize(folder).map_err(|error| Error::io("open", Path::new(folder), error))?;
    Ok(if real.is_file() { real.parent().map_or(real.clone(), Path::to_path_buf) } else { real })
}

fn open_one(name: String, folder: &Path, dedup: &Dedup) -> Result<Earlier, Error> {
    let manifest = read_manifest(&manifest_path(folder))?;
    let config = settings::load(&folder.join("config.toml"))?;
    refuse_unlike(folder, &config, dedup)?;
    let files = keys_files(&manifest, folder)?;
    let (held, kept) = (files.iter().map(|file| file.documents).sum::<u64>(), manifest.documents.kept);
    if held != kept {
        let detail = format!("{}: expected keys of {kept} documents in keys/, found {held}", folder.display());
        let hint =
            "keys are written by `pipeline run` unless --no-keys or --dedup none is given; make the dataset again";
        return Err(refused(detail, hint));
    }
    Ok(Earlier { name, manifest_hash: manifest.manifest_hash, files })
}

/// The files of keys that a manifest lists; the dataset's other files need not be there.
fn keys_files(manifest: &Manifest, folder: &Path) -> Result<Vec<KeysFile>, Error> {
    let listed = manifest.files.iter();
    let of_keys = listed.filter(|file| file.path.strip_prefix(KEYS_DIR).is_some_and(|rest| rest.starts_with('/')));
    let of_keys: Vec<&FileEntry> = of_keys.collect();
    of_keys.iter().try_for_each(|file| check_size(folder, file))?;
    let file = |file: &&FileEntry| KeysFile {
        path: folder.join(&file.path),
        sha256: file.sha256.clone(),
        documents: file.documents.unwrap_or_default(),
    };
    let mut files: Vec<KeysFile> = of_keys.iter().map(file).collect();
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

/// Keys made in another way never meet those of this run.
fn refuse_unlike(folder: &Path, config: &Config, dedup: &Dedup) -> Result<(), Error> {
    let folder = folder.display();
    let sorted = |dedup: &Dedup| {
        let mut names: Vec<String> = dedup.normalize.iter().map(|step| format!("{step:?}").to_lowercase()).collect();
        names.sort();
        names.dedup();
        if names.is_empty() { "nothing".to_owned() } else { names.join(",") }
    };
    let (own, theirs) = (sorted(dedup), sorted(&config.dedup));
    if own != theirs {
        let detail = format!("{folder}: expected exact duplicates that may differ in {own}, found {theirs}");
        return Err(refused(detail, "give --normalize as that dataset has it in its config.toml"));
    }
    let Some(near) = Settings::from_config(dedup)?.near else { return Ok(()) };
    let Some(theirs) = Settings::from_config(&config.dedup)?.near else {
        let detail = format!("{folder}: expected keys of near-duplicates, found those of exact ones alone");
        return Err(refused(detail, "make that dataset with --dedup minhash, or run with --dedup exact"));
    };
    let shape = |near: &crate::dedup::settings::Near| {
        format!("shingles of {} units, {} bands of {} rows", near.shingle_units, near.bands.bands, near.bands.rows)
    };
    let (own, theirs) = (shape(&near), shape(&theirs));
    if own == theirs {
        return Ok(());
    }
    let detail = format!("{folder}: expected {own}; found {theirs}");
    Err(refused(detail, "give --threshold and --shingle as that dataset has them in its config.toml"))
}

fn refused(detail: String, hint: &str) -> Error {
    Error::usage("--against", detail, hint)
}
