//! INPUT arguments: which files they name, what each file holds, and how a file is cut into parts.
//!
//! Order is (position of the argument, path bytes), so it depends on nothing but the command and the names.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
pub use shards::blockhash::BLOCK_BYTES;

use super::error::Error;
use super::labels::{self, Label};
use super::stream::Stream;

/// Name of the file in the work folder that holds what came from standard input.
pub const SPOOL_FILE: &str = "stdin.jsonl";

/// Name of standard input in a dataset.
const STDIN_LABEL: &str = "stdin";

/// White space before the first bracket of a `.json` file that is looked at.
const HEAD_BYTES: usize = 4 << 10;

/// What a file holds, by the extension of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// One JSON array of objects.
    JsonArray,
    /// Parquet; a row a document.
    Parquet,
    /// Comma-separated values with a header.
    Csv,
    /// Tab-separated values with a header.
    Tsv,
    /// Plain text.
    Text,
    /// Common Crawl WARC or WET.
    Warc,
    /// A MediaWiki XML dump.
    MediaWiki,
}

impl Format {
    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Jsonl => "JSONL",
            Format::JsonArray => "a JSON array",
            Format::Parquet => "Parquet",
            Format::Csv => "CSV",
            Format::Tsv => "TSV",
            Format::Text => "text",
            Format::Warc => "WARC",
            Format::MediaWiki => "MediaWiki XML",
        }
    }

    fn of_extension(extension: &str) -> Option<Format> {
        Some(match extension {
            "jsonl" | "ndjson" | "json" => Format::Jsonl,
            "parquet" => Format::Parquet,
            "csv" => Format::Csv,
            "tsv" => Format::Tsv,
            "txt" | "md" => Format::Text,
            "wet" | "warc" => Format::Warc,
            "xml" => Format::MediaWiki,
            _ => return None,
        })
    }
}

/// How a file is compressed, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all, whatever its name says.
    None,
    /// gzip, one or more members.
    Gzip,
    /// Zstandard, one or more frames.
    Zstd,
    /// xz, one or more streams.
    Xz,
    /// bzip2, one or more streams.
    Bzip2,
}

impl Compression {
    /// Recognises the first bytes of a file.
    pub fn of_head(head: &[u8]) -> Compression {
        const BZIP2_BLOCK: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
        const BZIP2_EMPTY: [u8; 6] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
        match head {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', block @ ..]
                if block.starts_with(&BZIP2_BLOCK) || block.starts_with(&BZIP2_EMPTY) =>
            {
                Compression::Bzip2
            }
            _ => Compression::None,
        }
    }
}

/// One input file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Where it lies.
    pub path: PathBuf,
    /// Its name in the dataset.
    pub label: String,
    /// Its size, as stored.
    pub bytes: u64,
    /// When it was last changed.
    pub modified: SystemTime,
    /// What it holds.
    pub format: Format,
    /// How it is compressed.
    pub compression: Compression,
}

