//! Speed of the loader, from the page cache, through the batches that training reads:
//!
//! ```sh
//! cargo run --release -p trainer --example loader -- make DIR    # two sparse datasets: 4.4 GB and 1 TB
//! cargo run --release -p trainer --example loader -- rate DIR    # GB/s a core, and what a fast consumer waits
//! cargo run --release -p trainer --example loader -- open DIR    # opening the 1 TB
//! ```
//!
//! Before `rate`, `cat DIR/one/tokens/train-00000.bin > /dev/null` brings the shard into the page cache in large pieces.
//! Tokens are zeros in holes of sparse files, so nothing but the page cache is read; documents are as long as text is,
//! their starts really stand in the index. A GB is 10^9 bytes of tokens as they lie in the shards.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use schemas::dtype::Dtype;
use schemas::ledger::Ledger;
use schemas::manifest::{DocumentCounts, FileEntry, InputEntry, Manifest, Split, SplitEntry, Splits, TokenizerEntry};
use shards::index::IndexWriter;
use shards::shard::{bin_path, idx_path};
use trainer::config::Packing;
use trainer::data::{Loader, Reading, Samples, Scratch, Source, Verify};

const POSITIONS: usize = 512;
const SEQUENCES: usize = 32;
const VOCAB_SIZE: u32 = 6400;
/// Tokens a second that the consumer of `rate` takes: the ceiling of an H200 for the 26M model.
const CONSUMED_PER_S: f64 = 2.0e6;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, dir] = arguments.as_slice() else { bail!("make, rate or open, and a folder") };
    let (one, many) = (Path::new(dir).join("one"), Path::new(dir).join("many"));
    match what.as_str() {
        "make" => {
            make(&one, 1, 2_200_000_000, 500)?;
            make(&many, 5_000, 100_000_000, 100_000)
        }
        "rate" => [true, false].into_iter().try_for_each(|masks| rate(&one, masks)),
        "open" => open(&many),
        _ => bail!("make, rate or open, not {what}"),
    }
}

/// A dataset of `shards` sparse shards of documents of about `document_tokens`.
fn make(dir: &Path, shards: u32, shard_tokens: u64, document_tokens: u64) -> Result<()> {
    fs::create_dir_all(dir.join("tokens"))?;
    let (mut train, mut files) = (SplitEntry::default(), Vec::new());
    for shard in 0..shards {
        let bin = bin_path(Split::Train, shard);
        let idx = idx_path(&bin);
        let mut index = IndexWriter::new(Dtype::U16, &dir.join(&idx));
        while index.tokens() < shard_tokens {
            let length = document_tokens / 2 + trainer::rng::bits(1, shard.into(), index.documents()) % document_tokens;
            index.push(length.min(shard_tokens - index.tokens()))?;
        }
        index.write_to(&mut BufWriter::new(File::create(dir.join(&idx))?))?;
        File::create(dir.join(&bin))?.set_len(2 * shard_tokens)?;
        let entry = |path: &str, documents, tokens| -> Result<FileEntry> {
            let bytes = fs::metadata(dir.join(path))?.len();
            Ok(FileEntry { path: path.to_owned(), bytes, documents, tokens, sha256: "0".repeat(64) })
        };
        files.push(entry(&bin, Some(index.documents()), Some(shard_tokens))?);
        files.push(entry(&idx, None, None)?);
        train.documents += index.documents();
        train.tokens += shard_tokens;
        train.shards.push(bin);
    }
    let total = train.documents;
    let manifest = Manifest {
        format_version: schemas::FORMAT_VERSION,
        tool_version: "example".into(),
        config_hash: "0".repeat(64),
        tokenizer: TokenizerEntry { hash: "0".repeat(64), vocab_size: VOCAB_SIZE, bos_id: Some(1), eos_id: Some(2) },
        dtype: Dtype::U16,
        inputs: vec![InputEntry {
            path: "a.jsonl".into(),
            bytes: 0,
            hash: "0".repeat(32),
            lines: total,
            license: None,
            origin: None,
        }],
        ledger: Ledger { lines: total, kept: total, ..Ledger::default() },
        documents: DocumentCounts { total, kept: total, ..DocumentCounts::default() },
        splits: Splits { train, val: SplitEntry::default() },
        files,
        complete: true,
        manifest_hash: String::new(),
    };
    shards::dataset::write_manifest(dir, manifest)?;
    println!("{}: {:.1} GB in {shards} shards", dir.display(), f64::from(shards) * 2.0 * shard_tokens as f64 / 1e9);
    Ok(())
}

