//! `perplexity`: how surprised an n-gram model is by a text, per word.
//!
//! Data-Juicer's definition over KenLM's score: the words of the text joined by spaces, each line scored from `<s>` to
//! `</s>`; 10^(-sum of log10 / sum of (words + 1)), rounded to 1 decimal. Traps that are kept: the scorer splits at
//! ASCII white space and the counter at all white space; sums are in float32 within a line.

mod arpa;
mod kenlm;

use std::path::Path;

use super::Error;
use super::classes::Classes;
use super::lines::python_lines;
use super::splitter::Splitter;
use super::words::pieces;

/// What a model can tell of an n-gram.
trait Tables: std::fmt::Debug + Send + Sync {
    /// Most words of an n-gram.
    fn order(&self) -> usize;
    /// The number of a word; 0 where it is unknown.
    fn word(&self, word: &[u8]) -> u32;
    /// log10 of the probability and of the back-off weight of an n-gram, its newest word first.
    fn find(&self, newest_first: &[u32]) -> Option<(f32, f32)>;
}

/// A loaded model.
#[derive(Debug)]
pub(super) struct LanguageModel {
    tables: Box<dyn Tables>,
    begin: u32,
    end: u32,
}

impl LanguageModel {
    /// Loads an ARPA file, or a KenLM binary of unquantised probing tables or an unquantised trie; and its hash.
    ///
    /// # Errors
    /// Whatever is wrong with the file; other kinds are named.
    pub fn load(path: &Path) -> Result<(LanguageModel, String), Error> {
        let (tables, hash) = match kenlm::is_binary(path)? {
            true => kenlm::read(path)?,
            false => arpa::read(path)?,
        };
        let (begin, end) = (tables.word(b"<s>"), tables.word(b"</s>"));
        Ok((LanguageModel { tables, begin, end }, hash))
    }

    /// The perplexity of a text; 0 where it has no line.
    pub fn perplexity(&self, text: &str, how: &Splitter, classes: &Classes) -> f64 {
        let mut joined = String::new();
        how.each_word(text, &mut |word| {
            joined.push_str(if joined.is_empty() { "" } else { " " });
            joined.push_str(word);
        });
        let (mut log10, mut words) = (0.0, 0);
        for line in python_lines(&joined) {
            log10 += f64::from(self.score(line));
            words += pieces(line, classes).count() + 1;
        }
        if words == 0 { 0.0 } else { rounded(libm::exp10(-log10 / words as f64)) }
    }

    /// log10 of the probability of a line, from its begin to its end.
    fn score(&self, line: &str) -> f32 {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
        let words = line.as_bytes().split(is_space).filter(|word| !word.is_empty());
        let mut history = vec![self.begin];
        let mut total = 0.0;
        for word in words.map(|word| self.tables.word(word)).chain([self.end]) {
            history.insert(0, word);
            history.truncate(self.tables.order());
            total += self.conditional(&history);
            history.truncate(self.tables.order() - 1);
        }
        total
    }

    /// log10 of the probability of the newest word after the others: that of the longest n-gram known, and the
    /// back-off weights of the contexts that are longer than its own.
    fn conditional(&self, newest_first: &[u32]) -> f32 {
        let longest = (1..=newest_first.len()).rev().find_map(|words| {
            let (log10, _) = self.tables.find(newest_first.get(..words)?)?;
            Some((words, log10))
        });
        let (words, mut log10) = longest.unwrap_or((1, UNKNOWN_LOG10));
        for context in words..newest_first.len() {
            let weight = newest_first.get(1..=context).and_then(|context| self.tables.find(context));
            log10 += weight.map_or(0.0, |(_, weight)| weight);
        }
        log10
    }
}

/// What KenLM gives an unknown word where a model has no `<unk>`.
const UNKNOWN_LOG10: f32 = -100.0;

/// One decimal, as Python's `round(x, 1)` has it: the nearest decimal of the exact value.
fn rounded(value: f64) -> f64 {
    format!("{value:.1}").parse().unwrap_or(value)
}

/// MurmurHash64A with seed 0: how KenLM knows words.
pub(crate) fn word_hash(word: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = (word.len() as u64).wrapping_mul(M);
    let (blocks, rest) = word.as_chunks::<8>();
    for block in blocks {
        let mut k = u64::from_le_bytes(*block).wrapping_mul(M);
        k ^= k >> 47;
        hash = (hash ^ k.wrapping_mul(M)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u64::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(M);
    hash ^ hash >> 47
}

/// KenLM's hash of an n-gram: of its newest word, then of one older word after the other.
fn ngram_hash(newest_first: &[u32]) -> u64 {
    let (newest, older) = newest_first.split_first().map_or((0, &[][..]), |(newest, older)| (*newest, older));
    older.iter().fold(u64::from(newest), |hash, word| {
        let word = u64::from(word.wrapping_add(1));
        hash.wrapping_mul(8_978_948_897_894_561_157) ^ word.wrapping_mul(17_894_857_484_156_487_943)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use schemas::config::SpecialCharacters;

    use super::*;

    const ARPA: &str = "\\data\\\nngram 1=5\nngram 2=3\n\n\\1-grams:\n-1.0\t<unk>\n0\t<s>\t-0.5\n-0.7\t</s>\n-0.4\ta\t-0.2\n-0.6\tb\t-0.1\n\n\\2-grams:\n-0.25\t<s> a\n-0.3\ta b\n-0.15\tb </s>\n\n\\end\\\n";

    fn load(text: &str) -> Result<LanguageModel, Error> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        LanguageModel::load(file.path()).map(|(model, _)| model)
    }

    #[test]
    fn known_bigrams_and_backed_off_ones_add_up() {
        let model = load(ARPA).unwrap();
        assert!((model.score("a b") - (-0.25 - 0.3 - 0.15)).abs() < 1e-6);
        // b after <s>: its unigram and the weight of <s>; a after b, </s> after a likewise.
        assert!((model.score("b a") - (-0.6 - 0.5 - 0.4 - 0.1 - 0.7 - 0.2)).abs() < 1e-6);
        assert!((model.score("zz") - (-1.0 - 0.5 - 0.7)).abs() < 1e-6);
    }

    #[test]
    fn perplexity_is_per_word_and_line_end_rounded() {
        let model = load(ARPA).unwrap();
        let classes = Classes::get(SpecialCharacters::Compatible);
        assert_eq!(model.perplexity("a\nb", &Splitter::default(), classes), 1.7);
        assert_eq!(model.perplexity("", &Splitter::default(), classes), 0.0);
    }

    #[test]
    fn a_file_that_lies_is_refused_with_its_line() {
        for (text, expected) in [
            ("hello\n", "line 1"),
            (&ARPA.replace("-0.3\ta b", "x\ta b"), "line 14"),
            (&ARPA.replace("ngram 2=3", "ngram 2=4"), "2-grams"),
            (&ARPA.replace("-0.3\ta b", "-0.3\ta c"), "line 14"),
        ] {
            let message = load(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