/// A range of an input that one task reads: the lines that start in `start..end`, or for Parquet the row groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Index of the input.
    pub input: usize,
    /// First byte, as stored; a multiple of [`BLOCK_BYTES`].
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl Input {
    /// Cuts the input into parts of about `part_bytes`, rounded up to whole blocks so that hashes compose. Only plain
    /// JSONL and Parquet can be cut.
    pub fn parts(&self, index: usize, part_bytes: u64) -> Vec<Part> {
        let step = part_bytes.max(1).div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES);
        let cut = matches!(self.format, Format::Jsonl | Format::Parquet) && !self.is_compressed();
        let part = |start: u64, end: u64| Part { input: index, start, end };
        if !cut || self.bytes <= step {
            return vec![part(0, self.bytes)];
        }
        (0..self.bytes.div_ceil(step)).map(|at| part(at * step, ((at + 1) * step).min(self.bytes))).collect()
    }

    /// Whether the stored bytes are fewer than the text they hold.
    pub fn is_compressed(&self) -> bool {
        self.compression != Compression::None
    }

    /// Looks at a file: its size, its compression, its format.
    fn look(path: &Path, label: String, format: Format) -> Result<Input, Error> {
        let mut file = File::open(path).map_err(|source| Error::io("open", path, source))?;
        let metadata = file.metadata().map_err(|source| Error::io("look at", path, source))?;
        let modified = metadata.modified().map_err(|source| Error::io("look at", path, source))?;
        let mut head = Vec::new();
        (&mut file).take(16).read_to_end(&mut head).map_err(|source| Error::io("read", path, source))?;
        let compression = Compression::of_head(&head);
        if format == Format::Parquet && compression != Compression::None {
            return Err(Error::CompressedParquet { path: path.to_owned() });
        }
        Ok(Input { path: path.to_owned(), label, bytes: metadata.len(), modified, format, compression })
    }

    /// A `.json` that starts with `[` is an array; any other is read by lines.
    fn is_array(&self) -> Result<bool, Error> {
        let mut stream = Stream::open(self, 0, self.bytes, 0)?;
        let mut head = Vec::new();
        while head.len() < HEAD_BYTES {
            if stream.fill(&mut head, HEAD_BYTES)?.is_some() {
                break;
            }
        }
        let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head);
        Ok(head.trim_ascii_start().first() == Some(&b'['))
    }
}

/// A file that an argument names.
struct Named {
    path: PathBuf,
    label: Label,
    extension: String,
    argument: usize,
}

/// The files that INPUT arguments name: files, globs, folders, `-`.
///
/// Standard input is written to `spool_dir` first, so that it can be read twice.
///
/// # Errors
/// What cannot be found, matched, recognised or read, or is given twice.
pub fn expand(inputs: &[String], spool_dir: &Path) -> Result<Vec<Input>, Error> {
    let mut named = Vec::new();
    for (argument, text) in inputs.iter().enumerate() {
        expand_one(text, argument, spool_dir, &mut named)?;
    }
    refuse_twice(&named, inputs)?;
    let (labels, rest): (Vec<Label>, Vec<(PathBuf, String)>) =
        named.into_iter().map(|file| (file.label, (file.path, file.extension))).unzip();
    labels::distinct(labels)
        .into_iter()
        .zip(rest)
        .map(|(label, (path, extension))| open(path, label, &extension))
        .collect()
}

fn open(path: PathBuf, label: String, extension: &str) -> Result<Input, Error> {
    let Some(format) = Format::of_extension(extension) else {
        let found = if extension.is_empty() { "no extension".to_owned() } else { format!(".{extension}") };
        return Err(Error::UnknownFormat { path, found });
    };
    let mut input = Input::look(&path, label, format)?;
    if extension == "json" && input.is_array()? {
        input.format = Format::JsonArray;
    }
    Ok(input)
}

fn expand_one(text: &str, argument: usize, spool_dir: &Path, named: &mut Vec<Named>) -> Result<(), Error> {
    let single = |path: PathBuf, named: &mut Vec<Named>| {
        let label = Label::new(&absolute(&path), 1);
        let extension = extension(&path);
        named.push(Named { path, label, extension, argument });
    };
    let path = Path::new(text);
    if text == "-" {
        let path = spool(spool_dir)?;
        let label = Label::new(Path::new(STDIN_LABEL), 1);
        named.push(Named { path, label, extension: "json".to_owned(), argument });
        return Ok(());
    }
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return folder(path, argument, named),
        Ok(_) => single(path.to_owned(), named),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && is_glob(text) => {
            matches(text)?.into_iter().for_each(|path| single(path, named));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NotFound { argument: text.to_owned() });
        }
        Err(source) => return Err(Error::io("look at", path, source)),
    }
    Ok(())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The extension that tells the format: lower case, behind that of a compression.
