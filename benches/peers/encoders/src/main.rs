//! One encoder, measured: `encoders own|tokenizers|fastokens TOKENIZER.json TEXTS.jsonl PASSES THREADS IDS`.
//!
//! Each thread encodes all texts PASSES times, the first time with nothing remembered. Prints one JSON object with the
//! CPU seconds of a thread for the first pass and, on average, for the others. The ids of all texts go to IDS, as
//! little-endian u32: for each text their number and then themselves. `benches/encoders.py` runs this beside Python's.

#[path = "../../../../pipeline/src/bpe/mod.rs"]
#[allow(dead_code, unused_imports, reason = "only the part of it that encodes is measured")]
mod bpe;

use std::io::{BufRead, Write};
use std::sync::Barrier;

use anyhow::{Context, bail};
use serde_json::Value;
use tokenizers::pipeline::{EncodeOptions, Override, PipelineToken, PipelineTokenizer};

/// What threads share.
enum Engine {
    Own(Box<bpe::Tokenizer>),
    Tokenizers(Box<PipelineTokenizer>),
    Fastokens(Box<fastokens::Tokenizer>),
}

/// What one thread has of its own.
#[derive(Default)]
struct Scratch {
    memo: Option<Box<bpe::Memo>>,
    tokens: Vec<PipelineToken>,
}

impl Engine {
    fn load(name: &str, path: &str) -> anyhow::Result<Engine> {
        let mut definition: Value = serde_json::from_slice(&std::fs::read(path).with_context(|| path.to_owned())?)?;
        Ok(match name {
            "own" => Engine::Own(Box::new(bpe::Tokenizer::from_definition(&definition, true)?)),
            "tokenizers" => {
                tokenizers::canonicalize_value(&mut definition)?;
                let loaded = tokenizers::from_json(&definition.to_string());
                Engine::Tokenizers(Box::new(loaded.map_err(|error| anyhow::anyhow!("{error}"))?))
            }
            "fastokens" => {
                let loaded = fastokens::Tokenizer::from_json(definition);
                Engine::Fastokens(Box::new(loaded.map_err(|error| anyhow::anyhow!("{error}"))?))
            }
            other => bail!("no engine {other}"),
        })
    }

    fn encode(&self, text: &str, scratch: &mut Scratch, ids: &mut Vec<u32>) -> anyhow::Result<()> {
        match self {
            Engine::Own(tokenizer) => tokenizer.encode(text, scratch.memo.get_or_insert_default(), ids),
            Engine::Tokenizers(tokenizer) => {
                let options = EncodeOptions {
                    add_special_tokens: false,
                    encode_special_tokens: true,
                    padding: Override::Off,
                    truncation: Override::Off,
                };
                scratch.tokens.clear();
                let encoded = tokenizer.encode_into(text, &options, &mut scratch.tokens);
                encoded.map_err(|error| anyhow::anyhow!("{error}"))?;
                ids.extend_from_slice(PipelineToken::cast_slice(&scratch.tokens));
            }
            Engine::Fastokens(tokenizer) => {
                let encoded = tokenizer.encode_with_policy(text, false, fastokens::AddedTokenPolicy::SkipSpecial);
                ids.extend(encoded.map_err(|error| anyhow::anyhow!("{error}"))?);
            }
        }
        Ok(())
    }
}

/// CPU seconds of this thread.
fn cpu_seconds() -> anyhow::Result<f64> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(line.split_whitespace().next().context("schedstat")?.parse::<f64>()? / 1e9)
}

/// CPU seconds of each pass of one thread.
fn passes(engine: &Engine, texts: &[String], count: usize, barrier: &Barrier) -> anyhow::Result<Vec<f64>> {
    let (mut scratch, mut ids) = (Scratch::default(), Vec::new());
    let mut seconds = Vec::new();
    for _ in 0..count {
        barrier.wait();
        let start = cpu_seconds()?;
        for text in texts {
            ids.clear();
            engine.encode(text, &mut scratch, &mut ids)?;
        }
        seconds.push(cpu_seconds()? - start);
    }
    Ok(seconds)
}

fn write_ids(engine: &Engine, texts: &[String], path: &str) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(path)?);
    let (mut scratch, mut ids) = (Scratch::default(), Vec::new());
    for text in texts {
        ids.clear();
        engine.encode(text, &mut scratch, &mut ids)?;
        out.write_all(&(ids.len() as u32).to_le_bytes())?;
        ids.iter().try_for_each(|id| out.write_all(&id.to_le_bytes()))?;
    }
    Ok(out.flush()?)
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, tokenizer, corpus, count, threads, ids] = arguments.as_slice() else {
        bail!("usage: encoders own|tokenizers|fastokens TOKENIZER.json TEXTS.jsonl PASSES THREADS IDS");
    };
    let lines = std::io::BufReader::new(std::fs::File::open(corpus).with_context(|| corpus.clone())?).lines();
    let text = |line: std::io::Result<String>| anyhow::Ok(serde_json::from_str::<String>(&line?)?);
    let texts: Vec<String> = lines.map(text).collect::<anyhow::Result<_>>()?;
    let (count, threads): (usize, usize) = (count.parse()?, threads.parse()?);
    let (engine, barrier) = (Engine::load(name, tokenizer)?, Barrier::new(threads));
    let seconds: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let work = || scope.spawn(|| passes(&engine, &texts, count, &barrier));
        let started: Vec<_> = (0..threads).map(|_| work()).collect();
        let ended = started.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")));
        ended.collect::<anyhow::Result<_>>()
    })?;
    write_ids(&engine, &texts, ids)?;
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let cold = mean(seconds.iter().filter_map(|passes| passes.first().copied()).collect());
    let warm = mean(seconds.iter().flat_map(|passes| passes.iter().skip(1).copied()).collect());
    println!("{}", serde_json::json!({"cold_s": cold, "warm_s": warm}));
    Ok(())
}
