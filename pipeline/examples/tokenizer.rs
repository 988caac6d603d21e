//! Encoding speed of our own encoder beside crate `tokenizers` 1.0 and 0.23, on the same text in the same run:
//!
//! ```sh
//! cargo run --release -p pipeline --example tokenizer -- TOKENIZER.json CORPUS.jsonl [MEGABYTES [ROUNDS]]
//! ```
//!
//! Prints MB of UTF-8 text per CPU second and thread, in interleaved rounds: cold (a first pass with nothing remembered)
//! and warm (the passes after it), on one thread and on two. Ids of all documents are compared first; 0.23 encodes a
//! twentieth of the text, since it is slow.

use std::io::BufRead;

use anyhow::{Context, bail};
use pipeline::bpe::{Memo, Tokenizer};
use serde_json::Value;
use tokenizers::pipeline::{EncodeOptions, Override, PipelineToken, PipelineTokenizer};

/// Texts of documents; at least half of the bytes of Chinese ones, at most a twentieth of English ones, are not ASCII.
struct Corpus {
    name: &'static str,
    texts: Vec<String>,
}

impl Corpus {
    fn bytes(&self) -> usize {
        self.texts.iter().map(String::len).sum()
    }
}

/// What one contestant needs on one thread.
trait Contestant: Send {
    fn encode(&mut self, text: &str, ids: &mut Vec<u32>) -> anyhow::Result<()>;
}

struct Own<'a>(&'a Tokenizer, Memo);

impl Contestant for Own<'_> {
    fn encode(&mut self, text: &str, ids: &mut Vec<u32>) -> anyhow::Result<()> {
        self.0.encode(text, &mut self.1, ids);
        Ok(())
    }
}

struct Crate1<'a>(&'a PipelineTokenizer, Vec<PipelineToken>);

impl Contestant for Crate1<'_> {
    fn encode(&mut self, text: &str, ids: &mut Vec<u32>) -> anyhow::Result<()> {
        let options = EncodeOptions {
            add_special_tokens: false,
            encode_special_tokens: true,
            padding: Override::Off,
            truncation: Override::Off,
        };
        self.1.clear();
        self.0.encode_into(text, &options, &mut self.1).map_err(|error| anyhow::anyhow!("{error}"))?;
        ids.extend_from_slice(PipelineToken::cast_slice(&self.1));
        Ok(())
    }
}

struct Crate023<'a>(&'a tokenizers_reference::Tokenizer);

impl Contestant for Crate023<'_> {
    fn encode(&mut self, text: &str, ids: &mut Vec<u32>) -> anyhow::Result<()> {
        let encoding = self.0.encode_fast(text, false).map_err(|error| anyhow::anyhow!("{error}"))?;
        ids.extend_from_slice(encoding.get_ids());
        Ok(())
    }
}

/// CPU seconds of this process.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("/proc/self/stat");
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

fn encode_all(contestant: &mut dyn Contestant, texts: &[String]) -> anyhow::Result<()> {
    let mut ids = Vec::new();
    for text in texts {
        ids.clear();
        contestant.encode(text, &mut ids)?;
    }
    Ok(())
}

/// MB per CPU second of a cold and two warm passes, each thread with a contestant of its own.
fn rates(
    corpus: &Corpus,
    texts: &[String],
    mut contestants: Vec<Box<dyn Contestant + '_>>,
) -> anyhow::Result<[f64; 2]> {
    let mut pass = |passes: usize| -> anyhow::Result<f64> {
        let start = cpu_seconds()?;
        std::thread::scope(|scope| {
            let work = |contestant: &mut Box<dyn Contestant + '_>| {
                (0..passes).try_for_each(|_| encode_all(contestant.as_mut(), texts))
            };
            let threads: Vec<_> =
                contestants.iter_mut().map(|contestant| scope.spawn(move || work(contestant))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
        })?;
        let bytes: usize = texts.iter().map(String::len).sum();
        Ok(cpu_seconds()? - start).map(|seconds| (bytes * passes) as f64 / 1e6 / seconds.max(0.01))
    };
    let cold = pass(1)?;
    let warm = pass(2)?;
    let rates = [cold, warm].map(|rate| rate * contestants.len() as f64);
    anyhow::ensure!(corpus.bytes() > 0, "no text");
    Ok(rates)
}