fn extension(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let plain = [".gz", ".zst", ".zstd", ".xz", ".bz2"].iter().find_map(|suffix| name.strip_suffix(suffix));
    let name = plain.unwrap_or(&name);
    Path::new(name).extension().map(|extension| extension.to_string_lossy().into_owned()).unwrap_or_default()
}

fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let options =
        glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let paths = glob::glob_with(pattern, options)
        .map_err(|error| Error::Pattern { argument: pattern.to_owned(), detail: error.to_string() })?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(|error| {
            let folder = error.path().to_owned();
            Error::io("list", &folder, error.into())
        })?;
        if path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::NoMatch { argument: pattern.to_owned() });
    }
    sort(&mut files);
    Ok(files)
}

fn sort(paths: &mut [PathBuf]) {
    paths.sort_by(|left, right| left.as_os_str().as_bytes().cmp(right.as_os_str().as_bytes()));
}

fn folder(root: &Path, argument: usize, named: &mut Vec<Named>) -> Result<(), Error> {
    let mut files = Vec::new();
    walk(root, &mut HashSet::new(), &mut files)?;
    if files.is_empty() {
        return Err(Error::EmptyFolder { path: root.to_owned() });
    }
    sort(&mut files);
    let depth = root.components().count();
    named.extend(files.into_iter().map(|path| {
        let below = path.components().count().saturating_sub(depth);
        let label = Label::new(&absolute(&path), below);
        let extension = extension(&path);
        Named { path, label, extension, argument }
    }));
    Ok(())
}

/// Files of known formats below a folder. A folder reached twice through links is walked once.
fn walk(folder: &Path, walked: &mut HashSet<PathBuf>, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let list_error = |source| Error::io("list", folder, source);
    if !walked.insert(folder.canonicalize().map_err(list_error)?) {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).map_err(list_error)? {
        let path = entry.map_err(list_error)?.path();
        let name = path.file_name().unwrap_or_default().as_bytes();
        if name.starts_with(b".") || name.ends_with(b".tmp") {
            continue;
        }
        let metadata = std::fs::metadata(&path).map_err(|source| Error::io("look at", &path, source))?;
        if metadata.is_dir() {
            walk(&path, walked, files)?;
        } else if metadata.is_file() && Format::of_extension(&extension(&path)).is_some() {
            files.push(path);
        }
    }
    Ok(())
}

fn refuse_twice(named: &[Named], inputs: &[String]) -> Result<(), Error> {
    let argument = |file: &Named| inputs.get(file.argument).cloned().unwrap_or_default();
    let mut seen: HashMap<PathBuf, &Named> = HashMap::new();
    for file in named {
        let path = file.path.canonicalize().map_err(|source| Error::io("look at", &file.path, source))?;
        if let Some(first) = seen.insert(path, file) {
            return Err(Error::GivenTwice { path: file.path.clone(), first: argument(first), second: argument(file) });
        }
    }
    Ok(())
}

