//! `pipeline verify`: every checksum, every count, every token of `data/` against the shards.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use shards::verify::{Progress, Report, verify};

use super::Outcome;
use super::print::{event, finish};
use crate::look::human::{bytes, count, plural};
use crate::settings::parse_bytes;

/// What a thread needs at most: a piece of a file, a batch of decoded rows and its pages.
const THREAD_BYTES: u64 = 64 << 20;
/// Unlisted files named to people; `--json` names all.
const UNLISTED_SHOWN: usize = 10;

/// Arguments of `pipeline verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the dataset, or its manifest
    dir: PathBuf,
    /// Threads; all cores where not given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Most resident memory; less of it means fewer threads
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    memory: String,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command; [`Outcome::VerifyFailed`] where something differs.
///
/// # Errors
/// Where there is no manifest that can be read.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    crate::look::require_manifest(&args.dir)?;
    let threads = args.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let threads = threads.min(threads_that_fit(parse_bytes("--memory", &args.memory)?));
    let meter = Meter::new();
    let report = verify(&args.dir, threads, |progress| meter.show(progress))?;
    meter.clear();
    let mut out = io::stdout().lock();
    let printed = if args.json { event(&mut out, "done", &report) } else { print_text(&mut out, &args, &report) };
    finish(printed).map(|outcome| if report.is_sound() { outcome } else { Outcome::VerifyFailed })
}

fn threads_that_fit(memory: u64) -> usize {
    usize::try_from(memory / THREAD_BYTES).unwrap_or(usize::MAX).max(1)
}

fn print_text(out: &mut dyn Write, args: &Args, report: &Report) -> io::Result<()> {
    for difference in &report.differences {
        writeln!(out, "{difference}")?;
    }
    let more = report.differences_total.saturating_sub(report.differences.len() as u64);
    if more > 0 {
        writeln!(out, "and {}", plural(more, "further difference"))?;
    }
    print_unlisted(out, args, report)?;
    let looked_at = format!(
        "{}, {}; {} of data/ with {} compared with the shards; {} counted",
        plural(report.files, "file"),
        bytes(report.bytes),
        plural(report.rows, "row"),
        plural(report.tokens, "token"),
        plural(report.rejects, "reject")
    );
    if report.is_sound() {
        writeln!(out, "sound: {looked_at}")
    } else {
        writeln!(out, "NOT SOUND: {} in {looked_at}", plural(report.differences_total, "difference"))
    }
}

/// Files that are no part of the dataset are no difference, but a glob finds them.
fn print_unlisted(out: &mut dyn Write, args: &Args, report: &Report) -> io::Result<()> {
    if report.unlisted.is_empty() {
        return Ok(());
    }
    let shown: Vec<&str> = report.unlisted.iter().take(UNLISTED_SHOWN).map(String::as_str).collect();
    let more = report.unlisted.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {} more", count(more as u64)) } else { String::new() };
    let hint = format!("`pipeline clean {} --dry-run` shows what it would delete", args.dir.display());
    writeln!(out, "not in the manifest: {}{more} ({hint})", shown.join(", "))
}

/// Percent on stderr, where it is a terminal.
struct Meter {
    percent: AtomicU64,
    is_shown: bool,
}

impl Meter {
    fn new() -> Meter {
        Meter { percent: AtomicU64::new(0), is_shown: io::stderr().is_terminal() }
    }

    fn show(&self, progress: Progress) {
        let percent = progress.bytes_done.saturating_mul(100) / progress.bytes_total.max(1);
        if self.is_shown && self.percent.fetch_max(percent, Ordering::Relaxed) < percent {
            eprint!("\rverify {percent:>3} %");
        }
    }

    fn clear(&self) {
        if self.is_shown {
            eprint!("\r            \r");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::testing::{Doc, Made, dataset};

    fn outcome(made: &Made) -> Outcome {
        run(Args { dir: made.path().to_owned(), threads: Some(2), memory: "1GiB".to_owned(), json: true }).unwrap()
    }

    fn text(made: &Made) -> String {
        let report = verify(made.path(), 2, |_| ()).unwrap();
        let mut out = Vec::new();
        print_text(
            &mut out,
            &Args { dir: made.path().to_owned(), threads: None, memory: String::new(), json: false },
            &report,
        )
        .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn less_memory_means_fewer_threads() {
        assert_eq!((threads_that_fit(0), threads_that_fit(1 << 30)), (1, 16));
    }

    #[test]
    fn a_sound_dataset_is_said_to_be() {
        let made = dataset(&[Doc::new("a", "one"), Doc::new("b", "x").dropped("dedup", "exact", "a")]);
        assert_eq!(outcome(&made), Outcome::Done);
        let said = text(&made);
        assert!(said.starts_with("sound: ") && said.contains("1 row of data/ with 5 tokens"), "{said}");
    }

    #[test]
    fn a_flipped_bit_is_exit_5_with_the_file_named() {
        let made = dataset(&[Doc::new("a", "one")]);
        let path = made.path().join("tokens/train-00000.bin");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[2] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(outcome(&made), Outcome::VerifyFailed);
        let said = text(&made);
        assert!(said.contains("tokens/train-00000.bin: sha256: expected ") && said.contains("NOT SOUND"), "{said}");
    }

    #[test]
    fn a_file_that_is_not_listed_is_named_and_is_no_difference() {
        let made = dataset(&[Doc::new("a", "one")]);
        std::fs::write(made.path().join("data/old.parquet"), "x").unwrap();
        assert_eq!(outcome(&made), Outcome::Done);
        assert!(text(&made).contains("not in the manifest: data/old.parquet"));
    }
}
