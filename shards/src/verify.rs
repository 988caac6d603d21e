//! Full verification: every checksum, every count, every token of `data/` against the shards, every reject against
//! the ledger. Where [`Dataset::open`](crate::dataset::Dataset::open) stops at the first lie, this lists them all.
//!
//! Files are looked at in parallel, each with a bounded buffer, so memory does not grow with the dataset. A Parquet
//! file is decoded only once its checksum holds: a decoder should not be fed with bytes known to be damaged.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use schemas::manifest::{FileEntry, MANIFEST_FILE, Manifest, Split};
use serde::Serialize;

use crate::commit::{TEMP_MARK, hash_file_with};
use crate::dataset::{
    DATA_DIR, REJECTS_DIR, check_shard, check_size, data_files, inconsistencies, is_inside, manifest_path,
    parse_manifest, reject_files,
};
use crate::error::Error;
use crate::shard::ShardReader;
use crate::tokens::first_outside;

mod rejects;
mod rows;

/// Differences listed of one file; further ones are counted.
pub const DIFFERENCES_PER_FILE_MAX: usize = 20;
/// Unlisted files named in a report.
pub const UNLISTED_MAX: usize = 1_000;

/// One thing that is not as the manifest, or another file, says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The file, relative to the dataset.
    pub path: String,
    /// Where in it, or which of its figures.
    pub place: String,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Difference { path, place, expected, found } = self;
        write!(formatter, "{path}: {place}: expected {expected}, found {found}")
    }
}

/// What [`verify`] saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Files whose checksum was computed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows of `data/` compared with the shards.
    pub rows: u64,
    /// Tokens of those rows.
    pub tokens: u64,
    /// Rows of `rejects/` counted.
    pub rejects: u64,
    /// What differs, by file in manifest order; at most [`DIFFERENCES_PER_FILE_MAX`] of a file.
    pub differences: Vec<Difference>,
    /// How many differences there are, those not listed included.
    pub differences_total: u64,
    /// Files in the folder that the manifest does not list, `run/` aside. They are not part of the dataset, and no
    /// difference; but a glob over the folder finds them.
    pub unlisted: Vec<String>,
}

impl Report {
    /// Whether the dataset is what its manifest says.
    pub fn is_sound(&self) -> bool {
        self.differences_total == 0
    }

    fn add(&mut self, part: Part) {
        self.files += part.files;
        self.bytes += part.bytes;
        self.rows += part.rows;
        self.tokens += part.tokens;
        self.rejects += part.rejects;
        self.differences_total += part.differences_total;
        self.differences.extend(part.differences);
    }
}

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes looked at.
    pub bytes_done: u64,
    /// Bytes to look at; Parquet files count twice, for their checksum and for their rows.
    pub bytes_total: u64,
}

/// What one file, or one kind of check, adds to the report.
#[derive(Debug, Default)]
struct Part {
    files: u64,
    bytes: u64,
    rows: u64,
    tokens: u64,
    rejects: u64,
    differences: Vec<Difference>,
    differences_total: u64,
}

impl Part {
    fn differ(&mut self, path: &str, place: impl ToString, expected: impl ToString, found: impl ToString) {
        self.differences_total += 1;
        if self.differences.len() < DIFFERENCES_PER_FILE_MAX {
            let (path, place) = (path.to_owned(), place.to_string());
            self.differences.push(Difference { path, place, expected: expected.to_string(), found: found.to_string() });
        }
    }

    /// Lists an error met while looking at `path`.
    fn fail(&mut self, path: &str, error: &Error) {
        match error {
            Error::Count { place, expected, found, .. } | Error::IndexSize { place, expected, found, .. } => {
                self.differ(path, place, expected, found);
            }
            Error::FileSize { expected, found, .. } => self.differ(path, "bytes", expected, found),
            Error::BinSize { expected, found, .. } => self.differ(path, "bytes by the index", expected, found),
            Error::FileHash { expected, found, .. } => self.differ(path, "sha256", expected, found),
            Error::ManifestHash { expected, found, .. } => self.differ(path, "manifest_hash", expected, found),
            other => self.differ(path, "content", "a sound file", other),
        }
    }