/// Writes standard input to the work folder.
fn spool(spool_dir: &Path) -> Result<PathBuf, Error> {
    std::fs::create_dir_all(spool_dir).map_err(|source| Error::io("create", spool_dir, source))?;
    let path = spool_dir.join(SPOOL_FILE);
    let unfinished = spool_dir.join("stdin.jsonl.tmp");
    let write = || {
        let mut file = File::create(&unfinished)?;
        std::io::copy(&mut std::io::stdin().lock(), &mut file)?;
        std::fs::rename(&unfinished, &path)
    };
    write().map_err(|source| Error::io("spool standard input to", &path, source))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "{}\n").unwrap();
        }
        folder
    }

    fn expanded(folder: &tempfile::TempDir, arguments: &[&str]) -> Result<Vec<String>, Error> {
        let arguments: Vec<String> =
            arguments.iter().map(|argument| folder.path().join(argument).display().to_string()).collect();
        Ok(expand(&arguments, folder.path())?.into_iter().map(|input| input.label).collect())
    }

    #[test]
    fn a_folder_is_walked_in_the_order_of_path_bytes_without_hidden_and_unfinished_files() {
        let folder = folder_with(&["d/b.jsonl", "d/B.jsonl", "d/a/z.csv", "d/.x.jsonl", "d/c.jsonl.tmp", "d/_SUCCESS"]);
        assert_eq!(expanded(&folder, &["d"]).unwrap(), ["B.jsonl", "a/z.csv", "b.jsonl"]);
    }

    #[test]
    fn arguments_stay_in_their_order() {
        let folder = folder_with(&["b.jsonl", "a1.jsonl", "a2.jsonl"]);
        assert_eq!(expanded(&folder, &["b.jsonl", "a*.jsonl"]).unwrap(), ["b.jsonl", "a1.jsonl", "a2.jsonl"]);
    }

    #[test]
    fn equal_names_are_extended_by_their_folders() {
        let folder = folder_with(&["zh/a.jsonl", "en/a.jsonl"]);
        assert_eq!(expanded(&folder, &["zh", "en"]).unwrap(), ["zh/a.jsonl", "en/a.jsonl"]);
    }

    #[test]
    fn a_file_given_twice_is_refused() {
        let folder = folder_with(&["d/a.jsonl"]);
        assert!(matches!(expanded(&folder, &["d", "d/*.jsonl"]), Err(Error::GivenTwice { .. })));
    }

    #[test]
    fn what_cannot_be_found_matched_or_recognised_is_named() {
        let folder = folder_with(&["a.jsonl", "b.exe", "empty/x.unknown"]);
        assert!(matches!(expanded(&folder, &["none.jsonl"]), Err(Error::NotFound { .. })));
        assert!(matches!(expanded(&folder, &["*.parquet"]), Err(Error::NoMatch { .. })));
        assert!(matches!(expanded(&folder, &["***"]), Err(Error::Pattern { .. })));
        assert!(matches!(expanded(&folder, &["b.exe"]), Err(Error::UnknownFormat { .. })));
        assert!(matches!(expanded(&folder, &["empty"]), Err(Error::EmptyFolder { .. })));
    }

    #[test]
    fn compression_is_told_by_content_and_format_by_name() {
        let folder = folder_with(&["plain.jsonl.gz", "array.json"]);
        std::fs::write(folder.path().join("array.json"), "\u{feff} \n[{}]").unwrap();
        let argument = folder.path().display().to_string();
        let inputs = expand(&[argument], folder.path()).unwrap();
        let found: Vec<_> = inputs.iter().map(|input| (input.format, input.compression)).collect();
        assert_eq!(found, [(Format::JsonArray, Compression::None), (Format::Jsonl, Compression::None)]);
    }

    #[test]
    fn text_that_begins_like_bzip2_is_text() {
        assert_eq!(Compression::of_head(b"BZh9 is a magic number"), Compression::None);
        assert_eq!(Compression::of_head(b"BZh91AY&SY...."), Compression::Bzip2);
    }

    #[test]
    fn parts_begin_at_blocks_and_cover_the_file() {
        let input = Input {
            path: PathBuf::new(),
            label: String::new(),
            bytes: 3 * BLOCK_BYTES + 1,
            modified: SystemTime::UNIX_EPOCH,
            format: Format::Jsonl,
            compression: Compression::None,
        };
        let bounds = |input: &Input, bytes| -> Vec<(u64, u64)> {
            input.parts(0, bytes).iter().map(|part| (part.start / BLOCK_BYTES, part.end)).collect()
        };
        assert_eq!(bounds(&input, BLOCK_BYTES + 1), [(0, 2 * BLOCK_BYTES), (2, input.bytes)]);
        let compressed = Input { compression: Compression::Zstd, ..input.clone() };
        assert_eq!(bounds(&compressed, 1), [(0, input.bytes)]);
        let empty = Input { bytes: 0, ..input };
        assert_eq!(bounds(&empty, 1), [(0, 0)]);
    }
}
