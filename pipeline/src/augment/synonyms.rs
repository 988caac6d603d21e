//! Synonyms of a dictionary the user gives: a line `word<TAB>synonym<TAB>synonym...`.

use std::collections::HashMap;

use super::next_number;
use crate::clean::lists;
use crate::clean::words::Words;
use crate::error::Error;

/// A dictionary.
#[derive(Debug)]
pub struct Synonyms {
    words: Words,
    synonyms: HashMap<String, Vec<String>>,
    /// Of 2^64, how many numbers replace a word.
    below: u64,
}

impl Synonyms {
    /// Reads a dictionary; `fraction` is the share of its words that are replaced.
    ///
    /// # Errors
    /// A file that cannot be read, a line without a synonym, a share that is none.
    pub fn read(path: &str, fraction: f64) -> Result<Synonyms, Error> {
        if !(fraction > 0.0 && fraction <= 1.0) {
            let detail = format!("expected a number above 0, at most 1, found {fraction}");
            return Err(Error::usage("augment.synonym_fraction", detail, ""));
        }
        let lines = lists::read(path)?;
        let mut synonyms: HashMap<String, Vec<String>> = HashMap::new();
        for line in &lines {
            let mut cells = line.split('\t').map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned);
            let (Some(word), rest) = (cells.next(), cells.collect::<Vec<_>>()) else { continue };
            if rest.is_empty() {
                let detail = format!("{path}: expected a word, a tab and synonyms, found {line:?}");
                return Err(Error::usage("augment.synonyms", detail, ""));
            }
            synonyms.entry(word.to_ascii_lowercase()).or_default().extend(rest);
        }
        let mut words: Vec<String> = synonyms.keys().cloned().collect();
        words.sort_unstable();
        let words = Words::new(&words).map_err(|error| Error::usage("augment.synonyms", error.to_string(), ""))?;
        Ok(Synonyms { words, synonyms, below: crate::mix::hash::bound(fraction).unwrap_or(u64::MAX) })
    }

    /// The text with a share of its words replaced.
    pub fn replace(&self, text: &str, seed: u64) -> String {
        let (mut out, mut from, mut state) = (String::with_capacity(text.len()), 0, seed);
        for found in self.words.find(text) {
            let (chosen, which) = (next_number(&mut state), next_number(&mut state));
            let word = text.get(found.clone()).unwrap_or_default();
            let choices = self.synonyms.get(&word.to_ascii_lowercase()).map_or(&[][..], Vec::as_slice);
            let synonym = choices.get((which % choices.len().max(1) as u64) as usize);
            if let Some(synonym) = synonym.filter(|_| chosen <= self.below) {
                out.push_str(text.get(from..found.start).unwrap_or_default());
                out.push_str(synonym);
                from = found.end;
            }
        }
        out.push_str(text.get(from..).unwrap_or_default());
        out
    }
}
