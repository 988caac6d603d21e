//! A committed dataset: `manifest.json`, and the files it lists.
//!
//! Opening checks what is cheap (the manifest's own hash, every count against every other, every size, every index
//! header), so that a reader never computes with a dataset that does not fit together; checksums are
//! [`crate::verify`]'s. Shards are opened one by one: a trillion tokens are more shards than a process may have open.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use schemas::FORMAT_VERSION;
use schemas::manifest::{FileEntry, MANIFEST_FILE, Manifest, Split};
use serde_json::Value;

use crate::commit::{FileDigest, hash_file, sha256_hex, write_atomic};
use crate::error::Error;
use crate::shard::{ShardReader, bin_path, idx_path};

/// Folder of the rows that were kept.
pub const DATA_DIR: &str = "data";
/// Folder of the lines that were not.
pub const REJECTS_DIR: &str = "rejects";
/// Largest manifest read: a million inputs take about 200 MB.
pub const MANIFEST_BYTES_MAX: u64 = 1 << 30;

/// A dataset whose parts fit together.
#[derive(Debug, Clone)]
pub struct Dataset {
    dir: PathBuf,
    manifest: Arc<Manifest>,
}

impl Dataset {
    /// Opens a dataset by its manifest or its folder; checks everything but checksums.
    ///
    /// # Errors
    /// The first part that does not fit: see [`Error`].
    pub fn open(path: &Path) -> Result<Dataset, Error> {
        let path = manifest_path(path);
        let manifest = read_manifest(&path)?;
        first_error(inconsistencies(&path, &manifest))?;
        let dataset = Dataset { dir: path.parent().unwrap_or(Path::new("")).to_owned(), manifest: Arc::new(manifest) };
        dataset.manifest.files.iter().try_for_each(|file| check_size(&dataset.dir, file))?;
        for split in Split::ALL {
            (0..dataset.shard_count(split)).try_for_each(|number| dataset.shard(split, number).map(drop))?;
        }
        Ok(dataset)
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The folder; paths in the manifest are relative to it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Shards of a side.
    pub fn shard_count(&self, split: Split) -> usize {
        self.manifest.splits.get(split).shards.len()
    }

    /// Tokens of each shard of a side, in order.
    pub fn shard_tokens(&self, split: Split) -> Vec<u64> {
        let shards = &self.manifest.splits.get(split).shards;
        shards.iter().map(|shard| self.manifest.file(shard).and_then(|file| file.tokens).unwrap_or_default()).collect()
    }

    /// Opens a shard of a side by its position.
    ///
    /// # Errors
    /// As [`ShardReader::open`]; [`Error::OutOfShard`] beyond the last; [`Error::Count`] and
    /// [`Error::DtypeMismatch`] where it is not what the manifest says.
    pub fn shard(&self, split: Split, number: usize) -> Result<ShardReader, Error> {
        let shards = &self.manifest.splits.get(split).shards;
        let bin_path = shards.get(number).ok_or_else(|| Error::OutOfShard {
            path: self.dir.join(MANIFEST_FILE),
            place: "a shard number",
            expected: shards.len() as u64,
            found: number as u64,
        })?;
        let shard = ShardReader::open(&self.dir, bin_path)?;
        check_shard(&self.manifest, bin_path, &shard)?;
        Ok(shard)
    }

    /// Opens the shards of a side one after the other.
    pub fn shards(&self, split: Split) -> impl Iterator<Item = Result<ShardReader, Error>> + '_ {
        (0..self.shard_count(split)).map(move |number| self.shard(split, number))
    }

    /// Parquet files of a side, in row order.
    pub fn data_files(&self, split: Split) -> impl Iterator<Item = &FileEntry> {
        data_files(&self.manifest, split)
    }

    /// Parquet files of the lines that were not kept, in input order.
    pub fn reject_files(&self) -> impl Iterator<Item = &FileEntry> {
        reject_files(&self.manifest)
    }
}

/// Entries of `data/SPLIT-*.parquet`, in row order.
pub fn data_files(manifest: &Manifest, split: Split) -> impl Iterator<Item = &FileEntry> {
    parquet_files(manifest, format!("{DATA_DIR}/{}-", split.name()))
}

/// Entries of `rejects/*.parquet`, in input order.
pub fn reject_files(manifest: &Manifest) -> impl Iterator<Item = &FileEntry> {
    parquet_files(manifest, format!("{REJECTS_DIR}/"))
}