    fn check(&mut self, path: &str, result: Result<(), Error>) {
        if let Err(error) = result {
            self.fail(path, &error);
        }
    }
}

/// What every check needs.
struct Context<'a> {
    dir: &'a Path,
    manifest: &'a Manifest,
    progress: &'a (dyn Fn(Progress) + Sync),
    bytes_done: AtomicU64,
    bytes_total: u64,
}

impl Context<'_> {
    fn advance(&self, bytes: u64) {
        let bytes_done = self.bytes_done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (self.progress)(Progress { bytes_done, bytes_total: self.bytes_total });
    }
}

/// Verifies a dataset, given its folder or its manifest. `progress` is called from many threads.
///
/// # Errors
/// Only where nothing can be said: no readable manifest ([`Error::Io`], [`Error::ManifestSyntax`],
/// [`Error::FormatVersion`], [`Error::ManifestSize`]), or no threads ([`Error::Threads`]). All else is in the report.
pub fn verify(path: &Path, threads: usize, progress: impl Fn(Progress) + Sync) -> Result<Report, Error> {
    let path = manifest_path(path);
    let (manifest, tampered) = parse_manifest(&path)?;
    let started = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build();
    let pool = started.map_err(|error| Error::Threads { expected: threads, found: error.to_string() })?;
    let dir = path.parent().unwrap_or(Path::new(""));
    let bytes_total = bytes_total(&manifest);
    let context = Context { dir, manifest: &manifest, progress: &progress, bytes_done: AtomicU64::new(0), bytes_total };
    let mut report = Report::default();
    report.add(manifest_part(&path, &manifest, tampered));
    pool.install(|| verify_files(&context, &mut report));
    report.unlisted = unlisted(dir, &manifest);
    Ok(report)
}

fn bytes_total(manifest: &Manifest) -> u64 {
    let twice = Split::ALL.into_iter().flat_map(|split| data_files(manifest, split)).chain(reject_files(manifest));
    manifest.files.iter().chain(twice).map(|file| file.bytes).fold(0, u64::saturating_add)
}

fn manifest_part(path: &Path, manifest: &Manifest, tampered: Option<Error>) -> Part {
    let mut part = Part::default();
    for error in tampered.into_iter().chain(inconsistencies(path, manifest)) {
        part.fail(MANIFEST_FILE, &error);
    }
    for (file, place, expected) in [
        ("config.toml", "config_hash", &manifest.config_hash),
        ("tokenizer.json", "tokenizer.hash", &manifest.tokenizer.hash),
    ] {
        if let Some(entry) = manifest.file(file).filter(|entry| entry.sha256 != *expected) {
            part.differ(MANIFEST_FILE, place, &entry.sha256, expected);
        }
    }
    part
}

/// Checksums first, because they decide what may be decoded; then what the files say of each other.
fn verify_files(context: &Context<'_>, report: &mut Report) {
    let listed: Vec<&FileEntry> = context.manifest.files.iter().filter(|file| is_inside(&file.path)).collect();
    let hashed: Vec<(Part, bool)> = listed.par_iter().map(|file| checksum(context, file)).collect();
    let mut intact = Vec::new();
    for (file, (part, sound)) in listed.iter().zip(hashed) {
        intact.extend(sound.then_some(file.path.as_str()));
        report.add(part);
    }
    let shards: Vec<&String> =
        Split::ALL.iter().flat_map(|split| &context.manifest.splits.get(*split).shards).collect();
    let indexes: Vec<Part> = shards.par_iter().map(|bin_path| index(context, bin_path)).collect();
    indexes.into_iter().for_each(|part| report.add(part));
    intact.sort_unstable();
    let intact = |path: &str| intact.binary_search(&path).is_ok();
    rows::compare(context, &intact).into_iter().for_each(|part| report.add(part));
    report.add(rejects::count(context, &intact));
}

