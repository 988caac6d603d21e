//! `pipeline check`: what every line of some files is worth, before a run.
//!
//! Exits with 0 when everything was checked, whatever was found, and with 3 when a stream was damaged, so that a
//! script can tell a file with bad lines from a file that is not all there.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use schemas::config::{Encoding, Read, TextFiles};
use serde_json::json;
use shards::commit::AtomicFile;

use super::Outcome;
use crate::engine::memory::Room;
use crate::engine::ordered::{Bounds, ordered};
use crate::error::Error;
use crate::look::human;
use crate::read::{Block, Format, Input, Options, Part, Reader, inputs};
use crate::record::{Invalid, Records};
use crate::settings::parse_bytes;

/// Invalid lines of a file that are shown to people unless `--all` is given.
const SHOWN_MAX: u64 = 20;

/// Arguments of `pipeline check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, globs, folders, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Print one JSON event a line: every invalid line, every file, the totals
    #[arg(long)]
    json: bool,
    /// Show every invalid line, not the first 20 of a file
    #[arg(long)]
    all: bool,
    /// Copy the valid lines of JSONL and line-by-line text, byte for byte, to files in this folder
    #[arg(long, value_name = "DIR")]
    write_clean: Option<PathBuf>,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    read: ReadFlags,
}

/// How lines become documents: the flags of `pipeline run` that decide whether a line is valid.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Reading")]
pub(super) struct ReadFlags {
    /// Column that holds the text
    #[arg(long, value_name = "NAME", default_value = "text")]
    text_column: String,
    /// Join fields into the text: "{title}\n{content}"; nested ones by dots
    #[arg(long, value_name = "TEMPLATE")]
    text_template: Option<String>,
    /// Character encoding of text inputs
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = ["auto", "utf-8", "utf-16", "gb18030", "big5"])]
    encoding: String,
    /// A document of a .txt or .md input is a whole file, or a line
    #[arg(long, value_name = "UNIT", default_value = "file", value_parser = ["file", "line"])]
    text_files: String,
    /// Longest line
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    max_line_bytes: String,
    /// Deepest nesting of JSON values
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_depth: u32,
    /// Take NaN and Infinity for null instead of refusing the line
    #[arg(long)]
    accept_nan: bool,
}

impl ReadFlags {
    /// The validated options.
    pub(super) fn options(&self) -> Result<Options, Error> {
        let config = Read {
            text_column: self.text_column.clone(),
            text_template: self.text_template.clone(),
            encoding: match self.encoding.as_str() {
                "utf-8" => Encoding::Utf8,
                "utf-16" => Encoding::Utf16,
                "gb18030" => Encoding::Gb18030,
                "big5" => Encoding::Big5,
                _ => Encoding::Auto,
            },
            text_files: if self.text_files == "line" { TextFiles::Line } else { TextFiles::File },
            max_line_bytes: parse_bytes("--max-line-bytes", &self.max_line_bytes)?,
            max_depth: self.max_depth,
            accept_nan: self.accept_nan,
            ..Read::default()
        };
        Ok(Options::from_config(&config)?)
    }
}

/// A folder for standard input, gone when the command ends.
pub(super) struct Spool(PathBuf);