fn samples(dir: &Path, masks: bool) -> Result<Arc<Samples>> {
    let source = Source::open(dir)?.verified(Verify::Off)?;
    let windows = source.train(POSITIONS, VOCAB_SIZE as usize, 1, Packing::Concatenate)?;
    Ok(Arc::new(Samples::of(windows, masks)))
}

fn rate(dir: &Path, masks: bool) -> Result<()> {
    let samples = samples(dir, masks)?;
    let batches = samples.count() / SEQUENCES as u64;
    let mut scratch = Scratch::default();
    // An epoch to bring the shard into the page cache and its index into memory.
    let mut read = |batch: u64| samples.batch(batch * SEQUENCES as u64, SEQUENCES, &mut scratch);
    (0..batches).try_for_each(|batch| read(batch).map(drop))?;
    let (started, cpu) = (Instant::now(), cpu_s()?);
    (batches..2 * batches).try_for_each(|batch| read(batch).map(drop))?;
    let bytes = (2 * POSITIONS * SEQUENCES) as f64 * batches as f64;
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_s()? - cpu);
    println!("documents masked: {masks}");
    println!("  one thread: {:.2} GB/s of wall time, {:.2} GB/s of CPU time", bytes / wall / 1e9, bytes / cpu / 1e9);
    // A consumer that takes batches at a fixed rate, as a device does.
    let mut loader = Loader::new(samples.clone(), Reading::alone(0, SEQUENCES), 1)?;
    loader.next_batch()?;
    let step = Duration::from_secs_f64((POSITIONS * SEQUENCES) as f64 / CONSUMED_PER_S);
    let (started, mut waited) = (Instant::now(), Duration::ZERO);
    for _ in 0..600 {
        let asked = Instant::now();
        loader.next_batch()?;
        waited += asked.elapsed();
        std::thread::sleep(step);
    }
    let stall = 100.0 * waited.as_secs_f64() / started.elapsed().as_secs_f64();
    println!("  at {CONSUMED_PER_S:.0} tokens/s with one worker: waited {stall:.3} % of the time");
    Ok(())
}

fn open(dir: &Path) -> Result<()> {
    let started = Instant::now();
    let samples = samples(dir, true)?;
    let opened = started.elapsed().as_secs_f64();
    let mut scratch = Scratch::default();
    samples.batch(0, SEQUENCES, &mut scratch)?;
    let peak = status("VmHWM:")? / 1024;
    println!("opened {} sequences in {opened:.3} s, peak resident {peak} MiB", samples.count());
    let (started, batches) = (Instant::now(), 2_000u64);
    (1..=batches).try_for_each(|batch| samples.batch(batch * SEQUENCES as u64, SEQUENCES, &mut scratch).map(drop))?;
    let windows = (batches * SEQUENCES as u64) as f64;
    let micros = started.elapsed().as_secs_f64() * 1e6 / windows;
    println!("{micros:.1} us a window over all shards, peak resident {} MiB", status("VmHWM:")? / 1024);
    Ok(())
}

/// A figure of `/proc/self/status`.
fn status(field: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
    Ok(line.split_whitespace().next().context("no figure")?.parse()?)
}

/// CPU seconds of this process so far.
fn cpu_s() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| -> Result<f64> { Ok(fields.get(at).context("a short stat")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
