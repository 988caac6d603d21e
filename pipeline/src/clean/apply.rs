//! Cleaning the documents of a block, in place.

use std::borrow::Cow;

use schemas::rule::{RULE_EMPTY, RULE_UNSTABLE};

use super::cleaner::{Cleaner, Counts, ROUNDS_MAX, Tally};
use crate::record::{Records, Span};

/// What cleaning a block left.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// The text of each document as it was read, which alone chooses its side; empty where nothing was cleaned.
    raw: Vec<Span>,
    /// Why a document is dropped: its index, the rule and the value that decided.
    dropped: Vec<(usize, &'static str, String)>,
    /// What each step changed.
    pub counts: Counts,
}

impl Cleaned {
    /// The text of a document as it was read.
    pub fn raw_text(&self, index: usize) -> Option<Span> {
        self.raw.get(index).copied()
    }

    /// Rule and value of a document that cleaning drops.
    pub fn dropped(&self, index: usize) -> Option<(&'static str, &str)> {
        let found = self.dropped.binary_search_by_key(&index, |(index, _, _)| *index).ok()?;
        self.dropped.get(found).map(|(_, rule, value)| (*rule, value.as_str()))
    }
}

/// Cleans the documents of a block. Positions stay those of the input.
pub fn clean_records(cleaner: &Cleaner, records: &mut Records) -> Cleaned {
    if cleaner.is_empty() {
        return Cleaned::default();
    }
    let mut documents = std::mem::take(&mut records.documents);
    let mut tally = Tally::default();
    let mut cleaned = Cleaned::default();
    for (index, document) in documents.iter_mut().enumerate() {
        cleaned.raw.push(document.text);
        match outcome(cleaner, records.str(document.text), &mut tally) {
            Outcome::Same => {}
            Outcome::Empty { before_chars } => {
                cleaned.dropped.push((index, RULE_EMPTY, format!("n_chars={before_chars} before cleaning")));
                document.text = Span::default();
            }
            // The spans of a block are 32 bits wide.
            Outcome::Changed(new) if records.arena.len() + new.len() <= u32::MAX as usize => {
                document.text = records.push_bytes(new.as_bytes());
            }
            Outcome::Changed(_) | Outcome::Unstable => {
                cleaned.dropped.push((index, RULE_UNSTABLE, format!("rounds={ROUNDS_MAX}")));
            }
        }
    }
    records.documents = documents;
    cleaned.counts = cleaner.counts(&tally);
    cleaned
}

enum Outcome {
    Same,
    Empty { before_chars: usize },
    Changed(String),
    Unstable,
}

fn outcome(cleaner: &Cleaner, text: &str, tally: &mut Tally) -> Outcome {
    match cleaner.clean(text, tally) {
        Ok(Cow::Borrowed(_)) => Outcome::Same,
        Ok(Cow::Owned(new)) if new.is_empty() => Outcome::Empty { before_chars: text.chars().count() },
        Ok(Cow::Owned(new)) => Outcome::Changed(new),
        Err(_) => Outcome::Unstable,
    }
}