/// Size, sha256, and for shards the range of ids, in one reading. True where size and sha256 hold.
fn checksum(context: &Context<'_>, file: &FileEntry) -> (Part, bool) {
    let mut part = Part::default();
    if let Err(error) = check_size(context.dir, file) {
        part.fail(&file.path, &error);
        return (part, false);
    }
    let is_shard = file.path.ends_with(".bin");
    let digest = hash_file_with(&context.dir.join(&file.path), |offset, piece| {
        if is_shard {
            check_ids(context.manifest, &mut part, &file.path, offset, piece);
        }
        context.advance(piece.len() as u64);
    });
    match digest {
        Ok(digest) => {
            part.files = 1;
            part.bytes = digest.bytes;
            let sound = digest.sha256 == file.sha256;
            if !sound {
                part.differ(&file.path, "sha256", &file.sha256, digest.sha256);
            }
            (part, sound)
        }
        Err(error) => {
            part.fail(&file.path, &error);
            (part, false)
        }
    }
}

fn check_ids(manifest: &Manifest, part: &mut Part, path: &str, byte_offset: u64, piece: &[u8]) {
    let vocab_size = manifest.tokenizer.vocab_size;
    if let Some((token, id)) = first_outside(piece, manifest.dtype, vocab_size) {
        let token = byte_offset / manifest.dtype.token_bytes() as u64 + token;
        part.differ(path, format!("token {token}"), format!("an id below {vocab_size}"), id);
    }
}

/// The structure of an index, and its counts against the manifest.
fn index(context: &Context<'_>, bin_path: &str) -> Part {
    let mut part = Part::default();
    if !is_inside(bin_path) {
        return part;
    }
    match ShardReader::open(context.dir, bin_path) {
        Ok(shard) => {
            let idx_path = crate::shard::idx_path(bin_path);
            part.check(&idx_path, check_shard(context.manifest, bin_path, &shard));
            part.check(&idx_path, shard.index().validate());
        }
        Err(error) => part.fail(bin_path, &error),
    }
    part
}