fn parquet_files(manifest: &Manifest, prefix: String) -> impl Iterator<Item = &FileEntry> {
    manifest.files.iter().filter(move |file| file.path.starts_with(&prefix) && file.path.ends_with(".parquet"))
}

/// The path of the manifest, given it or its folder.
pub fn manifest_path(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(MANIFEST_FILE) } else { path.to_owned() }
}

/// Reads a manifest and checks its version and its own hash, nothing else.
///
/// # Errors
/// [`Error::Io`], [`Error::ManifestSize`], [`Error::ManifestSyntax`], [`Error::FormatVersion`],
/// [`Error::ManifestHash`].
pub fn read_manifest(path: &Path) -> Result<Manifest, Error> {
    let (manifest, tampered) = parse_manifest(path)?;
    tampered.map_or(Ok(manifest), Err)
}

/// As [`read_manifest`], but a hash that does not hold is handed out beside the manifest.
pub(crate) fn parse_manifest(path: &Path) -> Result<(Manifest, Option<Error>), Error> {
    let bytes = read_capped(path)?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| syntax(path, &error))?;
    check_version(path, &value)?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| syntax(path, &error))?;
    // Over the JSON, not over the parsed type: a manifest of a later minor version has fields this one lacks.
    let expected = hash_without_itself(value);
    let found = manifest.manifest_hash.clone();
    let tampered = (found != expected).then(|| Error::ManifestHash { path: path.to_owned(), expected, found });
    Ok((manifest, tampered))
}

fn read_capped(path: &Path) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let found = file.metadata().map_err(Error::io(path, "stat"))?.len();
    if found > MANIFEST_BYTES_MAX {
        return Err(Error::ManifestSize { path: path.to_owned(), expected: MANIFEST_BYTES_MAX, found });
    }
    let mut bytes = Vec::new();
    file.take(MANIFEST_BYTES_MAX).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
    Ok(bytes)
}

fn syntax(path: &Path, error: &serde_json::Error) -> Error {
    Error::ManifestSyntax {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
        found: error.to_string(),
    }
}

/// Before the fields are looked at: a later major version may have others.
fn check_version(path: &Path, value: &Value) -> Result<(), Error> {
    let found = value.get("format_version").and_then(Value::as_u64).unwrap_or_default();
    if found > u64::from(FORMAT_VERSION) {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        return Err(Error::FormatVersion { path: path.to_owned(), expected: FORMAT_VERSION, found });
    }
    Ok(())
}

fn hash_without_itself(mut value: Value) -> String {
    if let Some(hash) = value.get_mut("manifest_hash") {
        *hash = Value::String(String::new());
    }
    sha256_hex(value.to_string().as_bytes())
}

/// Commits a dataset: writes its manifest, with the manifest's own hash, as the last file.
///
/// # Errors
/// What [`Dataset::open`] would find wrong with its counts, before anything is written; [`Error::Io`].
pub fn write_manifest(dir: &Path, mut manifest: Manifest) -> Result<FileDigest, Error> {
    let path = dir.join(MANIFEST_FILE);
    first_error(inconsistencies(&path, &manifest))?;
    manifest.manifest_hash = sha256_hex(&manifest.hashed_bytes());
    let mut bytes = serde_json::to_vec_pretty(&manifest).map_err(|error| syntax(&path, &error))?;
    bytes.push(b'\n');
    write_atomic(path, &bytes)
}