impl Spool {
    pub(super) fn new() -> Spool {
        Spool(std::env::temp_dir().join(format!("pipeline-stdin-{}", std::process::id())))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Nothing was spooled unless `-` was given, and what is left in the system's temporary folder does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The end of a command that printed: a reader who has seen enough (`| head`) is no failure.
pub(super) fn printed(result: anyhow::Result<Outcome>) -> anyhow::Result<Outcome> {
    match result {
        Err(error) if is_closed_pipe(&error) => Ok(Outcome::Done),
        other => other,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let source = error.downcast_ref::<io::Error>().or(match error.downcast_ref::<Error>() {
        Some(Error::Io { source, .. }) => Some(source),
        _ => None,
    });
    source.is_some_and(|source| source.kind() == io::ErrorKind::BrokenPipe)
}

/// Counts of one file, or of all.
#[derive(Debug, Default, Clone)]
struct Counts {
    stored_bytes: u64,
    lines: u64,
    blank: u64,
    documents: u64,
    invalid: BTreeMap<&'static str, u64>,
    damaged: bool,
}

impl Counts {
    fn add_records(&mut self, records: &Records) {
        self.lines += records.lines;
        self.blank += records.blank;
        self.documents += records.documents.len() as u64;
        for invalid in &records.invalid {
            *self.invalid.entry(invalid.rule.name()).or_default() += 1;
            self.damaged |= invalid.rule.is_stream();
        }
    }

    fn merge(&mut self, other: &Counts) {
        self.stored_bytes += other.stored_bytes;
        self.lines += other.lines;
        self.blank += other.blank;
        self.documents += other.documents;
        other.invalid.iter().for_each(|(rule, count)| *self.invalid.entry(rule).or_default() += count);
        self.damaged |= other.damaged;
    }

    fn invalid_total(&self) -> u64 {
        self.invalid.values().sum()
    }

    fn event(&self, name: &str) -> serde_json::Value {
        json!({
            "event": name, "bytes": self.stored_bytes, "lines": self.lines, "blank": self.blank,
            "documents": self.documents, "invalid": self.invalid, "damaged": self.damaged,
        })
    }

    fn sentence(&self) -> String {
        let rules: Vec<String> =
            self.invalid.iter().map(|(rule, count)| format!("{rule} {}", human::count(*count))).collect();
        let rules = if rules.is_empty() { String::new() } else { format!(" ({})", rules.join(", ")) };
        let (lines, documents) = (human::plural(self.lines, "line"), human::plural(self.documents, "document"));
        let (blank, invalid) = (human::count(self.blank), human::count(self.invalid_total()));
        format!("{lines}: {documents}, {blank} blank, {invalid} invalid{rules}")
    }
}

/// Runs the command.
///
/// # Errors
/// What cannot be found, read or written; a usage error for flags that do not fit the files.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    printed(check(&args))
}

fn check(args: &Args) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let options = args.read.options()?;
    let spool = Spool::new();
    let files = inputs::expand(&args.files, spool.path()).map_err(Error::from)?;
    let threads =
        args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("start threads")?;
    let mut totals = Counts::default();
    for input in &files {
        let clean = args.write_clean.as_deref().map(|folder| clean_path(folder, input, args)).transpose()?;
        let mut file = FileCheck { args, input, options: &options, counts: Counts::default(), clean: None };
        pool.install(|| file.run(clean, threads + 2))?;
        file.print_totals()?;
        totals.merge(&file.counts);
    }
    print_end(args, &totals, files.len(), started.elapsed().as_secs_f64())?;
    Ok(if totals.damaged { Outcome::Incomplete } else { Outcome::Done })
}

/// Where the valid lines of an input go.
fn clean_path(folder: &Path, input: &Input, args: &Args) -> Result<PathBuf, Error> {
    let by_lines = input.format == Format::Jsonl || (input.format == Format::Text && args.read.text_files == "line");
    if !by_lines {
        let detail =
            format!("expected JSONL or text by lines, found {} in {}", input.format.name(), input.path.display());
        return Err(Error::usage("--write-clean", detail, "`pipeline export --to jsonl` writes a dataset as JSONL"));
    }
    let suffixes = [".gz", ".zst", ".zstd", ".xz", ".bz2"];
    let name = suffixes.iter().find_map(|suffix| input.label.strip_suffix(suffix)).unwrap_or(&input.label);
    let path = folder.join(name);
    let same = path.canonicalize().is_ok_and(|path| input.path.canonicalize().is_ok_and(|input| input == path));
    if same {
        return Err(Error::usage(
            "--write-clean",
            format!("{} is the input itself", path.display()),
            "choose another folder",
        ));
    }
    Ok(path)
}

/// The check of one file.
struct FileCheck<'a> {
    args: &'a Args,
    input: &'a Input,
    options: &'a Options,
    counts: Counts,
    clean: Option<AtomicFile>,
}