fn unlisted(dir: &Path, manifest: &Manifest) -> Vec<String> {
    let mut listed: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    listed.push(MANIFEST_FILE);
    listed.sort_unstable();
    let mut found = Vec::new();
    for folder in ["", "tokens", DATA_DIR, REJECTS_DIR, "duplicates", "keys"] {
        let Ok(entries) = fs::read_dir(dir.join(folder)) else { continue };
        for entry in entries.flatten().filter(|entry| entry.path().is_file()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if listed.binary_search(&path.as_str()).is_err() && !path.contains(TEMP_MARK) && found.len() < UNLISTED_MAX
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::{hash_file, write_atomic};
    use crate::dataset::{Dataset, write_manifest};
    use crate::fixture::{committed, rows, uncommitted, write_data, write_rejects};

    fn report(dir: &Path) -> Report {
        verify(dir, 2, |_| ()).unwrap()
    }

    /// Changes a file and commits its new checksum, so that only its content lies.
    fn relist(dir: &Path, mut manifest: Manifest, entry: FileEntry) {
        let listed = manifest.files.iter_mut().find(|file| file.path == entry.path).unwrap();
        *listed = FileEntry { documents: listed.documents, tokens: listed.tokens, ..entry };
        write_manifest(dir, manifest).unwrap();
    }

    fn flip(dir: &Path, path: &str, at: usize) -> FileEntry {
        let mut bytes = fs::read(dir.join(path)).unwrap();
        bytes[at] ^= 1;
        let digest = write_atomic(dir.join(path), &bytes).unwrap();
        FileEntry { path: path.into(), bytes: digest.bytes, documents: None, tokens: None, sha256: digest.sha256 }
    }

    #[test]
    fn a_sound_dataset_has_no_differences_and_everything_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = committed(folder.path());
        let report = report(folder.path());
        assert_eq!(report.differences, []);
        assert_eq!(report.files, manifest.files.len() as u64);
        assert_eq!(report.rows, manifest.documents.total);
        assert_eq!(report.tokens, manifest.splits.train.tokens + manifest.splits.val.tokens);
        assert_eq!((report.rejects, report.unlisted.len()), (6, 0));
    }

    #[test]
    fn the_report_does_not_depend_on_threads_and_progress_reaches_the_total() {
        let folder = tempfile::tempdir().unwrap();
        committed(folder.path());
        flip(folder.path(), "tokens/train-00001.bin", 4);
        let most = AtomicU64::new(0);
        let one = verify(folder.path(), 1, |progress| {
            assert!(progress.bytes_done <= progress.bytes_total);
            most.fetch_max(progress.bytes_done * 1000 / progress.bytes_total, Ordering::Relaxed);
        });
        assert_eq!(one.unwrap(), report(folder.path()));
        assert_eq!(most.into_inner(), 1000);
    }

    #[test]
    fn every_damaged_file_is_listed_not_only_the_first() {
        let folder = tempfile::tempdir().unwrap();
        committed(folder.path());
        for path in ["tokens/train-00002.bin", "tokens/val-00000.idx", "data/val-00000-of-00001.parquet", "config.toml"]
        {
            flip(folder.path(), path, 5);
        }
        fs::remove_file(folder.path().join("tokens/train-00000.bin")).unwrap();
        let listed: Vec<(String, String)> =
            report(folder.path()).differences.into_iter().map(|found| (found.path, found.place)).collect();
        for path in ["tokens/train-00002.bin", "tokens/val-00000.idx", "data/val-00000-of-00001.parquet", "config.toml"]
        {
            assert!(listed.contains(&(path.to_owned(), "sha256".to_owned())), "{path} in {listed:?}");
        }
        assert!(listed.contains(&("tokens/train-00000.bin".to_owned(), "content".to_owned())), "{listed:?}");
    }

    #[test]
    fn a_file_cut_short_is_listed_with_both_sizes() {
        let folder = tempfile::tempdir().unwrap();
        committed(folder.path());
        let path = folder.path().join("config.toml");
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(3).unwrap();
        let difference = &report(folder.path()).differences[0];
        assert_eq!(difference.to_string(), "config.toml: bytes: expected 7, found 3");
    }

    #[test]
    fn a_changed_manifest_is_listed_and_the_rest_still_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        committed(folder.path());
        let path = folder.path().join(MANIFEST_FILE);
        let text = fs::read_to_string(&path).unwrap().replace("\"complete\": true", "\"complete\": false");
        fs::write(&path, text).unwrap();
        let report = report(folder.path());
        assert_eq!(report.differences_total, 1);
        assert_eq!(report.differences[0].place, "manifest_hash");
        assert!(report.rows > 0);
    }

    #[test]
    fn a_token_of_a_shard_that_parquet_lacks_is_found_behind_a_true_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = uncommitted(folder.path());
        let entry = flip(folder.path(), "tokens/train-00003.bin", 20);
        relist(folder.path(), manifest, entry);
        Dataset::open(folder.path()).unwrap();
        let report = report(folder.path());
        assert_eq!(report.differences_total, 1);
        let difference = &report.differences[0];
        assert_eq!(difference.path, "data/train-00001-of-00002.parquet");
        assert!(difference.place.contains("tokens"), "{difference}");
    }

    #[test]
    fn a_row_that_names_another_offset_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = uncommitted(folder.path());
        let mut rows = rows(0, 40);
        rows[7].token_offset += 1;
        let entry = write_data(folder.path(), "data/val-00000-of-00001.parquet", &rows);
        relist(folder.path(), manifest, entry);
        let differences = report(folder.path()).differences;
        assert_eq!(differences.len(), 1, "{differences:?}");
        assert_eq!(differences[0].place, "row 7, token_offset");
    }

    #[test]
    fn rows_in_another_order_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = uncommitted(folder.path());
        let mut rows = rows(0, 40);
        rows.swap(3, 4);
        let entry = write_data(folder.path(), "data/val-00000-of-00001.parquet", &rows);
        relist(folder.path(), manifest, entry);
        assert!(report(folder.path()).differences_total >= 2);
    }

    #[test]
    fn a_parquet_file_with_a_row_too_few_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = uncommitted(folder.path());
        let entry = write_data(folder.path(), "data/val-00000-of-00001.parquet", &rows(0, 39));
        relist(folder.path(), manifest, entry);
        let differences = report(folder.path()).differences;
        assert_eq!(differences[0].to_string(), "data/val-00000-of-00001.parquet: rows: expected 40, found 39");
    }

    #[test]
    fn an_id_outside_the_vocabulary_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = uncommitted(folder.path());
        manifest.tokenizer.vocab_size = 250;
        write_manifest(folder.path(), manifest).unwrap();
        let report = report(folder.path());
        assert!(report.differences.iter().all(|found| found.expected == "an id below 250"));
        assert!(!report.is_sound());
    }

    #[test]
    fn a_reject_that_the_ledger_does_not_count_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = uncommitted(folder.path());
        let mut reasons = vec![("dedup", "exact"); 5];
        reasons.push(("read", "depth"));
        let entry = write_rejects(folder.path(), &reasons);
        relist(folder.path(), manifest, entry);
        let listed: Vec<String> = report(folder.path()).differences.iter().map(Difference::to_string).collect();
        assert_eq!(
            listed,
            [
                "rejects: rows of read json_syntax: expected 1, found 0",
                "rejects: rows of stages and rules not in the ledger: expected 0, found 1",
            ]
        );
    }

    #[test]
    fn an_index_that_lies_behind_a_true_checksum_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = uncommitted(folder.path());
        let entry = flip(folder.path(), "tokens/val-00000.idx", 34 + 40 * 12 + 8);
        relist(folder.path(), manifest, entry);
        let differences = report(folder.path()).differences;
        assert_eq!(differences.len(), 1, "{differences:?}");
        assert!(differences[0].found.contains("expected document index 1, found 0"), "{}", differences[0]);
    }

    #[test]
    fn an_unlisted_file_is_named_and_no_part_of_the_dataset() {
        let folder = tempfile::tempdir().unwrap();
        committed(folder.path());
        fs::write(folder.path().join("tokens/train-00009.bin"), b"x").unwrap();
        fs::write(folder.path().join("tokens/train-00009.bin.tmp-1-2-3"), b"x").unwrap();
        let report = report(folder.path());
        assert_eq!(report.unlisted, ["tokens/train-00009.bin"]);
        assert!(report.is_sound());
    }

    #[test]
    fn a_manifest_that_points_outside_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("dataset");
        let mut manifest = uncommitted(&dir);
        write_atomic(folder.path().join("outside"), b"x").unwrap();
        let digest = hash_file(&folder.path().join("outside")).unwrap();
        let path = "../outside".to_owned();
        let outside = FileEntry { path, bytes: 1, documents: None, tokens: None, sha256: digest.sha256 };
        manifest.files.push(outside);
        manifest.manifest_hash = crate::commit::sha256_hex(&manifest.hashed_bytes());
        fs::write(dir.join(MANIFEST_FILE), serde_json::to_vec(&manifest).unwrap()).unwrap();
        let report = report(&dir);
        assert_eq!(report.files, manifest.files.len() as u64 - 1);
        assert!(report.differences[0].found.contains("../outside"));
    }

    #[test]
    fn differences_of_one_file_are_capped_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = uncommitted(folder.path());
        let mut rows = rows(0, 40);
        rows.iter_mut().for_each(|row| row.shard = 9);
        let entry = write_data(folder.path(), "data/val-00000-of-00001.parquet", &rows);
        relist(folder.path(), manifest, entry);
        let report = report(folder.path());
        assert_eq!((report.differences.len(), report.differences_total), (DIFFERENCES_PER_FILE_MAX, 40));
    }
}
