//! Training of a tokenizer beside crate `tokenizers` 0.23's trainer, on the same text in the same run:
//!
//! ```sh
//! cargo run --release -p pipeline --example tokenizer_training -- CORPUS.jsonl [MEGABYTES [VOCAB_SIZE]]
//! ```
//!
//! Compares merges and vocabulary, and prints wall and CPU seconds with one thread and with all cores, from texts in
//! memory to `tokenizer.json`.

use std::io::BufRead;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use pipeline::tokenize::train::{SPECIAL, Settings, Trainer};
use rayon::prelude::*;
use serde_json::Value;
use tokenizers_reference::models::bpe::{BPE, BpeTrainer};
use tokenizers_reference::pre_tokenizers::byte_level::ByteLevel;
use tokenizers_reference::{
    AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _, Trainer as _,
};

/// Texts that are counted at once.
const BATCH: usize = 64;
const MIN_FREQUENCY: u64 = 2;

fn read(path: &str, bytes_max: usize) -> anyhow::Result<Vec<String>> {
    let file = std::io::BufReader::new(std::fs::File::open(path).with_context(|| path.to_owned())?);
    let (mut texts, mut bytes) = (Vec::new(), 0);
    for line in file.lines() {
        let value: Value = serde_json::from_str(&line?)?;
        let Some(text) = value.get("text").and_then(Value::as_str) else { continue };
        bytes += text.len();
        texts.push(text.to_owned());
        if bytes >= bytes_max {
            break;
        }
    }
    Ok(texts)
}

fn ours(texts: &[String], vocab_size: usize) -> anyhow::Result<Value> {
    let settings = Settings { vocab_size, min_frequency: MIN_FREQUENCY, special: Vec::new() };
    let trainer = Trainer::new(settings, 0, u64::MAX)?;
    texts.par_chunks(BATCH).try_for_each(|texts| trainer.add(texts.iter().map(String::as_str)))?;
    let tokenizer: Value = serde_json::from_slice(&trainer.finish(|| ())?.tokenizer)?;
    Ok(tokenizer.get("model").cloned().unwrap_or_default())
}

fn theirs(texts: &[String], vocab_size: usize) -> anyhow::Result<Value> {
    let failed = |error: tokenizers_reference::Error| anyhow::anyhow!("{error}");
    let mut trainer = BpeTrainer::builder()
        .vocab_size(vocab_size)
        .min_frequency(MIN_FREQUENCY)
        .show_progress(false)
        .special_tokens(SPECIAL.map(|token| AddedToken::from(token, true)).to_vec())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let byte_level = ByteLevel::new(false, true, true);
    let words = |text: &str| {
        let mut string = PreTokenizedString::from(text);
        byte_level.pre_tokenize(&mut string)?;
        let splits = string.get_splits(OffsetReferential::Original, OffsetType::Byte);
        Ok(splits.into_iter().map(|(word, ..)| word.to_owned()).collect())
    };
    trainer.feed(texts.iter(), words).map_err(failed)?;
    let mut model = BPE::default();
    trainer.train(&mut model).map_err(failed)?;
    Ok(serde_json::to_value(&model)?)
}

/// Merges as lines, whichever way they are written.
fn merges(model: &Value) -> Vec<String> {
    let line = |merge: &Value| match merge.as_array().map(Vec::as_slice) {
        Some([left, right]) => format!("{} {}", left.as_str().unwrap_or(""), right.as_str().unwrap_or("")),
        _ => merge.as_str().unwrap_or("").to_owned(),
    };
    model.get("merges").and_then(Value::as_array).into_iter().flatten().map(line).collect()
}

/// CPU seconds of this process.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("/proc/self/stat");
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [corpus, rest @ ..] = arguments.as_slice() else {
        bail!("usage: tokenizer_training CORPUS.jsonl [MEGABYTES [VOCAB_SIZE]]");
    };
    let number = |at: usize, default: usize| rest.get(at).map_or(Ok(default), |text| text.parse());
    let texts = read(corpus, number(0, 20)? * 1_000_000)?;
    let vocab_size = number(1, 6400)?;
    let bytes: usize = texts.iter().map(String::len).sum();
    println!("{} documents, {:.1} MB, {vocab_size} tokens", texts.len(), bytes as f64 / 1e6);
    let cores = std::thread::available_parallelism()?.get();
    for threads in if cores > 1 { vec![1, cores] } else { vec![1] } {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let timed = |name: &str, train: &(dyn Fn() -> anyhow::Result<Value> + Sync)| {
            let (wall, cpu) = (Instant::now(), cpu_seconds()?);
            let model = pool.install(train)?;
            let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
            println!("{name:<16} {threads} threads {wall:>8.2} s {cpu:>8.2} CPU s");
            anyhow::Ok((model, wall, cpu))
        };
        let (own, own_wall, own_cpu) = timed("ours", &|| ours(&texts, vocab_size))?;
        let (other, wall, cpu) = timed("tokenizers 0.23", &|| theirs(&texts, vocab_size))?;
        println!("ratio {:.1} of wall time, {:.1} of CPU seconds", wall / own_wall, cpu / own_cpu);
        ensure!(merges(&own) == merges(&other), "the merges differ");
        ensure!(own.get("vocab") == other.get("vocab"), "the vocabularies differ");
    }
    println!("merges and vocabularies are equal");
    Ok(())
}