fn read(path: &str, bytes_max: usize) -> anyhow::Result<[Corpus; 2]> {
    let file = std::io::BufReader::new(std::fs::File::open(path).with_context(|| path.to_owned())?);
    let mut corpora =
        [("zh", 0.5..=1.0), ("en", 0.0..=0.05)].map(|(name, share)| (Corpus { name, texts: vec![] }, 0, share));
    for line in file.lines() {
        let value: Value = serde_json::from_str(&line?)?;
        let Some(text) = value.get("text").and_then(Value::as_str).filter(|text| !text.is_empty()) else { continue };
        let wide = text.bytes().filter(|byte| !byte.is_ascii()).count() as f64 / text.len() as f64;
        for (corpus, bytes, share) in &mut corpora {
            if share.contains(&wide) && *bytes < bytes_max {
                *bytes += text.len();
                corpus.texts.push(text.to_owned());
            }
        }
    }
    Ok(corpora.map(|(corpus, ..)| corpus))
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, corpus, rest @ ..] = arguments.as_slice() else {
        bail!("usage: tokenizer TOKENIZER.json CORPUS.jsonl [MEGABYTES [ROUNDS]]");
    };
    let number = |at: usize, default: usize| rest.get(at).map_or(Ok(default), |text| text.parse());
    let (megabytes, rounds) = (number(0, 16)?, number(1, 5)?);
    let bytes = std::fs::read(tokenizer)?;
    let mut definition: Value = serde_json::from_slice(&bytes)?;
    let own = Tokenizer::from_definition(&definition, true)?;
    let mut crate_023 =
        tokenizers_reference::Tokenizer::from_bytes(&bytes).map_err(|error| anyhow::anyhow!("{error}"))?;
    crate_023.set_encode_special_tokens(true);
    tokenizers::canonicalize_value(&mut definition)?;
    let crate_1 = tokenizers::from_json(&definition.to_string()).map_err(|error| anyhow::anyhow!("{error}"))?;

    for corpus in read(corpus, megabytes * 1_000_000)? {
        let few = corpus.texts.get(..corpus.texts.len().div_ceil(20)).unwrap_or_default();
        let mut all: [Box<dyn Contestant + '_>; 3] = [
            Box::new(Own(&own, Memo::default())),
            Box::new(Crate1(&crate_1, Vec::new())),
            Box::new(Crate023(&crate_023)),
        ];
        let mut tokens = 0;
        let mut differ = [0, 0];
        for (at, text) in corpus.texts.iter().enumerate() {
            let mut ids = [Vec::new(), Vec::new(), Vec::new()];
            for (contestant, ids) in all.iter_mut().zip(&mut ids).take(if at < few.len() { 3 } else { 2 }) {
                contestant.encode(text, ids)?;
            }
            let [own, other, reference] = ids;
            tokens += own.len();
            differ[0] += usize::from(own != other);
            differ[1] += usize::from(at < few.len() && own != reference);
        }
        println!(
            "{}: {} documents, {:.1} MB, {:.2} bytes a token; other ids than ours: 1.0 in {} documents, 0.23 in {} of {}",
            corpus.name,
            corpus.texts.len(),
            corpus.bytes() as f64 / 1e6,
            corpus.bytes() as f64 / tokens.max(1) as f64,
            differ[0],
            differ[1],
            few.len()
        );
        println!("  MB a CPU second: engine, threads, cold, warm");
        for _ in 0..rounds {
            for threads in [1, 2] {
                let owns = (0..threads).map(|_| Box::new(Own(&own, Memo::default())) as Box<dyn Contestant + '_>);
                let ones = (0..threads).map(|_| Box::new(Crate1(&crate_1, Vec::new())) as Box<dyn Contestant + '_>);
                let olds = (0..threads).map(|_| Box::new(Crate023(&crate_023)) as Box<dyn Contestant + '_>);
                for (name, texts, contestants) in [
                    ("own", corpus.texts.as_slice(), owns.collect()),
                    ("tokenizers 1.0", corpus.texts.as_slice(), ones.collect()),
                    ("tokenizers 0.23", few, olds.collect::<Vec<_>>()),
                ] {
                    let [cold, warm] = rates(&corpus, texts, contestants)?;
                    println!("  {name:<16} {threads} {cold:>8.1} {warm:>8.1}");
                }
            }
        }
    }
    Ok(())
}
