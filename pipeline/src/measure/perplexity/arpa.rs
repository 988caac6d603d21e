//! ARPA files: n-gram models as text, one n-gram a line, order after order.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Tables, ngram_hash};
use crate::measure::Error;

/// An ARPA model in memory; n-grams by KenLM's 64-bit hash, as its own probing tables have them.
#[derive(Debug, Default)]
struct Arpa {
    words: HashMap<Box<[u8]>, u32>,
    /// For each order from 1, log10 of probability and back-off weight.
    ngrams: Vec<HashMap<u64, (f32, f32)>>,
}

impl Tables for Arpa {
    fn order(&self) -> usize {
        self.ngrams.len()
    }

    fn word(&self, word: &[u8]) -> u32 {
        self.words.get(word).copied().unwrap_or_default()
    }

    fn find(&self, newest_first: &[u32]) -> Option<(f32, f32)> {
        self.ngrams.get(newest_first.len().checked_sub(1)?)?.get(&ngram_hash(newest_first)).copied()
    }
}

/// The lines of a file, with what an error needs to say of them.
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    digest: Sha256,
    number: u64,
    line: Vec<u8>,
}

impl Lines {
    /// The next line without its end; false at the end of the file.
    fn next(&mut self) -> Result<bool, Error> {
        self.line.clear();
        let read = |source| Error::Read { path: self.path.clone(), source };
        let bytes = self.reader.read_until(b'\n', &mut self.line).map_err(read)?;
        self.digest.update(&self.line);
        self.number += u64::from(bytes > 0);
        self.line.truncate(self.line.trim_ascii_end().len());
        Ok(bytes > 0)
    }

    /// The next line that is not empty; an error at the end of the file.
    fn filled(&mut self, expected: &str) -> Result<(), Error> {
        while self.next()? {
            if !self.line.is_empty() {
                return Ok(());
            }
        }
        Err(self.wrong(expected, "the end of the file"))
    }

    fn wrong(&self, expected: &str, found: &str) -> Error {
        Error::Line {
            path: self.path.clone(),
            line: self.number,
            expected: expected.to_owned(),
            found: found.chars().take(80).collect(),
        }
    }

    fn wrong_line(&self, expected: &str) -> Error {
        self.wrong(expected, &String::from_utf8_lossy(&self.line))
    }
}

/// Reads a model, and the hash of its file.
///
/// # Errors
/// [`Error::Line`] where a line is not what it should be.
pub(super) fn read(path: &Path) -> Result<(Box<dyn Tables>, String), Error> {
    let file = File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let reader = BufReader::with_capacity(1 << 18, file);
    let mut lines = Lines { path: path.to_owned(), reader, digest: Sha256::new(), number: 0, line: Vec::new() };
    lines.filled("\\data\\")?;
    if lines.line != b"\\data\\" {
        return Err(lines.wrong_line("\\data\\, the start of an ARPA file, or a KenLM binary"));
    }
    let counts = read_counts(&mut lines)?;
    let mut model = Arpa::default();
    for (index, count) in counts.iter().enumerate() {
        read_order(&mut lines, index + 1, *count, counts.len(), &mut model)?;
    }
    while lines.next()? {}
    let hex: String = lines.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((Box::new(model), format!("sha256:{hex}")))
}

/// The counts, up to the header of the first section, which is read too.
fn read_counts(lines: &mut Lines) -> Result<Vec<u64>, Error> {
    const ORDER_MAX: usize = 16;
    let mut counts = Vec::new();
    loop {
        lines.filled("a count of n-grams")?;
        if lines.line == b"\\1-grams:" && !counts.is_empty() {
            return Ok(counts);
        }
        let prefix = format!("ngram {}=", counts.len() + 1);
        let text = std::str::from_utf8(&lines.line).unwrap_or_default();
        match text.strip_prefix(&prefix).and_then(|count| count.trim().parse().ok()) {
            Some(count) if counts.len() < ORDER_MAX => counts.push(count),
            _ => return Err(lines.wrong_line(&format!("{prefix}COUNT or \\1-grams:"))),
        }
    }
}

fn read_order(lines: &mut Lines, order: usize, count: u64, orders: usize, model: &mut Arpa) -> Result<(), Error> {
    let mut ngrams = HashMap::new();
    let next = if order == orders { "\\end\\".to_owned() } else { format!("\\{}-grams:", order + 1) };
    let mut found = 0;
    loop {
        lines.filled(&next)?;
        if lines.line.starts_with(b"\\") {
            break;
        }
        found += 1;
        let (hash, weights) = read_ngram(lines, order, model)?;
        ngrams.insert(hash, weights);
    }
    if lines.line != next.as_bytes() {
        return Err(lines.wrong_line(&next));
    }
    if found != count {
        return Err(lines.wrong(&format!("{count} {order}-grams"), &found.to_string()));
    }
    model.ngrams.push(ngrams);
    Ok(())
}

/// `LOG10 word ... [LOG10]`; the unigrams make the vocabulary.
fn read_ngram(lines: &Lines, order: usize, model: &mut Arpa) -> Result<(u64, (f32, f32)), Error> {
    let mut cells = lines.line.split(|byte| matches!(byte, b'\t' | b' ')).filter(|cell| !cell.is_empty());
    let number = |cell: Option<&[u8]>| std::str::from_utf8(cell?).ok()?.parse::<f32>().ok();
    let log10 = number(cells.next()).filter(|log10| *log10 <= 0.0);
    let log10 = log10.ok_or_else(|| lines.wrong_line("a log10 of a probability, 0 or below"))?;
    let mut ids = Vec::with_capacity(order);
    for _ in 0..order {
        let word = cells.next().ok_or_else(|| lines.wrong_line(&format!("{order} words")))?;
        let id = if order == 1 { new_word(model, word) } else { known_word(model, word) };
        ids.push(id.ok_or_else(|| lines.wrong_line("words of the 1-grams"))?);
    }
    ids.reverse();
    let weight = match cells.next() {
        None => 0.0,
        cell => number(cell).ok_or_else(|| lines.wrong_line("a log10 of a back-off weight"))?,
    };
    Ok((ngram_hash(&ids), (log10, weight)))
}

fn is_unknown(word: &[u8]) -> bool {
    matches!(word, b"<unk>" | b"<UNK>")
}

fn new_word(model: &mut Arpa, word: &[u8]) -> Option<u32> {
    if is_unknown(word) {
        return Some(0);
    }
    let next = u32::try_from(model.words.len() + 1).ok()?;
    Some(*model.words.entry(word.into()).or_insert(next))
}

fn known_word(model: &Arpa, word: &[u8]) -> Option<u32> {
    if is_unknown(word) { Some(0) } else { model.words.get(word).copied() }
}