impl FileCheck<'_> {
    fn run(&mut self, clean: Option<PathBuf>, in_flight: usize) -> anyhow::Result<()> {
        let mut reader = open(self.input, self.options)?;
        if let Some(path) = clean {
            self.clean = Some(self.open_clean(&path, &reader)?);
        }
        let options = self.options;
        let work = |block: Block| Ok(block.parse(options));
        let produce = || reader.next_block().map_err(Error::from);
        let bounds = Bounds { items: in_flight, room: &Room::new(0, 1), weigh: |_| 0 };
        ordered(&bounds, produce, work, |records| self.take(&records))?;
        self.counts.stored_bytes = self.input.bytes;
        if let Some(clean) = self.clean.take() {
            clean.commit().map_err(Error::from)?;
        }
        Ok(())
    }

    fn open_clean(&self, path: &Path, reader: &Reader) -> Result<AtomicFile, Error> {
        if reader.unit_bytes() != 1 {
            let detail = format!("expected an encoding of bytes, found UTF-16 in {}", self.input.path.display());
            return Err(Error::usage("--write-clean", detail, "convert it to UTF-8 first"));
        }
        let folder = path.parent().unwrap_or(path);
        std::fs::create_dir_all(folder).map_err(|source| Error::io("create", folder, source))?;
        Ok(AtomicFile::create(path)?)
    }

    /// Counts the records of a block, prints the invalid ones, copies the valid ones.
    fn take(&mut self, records: &Records) -> Result<(), Error> {
        let shown = self.counts.invalid_total();
        self.counts.add_records(records);
        let printed = self.print_invalid(&records.invalid, shown);
        printed.map_err(|source| Error::io("write to", Path::new("standard output"), source))?;
        let Some(clean) = &mut self.clean else { return Ok(()) };
        for document in &records.documents {
            let line = records.source.get(document.raw.start as usize..document.raw.end as usize).unwrap_or_default();
            clean.append(line)?;
            clean.append(b"\n")?;
        }
        Ok(())
    }

    fn print_invalid(&self, invalid: &[Invalid], shown: u64) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.args.json {
            return invalid.iter().try_for_each(|invalid| writeln!(out, "{}", self.event(invalid)));
        }
        let room = if self.args.all { usize::MAX } else { SHOWN_MAX.saturating_sub(shown) as usize };
        for invalid in invalid.iter().take(room) {
            let place = invalid.position.byte_offset.map(|offset| format!(", byte {offset}")).unwrap_or_default();
            let (label, line, rule) = (&self.input.label, invalid.position.line + 1, invalid.rule.name());
            writeln!(out, "{label}:{line}{place}: {rule}: {}", invalid.detail)?;
        }
        Ok(())
    }

    fn event(&self, invalid: &Invalid) -> serde_json::Value {
        json!({
            "event": "invalid", "file": self.input.label, "line": invalid.position.line + 1,
            "byte_offset": invalid.position.byte_offset, "rule": invalid.rule.name(), "reason": invalid.detail,
        })
    }

    fn print_totals(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.args.json {
            let mut event = self.counts.event("file");
            if let Some(fields) = event.as_object_mut() {
                fields.insert("file".to_owned(), json!(self.input.label));
            }
            return writeln!(out, "{event}");
        }
        let hidden = self.counts.invalid_total().saturating_sub(SHOWN_MAX);
        if hidden > 0 && !self.args.all {
            writeln!(
                out,
                "{}: ... and {} more invalid; --all shows every one",
                self.input.label,
                human::count(hidden)
            )?;
        }
        writeln!(out, "{}: {}", self.input.label, self.counts.sentence())
    }
}

fn print_end(args: &Args, totals: &Counts, files: usize, seconds: f64) -> io::Result<()> {
    let lines_per_s = totals.lines as f64 / seconds.max(1e-9);
    let mb_per_s = totals.stored_bytes as f64 / 1e6 / seconds.max(1e-9);
    let mut out = io::stdout().lock();
    if args.json {
        let mut event = totals.event("done");
        if let Some(fields) = event.as_object_mut() {
            let rates = json!({"files": files, "seconds": seconds, "lines_per_s": lines_per_s, "mb_per_s": mb_per_s});
            fields.extend(rates.as_object().cloned().unwrap_or_default());
        }
        return writeln!(out, "{event}");
    }
    if files > 1 {
        writeln!(out, "{}, {}", human::plural(files as u64, "file"), totals.sentence())?;
    }
    writeln!(out, "{seconds:.2} s, {} lines/s, {mb_per_s:.1} MB/s as stored", human::count(lines_per_s as u64))
}

/// Opens the whole of an input.
pub(super) fn open(input: &Input, options: &Options) -> Result<Reader, Error> {
    let part = Part { input: 0, start: 0, end: input.bytes };
    Ok(Reader::open(input, &part, options)?)
}
