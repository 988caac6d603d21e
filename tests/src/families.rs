//! Families of texts that are near-duplicates of each other in every degree, made up.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::corpus::{Noise, write};

/// Texts in families: an original of English, Chinese or mixed words, and versions that each change a little of the one
/// before. Families are laid one into the other, so that members lie far apart.
pub fn made_texts(families: usize, seed: u64) -> Vec<String> {
    let mut noise = Noise(seed);
    let mut rounds: Vec<Vec<String>> = vec![Vec::new(); 9];
    for family in 0..families {
        let words = [3, 20, 100, 300, 600][noise.below(5) as usize] + noise.below(20) as usize;
        let mut text: Vec<String> = (0..words).map(|_| word(&mut noise, family % 3)).collect();
        for round in &mut rounds {
            round.push(text.join(if family % 3 == 1 { "" } else { " " }));
            for _ in 0..(words as u64 + noise.below(150)) / 150 {
                let at = noise.below(words as u64) as usize;
                text[at] = word(&mut noise, family % 3);
            }
        }
    }
    rounds.concat()
}

fn word(noise: &mut Noise, language: usize) -> String {
    match (language, noise.below(2)) {
        (0, _) | (2, 0) => format!("w{}", noise.below(3_000)),
        _ => char::from_u32(0x4E00 + noise.below(3_000) as u32).expect("a Han character").to_string(),
    }
}

/// Writes texts as JSONL: `text`, `id` (its position) and `score`.
pub fn input_of(dir: &Path, texts: &[String]) -> PathBuf {
    let mut lines = String::new();
    for (id, text) in texts.iter().enumerate() {
        let score = (id * 7_919) % 1_000;
        writeln!(lines, "{}", json!({"text": text, "id": id.to_string(), "score": score})).expect("a line");
    }
    write(dir, "texts.jsonl", lines.as_bytes())
}
