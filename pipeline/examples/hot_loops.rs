//! What `scripts/instruction-counts` counts: `hot_loops encode-zh|encode-en|train`, or `hot_loops corpus FILE.jsonl` for
//! the whole job's input and `hot_loops tokenizer DIR` for its tokenizer. Text and tokenizer are made here, the same
//! everywhere. Counted is [`counted`] alone.

use std::hint::black_box;
use std::io::Write;

use anyhow::{Context, bail};
use pipeline::bpe::{Memo, Tokenizer};
use pipeline::tokenize::train::{Settings, Trained, train};

/// Numbers by a linear congruence.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// A number below `limit`, small ones far more often, as words and characters occur.
    fn rank(&mut self, limit: u64) -> u64 {
        let least = self.below(limit).min(self.below(limit)).min(self.below(limit));
        self.below(least + 1)
    }
}

/// Bytes of text of each language.
const BYTES: usize = 400_000;
const DOCUMENT_BYTES: usize = 2_000;

/// Documents of runs of some 3,000 characters between punctuation.
fn zh() -> Vec<String> {
    let mut random = Random(1);
    documents(move |text| {
        for _ in 0..=random.below(14) {
            text.extend(char::from_u32(0x4e00 + (random.rank(3_000) * 6_997 % 20_000) as u32));
        }
        text.push(if random.below(3) == 0 { '\u{3002}' } else { '\u{ff0c}' });
    })
}

/// Documents of some 20,000 words of few syllables.
fn en() -> Vec<String> {
    const SYLLABLES: [&str; 16] =
        ["th", "e", "in", "er", "an", "re", "on", "at", "s", "ing", "ti", "o", "con", "ly", "me", "de"];
    let mut random = Random(2);
    documents(move |text| {
        let mut word = random.rank(20_000);
        if !text.is_empty() {
            text.push(' ');
        }
        loop {
            text.push_str(SYLLABLES[(word % 16) as usize]);
            word /= 16;
            if word == 0 {
                break;
            }
        }
        match random.below(24) {
            0 => text.push('.'),
            1 => text.push(','),
            2 => text.push_str(" 2026"),
            3 => text.push_str("'s"),
            4 => text.push('\n'),
            _ => {}
        }
    })
}

fn documents(mut more: impl FnMut(&mut String)) -> Vec<String> {
    let document = |_| {
        let mut text = String::new();
        while text.len() < DOCUMENT_BYTES {
            more(&mut text);
        }
        text
    };
    (0..BYTES / DOCUMENT_BYTES).map(document).collect()
}

fn trained() -> anyhow::Result<Trained> {
    let texts = [zh(), en()].concat();
    let settings = Settings { vocab_size: 4_000, min_frequency: 2, special: Vec::new() };
    Ok(train(settings, texts.iter().map(String::as_str))?)
}

/// The only function in which instructions are counted.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

fn encode(texts: &[String]) -> anyhow::Result<()> {
    let definition = serde_json::from_slice(&trained()?.tokenizer)?;
    let tokenizer = Tokenizer::from_definition(&definition, true)?;
    let (mut memo, mut ids) = (Memo::default(), Vec::new());
    tokenizer.encode("", &mut memo, &mut ids);
    counted(|| texts.iter().for_each(|text| tokenizer.encode(text, &mut memo, &mut ids)));
    anyhow::ensure!(!ids.is_empty(), "no ids");
    Ok(())
}

fn write_corpus(path: &str) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).with_context(|| path.to_owned())?);
    for (id, text) in (0..).zip(zh().iter().zip(&en()).flat_map(|(zh, en)| [zh.clone(), en.clone()])) {
        writeln!(out, "{}", serde_json::json!({"id": id, "text": text}))?;
    }
    Ok(out.flush()?)
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["encode-zh"] => encode(&zh()),
        ["encode-en"] => encode(&en()),
        ["train"] => counted(trained).map(|_| ()),
        ["corpus", path] => write_corpus(path),
        ["tokenizer", folder] => {
            let trained = trained()?;
            std::fs::create_dir_all(folder)?;
            std::fs::write(format!("{folder}/tokenizer.json"), trained.tokenizer)?;
            Ok(std::fs::write(format!("{folder}/tokenizer_config.json"), trained.config)?)
        }
        _ => bail!("usage: hot_loops encode-zh|encode-en|train, corpus FILE.jsonl, tokenizer DIR"),
    }
}