fn first_error(errors: Vec<Error>) -> Result<(), Error> {
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// Everything in a manifest that contradicts itself; no file is looked at.
pub fn inconsistencies(path: &Path, manifest: &Manifest) -> Vec<Error> {
    let mut errors = Vec::new();
    if let Err(source) = manifest.ledger.balance() {
        errors.push(Error::Ledger { path: path.to_owned(), source });
    }
    errors.extend(document_count_errors(path, manifest));
    errors.extend(path_errors(path, manifest));
    for split in Split::ALL {
        errors.extend(shard_list_errors(path, manifest, split));
        errors.extend(split_count_errors(path, manifest, split));
    }
    errors
}

fn count_error(path: &Path, place: impl Into<String>, expected: u64, found: u64) -> Option<Error> {
    let error = || Error::Count { path: path.to_owned(), place: place.into(), expected, found };
    (expected != found).then(error)
}

fn document_count_errors(path: &Path, manifest: &Manifest) -> impl Iterator<Item = Error> {
    let (documents, splits) = (&manifest.documents, &manifest.splits);
    let origins = documents.kept.saturating_add(documents.repeated).saturating_add(documents.generated);
    let sides = splits.train.documents.saturating_add(splits.val.documents);
    let lines = manifest.inputs.iter().fold(0u64, |sum, input| sum.saturating_add(input.lines));
    let counts = [
        count_error(path, "documents.kept against ledger.kept", manifest.ledger.kept, documents.kept),
        count_error(path, "documents.total against kept + repeated + generated", origins, documents.total),
        count_error(path, "documents of both splits against documents.total", documents.total, sides),
        count_error(path, "lines of all inputs against ledger.lines", manifest.ledger.lines, lines),
    ];
    counts.into_iter().flatten()
}

fn path_errors(path: &Path, manifest: &Manifest) -> Vec<Error> {
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    for file in &manifest.files {
        let (path, found) = (path.to_owned(), file.path.clone());
        if !is_inside(&file.path) {
            errors.push(Error::UnsafePath { path, found });
        } else if !seen.insert(file.path.as_str()) {
            errors.push(Error::ListedTwice { path, found });
        }
    }
    errors
}

/// Whether a path stays in the folder it is relative to, on any system, and does not name the manifest.
pub(crate) fn is_inside(path: &str) -> bool {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    plain && !path.is_empty() && !path.contains(['\\', '\0']) && path != MANIFEST_FILE
}

fn shard_list_errors(path: &Path, manifest: &Manifest, split: Split) -> Vec<Error> {
    let mut errors = Vec::new();
    for (number, found) in (0u32..).zip(&manifest.splits.get(split).shards) {
        let expected = bin_path(split, number);
        if *found != expected {
            let (path, place) = (path.to_owned(), format!("{} {number}", split.name()));
            errors.push(Error::ShardName { path, place, expected, found: found.clone() });
            continue;
        }
        let needed = [idx_path(found), expected];
        let missing = needed.into_iter().filter(|needed| manifest.file(needed).is_none());
        errors.extend(missing.map(|expected| Error::NotListed { path: path.to_owned(), expected }));
    }
    errors
}

fn split_count_errors(path: &Path, manifest: &Manifest, split: Split) -> Vec<Error> {
    let (side, name) = (manifest.splits.get(split), split.name());
    let shards: Vec<&FileEntry> = side.shards.iter().filter_map(|shard| manifest.file(shard)).collect();
    let data: Vec<&FileEntry> = data_files(manifest, split).collect();
    let documents = |files: &[&FileEntry]| files.iter().filter_map(|file| file.documents).fold(0, u64::saturating_add);
    let tokens = shards.iter().filter_map(|file| file.tokens).fold(0, u64::saturating_add);
    let bytes = shards.iter().map(|file| file.bytes).fold(0, u64::saturating_add);
    let token_bytes = manifest.dtype.token_bytes() as u64;
    let mut errors = vec![
        count_error(path, format!("documents of {name} shards"), side.documents, documents(&shards)),
        count_error(path, format!("tokens of {name} shards"), side.tokens, tokens),
        count_error(path, format!("bytes of {name} shards"), side.tokens.saturating_mul(token_bytes), bytes),
    ];
    if !data.is_empty() {
        errors.push(count_error(path, format!("rows of {name} data files"), side.documents, documents(&data)));
    }
    errors.into_iter().flatten().collect()
}

/// Checks that a listed file has its size.
///
/// # Errors
/// [`Error::Io`] where it is absent, [`Error::FileSize`].
pub fn check_size(dir: &Path, file: &FileEntry) -> Result<(), Error> {
    let path = dir.join(&file.path);
    let found = fs::metadata(&path).map_err(Error::io(&path, "stat"))?.len();
    if found != file.bytes {
        return Err(Error::FileSize { path, expected: file.bytes, found });
    }
    Ok(())
}

/// Checks that a listed file has its bytes; reads all of it.
///
/// # Errors
/// [`Error::Io`], [`Error::FileHash`].
pub fn check_hash(dir: &Path, file: &FileEntry) -> Result<(), Error> {
    let path = dir.join(&file.path);
    let found = hash_file(&path)?.sha256;
    if found != file.sha256 {
        return Err(Error::FileHash { path, expected: file.sha256.clone(), found });
    }
    Ok(())
}

/// Checks a shard's index against the manifest.
pub(crate) fn check_shard(manifest: &Manifest, bin_path: &str, shard: &ShardReader) -> Result<(), Error> {
    let path = shard.index().path();
    let (expected, found) = (manifest.dtype.name(), shard.dtype().name());
    if expected != found {
        return Err(Error::DtypeMismatch { path: path.to_owned(), expected, found });
    }
    let Some(entry) = manifest.file(bin_path) else {
        return Err(Error::NotListed { path: path.to_owned(), expected: bin_path.to_owned() });
    };
    let documents = count_error(path, "documents", entry.documents.unwrap_or_default(), shard.documents());
    let tokens = count_error(path, "tokens", entry.tokens.unwrap_or_default(), shard.tokens());
    documents.or(tokens).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{TRAIN_SHARDS, committed, uncommitted};

    /// Commits a fixture with a manifest changed after the check, as a damaged or forged one would be.
    fn opened(change: impl FnOnce(&mut Manifest)) -> Result<Dataset, Error> {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = uncommitted(folder.path());
        change(&mut manifest);
        manifest.manifest_hash = sha256_hex(&manifest.hashed_bytes());
        fs::write(folder.path().join(MANIFEST_FILE), serde_json::to_vec(&manifest).unwrap()).unwrap();
        Dataset::open(folder.path())
    }

    fn with_text(change: impl FnOnce(String) -> String) -> Result<Dataset, Error> {
        let folder = tempfile::tempdir().unwrap();
        committed(folder.path());
        let path = folder.path().join(MANIFEST_FILE);
        let text = change(fs::read_to_string(&path).unwrap());
        fs::write(&path, text).unwrap();
        Dataset::open(&path)
    }

    #[test]
    fn a_dataset_opens_by_its_folder_and_by_its_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = committed(folder.path());
        let dataset = Dataset::open(&folder.path().join(MANIFEST_FILE)).unwrap();
        assert_eq!(dataset.dir(), Dataset::open(folder.path()).unwrap().dir());
        assert_eq!(dataset.shards(Split::Train).map(|shard| shard.unwrap().documents()).sum::<u64>(), 160);
        assert_eq!(dataset.shard_tokens(Split::Train).iter().sum::<u64>(), manifest.splits.train.tokens);
        assert_eq!(dataset.shard_tokens(Split::Train).len(), TRAIN_SHARDS as usize);
        assert_eq!((dataset.data_files(Split::Train).count(), dataset.reject_files().count()), (2, 1));
    }

    #[test]
    fn the_manifest_written_has_its_own_hash_and_ends_with_a_newline() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = committed(folder.path());
        let text = fs::read_to_string(folder.path().join(MANIFEST_FILE)).unwrap();
        assert!(text.starts_with("{\n  \"format_version\"") && text.ends_with("}\n"));
        let read = read_manifest(&folder.path().join(MANIFEST_FILE)).unwrap();
        assert_eq!(read.manifest_hash, sha256_hex(&manifest.hashed_bytes()));
    }

    #[test]
    fn a_manifest_whose_counts_differ_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = uncommitted(folder.path());
        manifest.ledger.kept += 1;
        assert!(matches!(write_manifest(folder.path(), manifest), Err(Error::Ledger { .. })));
        assert!(!folder.path().join(MANIFEST_FILE).exists());
    }

    #[test]
    fn a_manifest_cut_short() {
        let result = with_text(|text| text[..text.len() / 2].to_owned());
        assert!(matches!(result, Err(Error::ManifestSyntax { line, .. }) if line > 1));
    }

    #[test]
    fn a_manifest_changed_by_hand() {
        let result = with_text(|text| text.replace("\"complete\": true", "\"complete\": false"));
        assert!(matches!(result, Err(Error::ManifestHash { .. })));
    }

    #[test]
    fn a_field_of_a_later_minor_version_is_hashed_though_not_known() {
        let folder = tempfile::tempdir().unwrap();
        committed(folder.path());
        let path = folder.path().join(MANIFEST_FILE);
        let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        value["later"] = Value::from(1);
        value["manifest_hash"] = Value::from(hash_without_itself(value.clone()));
        fs::write(&path, value.to_string()).unwrap();
        Dataset::open(&path).unwrap();
        value["later"] = Value::from(2);
        fs::write(&path, value.to_string()).unwrap();
        assert!(matches!(Dataset::open(&path), Err(Error::ManifestHash { .. })));
    }

    #[test]
    fn a_later_format_is_refused_before_its_fields_are_looked_at() {
        let result = with_text(|_| "{\"format_version\": 2, \"new\": true}".to_owned());
        assert!(matches!(result, Err(Error::FormatVersion { expected: 1, found: 2, .. })));
    }

    #[test]
    fn a_ledger_that_does_not_balance() {
        assert!(matches!(opened(|manifest| manifest.ledger.blank += 1), Err(Error::Ledger { .. })));
    }

    #[test]
    fn documents_that_are_not_those_kept() {
        let result = opened(|manifest| {
            manifest.documents.kept -= 1;
            manifest.documents.repeated += 1;
        });
        assert!(matches!(result, Err(Error::Count { expected: 200, found: 199, .. })));
    }

    #[test]
    fn inputs_with_other_lines_than_the_ledger() {
        assert!(matches!(opened(|manifest| manifest.inputs[0].lines = 0), Err(Error::Count { found: 0, .. })));
    }

    #[test]
    fn a_split_with_other_tokens_than_its_shards() {
        let result = opened(|manifest| manifest.splits.val.tokens += 1);
        assert!(matches!(result, Err(Error::Count { place, .. }) if place == "tokens of val shards"));
    }

    #[test]
    fn a_data_file_with_other_rows_than_its_split() {
        let result = opened(|manifest| {
            let file = manifest.files.iter_mut().find(|file| file.path.starts_with("data/val")).unwrap();
            file.documents = Some(39);
        });
        assert!(matches!(result, Err(Error::Count { place, .. }) if place == "rows of val data files"));
    }

    #[test]
    fn a_path_that_leaves_the_dataset() {
        for path in ["../x", "/x", "a/../../x", "./x", "a\\x", "", "manifest.json"] {
            let result = opened(|manifest| manifest.files[0].path = path.to_owned());
            assert!(matches!(&result, Err(Error::UnsafePath { found, .. }) if found == path), "{path}: {result:?}");
        }
    }

    #[test]
    fn a_file_listed_twice() {
        let result = opened(|manifest| manifest.files.push(manifest.files[0].clone()));
        assert!(matches!(result, Err(Error::ListedTwice { .. })));
    }

    #[test]
    fn a_shard_whose_index_is_not_listed() {
        let result = opened(|manifest| manifest.files.retain(|file| file.path != "tokens/val-00000.idx"));
        assert!(matches!(result, Err(Error::NotListed { expected, .. }) if expected == "tokens/val-00000.idx"));
    }

    #[test]
    fn shards_out_of_order() {
        let result = opened(|manifest| manifest.splits.train.shards.swap(0, 1));
        assert!(matches!(result, Err(Error::ShardName { .. })));
    }

    #[test]
    fn a_file_that_is_gone() {
        let result =
            opened(|manifest| manifest.files.push(FileEntry { path: "gone".into(), ..manifest.files[0].clone() }));
        assert!(matches!(result, Err(Error::Io { path, .. }) if path.ends_with("gone")));
    }

    #[test]
    fn a_file_of_another_size() {
        let result = opened(|manifest| manifest.files.last_mut().unwrap().bytes = 8);
        assert!(matches!(result, Err(Error::FileSize { expected: 8, found: 7, .. })));
    }

    #[test]
    fn a_file_of_other_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = committed(folder.path());
        let file = manifest.file("config.toml").unwrap();
        check_hash(folder.path(), file).unwrap();
        fs::write(folder.path().join("config.toml"), b"[reed]\n").unwrap();
        check_size(folder.path(), file).unwrap();
        assert!(matches!(check_hash(folder.path(), file), Err(Error::FileHash { .. })));
    }

    #[test]
    fn a_manifest_too_large_to_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MANIFEST_FILE);
        File::create(&path).unwrap().set_len(MANIFEST_BYTES_MAX + 1).unwrap();
        let found_expected = MANIFEST_BYTES_MAX + 1;
        assert!(matches!(Dataset::open(&path), Err(Error::ManifestSize { found, .. }) if found == found_expected));
    }

    #[test]
    fn a_width_that_is_not_the_shards() {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = committed(folder.path());
        let shard = Dataset::open(folder.path()).unwrap().shard(Split::Val, 0).unwrap();
        manifest.dtype = schemas::dtype::Dtype::U32;
        let result = check_shard(&manifest, "tokens/val-00000.bin", &shard);
        assert!(matches!(result, Err(Error::DtypeMismatch { expected: "u32", found: "u16", .. })), "{result:?}");
    }

    #[test]
    fn a_shard_with_other_documents_than_listed() {
        let result = opened(|manifest| {
            for (path, documents) in [("tokens/train-00000.bin", 39), ("tokens/train-00001.bin", 41)] {
                let file = manifest.files.iter_mut().find(|file| file.path == path).unwrap();
                file.documents = Some(documents);
            }
        });
        assert!(matches!(result, Err(Error::Count { expected: 39, found: 40, .. })));
    }
}
